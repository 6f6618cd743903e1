-- The functions of tests/bench/gradbench against closed forms and central differences, where the suite's own checks are
-- blind: small values, NaN, gradients that are zero at its sizes.

local gl = require "gradlua"
local near = require("tests.spec.support").near

package.path = "tests/bench/gradbench/?.lua;" .. package.path

local function evaluate(eval, name, input)
  local run, encode = require("evals." .. eval)[name](input)
  run() -- what is kept between runs must not show
  local result = run()
  if encode then return encode(result) end
  return result
end

--- How `value(input)` (a number, or a list) changes with entry k of the list.
local function slope(value, list, k)
  local eps, at = 1e-6, list[k]
  list[k] = at + eps
  local above = value()
  list[k] = at - eps
  local below = value()
  list[k] = at
  if type(above) == "number" then return (above - below) / (2 * eps) end
  local slopes = {}
  for i = 1, #above do slopes[i] = (above[i] - below[i]) / (2 * eps) end
  return slopes
end

local function slopes(value, list)
  local all = {}
  for k = 1, #list do all[k] = type(list[k]) == "table" and slopes(value, list[k]) or slope(value, list, k) end
  return all
end

local function random(...) return gl.rand(...):totable() end

describe("GradBench", function()
  before_each(function() gl.manual_seed(7) end)

  it("hello", function()
    near(9, evaluate("hello", "square", 3))
    near(6, evaluate("hello", "double", 3))
  end)

  it("llsq and lse", function()
    local llsq = { x = { 0.3, -0.2, 0.5 }, n = 5 }
    local sum = 0
    for i = 0, 4 do
      local t = -1 + i / 2
      sum = sum + ((t > 0 and 1 or t < 0 and -1 or 0) - 0.3 + 0.2 * t - 0.5 * t * t) ^ 2 / 2
    end
    near(sum, evaluate("llsq", "primal", llsq))
    near(slopes(function() return evaluate("llsq", "primal", llsq):item() end, llsq.x), evaluate("llsq", "gradient", llsq), 1e-8)
    local large = { x = { 1000, 1000, 999 } }
    near(1000 + math.log(2 + math.exp(-1)), evaluate("lse", "primal", large))
    near(gl.softmax(gl.tensor(large.x)), evaluate("lse", "gradient", large))
    near(0 / 0, evaluate("lse", "primal", { x = { 1, 0 / 0 } }))
  end)

  it("ode, where every entry of the gradient counts", function()
    for _, n in ipairs { 1, 2, 4 } do -- of no higher degree than the method's order: exact
      local input, want = { x = {}, s = 100 }, 1
      for i = 1, n do
        input.x[i] = 1 + i / 10
        want = want * input.x[i] * 2 / i
      end
      local gradient = {}
      for i = 1, n do gradient[i] = want / input.x[i] end
      near(want, evaluate("ode", "primal", input)[n], 1e-12)
      near(gradient, evaluate("ode", "gradient", input), 1e-12)
    end
    local input = { x = random(8), s = 100 }
    local function last() return evaluate("ode", "primal", input)[8]:item() end
    local got = evaluate("ode", "gradient", input)
    near(gl.tensor(slopes(last, input.x)) / got, gl.ones(8), 1e-4)
    input.x[3] = 0 / 0
    near({ 0 / 0, 0 / 0, 0 / 0 }, evaluate("ode", "primal", input)[{ { 3, 5 } }])
    near(0 / 0, evaluate("ode", "gradient", input)[1])
  end)

  it("gmm and lstm", function()
    local gmm = { d = 3, k = 2, n = 4, x = random(4, 3), m = 1, gamma = 0.7, alpha = random(2), mu = random(2, 3),
                  q = random(2, 3), l = random(2, 3) }
    local got = evaluate("gmm", "jacobian", gmm)
    local function posterior() return evaluate("gmm", "objective", gmm):item() end
    for _, name in ipairs { "alpha", "mu", "q", "l" } do near(slopes(posterior, gmm[name]), got[name], 1e-7) end

    local lstm = { main_params = random(4, 12), extra_params = random(3, 3), state = random(4, 3), sequence = random(5, 3) }
    local function loss() return evaluate("lstm", "objective", lstm):item() end
    local main, extra = gl.tensor(slopes(loss, lstm.main_params)), gl.tensor(slopes(loss, lstm.extra_params))
    near(gl.concat { main:flatten(), extra:flatten() }, evaluate("lstm", "jacobian", lstm), 1e-7)
  end)

  it("det", function()
    local a = gl.rand(5, 5)
    local input = { A = a:flatten():totable(), ell = 5 }
    near(gl.det(a), evaluate("det", "primal", input))
    near(gl.grad(gl.det)(a):flatten(), evaluate("det", "gradient", input))
  end)

  it("kmeans, in blocks that do not come out even", function()
    local points, centroids = gl.rand(5000, 2), gl.rand(200, 2)
    local input = { points = points:totable(), centroids = centroids:totable() }
    local distances = ((points:unsqueeze(2) - centroids:unsqueeze(1)) ^ 2):sum(3)
    near(distances:min(2):sum(), evaluate("kmeans", "cost", input))
    local members = gl.one_hot(distances:argmin(2), 200)
    local means = members:t():matmul(points) / members:sum(1):unsqueeze(2)
    near(centroids - means, evaluate("kmeans", "dir", input), 1e-9)
    input.points[3][1] = 0 / 0
    near(0 / 0, evaluate("kmeans", "cost", input))
  end)

  it("ba", function()
    local input = { n = 2, m = 3, p = 5000, cam = random(11), x = random(3), w = 0.6, feat = random(2) }
    local function errors() return evaluate("ba", "objective", input).reproj_error.elements end
    local got = evaluate("ba", "jacobian", input)
    local columns = slopes(errors, input.cam)
    for k, column in ipairs(slopes(errors, input.x)) do columns[11 + k] = column end
    columns[15] = slope(errors, input, "w")
    for k, column in ipairs(columns) do
      near(column[1], got.vals[k], 1e-6)
      near(column[2], got.vals[15 + k], 1e-6)
    end
    near(-1.2, got.vals[31])
    near({ 0, 15, 30 }, { got.rows[1], got.rows[2], got.rows[3] })
    near(31 * 5000, got.rows[31])
    near({ 0, 10, 22, 24, 31 }, { got.cols[1], got.cols[11], got.cols[12], got.cols[14], got.cols[15] })
    near(22 + 9 + 4999, got.cols[31])
    input.cam[1], input.cam[2], input.cam[3] = 0, 0, 0 -- no rotation
    near(slope(errors, input.cam, 2)[1], evaluate("ba", "jacobian", input).vals[2], 1e-6)
  end)

  it("ht, with and without places on triangles", function()
    local parents = { -1 }
    for i = 2, 22 do parents[i] = i // 2 - 1 end
    local model = {
      parents = parents, is_mirrored = true, base_relatives = random(22, 4, 4), inverse_base_absolutes = random(22, 4, 4),
      base_positions = random(9, 4), weights = random(9, 22), triangles = { { 0, 1, 2 }, { 5, 2, 8 }, { 4, 4, 0 } },
    }
    for _, us in ipairs { {}, random(3, 2) } do
      local input = { theta = random(26), us = us,
                      data = { model = model, correspondences = { 1, 0, 2 }, points = random(3, 3) } }
      local function errors() return evaluate("ht", "objective", input):totable() end
      local columns = slopes(errors, input.theta)
      if #us > 0 then
        for k = 2, 1, -1 do
          local column = {}
          for i = 1, 3 do
            for row, value in ipairs(slope(errors, us[i], k)) do column[row] = (column[row] or 0) + value end
          end
          table.insert(columns, 1, column)
        end
      end
      local want, got = gl.tensor(columns):t(), evaluate("ht", "jacobian", input)
      near(want:shape(), got:shape())
      near(gl.zeros(9, #columns), (want - got) / (1 + want:abs():max()), 1e-6)
    end
  end)

  it("particle and saddle, in all four modes", function()
    for _, modes in ipairs { "rr", "ff", "fr", "rf" } do
      near(0.2071919, evaluate("particle", modes, { w = 0 }), 1e-6)
      near({ 0, 0, 0, 0 }, evaluate("saddle", modes, { start = { 1, 1 } }), 1e-4)
    end
  end)
end)
