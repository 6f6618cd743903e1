-- gl.optim: rules against their formulas, what surrounds them (clipping, groups, averages, schedules), and that a run
-- which is saved and loaded goes on bit for bit. The rules' trajectories against torch.optim are tests/c/optim_update_test.c.

local gl = require "gradlua"
local optim, schedule = gl.optim, gl.optim.schedule

local function near(want, got, tolerance)
  assert.is_true(math.abs(want - got) <= (tolerance or 1e-12) * (1 + math.abs(want)), ("%.17g, not %.17g"):format(got, want))
end

describe("sgd", function()
  it("steps against the gradient, in place, through nested tables", function()
    local w = gl.tensor { 1, 2 }
    local params = { layers = { { w = w } }, b = gl.tensor(3) }
    local opt = optim.sgd(params, { lr = 0.5 })
    opt:step { layers = { { w = gl.tensor { 2, -2 } } }, b = gl.tensor(1) }
    assert.are.same({ 0, 3 }, w:totable())
    assert.are.equal(2.5, params.b:item())
    assert.are.equal(1, opt.steps)
  end)

  it("keeps momentum as PyTorch does: the first step has none", function()
    local w = gl.tensor { 0 }
    local opt = optim.sgd(w, { lr = 1, momentum = 0.9 })
    opt:step(gl.tensor { 1 })
    near(-1, w[1]:item())
    opt:step(gl.tensor { 1 })
    near(-1 - 1.9, w[1]:item())
  end)

  it("looks ahead with nesterov", function()
    local w = gl.tensor { 0 }
    local opt = optim.sgd(w, { lr = 1, momentum = 0.5, nesterov = true })
    opt:step(gl.tensor { 1 })
    near(-1.5, w[1]:item())
  end)

  it("writes into tensors that are not row-major, and of single precision", function()
    local base = gl.tensor { { 1, 2 }, { 3, 4 } }
    local opt = optim.sgd(base:t(), { lr = 1 })
    opt:step(gl.tensor { { 0, 1 }, { 0, 0 } })
    assert.are.same({ { 1, 2 }, { 2, 4 } }, base:totable())
    local single = gl.ones(2, { dtype = "f32" })
    optim.sgd(single, { lr = 0.25 }):step(gl.ones(2))
    assert.are.same({ 0.75, 0.75 }, single:totable())
  end)
end)

describe("adam", function()
  it("moves by lr at its first step, whatever the gradient's size", function()
    local w = gl.tensor { 1, 1 }
    optim.adam(w, { lr = 0.1, eps = 0 }):step(gl.tensor { 1e-5, -1e5 })
    near(0.9, w[1]:item())
    near(1.1, w[2]:item())
  end)

  it("follows its formula over several steps", function()
    local w, x, m, v = gl.tensor { 1.0 }, 1.0, 0, 0
    local opt = optim.adam(w, { lr = 0.01, betas = { 0.8, 0.9 }, eps = 1e-6 })
    for t = 1, 5 do
      local g = 2 * x
      m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
      x = x - 0.01 * (m / (1 - 0.8 ^ t)) / (math.sqrt(v / (1 - 0.9 ^ t)) + 1e-6)
      opt:step(2 * w)
      near(x, w[1]:item(), 1e-13)
    end
  end)
end)

describe("every rule", function()
  it("brings a quadratic down", function()
    local rates = { adadelta = 1, sgd = 0.1, asgd = 0.1, adagrad = 0.5, lion = 0.02, rprop = 0.01 }
    for _, name in ipairs { "sgd", "adam", "adamw", "amsgrad", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta",
      "rprop", "lion", "asgd" } do
      local w = gl.tensor { 1, -2, 0.5 }
      local opt = optim[name](w, { lr = rates[name] or 0.05 })
      local before = w:square():sum():item()
      for _ = 1, 100 do opt:step(2 * w) end
      assert.is_true(w:square():sum():item() < 0.6 * before, name)
    end
  end)
end)

