-- elsewhere.lua - one empty task that runs in another node process, and its end: n= (2,000), pause= seconds between two
-- (0). Wants a script's process without workers (--procs 2 --workers 0): nothing runs at home then.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local empty = lr.remote(function() end)

local n, pause = kit.number("n", 2000), kit.number("pause", 0)
assert(lr.stats().workers == 0 and lr.stats().procs > 1, "--procs 2 --workers 0 wanted")

local function run(count)
  local seconds = {}
  for i = 1, count do
    if pause > 0 then lr.sleep(pause) end
    local begun = lr.now()
    empty():get()
    seconds[i] = lr.now() - begun
  end
  return seconds
end

run(n / 10)
kit.latency(run(n))
