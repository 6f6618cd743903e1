/* lua_fuzz_test.c: random calls of the whole Lua interface with arguments of every kind, in a limited state: each must
 * return or raise; the state must stay usable and give all memory back.
 *   lua_fuzz_test [seconds [seed]] */
#include "check.h"
#include "include/gradlua.h"

#include <stdlib.h>
#include <time.h>

static const char script[] =
    "local random = math.random\n"
    "local function pick(list) return list[random(#list)] end\n"
    "function keys_of(t)\n"
    "  local keys = {}\n"
    "  for key in pairs(t) do if type(key) == 'string' then keys[#keys + 1] = key end end\n"
    "  table.sort(keys)\n"
    "  return keys\n"
    "end\n"
    "local functions = {}\n"
    "local function gather(t, path, depth)\n"
    "  for _, key in ipairs(keys_of(t)) do\n"
    "    local value = t[key]\n"
    "    if type(value) == 'function' then functions[#functions + 1] = { path .. key, value }\n"
    "    elseif type(value) == 'table' and depth < 2 and key ~= '_G' then gather(value, path .. key .. '.', depth + 1) "
    "end\n"
    "  end\n"
    "end\n"
    "for _, name in ipairs { 'optim', 'nn', 'data' } do local _ = gl[name] end\n"
    "gather(gl, 'gl.', 0)\n"
    "local shapes = { {}, { 0 }, { 1 }, { 3 }, { 2, 3 }, { 3, 2 }, { 3, 3 }, { 2, 3, 3 }, { 1, 2, 3, 3 }, { 0, 3 } }\n"
    "local dtypes = { 'f64', 'f64', 'f32', 'i64', 'bool' }\n"
    "local numbers = { 0, 1, -1, 2, 3, 0.5, 1e300, -1e-300, 1 / 0, -1 / 0, 0 / 0, 2 ^ 53, math.mininteger, "
    "math.maxinteger }\n"
    "local strings = { '', 'f64', 'ij,jk->ik', 'all', 'auto', 'lbfgs', 'adam', '\\0', 'sum', ('x'):rep(300) }\n"
    "local options = { 'dtype', 'keepdim', 'axis', 'mode', 'lr', 'method', 'max_iter', 'p', 'stride', 'static', "
    "'train' }\n"
    "local bodies = {\n"
    "  function(x) return x end, function(x) return (x * x):sum() end, function() end, function() error('no') end,\n"
    "  function(x, y) return x, y end, function(x) return { x } end, function() return true end,\n"
    "  function(x) return x:sin():sum() end, function(_, s) return s end, function(x) return x < 1 end,\n"
    "}\n"
    "local argument\n"
    "local function tensor()\n"
    "  local x = gl.randn(table.unpack(pick(shapes))) \n"
    "  return x:to(pick(dtypes))\n"
    "end\n"
    "local makers = {\n"
    "  tensor, tensor, tensor, tensor,\n"
    "  function() return pick(numbers) end, function() return random(-2, 4) end, function() return random(1, 3) end,\n"
    "  function() return pick(strings) end, function() return nil end, function() return random() < 0.5 end,\n"
    "  function() return pick(bodies) end, function() return pick(functions)[2] end,\n"
    "  function() local t = {} for i = 1, random(0, 3) do t[i] = argument(1) end return t end,\n"
    "  function() return { [pick(options)] = argument(1) } end,\n"
    "  function() local t = {} t.t = t return t end,\n"
    "  function() return setmetatable({}, { __index = function() error('index') end }) end,\n"
    "}\n"
    "function argument(depth) return pick(makers)(depth) end\n"
    "local skip = { ['gl.help'] = true, ['gl.debug'] = true, ['gl.set_threads'] = true }\n"
    "function fuzz(seed, count)\n"
    "  math.randomseed(seed)\n"
    "  for _ = 1, count do\n"
    "    local entry = pick(functions)\n"
    "    local ok, args = pcall(function()\n"
    "      local list = { n = random(0, 4) }\n"
    "      for i = 1, list.n do list[i] = argument(0) end\n"
    "      return list\n"
    "    end)\n"
    "    if ok and not skip[entry[1]] then\n"
    "      local done, result = pcall(entry[2], table.unpack(args, 1, args.n))\n"
    "      if done and gl.is_tensor(result) then pcall(tostring, result) end\n"
    "      if done and type(result) == 'function' then pcall(result, argument(0), argument(0)) end\n"
    "    end\n"
    "  end\n"
    "end\n";

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static gradlua *open_limited(void) {
  const gradlua_config config = {
      .size = sizeof config, .byte_limit = 256 << 20, .max_seconds = 1, .max_instructions = 20000000};
  gradlua *g = NULL;
  check(gradlua_new(&config, &g) == GRAD_OK);
  grad_status status = gradlua_run(g, script, sizeof script - 1, "=fuzz", NULL);
  if (!check(status == GRAD_OK)) fprintf(stderr, "%s\n", gradlua_message(g));
  return g;
}

int main(int argc, char **argv) {
  const double seconds = argc > 1 ? atof(argv[1]) : 3, end = now() + seconds;
  unsigned seed = argc > 2 ? (unsigned)atol(argv[2]) : 1;
  gradlua *g = open_limited();
  for (; now() < end; seed++) {
    char call[64];
    const int size = snprintf(call, sizeof call, "fuzz(%u, 20)", seed);
    const grad_status status = gradlua_run(g, call, (size_t)size, "=call", NULL);
    bool good = status == GRAD_OK || status == GRAD_EINTERRUPT || status == GRAD_ELIMIT;
    if (!check(good)) fprintf(stderr, "  seed %u: %s\n", seed, gradlua_message(g));
  }
  static const char after[] = "collectgarbage() collectgarbage() "
                              "assert(gl.grad(function(x) return (x * x):sum() end)(gl.tensor{3})[1]:item() == 6)";
  check(gradlua_run(g, after, sizeof after - 1, "=after", NULL) == GRAD_OK);
  gradlua_free(g);
  return check_done();
}
