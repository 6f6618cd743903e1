--- gl.optim.kfac: J. Martens, R. Grosse (2015), "Optimizing neural networks with Kronecker-factored approximate
--- curvature". The Fisher information of a linear layer is approximated by A (x) G: A the second moment of its inputs, G
--- that of the gradients at its outputs, expected under the model itself. G is exact, not sampled: one product back for
--- each column of a square root of the outputs' own Fisher information (A. Botev et al. (2017)).

local gl = require "gradlua.core"
local check = require "gradlua.check"
local tree = require "gradlua.tree"
local layer = require "gradlua.nn.layer"
local rate = require "gradlua.optim.rate"

local M = {}

--- Columns of a square root of each example's Fisher information in the outputs (rows: examples), one tensor a column.
local roots = {}

function roots.gaussian(outputs)
  local columns, size = {}, outputs:size(2)
  for c = 1, size do columns[c] = gl.one_hot(gl.full({ outputs:size(1) }, c, { dtype = "i64" }), size):to(outputs:dtype()) end
  return columns
end

function roots.bernoulli(outputs)
  local p = gl.sigmoid(outputs)
  local columns = roots.gaussian(outputs)
  for c, unit in ipairs(columns) do columns[c] = unit * gl.sqrt(p * (1 - p)) end
  return columns
end

--- diag(p) - p p' is the sum over the classes of p_c (e_c - p)(e_c - p)'.
function roots.categorical(outputs)
  local p = gl.softmax(outputs)
  local columns = roots.gaussian(outputs)
  for c, unit in ipairs(columns) do columns[c] = gl.sqrt(p[{ {}, { c, c } }]) * (unit - p) end
  return columns
end

