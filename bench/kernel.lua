-- Kernels beside Lua tasks: luarun bench/kernel.lua [TASKS [ROUNDS]]
--
-- Empty tasks are submitted from the script and got, all of one kind in a batch; the kinds take turns, so that what
-- disturbs the machine disturbs all. Printed: the best batch of each as nanoseconds a task, and the rates as ratios.
-- Wanted: an empty kernel with a tensor argument at 0.8 of an empty Lua task's rate or more.
local lr = require "luarun"

local tasks, rounds = tonumber(arg[1]) or 50000, tonumber(arg[2]) or 15

local k = lr.kernels{name = "empty", source = [[
#include <luarun/kernel.h>
static int none(lr_call *call) { (void)call; return LR_OK; }
static int tensor(lr_call *call)
{
    lr_tensor x;
    return lr_arg_tensor(call, 1, LR_F64, 1, &x);
}
LR_KERNELS({"none", none, NULL, NULL, {0}}, {"tensor", tensor, NULL, NULL, {0}})
]]}

local shared = lr.put(lr.tensor("f64", {1000})):get()
local kinds = {
  {name = "Lua task, no argument", call = lr.remote(function() end)},
  {name = "Lua task, a tensor", call = lr.remote(function(_) end), argument = shared},
  {name = "kernel, no argument", call = k.none},
  {name = "kernel, a tensor", call = k.tensor, argument = shared},
}

-- Seconds a batch takes.
local function batch(kind)
  local call, argument, futures = kind.call, kind.argument, {}
  collectgarbage()
  local start = lr.now()
  for i = 1, tasks do futures[i] = call(argument) end
  for i = 1, tasks do futures[i]:get() end
  return lr.now() - start
end

for _, kind in ipairs(kinds) do kind.best = math.huge end
for _ = 1, rounds do
  for _, kind in ipairs(kinds) do kind.best = math.min(kind.best, batch(kind)) end
end
for _, kind in ipairs(kinds) do
  print(("%-24s %7.0f ns  %.2f of an empty Lua task's rate, %.2f of a Lua task's with a tensor"):format(kind.name,
    kind.best / tasks * 1e9, kinds[1].best / kind.best, kinds[2].best / kind.best))
end
local ratio = kinds[1].best / kinds[4].best
print(("kernel with one tensor: %.2f of an empty Lua task (0.80 wanted)"):format(ratio))
