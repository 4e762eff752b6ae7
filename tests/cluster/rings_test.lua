-- rings_test.lua - the rings in shared memory between node processes: that they are used, whoever is killed whenever, that
-- nobody spins while nothing happens, and that nothing grows.

package.path = "tests/lua/?.lua;" .. package.path
local check = require "check"
local child = require "child"

local PRELUDE = [[
local lr = require "luarun"
local function busy(s) local t = lr.now() + s while lr.now() < t do end end
local function read(path) local f = assert(io.open(path)) local s = f:read("*a") f:close() return s end
local function me() return tonumber(read("/proc/self/stat"):match("^%d+")) end
local function others()
  local list, p = {}, io.popen("pgrep -f -P " .. me() .. " '^luarun '")
  for line in p:lines() do list[#list + 1] = tonumber(line) end
  p:close()
  return list
end
-- Rings that a process has mapped: a ring's memory is larger than a bell's.
local function rings(pid)
  local count = 0
  for from, to in read("/proc/" .. pid .. "/maps"):gmatch("(%x+)%-(%x+) rw%-s [^\n]*/memfd:luarun ") do
    if tonumber(to, 16) - tonumber(from, 16) > 65536 then count = count + 1 end
  end
  return count
end
local function until_true(fn, what)
  local deadline = lr.now() + 30
  while not fn() do if lr.now() > deadline then error("not in time: " .. what, 2) end lr.sleep(0.002) end
end
-- Seconds of processor time that a process has used.
local function cpu(pid)
  local user, system = read("/proc/" .. pid .. "/stat"):match("%) %S+" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return (user + system) / 100
end
local function count(path)
  local n, p = 0, io.popen("ls " .. path .. " | wc -l")
  n = tonumber(p:read("*a")) p:close()
  return n
end
]]

local function prints(options, chunk, wanted)
  local out, err, status = child.run(options, PRELUDE .. chunk)
  check.eq({ out, status }, { wanted, 0 }, err)
end

local MEET = [[
    local where = lr.remote(function() busy(0.003) return me() end)
    for i = 1, 20 do where():get() end
]]

check.test("processes of one host go over to rings, each pair; not when told so", function()
  prints("--procs 3 --workers 1", MEET .. [[
    until_true(function() return rings(me()) == 2 end, "two rings here")
    for _, p in ipairs(others()) do until_true(function() return rings(p) == 2 end, "two rings there") end
    print "rings"]], "rings\n")
  local out, err, status = child.run("--procs 2 --workers 0", PRELUDE .. MEET .. [[print(rings(me()))]],
    "LUARUN_RING=0")
  check.eq({ out, status }, { "0\n", 0 }, err)
end)

check.test("large values go through a ring in pieces, both ways at once", function()
  prints("--procs 2 --workers 0", [[
    local echo = lr.remote(function(i, s) return i, s end)
    local futures, text = {}, ("0123456789abcdef"):rep(2^14)
    for i = 1, 60 do futures[i] = echo(i, i .. text) end
    for i = 1, 60 do
      local n, s = futures[i]:get()
      assert(n == i and s == i .. text, "not what was sent")
    end
    print "all"]], "all\n")
end)

check.test("a process that is killed at any moment while it talks: the results are the same, its rings are gone", function()
  prints("--procs 3 --workers 0", [[
    local square = lr.remote(function(i, s) return i * i, #s end)
    local text = ("x"):rep(300)
    for round = 1, 12 do
      until_true(function() return #others() == 2 and rings(me()) == 2 end, "two others, two rings")
      local victim, futures, sum = others()[round % 2 + 1], {}, 0
      for i = 1, 3000 do futures[i] = square(i, text) end
      lr.sleep(math.random() * 0.02)
      os.execute("kill -9 " .. victim)
      for i = 1, 3000 do sum = sum + futures[i]:get() end
      assert(sum == 3000 * 3001 * 6001 / 6, "round " .. round .. ": " .. sum)
    end
    until_true(function() return #others() == 2 and rings(me()) == 2 end, "two others, two rings")
    local fds = count("/proc/self/fd")
    print(fds < 60)]], "true\n")
end)

check.test("a process that is stopped for a while is waited for", function()
  prints("--procs 2 --workers 0", [[
    local square = lr.remote(function(i) return i * i end)
    square(1):get()
    local other, sum, futures = others()[1], 0, {}
    for round = 1, 5 do
      for i = 1, 500 do futures[i] = square(i) end
      os.execute("kill -STOP " .. other)
      lr.sleep(0.05)
      os.execute("kill -CONT " .. other)
      for i = 1, 500 do sum = sum + futures[i]:get() end
    end
    print(sum == 5 * 500 * 501 * 1001 / 6)]], "true\n")
end)

check.test("nobody spins while nothing happens", function()
  prints("--procs 3 --workers 2", MEET .. [[
    lr.sleep(0.2)
    local list, before, after = others(), 0, 0
    list[3] = me()
    for _, p in ipairs(list) do before = before + cpu(p) end
    lr.sleep(3)
    for _, p in ipairs(list) do after = after + cpu(p) end
    local used = after - before
    print(used <= 0.15 and "still" or used)]], "still\n") -- three processes, three seconds: below two in a hundred
end)

check.done()
