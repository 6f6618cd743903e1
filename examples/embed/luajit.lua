-- The core from LuaJIT, through its FFI: no C is compiled, no Lua 5.4 is involved. f(x) = sum(x sin x) is built, derived
-- and planned; value and gradient are then computed in LuaJIT's own memory. A minimizer calls Lua functions back.
--   luajit luajit.lua [PREFIX/include/grad_ffi.h [PREFIX/lib/libgrad.so]]

local ffi = require "ffi"

local header = assert(io.open(arg[1] or "/usr/local/include/grad_ffi.h"))
ffi.cdef(header:read "*a")
header:close()
local grad = ffi.load(arg[2] or "grad")

local out = ffi.new("grad_ctx *[1]")
assert(grad.grad_ctx_new(ffi.new("grad_config", { size = ffi.sizeof "grad_config", byte_limit = 2 ^ 20 }), out) == 0)
local ctx = out[0]

local function check(status)
  if status ~= 0 then error(ffi.string(grad.grad_message(ctx)), 2) end
end

--- What `call` writes to the pointer that it is given.
local function made(kind, call)
  local box = ffi.new(kind .. " *[1]")
  check(call(box))
  return box[0]
end

local n = 4
local program = made("grad_program", function(box) return grad.grad_program_new(ctx, box) end)
local x = grad.grad_input(program, "GRAD_F64", 1, ffi.new("int64_t[1]", n))
local sine = grad.grad_apply(program, "sin", 1, ffi.new("grad_id[1]", x))
local product = grad.grad_apply(program, "mul", 2, ffi.new("grad_id[2]", x, sine))
grad.grad_output(program, grad.grad_sum(program, product, 0, 0))

local gradient = made("grad_program", function(box) return grad.grad_gradient(program, nil, box) end)
local f = made("grad_function", function(box) return grad.grad_compile(gradient, box) end)
local at = ffi.new("double[?]", n, { 0, 0.5, 1, 2 })
local value, slope = ffi.new("double[1]"), ffi.new("double[?]", n)
check(grad.grad_run_raw(f, ffi.new("const void *[1]", { at }), ffi.new("void *[2]", { value, slope })))

local worst = 0
for i = 0, n - 1 do
  worst = math.max(worst, math.abs(slope[i] - math.sin(at[i]) - at[i] * math.cos(at[i])))
end
print(("value %.6f, largest error of the gradient %.1e"):format(value[0], worst))

-- The minimum of (x - 3)^2 + 1.
local problem = ffi.new("grad_problem", { n = 1 })
problem.f_gradient = function(_, p, v, g)
  v[0], g[0] = (p[0] - 3) ^ 2 + 1, 2 * (p[0] - 3)
  return 0
end
local options, best = ffi.new("grad_minimize_options[1]"), ffi.new("double[1]", 10)
grad.grad_minimize_defaults(options)
options[0].method = "GRAD_METHOD_LBFGS"
local summary = ffi.new("grad_minimize_result[1]")
check(grad.grad_minimize(ctx, problem, options, best, summary))
print(("minimum %.6f at %.6f: %s"):format(summary[0].f, best[0], ffi.string(summary[0].message)))

grad.grad_function_free(f)
grad.grad_program_free(gradient)
grad.grad_program_free(program)
grad.grad_ctx_free(ctx)
if worst > 1e-14 or math.abs(best[0] - 3) > 1e-6 then os.exit(1) end
