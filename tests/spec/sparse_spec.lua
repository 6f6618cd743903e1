-- Sparse derivatives as objects.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

local x = gl.arange(5)
local function f(y) return y[{ { 1, 4 } }] * y[{ { 2, 5 } }] end
local function rosenbrock(y)
  local n = #y
  local a, b = y[{ { 1, n - 1 } }], y[{ { 2, n } }]
  return (100 * (b - a ^ 2) ^ 2 + (1 - a) ^ 2):sum()
end

describe("gl.sparse_jacobian", function()
  local S = gl.sparse_jacobian(f, x)
  it("knows its pattern, in CSR, from 1", function()
    assert.are.same({ 4, 5 }, S.shape)
    assert.are.equal(8, S.nnz)
    assert.are.equal(2, S.colors)
    assert.are.same({ 1, 1, 2, 2, 3, 3, 4, 4 }, S.row:totable())
    assert.are.same({ 1, 2, 2, 3, 3, 4, 4, 5 }, S.col:totable())
    assert.are.same({ 1, 3, 5, 7, 9 }, S.indptr:totable())
    near({ 2, 1, 3, 2, 4, 3, 5, 4 }, S.values)
    assert.is_truthy(tostring(S):find("**...", 1, true))
  end)

  it("agrees with the dense one, at other points too", function()
    near((gl.jacobian(f)(x)), S:dense())
    near(S:dense():matmul(x), S:matmul(x))
    local before = S.values
    near((gl.jacobian(f)(x * 2)), S:update(x * 2):dense())
    near({ 2, 1, 3, 2, 4, 3, 5, 4 }, before)
    near(S:dense(), gl.jacobian(f, { mode = "sparse" })(x * 2):dense())
  end)

  it("says what is wrong", function()
    raises(function() S:update(gl.ones(4)) end, "f64 5", "f64 4")
    raises(function() gl.sparse_jacobian(function(p) return p[1] * p[2] end, { x, x }) end, "one tensor")
    raises(function() gl.grad(function(y) return gl.sparse_jacobian(function(z) return z * y end, x).values:sum() end)(x) end,
      "inside a transform")
  end)
end)

describe("gl.sparse_hessian", function()
  it("needs a handful of sweeps, whatever the size", function()
    local H = gl.sparse_hessian(rosenbrock, x)
    near(gl.hessian(rosenbrock)(x), H:dense())
    assert.are.equal(13, H.nnz)
    local large = gl.sparse_hessian(rosenbrock, gl.ones(20000))
    assert.is_true(large.colors <= 3)
    assert.are.equal(3 * 20000 - 2, large.nnz)
    near(gl.hvp(rosenbrock)(gl.ones(20000), gl.arange(20000)), large:matmul(gl.arange(20000)), 1e-10)
  end)
end)
