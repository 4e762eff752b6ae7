-- nested.lua - fib(n), a task for every call, both children tasks, their futures got: n= (27).
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local fib
fib = lr.remote(function(n)
  if n < 2 then return n end
  local a, b = fib(n - 1), fib(n - 2)
  return a:get() + b:get()
end)

local n = kit.number("n", 27)

local function serial(k)
  local a, b = 0, 1
  for _ = 1, k do a, b = b, a + b end
  return a
end

fib(n - 6):get()
local begun = lr.now()
local result = fib(n):get()
local seconds = lr.now() - begun
assert(result == serial(n))
kit.rate(2 * serial(n + 1) - 1, seconds)
