-- Backpropagation through a two-layer network, written out line by line, against reverse mode.

local gl = require "gradlua"

gl.manual_seed(11)
local x, y = gl.randn(16, 4), gl.randn(16, 2)
local p = { W1 = gl.randn(4, 8), b1 = gl.randn(8), W2 = gl.randn(8, 2), b2 = gl.randn(2) }

local function loss(q)
  local h = (x:matmul(q.W1) + q.b1):tanh()
  return (h:matmul(q.W2) + q.b2 - y):square():mean()
end

-- Forward, keeping what the way back needs.
local h = (x:matmul(p.W1) + p.b1):tanh()
local out = h:matmul(p.W2) + p.b2
-- Backward: each line is the chain rule for one line above, in reverse order.
local d_out = 2 * (out - y) / out:numel()
local hand = { b2 = d_out:sum(1), W2 = h:t():matmul(d_out) }
local d_h = d_out:matmul(p.W2:t())
local d_a = d_h * (1 - h:square()) -- tanh' = 1 - tanh^2
hand.b1, hand.W1 = d_a:sum(1), x:t():matmul(d_a)

local machine, worst = gl.grad(loss)(p), 0
for name, by_hand in pairs(hand) do
  local difference = (by_hand - machine[name]):abs():max():item()
  worst = math.max(worst, difference)
  print(("%s: largest difference %.1e"):format(name, difference))
end
return { difference = worst }
