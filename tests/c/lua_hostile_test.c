/* lua_hostile_test.c: scripts that mean harm. Each ends with a status, within its time and its memory, and the state
 * can be used afterwards.
 */
#include "check.h"
#include "include/gradlua.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { LIMIT = 64 << 20 };
static const double seconds = 1, patience = 4; /* the limit, and what a busy machine may make of it */

static gradlua *open_with(gradlua_libraries libraries) {
  const gradlua_config config = {
      .size = sizeof config, .byte_limit = LIMIT, .max_seconds = seconds, .threads = 2, .libraries = libraries};
  gradlua *g = NULL;
  check(gradlua_new(&config, &g) == GRAD_OK);
  return g;
}

static grad_status run(gradlua *g, const char *text) { return gradlua_run(g, text, strlen(text), "=hostile", NULL); }

static const char sane[] =
    "collectgarbage() assert(gl.grad(function(x) return (x * x):sum() end)(gl.ones(3))[2]:item() == 2)";

static bool verbose; /* lua_hostile_test -v names each script before it runs */

/* Runs the script, which ends in time and leaves a state that works; gives its status. */
static grad_status survive(gradlua *g, const char *script) {
  if (verbose) fprintf(stderr, "%s\n", script);
  const double begun = now();
  const grad_status status = run(g, script);
  bool good = check(now() - begun < patience) && check(gradlua_bytes(g) <= LIMIT);
  good = check(status == GRAD_OK || gradlua_message(g)[0]) && good;
  if (!check(run(g, sane) == GRAD_OK) || !good) fprintf(stderr, "  after: %s\n  %s\n", script, gradlua_message(g));
  return status;
}

/* --- what must fail */

