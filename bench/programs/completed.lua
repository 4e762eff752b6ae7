-- completed.lua - as_completed over n futures, seconds for each: n= (10,000).
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local same = lr.remote(function(i) return i end)

local function run(n)
  local futures, sum = {}, 0
  for i = 1, n do futures[i] = same(i) end
  lr.wait(futures)
  local begun = lr.now()
  for f in lr.as_completed(futures) do sum = sum + f:get() end
  local seconds = lr.now() - begun
  assert(sum == n * (n + 1) / 2)
  return seconds / n
end

local n = kit.number("n", 1e4)
for _ = 1, 5 do run(n) end
local list = {}
for i = 1, 11 do list[i] = run(n) end
kit.answer{count = n, each = kit.quantile(list, 0.5)}
