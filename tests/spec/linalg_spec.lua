-- Linear algebra from Lua: against PyTorch (tests/data/linalg_reference.csv, by scripts/linalg_reference.py), as methods,
-- inside every transform, and what it refuses.

local gl = require "gradlua"
local raises = require("tests.spec.support").raises

local function positive(a) return a:matmul(a:transpose()) + gl.eye(a:shape()[#a:shape()]) end

local functions = {
  solve = gl.solve,
  inv = gl.inv,
  det = gl.det,
  slogdet = function(a) return (select(2, gl.slogdet(a))) end,
  logdet = function(a) return gl.logdet(positive(a)) end,
  cholesky = function(a) return gl.cholesky(positive(a)) end,
  cholesky_solve = function(a, b) return gl.cholesky_solve(gl.cholesky(positive(a)), b) end,
  triangular_lower = gl.triangular_solve,
  triangular_upper = function(a, b) return gl.triangular_solve(a, b, { upper = true }) end,
  lstsq = gl.lstsq,
  qr_q = function(a) return (gl.qr(a)) end,
  qr_r = function(a) return (select(2, gl.qr(a))) end,
  svd_u = function(a) return (gl.svd(a)) ^ 2 end,
  svd_s = function(a) return (select(2, gl.svd(a))) end,
  svd_vt = function(a) return (select(3, gl.svd(a))) ^ 2 end,
  eigh_values = function(a) return (gl.eigh(a + a:transpose())) end,
  eigh_vectors = function(a) return select(2, gl.eigh(a + a:transpose())) ^ 2 end,
  matrix_exp = gl.matrix_exp,
}

-- The name, then lists of numbers.
local function fields(line)
  local parts = {}
  for field in (line .. ";"):gmatch("([^;]*);") do
    local numbers = {}
    for number in field:gmatch("[^ ]+") do numbers[#numbers + 1] = tonumber(number) end
    parts[#parts + 1] = #parts == 0 and field or numbers
  end
  return table.unpack(parts)
end

local function ramp(shape, f)
  local n = 1
  for _, extent in ipairs(shape) do n = n * extent end
  return f(gl.arange(0, n - 1)):reshape(shape)
end

local function near(want, got, tolerance, what)
  local flat = gl.tensor(want)
  local difference = (flat - got:reshape(flat:shape())):abs():max():item()
  local scale = 1 + flat:abs():max():item()
  assert.is_true(difference <= tolerance * scale, ("%s differs by %g"):format(what, difference))
end

describe("against PyTorch", function()
  for line in io.lines("tests/data/linalg_reference.csv") do
    local name, sa, sb, value, grad_a, grad_b, hessian_v = fields(line)
    local f = functions[name]
    it(("%s of %s"):format(name, table.concat(sa, " x ")), function()
      local a = ramp(sa, function(i) return gl.cos(0.7 * i + 0.1 * i * i) end)
      local b = #sb > 0 and ramp(sb, function(i) return gl.sin(0.3 * i + 0.2) end) or nil
      local v = ramp(sa, function(i) return gl.cos(0.9 * i) end)
      local function loss(x, y)
        local z = f(x, y)
        return (z * ramp(z:shape(), function(i) return gl.cos(1.3 * i) end)):sum()
      end
      near(value, f(a, b), 1e-11, "the value")
      near(grad_a, gl.grad(function(x) return loss(x, b) end)(a), 1e-10, "the gradient")
      if b then near(grad_b, gl.grad(function(y) return loss(a, y) end)(b), 1e-10, "the gradient in b") end
      near(hessian_v, gl.hvp(function(x) return loss(x, b) end)(a, v), 1e-9, "the Hessian times v")
      if name ~= "eigh_vectors" and name:sub(1, 3) ~= "svd" then
        near(value, f(a:to("f32"), b and b:to("f32")):to("f64"), 1e-3, "the f32 value")
      end
    end)
  end
end)

describe("linear algebra", function()
  local a = gl.tensor { { 4, 1 }, { 1, 3 } }

  it("solves a batch of systems for one vector", function()
    local batch = gl.tensor { { { 4, 0 }, { 0, 1 } }, { { 1, 0 }, { 0, 4 } } }
    for _, f in ipairs { gl.solve, gl.triangular_solve } do
      near({ { 0.5, 2 }, { 2, 0.5 } }, f(batch, gl.tensor { 2, 2 }), 1e-15, "solve")
    end
    near({ { 0.5, 2 }, { 2, 0.5 } }, gl.cholesky_solve(gl.cholesky(batch), gl.tensor { 2, 2 }), 1e-15, "solve")
  end)

  it("comes as methods", function()
    near({ 11 }, a:det(), 1e-15, "det")
    near({ 1, 0, 0, 1 }, a:inv():matmul(a), 1e-15, "inv")
    near({ 1, 2 }, a:matmul(a:solve(gl.tensor { 1, 2 })), 1e-15, "solve")
  end)

  it("works inside vmap and jit", function()
    local batch = gl.stack { a, a * 2, a + 1 }
    near(gl.inv(batch):flatten():totable(), gl.vmap(gl.inv)(batch), 1e-15, "vmap")
    local jitted = gl.jit(function(x) return gl.logdet(x) end)
    near({ math.log(11) }, jitted(a), 1e-14, "jit")
    local per_item = gl.vmap(gl.grad(gl.logdet))(batch)
    near(gl.inv(batch):transpose():flatten():totable(), per_item, 1e-14, "vmap of grad")
  end)

  it("agrees with finite differences through a chain of factorizations", function()
    local function f(x)
      local l = gl.cholesky(x:matmul(x:transpose()) + gl.eye(3))
      local w = gl.eigh(l + l:transpose())
      return gl.matrix_exp(l / 4):trace() + (w * w):sum() + gl.slogdet(l):sum()
    end
    assert.is_true(gl.gradcheck(f, gl.tensor { { 1, 0.2, 0.3 }, { 0.4, 1.5, 0.1 }, { 0.2, 0.6, 2 } }))
  end)

  it("says what is wrong", function()
    local function message(f, ...)
      local ok, text = pcall(f, ...)
      assert.is_false(ok)
      return text
    end
    assert.matches("singular", message(gl.inv, gl.ones(2, 2)))
    assert.matches("positive definite", message(gl.cholesky, gl.tensor { { 1, 2 }, { 2, 1 } }))
    assert.matches("2 x 3", message(gl.det, gl.ones(2, 3)))
    assert.matches("full rank", message(gl.lstsq, gl.ones(3, 2), gl.ones(3)))
    assert.matches("matrix 2 of the batch", message(gl.inv, gl.stack { a, gl.zeros(2, 2) }))
    assert.matches("equal eigenvalues", message(gl.grad(function(x) return (gl.eigh(x))[1] end), gl.eye(2)))
  end)

  it("has the derivative of symmetric functions at equal eigenvalues", function()
    near({ 2, 0, 0, 2 }, gl.grad(function(x) return (gl.eigh(x) ^ 2):sum() end)(gl.eye(2)), 1e-14, "grad")
  end)
end)

describe("systems that do not fit", function()
  it("are refused by name, with the shapes as they were given", function()
    local a = gl.eye(2)
    raises(function() a:solve(gl.ones(3)) end, "solve: a matrix of shape 2 x 2 and a right-hand side of shape 3 do not fit")
    raises(function() a:solve(gl.tensor(1)) end, "solve: a matrix of shape 2 x 2")
    raises(function() gl.cholesky_solve(a, gl.ones(3, 1)) end, ": cholesky_solve: a matrix of shape 2 x 2", "shape 3 x 1")
    raises(function() gl.lstsq(gl.ones(3, 2), gl.ones(2)) end, "lstsq: a matrix of shape 3 x 2", "shape 2 do not fit")
    raises(function() gl.einsum("ij,jk", a, gl.ones(3, 2)) end, ': einsum: "ij,jk": axis 1')
    raises(function() gl.ones(1, 3):expand(2, 4) end, ": expand: shape 1 x 3")
    raises(function() gl.conv1d(gl.ones(1, 2, 5), gl.ones(1, 1, 3)) end, ": conv1d: an input of shape 1 x 2 x 5 has 2 channels")
    raises(function() gl.embedding(a, gl.ones(2)) end, "embedding: positions must be i64, got f64")
    raises(function() gl.nn.cross_entropy(gl.ones(2, 3), gl.ones(3)) end, "target is f64 3")
  end)
end)

