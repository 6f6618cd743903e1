-- A small convolutional network with batch normalization reads the 8 x 8 digits. The statistics that batch_norm gathers come
-- out of the loss beside its value, and go into the parameters after each step; gl.jit records the step once.

local gl = require "gradlua"
local nn, data, optim = gl.nn, gl.data, gl.optim

local folder = arg[0]:match("^(.*)/training/[^/]*$") or "."
gl.manual_seed(1)
local rows = data.csv(folder .. "/data/digits.csv.gz", { dtype = "f32" })
local images, labels = rows[{ {}, { 1, 64 } }]:reshape(-1, 1, 8, 8) / 16, rows[{ {}, 65 }]:to("i64") + 1
local train, test = data.split({ images, labels }, 0.8, { shuffle = true })

local single = { dtype = "f32" }
local model = nn.sequential {
  nn.conv2d(1, 8, 3, { padding = 1, dtype = "f32" }), nn.batch_norm(8, single), nn.relu, nn.max_pool2d(2),
  nn.conv2d(8, 16, 3, { padding = 1, dtype = "f32" }), nn.batch_norm(16, single), nn.relu, nn.max_pool2d(2),
  nn.flatten, nn.linear(16 * 2 * 2, 10, single),
}
local params = model:init()

local loss_and_grad = gl.jit(gl.value_and_grad(function(p, x, y)
  local updates = {}
  return nn.cross_entropy(model(p, x, { train = true, updates = updates }), y), updates
end))

local function accuracy(set) return model(params, set[1]):argmax(2):eq(set[2]):to("f64"):mean():item() end

local optimizer = optim.adam(params, { lr = optim.schedule.one_cycle { max_lr = 1e-2, total_steps = 8 * 44 } })
local began = gl.clock()
for epoch = 1, 8 do
  for x, y in data.loader(train, { batch = 32, shuffle = true, drop_last = true }) do
    local _, grads, updates = loss_and_grad(params, x, y)
    optimizer:step(grads)
    nn.update(updates)
  end
  print(("epoch %d: held-out accuracy %.2f %%"):format(epoch, 100 * accuracy(test)))
end
print(model, ("%d parameters, %.1f s"):format(nn.count(params), gl.clock() - began))
return { accuracy = accuracy(test), traces = loss_and_grad:stats().traces }
