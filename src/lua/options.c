/* options.c: the trailing table of options. Their names are read from the braces of the running row's signature, so a
 * row that documents an option knows it, and no other. */
#include <ctype.h>
#include <string.h>

#include "lua/binding.h"
#include "lua/modules.h"

enum { MAX_OPTIONS = 32, MAX_NAME = 32 };

typedef struct names {
  int count;
  char text[MAX_OPTIONS][MAX_NAME];
} names;

/* Reads the names in the last braces of a signature: "x, {keepdim = false, dtype}" gives keepdim, dtype. */
static void read_names(const char *signature, names *out) {
  out->count = 0;
  const char *at = signature ? strrchr(signature, '{') : NULL;
  bool expect = true; /* a name may begin here: after the brace or a comma */
  for (at = at ? at + 1 : ""; *at && *at != '}' && out->count < MAX_OPTIONS;) {
    if (!expect || !(isalpha((unsigned char)*at) || *at == '_')) {
      expect = *at == ',' || (expect && *at == ' ');
      at++;
      continue;
    }
    size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
    size_t kept = n < MAX_NAME ? n : MAX_NAME - 1;
    memcpy(out->text[out->count], at, kept);
    out->text[out->count++][kept] = 0;
    at += n;
    expect = false;
  }
}

static int min3(int a, int b, int c) { return a < b ? (a < c ? a : c) : (b < c ? b : c); }

/* Levenshtein's distance; names longer than the row count as far. */
static int distance(const char *a, const char *b) {
  int row[MAX_NAME + 1];
  int na = (int)strlen(a), nb = (int)strlen(b);
  if (nb > MAX_NAME) return MAX_NAME;
  for (int j = 0; j <= nb; j++) row[j] = j;
  for (int i = 1; i <= na; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= nb; j++) {
      int above = row[j];
      row[j] = min3(row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
      diagonal = above;
    }
  }
  return row[nb];
}

const char *grad__nearest(const char *name, const char *const *candidates, int count) {
  const char *best = NULL;
  int least = (int)strlen(name) / 2 + 1;
  for (int i = 0; i < count; i++) {
    int d = distance(name, candidates[i]);
    if (d <= least && (!best || d < least)) best = candidates[i], least = d;
  }
  return best;
}

#if defined __GNUC__
__attribute__((noreturn))
#endif
static void
unknown_option(lua_State *L, const char *name, const names *known) {
  const char *list[MAX_OPTIONS] = {0};
  for (int i = 0; i < known->count; i++) list[i] = known->text[i];
  const char *near = grad__nearest(name, list, known->count);
  if (near) grad__lua_error(L, "unknown option \"%s\": did you mean \"%s\"?", name, near);
  if (known->count == 0) grad__lua_error(L, "unknown option \"%s\": there are none here", name);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (int i = 0; i < known->count; i++) {
    luaL_addstring(&b, i ? ", " : "");
    luaL_addstring(&b, list[i]);
  }
  luaL_pushresult(&b);
  grad__lua_error(L, "unknown option \"%s\": known here: %s", name, lua_tostring(L, -1));
}

static void check_name(lua_State *L, const char *name, const names *known) {
  for (int i = 0; i < known->count; i++)
    if (strcmp(name, known->text[i]) == 0) return;
  unknown_option(L, name, known);
}

int grad__options_at(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return 0;
  if (!lua_istable(L, index)) grad__arg_error(L, index, "the last argument", "a table of options");
  index = lua_absindex(L, index);
  names known;
  read_names(grad__lua_fn(L)->signature, &known);
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING) check_name(L, lua_tostring(L, -1), &known);
  }
  return index;
}

int grad__options(lua_State *L) {
  int last = lua_gettop(L);
  if (last == 0 || !lua_istable(L, last) || lua_rawlen(L, last) > 0) return 0;
  lua_pushnil(L);
  if (!lua_next(L, last)) return 0;
  bool named = lua_type(L, -2) == LUA_TSTRING;
  lua_pop(L, 2);
  return named ? grad__options_at(L, last) : 0;
}

int grad__option_push(lua_State *L, int options, const char *name) {
  if (options == 0) {
    lua_pushnil(L);
    return LUA_TNIL;
  }
  lua_pushstring(L, name);
  return lua_rawget(L, options);
}

bool grad__option_boolean(lua_State *L, int options, const char *name, bool otherwise) {
  grad__option_push(L, options, name);
  bool value = grad__arg_boolean_or(L, -1, name, otherwise);
  lua_pop(L, 1);
  return value;
}

double grad__option_number(lua_State *L, int options, const char *name, double otherwise) {
  bool given = grad__option_push(L, options, name) != LUA_TNIL;
  double value = given ? grad__arg_number(L, -1, name) : otherwise;
  lua_pop(L, 1);
  return value;
}

int64_t grad__option_integer(lua_State *L, int options, const char *name, int64_t otherwise) {
  grad__option_push(L, options, name);
  int64_t value = grad__arg_integer_or(L, -1, name, otherwise);
  lua_pop(L, 1);
  return value;
}

grad_dtype grad__option_dtype(lua_State *L, int options, grad_dtype otherwise) {
  bool given = grad__option_push(L, options, "dtype") != LUA_TNIL;
  grad_dtype value = given ? grad__arg_dtype(L, -1, "dtype") : otherwise;
  lua_pop(L, 1);
  return value;
}

#if defined __GNUC__
__attribute__((noreturn))
#endif
static void
unknown_choice(lua_State *L, const char *name, const char *given, const char *const *choices) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (int i = 0; choices[i]; i++) {
    luaL_addstring(&b, i ? ", \"" : "\"");
    luaL_addstring(&b, choices[i]);
    luaL_addchar(&b, '"');
  }
  luaL_pushresult(&b);
  grad__lua_error(L, "%s must be one of %s, got \"%s\"", name, lua_tostring(L, -1), given);
}

int grad__option_choice(lua_State *L, int options, const char *name, const char *const *choices, int otherwise) {
  int chosen = otherwise;
  if (grad__option_push(L, options, name) != LUA_TNIL) {
    const char *given = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    if (!given) grad__arg_error(L, -1, name, "a string");
    for (chosen = 0; choices[chosen] && strcmp(choices[chosen], given) != 0;) chosen++;
    if (!choices[chosen]) unknown_choice(L, name, given, choices);
  }
  lua_pop(L, 1);
  return chosen;
}

/* internal.distance(a, b): how many letters differ */
static int distance_of(lua_State *L) {
  lua_pushinteger(L, distance(luaL_checkstring(L, 1), luaL_checkstring(L, 2)));
  return 1;
}

void grad__open_options(lua_State *L) {
  lua_pushcfunction(L, distance_of);
  gradlua__modules_publish(L, "distance");
}
