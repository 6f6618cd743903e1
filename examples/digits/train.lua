-- Reads handwritten digits: 1,797 images of 8 x 8 pixels, 1,400 to learn from and 397 to test on.
--
--   gradlua examples/digits/train.lua [model.safetensors]
--
-- A network with one hidden layer learns them in a few seconds. The model is saved, loaded again, and tested once more.

local gl = require "gradlua"
local nn, data, optim = gl.nn, gl.data, gl.optim

local folder = arg[0]:match("^(.*)/digits/[^/]*$") or "."
local model_path = arg[1] or os.tmpname()

gl.manual_seed(7)

-- Each row of the file is 64 pixels (0 to 16), then the digit (0 to 9). Labels count from 1, as everything in Lua.
local rows = data.csv(folder .. "/data/digits.csv.gz")
local images, labels = rows[{ {}, { 1, 64 } }] / 16, rows[{ {}, 65 }]:to("i64") + 1
-- The file is ordered by writer; a split that is drawn once, by a generator of its own, is fixed and fair.
local train, test = data.split({ images, labels }, 1400, { shuffle = true, generator = gl.generator(1) })

-- A model is a function of its parameters, and the parameters are a plain table of tensors.
local model = nn.sequential { nn.linear(64, 64), nn.relu, nn.linear(64, 10) }
local params = model:init()

local function loss(p, x, y)
  return nn.cross_entropy(model(p, x, { train = true }), y)
end

local function accuracy(p, set)
  local guesses = model(p, set[1]):argmax(2)
  return guesses:eq(set[2]):to("f64"):mean():item()
end

-- `value_and_grad` makes, from the loss, the function that gives its value and its gradient with respect to `p`: a table
-- like `params`, which the optimizer takes as it is.
local loss_and_grad = gl.value_and_grad(loss)
local epochs = 30
local optimizer = optim.adam(params, { lr = optim.schedule.cosine { lr = 0.01, T_max = epochs * 22 } })

print(model)
print(("%d parameters"):format(nn.count(params)))
local began = gl.clock()
for epoch = 1, epochs do
  local total, batches = 0, 0
  for x, y in data.loader(train, { batch = 64, shuffle = true }) do
    local value, grads = loss_and_grad(params, x, y)
    optimizer:step(grads)
    total, batches = total + value:item(), batches + 1
  end
  if epoch % 5 == 0 then
    print(("epoch %2d  loss %.4f  held-out accuracy %.2f %%"):format(epoch, total / batches, 100 * accuracy(params, test)))
  end
end
print(("trained in %.2f s"):format(gl.clock() - began))

local reached = accuracy(params, test)
gl.save(model_path, params)
local again = accuracy(gl.load(model_path), test)
print(("held-out accuracy: %.2f %%; of the model saved and loaded again: %.2f %%"):format(100 * reached, 100 * again))
if not arg[1] then os.remove(model_path) end
