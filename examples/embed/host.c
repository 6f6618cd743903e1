/* host.c: a C program that calibrates a model written in Lua on arrays of its own, with a limit on memory and on time.
 *   host model.lua */
#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gradlua.h"

enum { N = 200 };

/* Lua's allocator with a limit; the toolkit's tensors and plans go through it too. */
typedef struct memory {
  size_t used, limit;
} memory;

static void *limited(void *ud, void *block, size_t old_size, size_t new_size) {
  memory *m = ud;
  if (!block) old_size = 0;
  if (new_size == 0) {
    m->used -= old_size;
    free(block);
    return NULL;
  }
  if (new_size > old_size && m->used + (new_size - old_size) > m->limit) return NULL;
  void *grown = realloc(block, new_size);
  if (grown) m->used = m->used - old_size + new_size;
  return grown;
}

static int expired(lua_State *L) {
  const clock_t end = (clock_t)lua_tointeger(L, lua_upvalueindex(1));
  lua_pushboolean(L, clock() > end);
  return 1;
}

typedef struct task {
  const char *path;
  double *times, *values;
  double fitted[3];
} task;

/* Runs protected: whatever the script does comes back as a status and a message. */
static int calibrate(lua_State *L) {
  task *t = lua_touserdata(L, 1);
  luaL_openlibs(L);
  luaL_requiref(L, "gradlua", luaopen_gradlua, 0);
  if (luaL_dofile(L, t->path) != LUA_OK) return lua_error(L);
  lua_getfield(L, -1, "calibrate");
  gradlua_push_borrowed(L, t->times, GRAD_F64, 1, (const int64_t[]){N}, NULL, NULL);
  gradlua_push_borrowed(L, t->values, GRAD_F64, 1, (const int64_t[]){N}, NULL, NULL);
  lua_pushinteger(L, (lua_Integer)(clock() + 2 * CLOCKS_PER_SEC));
  lua_pushcclosure(L, expired, 1);
  lua_call(L, 3, 4);
  for (int i = 0; i < 3; i++) t->fitted[i] = lua_tonumber(L, i - 4);
  printf("status: %s\n", lua_tostring(L, -1));
  return 0;
}

int main(int argc, char **argv) {
  static double times[N], values[N];
  for (int i = 0; i < N; i++) {
    times[i] = 0.05 * i;
    values[i] = 2.5 * exp(-0.8 * times[i]) + 0.3 + 0.01 * sin(37.0 * i);
  }
  task t = {.path = argc > 1 ? argv[1] : "model.lua", .times = times, .values = values};
  memory m = {.limit = 16 << 20};
  lua_State *L = lua_newstate(limited, &m);
  if (!L) return 1;
  lua_pushcfunction(L, calibrate);
  lua_pushlightuserdata(L, &t);
  const int status = lua_pcall(L, 1, 0, 0);
  if (status != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  printf("scale %.3f, rate %.3f, offset %.3f; %zu KiB in use\n", t.fitted[0], t.fitted[1], t.fitted[2], m.used >> 10);
  lua_close(L);
  if (m.used != 0) fprintf(stderr, "%zu bytes were lost\n", m.used);
  return status != LUA_OK || m.used != 0 || fabs(t.fitted[1] - 0.8) > 0.02;
}
