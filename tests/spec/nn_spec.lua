-- gl.nn: layers against the formulas written out, losses against hand-worked values, initialisers against their moments.

local gl = require "gradlua"
local nn = gl.nn

local function near(want, got, tolerance)
  if gl.is_tensor(want) then
    assert.are.same(want:shape(), got:shape())
    local worst = want:numel() == 0 and 0 or (want - got):abs():max():item()
    assert.is_true(worst <= (tolerance or 1e-12), "differs by " .. worst)
  else
    got = gl.is_tensor(got) and got:item() or got
    assert.is_true(math.abs(want - got) <= (tolerance or 1e-12) * (1 + math.abs(want)), ("%.17g, not %.17g"):format(got, want))
  end
end

local function random(...) return gl.generator(9):randn(...) end

describe("linear", function()
  it("is x W' + b on the last axis, of any number of axes", function()
    local layer = nn.linear(3, 2)
    local p = layer:init(gl.generator(1))
    assert.are.same({ 2, 3 }, p.weight:shape())
    local x = random(4, 5, 3)
    near(x:matmul(p.weight:t()) + p.bias, layer(p, x))
    assert.is_true(p.weight:abs():max():item() <= 1 / math.sqrt(3))
    assert.is_nil(nn.linear(3, 2, { bias = false }):init().bias)
    assert.are.equal("f32", nn.linear(3, 2, { dtype = "f32" }):init().weight:dtype())
  end)

  it("refuses nonsense", function()
    assert.has_error(function() nn.linear(0, 2) end)
    assert.has_error(function() nn.linear(3, 2.5) end)
    assert.has_error(function() nn.linear(3, 2, { bais = false }) end)
    assert.has_error(function()
      local layer = nn.linear(3, 2)
      return layer(layer:init(), gl.ones(4, 5))
    end)
  end)
end)

describe("sequential", function()
  it("applies layers and plain functions in turn, prints and counts", function()
    local model = nn.sequential { nn.linear(3, 4), nn.tanh, function(x) return x * 2 end, nn.linear(4, 1, { bias = false }) }
    local p = model:init(gl.generator(2))
    local x = random(5, 3)
    near((x:matmul(p[1].weight:t()) + p[1].bias):tanh():matmul(p[4].weight:t()) * 2, model(p, x))
    assert.are.equal("sequential\n  linear(3 -> 4)\n  tanh\n  function\n  linear(4 -> 1, no bias)", tostring(model))
    assert.are.equal(3 * 4 + 4 + 4, nn.count(p))
    assert.has_error(function() nn.sequential { 3 } end)
  end)

  it("has gradients in the structure of its parameters, which gradcheck confirms", function()
    local model = nn.sequential { nn.linear(3, 4), nn.sigmoid, nn.residual(nn.linear(4, 4)) }
    local p, x, y = model:init(gl.generator(3)), random(5, 3), random(5, 4)
    local ok, report = gl.gradcheck(function(q) return nn.mse(model(q, x), y) end, p)
    assert.is_true(ok, tostring(report))
  end)
end)

