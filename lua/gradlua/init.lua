--- gradlua: the module table: what is written in C, and what is better said in Lua, loaded when it is first asked for.
local gl = require "gradlua.core"
local check = require "gradlua.check"
local arity = require("gradlua.internal").arity

-- Modules that are fields of gl, and functions of gl with the modules that hold them.
local modules = { data = true, health = true, logger = true, nn = true, optim = true, plot = true }
local functions = {
  checkpoint = "control", classify = "understand", cond = "control", custom = "control",
  differentiable = "understand", directional = "derivatives", fixed_point = "root", fori = "control", help = "help",
  least_squares = "least_squares", load = "store", minimize = "minimize", minimizer = "minimize", odeint = "odeint",
  root = "root", save = "store", scan = "control", show = "show", while_loop = "control",
}

local position_of_least = gl.argmin

--- Of a tensor, argmin(x [, axis] [, {keepdim = false}]): the position of the first smallest value, with no axis in row order.
--- Of a function, argmin(f, x0, ...): the point near x0 where f(x, ...) is least, and gl.minimize's result; differentiable in
--- the further arguments by the implicit function theorem. See gl.minimize for the options method, tol, max_iter, memory.
---@param first any a tensor, or a function
---@return any
function gl.argmin(first, ...)
  if not gl.is_tensor(first) and check.is_callable(first) then return require("gradlua.root").argmin(first, ...) end
  return position_of_least(first, ...)
end

--- What is published, a function or a module (which may hold another): functions refuse more arguments than they take.
local function counted(name, value, depth)
  if type(value) == "function" then return arity.counted(name, value) end
  if type(value) == "table" and getmetatable(value) == nil and depth < 2 then
    for key, part in pairs(value) do value[key] = counted(name .. "." .. key, part, depth + 1) end
  end
  return value
end

return setmetatable(gl, {
  __index = function(t, name)
    local value
    if modules[name] then value = require("gradlua." .. name) end
    if functions[name] then value = require("gradlua." .. functions[name])[name] end
    value = counted(name, value, 0)
    rawset(t, name, value)
    return value
  end,
  lazy = { modules, functions }, -- for completion and the reference
})