describe("options", function()
  it("that are unknown name the nearest", function()
    local _, message = pcall(function() optim.adam(gl.ones(1), { beats = { 0.9, 0.99 } }) end)
    assert.is_truthy(message:match("optim_spec.lua:%d+: optim.adam: unknown option \"beats\": did you mean \"betas\"%?$"))
    assert.has_error(function() optim.sgd(gl.ones(1), { lr = "fast" }) end)
    assert.has_error(function() optim.sgd(gl.ones(1), { lr = -1 }) end)
    assert.has_error(function() optim.sgd { 1, 2 } end)
  end)

  it("that make no sense are refused in one sentence, which begins with the optimizer's name", function()
    for text, options in pairs {
      ["clip_norm must be a number above 0, not -1"] = { clip_norm = -1 },
      ["ema must be a number in [0, 1), not 2"] = { ema = 2 },
      ["got an entry at match"] = { groups = { match = "bias$" } },
      ["lr is -1, expected 0 <= lr < inf"] = { lr = -1 },
    } do
      local _, message = pcall(function() optim.adam(gl.ones(1), options) end)
      assert.is_truthy(message:match("optim_spec.lua:%d+: optim.adam: [^:]*$"), message)
      assert.is_truthy(message:find(text, 1, true), message)
    end
    local _, message = pcall(function() optim.adam { a = gl.ones(1, { dtype = "i64" }) } end)
    assert.is_truthy(message:find("a must be f64 or f32", 1, true), message)
  end)

  it("clip_norm scales the whole gradient, clip_value its entries", function()
    local w = { gl.zeros(1), gl.zeros(1) }
    optim.sgd(w, { lr = 1, clip_norm = 1 }):step { gl.tensor { 3 }, gl.tensor { 4 } }
    near(-0.6, w[1][1]:item(), 1e-6)
    near(-0.8, w[2][1]:item(), 1e-6)
    local v = gl.zeros(2)
    optim.sgd(v, { lr = 1, clip_value = 0.5 }):step(gl.tensor { 3, -0.25 })
    assert.are.same({ -0.5, 0.25 }, v:totable())
  end)

  it("groups give some parameters options of their own", function()
    local p = { a = { bias = gl.ones(1), weight = gl.ones(1) } }
    local opt = optim.sgd(p, { lr = 1, weight_decay = 1, groups = { { match = "bias$", weight_decay = 0, lr = 0.5 } } })
    opt:step { a = { bias = gl.ones(1), weight = gl.zeros(1) } }
    near(0.5, p.a.bias[1]:item())
    near(0, p.a.weight[1]:item())
  end)

  it("ema averages the parameters", function()
    local w = gl.tensor { 1 }
    local opt = optim.sgd(w, { lr = 1, ema = 0.75 })
    opt:step(gl.tensor { 1 })
    near(0.75, opt:averaged()[1]:item())
    assert.has_error(function() optim.sgd(w, { lr = 1 }):averaged() end)
  end)

  it("skip_nonfinite leaves everything as it was", function()
    local w = gl.tensor { 1 }
    local opt = optim.adam(w, { lr = 1, skip_nonfinite = true })
    opt:step(gl.tensor { 0 / 0 })
    opt:step(gl.tensor { math.huge })
    assert.are.equal(1, w[1]:item())
    assert.are.same({ 0, 2 }, { opt.steps, opt.skipped })
  end)

  it("accumulate adds gradients up for one step", function()
    local w = gl.zeros(1)
    local opt = optim.sgd(w, { lr = 1 })
    opt:accumulate(gl.tensor { 1 }, 0.5)
    opt:accumulate(gl.tensor { 3 }, 0.5)
    opt:step()
    near(-2, w[1]:item())
    assert.has_error(function() opt:step() end)
  end)
end)