describe("a layer", function()
  local function message(f, ...) return tostring(select(2, pcall(f, ...))) end
  local linear = nn.linear(3, 2)

  it("says so when its parameters or its input are missing", function()
    assert.is_truthy(message(linear, gl.ones(1, 3)):find("parameters first, layer(params, x, options)", 1, true))
    assert.is_truthy(message(linear, nil, gl.ones(1, 3)):find("got nil", 1, true))
    assert.is_truthy(message(linear, linear:init()):find("the input is missing", 1, true))
    assert.is_truthy(message(nn.sequential { nn.relu }, {}, gl.ones(1)):find("nn.relu: a layer is called", 1, true))
  end)

  it("refuses misspelt options of the call, and takes those of one's own layers", function()
    assert.is_truthy(message(linear, linear:init(), gl.ones(1, 3), { trian = true }):find('did you mean "train"', 1, true))
    local scaled = nn.layer { name = "scaled", options = { "by" }, apply = function(_, x, o) return x * (o.by or 1) end }
    local model = nn.sequential { nn.relu, scaled }
    near(gl.tensor { 3, 0 }, model(model:init(), gl.tensor { 1, -1 }, { by = 3 }))
    assert.is_truthy(message(nn.relu, {}, gl.ones(1), { by = 3 }):find('unknown option "by"', 1, true))
  end)

  it("says which shape it needs", function()
    local function refuses(layer, x, text) assert.is_truthy(message(layer, layer:init(), x):find(text, 1, true)) end
    refuses(nn.layer_norm(3), gl.ones(2, 1), "expected 3 entries on the last axis, got shape 2 x 1")
    refuses(nn.attention(4, 2), gl.ones(3, 4), "expected N x T x 4, got shape 3 x 4")
    refuses(nn.rnn(4, 2), gl.ones(3, 0, 4), "the sequences are empty")
    local rnn, lstm, x = nn.rnn(4, 2), nn.lstm(4, 2), gl.ones(1, 3, 4)
    assert.is_truthy(message(rnn, rnn:init(), x, { state = gl.ones(2, 2) }):find("state must be 1 x 2, got 2 x 2", 1, true))
    assert.is_truthy(message(lstm, lstm:init(), x, { state = gl.ones(1, 2) }):find("a list of 2 tensors", 1, true))
    assert.is_truthy(message(lstm, rnn:init().weight_input, x):find("got a tensor", 1, true))
    assert.is_truthy(message(lstm, {}, x):find("hold no tensor weight_input: make them by layer:init()", 1, true))
  end)

  it("inside others may be a plain function", function()
    local twice = nn.residual(function(x) return x end)
    near(gl.tensor { 2, 4 }, twice(twice:init(), gl.tensor { 1, 2 }))
    assert.has_error(function() nn.residual(3) end)
    assert.has_error(function() nn.sequential { first = nn.relu } end)
    assert.has_error(function() nn.sequential(nn.linear(3, 2), 5) end)
  end)
end)

describe("a layer of one's own", function()
  it("is what can be called and has init", function()
    local scale = setmetatable({ init = function(generator) return { by = generator:rand(1) + 1 } end },
      { __call = function(_, params, x, options) return options.flip and -x * params.by or x * params.by end })
    local model = nn.sequential(nn.relu, scale, nn.residual(scale))
    local p, x = model:init(gl.generator(1)), gl.tensor { 1, -1 }
    near(x:relu() * p[2].by * (1 + p[3].by), model(p, x))
    near(-x:relu() * p[2].by * (1 - p[3].by), model(p, x, { flip = true }))
    assert.are.equal("sequential\n  relu\n  layer\n  residual\n    layer", tostring(model))
    local ok, report = gl.gradcheck(function(q) return model(q, gl.tensor { 1, 2 }):sum() end, p)
    assert.is_true(ok, tostring(report))
  end)
end)

describe("convolution and pooling layers", function()
  it("take windows, strides and paddings that differ by axis", function()
    local conv = nn.conv2d(2, 4, { 3, 2 }, { stride = { 2, 1 }, padding = { 1, 0 }, dilation = { 1, 2 }, groups = 2 })
    local p, x = conv:init(gl.generator(1)), random(2, 2, 9, 8)
    assert.are.same({ 4, 1, 3, 2 }, p.weight:shape())
    near(gl.conv2d(x, p.weight, { stride = { 2, 1 }, padding = { 1, 0 }, dilation = { 1, 2 }, groups = 2, bias = p.bias }),
      conv(p, x), 0)
    assert.are.equal("conv2d(2 -> 4, 3 x 2, stride 2 x 1, padding 1 x 0)", tostring(conv))
    local pool = nn.max_pool2d({ 2, 3 }, { stride = { 1, 2 }, padding = { 1, 0 } })
    near(gl.max_pool2d(x, { 2, 3 }, { stride = { 1, 2 }, padding = { 1, 0 } }), pool({}, x), 0)
    assert.are.equal("max_pool2d(2 x 3, stride 1 x 2)", tostring(pool))
    near(gl.avg_pool2d(x, 2), nn.avg_pool2d(2)({}, x), 0)
    for _, size in ipairs { { 3 }, { 3, 3, 3 }, 0, "3", { 3, 1.5 } } do
      assert.has_error(function() nn.conv2d(1, 1, size) end)
      assert.has_error(function() nn.avg_pool2d(size) end)
    end
    assert.has_error(function() nn.conv1d(1, 1, { 3, 3 }) end)
  end)

  it("start with a bias of zero under an initialiser of one's own, as linear layers do", function()
    for _, layer in ipairs { nn.linear(3, 2, { init = nn.he_normal }), nn.conv1d(3, 2, 3, { init = nn.he_normal }) } do
      near(gl.zeros(2), layer:init().bias, 0)
    end
    local p = nn.conv2d(3, 50, 5, { dtype = "f32" }):init(gl.generator(2))
    assert.are.equal("f32", p.bias:dtype())
    assert.is_true(p.bias:abs():max():item() <= 1 / math.sqrt(3 * 25))
    assert.is_true(p.bias:abs():max():item() > 0.5 / math.sqrt(3 * 25))
    assert.is_nil(nn.conv2d(1, 1, 3, { bias = false }):init().bias)
  end)
end)

