-- gl.classify and gl.differentiable on functions whose answer is known on paper.

local gl = require "gradlua"
local raises = require("tests.spec.support").raises

describe("classify", function()
  local function kind(f, x) return (gl.classify(f, x)) end

  it("tells minimum, maximum and saddle by the Hessian", function()
    local origin = gl.zeros(2)
    assert.are.equal("minimum", kind(function(x) return x[1] ^ 2 + 3 * x[2] ^ 2 end, origin))
    assert.are.equal("maximum", kind(function(x) return -x[1] ^ 2 - 3 * x[2] ^ 2 end, origin))
    assert.are.equal("saddle", kind(function(x) return x[1] ^ 2 - x[2] ^ 2 end, origin))
    assert.are.equal("minimum", kind(function(x) return (x - 2) ^ 2 end, 2))
  end)

  it("gives the eigenvalues, ascending", function()
    local _, eigenvalues = gl.classify(function(x) return x[1] ^ 2 - x[2] ^ 2 end, gl.zeros(2))
    assert.are.same({ -2, 2 }, eigenvalues:totable())
  end)

  it("takes nested tables, as one vector of all their entries", function()
    local function f(p) return (p.a ^ 2):sum() - p.b[1] ^ 2 end
    local verdict, eigenvalues = gl.classify(f, { a = gl.zeros(2), b = { 0 } })
    assert.are.equal("saddle", verdict)
    assert.are.same({ -2, 2, 2 }, eigenvalues:totable())
    assert.is_true((gl.differentiable(f, { a = gl.ones(2), b = { 0 } })))
    assert.is_false((gl.differentiable(function(p) return p.a:abs():sum() + p.b end, { a = gl.zeros(2), b = 1 })))
  end)

  it("says when the test cannot tell, and when there is nothing to tell", function()
    assert.are.equal("degenerate", kind(function(x) return x ^ 4 end, 0))
    assert.are.equal("degenerate", kind(function(x) return x[1] ^ 2 + x[2] ^ 4 end, gl.zeros(2)))
    assert.are.equal("saddle", kind(function(x) return x[1] ^ 2 - x[2] ^ 2 + x[3] ^ 4 end, gl.zeros(3)))
    assert.are.equal("not critical", kind(function(x) return x ^ 2 end, 1))
  end)
end)

