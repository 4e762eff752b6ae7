-- roundtrip.lua - one add(1, 2) from the script and its value, again and again: n= (100,000).
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local add = lr.remote(function(a, b) return a + b end)

local function run(n)
  local seconds = {}
  for i = 1, n do
    local begun = lr.now()
    assert(add(1, 2):get() == 3)
    seconds[i] = lr.now() - begun
  end
  return seconds
end

local n = kit.number("n", 1e5)
run(n / 10)
kit.latency(run(n))
