-- A task, a future, its value; a task that fails, and its error as a value.
--   luarun examples/hello.lua

local lr = require "luarun"

local greet = lr.remote(function(name)
  return "hello, " .. name
end)

local futures = {}
for i, name in ipairs { "world", "core 1", "core 2" } do futures[i] = greet(name) end -- all at once
for _, f in ipairs(futures) do print(f:get()) end

local divide = lr.remote(function(a, b)
  if b == 0 then error("division by zero", 0) end
  return a / b
end)

print(divide(1, 4):get())
local ok, err = divide(1, 0):pget()
print(ok, err.code, err.message)
