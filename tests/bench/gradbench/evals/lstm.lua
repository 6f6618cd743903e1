--- The loss of a character LSTM with diagonal weights.
local gl = require "gradlua"

--- One layer: `weight` and `bias` hold the forget, input, output gate and the change, one row each.
local function layer(weight, bias, state, input)
  local hidden, cell = state[1], state[2]
  local forget = (input * weight[1] + bias[1]):sigmoid()
  local ingate = (hidden * weight[2] + bias[2]):sigmoid()
  local outgate = (input * weight[3] + bias[3]):sigmoid()
  local change = (hidden * weight[4] + bias[4]):tanh()
  local next_cell = cell * forget + ingate * change
  return outgate * next_cell:tanh(), next_cell
end

local function loss(layers, bits, characters)
  return function(main, extra, state, sequence)
    local main_rows = main:reshape(layers, 2, 4, bits)
    local function step(carry, pair)
      local value, states = pair[1] * extra[1], {}
      for i = 1, layers do
        local hidden, cell = layer(main_rows[{ i, 1 }], main_rows[{ i, 2 }], carry[i], value)
        states[i] = { hidden, cell }
        value = hidden
      end
      local predicted = value * extra[2] + extra[3]
      local normalized = predicted - (predicted:exp():sum() + 2):log()
      return states, (pair[2] * normalized):sum()
    end
    local start = {}
    for i = 1, layers do start[i] = { state[2 * i - 1], state[2 * i] } end
    local pairs_of_characters = { sequence[{ { 1, characters - 1 } }], sequence[{ { 2, characters } }] }
    local _, totals = gl.scan(step, start, pairs_of_characters)
    return -totals:sum() / ((characters - 1) * bits)
  end
end

local function prepare(transform)
  return function(input)
    local main, extra = gl.tensor(input.main_params), gl.tensor(input.extra_params)
    local state, sequence = gl.tensor(input.state), gl.tensor(input.sequence)
    local f = gl.jit(transform(loss(main:size(1) // 2, sequence:size(2), sequence:size(1))))
    return function() return f(main, extra, state, sequence) end
  end
end

local gradients = prepare(function(f)
  local g = gl.grad(f, { 1, 2 })
  return function(...)
    local main, extra = g(...)
    return gl.concat { main:flatten(), extra:flatten() }
  end
end)

return { objective = prepare(function(f) return f end), jacobian = gradients }
