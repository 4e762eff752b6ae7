-- tensor.lua - a tensor of bytes= (100,000,000) made by a task in one node process and read by the script in another: n=
-- (20) of them; the time from the get of a future that is ready to the first and the last element. Wants --procs 2
-- --workers 0.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

assert(lr.stats().workers == 0 and lr.stats().procs > 1, "--procs 2 --workers 0 wanted")
local make = lr.remote(function(count, x) return lr.tensor("f64", {count}):fill(x) end)
local count = kit.number("bytes", 1e8) / 8
local seconds = {}
for i = 1, kit.number("n", 20) do
  local f = make(count, i)
  lr.wait{f}
  local begun = lr.now()
  local t = f:get()
  assert(t:get(1) == i and t:get(count) == i)
  seconds[i] = lr.now() - begun
  t, f = nil, nil
  collectgarbage()
end
kit.latency(seconds)
