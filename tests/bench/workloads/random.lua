-- A million random numbers. Every library has a generator of its own: what is compared is how many there are.
local gl = require "gradlua"

local n = 1000000
local cases = {}
local function add(name, draw)
  cases[#cases + 1] = { name = name, make = function()
    gl.manual_seed(1)
    return function() return draw():numel() end
  end }
end

for _, dtype in ipairs { "f64", "f32" } do
  add("uniform, a million, " .. dtype, function() return gl.rand(n, { dtype = dtype }) end)
  add("normal, a million, " .. dtype, function() return gl.randn(n, { dtype = dtype }) end)
end
add("integers, a million", function() return gl.randint(1, 10, { n }) end)
add("permutation of a million", function() return gl.randperm(n) end)
add("dropout mask, a million", function() return gl.bernoulli(0.9, { n }) end)
return cases