describe("the same generator", function()
  it("gives the same parameters", function()
    local model = nn.sequential { nn.linear(3, 4), nn.relu, nn.linear(4, 2) }
    local a, b = model:init(gl.generator(4)), model:init(gl.generator(4))
    near(a[3].weight, b[3].weight, 0)
  end)
end)

describe("dropout", function()
  it("does nothing but in training, and keeps the mean there", function()
    local layer, x = nn.dropout(0.25), gl.ones(10000)
    near(x, layer({}, x), 0)
    local y = layer({}, x, { train = true, generator = gl.generator(6) })
    near(1, y:mean(), 0.03)
    near(0.25, y:eq(0):to("f64"):mean(), 0.05)
    assert.has_error(function() nn.dropout(1) end)
    assert.are.equal("dropout(0.5)", tostring(nn.dropout()))
  end)
end)

describe("layer_norm", function()
  it("has mean 0 and variance 1 along the last axis", function()
    local layer = nn.layer_norm(6, { eps = 0 })
    local y = layer(layer:init(), random(4, 6) * 3 + 2)
    near(gl.zeros(4), y:mean(2), 1e-14)
    near(gl.ones(4), y:var(2, { correction = 0 }), 1e-13)
  end)
end)

describe("batch_norm", function()
  it("uses the batch in training and hands on its statistics, and the running ones otherwise", function()
    local layer = nn.batch_norm(3, { eps = 0, momentum = 0.5 })
    local p, x, updates = layer:init(), random(8, 3, 5) * 2 + 1, {}
    local y = layer(p, x, { train = true, updates = updates })
    near(gl.zeros(3), y:mean { 1, 3 }, 1e-14)
    near(gl.ones(3), y:var({ 1, 3 }, { correction = 0 }), 1e-13)
    nn.update(updates)
    near(x:mean { 1, 3 } * 0.5, p.running_mean)
    near(x:var { 1, 3 } * 0.5 + 0.5, p.running_var)
    local shape = { 3, 1 }
    near((x - p.running_mean:reshape(shape)) / p.running_var:sqrt():reshape(shape), layer(p, x), 1e-12)
    assert.has_error(function() return layer(p, gl.ones(2, 4)) end)
  end)
end)

describe("a model with batch_norm", function()
  it("is trained with the statistics that its loss returns", function()
    local model = nn.sequential { nn.linear(2, 3), nn.batch_norm(3, { momentum = 0.5 }), nn.residual(nn.batch_norm(3)) }
    local p, x = model:init(gl.generator(1)), random(6, 2)
    local function loss(q, input)
      local updates = {}
      return model(q, input, { train = true, updates = updates }):square():mean(), updates
    end
    local features = x:matmul(p[1].weight:t()) + p[1].bias
    for _, loss_and_grad in ipairs { gl.value_and_grad(loss), gl.jit(gl.value_and_grad(loss)) } do
      p[2].running_mean:fill_(0)
      p[2].running_var:fill_(1)
      local value, _, updates = loss_and_grad(p, x)
      assert.are.equal(0, p[2].running_mean:abs():max():item())
      nn.update(updates)
      near(features:mean(1) * 0.5, p[2].running_mean)
      near(features:var(1) * 0.5 + 0.5, p[2].running_var)
      near(loss(p, x), value)
    end
  end)
end)

