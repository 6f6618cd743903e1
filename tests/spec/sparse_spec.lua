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

  it("takes dense rows and dense columns together in sweeps of both kinds", function()
    local function arrow(y)
      local n = #y
      return gl.concat { (y ^ 2):sum():reshape(1), y[{ { 2, n } }] ^ 2 * y[1] }
    end
    local A = gl.sparse_jacobian(arrow, x)
    assert.are.equal(3, A.colors)
    assert.are.equal("mixed", A.mode)
    near((gl.jacobian(arrow)(x)), A:dense())
    near((gl.jacobian(arrow)(x * 3)), A:update(x * 3):dense())
    local function two_columns(y) return gl.concat { (y[{ { 3, 5 } }] ^ 2 * y[1] + y[2]):tile(3), (y ^ 3):sum():reshape(1) } end
    near((gl.jacobian(two_columns)(x)), gl.sparse_jacobian(two_columns, x):dense())
    local large = gl.sparse_jacobian(arrow, gl.ones(50000))
    assert.are.equal(3, large.colors)
    local _, rate = gl.jvp(arrow, { gl.ones(50000) }, { gl.arange(50000) })
    near(rate, large:matmul(gl.arange(50000)), 1e-10)
  end)

  it("takes tables as one vector of all their entries", function()
    local function g(p) return { u = p.a * p.b, v = p.a:sum() } end
    local P = gl.sparse_jacobian(g, { a = gl.tensor { 1, 2 }, b = 3 })
    near({ { 3, 0, 1 }, { 0, 3, 2 }, { 1, 1, 0 } }, P:dense())
    near({ { 5, 0, 7 }, { 0, 5, 8 }, { 1, 1, 0 } }, P:update({ a = gl.tensor { 7, 8 }, b = 5 }):dense())
    local H = gl.sparse_hessian(function(p) return (p.a ^ 3):sum() + p.b[1] * p.a[2] end, { a = gl.tensor { 1, 2 }, b = { 3 } })
    near({ { 6, 0, 0 }, { 0, 12, 1 }, { 0, 1, 0 } }, H:dense())
  end)

  it("says what is wrong", function()
    raises(function() S:update("x") end, "a tensor, a number or a table")
    raises(function() gl.sparse_jacobian(f, { x, "y" }) end, "sparse_jacobian: [2] must be a number or a tensor, not string")
    raises(function() gl.grad(function(y) return gl.sparse_jacobian(function(z) return z * y end, x).values:sum() end)(x) end,
      "inside a transform")
  end)
end)

describe("gl.sparse_hessian", function()
  it("follows the function to another path, another size, and another captured number", function()
    local k = 1
    local function g(y)
      if y[1]:item() > 0 then return k * (y ^ 2):sum() end
      return y:sum() ^ 2
    end
    local H = gl.sparse_hessian(g, gl.tensor { 1, 2, 3 })
    near(2 * gl.eye(3), H:dense())
    k = 5
    near(10 * gl.eye(3), H:update(gl.tensor { 4, 2, 3 }):dense())
    assert.are.equal(9, H:update(gl.tensor { -1, 2, 3 }).nnz)
    near(gl.full({ 3, 3 }, 2), H:dense())
    near(10 * gl.eye(2), H:update(gl.ones(2)):dense())
  end)

  it("follows positions, keeps dtypes, and takes functions that do not depend on x", function()
    local p = gl.tensor({ 3, 1 }, { dtype = "i64" })
    local S = gl.sparse_jacobian(function(y) return y[p] ^ 2 end, gl.tensor({ 1, 2, 3 }, { dtype = "f32" }))
    assert.are.equal("f32", S.values:dtype())
    near({ { 0, 0, 6 }, { 2, 0, 0 } }, S:dense():to("f64"))
    S = gl.sparse_jacobian(function() return gl.ones(2) end, gl.ones(3))
    assert.are.equal(0, S.nnz)
    near(gl.zeros(2, 3), S:dense())
  end)

  it("needs a handful of sweeps, whatever the size", function()
    local H = gl.sparse_hessian(rosenbrock, x)
    near(gl.hessian(rosenbrock)(x), H:dense())
    assert.are.equal(13, H.nnz)
    local large = gl.sparse_hessian(rosenbrock, gl.ones(20000))
    assert.is_true(large.colors <= 3)
    assert.are.equal(3 * 20000 - 2, large.nnz)
    near(gl.hvp(rosenbrock)(gl.ones(20000), gl.arange(20000)), large:matmul(gl.arange(20000)), 1e-10)
  end)

  it("is for any argument, the others held as they were", function()
    local function scaled(a, b) return a * b end
    local S = gl.jacobian(scaled, { mode = "sparse", argnum = 2 })(gl.tensor { 1, 2, 3 }, gl.ones(3))
    near({ { 1, 0, 0 }, { 0, 2, 0 }, { 0, 0, 3 } }, S:dense())
    near({ 1, 2, 3 }, S:update(gl.zeros(3)).values)
    near({ 6, 6 }, gl.jacobian(function(a, k, p) return a * k * p.k end, { mode = "sparse" })(gl.ones(2), 3, { k = 2 }).values)
    assert.has_error(function() gl.jacobian(scaled, { mode = "sparse", argnum = 3 })(gl.ones(2), gl.ones(2)) end)
    assert.has_error(function() gl.jacobian(scaled, { mode = "sparse", argnum = 0 }) end)
  end)
end)