describe("gradients that do not fit", function()
  it("are found before any parameter changes", function()
    local w = { a = gl.zeros(1), b = gl.zeros(2) }
    local _, message = pcall(function() optim.sgd(w, { lr = 1 }):step { a = gl.ones(1), b = gl.ones(3) } end)
    assert.is_truthy(message:find("optim.sgd:step: the gradient at b has shape 3, its parameter 2", 1, true), message)
    assert.are.equal(0, w.a[1]:item())
  end)

  it("raise and name the entry", function()
    local opt = optim.sgd({ a = gl.ones(2), b = { gl.ones(1) } }, { lr = 1 })
    local function message(grads) return select(2, pcall(opt.step, opt, grads)) end
    assert.is_truthy(message({ a = gl.ones(2) }):find("no entry b.1", 1, true))
    assert.is_truthy(message({ a = gl.ones(3), b = { gl.ones(1) } }):find("shape", 1, true))
    assert.is_truthy(message({ a = 1, b = { gl.ones(1) } }):find("at a must be a tensor", 1, true))
    assert.is_truthy(message(nil):find("no gradient", 1, true))
  end)
end)

describe("the pure form", function()
  local function loss(p) return (p.w[1]:square() * gl.tensor { 1, 3 }):sum() + (p.b - 1) ^ 4 end
  local function start() return { w = { gl.tensor { 1, -2 } }, b = gl.tensor(3) } end

  local variants = {
    { "sgd", {} }, { "sgd", { momentum = 0.9, dampening = 0.3 } }, { "sgd", { momentum = 0.9, nesterov = true } },
    { "sgd", { weight_decay = 0.1, maximize = true } }, { "sgd", { clip_norm = 0.5 } }, { "sgd", { clip_value = 0.5 } },
    { "adam", {} }, { "adam", { amsgrad = true, weight_decay = 0.1 } }, { "adamw", {} }, { "amsgrad", {} }, { "nadam", {} },
    { "radam", { betas = { 0.9, 0.9 } } }, { "radam", {} }, { "adamax", {} }, { "rmsprop", {} },
    { "rmsprop", { centered = true, momentum = 0.5 } }, { "adagrad", { lr_decay = 0.1, initial_accumulator_value = 0.2 } },
    { "adadelta", {} }, { "lion", { weight_decay = 0.1 } }, { "adam", { groups = { { match = "b", lr = 0.5 } } } },
    { "rprop", {} }, { "rprop", { etas = { 0.4, 1.5 }, step_sizes = { 1e-3, 0.02 } } }, { "asgd", {} },
    { "asgd", { t0 = 3, lambd = 0.1, weight_decay = 0.1 } },
  }

  it("takes the steps of the one in place, staged or not", function()
    for _, variant in ipairs(variants) do
      local name, options = variant[1], { lr = 0.01 }
      for key, value in pairs(variant[2]) do options[key] = value end
      local in_place, pure, staged = start(), start(), start()
      local opt = optim[name](in_place, options)
      local init, update = opt:pure()
      local gradient = gl.grad(loss)
      local step = gl.jit(function(p, s) return update(gradient(p), s, p) end)
      local state, staged_state = init(pure), init(staged)
      for _ = 1, 8 do
        opt:step(gradient(in_place))
        pure, state = update(gradient(pure), state, pure)
        staged, staged_state = step(staged, staged_state)
      end
      for _, p in ipairs { pure, staged } do
        assert.is_true((p.w[1] - in_place.w[1]):abs():max():item() < 1e-12, name)
        near(in_place.b:item(), p.b:item(), 1e-12)
      end
    end
  end)

  it("keeps the dtype, takes a rate, and says where there is none", function()
    local init, update = optim.adam(gl.ones(2, { dtype = "f32" }), { lr = 0.1 }):pure()
    local p = update(gl.ones(2, { dtype = "f32" }), init(gl.ones(2, { dtype = "f32" })), gl.ones(2, { dtype = "f32" }), 0.5)
    assert.are.equal("f32", p:dtype())
    near(0.5, p[1]:item(), 1e-5)
    for name, options in pairs { sgd = { momentum = 0.9 }, adam = { clip_norm = 1 }, amsgrad = {}, nadam = {}, radam = {},
      adamax = {}, rmsprop = { momentum = 0.9, centered = true }, adagrad = {}, adadelta = {}, lion = {}, rprop = {}, asgd = {},
      muon = {} } do
      local single = gl.ones(2, 2, { dtype = "f32" })
      init, update = optim[name](single, options):pure()
      for _, f in ipairs { update, gl.jit(update) } do
        local state = init(single)
        local new, new_state = f(2 * single, state, single)
        assert.are.equal("f32", new:dtype(), name)
        for slot, x in pairs(new_state.slots) do assert.are.equal(state.slots[slot]:dtype(), x:dtype(), name .. slot) end
      end
    end
    local layers = { { w = gl.ones(2) }, {}, { b = gl.ones(1), kind = "last" } }
    init, update = optim.sgd({ { w = gl.ones(2) }, {}, { b = gl.ones(1) } }, { lr = 0.5 }):pure()
    p = update({ { w = gl.ones(2) }, {}, { b = gl.zeros(1) } }, init(layers), layers) -- what goes in comes out
    near(0.5, p[1].w[2]:item())
    near(1, p[3].b[1]:item())
    assert.is_true(next(p[2]) == nil and p[3].kind == "last")
    assert.has_error(function() optim.adam(gl.ones(1), { ema = 0.9 }):pure() end)
  end)

  it("of muon takes its steps, for wide and tall matrices and each way to adjust the rate", function()
    for _, shape in ipairs { { 2, 5 }, { 5, 2 }, { 3, 2, 2 } } do
      for _, options in ipairs { {}, { nesterov = false, weight_decay = 0, ns_coefficients = { 2, -1.5, 0.5 } },
        { adjust_lr_fn = "match_rms_adamw" }, { adjust_lr_fn = "spectral_unclamped" } } do
        local in_place = gl.sin(gl.arange(1, shape[1] * shape[2] * (shape[3] or 1))):reshape(shape)
        local pure = in_place:clone()
        local opt = optim.muon(in_place, options)
        local init, update = opt:pure()
        local state = init(pure)
        local step = gl.jit(function(p, s) return update(2 * p, s, p) end)
        for _ = 1, 4 do
          opt:step(2 * in_place)
          pure, state = step(pure, state)
        end
        assert.is_true((pure - in_place):abs():max():item() < 1e-12)
      end
    end
    assert.has_error(function() optim.muon(gl.ones(2, 2), { adjust_lr_fn = "none" }) end)
    assert.has_error(function() optim.lbfgs(gl.ones(2), { line_search_fn = "none" }) end)
    assert.are.equal("wolfe", optim.lbfgs(gl.ones(2), { line_search_fn = "strong_wolfe" }).line_search)
    assert.has_error(function() optim.muon(gl.ones(2, 2), { ns_coefficients = { 1, 2 } }) end)
  end)
end)