describe("recurrent layers", function()
  it("rnn is tanh(x U' + h W' + b) over time", function()
    local layer = nn.rnn(2, 3)
    local p, x = layer:init(gl.generator(1)), random(4, 5, 2)
    local h = gl.zeros(4, 3)
    for t = 1, 5 do
      h = (x[{ {}, t }]:matmul(p.weight_input:t()) + p.bias_input + h:matmul(p.weight_state:t()) + p.bias_state):tanh()
    end
    local outputs, last = layer(p, x)
    assert.are.same({ 4, 5, 3 }, outputs:shape())
    near(h, last)
    near(h, outputs[{ {}, 5 }])
  end)

  it("gru and lstm match cells written out", function()
    local x = random(2, 3, 2)
    local gru = nn.gru(2, 2)
    local p = gru:init(gl.generator(2))
    local h = gl.zeros(2, 2)
    for t = 1, 3 do
      local a = x[{ {}, t }]:matmul(p.weight_input:t()) + p.bias_input
      local b = h:matmul(p.weight_state:t()) + p.bias_state
      local r = (a[{ {}, { 1, 2 } }] + b[{ {}, { 1, 2 } }]):sigmoid()
      local z = (a[{ {}, { 3, 4 } }] + b[{ {}, { 3, 4 } }]):sigmoid()
      local n = (a[{ {}, { 5, 6 } }] + r * b[{ {}, { 5, 6 } }]):tanh()
      h = (1 - z) * n + z * h
    end
    near(h, select(2, gru(p, x)))
    local lstm = nn.lstm(2, 2)
    p = lstm:init(gl.generator(3))
    h = gl.zeros(2, 2)
    local c = gl.zeros(2, 2)
    for t = 1, 3 do
      local g = x[{ {}, t }]:matmul(p.weight_input:t()) + p.bias_input + h:matmul(p.weight_state:t()) + p.bias_state
      c = g[{ {}, { 3, 4 } }]:sigmoid() * c + g[{ {}, { 1, 2 } }]:sigmoid() * g[{ {}, { 5, 6 } }]:tanh()
      h = g[{ {}, { 7, 8 } }]:sigmoid() * c:tanh()
    end
    local _, state = lstm(p, x)
    near(h, state[1])
    near(c, state[2])
  end)

  it("have right gradients through time", function()
    local lstm, x = nn.lstm(2, 3), random(2, 4, 2)
    local ok, report = gl.gradcheck(function(p) return (lstm(p, x)):square():sum() end, lstm:init(gl.generator(5)))
    assert.is_true(ok, tostring(report))
  end)
end)

describe("attention", function()
  it("is softmax(q k' / sqrt(d)) v by heads", function()
    local layer = nn.attention(4, 2)
    local p, x = layer:init(gl.generator(7)), random(1, 3, 4)
    local q = x[1]:matmul(p.query.weight:t()) + p.query.bias
    local k = x[1]:matmul(p.key.weight:t()) + p.key.bias
    local v = x[1]:matmul(p.value.weight:t()) + p.value.bias
    local heads = {}
    for h = 1, 2 do
      local columns = { {}, { 2 * h - 1, 2 * h } }
      local scores = q[columns]:matmul(k[columns]:t()) / math.sqrt(2)
      heads[h] = scores:softmax(2):matmul(v[columns])
    end
    near((gl.concat(heads, 2):matmul(p.output.weight:t()) + p.output.bias), layer(p, x)[1])
  end)

  it("sees nothing of what comes later when causal", function()
    local layer = nn.attention(4, 2, { causal = true })
    local p, x = layer:init(gl.generator(8)), random(1, 3, 4)
    local changed = x:clone()
    changed[{ 1, 3 }] = 9
    near(layer(p, x)[{ 1, { 1, 2 } }], layer(p, changed)[{ 1, { 1, 2 } }], 1e-15)
  end)
end)

