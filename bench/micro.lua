-- micro.lua - what the small things cost: calls, gets, dependencies, nesting, values, kernels.
--
--   ./dev bench micro [SECONDS]     each line is measured for so long (default 0.5), the best of five stretches counts
--
-- One number a line, in operations a second and the time of one. Says nothing about pass or fail.

local lr = require "luarun"

local seconds = tonumber(arg[1] or "0.5")
if not seconds or seconds <= 0 then
  io.stderr:write("micro.lua: seconds (a number more than 0) wanted, '", tostring(arg[1]), "' given\n")
  os.exit(1)
end

local function report(name, per_second)
  print(("%-46s %12.0f/s %10.2f us"):format(name, per_second, 1e6 / per_second))
  io.flush()
end

---fn(n) does n operations; n grows until a stretch takes a fifth of the time.
local function measure(name, fn)
  local n, spent = 1
  fn(100)
  while true do
    local begun = lr.now()
    fn(n)
    spent = lr.now() - begun
    if spent > seconds / 5 then break end
    n = math.ceil(n * math.min(10, math.max(1.5, seconds / 4 / math.max(spent, 1e-6))))
  end
  local best = n / spent
  for _ = 2, 5 do
    local start = lr.now()
    fn(n)
    best = math.max(best, n / (lr.now() - start))
  end
  report(name, best)
end

local nothing = lr.remote(function() end)
local add = lr.remote(function(a, b) return a + b end)
local same = lr.remote(function(x) return x end)

measure("call and get, one at a time", function(n)
  for _ = 1, n do nothing():get() end
end)

measure("call n, then get n", function(n)
  local list = {}
  for i = 1, n do list[i] = add(i, 1) end
  for i = 1, n do list[i]:get() end
end)

measure("tasks that a task calls and gets", function(n)
  lr.remote(function(rf, count)
    local list = {}
    for i = 1, count do list[i] = rf(i, 1) end
    for i = 1, count do list[i]:get() end
  end)(add, n):get()
end)

measure("a chain of dependencies", function(n)
  local f = lr.put(0)
  for _ = 1, n do f = add(f, 1) end
  f:get()
end)

measure("get inside get, nested", function(n)
  local deep
  deep = lr.remote(function(k)
    if k == 0 then return 0 end
    return 1 + deep(k - 1):get()
  end)
  for _ = 1, math.ceil(n / 1000) do deep(999):get() end
end)

measure("as_completed over n", function(n)
  local list = {}
  for i = 1, n do list[i] = add(i, 1) end
  for f in lr.as_completed(list) do f:get() end
end)

measure("map over n items", function(n)
  local list = {}
  for i = 1, n do list[i] = i end
  lr.map(function(x) return x + 1 end, list)
end)

measure("a table of ten fields there and back", function(n)
  local value, list = { a = 1, b = "text", c = true, d = { 1, 2, 3 }, e = 2.5 }, {}
  for i = 1, n do list[i] = same(value) end
  for i = 1, n do list[i]:get() end
end)

measure("a tensor of 1 MB there and back", function(n)
  local t, list = lr.put(lr.tensor("f64", { 131072 })), {}
  for i = 1, n do list[i] = same(t) end
  for i = 1, n do list[i]:get() end
end)

local kernels = lr.kernels { name = "micro", source = [[
#include <luarun/kernel.h>
static int nothing(lr_call *call) { (void)call; return LR_OK; }
LR_KERNELS({"nothing", nothing, "()", "does nothing", {0}})
]] }

measure("a kernel, call n, then get n", function(n)
  local list = {}
  for i = 1, n do list[i] = kernels.nothing() end
  for i = 1, n do list[i]:get() end
end)

measure("a kernel, called right here", function(n)
  for _ = 1, n do kernels.nothing:here() end
end)
