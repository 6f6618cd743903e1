--- The log posterior of a Gaussian mixture with a Wishart prior.
local gl = require "gradlua"

local log, pi = math.log, math.pi

--- Where each entry of a lower triangular d x d matrix comes from, in row order: entries below the diagonal, column by
--- column, come first, then those of the diagonal, then a zero for all above it.
local function lower_positions(d)
  local count = d * (d - 1) // 2
  local positions = {}
  for i = 1, d * d do positions[i] = count + d + 1 end
  for i = 1, d do positions[(i - 1) * d + i] = count + i end
  local at = 0
  for column = 1, d do
    for row = column + 1, d do
      at = at + 1
      positions[(row - 1) * d + column] = at
    end
  end
  return gl.tensor(positions, { dtype = "i64" })
end

local function log_gamma_distribution(a, d)
  local sum = 0.25 * d * (d - 1) * log(pi)
  for j = 1, d do sum = sum + gl.lgamma(a + 0.5 * (1 - j)) end
  return sum
end

local function posterior(input)
  local n, d, k, m, gamma = input.n, input.d, input.k, input.m, input.gamma
  local positions = lower_positions(d)
  local no_entry = gl.zeros(k, 1)
  local degrees = d + m + 1
  local prior_constant = k * (degrees * d * (log(gamma) - 0.5 * log(2)) - log_gamma_distribution(0.5 * degrees, d))
  local constant = -n * d * 0.5 * log(2 * pi) + prior_constant

  return function(params, x)
    local alpha, mu, q, l = params.alpha, params.mu, params.q, params.l
    local diagonal, log_det = q:exp(), q:sum(2)
    local factors = gl.concat({ l, diagonal, no_entry }, 2)[{ {}, positions }]:reshape(k, d, d)
    local shift = (factors * mu:unsqueeze(2)):sum(3)
    local scaled = (x:matmul(factors:reshape(k * d, d):t()) - shift:flatten()):reshape(n, k, d)
    local terms = alpha + log_det - 0.5 * (scaled * scaled):sum(3) -- n x k
    local fit = terms:logsumexp(2):sum() - n * alpha:logsumexp()
    local frobenius = (diagonal * diagonal):sum() + (l * l):sum()
    local prior = m * log_det:sum() - 0.5 * gamma * gamma * frobenius
    return constant + fit + prior
  end
end

local function prepare(transform)
  return function(input)
    local params = { alpha = gl.tensor(input.alpha), mu = gl.tensor(input.mu), q = gl.tensor(input.q) }
    params.l = input.d > 1 and gl.tensor(input.l) or gl.zeros(input.k, 0)
    local x = gl.tensor(input.x)
    local f = gl.jit(transform(posterior(input)))
    return function() return f(params, x) end
  end
end

local gradient = prepare(gl.grad)

return {
  objective = prepare(function(f) return f end),
  jacobian = function(input)
    local run = gradient(input)
    return run, function(g)
      return { alpha = g.alpha:totable(), mu = g.mu:totable(), q = g.q:totable(), l = g.l:totable() }
    end
  end,
}