--- The layers of the model in the order in which they run, with where their parameters are.
local function stages_of(who, model)
  local stages = {}
  local function walk(item, path)
    if layer.is_layer(item) and item.name == "sequential" and item.spec then
      for i, child in ipairs(item.spec.children) do walk(child, table.move({ i }, 1, 1, #path + 1, table.move(path, 1, #path, 1, {}))) end
    else
      stages[#stages + 1] = { layer = item, path = path, linear = layer.is_layer(item) and item.name == "linear" }
    end
  end
  if not layer.is_layer(model) then check.fail(who, "model must be a layer of gl.nn, not %s", type(model)) end
  walk(model, {})
  return stages
end

local function at(root, path)
  for _, key in ipairs(path) do root = root[key] end
  return root
end

---@class gradlua.KFAC
local KFAC = {}
KFAC.__index = KFAC

--- The outputs for inputs x, with a probe added after each linear layer; keeps what went into these layers.
local function run(self, x, probes, inputs)
  local k = 0
  for _, stage in ipairs(self.stages) do
    if stage.linear then
      k = k + 1
      if x:ndim() ~= 2 then
        check.fail("optim.kfac:step", "the linear layer at params[%s] gets inputs of %d axes: its factors are for matrices, one "
          .. "example a row; flatten before it", table.concat(stage.path, "]["), x:ndim())
      end
      if inputs then inputs[k] = x end
      x = stage.layer(at(self.params, stage.path), x)
      if probes then x = x + probes[k] end
    elseif layer.is_layer(stage.layer) then
      x = stage.layer(at(self.params, stage.path), x)
    else
      x = stage.layer(x)
    end
  end
  return x
end

local function with_ones(stage, params, a)
  if not at(params, stage.path).bias then return a end
  return gl.concat({ a, gl.ones(a:size(1), 1, { dtype = a:dtype() }) }, 2)
end

local function blend(old, new, decay)
  return old and decay * old + (1 - decay) * new or new
end

--- The moments of inputs and of output gradients over the batch x, averaged with those of earlier batches.
function KFAC:observe(x)
  local inputs, probes = {}, {}
  local outputs = run(self, x, nil, inputs)
  for k, stage in ipairs(self.linear) do
    probes[k] = gl.zeros(x:size(1), at(self.params, stage.path).weight:size(1), { dtype = x:dtype() })
  end
  local _, pull = gl.vjp(function(p) return run(self, x, p) end, probes)
  local moments = {}
  for _, column in ipairs(self.roots(outputs)) do
    for k, g in ipairs(pull(column)) do
      local moment = g:t():matmul(g) / x:size(1)
      moments[k] = moments[k] and moments[k] + moment or moment
    end
  end
  local decay = math.min(self.decay, self.observed / (self.observed + 1))
  for k, stage in ipairs(self.linear) do
    local a = with_ones(stage, self.params, inputs[k])
    stage.A = blend(stage.A, a:t():matmul(a) / x:size(1), decay)
    stage.G = blend(stage.G, moments[k], decay)
  end
  self.observed = self.observed + 1
end

--- (G + s/pi)^-1 g (A + s pi)^-1, s^2 the damping, pi balancing the two factors' sizes (section 6.3 of the paper).
local function precondition(stage, damping, g)
  local A, G = stage.A, stage.G
  local rows, cols = G:size(1), A:size(1)
  local balance = math.sqrt(math.max(A:trace():item() / cols, 1e-30) / math.max(G:trace():item() / rows, 1e-30))
  local root = math.sqrt(damping)
  local like = { dtype = A:dtype() }
  local left = gl.solve(G + root / balance * gl.eye(rows, like), g)
  return gl.solve(A + root * balance * gl.eye(cols, like), left:t()):t()
end

--- One step, in place, with the gradient of the mean loss and the batch's inputs x. Parameters outside linear layers take
--- plain gradient steps.
function KFAC:step(grads, x)
  local who = "optim.kfac:step"
  if not gl.is_tensor(x) or x:ndim() < 2 then
    check.fail(who, "expected the inputs of the batch, one example a row, after the gradient")
  end
  if self.steps % self.update_every == 0 then self:observe(x) end
  local moves, size = {}, 0
  for k, stage in ipairs(self.linear) do
    local g = at(grads, stage.path)
    local full = g.bias and gl.concat({ g.weight, g.bias:reshape(-1, 1) }, 2) or g.weight
    moves[k] = precondition(stage, self.damping, full)
    size = size + (moves[k] * full):sum():item()
  end
  -- The step must not change the model's distribution by more than kl_clip (section 6.5: 1/2 of this product).
  local lr = rate.at(self.lr, 1, self.steps)
  local scale = math.min(1, math.sqrt(self.kl_clip / math.max(lr ^ 2 * size, 1e-300)))
  for k, stage in ipairs(self.linear) do
    local params = at(self.params, stage.path)
    local move, cols = lr * scale * moves[k], params.weight:size(2)
    params.weight:sub_(move[{ {}, { 1, cols } }])
    if params.bias then params.bias:sub_(move[{ {}, cols + 1 }]) end
  end
  for _, stage in ipairs(self.stages) do
    local params = layer.is_layer(stage.layer) and not stage.linear and at(self.params, stage.path) or nil
    if params and next(params) ~= nil then
      tree.map(who, function(p, g) p:sub_(lr * g) end, params, at(grads, stage.path))
    end
  end
  self.steps = self.steps + 1
end

--- The whole state as a plain table, which gl.save takes.
function KFAC:state()
  local factors = {}
  for k, stage in ipairs(self.linear) do factors[k] = stage.A and { A = stage.A:clone(), G = stage.G:clone() } or {} end
  return { rule = "kfac", steps = self.steps, observed = self.observed, factors = factors }
end

function KFAC:load(state)
  check.kind("optim.kfac:load", "state", state, "table")
  self.steps, self.observed = state.steps, state.observed
  for k, stage in ipairs(self.linear) do
    stage.A, stage.G = state.factors[k].A and state.factors[k].A:clone(), state.factors[k].G and state.factors[k].G:clone()
  end
end

--- (params, {model, distribution, lr = 1, damping = 1e-2, decay = 0.95, update_every = 1, kl_clip = 1e-2}) -> optimizer
--- K-FAC for models of gl.nn (a sequential of linear layers, activations and functions): opt:step(grads, x). Options: model,
--- distribution of the outputs (categorical and bernoulli: logits; gaussian: means of unit variance), lr (1, or a schedule), damping
--- (1e-2), decay (0.95, of the averaged factors), update_every (1 step), kl_clip (1e-2; math.huge for none).
---@return gradlua.KFAC
function M.kfac(params, options)
  local who = "optim.kfac"
  check.kind(who, "params", params, "table")
  local o = check.options(who, options, { model = check.none, distribution = "categorical", lr = 1, damping = 1e-2,
    decay = 0.95, update_every = 1, kl_clip = 1e-2 })
  if not roots[o.distribution] then
    check.fail(who, "no distribution '%s'; there are gaussian, bernoulli, categorical", tostring(o.distribution))
  end
  check.integer(who, "update_every", o.update_every, 1)
  rate.check(who, o.lr)
  local self = setmetatable({ name = "kfac", params = params, roots = roots[o.distribution], lr = o.lr, damping = o.damping,
    decay = o.decay, update_every = o.update_every, kl_clip = o.kl_clip, steps = 0, observed = 0,
    stages = stages_of(who, o.model), linear = {} }, KFAC)
  for _, stage in ipairs(self.stages) do
    if stage.linear then self.linear[#self.linear + 1] = stage end
  end
  if #self.linear == 0 then check.fail(who, "the model has no linear layer") end
  return self
end

return M
