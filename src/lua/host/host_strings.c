/* host_strings.c: string.find, match, gmatch, gsub and rep for scripts with limits. Lua's own look at no limit, and
 * there are short patterns that take them years. Patterns are those of Lua 5.4 (manual, 6.4.1), errors too. */
#include <ctype.h>
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "lua/host/host.h"

enum { ESCAPE = '%', MOST_DEPTH = 200, MOST_CAPTURES = 32 };
enum { OPEN = -1, POSITION = -2 }; /* sizes of captures that are not closed yet, or hold their place only */

typedef struct matcher {
  lua_State *L;
  const char *subject, *end, *pattern_end;
  int depth, steps, ncaptures;
  struct {
    const char *at;
    ptrdiff_t size;
  } captures[MOST_CAPTURES];
} matcher;

static const char *match(matcher *m, const char *s, const char *p);

static void step(matcher *m) {
  if (++m->steps % GRADLUA_STRIDE == 0) gradlua__limits_look(m->L);
}

/* --- one character */

static bool in_class(int c, int class) {
  static const struct {
    char name;
    int (*holds)(int c);
  } classes[] = {{'a', isalpha}, {'c', iscntrl}, {'d', isdigit}, {'g', isgraph}, {'l', islower},
                 {'p', ispunct}, {'s', isspace}, {'u', isupper}, {'w', isalnum}, {'x', isxdigit}};
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
    if (classes[i].name == tolower(class)) return (classes[i].holds(c) != 0) == !isupper(class);
  return class == c;
}

/* p is at the set's '[', last at its ']'. */
static bool in_set(int c, const char *p, const char *last) {
  const bool wanted = p[1] != '^';
  if (!wanted) p++;
  while (++p < last) {
    if (*p == ESCAPE) {
      if (in_class(c, (unsigned char)*++p)) return wanted;
    } else if (p[1] == '-' && p + 2 < last) {
      p += 2;
      if ((unsigned char)p[-2] <= c && c <= (unsigned char)*p) return wanted;
    } else if ((unsigned char)*p == c) {
      return wanted;
    }
  }
  return !wanted;
}

/* Behind the item at p that stands for one character. */
static const char *item_end(const matcher *m, const char *p) {
  const char first = *p++;
  if (first == ESCAPE) {
    if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 1;
  }
  if (first != '[') return p;
  if (*p == '^') p++;
  do {
    if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
    if (*p++ == ESCAPE && p < m->pattern_end) p++;
  } while (*p != ']');
  return p + 1;
}

static bool fits(matcher *m, const char *s, const char *p, const char *item_end) {
  step(m);
  if (s >= m->end) return false;
  const int c = (unsigned char)*s;
  switch (*p) {
  case '.':
    return true;
  case ESCAPE:
    return in_class(c, (unsigned char)p[1]);
  case '[':
    return in_set(c, p, item_end - 1);
  default:
    return (unsigned char)*p == c;
  }
}

/* --- items: each matches from s on with the item at p, and goes on with the rest of the pattern; NULL: no match */

static const char *match_most(matcher *m, const char *s, const char *p, const char *item_end) {
  ptrdiff_t n = 0;
  while (fits(m, s + n, p, item_end)) n++;
  for (; n >= 0; n--) {
    const char *result = match(m, s + n, item_end + 1);
    if (result) return result;
  }
  return NULL;
}

static const char *match_least(matcher *m, const char *s, const char *p, const char *item_end) {
  for (;; s++) {
    const char *result = match(m, s, item_end + 1);
    if (result) return result;
    if (!fits(m, s, p, item_end)) return NULL;
  }
}

static const char *open_capture(matcher *m, const char *s, const char *p, ptrdiff_t size) {
  if (m->ncaptures == MOST_CAPTURES) luaL_error(m->L, "too many captures");
  m->captures[m->ncaptures].at = s;
  m->captures[m->ncaptures++].size = size;
  const char *result = match(m, s, p);
  if (!result) m->ncaptures--;
  return result;
}

