-- The model of host.c: a decay with an offset, and how to fit it. `times` and `values` are the host's own arrays.

local gl = require "gradlua"

local model = {}

function model.predict(p, times) return p.scale * (-p.rate * times):exp() + p.offset end

--- Fits the model; on_step stops when the host's budget is used up.
function model.calibrate(times, values, expired)
  local fit = gl.least_squares(function(p) return model.predict(p, times) - values end, { scale = 1, rate = 1, offset = 0 },
    { on_step = function() return expired() end })
  return fit.x.scale, fit.x.rate, fit.x.offset, fit.status
end

return model