describe("a state", function()
  --- Steps of an optimizer on p, of gradients that change with the step; a plateau is told a metric after each.
  local function train(opt, p, first, last)
    for t = first, last do
      opt:step { w = p.w * 2 + math.sin(t), b = p.b - math.cos(t) }
      if type(opt.lr) == "table" and opt.lr.kind == "plateau" then opt.lr:observe(math.abs(math.sin(t))) end
    end
  end

  local function start() return { w = gl.tensor { { 1, -2, 0.5 }, { 3, 1, -1 } }, b = gl.tensor { { 0.3, -0.7 } } } end

  --- That twelve steps are the same bits when the state went through a file after the fifth.
  local function check_continued(label, make, run)
    local path = os.tmpname()
    local whole, cut = start(), start()
    run(make(whole), whole, 1, 12)
    local opt = make(cut)
    run(opt, cut, 1, 5)
    gl.save(path, { p = cut, opt = opt:state() })
    local loaded = gl.load(path)
    os.remove(path)
    local again = make(loaded.p)
    again:load(loaded.opt)
    assert.are.equal(5, again.steps, label)
    run(again, loaded.p, 6, 12)
    assert.is_true((whole.w:eq(loaded.p.w):all() & whole.b:eq(loaded.p.b):all()):item(), label)
    assert.is_false(whole.w:eq(start().w):all():item(), label)
  end

  it("saved to a file and loaded continues bit for bit, for every rule and its variants", function()
    local variants = { sgd = { { momentum = 0.9 }, { momentum = 0.5, nesterov = true } }, adam = { { amsgrad = true } },
      rmsprop = { { centered = true, momentum = 0.5 } }, asgd = { { t0 = 3 } }, lion = { { clip_norm = 1 } } }
    for _, name in ipairs { "sgd", "adam", "adamw", "amsgrad", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta",
      "rprop", "lion", "asgd", "muon", "lbfgs" } do
      for _, options in ipairs { {}, table.unpack(variants[name] or {}) } do
        options.lr = 0.01
        check_continued(name, function(p) return optim[name](p, options) end, train)
      end
    end
  end)

  it("has the averages, and what the schedule has seen", function()
    check_continued("ema", function(p) return optim.adam(p, { lr = 0.1, ema = 0.9 }) end, train)
    for _, kind in ipairs { "constant", "step", "multistep", "exponential", "linear", "cosine", "cosine_restarts", "warmup",
      "one_cycle", "cyclic", "polynomial", "plateau" } do
      local options = ({ constant = { total_iters = 6 }, step = { step_size = 3 }, multistep = { milestones = { 3, 8 } },
        cosine = { T_max = 10 }, cosine_restarts = { T_0 = 4, T_mult = 2 }, warmup = { steps = 8 }, linear = { total_iters = 9 },
        one_cycle = { max_lr = 0.1, total_steps = 20 }, cyclic = { base_lr = 0.01, max_lr = 0.1, step_size_up = 3 },
        polynomial = { total_iters = 9 }, plateau = { patience = 1 }, exponential = { gamma = 0.9 } })[kind]
      check_continued(kind, function(p) return optim.adam(p, { lr = schedule[kind](options) }) end, train)
    end
    check_continued("chain", function(p)
      return optim.adam(p, { lr = schedule.chain { lr = 0.1, schedule.exponential { gamma = 0.9 },
        schedule.sequential { schedule.warmup { steps = 3 }, schedule.cosine { T_max = 9 }, milestones = { 4 } } } })
    end, train)
  end)

  it("of natural gradients and of kfac too", function()
    local x = gl.sin(gl.arange(1, 12)):reshape(4, 3)
    check_continued("natural", function(p)
      return optim.natural(p, { model = function(q) return x:matmul(q.w:t()) + q.b end, distribution = "bernoulli", lr = 0.1 })
    end, train)
    local model = gl.nn.linear(3, 2)
    local function layer(p) return { weight = p.w, bias = p.b[1] } end
    check_continued("kfac", function(p) return optim.kfac(layer(p), { model = model, lr = 0.1, update_every = 2 }) end,
      function(opt, p, first, last)
        for t = first, last do opt:step({ weight = p.w * 2 + math.sin(t), bias = p.b[1] - math.cos(t) }, x * t) end
      end)
  end)

  it("of another rule is refused", function()
    local opt = optim.adam(gl.ones(1))
    assert.has_error(function() optim.sgd(gl.ones(1), { lr = 1 }):load(opt:state()) end)
  end)
end)

