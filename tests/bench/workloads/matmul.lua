-- Square matrix products; time per product.
local inputs = require "inputs"

local cases = {}
for _, dtype in ipairs { "f64", "f32" } do
  for _, n in ipairs { 64, 256, 1024 } do
    cases[#cases + 1] = { name = ("matmul %d, %s"):format(n, dtype), make = function()
      local a, b = inputs.fill({ n, n }, 1, { dtype = dtype }), inputs.fill({ n, n }, 2, { dtype = dtype })
      return function() return a:matmul(b)[{ 1, 1 }] end
    end }
  end
end
return cases