describe("losses", function()
  local p, t = gl.tensor { 0.2, 0.7, 0.9 }, gl.tensor { 0, 1, 1 }

  it("have their hand-worked values, reduced as asked", function()
    near((0.04 + 0.09 + 0.01) / 3, nn.mse(p, t))
    near(0.14, nn.mse(p, t, { reduction = "sum" }))
    near(gl.tensor { 0.04, 0.09, 0.01 }, nn.mse(p, t, { reduction = "none" }), 1e-15)
    near(0.2, nn.mae(p, t))
    near((0.5 * 0.25 + 1 * (3 - 0.5)) / 2, nn.huber(gl.tensor { 0.5, 3 }, gl.tensor { 0, 0 }))
    near((2 * (3 - 1)), nn.huber(gl.tensor { 3 }, gl.tensor { 0 }, { delta = 2 }))
    near(-(math.log(0.8) + math.log(0.7) + math.log(0.9)) / 3, nn.bce(p, t))
    near((math.log(1 + math.exp(0.2)) + math.log(1 + math.exp(-0.7)) + math.log(1 + math.exp(-0.9))) / 3,
      nn.bce_with_logits(p, t))
    near((0 + 3) / 2, nn.hinge(gl.tensor { 2, 2 }, gl.tensor { 1, -1 }))
    near(1 - 11 / (math.sqrt(5) * 5), nn.cosine(gl.tensor { 1, 2 }, gl.tensor { 3, 4 }))
    local q = gl.tensor { { 0.5, 0.5 }, { 1, 0 } }
    near((0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75) + math.log(1 / 0.25)) / 2,
      nn.kl_div(gl.tensor { { 0.25, 0.75 }, { 0.25, 0.75 } }:log(), q))
  end)

  it("of classes take labels from 1, or probabilities", function()
    local z = gl.tensor { { 1, 2, 3 }, { 0, 0, 0 } }
    local first = math.log(math.exp(1) + math.exp(2) + math.exp(3)) - 3
    near((first + math.log(3)) / 2, nn.cross_entropy(z, gl.tensor { 3, 1 }))
    near((first + math.log(3)) / 2, nn.cross_entropy(z, gl.tensor { { 0, 0, 1 }, { 0.2, 0.3, 0.5 } }))
    near((first + math.log(3)) / 2, nn.nll(z:log_softmax(2), gl.tensor { 3, 2 }))
  end)

  it("take numbers as they take tensors of one number, as they come under a derivative", function()
    local function loss(w) return nn.mse(w * 2, 1) + nn.bce_with_logits(w, 1) end
    near(25 + math.log(1 + math.exp(-3)), loss(3))
    near(20 - 1 / (1 + math.exp(3)), gl.grad(loss)(3))
    near(math.log(3), nn.cross_entropy(gl.zeros(3), 2))
    local text = tostring(select(2, pcall(nn.cross_entropy, gl.zeros(3), 4)))
    assert.is_truthy(text:find("label 4 in row 1 is outside 1 to 3", 1, true), text)
  end)

  it("do not overflow where the answer does not", function()
    near(1000, nn.bce_with_logits(gl.tensor { 1000, -1000 }, gl.tensor { 0, 1 }))
    near(0, nn.bce_with_logits(gl.tensor { 1000, -1000 }, gl.tensor { 1, 0 }))
    near(2000, nn.cross_entropy(gl.tensor { { 1000, -1000 } }, gl.tensor { 2 }))
    assert.is_true(nn.bce(gl.tensor { 0 }, gl.tensor { 1 }):item() == 100)
  end)

  it("of directions do not depend on small lengths, and are 1 for a zero vector, as in torch", function()
    near(0, nn.cosine(gl.tensor { 1e-7, 0 }, gl.tensor { 1e-7, 0 }))
    near(1, nn.cosine(gl.zeros(3), gl.ones(3)))
    near(1, nn.cosine(gl.ones(3), gl.zeros(3)))
  end)

  it("have right gradients", function()
    local x, y = random(4, 3), gl.tensor { 1, 3, 2, 2 }
    local soft = gl.generator(12):randn(4, 3):softmax(2)
    for name, f in pairs {
      mse = function(v) return nn.mse(v, soft) end, huber = function(v) return nn.huber(v, soft) end,
      logits = function(v) return nn.bce_with_logits(v, soft) end, bce = function(v) return nn.bce(v:sigmoid(), soft) end,
      labels = function(v) return nn.cross_entropy(v, y) end, soft = function(v) return nn.cross_entropy(v, soft) end,
      kl = function(v) return nn.kl_div(v:log_softmax(2), soft) end, cosine = function(v) return nn.cosine(v, soft) end,
    } do
      local ok, report = gl.gradcheck(f, x)
      assert.is_true(ok, name .. "\n" .. tostring(report))
    end
  end)

  it("say what is wrong with labels and shapes", function()
    local z = gl.ones(2, 3)
    local function message(loss, ...) return tostring(select(2, pcall(loss, ...))) end
    assert.is_truthy(message(nn.cross_entropy, z, gl.tensor { 4, 1 }):find("label 4 in row 1", 1, true))
    assert.is_truthy(message(nn.cross_entropy, z, gl.tensor { 0, 1 }):find("row 1", 1, true))
    assert.is_truthy(message(nn.cross_entropy, z, gl.tensor { 1, 0 / 0 }):find("label in row 2 is NaN", 1, true))
    assert.is_truthy(message(nn.cross_entropy, z, gl.tensor { 1.5, 1 }):find("not a whole number", 1, true))
    assert.is_truthy(message(nn.cross_entropy, z, gl.tensor { 1, 1, 1 }):find("2 x 3", 1, true))
    assert.is_truthy(message(nn.mse, z, gl.ones(3)):find("shapes must be the same", 1, true))
    assert.is_truthy(message(nn.mse, z, z, { reduction = "maen" }):find("mean", 1, true))
    assert.is_truthy(message(nn.mse, z, z, { reducton = "sum" }):find("reduction", 1, true))
  end)