static const char *close_capture(matcher *m, const char *s, const char *p) {
  int k = m->ncaptures - 1;
  while (k >= 0 && m->captures[k].size != OPEN) k--;
  if (k < 0) luaL_error(m->L, "invalid pattern capture");
  m->captures[k].size = s - m->captures[k].at;
  const char *result = match(m, s, p);
  if (!result) m->captures[k].size = OPEN;
  return result;
}

/* %bxy: returns where the balanced piece ends. */
static const char *skip_balanced(matcher *m, const char *s, const char *p) {
  if (p + 1 >= m->pattern_end) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
  if (s >= m->end || *s != *p) return NULL;
  int depth = 1;
  while (++s < m->end) {
    step(m);
    if (*s == p[1]) {
      if (--depth == 0) return s + 1;
    } else if (*s == p[0]) {
      depth++;
    }
  }
  return NULL;
}

/* %f[set]: is the place between a character outside and one inside of it? */
static bool is_frontier(const matcher *m, const char *s, const char *p, const char *set_end) {
  const int before = s == m->subject ? '\0' : (unsigned char)s[-1], after = s == m->end ? '\0' : (unsigned char)*s;
  return !in_set(before, p, set_end - 1) && in_set(after, p, set_end - 1);
}

/* %1 .. %9: behind what equals the capture. */
static const char *skip_capture(matcher *m, const char *s, char digit) {
  const int k = digit - '1';
  if (k < 0 || k >= m->ncaptures || m->captures[k].size == OPEN) luaL_error(m->L, "invalid capture index %%%d", k + 1);
  const ptrdiff_t size = m->captures[k].size;
  if (size < 0 || m->end - s < size || memcmp(m->captures[k].at, s, (size_t)size) != 0) return NULL;
  return s + size;
}

/* An item of one character, with what says how often. */
static const char *match_item(matcher *m, const char *s, const char *p) {
  const char *end = item_end(m, p), *result;
  switch (*end) {
  case '?':
    if (fits(m, s, p, end) && (result = match(m, s + 1, end + 1)) != NULL) return result;
    return match(m, s, end + 1);
  case '+':
    return fits(m, s, p, end) ? match_most(m, s + 1, p, end) : NULL;
  case '*':
    return match_most(m, s, p, end);
  default:
    return match_least(m, s, p, end);
  }
}

static bool repeats(const matcher *m, const char *p) { return p < m->pattern_end && *p && strchr("?+*-", *p); }

