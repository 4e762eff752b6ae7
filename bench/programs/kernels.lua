-- kernels.lua - n= (1,000) C kernels of iterations= (5,000,000: about 7 ms) units of work each.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"
local work = require "work"

local n, iterations = kit.number("n", 1000), kit.number("iterations", 5e6)

local function run(count, each)
  local futures = {}
  for i = 1, count do futures[i] = work.work(each, 1) end
  for i = 1, count do futures[i]:get() end
end

run(100, 10)
local begun = lr.now()
run(n, iterations)
kit.rate(n, lr.now() - begun)
