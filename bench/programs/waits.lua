-- waits.lua - wait for one of n futures, take it out, wait for one of those that are left, until none is: n=
-- (10,000). The tasks run meanwhile; `each`: seconds for each of the n. `found`: seconds of one wait
-- that finds the one of n that is there, all others pending.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local same = lr.remote(function(i) return i end)

local function run(n)
  local futures, sum = {}, 0
  for i = 1, n do futures[i] = same(i) end
  local begun = lr.now()
  while #futures > 0 do
    local ready, pending = lr.wait(futures, {count = 1})
    for i = 1, #ready do sum = sum + ready[i]:get() end
    futures = pending
  end
  local seconds = lr.now() - begun
  assert(sum == n * (n + 1) / 2)
  return seconds / n
end

-- Seconds of a wait for one of n futures, of which just one is there.
local function find(n, times)
  local gate = lr.remote(function() while not lr.cancelled() do lr.sleep(0.01) end end)()
  local after = lr.remote(function(_) end)
  local futures = {}
  for i = 1, n do futures[i] = after(gate) end
  futures[n / 2] = lr.put(true)
  local begun = lr.now()
  for _ = 1, times do
    local ready, pending = lr.wait(futures, {count = 1})
    assert(#ready == 1 and #pending == n - 1)
  end
  local seconds = (lr.now() - begun) / times
  lr.cancel(futures)
  gate:cancel()
  return seconds
end

local n = kit.number("n", 1e4)
run(n)
kit.answer{count = n, each = run(n), found = find(n, 200)}
