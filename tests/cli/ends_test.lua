-- How programs end, and what they leave: by themselves, by errors, by ^C and other signals, with a closed output;
-- that two at once don't disturb each other; that starting is fast and waiting costs nothing.

package.path = "tests/cli/?.lua;tests/lua/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local SIGINT, SIGTERM, SIGKILL = 2, 15, 9
local PARKED = [[
local lr = require "luarun"
local f = lr.remote(function() lr.sleep(1000) end)()
print "waiting" io.flush()
f:get()]]

local function shm() return kit.shell("ls /dev/shm 2>/dev/null") end

---Everything this process's user would find of a dead program: threads and children of that pid.
local function gone(pid) return kit.read("/proc/" .. pid .. "/stat") == nil end

local function status_of(chunk, options)
  local words = options or {}
  words[#words + 1], words[#words + 2] = "-e", chunk
  local r = kit.run(words)
  return r.status, r
end

-- ---- ends of the program's own ------------------------------------------------------------------------------

check.test("os.exit ends at once while tasks run", function()
  local r = kit.run { "-e", [[
    local lr = require "luarun"
    lr.remote(function() while true do end end)()
    lr.remote(function() lr.sleep(1000) end)()
    io.write "kept"
    os.exit(5)]], seconds = 10 }
  check.eq({ r.status, r.out, r.err }, { 5, "kept", "" })
end)

check.test("os.exit(true) and os.exit(false) with a job", function()
  check.eq(status_of("require('luarun').put(1) os.exit(true)"), 0)
  check.eq(status_of("require('luarun').put(1) os.exit(false)"), 1)
end)

check.test("an error in the script ends at once while tasks run", function()
  local r = kit.run { "-e", [[
    local lr = require "luarun"
    lr.remote(function() while true do end end)()
    print "before"
    error("boom", 0)]], seconds = 10 }
  check.eq({ r.status, r.out }, { 1, "before\n" })
  check.eq(r.err:match("^[^\n]*"), "luarun: boom")
end)

check.test("a script's end waits for its tasks", function()
  local status, r = status_of([[
    local lr = require "luarun"
    lr.remote(function() lr.sleep(0.05) io.write "task\n" io.flush() end)()
    print "script" io.flush()]])
  check.eq({ status, r.out, r.err }, { 0, "script\ntask\n", "" })
end)

check.test("a script's end that waits for long says so, and ^C ends it", function()
  local p = kit.start { "-e", "local lr = require 'luarun' lr.remote(function() lr.sleep(1000) end)()" }
  kit.eventually(function() return p:err() ~= "" end, "a word about the waiting")
  check.eq(p:err(), "luarun: the script has ended; waiting for 1 task it started (^C ends it)\n")
  p:signal(SIGINT)
  check.eq(p:wait(), 130)
end)

check.test("a task's error that the script gets is the script's error", function()
  local status, r = status_of(
    "local lr = require 'luarun' print 'kept' lr.remote(function() error('boom') end)():get()")
  check.eq({ status, r.out }, { 1, "kept\n" })
  check.ok(r.err:find("^luarun: %(command line%):1: boom\n"), r.err)
  check.ok(r.err:find("in task (command line):1", 1, true), r.err)
  check.ok(r.err:find("stack traceback:", 1, true), r.err)
end)

check.test("a result that cannot cross: an error, status 1, and what was done is kept", function()
  local status, r = status_of(
    "local lr = require 'luarun' print 'kept' lr.remote(function() return io.stdout end)():get()")
  check.eq({ status, r.out }, { 1, "kept\n" })
  check.ok(r.err:find("^luarun: not_serializable: result 1: "), r.err)
end)

check.test("a failed task nobody looked at is told at the end; the status stays 0", function()
  local status, r = status_of("local lr = require 'luarun' lr.remote(function() error('boom', 0) end, {name = 'f'})()")
  check.eq(status, 0)
  check.ok(r.err:find("^luarun: 1 failed task nobody looked at:\n  task f %(%x+%) failed: error: boom\n$"), r.err)
end)

check.test("os.exit in a task is refused", function()
  local status, r = status_of("local lr = require 'luarun' print(lr.remote(function() os.exit(3) end)():pget())")
  check.eq(status, 0)
  check.ok(r.out:find("os.exit cannot be called in a task: return, or raise an error", 1, true), r.out)
end)

-- ---- ^C ----------------------------------------------------------------------------------------------------

---^C in a chunk that first prints "waiting": status 130 within seconds, output kept, nothing left.
local function interrupted(name, chunk, options)
  check.test("^C " .. name, function()
    local before = shm()
    local what = options or {}
    what[#what + 1], what[#what + 2] = "-e", chunk
    local p = kit.start(what)
    p:says "waiting"
    p:signal(SIGINT)
    check.eq(p:wait(10), 130)
    check.ok(p:out():find("waiting\n", 1, true), p:out())
    check.eq(p:err(), "")
    check.ok(gone(p.pid), "the process is still there")
    check.eq(shm(), before, "/dev/shm")
  end)
end

interrupted("in a parked get", PARKED)
interrupted("in a loop of the script", "print 'waiting' io.flush() local n = 0 while true do n = n + 1 end")
interrupted("in a loop with calls", "print 'waiting' io.flush() while true do tostring({}) end")
interrupted("in a loop that catches errors", "print 'waiting' io.flush() while true do pcall(error) end")
interrupted("in a C function", [[
  print 'waiting' io.flush()
  string.find(('a'):rep(40), ('a?'):rep(40) .. ('a'):rep(40))]])
interrupted("while tasks loop", [[
  local lr = require 'luarun'
  local spin = lr.remote(function() print 'waiting' io.flush() while true do end end)
  lr.get { spin(), spin(), spin() }]])
interrupted("while tensors are held", [[
  local lr = require 'luarun'
  local t = lr.put(lr.tensor('f64', {1000000}))
  print 'waiting' io.flush()
  lr.remote(function(x) lr.sleep(1000) return x end)(t):get()]])

check.test("^C keeps what was written and not yet flushed", function()
  local p = kit.start { "-e", "io.write('unflushed') io.stderr:write('ready') while true do end" }
  kit.eventually(function() return p:err() == "ready" end, "the program is ready")
  p:signal(SIGINT)
  check.eq(p:wait(10), 130)
  check.eq(p:out(), "unflushed")
end)

check.test("^C while reading standard input", function()
  os.execute("mkfifo " .. kit.folder .. "/fifo")
  local writer = kit.start { "300", program = "sleep", out = ">" .. kit.folder .. "/fifo" }
  local p = kit.start { "-e", "io.stderr:write('ready') io.read()", input = kit.folder .. "/fifo" }
  kit.eventually(function() return p:err() == "ready" end, "the program is ready")
  p:signal(SIGINT)
  check.eq(p:wait(10), 130)
  writer:signal(SIGKILL)
  writer:wait()
end)

-- ---- other signals -----------------------------------------------------------------------------------------

for name, number in pairs { SIGTERM = SIGTERM, SIGKILL = SIGKILL } do
  check.test(name .. " ends it and leaves nothing", function()
    local before = shm()
    local p = kit.start { "-e", "local t = require('luarun').tensor('f64', {1000000}) " .. PARKED }
    p:says "waiting"
    check.eq(shm(), before, "/dev/shm while it runs: the store's memory has no name")
    p:signal(number)
    check.eq(p:wait(10), 128 + number)
    check.ok(gone(p.pid), "the process is still there")
    check.eq(shm(), before, "/dev/shm")
  end)
end

check.test("a later start finds nothing in its way", function()
  local p = kit.start { "-e", PARKED }
  p:says "waiting"
  p:signal(SIGKILL)
  p:wait()
  check.eq(status_of("print(require('luarun').put(1):get())"), 0)
end)

check.test("what a program killed while it compiled a kernel left is swept by a later compile", function()
  local cache = kit.folder .. "/cache/luarun/kernels"
  os.execute("mkdir -p " .. cache .. " && chmod 700 " .. kit.folder .. "/cache/luarun " .. cache)
  local function left() return kit.shell("ls " .. cache .. " | grep '^build-'") end
  kit.file("slow-cc", "#!/bin/sh\necho $$ >" .. kit.folder .. "/compiling\nexec sleep 300\n")
  os.execute("chmod +x " .. kit.folder .. "/slow-cc")
  local chunk = [[require('luarun').kernels { name = 'k', source = "#include <luarun/kernel.h>\n"
    .. "static int f(lr_call *c) { return lr_return_nil(c); } LR_KERNELS({\"f\", f, \"\", \"\", {0}})" } print 'ok']]
  local env = { XDG_CACHE_HOME = kit.folder .. "/cache", CC = kit.folder .. "/slow-cc" }
  local p = kit.start { "-e", chunk, env = env }
  local compiler = kit.eventually(function()
    return tonumber(kit.read(kit.folder .. "/compiling") or "")
  end, "the compiler runs")
  p:signal(SIGKILL)
  p:wait()
  require("ffi").C.kill(compiler, SIGKILL)
  check.ok(left() ~= "", "the killed program left its build directory")
  env.CC = "cc"
  check.eq(kit.run({ "-e", chunk:gsub("'k'", "'k1'"), env = env }).out, "ok\n")
  check.ok(left() ~= "", "a young one may be somebody's who still compiles")
  os.execute("touch -d '2 hours ago' " .. cache .. "/build-*")
  check.eq(kit.run({ "-e", chunk:gsub("'k'", "'k2'"), env = env }).out, "ok\n")
  check.eq(left(), "", "build directories in the cache")
end)

-- ---- closed outputs ----------------------------------------------------------------------------------------

check.test("a reader that goes away ends the writer as it ends luajit", function()
  local function piped(program)
    return kit.shell("bash -c '" .. program ..
      [[ -e "for i = 1, 1e6 do print(i) end" | head -n 1; echo ${PIPESTATUS[0]}']])
  end
  check.eq(piped(kit.luarun), "1\n141")
  check.eq(piped(kit.luajit), "1\n141")
end)

check.test("a closed standard output", function()
  kit.same { "-e", "print(1) io.stderr:write(tostring(io.write('x')), '\\n')", out = ">&-" }
end)

check.test("a full device", function()
  kit.same { "-e", "io.stderr:write(tostring(io.write(('x'):rep(1e6))), '\\n')", out = ">/dev/full" }
end)

-- ---- two at once ---------------------------------------------------------------------------------------------

check.test("two at once: one's end does not disturb the other", function()
  local work = [[
    local lr = require "luarun"
    local t = lr.put(lr.tensor("f64", {100000}):fill(1))
    local sum = lr.remote(function(x, from)
      local s = 0
      for i = from, from + 999 do s = s + x:get(i) end
      return s
    end)
    print "waiting" io.flush()
    io.read() -- until the other is gone
    local list = {}
    for i = 1, 100 do list[i] = sum(t, (i - 1) * 1000 + 1) end
    local all = 0
    for _, s in ipairs(lr.get(list)) do all = all + s end
    print(all)]]
  os.execute("mkfifo " .. kit.folder .. "/gate")
  local first = kit.start { "-e", work, input = kit.folder .. "/gate" }
  local gate = assert(io.open(kit.folder .. "/gate", "w"))
  first:says "waiting"
  local second = kit.start { "-e", PARKED }
  second:says "waiting"
  check.eq(status_of("print(require('luarun').put(1):get())"), 0)
  second:signal(SIGKILL)
  second:wait()
  gate:write("go\n")
  gate:close()
  check.eq(first:wait(), 0, first:err())
  check.eq(first:out(), "waiting\n100000\n")
end)

-- ---- what it costs ---------------------------------------------------------------------------------------------

local ffi = require "ffi"
ffi.cdef [[
  struct kit_time { long s, ns; };
  int clock_gettime(int, struct kit_time *);
]]
local function now()
  local t = ffi.new("struct kit_time")
  ffi.C.clock_gettime(1, t)
  return tonumber(t.s) + tonumber(t.ns) * 1e-9
end

---Median seconds of each command, taken in turns, a shell around it counted in.
local function medians(...)
  local commands, times = { ... }, {}
  for i = 1, 41 do
    for k, command in ipairs(commands) do
      times[k] = times[k] or {}
      local start = now()
      os.execute("exec " .. command)
      times[k][i] = now() - start
    end
  end
  for k in ipairs(commands) do
    table.sort(times[k])
    times[k] = times[k][21]
  end
  return unpack(times)
end

-- On a machine that is busy with other things luajit's own start tells how much slower everything is.
check.test("luarun -e '' takes under 10 ms", function()
  local ours, theirs = medians(kit.luarun .. " -e ''", kit.luajit .. " -e ''")
  print(("# luarun -e '': %.2f ms, luajit -e '': %.2f ms, ratio %.2f"):format(ours * 1e3, theirs * 1e3, ours / theirs))
  check.ok(ours < math.max(0.010, 2 * theirs), ("%.2f ms, luajit %.2f ms"):format(ours * 1e3, theirs * 1e3))
end)

check.test("a program with one task takes under 20 ms", function()
  local ours, theirs = medians(kit.luarun .. " -e \"require('luarun').remote(function() end)():get()\"",
    kit.luajit .. " -e ''")
  print(("# a program with one task: %.2f ms, luajit -e '': %.2f ms"):format(ours * 1e3, theirs * 1e3))
  check.ok(ours < math.max(0.020, 6 * theirs), ("%.2f ms, luajit %.2f ms"):format(ours * 1e3, theirs * 1e3))
end)

---User and system time of a process so far, in clock ticks (10 ms).
local function ticks(pid)
  local fields = kit.read("/proc/" .. pid .. "/stat"):match("%) (.*)")
  local n, sum = 0, 0
  for field in fields:gmatch("%S+") do
    n = n + 1
    if n == 12 or n == 13 then sum = sum + tonumber(field) end
  end
  return sum
end

check.test("a parked get uses no cpu", function()
  local p = kit.start { "--workers", "4", "-e", PARKED }
  p:says "waiting"
  local settled = -1
  kit.eventually(function() -- the spin before the sleep is over
    local before = settled
    settled = ticks(p.pid)
    kit.sleep(0.05)
    return settled == before
  end, "it stops using the cpu")
  kit.sleep(2) -- what is measured
  local used = ticks(p.pid) - settled
  p:signal(SIGINT)
  check.eq(p:wait(), 130)
  check.ok(used <= 1, used * 10 .. " ms of cpu in two seconds")
end)

-- The unwinder of libgcc aborts where it meets compiled Lua code.
check.test("a crash in the midst of compiled Lua code ends the process by its signal", function()
  local p = kit.start { "--workers", "1", "-e", [[
    require "luarun".remote(function() end)():get() -- what tells of crashes is there now
    local t = {}
    for i = 1, 100 do t[i] = i end
    print "going" io.stdout:flush()
    while true do for i = 1, 100 do t[i] = math.floor(t[i] * 1.01) % 97 end end]] }
  p:says("going")
  kit.sleep(0.05) -- it may be compiled by now; it ends in the same way if not
  p:signal(11)
  check.eq(p:wait(), 128 + 11)
  check.ok(p:err():find("^luarun: crashed: SIGSEGV "), p:err())
end)

kit.done()
