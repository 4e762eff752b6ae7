-- Tasks that start tasks and wait for them, to any depth: a worker whose task waits runs others meanwhile.
-- A future passed to a task is a dependency: the task starts when the value is there.
--   luarun examples/nested.lua

local lr = require "luarun"

local fib
fib = lr.remote(function(n)
  if n < 2 then return n end
  local a, b = fib(n - 1), fib(n - 2)
  return a:get() + b:get()
end)
print("fib(20)", fib(20):get())

local add = lr.remote(function(a, b) return a + b end)
local sum = lr.put(0)
for i = 1, 100 do sum = add(sum, i) end -- a chain: nobody waits in between
print("1 + ... + 100", sum:get())

local deep
deep = lr.remote(function(n)
  if n == 0 then return 0 end
  return 1 + deep(n - 1):get()
end)
print("10,000 deep", deep(10000):get())
