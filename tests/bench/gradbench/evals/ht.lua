--- Hand tracking: a hand of bones, posed by 26 parameters and skinned, against measured points. The Jacobian has a column
--- for each parameter; those of the two coordinates that each point has on its triangle are compressed into two, first.
local gl = require "gradlua"

local BLOCK = 4096 -- points at a time, so that the Jacobian's parts stay in the cache

--- Rotation by the angle |v| around v, with the identity near 0.
local function axis_rotation(v)
  local angle = (v * v):sum():sqrt()
  local moves = angle:ge(1e-4)
  local axis = v / gl.where(moves, angle, 1)
  local c, s = angle:cos(), angle:sin()
  local zero = gl.zeros_like(c)
  local crossing = gl.stack { zero, -axis[3], axis[2], axis[3], zero, -axis[1], -axis[2], axis[1], zero }:reshape(3, 3)
  local rotation = gl.eye(3) * c + crossing * s + axis:unsqueeze(2) * axis:unsqueeze(1) * (1 - c)
  return gl.where(moves, rotation, gl.eye(3))
end

--- Rz Ry Rx of angles given as x, z, y, for all bones at once (bones x 3), as 4 x 4 transforms.
local function bone_rotations(angles)
  local c, s = angles:cos(), angles:sin()
  local cx, cz, cy = c[{ {}, 1 }], c[{ {}, 2 }], c[{ {}, 3 }]
  local sx, sz, sy = s[{ {}, 1 }], s[{ {}, 2 }], s[{ {}, 3 }]
  local zero, one = gl.zeros_like(cx), gl.ones_like(cx)
  return gl.stack({
    cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx, zero,
    sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx, zero,
    -sy, cy * sx, cy * cx, zero,
    zero, zero, zero, one,
  }, 2):reshape(#angles, 4, 4)
end

--- Where each of the angles (bones x 3) comes from: theta, or the zero behind its end. Each finger has four bones after
--- the wrist: the first three bend, the first of them also spreads.
local function angle_positions(bones, parameters)
  local positions = {}
  for i = 1, bones * 3 do positions[i] = parameters + 1 end
  local at, bone = 7, 3
  for _ = 1, 5 do
    for joint = 1, 3 do
      positions[(bone - 1) * 3 + 1], at = at, at + 1
      if joint == 1 then positions[(bone - 1) * 3 + 2], at = at, at + 1 end
      bone = bone + 1
    end
    bone = bone + 1
  end
  return gl.tensor(positions, { dtype = "i64" })
end

--- The vertices that positions (from 0, a list of lists) refer to, and the positions among those.
local function used_vertices(positions)
  local used, place, among = {}, {}, {}
  for i, list in ipairs(positions) do
    among[i] = {}
    for k, position in ipairs(list) do
      if not place[position] then
        used[#used + 1] = position + 1
        place[position] = #used
      end
      among[i][k] = place[position]
    end
  end
  return gl.tensor(used, { dtype = "i64" }), gl.tensor(among, { dtype = "i64" })
end

--- Arrays of vertices and points have a row for each coordinate. Only the vertices that the points are compared with are
--- kept, with their weights: base[4 (bone - 1) + c] is coordinate c of the weighted base positions.
local function convert(input)
  local model = input.data.model
  local us = #input.us > 0 and gl.tensor(input.us) or nil
  local refers = {}
  for i, position in ipairs(input.data.correspondences) do
    refers[i] = us and model.triangles[position + 1] or { position }
  end
  local used, corners = used_vertices(refers)
  local weighted = gl.tensor(model.weights)[used]:unsqueeze(3) * gl.tensor(model.base_positions)[used]:unsqueeze(2)
  return {
    bones = #model.parents, parents = model.parents, mirrored = model.is_mirrored, us = us,
    relatives = gl.tensor(model.base_relatives), inverses = gl.tensor(model.inverse_base_absolutes),
    base = weighted:flatten(2, 3):t():clone(), corners = corners:t():clone(),
    points = gl.tensor(input.data.points):t():clone(),
    angles_from = angle_positions(#model.parents, #input.theta),
  }, gl.tensor(input.theta)
end

--- The vertices for a pose. Skinning is linear in the bones' transforms, so that it is one matrix product with the
--- weighted base positions; mirroring and the wrist's rotation are applied to the transforms.
local function posed(hand, theta)
  local angles = gl.concat { theta, gl.zeros(1) }[hand.angles_from]:reshape(hand.bones, 3)
  local relatives = hand.relatives:matmul(bone_rotations(angles))
  local absolutes = {}
  for i = 1, hand.bones do
    local parent = hand.parents[i] + 1
    absolutes[i] = parent == 0 and relatives[i] or absolutes[parent]:matmul(relatives[i])
  end
  local transforms = gl.stack(absolutes):matmul(hand.inverses)[{ {}, { 1, 3 } }]
  local rotation = axis_rotation(theta[{ { 1, 3 } }])
  if hand.mirrored then rotation = rotation * gl.tensor { -1, 1, 1 } end
  local turned = rotation:matmul(transforms:permute(2, 1, 3):reshape(3, hand.bones * 4))
  return turned:matmul(hand.base) + theta[{ { 4, 6 } }]:unsqueeze(2)
end

--- points (3 x n) less what they are compared with: a vertex, or a place on the triangle of three.
local function errors(hand, theta, points, corners, us)
  local vertices = posed(hand, theta)
  local function corner(k) return vertices[{ {}, corners[k] }] end
  if not us then return (points - corner(1)):t():flatten() end
  local u, v = us[{ {}, 1 }], us[{ {}, 2 }]
  return (points - (u * corner(1) + v * corner(2) + (1 - u - v) * corner(3))):t():flatten()
end

--- The rows of some points. An error depends on its own point's coordinates only: one tangent serves all points.
local function jacobian_rows(hand)
  return function(theta, points, corners, us)
    local in_theta = gl.jacobian(function(t) return errors(hand, t, points, corners, us) end, { mode = "forward" })(theta)
    if not us then return in_theta end
    local columns = { [3] = in_theta }
    for k = 1, 2 do
      local along = (gl.arange(1, 2):eq(k)):to("f64"):expand(#us, 2)
      local _, tangent = gl.jvp(function(u) return errors(hand, theta, points, corners, u) end, { us }, { along })
      columns[k] = tangent:unsqueeze(2)
    end
    return gl.concat(columns, 2)
  end
end

return {
  objective = function(input)
    local hand, theta = convert(input)
    local f = gl.jit(function(t, us) return errors(hand, t, hand.points, hand.corners, us) end)
    return function() return f(theta, hand.us) end
  end,
  --- The Jacobian's memory is made once, and filled at each run.
  jacobian = function(input)
    local hand, theta = convert(input)
    local rows, n = gl.jit(jacobian_rows(hand)), hand.points:size(2)
    local jacobian = gl.zeros(3 * n, #theta + (hand.us and 2 or 0))
    return function()
      for from = 1, n, BLOCK do
        local range = { from, math.min(from + BLOCK - 1, n) }
        jacobian[{ { 3 * from - 2, 3 * range[2] } }] =
          rows(theta, hand.points[{ {}, range }], hand.corners[{ {}, range }], hand.us and hand.us[{ range }])
      end
      return jacobian
    end
  end,
}
