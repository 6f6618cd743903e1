--- gl.health(grads [, params]): how gradients are, layer by layer, in words.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local tree = require "gradlua.tree"

local Report = {}
Report.__index = Report

-- A layer whose gradient is this much smaller or larger than the median layer's learns at another pace altogether. The
-- median itself counts as no smaller and no larger than `least` and `most`: where most layers vanish the few that do not
-- are healthy, and where all explode none is.
local vanishing, exploding = 1e-4, 1e4
local least, most = 1e-4, 1e4
local mostly_zero = 0.9

--- Is the path that of a statistic which a layer keeps among its parameters and the loss does not train (batch_norm's
--- running_mean and running_var)? Its gradient is 0 by design.
local function is_statistic(path) return path:find("running_[%w_]+$") ~= nil end

local remedies = {
  vanishing = "its gradient is far smaller than other layers', or next to nothing: use ReLU-like activations, he or xavier initialisers, "
    .. "normalization, residual connections",
  exploding = "its gradient is far larger than other layers', or beyond measure: clip the norm (clip_norm), lower the learning "
    .. "rate, normalize",
  zeros = "nearly all of its gradient is 0: units may be dead; try leaky_relu, a lower learning rate, or another initialiser",
  ["not finite"] = "it holds NaN or Inf: gl.debug(true) names the operation where the first one appears",
  ["no gradient"] = "its gradient is exactly 0: the loss does not depend on it, or it is cut off by stop_gradient",
}

local function leaf_tensor(path, value)
  return gl.is_tensor(value) and value or gl.tensor(check.kind("health", path, value, "number"))
end

local function norm_of(x) return x:numel() > 0 and x:norm():item() or 0 end

local function examine(path, g, p)
  g = leaf_tensor(path, g)
  local n = g:numel()
  local row = { path = path, count = n, norm = norm_of(g) }
  row.zeros = n > 0 and g:eq(0):to("f64"):mean():item() or 0
  row.finite = n == 0 or g:isfinite():all():item()
  if p ~= nil then
    local norm = norm_of(leaf_tensor(path, p))
    row.relative = norm > 0 and row.norm / norm or nil
  end
  return row
end

local function verdict(row, typical)
  if not row.finite then return "not finite" end
  if row.norm == 0 then return is_statistic(row.path) and "statistic" or "no gradient" end
  local size = row.norm / math.sqrt(row.count)
  if size < vanishing * typical then return "vanishing" end
  if size > exploding * typical then return "exploding" end
  if row.zeros > mostly_zero and row.count > 1 then return "zeros" end
  return "fine"
end

--- (Upper) median root mean square entry of the layers that have a finite gradient other than 0, within least and most.
local function typical_size(rows)
  local sizes = {}
  for _, row in ipairs(rows) do
    if row.finite and row.norm > 0 then sizes[#sizes + 1] = row.norm / math.sqrt(row.count) end
  end
  table.sort(sizes)
  return math.min(math.max(sizes[#sizes // 2 + 1] or 0, least), most)
end

function Report:__tostring()
  local lines = { ("%-28s %10s %11s %7s  %s"):format("parameter", "norm", "grad/param", "zeros", "verdict") }
  for _, row in ipairs(self.rows) do
    lines[#lines + 1] = ("%-28s %10.3g %11s %6.1f%%  %s"):format(row.path == "" and "(all)" or row.path, row.norm,
      row.relative and ("%.2e"):format(row.relative) or "", 100 * row.zeros, row.verdict)
  end
  for _, row in ipairs(self.rows) do
    if remedies[row.verdict] then lines[#lines + 1] = ("%s: %s"):format(row.path, remedies[row.verdict]) end
  end
  if self.ok then lines[#lines + 1] = "the gradients look healthy" end
  return table.concat(lines, "\n")
end

--- (grads [, params]) -> report
--- Norm, share of zeros and a verdict (fine, vanishing, exploding, zeros, no gradient, not finite) for each tensor of a
--- gradient; with the parameters, the size of the gradient relative to them. A field named running_.. without a gradient
--- is a statistic, which is no fault. The report prints as a table with remedies; report.ok tells whether all are fine,
--- report.rows and report.verdicts (by path) hold the figures.
---@param grads any
---@param params any?
---@return table
local function health(grads, params)
  if grads == nil then check.fail("health", "grads is missing: a tensor, or a table of them") end
  local leaves, paths = tree.flatten("health", grads)
  local others, places = {}, {}
  if params ~= nil then others, places = tree.flatten("health", params) end
  for i = 1, params ~= nil and math.max(#paths, #places) or 0 do
    if paths[i] ~= places[i] then
      check.fail("health", "params must have the structure of grads, but has %s where they have %s", places[i] or "nothing",
        paths[i] or "nothing")
    end
  end
  local report = setmetatable({ rows = {}, verdicts = {}, ok = true }, Report)
  for i, g in ipairs(leaves) do report.rows[i] = examine(paths[i], g, others[i]) end
  local typical = typical_size(report.rows)
  for _, row in ipairs(report.rows) do
    row.verdict = verdict(row, typical)
    report.verdicts[row.path] = row.verdict
    report.ok = report.ok and (row.verdict == "fine" or row.verdict == "statistic")
  end
  return report
end

return health
