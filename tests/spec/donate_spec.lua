-- gl.jit's option donate: whole training steps whose results take the memory of their arguments.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

--- Large enough not to lie in the userdata.
local function matrix(seed) return gl.generator(seed):randn(40, 30) end

local function descend(p, g) return p - 0.5 * g end

--- The jitted function after the two calls in which it is recorded and planned.
local function warm(f, options, ...)
  local jitted = gl.jit(f, options)
  for _ = 1, 3 do
    local fresh = {}
    for i, x in ipairs { ... } do fresh[i] = gl.is_tensor(x) and x:clone() or x end
    jitted(table.unpack(fresh))
  end
  return jitted
end

describe("donated arguments", function()
  it("give a training step's results their memory", function()
    local x, y = gl.generator(1):randn(16, 30), gl.generator(2):randn(16, 40)
    local loss = gl.value_and_grad(function(q) return (x:matmul(q.layer.weight:t()) + q.layer.bias - y):square():mean() end)
    local params = { layer = { weight = matrix(3), bias = gl.zeros(40) } }
    local init, update = gl.optim.adam(params, { lr = 0.01, clip_norm = 1 }):pure()
    local function step(q, state)
      local value, gradients = loss(q)
      local new, new_state = update(gradients, state, q)
      return value, new, new_state
    end
    local kept, donating = gl.jit(step), gl.jit(step, { donate = { 1, 2 } })
    local p, state = params, init(params)
    local q, other = { layer = { weight = matrix(3), bias = gl.zeros(40) } }, init(params)
    for _ = 1, 6 do
      local a, b
      a, p, state = kept(p, state)
      b, q, other = donating(q, other)
      assert.are.equal(a:item(), b:item())
    end
    assert.is_true((p.layer.weight:eq(q.layer.weight)):all():item())
    assert.is_true((p.layer.bias:eq(q.layer.bias)):all():item())
    local stats = donating:stats()
    assert.are.equal(6 * 7, stats.donated) -- two parameters with two moments each, and the count of steps
    assert.is_true(stats.reused >= 3 * 4)  -- the weights and their moments, from the second or third call on
    assert.are.equal(0, kept:stats().donated)
    assert.are.equal(0, stats.retraces)
  end)

  it("are gone after the call, and say where they went", function()
    for _, p in ipairs { matrix(1), gl.ones(3) } do
      local where = "donate_spec.lua:" .. debug.getinfo(1, "l").currentline + 1
      local step = gl.jit(descend, { donate = true })
      step(p, gl.ones(p:shape()))
      for _, use in ipairs {
        function() return p + 1 end, function() return 1 + p end, function() return p:sum() end, function() return p[1] end,
        function() return #p end, function() return -p end, function() gl.sum(p) end, function() step(p, p) end,
        function() p[1] = 2 end, function() gl.grad(function(q) return q.a:sum() end) { a = p } end,
        function() p:add_(1) end, function() return gl.concat({ gl.ones(40, 30), p }, 1) end, function() print(p .. "") end,
        function() return p < p end, function() gl.gradcheck(function(q) return q:sum() end, p) end,
      } do raises(use, "donated to the function jitted at", where, "use its result") end
      assert.is_true(gl.is_tensor(p))
      assert.is_truthy(tostring(p):find("donated", 1, true))
      assert.is_true(p == p)
    end
  end)

  it("are chosen by position", function()
    local p, g = matrix(1), matrix(2)
    local step = warm(descend, { donate = 1 }, p, g)
    local before = step:stats().reused
    step(p, g)
    assert.are.equal(before + 1, step:stats().reused)
    assert.is_true(g:isfinite():all():item())
    raises(function() return p:sum() end, "donated")
    raises(function() gl.jit(descend, { donate = 0 }) end, "donate", "counts from 1")
    raises(function() gl.jit(descend, { donate = "p" }) end, "donate")
    near(matrix(1) - 0.5 * g, gl.jit(descend, { donate = false })(matrix(1), g))
    near({ 1, 2 }, gl.jit(function(a, n) return a * n end, { donate = true, static = 2 })(gl.tensor { 1, 2 }, 1))
  end)

  it("leave to others what these have of their memory", function()
    local p, g = matrix(1), matrix(2)
    local step = warm(descend, { donate = 1 }, p, g)
    local row, same, columns = p[2], p:reshape(-1), p:t()
    local old, new, before = p:clone(), descend(p, g), step:stats().reused
    near(new, step(p, g))
    assert.are.equal(before, step:stats().reused)
    near(old[2], row)
    near(old:reshape(-1), same)
    near(old:t(), columns)
  end)

  it("may lie anyhow and come twice", function()
    local square = gl.generator(5):randn(30, 30)
    local step = warm(descend, { donate = true }, square, square)
    local a = square:clone()
    near(square:t() - 0.5 * square, step(square:clone():t(), square:clone()))
    near(0.5 * square, step(a, a))
    raises(function() return a:sum() end, "donated")
    local wide = gl.ones(30):expand(30, 30)
    near(1 - 0.5 * square, step(wide, square:clone()))
    local upper, lower = table.unpack(gl.generator(6):randn(60, 30):split({ 30, 30 }, 1))
    local want = upper - 0.5 * lower
    collectgarbage()
    near(want, step(upper, lower))
  end)

  it("are kept where they are a result themselves", function()
    local step = warm(function(p, frozen) return p * 2, frozen end, { donate = true }, matrix(1), matrix(2))
    local frozen = matrix(2)
    local _, back = step(matrix(1), frozen)
    assert.are.equal(frozen, back)
    near(matrix(2), frozen)
    _, back = step(frozen, frozen)
    near(matrix(2), back)
  end)

  it("raise where they were captured too", function()
    local w = matrix(1)
    local loss = gl.jit(function(x) return (w * x):sum() end)
    local step = gl.jit(function(p) return p + w end, { donate = 1 })
    local before = loss(matrix(2)):item()
    assert.are.equal(before, loss(matrix(2)):item())
    near(2 * matrix(1), step(w))
    raises(function() loss(matrix(2)) end, "donated")
    raises(function() step(matrix(3)) end, "donated")
    w = matrix(1)
    assert.are.equal(before, loss(matrix(2)):item()) -- another tensor takes the captured one's place
    assert.are.equal(0, loss:stats().retraces)
    local small = gl.ones(2)
    local read = gl.jit(function(x) return (small * x):sum() end)
    near(3, read(gl.tensor { 1, 2 }))
    gl.jit(function(p) return p * 2 end, { donate = 1 })(small)
    raises(function() read(gl.tensor { 1, 2 }) end, "donated")
  end)

  it("stay as they were when the call fails", function()
    local function f(p, a) return p * 2, gl.cholesky(a) end
    local good, bad = gl.eye(30), -gl.eye(30)
    local step = warm(f, { donate = true }, matrix(1), good)
    local p = matrix(1)
    raises(function() step(p, bad) end, "cholesky")
    near(matrix(1), p)
    near(-gl.eye(30), bad)
    near(2 * matrix(1), (step(p, good)))
  end)

  it("are not given away inside a transform, by a check, or while somebody waits with them in hand", function()
    local step = warm(descend, { donate = true }, matrix(1), matrix(2))
    local p, g = matrix(1), matrix(2)
    near(gl.ones(40, 30), gl.grad(function(q) return step(q, g):sum() end)(p))
    near(descend(p, g), gl.vmap(step)(p, g))
    local checked = gl.jit(descend, { donate = true, check = true })
    near(descend(p, g), checked(p, g))
    local gradient = gl.grad(function(s)
      local held = (p * s):sum()
      step(p, g)
      return held
    end)(gl.tensor(1))
    near(p:sum(), gradient)
    gl.minimize(function(x)
      step(p, g)
      return ((x - 1) ^ 2):sum()
    end, gl.zeros(2))
    near(matrix(1), p)
    local finalized = false
    setmetatable({}, { __gc = function()
      step(p, g)
      finalized = true
    end })
    collectgarbage()
    assert.is_true(finalized)
    near(matrix(1), p)
    near(matrix(2), g)
  end)

  it("cannot be used by what was begun with them", function()
    local step = warm(descend, { donate = 1 }, matrix(1), matrix(2))
    local p = matrix(1)
    local _, pull = gl.vjp(function(q) return (q * q):sum() end, p)
    local rows = 0
    raises(function()
      for row in p:iter() do
        rows = rows + 1
        if rows == 1 then step(p, matrix(2)) end
        assert(row)
      end
    end, "donated")
    assert.are.equal(1, rows)
    local ok, result = pcall(pull, 1)
    if ok then near(2 * matrix(1), result) else assert.is_truthy(result:find("donated", 1, true)) end
    local weak = setmetatable({ matrix(3) }, { __mode = "v" })
    step(weak[1], matrix(2))
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("give what the plain function gives, whatever is shared or given twice, and leave the rest alone", function()
    local draw = gl.generator(11)
    local function below(n) return draw:randint(1, n, {}):item() end
    local outside = matrix(99)
    local functions = {
      function(a, b, c) return a - 0.5 * b, b * c, c end,
      function(a, b, c) return { sum = a + b + c, same = a }, a * b end,
      function(a, b, c) return (a * b):sum(), a + outside, b - c end,
      function(a, b, c)
        local mean = 0.9 * a + b
        return c - mean, { mean, (c * c):sum(1) }
      end,
      function(a, b, c) return a:t() + b:t(), b * 2, c:matmul(a:t()) end,
    }
    local ways = { -- to make an argument of fresh memory x and an earlier one
      function(x) return x end, function(x) return x end, function(_, other) return other end,
      function(_, other) return other:reshape(40, 30) end, function(x) return x:t():clone():t() end,
      function(x) return gl.concat({ x, x }, 1)[{ { 41, 80 } }] end,
    }
    for trial = 1, 60 do
      local f = functions[1 + trial % #functions]
      local donated = { [below(3)] = true, [below(3)] = true }
      local positions = {}
      for i in pairs(donated) do positions[#positions + 1] = i end
      local step = gl.jit(f, { donate = positions })
      for call = 1, 5 do
        local arguments, olds, views = {}, {}, {}
        for i = 1, 3 do
          arguments[i] = ways[below(#ways)](draw:randn(40, 30), arguments[i - 1] or matrix(call))
          olds[i] = arguments[i]:clone()
          if below(3) == 1 then views[i] = arguments[i][{ { 2, 3 } }] end
        end
        near({ f(table.unpack(olds)) }, { step(table.unpack(arguments)) })
        for i = 1, 3 do
          if views[i] then near(olds[i][{ { 2, 3 } }], views[i]) end
          local ok, sum = pcall(gl.sum, arguments[i])
          if ok then near(olds[i]:sum(), sum) else assert.is_truthy(sum:find("donated", 1, true)) end
          if not ok then for j = 1, 3 do ok = ok or donated[j] and rawequal(arguments[i], arguments[j]) end end
          assert.is_true(ok)
        end
      end
    end
    near(matrix(99), outside)
  end)
end)
