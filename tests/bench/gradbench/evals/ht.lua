--- Hand tracking: a hand of bones, posed by 26 parameters and skinned, against measured points. The Jacobian has a column
--- for each parameter; those of the two coordinates that each point has on its triangle are compressed into two, first.
local gl = require "gradlua"

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

local function convert(input)
  local model = input.data.model
  local hand = {
    bones = #model.parents, parents = model.parents, mirrored = model.is_mirrored,
    relatives = gl.tensor(model.base_relatives), inverses = gl.tensor(model.inverse_base_absolutes),
    positions = gl.tensor(model.base_positions), weights = gl.tensor(model.weights),
    points = gl.tensor(input.data.points),
    picked = gl.tensor(input.data.correspondences, { dtype = "i64" }) + 1,
    angles_from = angle_positions(#model.parents, #input.theta),
  }
  if #input.us > 0 then
    hand.us = gl.tensor(input.us)
    hand.corners = (gl.tensor(model.triangles, { dtype = "i64" }) + 1)[hand.picked]
  end
  return hand, gl.tensor(input.theta)
end

--- vertices x 3 for a pose. Skinning is linear in the bones' transforms, so that it is one matrix product with the
--- weighted base positions.
local function posed(hand, theta)
  local angles = gl.concat { theta, gl.zeros(1) }[hand.angles_from]:reshape(hand.bones, 3)
  local relatives = hand.relatives:matmul(bone_rotations(angles))
  local absolutes = {}
  for i = 1, hand.bones do
    local parent = hand.parents[i] + 1
    absolutes[i] = parent == 0 and relatives[i] or absolutes[parent]:matmul(relatives[i])
  end
  local transforms = gl.stack(absolutes):matmul(hand.inverses)
  local columns = transforms[{ {}, { 1, 3 } }]:permute(1, 3, 2):reshape(hand.bones * 4, 3)
  local weighted = hand.weights:unsqueeze(3) * hand.positions:unsqueeze(2)
  local vertices = weighted:reshape(#hand.positions, hand.bones * 4):matmul(columns)
  if hand.mirrored then vertices = vertices * gl.tensor { -1, 1, 1 } end
  return vertices:matmul(axis_rotation(theta[{ { 1, 3 } }]):t()) + theta[{ { 4, 6 } }]
end

local function errors(hand, theta, us)
  local vertices = posed(hand, theta)
  if not us then return (hand.points - vertices[hand.picked]):flatten() end
  local u, v = us[{ {}, { 1, 1 } }], us[{ {}, { 2, 2 } }]
  local first, second = vertices[hand.corners[{ {}, 1 }]], vertices[hand.corners[{ {}, 2 }]]
  local third = vertices[hand.corners[{ {}, 3 }]]
  return (hand.points - (u * first + v * second + (1 - u - v) * third)):flatten()
end

return {
  objective = function(input)
    local hand, theta = convert(input)
    local f = gl.jit(function(t, us) return errors(hand, t, us) end)
    return function() return f(theta, hand.us) end
  end,
  jacobian = function(input)
    local hand, theta = convert(input)
    local in_theta = gl.jacobian(function(t, us) return errors(hand, t, us) end, { mode = "forward" })
    local seeds = hand.us and { gl.zeros_like(hand.us), gl.zeros_like(hand.us) }
    if seeds then
      seeds[1][{ {}, 1 }] = 1
      seeds[2][{ {}, 2 }] = 1
    end
    local f = gl.jit(function(t, us)
      local columns = in_theta(t, us)
      if not us then return columns end
      local function along(seed)
        local _, tangent = gl.jvp(function(u) return errors(hand, t, u) end, { us }, { seed })
        return tangent:unsqueeze(2)
      end
      return gl.concat({ along(seeds[1]), along(seeds[2]), columns }, 2)
    end)
    return function() return f(theta, hand.us) end
  end,
}
