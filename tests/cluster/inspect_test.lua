-- inspect_test.lua - what lives in a whole cluster: `list tasks`, `list objects`, `memory`, and lr.tasks of a console on it.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"
local redis = require "redis"

if os.execute("command -v redis-server >/dev/null") ~= 0 then
  check.skip("looking at a cluster", "redis-server is not installed")
  return check.done()
end

local server = redis.start()
local node = server:node()
server:has(1, "node")

-- A job in whose processes two tasks run, on the node and here, one waits, and the script holds a tensor of 8 MB, until a file
-- is there.
local function job(name)
  local done = kit.folder .. "/" .. name .. ".done"
  local file = kit.file(name, ([[
local lr = require "luarun"
local function exists(path) local f = io.open(path) if f then f:close() end return f ~= nil end
local function say(...) print(...) io.stdout:flush() end
local held = lr.remote(function()
  while not exists(%q) do local t = lr.now() + 0.01 while lr.now() < t do end end
  return 1
end, { name = "held" })
local after = lr.remote(function(a) return a end, { name = "after" })
local big = lr.tensor("f64", { 1000000 })
local list = { held(), held() }
local last = after(list[1])
while #lr.tasks { state = "running", name = "held" } < 2 do lr.sleep(0.005) end
say("ready")
lr.get { last, list[1], list[2] }
say(big:size(1))
]]):format(done))
  local p = kit.start { "--workers", "1", "--cluster", server.url, file }
  p:says("ready")
  return p, function()
    kit.file(name .. ".done", "")
    check.eq(p:wait(), 0, p:err())
    check.eq(p:out(), "ready\n1000000\n")
  end
end

