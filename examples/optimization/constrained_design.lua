-- The lightest compression spring that carries its load (A. D. Belegundu (1982)): wire diameter d, coil diameter D, number
-- of active coils N; limits on deflection, shear stress, surge frequency and outer diameter. Two methods must agree, and
-- the multipliers say which limits matter and what relaxing them is worth.

local gl = require "gradlua"

local function weight(s) return (s.N + 2) * s.D * s.d ^ 2 end

local limits = {
  { "deflection", function(s) return s.D ^ 3 * s.N / (71785 * s.d ^ 4) - 1 end },
  { "shear stress", function(s)
    return 1 - (4 * s.D ^ 2 - s.d * s.D) / (12566 * (s.D * s.d ^ 3 - s.d ^ 4)) - 1 / (5108 * s.d ^ 2)
  end },
  { "surge frequency", function(s) return 140.45 * s.d / (s.D ^ 2 * s.N) - 1 end },
  { "outer diameter", function(s) return 1 - (s.D + s.d) / 1.5 end },
}
local constraints = {}
for i, limit in ipairs(limits) do constraints[i] = limit[2] end

local start = { d = 0.1, D = 0.5, N = 10 }
local bounds = { { d = 0.05, D = 0.25, N = 2 }, { d = 2, D = 1.3, N = 15 } }
local results = {}
for _, method in ipairs { "sqp", "auglag" } do
  local r = gl.minimize(weight, start, { method = method, constraints = { ineq = constraints }, bounds = bounds })
  results[method] = r
  print(r.message)
  print(("  weight %.8f at d = %.6f, D = %.6f, N = %.4f, %d evaluations"):format(r.f, r.x.d, r.x.D, r.x.N, r.evaluations.f))
end

local r = results.sqp
local active = 0
for i, limit in ipairs(limits) do
  local multiplier, slack = r.multipliers[i]:item(), limit[2](r.x)
  if multiplier > 1e-6 then active = active + 1 end
  print(("  %-16s %s"):format(limit[1], multiplier > 1e-6 and ("holds exactly; easing it by 1 %% saves %.2g"):format(multiplier / 100)
    or ("has %.2g to spare"):format(slack)))
end
return { sqp = r.f, auglag = results.auglag.f, active = active, violation = r.violation,
  converged = r.converged and results.auglag.converged }
