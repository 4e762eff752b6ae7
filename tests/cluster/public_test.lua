-- public_test.lua - node agents and drivers on a real Redis: jobs find nodes, nodes find jobs, and the dead leave nothing.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"
local redis = require "redis"

if os.execute("command -v redis-server >/dev/null") ~= 0 then
  check.skip("public clusters", "redis-server is not installed")
  return check.done()
end

local server = redis.start()

-- In it: `pid()`; `work(s)` makes a remote function that works so long and says which process it was.
local PRELUDE = [[
local lr = require "luarun"
local function pid() local f = io.open("/proc/self/stat") local n = f:read("*n") f:close() return n end
local function busy(s) local t = lr.now() + s while lr.now() < t do end end
local function say(...) print(...) io.stdout:flush() end
local where = lr.remote(function(s) busy(s) return pid() end)
local function exists(path) local f = io.open(path) if f then f:close() end return f ~= nil end
-- Gives work until so many processes other than the script's have done some, for 20 s at most.
local function spread(wanted)
  local seen, count, deadline = { [pid()] = true }, 0, lr.now() + 20
  while count < wanted and lr.now() < deadline do
    local list = {}
    for i = 1, 8 do list[i] = where(0.005) end
    for i = 1, 8 do
      local p = list[i]:get()
      if not seen[p] then seen[p], count = true, count + 1 end
    end
  end
  return count, seen
end
]]

local function driver(chunk, what)
  what = what or {}
  local words = { "--workers", what.workers or "1", "--cluster", what.url or server.url, "-e", PRELUDE .. chunk }
  words.env, words.seconds = what.env, what.seconds
  return words
end

local function run(chunk, what) return kit.run(driver(chunk, what)) end

local function prints(chunk, wanted, what)
  local r = run(chunk, what)
  check.eq({ r.out, r.status }, { wanted, 0 }, r.err)
  return r
end

local function stop(...)
  for _, node in ipairs { ... } do
    node:signal(15)
    check.eq(node:wait(), 0, node:err())
  end
end

