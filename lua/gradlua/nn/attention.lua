--- Multi-head attention. Vaswani et al. 2017.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local layer = require "gradlua.nn.layer"
local dense = require "gradlua.nn.dense"

local M = {}

--- (size, heads [, {causal = false, bias = true, dtype = "f64"}]) -> layer
--- Self-attention over N x T x size; {causal = true} lets a position see itself and what stands before it. The option
--- `context` of the call (N x S x size) is attended to instead of x.
function M.attention(size, heads, options)
  check.integer("nn.attention", "size", size, 1)
  check.integer("nn.attention", "heads", heads, 1)
  local o = check.options("nn.attention", options, { causal = false, bias = true, dtype = "f64" })
  if size % heads ~= 0 then check.fail("nn.attention", "size (%d) must be a multiple of heads (%d)", size, heads) end
  local width = size // heads
  local parts = {}
  for _, name in ipairs { "query", "key", "value", "output" } do
    parts[name] = dense.linear(size, size, { bias = o.bias, dtype = o.dtype })
  end

  --- N x T x size -> N x heads x T x width
  local function split(x)
    return x:reshape(x:size(1), x:size(2), heads, width):transpose(2, 3)
  end

  return layer.new {
    name = "attention",
    detail = ("%d, %d heads%s"):format(size, heads, o.causal and ", causal" or ""),
    init = function(generator)
      local params = {}
      for _, name in ipairs { "query", "key", "value", "output" } do params[name] = parts[name]:init(generator) end
      return params
    end,
    apply = function(params, x, call)
      local source = call.context or x
      for _, sequence in ipairs { x, source } do
        if sequence:ndim() ~= 3 or sequence:size(3) ~= size then
          check.fail("nn.attention", "expected N x T x %d, got shape %s", size, layer.shape_text(sequence))
        end
      end
      local n, times = x:size(1), x:size(2)
      local q = split(parts.query(params.query, x))
      local k = split(parts.key(params.key, source))
      local v = split(parts.value(params.value, source))
      local scores = q:matmul(k:transpose(3, 4)) * (1 / math.sqrt(width))
      if o.causal then
        local visible = gl.ones({ times, source:size(2) }):tril():gt(0)
        scores = gl.where(visible, scores, -math.huge)
      end
      local mixed = scores:softmax(4):matmul(v)
      return parts.output(params.output, mixed:transpose(2, 3):reshape(n, times, size))
    end,
  }
end

return M
