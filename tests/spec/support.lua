--- What the specs share: comparing values, and errors that name the right place.
local gl = require "gradlua"

local support = {}

--- Numbers, tensors and nested tables of them agree to a relative tolerance (NaN agrees with NaN).
function support.near(want, got, tolerance)
  tolerance = tolerance or 1e-12
  if type(want) == "table" then
    if gl.is_tensor(got) then
      want = gl.tensor(want)
    else
      for key, value in pairs(want) do support.near(value, got[key], tolerance) end
      return
    end
  end
  if gl.is_tensor(want) then
    assert(gl.is_tensor(got), "expected a tensor, got " .. tostring(got))
    local a, b = table.concat(want:shape(), " x "), table.concat(got:shape(), " x ")
    assert(a == b, ("expected the shape %s, got %s"):format(a, b))
    local x, y = want:to("f64"), got:to("f64")
    local agree = (x - y):abs():le((x:abs() + 1) * tolerance) | x:eq(y) | (x:isnan() & y:isnan())
    assert(agree:all():item(), ("expected %s\ngot %s"):format(tostring(want), tostring(got)))
    return
  end
  if gl.is_tensor(got) then got = got:item() end
  local same = want == got or (want ~= want and got ~= got) or math.abs(want - got) <= tolerance * (1 + math.abs(want))
  assert(same, ("expected %.17g, got %.17g"):format(want, got))
end

--- f raises a message that has every one of the texts, and begins with the file and line of the caller's function.
function support.raises(f, ...)
  local ok, message = pcall(f)
  assert(not ok, "no error was raised")
  message = tostring(message)
  local info = debug.getinfo(f, "S")
  local line = tonumber(message:match("^%S-:(%d+): "))
  assert(line and line >= info.linedefined and line <= info.lastlinedefined, "wrong place: " .. message)
  for _, text in ipairs { ... } do
    assert(message:find(text, 1, true), ("%q is not in %q"):format(text, message))
  end
end

return support
