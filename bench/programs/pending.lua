-- pending.lua - n tasks that cannot start yet, their futures held; then all run: n= (1,000,000). Answers with bytes of
-- memory for each while all are pending (futures and the table that holds them included), and seconds for each from
-- the first submit to the last value. Wants --max-pending larger than n.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local n = kit.number("n", 1e6)
local add = lr.remote(function(a, b) return a + b end)
for i = 1, 1000 do add(i, 1):get() end

local keep_busy = lr.remote(function() repeat until lr.cancelled() end)
local busy = {}
for i = 1, lr.resources().cpu do busy[i] = keep_busy() end
while not lr.wait(busy, {timeout = 0}) or busy[#busy]:state() ~= "running" do lr.sleep(0.001) end

collectgarbage()
local before, begun = kit.resident_bytes(), lr.now()
local futures, sum = {}, 0
for i = 1, n do futures[i] = add(i, 1) end
local submitted = lr.now()
local bytes = (kit.resident_bytes() - before) / n
assert(futures[1]:state() == "queued" and futures[n]:state() == "queued")
local resumed = lr.now()
lr.cancel(busy)
for i = 1, n do sum = sum + futures[i]:get() end
local ended = lr.now()
assert(sum == n * (n + 1) / 2 + n)
kit.answer{count = n, bytes = bytes, submit = (submitted - begun) / n, run = (ended - resumed) / n,
           each = (submitted - begun + ended - resumed) / n}