static const char *const refused[] = {
    /* depth */
    "local function f() return 1 + f() end f()",
    "local function f(n) return gl.grad(function(x) return f(n + 1) * x end)(1.0) end f(1)",
    "local function f(n) return gl.jit(function(x) return f(n + 1) * x end)(gl.ones(2)) end f(1)",
    "local function f(x) return gl.cond(x:sum():gt(0), function() return f(x) end, function() return x end) end "
    "gl.jit(f)(gl.ones(2))",
    "local t = {} for i = 1, 200000 do t = { t } end gl.tensor(t)",
    "local t = {} for i = 1, 200000 do t = { t } end gl.grad(function(p) return p end)(t)",
    "local t = {} for i = 1, 200000 do t = { a = t } end gl.jit(function(p) return 1 end)(t)",
    "local t = gl.ones(2) for i = 1, 200000 do t = { a = t } end gl.grad(function(p) return 1.0 end)(t)",
    "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x.y",
    "('('):rep(100000):find(('('):rep(300))",
    /* functions of Lua's libraries that work for long */
    "('a'):rep(1000):find(('.-'):rep(20) .. 'b')",
    "('a'):rep(1000):match(('.*'):rep(20) .. 'b')",
    "('a'):rep(100000):gsub('.-b', '')",
    "for _ in ('a'):rep(100000):gmatch('a*a*b') do end",
    "(('('):rep(1000000)):gsub('%b()', '')",
    "(''):rep(1 << 62, 'xy')",
    "table.move({}, 1, math.maxinteger - 1, 2)",
    "table.move({}, -(1 << 62), 1, 1)",
    "table.insert(setmetatable({}, { __len = function() return 1 << 62 end }), 1, 0)",
    "table.remove(setmetatable({}, { __len = function() return 1 << 62 end }), 1)",
    "table.concat(setmetatable({}, { __index = tostring }), '', 1, 1 << 62)",
    "table.sort(setmetatable({}, { __len = function() return 1 << 30 end }), rawequal)",
    "load(('('):rep(100000))() error('parsed')",
    "load(('do '):rep(100000))() error('parsed')",
    /* cycles */
    "local t = {} t.t = t gl.grad(function(p) return p.t.x end)(t)",
    "local t = {} t[1] = t gl.tensor(t)",
    "local t = {} t.t = t gl.optim.adam(t)",
    "local t = {} t[1] = t gl.vmap(function(p) return p end)(t)",
    "local t = {} t[1] = t gl.stack(t)",
    "local t = {} t.t = t gl.minimize(function(p) return 1 end, t)",
    "local t = {} t[1] = t local x = gl.ones(3) x[t] = 1",
    /* sizes */
    "gl.zeros(2^62, 2^62)",
    "gl.zeros(math.maxinteger)",
    "gl.zeros(-1)",
    "gl.arange(1, 1e18)",
    "gl.linspace(0, 1, 1e15)",
    "gl.eye(1e9)",
    "gl.randperm(1e15)",
    "gl.one_hot(gl.ones(3), 1e15)",
    "gl.ones(3):repeat_interleave(1e15)",
    "gl.ones(3):tile(1e9, 1e9)",
    "gl.ones(3):pad({ { 1e15, 1e15 } })",
    "gl.ones(3):reshape(-1, -1)",
    "gl.ones(1):expand(2^61):clone()",
    "gl.ones(2, 2):kron(gl.ones(1e8, 1e8))",
    "gl.ones(1):expand(2^40):sum()",
    "gl.ones(1, 2^31):matmul(gl.ones(2^31, 1))",
    "gl.ones(8):conv1d(gl.ones(1, 1, 3), { stride = 0 })",
    "('x'):rep(1 << 40)",
    "local s = ('x'):rep(1 << 20) local t = {} for i = 1, 1e6 do t[i] = s .. i end",
    "gl.einsum(('ij,'):rep(1000), gl.zeros(2, 2))",
    "local x = gl.zeros(3) x[{ {1, 1e300} }] = 2",
    "gl.jit(function(x) return x[gl.tensor({9}, {dtype = 'i64'})] end)(gl.zeros(2))",
    "local t = {} for i = 1, 2e6 do t[i] = i end gl.zeros(table.unpack(t))",
    "local x = gl.ones(2) while true do x = gl.concat({ x, x }, 1) end",
    "gl.grad(function(x) for i = 1, 1e9 do x = x:sin() end return x end)(1)",
    "gl.fori(1e15, function(_, s) return s + 1 end, gl.zeros(2))",
    "gl.jit(function(x) return gl.while_loop(function(s) return s:gt(0) end, function(s) return s + 1 end, x) "
    "end)(gl.tensor(1))",
    "gl.minimize(function(x) return (x:sin() * 1e9):sum() + x:sum() end, gl.ones(5), { max_iter = 1e18, tol = 0 }) "
    "while true do end",
    /* metamethods that raise or lie */
    "gl.tensor({ 1, setmetatable({}, { __index = function() error('no') end, __len = function() return 10 end }) })",
    "gl.stack(setmetatable({}, { __len = function() return 2^60 end, __index = function() return gl.ones(2) end }))",
    "gl.grad(function(x) return setmetatable({}, { __index = error }) end)(1)",
    "gl.ones(2) + setmetatable({}, { __add = function() error({}) end })",
    "error(setmetatable({}, { __tostring = function() return 1 end }))",
    "error(setmetatable({}, { __tostring = function() while true do end end }))",
    "error(setmetatable({}, { __name = 3, __tostring = false }))",
    "gl.minimize(function(x) error(setmetatable({}, { __tostring = error })) end, 1)",
    "gl.vmap(function(x) error(x) end)(gl.zeros(3))",
    "for _ in pairs(setmetatable({}, { __pairs = function() return function() return 1 end end })) do end",
    "local x = gl.zeros(4) setmetatable(x, {})",
    "local x = gl.zeros(4) getmetatable(x).__index = nil x:sum()",
    "local x = gl.zeros(4) getmetatable(x).__gc(x)",
    "local m = getmetatable(gl.ones(1000)) m.__gc = nil",
    /* coroutines */
    "local co = coroutine.wrap(function() gl.grad(function(x) coroutine.yield(x) return x end)(1) end) co() co = nil "
    "collectgarbage() error('done')",
    "local x co = coroutine.create(function() gl.grad(function(v) x = v coroutine.yield() return v end)(1) end) "
    "coroutine.resume(co) coroutine.close(co) return x + 1, x:item(), error('done')",
    "local co co = coroutine.wrap(function() gl.grad(function(v) return co(v) end)(1) end) co()",
    "gl.jit(function(x) coroutine.yield(x) return x end)(gl.ones(2))",
    "gl.minimize(function(x) coroutine.yield() return x end, 1)",
    "local all = {} for i = 1, 1e9 do all[i] = coroutine.wrap(function() gl.grad(function(x) coroutine.yield() return "
    "x "
    "end)(1) end) all[i]() end",
    /* the sandbox */
    "string.dump(print)",
    "('x'):dump()",
    "load('\\27Lua\\84\\0')()",
    "load(string.char(27, 76, 117, 97), 'x', 'b')()",
    "debug.sethook()",
    "os.exit(0)",
    "io.write('x')",
    "require 'debug'",
    "package.loadlib('x', 'y')",
    "setmetatable({}, { __gc = function() end })",
    "gl.save('/tmp/gradlua_hostile', { gl.ones(2) })",
    "gl.plot.line(gl.ones(3), gl.ones(3), { file = '/tmp/gradlua_hostile.png' })",
    "gl.set_threads(64)",
    "collectgarbage('stop') local t = {} while true do t = { t } end",
    "collectgarbage('generational') while true do local x = gl.ones(1000) end",
};

