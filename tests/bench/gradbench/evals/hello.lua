--- x^2 and its derivative.
local gl = require "gradlua"

local function square(x) return x * x end

return {
  square = function(x) return function() return square(x) end end,
  double = function(x)
    local double = gl.jit(gl.grad(square))
    return function() return double(x) end
  end,
}