local function luarun(...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = (select(i, ...)) end
  words[#words + 1], words[#words + 2] = "--cluster", server.url
  words.seconds = 10
  local from = tonumber(kit.shell("date +%s%N")) / 1e9
  local r = kit.run(words)
  r.seconds = tonumber(kit.shell("date +%s%N")) / 1e9 - from
  check.eq(r.status, 0, r.err)
  return r
end

-- The lines behind the heads, as lists of words.
local function lines(out)
  local list, first = {}, true
  for line in out:gmatch("[^\n]+") do
    local words = {}
    for word in line:gmatch("%S+") do words[#words + 1] = word end
    if not first then list[#list + 1] = words end
    first = false
  end
  return list
end

local first, end_first = job("first.lua")

check.test("list tasks: states, and the process in which each is, told once", function()
  local found, by_name
  kit.eventually(function() -- that the node has begun is seen there a moment later
    local r = luarun("list", "tasks")
    check.eq(r.err, "")
    found, by_name = lines(r.out), {}
    for _, t in ipairs(found) do
      local key = t[#t] .. " " .. t[2]
      by_name[key] = by_name[key] or {}
      table.insert(by_name[key], t)
    end
    return by_name["held running"] and #by_name["held running"] == 2
  end, "two run")
  check.eq(#found, 3)
  check.eq(#by_name["after waiting"], 1)
  local a, b = by_name["held running"][1], by_name["held running"][2]
  check.ok(a[1] ~= b[1] and a[4] ~= b[4], "two tasks in two processes")
  local pids = { [a[6]] = true, [b[6]] = true }
  check.ok(pids[tostring(first.pid)], "one in the driver")
  check.ok(pids[tostring(redis.children(node.pid)[1])], "one in the node's process")
  check.eq(by_name["after waiting"][1][6], tostring(first.pid))
end)

check.test("filters, JSON", function()
  local found = lines(luarun("list", "tasks", "state=waiting").out)
  check.eq({ #found, found[1][#found[1]] }, { 1, "after" })
  check.eq(#lines(luarun("list", "tasks", "state=failed").out), 0)
  check.eq(#lines(luarun("list", "tasks", "name=held").out), 2)
  local json = luarun("list", "tasks", "state=waiting", "--json").out
  check.ok(json:find('^%[{"age":[%d.]+,"attempt":%d,"children":0,"host":"[^"]+","id":"%x+","job":"%x+","name":"after","node":"%x+",'
    .. '"pid":%d+,"state":"waiting"}%]\n$'), json)
end)

check.test("memory and list objects: the tensor with its holders and site, and each process's store", function()
  local r = luarun("memory")
  check.eq(r.err, "")
  check.ok(r.out:find("^stores 2: objects %d+, [%d.]+ MB used of [%d.]+ %a+\n"), r.out)
  check.ok(r.out:find("\nlarge objects 1\n", 1, true), r.out)
  check.ok(r.out:find("  8%.0 MB +%d+ +memory +%x+ +%x+ +%S+ +" .. first.pid .. " +tensor made at [^\n]*first%.lua:9\n"), r.out)
  r = luarun("list", "objects", "where=memory")
  check.eq(#lines(r.out), 1)
  check.ok(r.out:find("first.lua:9", 1, true), r.out)
  local json = luarun("memory", "--json").out
  check.ok(json:find('"objects":[{"bytes":8000000,', 1, true), json)
  check.ok(json:find('"stores":[{"capacity":', 1, true), json)
end)

check.test("list functions: each once, with its code's size and the processes that have it", function()
  local found = {}
  for _, f in ipairs(lines(luarun("list", "functions").out)) do found[f[#f]] = f end
  check.ok(found.held and found.after, "both are there")
  local id, job_id, kind = unpack(found.held)
  check.eq({ #id, #job_id, kind }, { 32, 8, "lua" })
  check.eq(found.held[#found.held - 1], "2") -- the script's process and the node's
  check.eq(found.after[#found.after - 1], "1")
  check.ok(found.after[1] ~= id, "two functions have two ids")
  local json = luarun("list", "functions", "name=held", "--json").out
  local bytes = json:match('^%[{"bytes":(%d+),"id":"' .. id .. '","job":"' .. job_id
    .. '%x+","kind":"lua","name":"held","processes":2}%]\n$')
  check.ok(bytes and tonumber(bytes) > 20 and tonumber(bytes) < 4000, json)
end)

local second, end_second = job("second.lua")

check.test("two jobs, and a console on the cluster", function()
  local jobs = {}
  for _, t in ipairs(lines(luarun("list", "tasks", "name=after").out)) do jobs[t[3]] = t[6] end
  local pids = {}
  for _, pid in pairs(jobs) do pids[pid] = true end
  check.eq(pids, { [tostring(first.pid)] = true, [tostring(second.pid)] = true })
  local r = kit.run { "console", "--workers", "1", "--cluster", server.url, seconds = 30, stdin = [[
local tasks = lr.tasks{ name = "after" }
#tasks == 2 and tasks.total == 2 and tasks[1].state == "waiting" and tasks[1].job ~= tasks[2].job
#lr.tasks{ name = "after", limit = 1 }
local o = lr.objects()
#o, o[1].bytes, o[1].site:match("[^/]*$"):sub(-6), #o.stores >= 4
lr.tasks{ nope = 1 }
]] }
  check.eq(r.out, 'true\n1\n2\t8000000\t".lua:9"\ttrue\n', r.err)
  check.ok(r.err:find("tasks: unknown option 'nope'", 1, true), r.err)
end)

check.test("of a job with many tasks a thousand are shown, and how many there are is said", function()
  local done = kit.folder .. "/many"
  local p = kit.start { "--workers", "1", "--cluster", server.url, "-e", ([[
    local lr = require "luarun"
    local first = lr.remote(function()
      while true do local f = io.open(%q) if f then return f:close() end lr.sleep(0.01) end
    end)()
    local many, list = lr.remote(function() end, { name = "many" }), {}
    for i = 1, 5000 do list[i] = many(first) end
    print "ready" io.stdout:flush()
    lr.get(list)]]):format(done) }
  p:says("ready")
  local r = luarun("list", "tasks", "state=waiting", "name=many")
  local shown = #lines(r.out)
  check.ok(shown > 900 and shown <= 1000, shown)
  check.ok(r.err:find("^luarun: list: 4%d%d%d of 500%d tasks are not shown: 1000 of a job at most\n$"), r.err)
  check.eq(#lines(luarun("list", "tasks", "state=running").out), 5)
  kit.file("many", "")
  check.eq(p:wait(), 0, p:err())
end)

check.test("what was given away and has not begun there is queued, not running", function()
  local done = kit.folder .. "/given"
  local p = kit.start { "--workers", "0", "--cluster", server.url, "-e", ([[
    local lr = require "luarun"
    local held = lr.remote(function()
      while true do
        local f, t = io.open(%q), lr.now() + 0.01
        if f then return f:close() end
        while lr.now() < t do end
      end
    end, { name = "given" })
    local list = {}
    for i = 1, 4 do list[i] = held() end
    print "ready" io.stdout:flush()
    lr.get(list)]]):format(done) }
  p:says("ready")
  local function count(state)
    return #lines(luarun("list", "tasks", "name=given", state and "state=" .. state).out)
  end
  kit.eventually(function() return count("running") == 1 end, "one runs")
  for _ = 1, 5 do check.eq({ count("running"), count() }, { 1, 4 }) end
  kit.file("given", "")
  check.eq(p:wait(), 0, p:err())
end)

check.test("nothing is left in Redis", function()
  check.eq(server:rows("inspection"), 0)
  check.eq(server:ask("--raw KEYS '*inspection*'"), "")
end)

check.test("a stopped driver is named, and the command ends in a second with what the others say", function()
  second:signal(19)
  local r = luarun("list", "tasks", "name=after")
  second:signal(18)
  check.eq(#lines(r.out), 1)
  check.ok(r.err:find("^luarun: list: job %x+ %([^ ]*second%.lua, process " .. second.pid .. " on %S+%) does not answer\n$"), r.err)
  check.ok(r.seconds < 3, r.seconds .. " s") -- one on a machine with nothing else to do
  -- it answers when it goes on, to nobody, and takes that back
  kit.eventually(function() return #lines(luarun("list", "tasks", "name=after").out) == 2 end, "it answers again")
  kit.eventually(function() return server:rows("inspection") == 0 end, "what nobody has fetched is taken back")
end)

check.test("a stopped node of a job: the rest is shown, and that it is missing is said", function()
  local process
  for _, pid in ipairs(redis.children(node.pid)) do
    if luarun("list", "tasks", "pid=" .. pid, "state=running").out:find("held") then process = pid end
  end
  os.execute("kill -STOP " .. process)
  local r = luarun("list", "tasks", "state=waiting")
  os.execute("kill -CONT " .. process)
  check.eq(#lines(r.out), 2)
  check.ok(r.err:find("^luarun: list: job %x+ %([^\n]*%): 1 of its nodes did not answer\n$"), r.err)
end)

check.test("the jobs end as if nobody had looked; a cluster without jobs has nothing", function()
  end_first()
  end_second()
  check.eq(first:err() .. second:err(), "")
  check.eq(luarun("list", "tasks").err, "")
  check.eq(luarun("memory").out, "stores 0: objects 0, 0 B used of 0 B\n\nlarge objects 0\n")
  node:signal(15)
  check.eq(node:wait(), 0, node:err())
  check.eq(server:keys_left(), {})
end)

server:stop()
kit.done()
