-- The first k of n within a deadline: lr.wait gives what is ready and what is not, and the late ones are cancelled.
--   luarun examples/wait_timeout.lua

local lr = require "luarun"

local work = lr.remote(function(seconds)
  lr.sleep(seconds) -- the worker runs others meanwhile
  return seconds
end)

local futures = {}
for i, seconds in ipairs { 30, 0.01, 20, 0.02, 10 } do futures[i] = work(seconds) end

local started = lr.now()
local ready, pending = lr.wait(futures, { count = 2, timeout = 5 })
print(#ready .. " ready, " .. #pending .. " pending")
for _, f in ipairs(ready) do print("ready", f:get()) end

ready, pending = lr.wait(pending, { timeout = 0.05 })
print(#ready .. " ready, " .. #pending .. " pending")

lr.cancel(pending)
local ok, err = pending[1]:pget()
print(ok, err.code)
print("in less than a second: " .. tostring(lr.now() - started < 1))
