-- handoff.lua - one task that must run on another thread, which sleeps, and its value: n= (2,000), pause= seconds
-- between two (0.001). A function that has once parked is never run by the script's own thread: the first call parks.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local add = lr.remote(function(a, b, park)
  if park then lr.sleep(0.001) end
  return a + b
end)

local n, pause = kit.number("n", 2000), kit.number("pause", 0.001)
for _ = 1, 20 do add(1, 2, true):get() end
local seconds = {}
for i = 1, n do
  lr.sleep(pause)
  local begun = lr.now()
  assert(add(1, 2):get() == 3)
  seconds[i] = lr.now() - begun
end
kit.latency(seconds)
