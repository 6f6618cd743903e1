-- gl.odeint against closed forms, its gradients against those of the closed forms.

local gl = require "gradlua"
local raises = require("tests.spec.support").raises

local function near(want, got, tolerance)
  if gl.is_tensor(got) then got = got:item() end
  assert.is_true(math.abs(want - got) <= tolerance * (1 + math.abs(want)), ("%.15g, not %.15g"):format(got, want))
end

local function decay(_, y, k) return -k * y end
local adjoints = { "discrete", "continuous" }

describe("odeint", function()
  it("follows closed forms at the asked times, forwards and backwards", function()
    local y = gl.odeint(decay, 2.0, { 0, 0.1, 1, 5 }, 0.7)
    for i, t in ipairs { 0, 0.1, 1, 5 } do near(2 * math.exp(-0.7 * t), y[i], 1e-8) end
    y = gl.odeint(decay, gl.tensor { 1, 2 }, { 3, 1, 0 }, 1)
    near(2 * math.exp(3), y[{ 3, 2 }], 1e-7)
    assert.are.same({ 1, 2 }, y[1]:totable())
  end)

  it("takes and gives the structure of the state", function()
    local s = gl.odeint(function(_, s) return { x = s.v, v = -s.x } end, { x = gl.tensor { 1, 0 }, v = gl.tensor { 0, 1 } },
      gl.linspace(0, math.pi, 3))
    assert.are.same({ 3, 2 }, s.x:shape())
    near(-1, s.x[{ 3, 1 }], 1e-7)
    near(1, s.x[{ 2, 2 }], 1e-7)
  end)

  it("passes time to f", function()
    near(1 / 3, gl.odeint(function(t) return t * t end, 0, { 0, 1 })[2], 1e-9)
  end)

  it("says so when the steps run out, when times are out of order, and when f returns something else", function()
    local function message(...)
      local _, text = pcall(gl.odeint, ...)
      return text
    end
    assert.is_truthy(message(function(_, y) return y * y end, 1, { 0, 2 }, { max_steps = 300 }):find("300 steps", 1, true))
    assert.is_truthy(message(decay, 1, { 0, 2, 1 }, 1):find("ascend or descend", 1, true))
    assert.is_truthy(message(decay, 1, { 0, 1 }, 1, { rtoll = 1, atol = 1 }):find("rtol", 1, true))
    assert.is_truthy(message(function() return gl.zeros(3) end, gl.zeros(2), { 0, 1 }):find("3 entries", 1, true))
  end)

  it("tells a misspelt option from an argument", function()
    raises(function() gl.odeint(function(_, y) return -y end, 1, { 0, 1 }, { rtl = 1e-3 }) end, 'did you mean "rtol"')
    raises(function() gl.odeint(decay, 1, { 0, 1 }, 0.5, { max_step = 10 }) end, 'did you mean "max_steps"')
    raises(function() gl.odeint(function(_, y) return -y end, 1, { 0, 1 }, { k = 2 }) end, 'unknown option "k"')
    raises(function() gl.odeint(gl.jit(function(_, y) return -y end), 1, { 0, 1 }, { rtol = 1e-3, k = 2 }) end,
      'unknown option "k"')
    near(math.exp(-2), gl.odeint(function(_, y, p) return -y * p.k end, 1, { 0, 1 }, { k = 2 })[2], 1e-7)
    near(math.exp(-2), gl.odeint(function(_, y, p) return -y * p.k end, 1, { 0, 1 }, { k = 2 }, { rtol = 1e-9 })[2], 1e-8)
  end)

  for _, adjoint in ipairs(adjoints) do
    it("differentiates in parameters, start and times: " .. adjoint, function()
      local function last(y0, k, t1)
        return gl.odeint(decay, y0, gl.stack { gl.zeros_like(t1), t1 / 2, t1 }, k, { adjoint = adjoint })[3]
      end
      local dy0, dk, dt = gl.grad(last, "all")(gl.tensor(2), gl.tensor(0.7), gl.tensor(1.5))
      local e = math.exp(-0.7 * 1.5)
      near(e, dy0, 1e-7)
      near(-2 * 1.5 * e, dk, 1e-7)
      near(-2 * 0.7 * e, dt, 1e-6)
    end)

    it("sums the cotangents of all rows: " .. adjoint, function()
      local function all(k) return gl.odeint(decay, 1.0, { 0, 1, 2 }, k, { adjoint = adjoint }):sum() end
      near(-math.exp(-0.5) - 2 * math.exp(-1), gl.grad(all)(0.5), 1e-7)
    end)
  end

  it("differentiates forwards and twice", function()
    local function last(k) return gl.odeint(decay, 1.0, { 0, 1 }, k)[2] end
    near(-math.exp(-0.5), select(2, gl.jvp(last, { 0.5 }, { 1.0 })), 1e-7)
    near(math.exp(-0.5), gl.grad(gl.grad(last))(0.5), 1e-5)
  end)

  it("stages under jit and batches under vmap", function()
    local solve = gl.jit(function(k) return gl.odeint(decay, 1.0, { 0, 1 }, k)[2] end)
    near(math.exp(-0.5), solve(0.5), 1e-8)
    local ends = gl.vmap(function(k) return gl.odeint(decay, 1.0, { 0, 1 }, k)[2] end)(gl.tensor { 0.5, 3 })
    near(math.exp(-0.5), ends[1], 1e-7)
    near(math.exp(-3), ends[2], 1e-7)
  end)
end)
