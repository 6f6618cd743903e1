-- The model of host.c: a decay with an offset, and how to fit it. `times` and `values` are the host's own arrays; the
-- host gives scripts the toolkit as the global `gl`, and no files.

local model = {}

local function predict(scale, rate, offset, times) return scale * (-rate * times):exp() + offset end

--- Scale, rate and offset that fit best.
function model.calibrate(times, values)
  local fit = gl.least_squares(function(p) return predict(p.scale, p.rate, p.offset, times) - values end,
    { scale = 1, rate = 1, offset = 0 })
  return fit.x.scale, fit.x.rate, fit.x.offset
end

--- How far the model is from the data, for the host's own use.
function model.misfit(p, times, values)
  return (predict(p[1], p[2], p[3], times) - values):square():mean()
end

return model
