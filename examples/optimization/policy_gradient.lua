-- Learns to bring a cart to rest at the origin by pushing it, from rewards alone (REINFORCE with a baseline, R. J.
-- Williams (1992)): the policy is Gaussian, a ~ N(-k1 position - k2 velocity, sigma). Since the dynamics are known
-- here, the best gains can be computed too, by differentiating through the simulation; learning must come near them.

local gl = require "gradlua"

gl.manual_seed(4)
local episodes, horizon, dt = 200, 40, 0.1

local function advance(position, velocity, push) return position + dt * velocity, velocity + dt * push end
local function cost(position, velocity, push) return position:square() + 0.1 * velocity:square() + 0.01 * push:square() end

-- Pushes and costs of a batch of episodes under the current policy.
local function sample(p)
  local position, velocity = gl.randn(episodes), gl.randn(episodes)
  local positions, velocities, pushes, costs = {}, {}, {}, {}
  for t = 1, horizon do
    local mean = -(p.k[1] * position + p.k[2] * velocity)
    local push = mean + gl.exp(p.log_sigma) * gl.randn(episodes)
    positions[t], velocities[t], pushes[t], costs[t] = position, velocity, push, cost(position, velocity, push)
    position, velocity = advance(position, velocity, push)
  end
  return gl.stack(positions), gl.stack(velocities), gl.stack(pushes), gl.stack(costs)
end

-- Its gradient is the score function's estimate of the gradient of the expected cost.
local function surrogate(p, positions, velocities, pushes, advantage)
  local mean = -(p.k[1] * positions + p.k[2] * velocities)
  local log_density = -0.5 * ((pushes - mean) / gl.exp(p.log_sigma)):square() - p.log_sigma
  return (log_density * advantage):sum(1):mean()
end

local function mean_cost(k)
  gl.manual_seed(99)
  local position, velocity = gl.randn(2000), gl.randn(2000)
  local total = 0
  for _ = 1, horizon do
    local push = -(k[1] * position + k[2] * velocity)
    total = total + cost(position, velocity, push):mean()
    position, velocity = advance(position, velocity, push)
  end
  return total
end

local p = { k = gl.zeros(2), log_sigma = gl.zeros(1) }
local before = mean_cost(p.k):item()
local best = gl.minimize(mean_cost, gl.zeros(2), { method = "bfgs" })
gl.manual_seed(5)
local opt = gl.optim.adam(p, { lr = gl.optim.schedule.cosine { lr = 0.3, T_max = 400 } })
local gradient = gl.grad(surrogate)
for _ = 1, 400 do
  local positions, velocities, pushes, costs = sample(p)
  local to_go = costs:flip(1):cumsum(1):flip(1)
  local advantage = to_go - to_go:mean(2, { keepdim = true }) -- the baseline: the mean over episodes, at each time
  opt:step(gradient(p, positions, velocities, pushes, advantage))
end
local learnt = mean_cost(p.k):item()
print(("expected cost: no control %.2f, learnt %.3f, best possible %.3f"):format(before, learnt, best.f))
print(("gains: learnt (%.2f, %.2f), best (%.2f, %.2f)"):format(p.k[1]:item(), p.k[2]:item(), best.x[1]:item(), best.x[2]:item()))
return { before = before, learnt = learnt, best = best.f, converged = best.converged }
