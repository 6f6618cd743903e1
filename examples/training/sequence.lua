-- Remembering: the answer is the first number of a sequence, the rest is noise. An LSTM can carry it to the end, and the
-- gradient of the loss at the last step tells how much of the first step still arrives there.

local gl = require "gradlua"
local nn, optim = gl.nn, gl.optim

gl.manual_seed(2)
local length, size = 12, 12
local sequences = gl.randn(256, length, 1)
local answers = sequences[{ {}, 1 }]

--- A network that reads a sequence and answers from the last state.
local function reader(cell, last_state)
  local head = nn.linear(size, 1)
  local function answer(p, x)
    local _, state = cell(p.cell, x)
    return head(p.head, last_state(state))
  end
  return { cell = cell:init(), head = head:init() }, answer
end

--- How strongly the answer depends on each step: the mean size of its derivative there.
local function influence(answer, params)
  local by_step = gl.grad(function(x) return answer(params, x):sum() end)(sequences)
  return by_step:abs():mean { 1, 3 }
end

local function train(name, cell, last_state)
  local params, answer = reader(cell, last_state)
  local step = gl.jit(gl.value_and_grad(function(p) return nn.mse(answer(p, sequences), answers) end))
  local optimizer = optim.adam(params, { lr = 1e-2, clip_norm = 1 })
  local before, loss = influence(answer, params), nil
  for _ = 1, 250 do
    local value, grads = step(params)
    optimizer:step(grads)
    loss = value:item()
  end
  local after = influence(answer, params)
  print(("%-4s squared error %.4f; influence of the first step %.1e before, %.2f after training"):format(name, loss,
    before[1]:item(), after[1]:item()))
  return loss, before, after
end

local lstm, before, after = train("lstm", nn.lstm(1, size), function(state) return state[1] end)
local rnn = train("rnn", nn.rnn(1, size), function(state) return state end)
return { lstm = lstm, rnn = rnn, forgotten = before[1]:item(), remembered = after[1]:item() }