static const char *match_here(matcher *m, const char *s, const char *p) {
  while (s && p < m->pattern_end) {
    if (*p == '(') return p[1] == ')' ? open_capture(m, s, p + 2, POSITION) : open_capture(m, s, p + 1, OPEN);
    if (*p == ')') return close_capture(m, s, p + 1);
    if (*p == '$' && p + 1 == m->pattern_end) return s == m->end ? s : NULL;
    if (*p == ESCAPE && p[1] == 'b') {
      s = skip_balanced(m, s, p + 2);
      p += 4;
    } else if (*p == ESCAPE && p[1] == 'f') {
      p += 2;
      if (*p != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
      const char *end = item_end(m, p);
      if (!is_frontier(m, s, p, end)) return NULL;
      p = end;
    } else if (*p == ESCAPE && isdigit((unsigned char)p[1])) {
      s = skip_capture(m, s, p[1]);
      p += 2;
    } else {
      const char *end = item_end(m, p);
      if (repeats(m, end)) return match_item(m, s, p);
      s = fits(m, s, p, end) ? s + 1 : NULL;
      p = end;
    }
  }
  return s;
}

static const char *match(matcher *m, const char *s, const char *p) {
  if (m->depth == MOST_DEPTH) luaL_error(m->L, "pattern too complex");
  m->depth++;
  const char *result = match_here(m, s, p);
  m->depth--;
  return result;
}

static const char *match_from_start(matcher *m, const char *s, const char *p) {
  m->depth = m->ncaptures = 0;
  return match(m, s, p);
}

/* --- captures as Lua values */

static void push_capture(const matcher *m, int k, const char *s, const char *e) {
  if (k >= m->ncaptures && k > 0) luaL_error(m->L, "invalid capture index %%%d", k + 1);
  const bool whole = k >= m->ncaptures;
  const ptrdiff_t size = whole ? e - s : m->captures[k].size;
  const char *at = whole ? s : m->captures[k].at;
  if (size == OPEN) luaL_error(m->L, "unfinished capture");
  if (size == POSITION)
    lua_pushinteger(m->L, at - m->subject + 1);
  else
    lua_pushlstring(m->L, at, (size_t)size);
}

/* All captures; the whole match when there are none and `s` is given. */
static int push_captures(const matcher *m, const char *s, const char *e) {
  const int n = m->ncaptures == 0 && s ? 1 : m->ncaptures;
  luaL_checkstack(m->L, n + 2, "too many captures");
  for (int k = 0; k < n; k++) push_capture(m, k, s, e);
  return n;
}

/* --- functions */

static matcher matcher_of(lua_State *L, int subject, int pattern) {
  size_t n, np;
  const char *s = luaL_checklstring(L, subject, &n), *p = luaL_checklstring(L, pattern, &np);
  return (matcher){.L = L, .subject = s, .end = s + n, .pattern_end = p + np};
}

/* Where argument `arg` says to begin: from 1, negative from the end; beyond the end, one past it. */
static const char *start_of(const matcher *m, int arg) {
  const lua_Integer n = m->end - m->subject, i = luaL_optinteger(m->L, arg, 1);
  if (i > 0) return i - 1 > n ? NULL : m->subject + i - 1;
  return i == 0 || i < -n ? m->subject : m->end + i;
}

static bool is_plain(const matcher *m, const char *p) {
  while (p < m->pattern_end && !(*p && strchr("^$*+?.([%-", *p))) p++;
  return p == m->pattern_end;
}

static int find_plain(const matcher *m, const char *start, const char *p) {
  const size_t size = (size_t)(m->pattern_end - p);
  const char *at = size == 0 ? start : memmem(start, (size_t)(m->end - start), p, size);
  if (!at) return 0;
  lua_pushinteger(m->L, at - m->subject + 1);
  lua_pushinteger(m->L, at - m->subject + (lua_Integer)size);
  return 2;
}

static int find_pattern(matcher *m, const char *start, const char *p, bool find) {
  const bool anchored = *p == '^';
  p += anchored;
  for (const char *s = start; s <= m->end; s++) {
    const char *e = match_from_start(m, s, p);
    if (e && !find) return push_captures(m, s, e);
    if (e) {
      lua_pushinteger(m->L, s - m->subject + 1);
      lua_pushinteger(m->L, e - m->subject);
      return 2 + push_captures(m, NULL, NULL);
    }
    if (anchored) break;
  }
  return 0;
}

static int find_or_match(lua_State *L, bool find) {
  matcher m = matcher_of(L, 1, 2);
  const char *start = start_of(&m, 3), *p = lua_tostring(L, 2);
  int n = 0;
  if (start && find && (lua_toboolean(L, 4) || is_plain(&m, p)))
    n = find_plain(&m, start, p);
  else if (start)
    n = find_pattern(&m, start, p, find);
  if (n > 0) return n;
  luaL_pushfail(L);
  return 1;
}

static int string_find(lua_State *L) { return find_or_match(L, true); }
static int string_match(lua_State *L) { return find_or_match(L, false); }

/* Upvalues: subject, pattern, where to go on (from 0), where the last match ended (-1: none yet). */
static int next_match(lua_State *L) {
  matcher m = matcher_of(L, lua_upvalueindex(1), lua_upvalueindex(2));
  const char *p = lua_tostring(L, lua_upvalueindex(2));
  const lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
  for (const char *s = m.subject + lua_tointeger(L, lua_upvalueindex(3)); s <= m.end; s++) {
    const char *e = match_from_start(&m, s, p);
    if (!e || e - m.subject == last) continue;
    for (int at = 3; at <= 4; at++) {
      lua_pushinteger(L, e - m.subject);
      lua_replace(L, lua_upvalueindex(at));
    }
    return push_captures(&m, s, e);
  }
  return 0;
}

static int string_gmatch(lua_State *L) {
  const matcher m = matcher_of(L, 1, 2);
  const char *start = start_of(&m, 3);
  lua_settop(L, 2);
  lua_pushinteger(L, start ? start - m.subject : m.end - m.subject + 1);
  lua_pushinteger(L, -1);
  lua_pushcclosure(L, next_match, 4);
  return 1;
}

/* Adds the replacement string at 3, in which %0 .. %9 stand for captures. */
static void add_string(const matcher *m, luaL_Buffer *b, const char *s, const char *e) {
  size_t n;
  const char *at = lua_tolstring(m->L, 3, &n), *end = at + n;
  for (; at < end; at++) {
    if (*at != ESCAPE) {
      luaL_addchar(b, *at);
      continue;
    }
    at++;
    if (*at == ESCAPE) {
      luaL_addchar(b, ESCAPE);
    } else if (*at == '0') {
      luaL_addlstring(b, s, (size_t)(e - s));
    } else if (isdigit((unsigned char)*at)) {
      push_capture(m, *at - '1', s, e);
      luaL_tolstring(m->L, -1, NULL);
      lua_remove(m->L, -2);
      luaL_addvalue(b);
    } else {
      luaL_error(m->L, "invalid use of '%%' in replacement string");
    }
  }
}

/* Adds what the match becomes; false or nil: what it was. */
static void add_replacement(matcher *m, luaL_Buffer *b, const char *s, const char *e) {
  lua_State *L = m->L;
  const int type = lua_type(L, 3);
  if (type == LUA_TNUMBER || type == LUA_TSTRING) {
    add_string(m, b, s, e);
    return;
  }
  if (type == LUA_TFUNCTION) {
    lua_pushvalue(L, 3);
    lua_call(L, push_captures(m, s, e), 1);
  } else {
    push_capture(m, 0, s, e);
    lua_gettable(L, 3);
  }
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    luaL_addlstring(b, s, (size_t)(e - s));
  } else if (lua_isstring(L, -1)) {
    luaL_addvalue(b);
  } else {
    luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  }
}

