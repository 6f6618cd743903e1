/* lua_code.c: reads what lua_dump writes (Lua 5.4: ldump.c, lopcodes.h). Whatever is not as expected ends the reading:
 * the names found so far are given, and the caller is told. */
#include "lua/jit/lua_code.h"

#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

enum { LOADK = 3, GETUPVAL = 9, GETTABUP = 11 };                                              /* instructions */
enum { NUMBER_INTEGER = 0x03, SHORT_STRING = 0x04, NUMBER_FLOAT = 0x13, LONG_STRING = 0x14 }; /* kinds of constants */
enum { EXTRA_HEADER = 26 }; /* bytes behind the version: format, check data, sizes, an integer and a float */

typedef struct text {
  const char *at; /* NULL: no string */
  size_t size;
} text;

typedef struct reader {
  lua_State *L;
  const char *at, *end;
  bool sound;
  int names, modules;
} reader;

/* --- pieces */

static const char *take(reader *r, size_t n) {
  const char *at = r->at;
  r->sound = r->sound && (size_t)(r->end - at) >= n;
  if (r->sound) r->at += n;
  return at;
}

static uint8_t read_byte(reader *r) {
  const char *at = take(r, 1);
  return r->sound ? (uint8_t)*at : 0;
}

/* Groups of 7 bits, the first ones first; the last has the top bit set. */
static size_t read_size(reader *r) {
  size_t n = 0;
  for (uint8_t byte = 0; r->sound && !(byte & 0x80);) {
    byte = read_byte(r);
    n = (n << 7) | (byte & 0x7f);
  }
  return r->sound ? n : 0;
}

static text read_string(reader *r) {
  const size_t size = read_size(r); /* one more than its length; 0: there is none */
  if (size == 0) return (text){0};
  return (text){take(r, size - 1), size - 1};
}

static void skip_items(reader *r, size_t size) { take(r, read_size(r) * size); }

static text read_constant(reader *r) {
  const uint8_t kind = read_byte(r);
  if (kind == SHORT_STRING || kind == LONG_STRING) return read_string(r);
  if (kind == NUMBER_FLOAT || kind == NUMBER_INTEGER) take(r, 8);
  return (text){0};
}

static uint32_t instruction(const char *code, size_t i) {
  uint32_t word;
  memcpy(&word, code + 4 * i, sizeof word);
  return word;
}

/* --- names */

static void add(const reader *r, int set, const text *name) {
  if (!name->at) return;
  lua_pushlstring(r->L, name->at, name->size);
  lua_pushboolean(r->L, true);
  lua_rawset(r->L, set);
}

static bool is_require(const text *name) {
  return name->at && name->size == strlen("require") && memcmp(name->at, "require", name->size) == 0;
}

/* A global is read by one instruction; where that has no room for the name (it is the 257th constant, or longer than 40
 * bytes) the table is loaded first, and then any string may be the name. */
static void add_names(const reader *r, const char *code, size_t ncode, const text *constants, size_t nconstants,
                      int env) {
  for (size_t i = 0; i < ncode; i++) {
    const uint32_t word = instruction(code, i), op = word & 0x7f, b = word >> 16 & 0xff, c = word >> 24;
    if ((int)b != env) continue;
    for (size_t k = 0; op == GETUPVAL && k < nconstants; k++) add(r, r->names, &constants[k]);
    if (op != GETTABUP || c >= nconstants) continue;
    add(r, r->names, &constants[c]);
    if (!is_require(&constants[c]) || i + 1 == ncode) continue;
    const uint32_t next = instruction(code, i + 1);
    if ((next & 0x7f) == LOADK && next >> 15 < nconstants) add(r, r->modules, &constants[next >> 15]);
  }
}

/* --- functions */

/* Which of the function's upvalues is number `outer_env` of the one around it; the outermost function's is known. */
static int read_upvalues(reader *r, int outer_env, bool outermost) {
  int env = outermost ? outer_env : -1;
  const size_t n = read_size(r);
  for (size_t i = 0; i < n && r->sound; i++) {
    const char *upvalue = take(r, 3); /* is it a local variable of the function around; its number; its kind */
    if (r->sound && !outermost && !upvalue[0] && (uint8_t)upvalue[1] == outer_env) env = (int)i;
  }
  return env;
}

static void skip_debug(reader *r) {
  skip_items(r, 1);
  for (size_t n = 2 * read_size(r); n > 0 && r->sound; n--) read_size(r);
  for (size_t n = read_size(r); n > 0 && r->sound; n--) read_string(r), read_size(r), read_size(r);
  for (size_t n = read_size(r); n > 0 && r->sound; n--) read_string(r);
}

static void read_function(reader *r, int outer_env, bool outermost) {
  luaL_checkstack(r->L, 4, "functions are nested too deep");
  read_string(r);             /* source */
  read_size(r), read_size(r); /* first and last line */
  take(r, 3);                 /* parameters, whether it is vararg, registers */
  const size_t ncode = read_size(r);
  const char *code = take(r, 4 * ncode);
  const size_t nconstants = read_size(r);
  if (!r->sound || nconstants > (size_t)(r->end - r->at)) {
    r->sound = false;
    return;
  }
  text *constants = lua_newuserdatauv(r->L, (nconstants + 1) * sizeof *constants, 0);
  for (size_t i = 0; i < nconstants; i++) constants[i] = read_constant(r);
  const int env = read_upvalues(r, outer_env, outermost);
  if (r->sound) add_names(r, code, ncode, constants, nconstants, env);
  lua_pop(r->L, 1);
  for (size_t n = read_size(r); n > 0 && r->sound; n--) read_function(r, env, false);
  skip_debug(r);
}

/* --- the dump */

typedef struct dump {
  luaL_Buffer buffer;
  bool begun;
} dump;

/* The buffer has its place on the stack above the function that is dumped. */
static int write_dump(lua_State *L, const void *bytes, size_t n, void *ud) {
  dump *d = ud;
  if (!d->begun) luaL_buffinit(L, &d->buffer);
  d->begun = true;
  luaL_addlstring(&d->buffer, bytes, n);
  return 0;
}

bool grad__code_names(lua_State *L, int function, int env, int names, int modules) {
  dump d = {.begun = false};
  const int top = lua_gettop(L);
  lua_pushvalue(L, function);
  lua_dump(L, write_dump, &d, 1);
  luaL_pushresult(&d.buffer);
  size_t size;
  const char *code = lua_tolstring(L, -1, &size);
  reader r = {.L = L, .at = code, .end = code + size, .sound = true, .names = names, .modules = modules};
  r.sound = size > 5 && memcmp(code, LUA_SIGNATURE "\x54", 5) == 0;
  take(&r, 5 + EXTRA_HEADER);
  read_byte(&r); /* upvalues, which the function tells again */
  read_function(&r, env - 1, true);
  lua_settop(L, top);
  return r.sound && r.at == r.end;
}
