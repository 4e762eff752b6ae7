-- kernel.lua - empty C kernels with one tensor argument beside empty Lua tasks, n= (100,000) of each from the
-- script, in turns. `rate` is the kernels', `lua` the Lua tasks', `quotient` the median of the turns' quotients.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local kernels = lr.kernels{name = "bench_empty", source = [[
#include <luarun/kernel.h>
static int tensor(lr_call *call)
{
    lr_tensor x;
    return lr_arg_tensor(call, 1, LR_F64, 1, &x);
}
LR_KERNELS({"tensor", tensor, NULL, NULL, {0}})
]]}
local nothing = lr.remote(function() end)
local shared = lr.put(lr.tensor("f64", {1000})):get()

local function run(call, n, argument)
  local futures = {}
  collectgarbage()
  local begun = lr.now()
  for i = 1, n do futures[i] = call(argument) end
  for i = 1, n do futures[i]:get() end
  return lr.now() - begun
end

local n = kit.number("n", 1e5)
local kernel_seconds, lua_seconds, quotients = {}, {}, {}
run(kernels.tensor, n, shared)
run(nothing, n)
for i = 1, 9 do
  kernel_seconds[i] = run(kernels.tensor, n, shared)
  lua_seconds[i] = run(nothing, n)
  quotients[i] = lua_seconds[i] / kernel_seconds[i]
end
kit.answer{rate = n / kit.quantile(kernel_seconds, 0.5), lua = n / kit.quantile(lua_seconds, 0.5),
           quotient = kit.quantile(quotients, 0.5)}
