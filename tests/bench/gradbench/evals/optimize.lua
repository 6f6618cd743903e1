--- The optimizer that the particle and saddle evals prescribe: gradient descent whose step is doubled after ten accepted
--- steps in a row and halved after a rejected one.

local M = {}

local function length(v)
  local sum = 0
  for i = 1, #v do sum = sum + v[i] * v[i] end
  return sum ^ 0.5
end

local function step_length(x, y)
  local d = {}
  for i = 1, #x do d[i] = x[i] - y[i] end
  return length(d)
end

--- f and gradient take a list of numbers; gives the list where f is least.
function M.argmin(f, gradient, start)
  local x, fx, g = start, f(start), gradient(start)
  local accepted, eta = 0, 1e-5
  while not (length(g) <= 1e-5) do
    if accepted == 10 then
      eta, accepted = eta * 2, 0
    else
      local y = {}
      for i = 1, #x do y[i] = x[i] - eta * g[i] end
      if step_length(x, y) <= 1e-5 then return x end
      local fy = f(y)
      if fy < fx then
        x, fx, g, accepted = y, fy, gradient(y), accepted + 1
      else
        eta, accepted = eta / 2, 0
      end
    end
  end
  return x
end

function M.argmax(f, gradient, start)
  return M.argmin(function(x) return -f(x) end, function(x)
    local g = gradient(x)
    for i = 1, #g do g[i] = -g[i] end
    return g
  end, start)
end

return M
