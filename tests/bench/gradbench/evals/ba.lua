--- Bundle adjustment: reprojection errors, and their sparse Jacobian in compressed rows.
local gl = require "gradlua"

local CAMERA, POINT = 11, 3

local function cross(a, b)
  return gl.stack {
    a[2] * b[3] - a[3] * b[2],
    a[3] * b[1] - a[1] * b[3],
    a[1] * b[2] - a[2] * b[1],
  }
end

--- Rodrigues' rotation of a point; near no rotation its limit, with the derivative of the limit.
local function rotate(rotation, point)
  local squared = (rotation * rotation):sum()
  local moves = squared:gt(0)
  local angle = gl.where(moves, squared, 1):sqrt()
  local axis = rotation / angle
  local cosine, sine = angle:cos(), angle:sin()
  local turned = point * cosine + cross(axis, point) * sine + axis * ((axis * point):sum() * (1 - cosine))
  return gl.where(moves, turned, point + cross(rotation, point))
end

--- camera: rotation 3, centre 3, focal length, principal point 2, radial distortion 2.
local function reprojection_error(camera, point, weight, feature)
  local seen = rotate(camera[{ { 1, 3 } }], point - camera[{ { 4, 6 } }])
  local flat = seen[{ { 1, 2 } }] / seen[3]
  local squared = (flat * flat):sum()
  local distortion = 1 + camera[10] * squared + camera[11] * squared * squared
  return weight * (flat * distortion * camera[7] + camera[{ { 8, 9 } }] - feature)
end

local function repeated(row, count) return gl.tensor(row):expand(count, #row):clone() end

--- Observation i sees point i mod m by camera i mod n; the arrays hold what a real problem's would.
local function problem(input)
  local p = input.p
  local order = gl.arange(0, p - 1, { dtype = "i64" })
  return {
    n = input.n, m = input.m, p = p,
    cameras = repeated(input.cam, input.n), points = repeated(input.x, input.m),
    weights = gl.full({ p }, input.w), features = repeated(input.feat, p),
    camera_of = order % input.n + 1, point_of = order % input.m + 1,
  }
end

local function arguments(b) return b.cameras, b.points, b.weights, b.features, b.camera_of, b.point_of end

local function objective(cameras, points, weights, features, camera_of, point_of)
  local errors = gl.vmap(reprojection_error)(cameras[camera_of], points[point_of], weights, features)
  return errors, 1 - weights * weights
end

--- Two rows an observation, of 11 + 3 + 1 columns, then one row a weight.
local function compressed_rows(b)
  local width = CAMERA + POINT + 1
  local row = gl.vmap(function(camera, point, weight, feature)
    local blocks = { gl.jacobian(function(c) return reprojection_error(c, point, weight, feature) end)(camera),
                     gl.jacobian(function(x) return reprojection_error(camera, x, weight, feature) end)(point),
                     gl.jacobian(function(w) return reprojection_error(camera, point, w, feature) end)(weight) }
    return gl.concat({ blocks[1], blocks[2], blocks[3]:unsqueeze(2) }, 2)
  end)
  local camera_columns = gl.arange(0, CAMERA - 1, { dtype = "i64" })
  local point_columns = gl.arange(0, POINT - 1, { dtype = "i64" }) + CAMERA * b.n
  local weight_columns = gl.arange(0, b.p - 1, { dtype = "i64" }) + (CAMERA * b.n + POINT * b.m)
  return function(cameras, points, weights, features, camera_of, point_of)
    local values = row(cameras[camera_of], points[point_of], weights, features)
    local columns = gl.concat({
      camera_columns + ((camera_of - 1) * CAMERA):unsqueeze(2),
      point_columns + ((point_of - 1) * POINT):unsqueeze(2),
      weight_columns:unsqueeze(2),
    }, 2):unsqueeze(2):expand(b.p, 2, width)
    local starts = gl.concat {
      gl.arange(0, 2 * b.p, { dtype = "i64" }) * width,
      gl.arange(1, b.p, { dtype = "i64" }) + 2 * b.p * width,
    }
    return { rows = starts, cols = gl.concat { columns:flatten(), weight_columns },
             vals = gl.concat { values:flatten(), -2 * weights } }
  end
end

--- The protocol asks for the first 30 entries and the last.
local function ends(x)
  local list = x[{ { 1, 2 * (CAMERA + POINT + 1) } }]:totable()
  list[#list + 1] = x[-1]:item()
  return list
end

return {
  objective = function(input)
    local b = problem(input)
    local f = gl.jit(objective)
    return function() return { f(arguments(b)) } end, function(result)
      local errors, weight_errors = result[1], result[2]
      return { reproj_error = { elements = errors[1]:totable(), repeated = #errors },
               w_err = { element = weight_errors[1]:item(), repeated = #weight_errors } }
    end
  end,
  jacobian = function(input)
    local b = problem(input)
    local f = gl.jit(compressed_rows(b))
    return function() return f(arguments(b)) end, function(s)
      return { rows = ends(s.rows), cols = ends(s.cols), vals = ends(s.vals) }
    end
  end,
}