static int string_gsub(lua_State *L) {
  matcher m = matcher_of(L, 1, 2);
  const char *p = lua_tostring(L, 2), *s = m.subject, *last = NULL;
  const int type = lua_type(L, 3);
  luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                   "string/function/table");
  const lua_Integer most = luaL_optinteger(L, 4, m.end - m.subject + 1);
  const bool anchored = *p == '^';
  p += anchored;
  lua_settop(L, 3);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  lua_Integer n = 0;
  while (n < most) {
    const char *e = match_from_start(&m, s, p);
    if (e && e != last) {
      n++;
      add_replacement(&m, &b, s, e);
      s = last = e;
    } else if (s < m.end) {
      luaL_addchar(&b, *s++);
    } else {
      break;
    }
    if (anchored) break;
  }
  luaL_addlstring(&b, s, (size_t)(m.end - s));
  luaL_pushresult(&b);
  lua_pushinteger(L, n);
  return 2;
}

/* rep(s, n [, separator]) */
static int string_rep(lua_State *L) {
  enum { LOOK_EVERY = 1 << 16 }; /* bytes */
  size_t size, between, since = 0;
  const char *s = luaL_checklstring(L, 1, &size);
  const lua_Integer n = luaL_checkinteger(L, 2);
  const char *separator = luaL_optlstring(L, 3, "", &between);
  if (n > 0 && size + between > PTRDIFF_MAX / (size_t)n) return luaL_error(L, "resulting string too large");
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (lua_Integer i = 0; i < n && size + between > 0; i++) {
    luaL_addlstring(&b, s, size);
    if (i + 1 < n) luaL_addlstring(&b, separator, between);
    since += size + between;
    if (since < LOOK_EVERY) continue;
    since = 0;
    gradlua__limits_look(L);
  }
  luaL_pushresult(&b);
  return 1;
}

void gradlua__strings_install(lua_State *L) {
  static const luaL_Reg functions[] = {{"find", string_find}, {"match", string_match}, {"gmatch", string_gmatch},
                                       {"gsub", string_gsub}, {"rep", string_rep},     {NULL, NULL}};
  lua_getglobal(L, LUA_STRLIBNAME);
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
}
