-- Reads MNIST digits: 8,000 images of 28 x 28 pixels to learn from, 2,000 to test on, in single precision.
--
--   gradlua examples/mnist/train.lua [epochs]

local gl = require "gradlua"
local nn, data, optim = gl.nn, gl.data, gl.optim

local folder = arg[0]:match("^(.*)/mnist/[^/]*$") or "."
local epochs = tonumber(arg[1]) or 15

gl.manual_seed(1)

-- IDX is the format in which MNIST is distributed; the .gz files are read as they are.
local function read(part)
  local images = data.idx(("%s/data/mnist8k-%s-images-idx3-ubyte.gz"):format(folder, part), { dtype = "f32" })
  local labels = data.idx(("%s/data/mnist8k-%s-labels-idx1-ubyte.gz"):format(folder, part))
  return { images:reshape(images:size(1), 28 * 28) / 255, labels + 1 }
end

local train, test = read "train", read "test"

local model = nn.sequential {
  nn.linear(784, 128, { dtype = "f32" }), nn.relu, nn.dropout(0.1),
  nn.linear(128, 10, { dtype = "f32" }),
}
local params = model:init()

local loss_and_grad = gl.value_and_grad(function(p, x, y)
  return nn.cross_entropy(model(p, x, { train = true }), y)
end)

local function accuracy(set)
  return model(params, set[1]):argmax(2):eq(set[2]):to("f64"):mean():item()
end

local optimizer = optim.adam(params, { lr = 2e-3 })
local began = gl.clock()
for epoch = 1, epochs do
  for x, y in data.loader(train, { batch = 64, shuffle = true }):progress("epoch " .. epoch) do
    local _, grads = loss_and_grad(params, x, y)
    optimizer:step(grads)
  end
  print(("epoch %d  held-out accuracy %.2f %%"):format(epoch, 100 * accuracy(test)))
end
print(("trained in %.2f s; held-out accuracy: %.2f %%"):format(gl.clock() - began, 100 * accuracy(test)))
