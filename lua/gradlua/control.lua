--- Control flow, checkpoints and rules of one's own. Where values are known (outside of transforms, and under derivatives)
--- control flow is plain Lua; where a function is recorded without values (jit, vmap, bodies of loops) it is recorded as
--- an instruction with nested programs.
local gl = require "gradlua.core"
local internal = require "gradlua.internal"
local check = require "gradlua.check"
local body, emit = internal.body, internal.control

local M = {}

local function callable(f)
  local meta = getmetatable(f)
  return type(f) == "function" or (meta and meta.__call ~= nil)
end

local function need(name, what, f)
  if not callable(f) then internal.fail(("%s: %s must be a function, got a %s"):format(name, what, type(f))) end
end

local function same_leaves(name, a, b, what)
  if a ~= b then internal.fail(("%s: %s: %d against %d tensors"):format(name, what, a, b)) end
end

--- The leaves of packed arguments.
local function leaves_of(args) return body.flatten { table.unpack(args, 1, args.n) } end

local function is_part(value) return type(value) == "table" or type(value) == "number" or gl.is_tensor(value) end

--- A key that one of two structures has and the other lacks; nil when they are alike.
local function key_missing(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return nil end
  for key, part in pairs(a) do
    if is_part(part) and b[key] == nil then return key end
    local inner = key_missing(part, b[key])
    if inner ~= nil then return inner end
  end
  for key, part in pairs(b) do
    if is_part(part) and a[key] == nil then return key end
  end
  return nil
end

--- The path of an entry, as one writes it in Lua.
local function path_to(path, key)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") then return path .. "." .. key end
  return ("%s[%s]"):format(path, type(key) == "string" and ("%q"):format(key) or tostring(key))
end

local function kind_of(value)
  if value == nil then return "nothing" end
  return gl.is_tensor(value) and "a tensor" or "a " .. type(value)
end

--- How the structure of a state differs after a step, in words; nil: it does not.
local function changed_structure(before, after, path)
  if type(before) ~= "table" or type(after) ~= "table" then
    if is_part(before) == is_part(after) and type(before) ~= "table" and type(after) ~= "table" then return nil end
    return ("%s is %s, and %s after a step"):format(path, kind_of(before), kind_of(after))
  end
  for key, part in pairs(before) do
    local text = is_part(part) and changed_structure(part, after[key], path_to(path, key))
    if text then return text end
  end
  for key, part in pairs(after) do
    if is_part(part) and before[key] == nil then
      return ("%s is not in the state that the loop begins with"):format(path_to(path, key))
    end
  end
  return nil
end

--- The path of the leaf that stands as the number `leaf` in a structure of numbers.
local function path_of(structure, leaf, path)
  if structure == leaf then return path end
  if type(structure) ~= "table" then return nil end
  for key, part in pairs(structure) do
    local found = path_of(part, leaf, path_to(path, key))
    if found then return found end
  end
  return nil
end

local function numbered(count)
  local list = {}
  for i = 1, count do list[i] = i end
  return list
end

--- The state that comes out of a loop's body must be like the one that goes in. The user's own state is state[inner], or
--- all of it.
local function check_state(name, recorded, init, count, inner)
  local before, after = body.build(init, numbered(count)), (body.rebuild(recorded, numbered(body.counts(recorded)[1] or 0)))
  if inner then
    before, init, after = before[inner], init[inner], after[inner]
  end
  local text = changed_structure(init, after, "state")
  if text then
    internal.fail(("%s: the body changes the structure of the state: %s"):format(name, text))
  end
  local leaf, from, to, dtype = body.mismatch(recorded, count)
  if not leaf then return end
  internal.fail(("%s: %s begins as %s and is %s after one step: a loop's state keeps its shape and dtype. %s"):format(name,
    path_of(before, leaf, "state"), from, to,
    dtype and ('Return it as :to("%s"), or begin with the other dtype'):format(dtype)
    or "Begin with a value of the shape that the step gives, or bring its result to the shape it had"))
end

--- The branches of a cond must give results of one structure.
local function check_branches(yes, no)
  local a, b = body.counts(yes), body.counts(no)
  same_leaves("cond", #a, #b, "the branches return different numbers of results")
  for i = 1, #a do same_leaves("cond", a[i], b[i], "the branches' results differ in structure") end
  local first = table.pack(body.rebuild(yes, body.outputs(yes)))
  local second = table.pack(body.rebuild(no, body.outputs(no)))
  for i = 1, #a do
    if (type(first[i]) == "table") ~= (type(second[i]) == "table") or key_missing(first[i], second[i]) ~= nil then
      internal.fail(("cond: the branches' results differ in structure: result %d"):format(i))
    end
  end
end

--- Is the value (a boolean or a 0-d tensor) known now? Then what it is.
local function truth(name, p)
  if type(p) == "boolean" then return true, p end
  if not gl.is_tensor(p) or p:dtype() ~= "bool" or p:ndim() ~= 0 then
    internal.fail(("%s: the condition must be a boolean or a 0-d bool tensor, got %s"):format(name,
      gl.is_tensor(p) and ("a %s tensor of shape %s"):format(p:dtype(), table.concat(p:shape(), " x ")) or "a " .. type(p)))
  end
  if body.is_traced(p) and body.is_staged() then return false end
  return true, p:item()
end

--- (p, f, g, ...) -> results
--- f(...) where p holds, otherwise g(...); p is a boolean or a 0-d bool tensor. Where values are known this is plain Lua, and
--- under jit, vmap and in staged loops both branches are recorded: they must give results of one structure; whichever is
--- taken, a generator that they draw from moves on by as much as the one that draws more.
---@param p boolean|table
---@param f function
---@param g function
function M.cond(p, f, g, ...)
  need("cond", "the first branch", f)
  need("cond", "the second branch", g)
  local known, value = truth("cond", p)
  if known then
    if value then return f(...) end
    return g(...)
  end
  local args = table.pack(...)
  local options = { name = "cond", open = 1, pure = true, draws = true, lazy = true }
  local yes, no = body.record(options, f, args), body.record(options, g, args)
  check_branches(yes, no)
  return body.rebuild(yes, emit.cond(p, yes, no, leaves_of(args), body.captured(yes), body.captured(no)))
end

--- (test, step, init) -> state
--- state = step(state) as long as test(state), a boolean or a 0-d bool tensor, holds. The state may be any structure; where
--- the loop is recorded it keeps its shapes and dtypes. Differentiable forward and reverse. Random draws are new at every
--- step; those of a recorded loop come from a stream of their own, since it is not known how many there will be: they are
--- not the numbers of the plain loop.
---@param test fun(state: any): any
---@param step fun(state: any): any
---@param init any
function M.while_loop(test, step, init)
  need("while_loop", "the test", test)
  need("while_loop", "the body", step)
  if not body.is_staged() then
    local state = init
    while select(2, truth("while_loop", (test(state)))) do state = step(state) end
    return state
  end
  init = body.with_floats(init)
  local args = { init, n = 1 }
  local proceed = body.record({ name = "while_loop", open = 1, pure = true, test = true }, test, args)
  local next_state = body.record({ name = "while_loop", open = 1, pure = true, draws = true, step = true }, step, args)
  local test_result = body.rebuild(proceed, body.outputs(proceed))
  if not gl.is_tensor(test_result) then
    internal.fail(("while_loop: the test must compare values of the state, as gl.lt(state, 3) does; it gives %s"):format(
      kind_of(test_result)))
  end
  local leaves = body.flatten(init)
  check_state("while_loop", next_state, init, #leaves)
  return body.build(init, emit.while_loop(proceed, next_state, leaves, body.captured(proceed), body.captured(next_state)))
end

--- How many steps between checkpoints: -1 none, 0 about the square root of all.
local function checkpoint_every(name, options)
  if options ~= nil then check.names(name, options, name == "scan" and { checkpoint = true, reverse = true } or { checkpoint = true }) end
  local every = options and options.checkpoint
  if not every then return -1 end
  if every == "sqrt" or every == true then return 0 end
  if math.type(every) ~= "integer" or every < 1 then
    internal.fail(name .. ": checkpoint must be a number of steps or \"sqrt\"")
  end
  return every
end

local function staged_scan(name, step, init, xs, length, reverse, every, watch, inner)
  init = body.with_floats(init)
  local carry, rows = body.flatten(init), body.flatten(xs)
  local row_leaves = {}
  for i, x in ipairs(rows) do row_leaves[i] = gl.zeros({ table.unpack(x:shape(), 2) }, { dtype = x:dtype() }) end
  local row = body.build(xs, row_leaves)
  local options = { name = name, open = 1, pure = true, draws = true, step = true, watch = watch }
  local recorded, ncarry = body.record(options, step, { init, row, n = 2 }), #carry
  check_state(name, recorded, init, ncarry, inner)
  local out = emit.scan(recorded, carry, rows, body.captured(recorded), length, reverse, every)
  return recorded, out, ncarry
end

--- fori for a number of steps that is a value of the recording.
local function open_ended(n, f, init)
  if n:ndim() ~= 0 then internal.fail("fori: the number of steps must be one number") end
  return M.while_loop(function(s) return gl.le(s.count, n) end, function(s)
    return { count = s.count + 1, state = f(body.as_number(s.count), s.state) }
  end, { count = gl.tensor(1, { dtype = "i64" }), state = init }).state
end

--- (n, f, init [, {checkpoint}]) -> state
--- s = f(i, s) for i = 1 .. n, from init. checkpoint: reverse mode keeps the state of every k-th step, or of about the square
--- root of all ("sqrt"), and computes the others again. A number of steps that is not known while the loop is recorded makes
--- it a while_loop. Random draws are new at every step, recorded or not; the reverse loop uses those of the forward one.
---@param n integer|table
---@param f fun(i: any, s: any): any
---@param init any
---@param options? {checkpoint: integer|string}
function M.fori(n, f, init, options)
  need("fori", "the body", f)
  if gl.is_tensor(n) and body.is_traced(n) and body.is_staged() then return open_ended(n, f, init) end
  if gl.is_tensor(n) then n = n:item() end
  local steps = type(n) == "number" and math.tointeger(n)
  if not steps then internal.fail("fori: the number of steps must be an integer, got " .. tostring(n)) end
  local every = checkpoint_every("fori", options)
  if not (body.is_staged() or (every >= 0 and body.is_tracing())) then
    local state = init
    for i = 1, steps do state = f(i, state) end
    return state
  end
  if steps < 1 then return init end
  -- The count is carried along: a list of all of them would take memory by the number of steps.
  local start = { count = gl.tensor(1, { dtype = "i64" }), state = init }
  local function step(s) return { count = s.count + 1, state = f(body.as_number(s.count), s.state) } end
  local recorded, out = staged_scan("fori", step, start, {}, steps, false, every, f, "state")
  return body.rebuild(recorded, out).state
end

local function extent_of(name, xs)
  local leaves = body.flatten(xs)
  local length
  for _, x in ipairs(leaves) do
    if not gl.is_tensor(x) or x:ndim() == 0 then internal.fail(name .. ": every entry of xs must be a tensor with an axis") end
    if length and length ~= #x then
      internal.fail(("%s: the entries of xs have %d and %d rows"):format(name, length, #x))
    end
    length = #x
  end
  if not length then internal.fail(name .. ": xs holds no tensor") end
  return length, leaves
end

local function plain_scan(f, init, xs, length, leaves, reverse)
  local carry, like, columns = init, nil, {}
  local from, to, by = 1, length, 1
  if reverse then from, to, by = length, 1, -1 end
  for i = from, to, by do
    local row = {}
    for k, x in ipairs(leaves) do row[k] = x[i] end
    local y
    carry, y = f(carry, body.build(xs, row))
    like = y
    for k, leaf in ipairs(body.flatten(y)) do
      columns[k] = columns[k] or {}
      columns[k][i] = gl.is_tensor(leaf) and leaf or gl.tensor(leaf)
    end
  end
  for k, column in ipairs(columns) do columns[k] = gl.stack(column) end
  return carry, body.build(like, columns)
end

--- (f, init, xs [, {reverse = false, checkpoint}]) -> carry, ys
--- carry, y = f(carry, x) for each row x of xs (a tensor, or a table of them), in order or in reverse: the last carry, and
--- the ys stacked. checkpoint and random draws as in gl.fori.
---@param f fun(carry: any, x: any): any, any
---@param init any
---@param xs any a tensor or a table of tensors
---@param options? {reverse: boolean, checkpoint: integer|string}
function M.scan(f, init, xs, options)
  need("scan", "the body", f)
  local every = checkpoint_every("scan", options)
  local reverse = options and options.reverse or false
  local length, leaves = extent_of("scan", xs)
  -- With no row the body never runs, and only a recording of it tells what the ys are.
  local recording = body.is_tracing() and (every >= 0 or length == 0)
  if not (body.is_staged() or recording) then
    if length == 0 then return gl.jit(function(carry, rows) return M.scan(f, carry, rows, options) end)(init, xs) end
    return plain_scan(f, init, xs, length, leaves, reverse)
  end
  local recorded, out, ncarry = staged_scan("scan", f, init, xs, length, reverse, every)
  local _, ys = body.rebuild(recorded, out)
  return body.build(init, { table.unpack(out, 1, ncarry) }), ys
end

--- f, whose derivatives in reverse keep its arguments only and compute the rest again.
---@param f function
---@return function
function M.checkpoint(f)
  need("checkpoint", "the argument", f)
  return function(...)
    if not body.is_tracing() then return f(...) end
    local args = table.pack(...)
    local recorded = body.record({ name = "checkpoint", open = body.is_staged() and 1 or 0 }, f, args)
    return body.rebuild(recorded, emit.checkpoint(recorded, leaves_of(args), body.captured(recorded)))
  end
end

local function is_float(leaf) return not gl.is_tensor(leaf) or leaf:dtype() == "f64" or leaf:dtype() == "f32" end

--- Zeros of the structure of a value, without what has no tangent.
local function tangents_like(value)
  local leaves = body.flatten(value)
  for i, leaf in ipairs(leaves) do
    if not is_float(leaf) then leaves[i] = false
    elseif gl.is_tensor(leaf) then leaves[i] = gl.zeros(leaf:shape(), { dtype = leaf:dtype() })
    else leaves[i] = 0 end
  end
  return body.build(value, leaves)
end

--- f of each of packed values.
local function map(f, packed)
  local out = {}
  for i = 1, packed.n do out[i] = f(packed[i]) end
  return out
end

local function rule_leaves(name, wanted, got)
  local leaves = body.flatten(got)
  local floats = 0
  for _, leaf in ipairs(body.flatten(wanted)) do floats = floats + (is_float(leaf) and 1 or 0) end
  if #leaves ~= floats then
    internal.fail(("custom: the %s rule must return %d tensors or numbers, got %d"):format(name, floats, #leaves))
  end
end

--- f with derivative rules of its own. jvp(primals, tangents) -> value, tangent; vjp(primals, cotangent) -> cotangents.
--- Arguments and their tangents come as lists. A missing rule is derived from the other one. For an f of several results
--- jvp gives these, then a tangent for each, and vjp takes a cotangent for each.
---@param f function
---@param rules {jvp: function, vjp: function}
---@return function
function M.custom(f, rules)
  need("custom", "the function", f)
  if type(rules) ~= "table" then internal.fail("custom: the rules must be a table {jvp = , vjp = }") end
  for key, rule in pairs(rules) do
    if key ~= "jvp" and key ~= "vjp" then
      internal.fail(('custom: unknown rule "%s": there are jvp and vjp'):format(tostring(key)))
    end
    need("custom", "the rule " .. key, rule)
  end
  if not (rules.jvp or rules.vjp) then internal.fail("custom: needs a jvp or a vjp rule") end
  return function(...)
    if not body.is_tracing() then return f(...) end
    local args = table.pack(table.unpack(body.with_floats { ... }, 1, select("#", ...)))
    local list = { table.unpack(args, 1, args.n) }
    local open = body.is_staged() and 1 or 0
    local value = body.record({ name = "custom", open = open }, f, args)
    local results = table.pack(body.rebuild(value, body.outputs(value)))
    local count = results.n
    local jvp = rules.jvp and body.record({ name = "custom", open = open == 1 and 1 or 2 }, function(primals, tangents)
      local out = table.pack(rules.jvp(primals, tangents))
      if count > 1 and out.n ~= 2 * count then
        internal.fail(("custom: the jvp rule must return %d values and %d tangents, got %d results"):format(count, count, out.n))
      end
      return table.unpack(out, count + 1, 2 * count)
    end, { list, tangents_like(list), n = 2 })
    local vjp = rules.vjp and body.record({ name = "custom", open = open == 1 and 1 or 2 }, function(primals, ...)
      local cotangents = rules.vjp(primals, ...)
      if args.n == 1 and (type(cotangents) ~= "table" or cotangents[1] == nil) then cotangents = { cotangents } end
      rule_leaves("vjp", list, cotangents)
      return cotangents
    end, { list, n = count + 1, table.unpack(map(tangents_like, results)) })
    local result = emit.custom(value, jvp, vjp, leaves_of(args), body.captured(value), jvp and body.captured(jvp) or {},
      vjp and body.captured(vjp) or {})
    return body.rebuild(value, result)
  end
end

return M