describe("schedules", function()
  it("have the defaults that the help tells of", function()
    local required = { step_size = 3, milestones = { 2, 5 }, gamma = 0.5, T_max = 10, T_0 = 4, steps = 5, max_lr = 2,
      total_steps = 20, base_lr = 0.5 }
    for kind in ("constant step multistep exponential linear cosine cosine_restarts warmup one_cycle cyclic polynomial")
      :gmatch("%S+") do
      local least, all = { lr = 1 }, { lr = 1 }
      local options = gl.help("optim.schedule." .. kind):match("{(.-), lr}")
      for name, default in (options .. ","):gmatch("([%w_]+)%s*=?%s*([^,]*),") do
        if default == "" then least[name] = required[name] end
        all[name] = least[name] or load("return " .. default, default, "t", required)()
      end
      all.step_size_down = all.step_size_up
      for t = 0, 12 do near(schedule[kind](least)(t), schedule[kind](all)(t)) end
    end
  end)

  it("have their closed forms", function()
    near(0.1, schedule.constant { lr = 0.1, factor = 1 }(3))
    near(0.01, schedule.step { lr = 1, step_size = 10, gamma = 0.1 }(25))
    near(0.25, schedule.multistep { lr = 1, milestones = { 2, 5 }, gamma = 0.5 }(6))
    near(0.9 ^ 4, schedule.exponential { lr = 1, gamma = 0.9 }(4))
    near(0.5 * (1 + math.cos(math.pi * 3 / 10)), schedule.cosine { lr = 1, T_max = 10 }(3))
    near(0.75, schedule.linear { lr = 1, start_factor = 0.5, total_iters = 4 }(2))
    near((1 - 2 / 4) ^ 2, schedule.polynomial { lr = 1, total_iters = 4, power = 2 }(2))
  end)

  it("drive an optimizer, one step at a time", function()
    local w = gl.zeros(1)
    local opt = optim.sgd(w, { lr = schedule.step { lr = 1, step_size = 2, gamma = 0.1 } })
    for _ = 1, 4 do opt:step(gl.ones(1)) end
    near(-2.2, w[1]:item())
    opt.lr = 10
    opt:step(gl.ones(1))
    near(-12.2, w[1]:item())
  end)

  it("compose: chained they apply in turn, in sequence each from its own start", function()
    local chained = schedule.chain { lr = 1, schedule.exponential { gamma = 0.5 },
      schedule.constant { factor = 0.1, total_iters = 2 } }
    near(0.1, chained(0))
    near(0.05, chained(1))
    near(0.25, chained(2))
    local sequence = schedule.sequential { lr = 1, schedule.constant { factor = 0.5, total_iters = 100 },
      schedule.exponential { gamma = 0.1 }, milestones = { 2 } }
    near(0.5, sequence(1))
    near(1, sequence(2))
    near(0.1, sequence(3))
  end)

  it("on a plateau fall when the metric does not", function()
    local s = schedule.plateau { lr = 1, factor = 0.5, patience = 1 }
    s:observe(1)
    s:observe(1)
    near(1, s(0))
    s:observe(1)
    near(0.5, s(0))
    assert.has_error(function() schedule.step { lr = 1, step_size = 1 }:observe(1) end)
  end)

  it("say what is missing", function()
    assert.has_error(function() schedule.cosine {} end)
    assert.has_error(function() schedule.cosine { T_mx = 3 } end)
    assert.has_error(function() schedule.exponential { gamma = 0.1 }(1) end)
  end)

  it("must be given the options that have no default, and be schedules where they are composed", function()
    for text, f in pairs {
      ["schedule.step: the option step_size must be given"] = function() schedule.step { lr = 1 } end,
      ["schedule.cosine: the option T_max must be given"] = function() schedule.cosine() end,
      ["schedule.chain: takes at most 1 argument, got 2"] = function()
        schedule.chain(schedule.constant { lr = 1 }, schedule.exponential { gamma = 0.5 })
      end,
      ["entry 2 is none"] = function() schedule.sequential { schedule.constant { lr = 1 }, 3, milestones = { 2 } } end,
    } do
      local _, message = pcall(f)
      assert.is_truthy(message:find(text, 1, true), message)
    end
  end)
end)
