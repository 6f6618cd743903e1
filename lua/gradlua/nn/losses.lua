--- Losses: f(prediction, target, {reduction = "mean" / "sum" / "none"}) -> 0-d tensor, or its entries for "none".
--- See src/lua/toolkits/bind_loss.c, where each is one function, so that a training step records little.

local internal = require "gradlua.internal"

local M = {}

for name, loss in pairs(internal.losses) do
  if name ~= "linear" then M[name] = loss end
end

return M