end)

describe("initialisers", function()
  it("have the bounds and deviations of their definitions", function()
    local g = gl.generator(10)
    local bound = math.sqrt(6 / (100 + 200))
    local u = nn.xavier_uniform({ 200, 100 }, g)
    assert.is_true(u:abs():max():item() <= bound)
    near(bound / math.sqrt(3), u:std(), 0.02)
    near(math.sqrt(2 / 300), nn.xavier_normal({ 200, 100 }, g):std(), 0.02)
    near(math.sqrt(2 / 100), nn.he_normal({ 200, 100 }, g):std(), 0.02)
    near(math.sqrt(6 / 100) / math.sqrt(3), nn.he_uniform({ 200, 100 }, g):std(), 0.02)
    near(math.sqrt(2 / (100 * 9)), nn.he_normal({ 50, 100, 3, 3 }, g):std(), 0.02)
    assert.has_error(function() nn.he_normal({ 3 }, g) end)
  end)

  it("orthogonal is orthogonal, whichever side is longer", function()
    local g = gl.generator(11)
    local tall, wide = nn.orthogonal({ 5, 3 }, g), nn.orthogonal({ 3, 5 }, g, { gain = 2 })
    near(gl.eye(3), tall:t():matmul(tall), 1e-14)
    near(gl.eye(3) * 4, wide:matmul(wide:t()), 1e-14)
  end)

  it("take a shape as a list or by extents, a generator or none, options or none", function()
    for _, name in ipairs { "xavier_uniform", "xavier_normal", "he_uniform", "he_normal", "orthogonal", "zeros", "uniform" } do
      local f = nn[name]
      near(f({ 3, 4 }, gl.generator(1)), f(3, 4, gl.generator(1)), 0)
      assert.are.same({ 3, 4, 2 }, f(3, 4, 2):shape())
      for _, got in ipairs { f(3, 4, { dtype = "f32" }), f({ 3, 4 }, nil, { dtype = "f32" }) } do
        assert.are.equal("f32", got:dtype())
      end
      assert.has_error(function() f(3, 4, { gian = 2 }) end)
    end
  end)

  it("draw their parameters with a dot or a colon", function()
    local layer = gl.nn.linear(3, 4)
    local a, b = layer.init(gl.generator(5)), layer:init(gl.generator(5))
    assert.is_true(a.weight:eq(b.weight):all():item())
    assert.are.same({ 4, 3 }, layer.init().weight:shape())
    assert.are.same({}, gl.nn.dropout(0.5).init())
  end)
end)
