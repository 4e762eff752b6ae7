-- timeouts.lua - how late the timeouts of get, wait and sleep are on an idle machine: n= (300) timeouts from 1 to
-- 100 ms, in the script and in a task, taken from each of the three in turn.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local function measure(n, gates) -- in a table: a future in its place would be waited for
  local gate = gates[1]
  local ways = {
    function(s) lr.sleep(s) end,
    function(s) lr.wait({gate}, {timeout = s}) end,
    function(s) assert(not gate:pget(s)) end,
  }
  local late = {}
  for i = 1, n do
    local seconds = 0.001 * 100 ^ ((i * 0.6180339887) % 1) -- as many short ones as long ones
    local begun = lr.now()
    ways[i % 3 + 1](seconds)
    late[i] = lr.now() - begun - seconds
    assert(late[i] >= -1e-6, "a timeout came early")
  end
  return late
end

local gate = lr.remote(function() lr.sleep(3600) end)()
local n = kit.number("n", 300)
local script = measure(n / 2, {gate})
local task = lr.remote(measure)(n / 2, {gate}):get()
for i = 1, #task do script[#script + 1] = task[i] end
gate:cancel()
kit.latency(script)
