--- Losses: f(prediction, target, {reduction = "mean" / "sum" / "none"}) -> 0-d tensor, or one entry each for "none".

local gl = require "gradlua.core"
local check = require "gradlua.check"

local M = {}

local reductions = {
  mean = function(x) return x:mean() end,
  sum = function(x) return x:sum() end,
  none = function(x) return x end,
}

local plain = { reduction = "mean" }

--- Reduces entries as the options say. `known` holds further options with their defaults.
local function settings(name, options, known)
  if options == nil then return known or plain end
  local defaults = { reduction = "mean" }
  for key, value in pairs(known or {}) do defaults[key] = value end
  local o = check.options(name, options, defaults)
  if not reductions[o.reduction] then
    check.fail(name, "reduction must be 'mean', 'sum' or 'none', not '%s'", tostring(o.reduction))
  end
  return o
end

local function shape_text(x)
  return gl.is_tensor(x) and (x:ndim() == 0 and "scalar" or table.concat(x:shape(), " x ")) or type(x)
end

local function same_shape(name, prediction, target)
  if type(target) == "number" then return end
  if not gl.is_tensor(prediction) or not gl.is_tensor(target) then
    check.fail(name, "prediction and target must be tensors, not %s and %s", type(prediction), type(target))
  end
  local a, b = prediction:shape(), target:shape()
  local same = #a == #b
  for i = 1, #a do same = same and a[i] == b[i] end
  if not same then
    check.fail(name, "shapes differ: prediction is %s, target is %s", shape_text(prediction), shape_text(target))
  end
end

--- Makes a loss that is entry by entry.
local function entrywise(name, entries, known)
  M[name] = function(prediction, target, options)
    local o = settings("nn." .. name, options, known)
    same_shape("nn." .. name, prediction, target)
    return reductions[o.reduction](entries(prediction, target, o))
  end
end

entrywise("mse", function(p, t) return (p - t):square() end)
entrywise("mae", function(p, t) return (p - t):abs() end)

--- Quadratic within delta, linear beyond. Huber 1964.
entrywise("huber", function(p, t, o)
  local d = (p - t):abs()
  local inner = d:clamp(nil, o.delta)
  return inner * (d - inner * 0.5)
end, { reduction = "mean", delta = 1 })

--- Probabilities in [0, 1]. Logarithms are bounded below by -100, so that a wrong certainty stays finite.
entrywise("bce", function(p, t)
  return -(t * p:log():clamp(-100, nil) + (1 - t) * (-p):log1p():clamp(-100, nil))
end)

--- log(1 + exp(x)) - x t: never overflows.
entrywise("bce_with_logits", function(p, t) return p:softplus() - p * t end)

--- Targets are -1 and 1.
entrywise("hinge", function(p, t) return (1 - p * t):relu() end)

--- Checks logits N x C against labels and gives the picked log-probabilities, one a row.
local function pick(name, log_p, labels)
  if labels:ndim() ~= 1 or labels:size(1) ~= log_p:size(1) then
    check.fail(name, "labels must be one a row: predictions are %s, labels %s", shape_text(log_p), shape_text(labels))
  end
  if labels:dtype() ~= "i64" then
    local positions = labels:to("i64")
    if positions:ne(labels):any():item() then check.fail(name, "labels must be whole numbers from 1 to %d", log_p:size(2)) end
    labels = positions
  end
  return log_p:gather(2, labels:unsqueeze(2)):squeeze(2)
end

local function check_rows(name, prediction, target)
  if not gl.is_tensor(prediction) or prediction:ndim() ~= 2 then
    check.fail(name, "predictions must be rows x classes, not %s", shape_text(prediction))
  end
  if not gl.is_tensor(target) then check.fail(name, "the target must be a tensor, not %s", type(target)) end
end

--- Negative log-likelihood of labels 1..C under log-probabilities N x C; mean over rows.
function M.nll(log_p, labels, options)
  local o = settings("nn.nll", options)
  check_rows("nn.nll", log_p, labels)
  return reductions[o.reduction](-pick("nn.nll", log_p, labels))
end

--- Cross-entropy of logits N x C with labels 1..C, or with probabilities N x C; mean over rows.
function M.cross_entropy(logits, target, options)
  local o = settings("nn.cross_entropy", options)
  check_rows("nn.cross_entropy", logits, target)
  local log_p = logits:log_softmax(2)
  if target:ndim() == 1 then return reductions[o.reduction](-pick("nn.cross_entropy", log_p, target)) end
  same_shape("nn.cross_entropy", logits, target)
  return reductions[o.reduction](-(target * log_p):sum(2))
end

--- Kullback-Leibler divergence from log-probabilities to probabilities, sum of q (log q - log p); mean over rows.
function M.kl_div(log_p, q, options)
  local o = settings("nn.kl_div", options)
  check_rows("nn.kl_div", log_p, q)
  same_shape("nn.kl_div", log_p, q)
  local terms = gl.where(q:gt(0), q * (gl.where(q:gt(0), q, 1):log() - log_p), 0)
  return reductions[o.reduction](terms:sum(2))
end

--- 1 - cosine of the angle between rows; mean over rows.
function M.cosine(prediction, target, options)
  local o = settings("nn.cosine", options)
  same_shape("nn.cosine", prediction, target)
  local axis = prediction:ndim()
  local dot = (prediction * target):sum(axis)
  return reductions[o.reduction](1 - dot / (prediction:norm(axis) * target:norm(axis)):clamp(1e-12, nil))
end

return M
