--- Random task graphs against a serial run: everything a task can be, wait for and end as, mixed.
--   luarun tests/stress/graphs.lua [ROUNDS [SEED]]      without ROUNDS: as many as fit into 12 seconds
-- Each round makes a graph from its seed. What every task must end as (a value or an error's code) is worked out first
-- in plain Lua. A round that goes wrong says its seed: ROUNDS = 1 with that seed runs it again.

local lr = require "luarun"

local BUDGET = 12 -- seconds, without ROUNDS
local LIMIT = 100 -- seconds any one answer may take, on a slow machine under a sanitizer
local MOD = 1000003
local FAILED = -1 -- what a failed input counts as, for those who look at inputs themselves; no task gives it
local LONG = 600 -- seconds: what is cancelled or times out would take this long

local rounds, seed = tonumber(arg[1]), tonumber(arg[2]) or os.time()

local function combine(kind, inputs)
  local v = kind
  for i = 1, #inputs do v = (v * 31 + inputs[i] * i) % MOD end
  return v
end

-- ---- the tasks ----------------------------------------------------------------------------------------------

local plain = lr.remote(function(kind, ...) return combine(kind, { ... }) end)

local nested -- splits its work among children, to some depth
nested = lr.remote(function(kind, depth, ...)
  if depth == 0 then return combine(kind, { ... }) end
  local child = nested(kind, depth - 1, ...)
  lr.yield()
  return (child:get())
end)

local by_table = lr.remote(function(kind, list) -- futures inside a table stay futures
  return combine(kind, lr.get(list))
end)

local catching = lr.remote(function(kind, list, failed)
  local values = {}
  for i = 1, #list do
    local ok, v = list[i]:pget()
    values[i] = ok and v or failed
  end
  return combine(kind, values)
end)

local waiting = lr.remote(function(kind, list, count) -- wait in pieces, then take all
  while #list > 0 do
    local ready, pending = lr.wait(list, { count = math.min(count, #list) })
    assert(#ready >= math.min(count, #list) and #ready + #pending == #list)
    if #pending == 0 then break end
    local all = {}
    for i = 1, #ready do all[i] = ready[i] end
    lr.wait(pending, { count = 1, timeout = 0.001 })
    lr.wait(pending)
    break
  end
  return combine(kind, lr.get(list))
end)

local combined = lr.remote(function(kind, list) -- all and any inside a task
  if #list == 0 then return combine(kind, {}) end
  local values, one = lr.all(list):get(), lr.any(list):get()
  local found = false
  for i = 1, #list do found = found or values[i] == one end
  assert(found, "any gave what is no value of the list")
  return combine(kind, values)
end)

local completed = lr.remote(function(kind, list)
  local at, values = {}, {}
  for i = 1, #list do at[list[i]] = i end
  for f in lr.as_completed(list) do values[at[f]] = f:get() end
  return combine(kind, values)
end)

local comparing = lr.remote(function(kind, list) -- waits where Lua cannot yield
  local values = {}
  local order = {}
  for i = 1, #list do order[i] = i end
  table.sort(order, function(a, b) values[a] = list[a]:get() values[b] = list[b]:get() return a < b end)
  for i = 1, #list do values[i] = values[i] or list[i]:get() end
  return combine(kind, values)
end)

local failing = lr.remote(function(kind) error("boom " .. kind, 0) end)
local second_try = lr.remote(function(kind, fails, ...)
  if lr.task().attempt <= fails then error("try " .. lr.task().attempt, 0) end
  return combine(kind, { ... })
end):with { retry_on_error = 3 }
local sleeper = lr.remote(function(seconds) lr.sleep(seconds) return 1 end)
local parent_of_sleepers = lr.remote(function(count, seconds)
  local list = {}
  for i = 1, count do list[i] = sleeper(seconds) end
  lr.wait(list)
end)
local two = lr.remote(function(kind, ...) return combine(kind, { ... }), kind end):with { returns = 2 }

local filled = lr.remote(function(kind, n) local t = lr.tensor("f64", { n }) t:fill(kind) return t end)
local summed = lr.remote(function(t)
  local s = 0
  for i = 1, t:size(1) do s = s + t:get(i) end
  return s % MOD
end)

-- A kernel, where there is a compiler.
local has_kernel, kernels = pcall(lr.kernels, { name = "graphs", source = [[
#include <luarun/kernel.h>
static int step(lr_call *call)
{
    double v = 0, w = 0;
    if (lr_arg_number(call, 1, &v) || lr_arg_number(call, 2, &w)) return LR_ERR;
    if (w < 0) return lr_fail(call, "negative");
    return lr_return_number(call, (double)(((long long)v * 31 + (long long)w) % 1000003));
}
LR_KERNELS({"step", step, "(v: number, w: number) -> number", "v * 31 + w", {0}})
]] })
if not has_kernel then print("no kernels: " .. tostring(kernels)) end

local options = {
  { priority = 3 }, { priority = -1 }, { timeout = LIMIT }, { deadline = LIMIT }, { name = "named" },
  { retry_on_error = 2, timeout = LIMIT, deadline = LIMIT }, { cpu = 0 }, { cpu = 0.5 },
}
if lr.resources().cpu >= 2 then options[#options + 1] = { cpu = 2 } end

-- ---- one round -----------------------------------------------------------------------------------------------

local random = math.random

-- The kinds of task: each gives the future and what it must end as, a value or nil and an error's code. inputs are
-- futures, values what they end as (FAILED for a failure), bad the code of the first failure among them.
local kinds = {}

local function kind_of(weight, make)
  for _ = 1, weight do kinds[#kinds + 1] = make end
end

local function usual(remote)
  return function(kind, inputs, values, bad)
    if bad then return remote(kind, unpack(inputs)), nil, bad end
    return remote(kind, unpack(inputs)), combine(kind, values)
  end
end

local function with_list(remote, extra)
  return function(kind, inputs, values, bad)
    local f = remote(kind, inputs, extra and random(1, 3))
    if bad then return f, nil, bad end
    return f, combine(kind, values)
  end
end

kind_of(8, usual(plain))
kind_of(2, function(kind, inputs, values, bad)
  return usual(function(k, ...) return nested(k, random(0, 5), ...) end)(kind, inputs, values, bad)
end)
kind_of(2, with_list(by_table))
kind_of(1, with_list(waiting, true))
kind_of(1, with_list(combined))
kind_of(1, with_list(completed))
kind_of(1, with_list(comparing))
kind_of(2, function(kind, inputs, values) return catching(kind, inputs, FAILED), combine(kind, values) end)
kind_of(4, function(...) return usual(plain:with(options[random(#options)]))(...) end)
kind_of(1, function(kind, inputs, values, bad)
  local fails = random(0, 5)
  local f = second_try(kind, fails, unpack(inputs))
  if bad then return f, nil, bad end
  if fails > 3 then return f, nil, "error" end
  return f, combine(kind, values)
end)
kind_of(1, function(kind, inputs, values, bad)
  local first, other = two(kind, unpack(inputs))
  local f = random(2) == 1 and first or other
  if bad then return f, nil, bad end
  return f, f == first and combine(kind, values) or kind
end)
kind_of(1, function(kind) return lr.put(kind), kind end)
kind_of(1, function(kind) return failing(kind), nil, "error" end)
kind_of(1, function(kind)
  local n = random(1, 3000)
  return summed(filled(kind, n)), kind * n % MOD
end)
kind_of(1, function() return sleeper:with { timeout = 0.001 * random(1, 20) }(LONG), nil, "timeout" end)
kind_of(1, function()
  local f = random(2) == 1 and sleeper(LONG) or parent_of_sleepers(random(1, 5), LONG)
  if random(2) == 1 then lr.wait({ f }, { timeout = 0.001 }) end
  f:cancel()
  return f, nil, "cancelled"
end)
kind_of(has_kernel and 2 or 0, function(kind, inputs, values, bad)
  if #inputs == 0 then return kernels.step(kind, -1), nil, "kernel_error" end
  local f = kernels.step(inputs[1], kind)
  if values[1] == FAILED and bad then return f, nil, bad end
  return f, (values[1] * 31 + kind) % MOD
end)

-- Which code the first failed input gives: what stands in the failure of the one that needs it.
local function make_graph(size)
  local futures, wanted, codes = {}, {}, {}
  for i = 1, size do
    local inputs, values, bad = {}, {}, nil
    for k = 1, random(0, math.min(5, i - 1)) do
      local from = random(math.max(1, i - 40), i - 1)
      inputs[k], values[k] = futures[from], wanted[from] or FAILED
      if codes[from] then bad = bad or {} bad[codes[from]] = true end
    end
    futures[i], wanted[i], codes[i] = kinds[random(#kinds)](random(1, 1000), inputs, values, bad and "input" or nil)
  end
  return futures, wanted, codes
end

local function assert_end(f, value, code, what)
  local ok, got = f:pget(LIMIT)
  if code then
    if ok then error(what .. ": a failure wanted, got " .. tostring(got), 0) end
    if code ~= "input" and got.code ~= code then
      error(("%s: code %s wanted, got %s"):format(what, code, tostring(got)), 0)
    end
    if got.code == "timeout" and got.message == "the result was not there in time" then
      error(what .. ": never ended", 0)
    end
  elseif not ok or got ~= value then
    error(("%s: %s wanted, got %s"):format(what, tostring(value), tostring(got)), 0)
  end
end

local function round(number)
  math.randomseed(number)
  local size = random(20, 300)
  local futures, wanted, codes = make_graph(size)
  local late = plain:with { deadline = 0.0001 * random(1, 20) }(5) -- starts in time or not
  local count = 0
  for _ in lr.as_completed(futures, LIMIT) do count = count + 1 end
  if count ~= size then error("as_completed gave " .. count .. " of " .. size, 0) end
  local ready, pending = lr.wait(futures, { timeout = 0 })
  if #ready ~= size or #pending ~= 0 then error("wait says that " .. #pending .. " are pending", 0) end
  for i = 1, size do assert_end(futures[i], wanted[i], codes[i], "task " .. i) end
  local ok, got = late:pget(LIMIT)
  if not (ok and got == 5 or not ok and got.code == "deadline") then
    error("the late one: " .. tostring(got), 0)
  end
  for i = 1, size, 3 do lr.free(futures[i]) end
  local freed, lost = futures[1]:pget(LIMIT)
  if freed or lost.code ~= "object_lost" then error("a freed value is still there", 0) end
end

local start, done = lr.now(), 0
while rounds and done < rounds or not rounds and lr.now() - start < BUDGET do
  local ok, why = pcall(round, seed + done)
  if not ok then
    print(("round with seed %d: %s; again with: luarun tests/stress/graphs.lua 1 %d")
      :format(seed + done, tostring(why), seed + done))
    print("0 passed, 1 failed")
    os.exit(false)
  end
  done = done + 1
end
print(("%d random graphs, seed %d"):format(done, seed))
print("1 passed, 0 failed")
