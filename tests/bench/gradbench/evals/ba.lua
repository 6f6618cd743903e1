--- Bundle adjustment: reprojection errors, and their sparse Jacobian in compressed rows.
local gl = require "gradlua"

local CAMERA, POINT = 11, 3
local WIDTH = CAMERA + POINT + 1 -- entries in a row: of a camera, a point and a weight
local BLOCK = 4096 -- observations at a time, so that what is in between stays in the cache

--- One observation: vectors are lists of numbers.

local function dot(a, b) return a[1] * b[1] + a[2] * b[2] + a[3] * b[3] end

local function cross(a, b)
  return { a[2] * b[3] - a[3] * b[2], a[3] * b[1] - a[1] * b[3], a[1] * b[2] - a[2] * b[1] }
end

--- Rodrigues' rotation of a point; near no rotation its limit, with the derivative of the limit.
local function rotate(rotation, point)
  local squared = dot(rotation, rotation)
  local moves = squared:gt(0)
  local angle = gl.where(moves, squared, 1):sqrt()
  local axis = { rotation[1] / angle, rotation[2] / angle, rotation[3] / angle }
  local cosine, sine = angle:cos(), angle:sin()
  local along, across, small = dot(axis, point) * (1 - cosine), cross(axis, point), cross(rotation, point)
  local turned = {}
  for i = 1, 3 do
    turned[i] = gl.where(moves, point[i] * cosine + across[i] * sine + axis[i] * along, point[i] + small[i])
  end
  return turned
end

--- camera: rotation 3, centre 3, focal length, principal point 2, radial distortion 2.
local function reprojection_error(seen, feature)
  local camera, point, weight = seen.camera, seen.point, seen.weight
  local x = rotate(camera, { point[1] - camera[4], point[2] - camera[5], point[3] - camera[6] })
  local u, v = x[1] / x[3], x[2] / x[3]
  local squared = u * u + v * v
  local scale = (1 + camera[10] * squared + camera[11] * squared * squared) * camera[7]
  return weight * (u * scale + camera[8] - feature[1]), weight * (v * scale + camera[9] - feature[2])
end

--- The gradient of each of the two errors: two rows, a list of numbers.
local function two_rows(seen, feature)
  local row = {}
  for k = 1, 2 do
    local g = gl.grad(function(s) return (select(k, reprojection_error(s, feature))) end)(seen)
    for _, part in ipairs { g.camera, g.point, { g.weight } } do
      table.move(part, 1, #part, #row + 1, row)
    end
  end
  return row
end

--- The whole problem.

local function repeated(row, count) return gl.tensor(row):expand(count, #row):t():clone() end

--- Observation i sees point i mod m by camera i mod n; the arrays hold what a real problem's would, a column for each
--- camera, point, observation.
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

local function rows_of(matrix)
  local rows = {}
  for i = 1, #matrix do rows[i] = matrix[i] end
  return rows
end

--- f on some observations, batched: a column of results for each number that f gives, side by side.
local function batched(f)
  local each = gl.vmap(f)
  return function(b, weights, features, camera_of, point_of)
    local seen = {
      camera = rows_of(b.cameras[{ {}, camera_of }]), point = rows_of(b.points[{ {}, point_of }]), weight = weights,
    }
    return gl.stack(each(seen, rows_of(features)), 2)
  end
end

--- Calls f with the arrays of some observations, and the range that they are.
local function in_blocks(b, f)
  for from = 1, b.p, BLOCK do
    local range = { from, math.min(from + BLOCK - 1, b.p) }
    f(range, b.weights[{ range }], b.features[{ {}, range }], b.camera_of[{ range }], b.point_of[{ range }])
  end
end

--- Columns of the two rows of some observations, and of the row of its weight.
local function columns_of(b)
  local camera_columns = gl.arange(0, CAMERA - 1, { dtype = "i64" })
  local point_columns = gl.arange(0, POINT - 1, { dtype = "i64" }) + CAMERA * b.n
  return function(camera_of, point_of, weight_columns)
    local row = gl.concat({
      camera_columns + ((camera_of - 1) * CAMERA):unsqueeze(2), point_columns + ((point_of - 1) * POINT):unsqueeze(2),
      weight_columns:unsqueeze(2),
    }, 2)
    return gl.concat({ row, row }, 2):flatten()
  end
end

--- The protocol asks for the first 30 entries and the last.
local function ends(x)
  local list = x[{ { 1, 2 * WIDTH } }]:totable()
  list[#list + 1] = x[-1]:item()
  return list
end

return {
  objective = function(input)
    local b = problem(input)
    local errors_of = gl.jit(batched(function(seen, feature) return { reprojection_error(seen, feature) } end))
    local tables, errors = { cameras = b.cameras, points = b.points }, gl.zeros(b.p, 2)
    return function()
      in_blocks(b, function(range, ...) errors[{ range }] = errors_of(tables, ...) end)
      return { errors, 1 - b.weights * b.weights }
    end, function(result)
      return { reproj_error = { elements = result[1][1]:totable(), repeated = #result[1] },
               w_err = { element = result[2][1]:item(), repeated = #result[2] } }
    end
  end,
  --- The arrays of the matrix are made once, and filled at each run.
  jacobian = function(input)
    local b = problem(input)
    local values_of, columns = gl.jit(batched(two_rows)), gl.jit(columns_of(b))
    local tables, p = { cameras = b.cameras, points = b.points }, b.p
    local s = { rows = gl.zeros(3 * p + 1, { dtype = "i64" }), vals = gl.zeros((2 * WIDTH + 1) * p),
                cols = gl.zeros((2 * WIDTH + 1) * p, { dtype = "i64" }) }
    return function()
      local first_weight, tail = CAMERA * b.n + POINT * b.m, { 2 * WIDTH * p + 1, -1 }
      in_blocks(b, function(range, weights, features, camera_of, point_of)
        local entries = { 2 * WIDTH * (range[1] - 1) + 1, 2 * WIDTH * range[2] }
        local weight_columns = gl.arange(first_weight + range[1] - 1, first_weight + range[2] - 1, { dtype = "i64" })
        s.vals[{ entries }] = values_of(tables, weights, features, camera_of, point_of):flatten()
        s.cols[{ entries }] = columns(camera_of, point_of, weight_columns)
      end)
      s.vals[{ tail }] = -2 * b.weights
      s.cols[{ tail }] = gl.arange(first_weight, first_weight + p - 1, { dtype = "i64" })
      s.rows[{ { 1, 2 * p } }] = gl.arange(0, 2 * p - 1, { dtype = "i64" }) * WIDTH
      s.rows[{ { 2 * p + 1, -1 } }] = gl.arange(2 * WIDTH * p, (2 * WIDTH + 1) * p, { dtype = "i64" })
      return s
    end, function()
      return { rows = ends(s.rows), cols = ends(s.cols), vals = ends(s.vals) }
    end
  end,
}
