-- Networks with one hidden layer: value and gradient, and whole training steps.
local gl = require "gradlua"
local inputs = require "inputs"

local function network(sizes, batch, dtype)
  local function weight(o, i, seed) return inputs.fill({ o, i }, seed, { scale = 1 / math.sqrt(i), dtype = dtype }) end
  local p = {
    { weight = weight(sizes[2], sizes[1], 1), bias = inputs.fill({ sizes[2] }, 2, { scale = 0.1, dtype = dtype }) },
    { weight = weight(sizes[3], sizes[2], 3), bias = inputs.fill({ sizes[3] }, 4, { scale = 0.1, dtype = dtype }) },
  }
  local first, second = gl.nn.linear(sizes[1], sizes[2]), gl.nn.linear(sizes[2], sizes[3])
  local x, y = inputs.fill({ batch, sizes[1] }, 5, { dtype = dtype }), inputs.labels(batch, sizes[3])
  local function loss(q, images, targets)
    return gl.nn.cross_entropy(second(q[2], first(q[1], images):relu()), targets)
  end
  return p, x, y, loss
end

local cases = {}
local function add(name, make) cases[#cases + 1] = { name = name, make = make } end

for _, how in ipairs { "traced", "jit" } do
  add("MLP 4-8-2, batch 32, value and gradient, " .. how, function()
    local p, x, y, loss = network({ 4, 8, 2 }, 32, "f64")
    local f = gl.value_and_grad(loss)
    if how == "jit" then f = gl.jit(f) end
    return function() return (f(p, x, y)) end
  end)
  for _, dtype in ipairs { "f32", "f64" } do
    add(("MLP 784-128-10, batch 64, %s, value and gradient, %s"):format(dtype, how), function()
      local p, x, y, loss = network({ 784, 128, 10 }, 64, dtype)
      local f = gl.value_and_grad(loss)
      if how == "jit" then f = gl.jit(f) end
      return function() return (f(p, x, y)) end
    end)
  end
end
--- The products of matrices in the value and the gradient, with the layouts that they have there, and the largest entry of
--- those that are not results: their time over that of "value and gradient, jit" is the share of the work that is BLAS's.
for _, dtype in ipairs { "f32", "f64" } do
  add(("  the five products in it alone, %s"):format(dtype), function()
    local p, x = network({ 784, 128, 10 }, 64, dtype)
    local hidden, below, above = inputs.fill({ 64, 128 }, 6, { dtype = dtype }), inputs.fill({ 64, 128 }, 7, { dtype = dtype }),
      inputs.fill({ 64, 10 }, 8, { dtype = dtype })
    local products = gl.jit(function(q, images, h, dh, dz)
      local first, second, back = images:matmul(q[1].weight:t()), h:matmul(q[2].weight:t()), dz:matmul(q[2].weight)
      return first:max() + second:max() + back:max(), dh:t():matmul(images), dz:t():matmul(h)
    end)
    return function() return (products(p, x, hidden, below, above)) end
  end)
end
for _, dtype in ipairs { "f32", "f64" } do
  add(("MLP 784-128-10, batch 64, %s, step with Adam"):format(dtype), function()
    local p, x, y, loss = network({ 784, 128, 10 }, 64, dtype)
    local f, optimizer = gl.value_and_grad(loss), gl.optim.adam(p, { lr = 1e-9 })
    return function()
      local value, gradients = f(p, x, y)
      optimizer:step(gradients)
      return value
    end
  end)
end
for _, donate in ipairs { false, { 1, 2 } } do
  add("MLP 784-128-10, batch 64, f32, step with Adam, jit" .. (donate and ", donated" or ""), function()
    local p, x, y, loss = network({ 784, 128, 10 }, 64, "f32")
    local init, update = gl.optim.adam(p, { lr = 1e-9 }):pure()
    local f = gl.value_and_grad(loss)
    local step = gl.jit(function(q, state, images, targets)
      local value, gradients = f(q, images, targets)
      return value, update(gradients, state, q)
    end, { donate = donate })
    local state = init(p)
    return function()
      local value
      value, p, state = step(p, state, x, y)
      return value
    end
  end)
end
return cases
