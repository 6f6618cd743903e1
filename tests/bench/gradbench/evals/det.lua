--- The determinant by expansion along the first row, minor by minor.
local gl = require "gradlua"

--- A minor is named by the columns that are left; each is expanded once and shared (see the README beside the tool).
local function determinant(size)
  return function(a)
    local minors = {}
    local function minor(row, columns)
      if row > size then return 1 end
      if minors[columns] then return minors[columns] end
      local sum, sign = nil, 1
      for j = 1, size do
        local bit = 1 << (j - 1)
        if columns & bit ~= 0 then
          local term = a[(row - 1) * size + j] * minor(row + 1, columns ~ bit)
          if not sum then sum = term
          elseif sign > 0 then sum = sum + term
          else sum = sum - term end
          sign = -sign
        end
      end
      minors[columns] = sum
      return sum
    end
    return minor(1, (1 << size) - 1)
  end
end

local function prepare(transform)
  return function(input)
    local a = gl.tensor(input.A)
    local f = gl.jit(transform(determinant(input.ell)))
    return function() return f(a) end
  end
end

return { primal = prepare(function(f) return f end), gradient = prepare(gl.grad) }