static void test_refused(void) {
  gradlua *g = open_with(GRADLUA_LIBRARIES_SAFE);
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    if (!check(survive(g, refused[i]) != GRAD_OK)) fprintf(stderr, "  passed: %s\n", refused[i]);
    check(run(g, "collectgarbage('restart') collectgarbage('incremental')") == GRAD_OK);
  }
  gradlua_free(g);
}

/* --- every function, with every kind of table that misbehaves */

static const char every_function[] =
    "local cyclic = {} cyclic.t, cyclic[1] = cyclic, cyclic\n"
    "local deep = {} for i = 1, 1e5 do deep = { deep } end\n"
    "local raising = setmetatable({}, { __index = function() error('index') end, __len = function() error('len') end,\n"
    "  __pairs = function() error('pairs') end, __call = function() error('call') end })\n"
    "local lying = setmetatable({}, { __len = function() return 1 << 60 end, __index = function(_, k) return k end })\n"
    "local values = { cyclic, deep, raising, lying }\n"
    "local x, f = gl.ones(3), function(v) return v end\n"
    "local function try(call)\n"
    "  for _, t in ipairs(values) do\n"
    "    pcall(call, t) pcall(call, t, t) pcall(call, x, t) pcall(call, f, t) pcall(call, t, x) pcall(call, f, x, t)\n"
    "    pcall(function() return call(t)(t) end) pcall(function() return call(f)(t) end)\n"
    "    pcall(function() return call(function() return t end)(x) end)\n"
    "  end\n"
    "end\n"
    "local skip = { help = true, set_threads = true, debug = true, clock = true }\n"
    "local function walk(t, depth)\n"
    "  for name, value in pairs(t) do\n"
    "    if type(value) == 'function' and not skip[name] then coroutine.yield(name, function() try(value) end) end\n"
    "    if type(value) == 'table' and depth < 3 then walk(value, depth + 1) end\n"
    "  end\n"
    "end\n"
    "for _, name in ipairs { 'nn', 'optim', 'data', 'plot' } do local _ = gl[name] end\n"
    "next_function = coroutine.wrap(function() walk(gl, 1) walk({ string, table, coroutine, utf8 }, 1) end)\n";

static void test_every_function(void) {
  gradlua *g = open_with(GRADLUA_LIBRARIES_SAFE);
  check(run(g, every_function) == GRAD_OK);
  int count = 0;
  for (; count < 2000; count++) {
    if (run(g, "name, work = next_function() assert(name)") != GRAD_OK) break;
    const double begun = now();
    run(g, "work()");
    if (check(now() - begun < patience) && count % 50 > 0) continue;
    if (!check(run(g, sane) == GRAD_OK)) break;
    run(g, "error(name)");
    if (now() - begun >= patience) fprintf(stderr, "  slow: %s\n", gradlua_message(g));
  }
  check(count > 300);
  check(run(g, sane) == GRAD_OK);
  gradlua_free(g);
}

/* --- finalizers, where the whole library lets scripts have them */

static const char *const finalizers[] = {
    /* resurrection */
    "setmetatable({ x = gl.ones(1000) }, { __gc = function(t) kept = t end }) collectgarbage() collectgarbage()\n"
    "assert(kept.x:sum():item() == 1000) kept = nil collectgarbage()",
    /* a finalizer in the middle of a transform, a jitted function, a minimizer */
    "gl.grad(function(x) for i = 1, 2000 do setmetatable({}, { __gc = function() local y = gl.grad(function(v) return "
    "v * "
    "v end)(i) end }) x = x * 1 end collectgarbage() return x end)(1)",
    "gl.jit(function(x) setmetatable({}, { __gc = function() x = x + 1 end }) collectgarbage() return x "
    "end)(gl.ones(2))",
    "setmetatable({}, { __gc = function() error('raised') end }) collectgarbage()",
    "setmetatable({}, { __gc = function() coroutine.yield() end }) collectgarbage()",
    /* used after the context is gone: these run while the state is closed */
    "local x = gl.ones(1000) late = setmetatable({}, { __gc = function() x = x + 1 gl.grad(function(v) return v "
    "end)(1) end })",
    "local f = gl.jit(function(v) return v:sin() end) f(gl.ones(9))\n"
    "later = setmetatable({}, { __gc = function() f(gl.ones(9)) gl.zeros(1000):sum() end })",
    "local co = coroutine.wrap(function() gl.grad(function(v) coroutine.yield(v) return v end)(1) end) held = co()\n"
    "last = setmetatable({ co = co }, { __gc = function() return held + 1, co() end })",
    "local o = gl.optim.adam({ gl.ones(3) }) again = setmetatable({}, { __gc = function() o:step({ gl.ones(3) }) end "
    "})",
};

