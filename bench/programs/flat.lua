-- flat.lua - n tasks add(i, 1) from the script, all got and summed: n= (1,000,000).
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local add = lr.remote(function(a, b) return a + b end)

local function run(n)
  local futures, sum = {}, 0
  for i = 1, n do futures[i] = add(i, 1) end
  for i = 1, n do sum = sum + futures[i]:get() end
  assert(sum == n * (n + 1) / 2 + n)
end

local n = kit.number("n", 1e6)
run(n)
collectgarbage()
local begun = lr.now()
run(n)
kit.rate(n, lr.now() - begun)