describe("differentiable", function()
  it("says why there is no slope: a corner, a jump, a vertical tangent, no limit, no value", function()
    local function reason(f, x)
      local verdict, evidence = gl.differentiable(f, x)
      assert.is_false(verdict)
      return evidence.reason
    end
    assert.is_truthy(reason(gl.relu, 0):find("the slope is 0 from the left and 1 from the right", 1, true))
    assert.is_truthy(reason(gl.floor, 2):find("from the left.*the function jumps there"))
    assert.is_truthy(reason(gl.cbrt, 0):find("grow without end from the left .* and from the right"))
    assert.is_nil(reason(gl.cbrt, 0):find("jumps"))
    assert.is_truthy(reason(function(x) return x == 0 and 0 or x * math.sin(1 / x) end, 0):find("do not settle"))
    assert.is_truthy(reason(function(v) return v[1] * v[2] / (v ^ 2):sum() end, gl.zeros(2)):find("0/0", 1, true))
  end)

  it("takes several arguments", function()
    local function f(x, y) return x ^ 2 - y ^ 2 end
    assert.are.equal("saddle", (gl.classify(f, { args = { 0, 0 } })))
    assert.is_true((gl.differentiable(f, { args = { 1, 2 } })))
    raises(function() gl.classify(f, 0, 0) end, "classify: several arguments", "{args = {...}}")
    raises(function() gl.differentiable(f, 0, 0) end, "differentiable: several arguments")
  end)

  it("takes functions of a number that are written for numbers, and those written for tensors", function()
    assert.is_true((gl.differentiable(function(x) return x == 0 and 0 or x ^ 2 * math.sin(1 / x) end, 0)))
    assert.is_true((gl.differentiable(function(x) return gl.where(x:eq(0), 0, x ^ 2 * gl.sin(1 / x)) end, 0)))
    assert.is_false((gl.differentiable(function(x) return x:abs() end, 0)))
  end)

  --- A function of the plane that is 0 at the origin, where its formula is 0/0.
  local function plane(formula)
    return function(v)
      local x, y = v[1]:item(), v[2]:item()
      if x == 0 and y == 0 then return 0 end
      return formula(x, y)
    end
  end
  local origin = gl.zeros(2)

  it("finds smooth functions differentiable", function()
    for _, case in ipairs {
      { function(x) return x:sin() end, gl.tensor(0.7) },
      { function(x) return (x * x):sum() end, gl.tensor { 1, -2, 3 } },
      { function(x) return (x[1] * x[2]):exp() end, gl.tensor { 0.3, 1e3 } },
      { function(x) return 7 + 0 * x end, 2 },
      { plane(function(x, y) return x * x * y * y / (x * x + y * y) end), origin },
      { plane(function(x, y) return (x * x + y * y) * math.sin(1 / (x * x + y * y)) end), origin },
      { function(x) return math.abs(x) ^ 1.1 end, 0 },
    } do
      local verdict, evidence = gl.differentiable(case[1], case[2])
      assert.is_true(verdict, evidence.reason)
    end
  end)

  it("tells kinks and vertical tangents by their one-sided slopes", function()
    local verdict, evidence = gl.differentiable(function(x) return math.abs(x) end, 0)
    assert.is_false(verdict)
    assert.is_false(evidence.partials_exist)
    assert.is_near(-1, evidence.left[1], 1e-6)
    assert.is_near(1, evidence.right[1], 1e-6)
    assert.is_false((gl.differentiable(function(x) return x:relu():sum() end, gl.tensor { 1, 0 })))
    assert.is_false((gl.differentiable(function(x) return math.abs(x) ^ 0.5 end, 0)))
    assert.is_false((gl.differentiable(function(x) return x < 1 and 0 or 1 end, 1)))
  end)

  it("tells functions whose partial derivatives exist but that have no derivative", function()
    for name, formula in pairs {
      discontinuous = function(x, y) return x * y / (x * x + y * y) end,
      cone = function(x, y) return x * x * y / (x * x + y * y) end,
      parabola = function(x, y) return x * x * y / (x ^ 4 + y * y) end,
      root = function(x, y) return math.abs(x * y) ^ 0.5 end,
      crease = function(x, y) return x == y and x or 0 end,
    } do
      local verdict, evidence = gl.differentiable(plane(formula), origin)
      assert.is_false(verdict, name)
      assert.is_true(evidence.partials_exist, name)
      assert.is_near(0, evidence.partials[1], 1e-6)
      assert.is_truthy(evidence.reason:find("partial derivatives exist", 1, true))
      assert.are.equal(2, #evidence.direction)
    end
  end)

  it("refuses what is no point or no function", function()
    assert.has_error(function() gl.differentiable(3, 0) end)
    assert.has_error(function() gl.differentiable(math.sin, "x") end)
    local verdict, evidence = gl.differentiable(function() return 0 / 0 end, 1)
    assert.is_false(verdict)
    assert.is_truthy(evidence.reason:find("not a number"))
  end)
end)

describe("gl.classify", function()
  it("refuses wrong use in its own name", function()
    raises(function() gl.classify(3, gl.zeros(2)) end, "classify: the first argument must be a function, not number")
    raises(function() gl.classify(gl.sum) end, "classify: the point must be a number or tensor or table, not nil")
    raises(function() gl.classify(gl.exp, gl.zeros(2)) end, "classify: the function must return a number, not a tensor of shape 2")
    raises(function() gl.differentiable(gl.exp, gl.zeros(2)) end, "differentiable: the function must return a number")
  end)
end)