static void test_finalizers(void) {
  gradlua *g = open_with(GRADLUA_LIBRARIES_ALL);
  for (size_t i = 0; i < sizeof finalizers / sizeof *finalizers; i++) survive(g, finalizers[i]);
  gradlua_free(g);
}

/* Keys of a weak table stay for a cycle after they were finalized: no finalizer of Lua's is needed to see them. */
static void test_weak_keys(void) {
  gradlua *g = open_with(GRADLUA_LIBRARIES_SAFE);
  check(survive(g, "local w = setmetatable({}, { __mode = 'k' })\n"
                   "local function fill()\n"
                   "  local f f = gl.jit(function(v) return v:sin() + gl.ones(1000):sum() + #tostring(f) end)\n"
                   "  f(gl.ones(9))\n"
                   "  local _, pull = gl.vjp(function(v) return v:sin() end, gl.ones(1000))\n"
                   "  w[gl.ones(1000)], w[f], w[pull] = 1, 2, 3\n"
                   "  w[gl.sparse_jacobian(function(v) return v * v end, gl.ones(4))] = 4\n"
                   "  w[gl.minimizer and gl.minimizer(function(v) return v end, 1) or {}] = 5\n"
                   "end\n"
                   "fill() collectgarbage()\n"
                   "local seen = 0\n"
                   "for x in pairs(w) do\n"
                   "  seen = seen + 1\n"
                   "  pcall(gl.sum, x) pcall(gl.clone, x) pcall(function() return x[1] end) pcall(function() return "
                   "x.values end)\n"
                   "  pcall(function() return x(gl.ones(9)) end) pcall(function() return x:run() end)\n"
                   "end\n"
                   "assert(seen > 0)") == GRAD_OK);
  gradlua_free(g);
}

/* A finalizer that was set before the module was loaded runs when everything of ours is gone. */
static void test_closed(void) {
  lua_State *L = luaL_newstate();
  if (!check(L != NULL)) return;
  luaL_openlibs(L);
  check(luaL_dostring(L, "early = setmetatable({}, { __gc = function()\n"
                         "  for _, f in ipairs { function() return gl.zeros(3) end, function() return x + 1 end,\n"
                         "    function() return f(x) end, function() return g(x) end, function() return x:item() end,\n"
                         "    function() return small[1] + small end, function() gl.set_threads(2) end,\n"
                         "    function() return tostring(small) end } do results[#results + 1] = pcall(f) end\n"
                         "end })") == LUA_OK);
  luaL_requiref(L, "gradlua", luaopen_gradlua, 0);
  lua_setglobal(L, "gl");
  check(luaL_dostring(L, "x, small, results = gl.ones(1000), gl.ones(3), {}\n"
                         "f, g = gl.jit(function(v) return v:sin() end), gl.grad(function(v) return v:sum() end)\n"
                         "f(x) g(x)") == LUA_OK);
  lua_close(L);
}

static int note_run(lua_State *L) {
  *(bool *)lua_touserdata(L, 1) = lua_tonumber(L, 2) == 16;
  return 0;
}

static void *count_bytes(void *ud, void *block, size_t old, size_t size) {
  size_t *used = ud;
  void *moved = size ? realloc(block, size) : NULL;
  if (size == 0) free(block);
  if (size == 0 || moved) *used += size - (block ? old : 0);
  return moved;
}

/* One that was set before the first operation runs when what operations keep for the next has been given back. */
static void test_late_operation(void) {
  size_t used = 0;
  lua_State *L = lua_newstate(count_bytes, &used);
  if (!check(L != NULL)) return;
  luaL_openlibs(L);
  luaL_requiref(L, "gradlua", luaopen_gradlua, 0);
  lua_setglobal(L, "gl");
  bool ran = false;
  lua_pushlightuserdata(L, &ran);
  lua_setglobal(L, "ran");
  lua_pushcfunction(L, note_run);
  lua_setglobal(L, "note");
  check(luaL_dostring(L, "late = setmetatable({}, { __gc = function() note(ran, gl.ones(4, 4):sum():item()) end })\n"
                         "return gl.ones(4, 4):sum()") == LUA_OK);
  lua_close(L);
  check(ran && used == 0);
}

int main(int argc, char **argv) {
  verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
  test_refused();
  test_every_function();
  test_finalizers();
  test_weak_keys();
  test_closed();
  test_late_operation();
  return check_done();
}
