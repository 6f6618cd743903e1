-- Finding a learning rate: raise it by a constant factor at each step, from far too small to far too large, and watch the
-- loss. The rate at which it falls fastest is a good one to train with (L. Smith (2017)). Training then ends when the
-- held-out loss has not fallen for some epochs, and the best parameters are kept.

local gl = require "gradlua"
local nn, data, optim = gl.nn, gl.data, gl.optim

local folder = arg[0]:match("^(.*)/training/[^/]*$") or "."
gl.manual_seed(3)
local rows = data.csv(folder .. "/data/digits.csv.gz")
local train, test = data.split({ rows[{ {}, { 1, 64 } }] / 16, rows[{ {}, 65 }] + 1 }, 0.8, { shuffle = true })

local model = nn.sequential { nn.linear(64, 32), nn.tanh, nn.linear(32, 10) }
local loss_and_grad = gl.jit(gl.value_and_grad(function(p, x, y) return nn.cross_entropy(model(p, x), y) end))

--- The losses of steps whose rates grow from `from` to `to`.
local function sweep(from, to, steps)
  local params, rates, losses = model:init(gl.generator(1)), {}, {}
  local optimizer = optim.sgd(params, { lr = from, momentum = 0.9 })
  for i = 1, steps do
    optimizer.lr = from * (to / from) ^ ((i - 1) / (steps - 1))
    local loss, grads = loss_and_grad(params, train[1], train[2])
    rates[i], losses[i] = math.log(optimizer.lr, 10), loss:item()
    optimizer:step(grads)
  end
  return gl.tensor(rates), gl.tensor(losses)
end

local rates, losses = sweep(1e-4, 10, 60)
gl.plot.line(rates, losses, { title = "loss by log10 of the learning rate", ylim = { 0, 3 } })
local slopes = losses[{ { 2, -1 } }] - losses[{ { 1, -2 } }]
local rate = 10 ^ rates[slopes:argmin():item()]:item()
print(("the loss falls fastest at a rate of %.3f"):format(rate))

local params = model:init(gl.generator(1))
local optimizer = optim.sgd(params, { lr = rate, momentum = 0.9 })
local function held_out() return nn.cross_entropy(model(params, test[1]), test[2]):item() end

local kept = os.tmpname()
local best, best_epoch, epoch = math.huge, 0, 0
while epoch - best_epoch < 5 and epoch < 100 do
  epoch = epoch + 1
  for x, y in data.loader(train, { batch = 64, shuffle = true }) do
    local _, grads = loss_and_grad(params, x, y)
    optimizer:step(grads)
  end
  local loss = held_out()
  if loss < best then
    best, best_epoch = loss, epoch
    gl.save(kept, params)
  end
end
params = gl.load(kept)
os.remove(kept)
local accuracy = model(params, test[1]):argmax(2):eq(test[2]):to("f64"):mean():item()
print(("stopped after %d epochs; epoch %d was best: held-out loss %.4f, accuracy %.1f %%"):format(epoch, best_epoch, best,
  100 * accuracy))
return { rate = rate, epochs = epoch, best = best, loaded = held_out(), accuracy = accuracy }
