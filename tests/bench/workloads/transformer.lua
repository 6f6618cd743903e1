-- A transformer block (norm, attention, norm, two linear layers), batch 8, 64 positions, width 64: value and gradient.
local gl = require "gradlua"
local inputs = require "inputs"

local cases = {}
for _, dtype in ipairs { "f32", "f64" } do
  cases[#cases + 1] = { name = ("transformer block 64, 4 heads, 8 x 64, %s"):format(dtype), make = function()
    local nn = gl.nn
    local seed = 0
    local function linear(o, i)
      seed = seed + 2
      return { weight = inputs.fill({ o, i }, seed, { scale = 1 / math.sqrt(i), dtype = dtype }),
        bias = inputs.fill({ o }, seed + 1, { scale = 0.1, dtype = dtype }) }
    end
    local p = { attention = { query = linear(64, 64), key = linear(64, 64), value = linear(64, 64), output = linear(64, 64) },
      up = linear(128, 64), down = linear(64, 128) }
    local attention, norm = nn.attention(64, 4, { dtype = dtype }), nn.layer_norm(64, { dtype = dtype })
    local up, down = nn.linear(64, 128), nn.linear(128, 64)
    local plain = norm:init()
    local x = inputs.fill({ 8, 64, 64 }, 50, { dtype = dtype })
    local f = gl.jit(gl.value_and_grad(function(q)
      local h = x + attention(q.attention, norm(plain, x))
      h = h + down(q.down, up(q.up, norm(plain, h)):gelu())
      return h:square():mean()
    end))
    return function() return (f(p)) end
  end }
end
return cases
