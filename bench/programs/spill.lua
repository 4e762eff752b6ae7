-- spill.lua - n= (100,000) small tasks with an argument of bytes= (100) bytes from the script, all got. On one process
-- they run there; with --procs 2 --workers 0 every one goes to the other process, and its number comes back.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local size = lr.remote(function(text) return #text end)
local n, bytes = kit.number("n", 1e5), kit.number("bytes", 100)
local texts = {}
for i = 1, 100 do texts[i] = ("%03d"):format(i) .. ("x"):rep(bytes - 3) end

local function run(count)
  local futures, sum = {}, 0
  for i = 1, count do futures[i] = size(texts[i % 100 + 1]) end
  for i = 1, count do sum = sum + futures[i]:get() end
  assert(sum == count * bytes)
end

run(n)
collectgarbage()
local begun = lr.now()
run(n)
kit.rate(n, lr.now() - begun)
