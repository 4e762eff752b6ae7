-- What can never end is said, where it is waited for without a limit: tasks that wait for each other, or for resources that
-- others of them hold. And what only looks like it is let alone.

local check = require "check"
local run = require("child").run

local function child(options, chunk) return run(options, "local lr = require 'luarun'\n" .. chunk) end

local WORDS = "deadlock: nothing runs and nothing can start: %d parked and %d pending tasks wait for each other or for "
  .. "resources that others of them hold"

local RESOURCE = [[
  local inner = lr.remote(function() return 1 end, {resources = {tpu = 1}})
  local outer = lr.remote(function(f) return (f():get()) end, {resources = {tpu = 1}})
]]

check.test("a resource that the waiting parent holds: get, wait, as_completed", function()
  local out, err, status = child("--workers 2 --resources tpu=1", RESOURCE .. [[
    local f = outer(inner)
    print(select(2, f:pget()).message)
    print(select(2, pcall(lr.wait, {f})).message)
    print(select(2, pcall(function() for _ in lr.as_completed{f} do end end)).message)
    f:cancel()
    print(inner():get())]])
  local words = WORDS:format(1, 1)
  check.eq({ out, err, status }, { words .. "\n" .. words .. "\n" .. words .. "\n1\n", "", 0 })
end)

check.test("two tasks that wait for each other", function()
  local out, err, status = child("--workers 1", [[
    local b = lr.remote(function() lr.sleep(0.01) return (package.loaded.box:get()) end)
    local a = lr.remote(function(rf) package.loaded.box = rf() return (package.loaded.box:get()) end)
    a(b):get()]])
  check.eq({ out, status }, { "", 1 })
  check.ok(err:find("luarun: " .. WORDS:format(2, 0), 1, true), err)
end)

check.test("at the end of the script", function()
  local out, err, status = child("--resources tpu=1", RESOURCE .. "local f = outer(inner) print('end')")
  check.eq({ out, status }, { "end\n", 1 })
  check.eq(err, "luarun: the script has ended; waiting for 2 tasks it started (^C ends them)\n"
    .. "luarun: deadlock: nothing runs and nothing can start; these tasks are given up\n")
end)

check.test("not what sleeps, computes, or has a limit", function()
  local out, err, status = child("--workers 2 --resources tpu=1", RESOURCE .. [[
    local nap = lr.remote(function() lr.sleep(2) return "nap" end)
    local spin = lr.remote(function() local t = lr.now() while lr.now() - t < 2 do end return "spin" end)
    local late = lr.remote(function() return "late" end, {deadline = 2, resources = {tpu = 1}})
    local hold = outer(inner)
    while hold:state() ~= "running" do lr.sleep(0.001) end
    local a, b, c = nap(), spin(), late()
    local limited = outer(inner)
    print(select(2, limited:pget(1)).code)
    limited:cancel()
    print(a:get(), b:get(), select(2, c:pget()).code)
    hold:cancel()]])
  check.eq({ out, err, status }, { "timeout\nnap\tspin\tdeadline\n", "", 0 })
end)

check.done()