check.test("a script runs on every node of the cluster, and its row is gone afterwards", function()
  local a, b = server:node(), server:node()
  server:has(2, "node")
  check.eq(prints("say((spread(2)))", "2\n").err, "")
  check.eq(server:rows("job"), 0)
  kit.eventually(function() return #redis.children(a.pid) + #redis.children(b.pid) == 0 end, "job processes end")
  stop(a, b)
  check.eq(server:rows("node"), 0)
  check.eq(a:err() .. b:err(), "")
end)

check.test("a driver without workers is a pure client", function()
  local a = server:node()
  server:has(1, "node")
  prints("local n, seen = spread(1) seen[pid()] = nil say(n, next(seen) ~= nil)", "1\ttrue\n", { workers = "0" })
  stop(a)
end)

check.test("a script without a node runs alone; without workers too, it says that it waits, and the first node does it",
  function()
    prints("say(where(0):get() == pid())", "true\n")
    local p = kit.start(driver("say(where(0):get() ~= pid())", { workers = "0" }))
    kit.eventually(function() return p:err():find("\n") end, "a word of warning")
    check.eq(p:err(), "luarun: no node is registered in this cluster, and this one has no workers: tasks wait for one "
      .. "(luarun node --cluster ...)\n")
    local a = server:node()
    check.eq(p:wait(), 0, p:err())
    check.eq(p:out(), "true\n")
    stop(a)
  end)

check.test("a node that joins while a job runs gets work", function()
  local mark = kit.folder .. "/joins"
  local p = kit.start(driver(("spread(1) say 'one' while not exists(%q) do spread(0) lr.sleep(0.001) end say((spread(2)))")
    :format(mark)))
  local a = server:node()
  p:says("one")
  local b = server:node()
  server:has(2, "node")
  kit.file("joins", "")
  check.eq(p:wait(), 0, p:err())
  check.eq(p:out(), "one\n2\n")
  stop(a, b)
end)

check.test("two jobs at once are apart: each its own processes, the same ids by the same seed, both right", function()
  local a = server:node()
  server:has(1, "node")
  local chunk = [[
    local note = lr.remote(function(v) package.loaded.mine = package.loaded.mine or v busy(0.005) return package.loaded.mine end)
    local function all()
      local list, others = {}, 0
      for i = 1, 40 do list[i] = note(NAME) end
      for i = 1, 40 do if list[i]:get() ~= NAME then others = others + 1 end end
      return others
    end
    spread(1)
    say("ready")
    while not exists(MARK) do lr.sleep(0.001) end
    say(all(), lr.remote(function() return lr.task().id end)():get())]]
  local jobs = {}
  for i = 1, 2 do
    local text = chunk:gsub("NAME", ("%q"):format("job" .. i)):gsub("MARK", ("%q"):format(kit.folder .. "/both"))
    local words = driver(text)
    table.insert(words, 1, "--seed=7")
    jobs[i] = kit.start(words)
  end
  for i = 1, 2 do jobs[i]:says("ready") end
  check.eq(server:rows("job"), 2)
  check.eq(#redis.children(a.pid), 2)
  kit.file("both", "")
  for i = 1, 2 do
    check.eq(jobs[i]:wait(), 0, jobs[i]:err())
    check.ok(jobs[i]:out():find("^ready\n0\t%x+\n$"), jobs[i]:out())
  end
  stop(a)
end)

check.test("two jobs share what a machine has once, and what a killed one held is free", function()
  local a = server:node { "--workers", "3", "--resources", "gate=2,wide=1.5" }
  server:has(1, "node")
  local path = kit.file("gate", "")
  local chunk = ([[
    local path = %q
    local through = lr.remote(function(s)
      local function note(c) local f = io.open(path, "a") f:write(c) f:close() end
      note("+") lr.sleep(s) note("-") -- an append of a byte is whole
      return 1
    end)
    local gate, wide = through:with { resources = { gate = 1 } }, through:with { resources = { gate = 1, wide = 1 } }
    MORE
    local list, sum = {}, 0
    for i = 1, 20 do list[i] = (i %% 5 == 0 and wide or gate)(0.01) end
    for i = 1, 20 do sum = sum + list[i]:get(20) end
    say(sum)]]):format(path)
  local holder = kit.start(driver(chunk:gsub("MORE", "gate(600) say('held') lr.sleep(600)"), { workers = "0" }))
  holder:says("held")
  kit.eventually(function() return #kit.read(path) == 1 end, "one place is held")
  local jobs = {}
  for i = 1, 2 do jobs[i] = kit.start(driver(chunk:gsub("MORE", ""), { workers = "0" })) end
  kit.eventually(function() return #kit.read(path) > 10 end, "the others go through the other place")
  holder:signal(9)
  for i = 1, 2 do
    check.eq(jobs[i]:wait(), 0, jobs[i]:err())
    check.eq(jobs[i]:out(), "20\n")
  end
  local inside, most = 0, 0
  for c in kit.read(path):gmatch(".") do
    inside = inside + (c == "+" and 1 or -1)
    most = math.max(most, inside)
  end
  check.ok(most <= 3, kit.read(path) .. ": at most two at once, and the mark of the one that was killed: " .. most)
  kit.eventually(function() return server:rows("job") == 0 end, "the row of the killed one goes")
  stop(a)
end)

check.test("a job process that is killed: the results are the same, another takes its place, and it is told", function()
  local a = server:node()
  server:has(1, "node")
  local chunk = [[
    local n, seen = spread(1)
    seen[pid()] = nil
    local victim = next(seen)
    local square, list, sum = lr.remote(function(i) busy(0.005) return i * i end), {}, 0
    for i = 1, 100 do list[i] = square(i) end
    os.execute("kill -9 " .. victim)
    for i = 1, 100 do sum = sum + list[i]:get() end
    local again, there = spread(1)
    say(sum, again, there[victim])]]
  -- the driver waits 500 ms for the agent's word: on a very busy machine that may be too short
  kit.eventually(function()
    local r = prints(chunk, "338350\t1\tnil\n")
    check.ok(r.err:find("^luarun: node %x+ is lost [^\n]*its %d+ tasks are run again\n$"), r.err)
    return r.err:find("lost %(process %d+: was killed by signal 9 %(Killed%)%);")
  end, "the driver says how it died")
  check.ok(a:err():find("^luarun: node: job %-e: process %d+ was killed by signal 9 %(Killed%); another is started\n"),
    a:err())
  kit.eventually(function() return server:rows("event") == 0 end, "what was said goes with the job")
  check.ok(server:ask("LRANGE 'luarun:{default}:log:error:all' 0 -1"):find("code=node_died function=%-: on %S+ process %d+ "
    .. "was killed by signal 9 %(Killed%)"))
  stop(a)
end)

check.test("an agent that is killed: its job processes go with it, the work is done elsewhere, its row is swept", function()
  local a, b = server:node(), server:node()
  server:has(2, "node")
  local mark = kit.folder .. "/agent"
  local p = kit.start(driver(([[
    spread(2)
    local square, list, sum = lr.remote(function(i) busy(0.01) return i * i end), {}, 0
    for i = 1, 100 do list[i] = square(i) end
    say "ready"
    while not exists(%q) do lr.sleep(0.001) end
    for i = 1, 100 do sum = sum + list[i]:get() end
    say(sum)]]):format(mark)))
  p:says("ready")
  local processes = redis.children(a.pid)
  check.eq(#processes, 1)
  a:signal(9)
  redis.ends(processes[1])
  kit.file("agent", "")
  check.eq(p:wait(), 0, p:err())
  check.eq(p:out(), "ready\n338350\n")
  server:has(1, "node")
  check.ok(b:err():find("luarun: node: node %x+ is dead: no sign of life; its row is deleted\n"), b:err())
  stop(b)
end)

check.test("a driver that is killed: its job processes end, and all that it had in the tables goes", function()
  local a = server:node()
  server:has(1, "node")
  local p = kit.start(driver("spread(1) say 'ready' lr.sleep(60)"))
  p:says("ready")
  local processes = redis.children(a.pid)
  check.eq(#processes, 1)
  check.eq(server:rows("job"), 1)
  p:signal(9)
  redis.ends(processes[1])
  server:has(0, "job")
  kit.eventually(function() return #redis.children(a.pid) == 0 end, "no other is started")
  kit.eventually(function()
    return server:ask("LRANGE 'luarun:{default}:log:job:history' 0 -1"):find("status=lost")
  end, "a line in the history")
  stop(a)
end)

check.test("a driver that is stopped for longer than its lease is taken for dead, comes back, and ends right", function()
  local a = server:node()
  server:has(1, "node")
  local mark = kit.folder .. "/again"
  local p = kit.start(driver(([[spread(1) say "ready" while not exists(%q) do lr.sleep(0.001) end say((spread(1)))]])
    :format(mark)))
  p:says("ready")
  p:signal(19)
  server:has(0, "job")
  kit.eventually(function() return #redis.children(a.pid) == 0 end, "its process ends")
  p:signal(18)
  server:has(1, "job")
  kit.file("again", "")
  check.eq(p:wait(), 0, p:err())
  check.eq(p:out():sub(1, 8), "ready\n1\n")
  check.ok(p:err():find("luarun: --cluster: this job's row was gone: it was taken for dead", 1, true), p:err())
  check.eq(server:rows("job"), 0)
  stop(a)
end)

check.test("plain luajit joins by LUARUN_CLUSTER and by lr.init", function()
  local a = server:node()
  server:has(1, "node")
  local lua = kit.luarun:match("^(.*)/luarun$") .. "/lua/?.so"
  local chunk = ("package.cpath = %q .. package.cpath package.path = %q .. package.path "):format(lua .. ";",
    kit.top .. "/lua/?.lua;" .. kit.top .. "/lua/?/init.lua;")
  local function lua_run(more, env)
    return kit.run { program = kit.luajit, "-e", chunk .. more, env = env }
  end
  local work = [[local away = 0
    local home = lr.stats() and lr.remote(function() return 1 end)():get()
    for i = 1, 3 do away = away + lr.remote(function() return 2 end)():get() end
    print(home + away)]]
  local r = lua_run("local lr = require 'luarun' " .. work, { LUARUN_CLUSTER = server.url })
  check.eq({ r.out, r.err, r.status }, { "7\n", "", 0 })
  r = lua_run(("local lr = require 'luarun' lr.init { cluster = %q, workers = 0 } "):format(server.url) .. work)
  check.eq({ r.out, r.err, r.status }, { "7\n", "", 0 })
  r = lua_run("local lr = require 'luarun' lr.init { cluster = 'unix:///none' } lr.remote(function() end)()")
  check.eq(r.status, 1)
  check.ok(r.err:find("--cluster: redis at /none: No such file or directory", 1, true), r.err)
  check.eq(server:rows("job"), 0)
  stop(a)
end)

check.test("many short jobs leave nothing: no row, no process, no segment", function()
  local shm = kit.shell("ls /dev/shm")
  local a = server:node()
  server:has(1, "node")
  for _ = 1, 30 do
    check.eq(kit.run(driver("where(0):get()")).status, 0)
  end
  check.eq(server:rows("job"), 0)
  kit.eventually(function() return #redis.children(a.pid) == 0 end, "job processes end")
  stop(a)
  check.eq(server:keys_left(), {})
  check.eq(kit.shell("ls /dev/shm"), shm)
end)

check.test("Redis is killed: the job goes on, the cluster comes together again with a new one", function()
  local other = redis.start()
  local a = other:node()
  other:has(1, "node")
  local mark, mended = kit.folder .. "/killed", kit.folder .. "/mended"
  local p = kit.start(driver(([[
    spread(1)
    say "ready"
    while not exists(%q) do lr.sleep(0.001) end
    say((spread(1)))
    while not exists(%q) do lr.sleep(0.001) end
    say((spread(1)))]]):format(mark, mended), { url = other.url }))
  p:says("ready")
  other.process:signal(9)
  other.process:wait()
  os.remove(other.socket)
  kit.file("killed", "")
  p:says("ready\n1\n")
  other:begin() -- empty
  other:has(1, "node")
  other:has(1, "job")
  kit.file("mended", "")
  check.eq(p:wait(), 0, p:err())
  check.eq(p:out(), "ready\n1\n1\n")
  stop(a)
  check.eq(other:keys_left(), {})
  other:stop()
end)

server:stop()
kit.done()
