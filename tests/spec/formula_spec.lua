local gl = require "gradlua"

describe("formula", function()
  it("writes derivatives as a person would", function()
    local dx, dy = gl.formula(function(x, y) return x ^ 2 * y + gl.sin(x * y) end, { "x", "y" })
    assert.equal("2*x*y + y*cos(x*y)", dx)
    assert.equal("x^2 + x*cos(x*y)", dy)
  end)

  it("takes one name for one argument, and numbers from outside", function()
    local k = 2.5
    assert.equal("12*x^3 - 2.5", gl.formula(function(x) return 3 * x ^ 4 - k * x end, "x"))
  end)

  it("writes the function itself, and LaTeX", function()
    local function f(x, y) return x / y end
    assert.equal("x/y", gl.formula(f, { "x", "y" }, { order = 0 }))
    assert.equal("\\frac{1}{y}", (gl.formula(f, { "x", "y" }, { latex = true })))
  end)

  it("writes small tensors element by element", function()
    local A = gl.tensor { { 2, 1 }, { 1, 3 } }
    local text = gl.formula(function(x) return x:dot(A:matmul(x)) / 2 end, "x", { at = { gl.ones(2) } })
    assert.equal("[2*x[1] + x[2], x[1] + 3*x[2]]", text)
  end)

  it("follows a branch at the values given", function()
    local function f(x) if x > 0 then return x * x else return -x end end
    assert.equal("2*x", gl.formula(f, "x", { at = { 3 } }))
    assert.equal("-1", gl.formula(f, "x", { at = { -3 } }))
    assert.error_matches(function() gl.formula(f, "x") end, "needs a number")
  end)

  it("says what it cannot do", function()
    assert.error_matches(function() gl.formula(function(x) return x end, 3) end, "list of names")
    assert.error_matches(function() gl.formula(function(x) return x end, "x", { at = {} }) end, "a value for each")
    assert.error_matches(function() gl.formula(function(x) return x end, "x", { order = 2 }) end, "order must be")
    assert.error_matches(function()
      gl.formula(function(x) return x:sort():sum() end, "x", { at = { gl.ones(3) } })
    end, "no written form")
  end)
end)
