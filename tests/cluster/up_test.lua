-- up_test.lua - luarun up, status, list and down: a whole cluster in the background, looked at, killed in parts, ended.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"
local redis = require "redis"

if os.execute("command -v redis-server >/dev/null") ~= 0 then
  check.skip("luarun up", "redis-server is not installed")
  return check.done()
end

local STATE = kit.folder .. "/state"
local env = { XDG_STATE_HOME = STATE }

local function luarun(...) return kit.run { env = env, ... } end

local function good(...)
  local r = luarun(...)
  check.eq({ r.status, r.err }, { 0, "" }, r.out)
  return r.out
end

local function bad(line, ...)
  local r = luarun(...)
  check.eq({ r.status, r.out, r.err }, { 1, "", line .. "\n" })
end

local function url_of(out) return out:match("^luarun %-%-cluster '?([^'\n]+)'?\n$") end

---Processes that know the state folder: the cluster's, all but the job processes.
local function supervisor(name)
  return tonumber((kit.read(STATE .. "/luarun/" .. (name or "default") .. "/lock") or ""):match("%d+"))
end

local function kind(pid) return (kit.read("/proc/" .. pid .. "/comm") or ""):match("[^\n]*") end

local function parts(name)
  local agents, server = {}, nil
  for _, pid in ipairs(redis.children(supervisor(name))) do
    if kind(pid) == "redis-server" then server = pid else agents[#agents + 1] = pid end
  end
  return agents, server
end

local function no_files(what)
  check.eq(kit.shell("find " .. kit.quote(STATE) .. " -mindepth 1 2>/dev/null"), "", what)
end

local function nodes(...)
  local _, count = luarun("list", "nodes", "--json", ...).out:gsub('"id":', "")
  return count
end

local SPREAD = [[
local lr = require "luarun"
local function pid() local f = io.open("/proc/self/stat") local n = f:read("*n") f:close() return n end
local where = lr.remote(function() local t = lr.now() + 0.005 while lr.now() < t do end return pid() end)
local seen, count, deadline = { [pid()] = true }, 0, lr.now() + 20
while count < 2 and lr.now() < deadline do
  local list = {}
  for i = 1, 8 do list[i] = where() end
  for i = 1, 8 do
    local p = list[i]:get()
    if not seen[p] then seen[p], count = true, count + 1 end
  end
end
print(count)]]

---A case; whatever becomes of it, no cluster is left to the next.
local function test(name, fn)
  check.test(name, fn)
  for _, cluster in ipairs { "default", "lab", "two" } do luarun("down", "--name", cluster) end
end

test("up, status, list, a script, down: everything is there, and then nothing", function()
  local shm = kit.shell("ls /dev/shm")
  local url = url_of(good("up", "--nodes", "2", "--workers", "1"))
  check.ok(url and url:find("^unix:///"), url)
  check.eq(kit.shell("stat -c %a " .. STATE .. "/luarun/default " .. STATE .. "/luarun/default/*"),
    "700\n600\n600\n700\n600\n600")
  local screen = good("status")
  check.ok(screen:find("version 7", 1, true) or screen:find("version 6", 1, true), screen)
  check.ok(screen:find("\nnodes 2: cpu 2, memory ", 1, true) and screen:find("\njobs 0 (0 over", 1, true), screen)
  check.eq(nodes(), 2)
  check.eq(good("--workers", "1", "--cluster", url, "-e", SPREAD), "2\n")
  check.ok(good("list", "jobs"):find("%x+  ok +%S+ +.-%-e\n"))
  check.ok(good("list", "jobs", "state=ok", "--json"):find('"state":"ok"', 1, true))
  check.eq(good("list", "jobs", "state=live", "--json"), "[]\n")
  local all, leader = { parts() }, supervisor()
  check.eq({ #all[1], kind(all[2]) }, { 2, "redis-server" })
  check.eq(good("down"), "")
  redis.ends(leader) -- it is on its way out
  for _, pid in ipairs { all[2], all[1][1], all[1][2] } do check.ok(not redis.lives(pid), "process " .. pid) end
  no_files()
  check.eq(kit.shell("ls /dev/shm"), shm)
end)

test("a job goes on when its cluster is taken down; --watch shows a screen again and again", function()
  local url = url_of(good("up", "--workers", "1"))
  local mark = kit.folder .. "/down"
  local p = kit.start { env = env, "--workers", "1", "--cluster", url, "-e", ([[
    local lr = require "luarun"
    local square = lr.remote(function(i) local t = lr.now() + 0.01 while lr.now() < t do end return i * i end)
    local list, sum = {}, 0
    for i = 1, 50 do list[i] = square(i) end
    print "going" io.stdout:flush()
    while not io.open(%q) do lr.sleep(0.001) end
    for i = 1, 50 do list[50 + i] = square(i) end
    for i = 1, 100 do sum = sum + list[i]:get() end
    print(sum)]]):format(mark) }
  p:says("going")
  local watch = kit.start { env = env, "status", "--watch" }
  kit.eventually(function() return select(2, watch:out():gsub("\njobs 1 ", "")) >= 2 end, "two screens")
  watch:signal(2)
  check.ok(watch:wait() ~= 0)
  good("down")
  kit.file("down", "")
  check.eq(p:wait(), 0, p:err())
  check.eq(p:out(), "going\n85850\n")
  check.ok(p:err():find("luarun: %-%-cluster: redis at [^\n]+\n"), p:err())
  no_files()
end)

test("the console takes the cluster that is up here, and lr.nodes() tells of its nodes", function()
  good("up", "--nodes", "2", "--workers", "1")
  local r = kit.run { env = env, "console", stdin = "#lr.nodes()\nlr.nodes()[2].resources.cpu\nlr.nodes()[3].state\n" }
  check.eq(r.status, 0, r.err)
  check.ok(r.out:find("3\n1\n") and r.out:find("up", 1, true), r.out .. r.err)
  r = kit.run { env = env, "-E", "console", stdin = "#lr.nodes()\n" }
  check.ok(r.out:find("1\n"), r.out .. r.err)
  good("down")
  r = kit.run { env = env, "console", stdin = "#lr.nodes()\n" }
  check.ok(r.out:find("1\n"), r.out .. r.err)
end)

test("an error that nobody looked at is listed, with its time", function()
  local url = url_of(good("up"))
  local p = kit.start { env = env, "--cluster", url, "-e", [[local lr = require "luarun"
    local f = lr.remote(function() error("boom", 0) end)()
    lr.wait { f }
    f = nil
    while true do collectgarbage() lr.sleep(0.01) end]] }
  local line
  kit.eventually(function()
    line = good("list", "errors")
    return line:find("boom", 1, true)
  end, "it is listed")
  p:signal(2)
  p:wait()
  check.ok(line:find("\n1 +%d+%.%d s ago +%x+ +error +[^\n]*boom\n"), line)
  check.ok(good("list", "errors", "--json", "code=error"):find('"message":"[^"]*boom"'))
  check.eq(good("list", "functions", "--json"), "[]\n")
end)

test("the secret is on no command line and not in Redis; LUARUN_CLUSTER names the cluster", function()
  local url = url_of(good("up"))
  local secret = kit.read(STATE .. "/luarun/default/secret"):match("%x+")
  local p = kit.start { "--cluster", url, "--workers", "0", "-e",
    "local lr = require 'luarun' lr.remote(function() end)():get() print 'there' io.stdout:flush() lr.sleep(60)", env = env }
  p:says("there")
  check.ok(#secret == 64 and not kit.shell("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"):find(secret, 1, true))
  local socket = url:match("^unix://(.*)$")
  check.eq(kit.shell(("redis-cli -s %s EVAL %s 0 %s"):format(socket, kit.quote [[
    local rows, found = 0, 0
    for _, k in ipairs(redis.call('KEYS', '*')) do
      if redis.call('TYPE', k).ok == 'string' then
        rows = rows + 1
        if redis.call('GET', k):find(ARGV[1], 1, true) then found = found + 1 end
      end
    end
    return rows .. ' ' .. found]], secret)), "4 0") -- a node, a job, the format, the version
  check.ok(kit.run({ "list", "jobs", env = { LUARUN_CLUSTER = url } }).out:find("  live  ", 1, true))
  -- without the file, the secret is not known
  local r = kit.run { "node", "--cluster", kit.shell("cat /proc/" .. redis.children(parts()[1])[1] .. "/cmdline | tr '\\0' '\n'")
    :match("tcp://[%d.:]+"), env = { LUARUN_SECRET = "another" } }
  check.eq(r.status, 1)
  check.ok(r.err:find("^luarun: node: [^\n]*do not have the same secret[^\n]*\n$"), r.err)
  p:signal(9)
  good("down")
  no_files()
end)

test("one at a time under a name, and others under other names", function()
  good("up")
  bad(("luarun: up: cluster 'default' is up already (process %d): end it with luarun down, or give another --name")
    :format(supervisor()), "up")
  local url = url_of(good("up", "--name", "lab"))
  check.ok(url:find("?cluster=lab", 1, true), url)
  check.eq({ nodes(), nodes("--name", "lab") }, { 1, 1 })
  good("down")
  check.eq(nodes("--name", "lab"), 1)
  bad("luarun: status: which cluster? give --cluster URL, set LUARUN_CLUSTER, or start one here: luarun up", "status")
  bad("luarun: list: no cluster 'x' is up here", "list", "nodes", "--name", "x")
  good("down", "--name", "lab")
  bad("luarun: down: no cluster 'lab' is up here (luarun up starts one)", "down", "--name", "lab")
  no_files()
end)

test("an agent or redis-server that is killed is started again, and the tables are as they were", function()
  local url = url_of(good("up", "--nodes", "2", "--workers", "1"))
  good("--cluster", url, "-e", "require('luarun').remote(function() end)():get()")
  local agents, server = parts()
  kit.shell("kill -9 " .. agents[1])
  kit.eventually(function()
    local now = parts()
    return #now == 2 and now[1] ~= agents[1] and now[2] ~= agents[1] and nodes("state=live") == 2
  end, "another agent is registered")
  kit.shell("kill -9 " .. server)
  kit.eventually(function() return select(2, parts()) and select(2, parts()) ~= server end, "another redis-server runs")
  kit.eventually(function() return nodes("state=live") == 2 and nodes() == 2 end, "two nodes, and the dead one is swept")
  check.ok(good("list", "jobs"):find("  ok  ", 1, true), "the history is still there")
  check.eq(good("--workers", "1", "--cluster", url, "-e", SPREAD), "2\n")
  good("down")
  no_files()
end)

test("a supervisor that is killed takes all with it; the next up clears what it left, and so does down", function()
  for _, after in ipairs { "up", "down" } do
    good("up", "--nodes", "2")
    local agents, server = parts()
    kit.shell("kill -9 " .. supervisor())
    for _, pid in ipairs { agents[1], agents[2], server } do redis.ends(pid) end
    local r = luarun("status")
    check.eq({ r.status, r.out }, { 1, "" })
    check.ok(r.err:find("^luarun: status: redis at [^\n]+\n$"), r.err)
    good(after)
    if after == "up" then
      check.eq(nodes(), 1)
      good("down")
    end
    no_files()
  end
end)

test("in the foreground ^C ends it", function()
  local p = kit.start { "up", "--foreground", env = env }
  p:says("luarun --cluster unix://")
  local agents, server = parts()
  p:signal(2)
  check.eq(p:wait(), 0)
  for _, pid in ipairs { agents[1], server } do check.ok(not redis.lives(pid)) end
  no_files()
end)

test("on a Redis that is there already: two clusters, other programs' keys, and down removes its own only", function()
  local server = redis.start()
  server:ask("SET theirs 1")
  server:ask("SET luarun:theirs 1")
  local one = url_of(good("up", "--redis", server.url, "--workers", "1"))
  local two = url_of(good("up", "--redis", server.url, "--name", "two", "--nodes", "2"))
  check.eq({ one, two }, { server.url, server.url .. "?cluster=two" })
  check.eq({ nodes(), nodes("--cluster", two), server:rows("node"), server:rows("node", "two") }, { 1, 2, 1, 2 })
  good("--workers", "1", "--cluster", one, "-e", "require('luarun').remote(function() end)():get()")
  good("down")
  check.eq(server:ask("--raw KEYS '*default*'"), "")
  check.eq(nodes("--cluster", two), 2)
  good("down", "--name", "two")
  check.eq(kit.shell("redis-cli -s " .. server.socket .. " --raw KEYS '*' | sort"), "luarun:theirs\ntheirs")
  bad("luarun: up: two cluster names, 'a' and 'b': all shards are of one cluster", "up", "--redis",
    server.url .. "?cluster=a", "--name", "b")
  server:stop()
  no_files()
end)

test("what cannot start says why, and leaves nothing", function()
  local r = kit.run { program = "/usr/bin/env", "PATH=" .. kit.folder, kit.luarun, "up", env = env }
  check.eq({ r.status, r.out }, { 1, "" })
  check.ok(r.err:find("^luarun: up: redis%-server cannot be started: No such file or directory; install it [^\n]+\n$"), r.err)
  local port = redis.free_port()
  r = luarun("up", "--redis", "redis://127.0.0.1:" .. port)
  check.eq({ r.status, r.out }, { 1, "" })
  check.ok(r.err:find("^luarun: up: redis at 127%.0%.0%.1:" .. port .. ": [^\n]+\n$"), r.err)
  bad("luarun: up: --nodes: a whole number from 1 to 64 wanted (luarun up --help)", "up", "--nodes", "65")
  bad("luarun: up: unknown option '--node' (luarun up --help)", "up", "--node", "3")
  bad("luarun: up: --nodes wants a value (luarun up --help)", "up", "--nodes")
  bad("luarun: up: no argument wanted, 'x' given", "up", "x")
  bad("luarun: up: --workers: a whole number from 0 to 1024 wanted, 'x' given", "up", "--workers", "x")
  r = kit.run { "up", env = { XDG_STATE_HOME = "/proc/1/x" } }
  check.ok(r.err:find("^luarun: up: the folder /proc/1/x/luarun/default cannot be made: [^\n]+\n$"), r.err)
  r = kit.run { "up", env = { XDG_STATE_HOME = STATE .. "/" .. ("x"):rep(100) } }
  check.ok(r.err:find("^luarun: up: the socket's path [^\n]+ is longer than 107 bytes: set XDG_STATE_HOME to a shorter folder\n$"),
    r.err)
  os.execute("rm -rf " .. kit.quote(STATE .. "/" .. ("x"):rep(100)))
  no_files()
end)

test("what there is no table for is refused, and so are wrong words", function()
  bad("luarun: list: there are no actors in this version", "list", "actors")
  bad("luarun: list: what? nodes, jobs, errors, functions, tasks, objects", "list")
  bad("luarun: list: no table 'x': nodes, jobs, errors, functions, tasks, objects", "list", "x")
  bad("luarun: list: one table at a time, 'jobs' given too", "list", "nodes", "jobs")
  bad("luarun: list: unknown option '--nope' (luarun up --help)", "list", "nodes", "--nope")
  bad("luarun: list: '9 =x': field=value wanted", "list", "nodes", "9 =x")
  bad("luarun: status: no argument wanted, 'x' given", "status", "x")
  bad("luarun: status: --cluster wants a value (luarun up --help)", "status", "--cluster")
  bad("luarun: status: redis://host:port, unix:///path or sentinel://host:port/name wanted", "status", "--cluster", "x")
  for _, command in ipairs { "up", "down", "status", "list", "memory" } do
    check.ok(good(command, "--help"):find("^usage: luarun up"))
  end
end)

kit.done()
