--- Recurrent layers over sequences N x T x inputs. A layer gives the states at all times, N x T x size, and the last
--- state. The option `state` of the call is where it starts; zeros otherwise. Weights and gates are laid out as PyTorch's.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local layer = require "gradlua.nn.layer"
local initializers = require "gradlua.nn.initializers"

local M = {}

--- The states to start from must be N x size, one (rnn, gru) or {h, c} (lstm).
local function check_state(who, state, n, size, count)
  local parts = gl.is_tensor(state) and { state } or state
  if type(parts) ~= "table" or #parts ~= count then
    check.fail(who, "state must be %s", count == 1 and "a tensor" or ("a list of %d tensors"):format(count))
  end
  for _, part in ipairs(parts) do
    if not gl.is_tensor(part) or part:ndim() ~= 2 or part:size(1) ~= n or part:size(2) ~= size then
      check.fail(who, "state must be %d x %d, got %s", n, size, gl.is_tensor(part) and layer.shape_text(part) or type(part))
    end
  end
end

--- Makes a constructor. `gates` rows of weights for each unit; step(gates of x, state, weight, bias) -> output, new
--- state. `additive`: the bias of the state's gates is only added to those of x, which then have it already.
local function recurrent(name, gates, additive, start, step)
  --- (inputs, size [, {dtype = "f64"}]) -> layer
  --- A layer over sequences N x T x inputs, giving all states N x T x size and the last one ({h, c} for lstm). The option
  --- `state` of the call is the state to start from, zeros otherwise.
  M[name] = function(inputs, size, options)
    check.integer("nn." .. name, "inputs", inputs, 1)
    check.integer("nn." .. name, "size", size, 1)
    local o = check.options("nn." .. name, options, { dtype = "f64" })
    local uniform = { bound = 1 / math.sqrt(size), dtype = o.dtype }
    return layer.new {
      name = name,
      needs = { "weight_input", "weight_state", "bias_input", "bias_state" },
      detail = ("%d -> %d"):format(inputs, size),
      init = function(generator)
        local function draw(...) return initializers.uniform({ ... }, generator, uniform) end
        return { weight_input = draw(gates * size, inputs), weight_state = draw(gates * size, size),
          bias_input = draw(gates * size), bias_state = draw(gates * size) }
      end,
      apply = function(params, x, call)
        if x:ndim() ~= 3 or x:size(3) ~= inputs then
          check.fail("nn." .. name, "expected N x T x %d, got shape %s", inputs, layer.shape_text(x))
        end
        local n, times = x:size(1), x:size(2)
        if times == 0 then check.fail("nn." .. name, "the sequences are empty: got shape %s", layer.shape_text(x)) end
        local state = call.state or start(n, size, x:dtype())
        if call.state ~= nil then check_state("nn." .. name, state, n, size, name == "lstm" and 2 or 1) end
        -- Times first, so that each time's rows lie together. One product for all of them; only the part that depends
        -- on the state is left for the loop.
        local bias = additive and params.bias_input + params.bias_state or params.bias_input
        local from_input = x:transpose(1, 2):matmul(params.weight_input:t()) + bias
        local weight, outputs = params.weight_state:t(), {}
        for t = 1, times do
          outputs[t], state = step(from_input[t], state, weight, params.bias_state)
        end
        return gl.stack(outputs, 1):transpose(1, 2), state
      end,
    }
  end
end

local function zeros(n, size, dtype) return gl.zeros({ n, size }, { dtype = dtype }) end

recurrent("rnn", 1, true, zeros, function(input, h, weight)
  local new = (input + h:matmul(weight)):tanh()
  return new, new
end)

--- Gates r, z, n. Cho et al. 2014, with the reset applied after the product.
recurrent("gru", 3, false, zeros, function(input, h, weight, bias)
  local a, b = input:chunk(3, 2), (h:matmul(weight) + bias):chunk(3, 2)
  local r, z = (a[1] + b[1]):sigmoid(), (a[2] + b[2]):sigmoid()
  local candidate = (a[3] + r * b[3]):tanh()
  local new = candidate + z * (h - candidate)
  return new, new
end)

--- Gates i, f, g, o; the state is {h, c}. Hochreiter, Schmidhuber 1997.
recurrent("lstm", 4, true, function(n, size, dtype) return { zeros(n, size, dtype), zeros(n, size, dtype) } end,
  function(input, state, weight)
    local gates = (input + state[1]:matmul(weight)):chunk(4, 2)
    local cell = gates[2]:sigmoid() * state[2] + gates[1]:sigmoid() * gates[3]:tanh()
    local h = gates[4]:sigmoid() * cell:tanh()
    return h, { h, cell }
  end)

return M
