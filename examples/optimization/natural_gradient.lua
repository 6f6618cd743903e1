-- Fits a Gaussian to data by maximum likelihood, from a start that is far off and much too wide. The plain gradient
-- measures steps in the parameters as they happen to be written; the natural gradient (S. Amari (1998)) in how much the
-- distribution changes, so it goes straight there, whatever the scale of the data.

local gl = require "gradlua"

gl.manual_seed(11)
local data = 250 + 0.5 * gl.randn(200)
local want = { mean = data:mean():item(), std = data:std({ correction = 0 }):item() }

local function loss(p) return (p.log_std + 0.5 * ((data - p.mean) / gl.exp(p.log_std)):square()):mean() end
local function outputs(p) return gl.stack({ p.mean, p.log_std }, 2) end
local function start() return { mean = gl.tensor { 240 }, log_std = gl.tensor { 2 } } end
local function off(p) return math.abs(p.mean:item() - want.mean) + math.abs(gl.exp(p.log_std):item() - want.std) end

local function run(make, limit)
  local p = start()
  local opt = make(p)
  local gradient = gl.grad(loss)
  local steps = 0
  while off(p) > 1e-3 and steps < limit do
    opt:step(gradient(p))
    steps = steps + 1
  end
  return steps, off(p)
end

local natural, natural_off = run(function(p)
  return gl.optim.natural(p, { model = outputs, distribution = "normal", lr = 0.5, damping = 1e-12 })
end, 1000)
-- The largest rate that does not make it diverge once the Gaussian has become narrow.
local plain, plain_off = run(function(p) return gl.optim.sgd(p, { lr = 0.1 }) end, 20000)
print(("natural gradient: %d steps to within %.1e"):format(natural, natural_off))
print(("plain gradient:   %d steps to within %.1e"):format(plain, plain_off))
return { natural = natural, plain = plain, natural_off = natural_off }
