-- vanish.lua - n= (5) times the link of a host is cut while its node works: seconds from then until the first task that
-- was there has begun elsewhere. luarun=PATH. The hosts are network namespaces (tests/cluster/hosts.lua), three: Redis
-- and the script on one, a node on each of the others. Exit status 78 where the machine lets nobody make some.
local here = arg[0]:match("^(.*/)")
local tests = here .. "../../tests/"
package.path = tests .. "cluster/?.lua;" .. tests .. "cli/?.lua;" .. tests .. "lua/?.lua;" .. here .. "?.lua;"
  .. package.path
local lr, kit = require "luarun", dofile(here .. "kit.lua")

-- The script: says each process that has worked for it, and of each task that was run again when it began.
if kit.text("what") == "script" then
  local nodes, known = require "nodes", {}
  nodes.stream(8, function() return nodes.hold(0.005) end, function(f)
    local begun, attempt, pid = f:get()
    if attempt > 1 then print(("again %.6f"):format(begun)) end
    if not known[pid] then print("node " .. pid) end
    known[pid] = true
    io.stdout:flush()
  end, function() return false end)
end

local hosts, test = require "hosts", require "kit"
local n = kit.number("n", 5)
test.luarun = kit.text("luarun", test.luarun)

local made, why = hosts.make(3)
if not made then
  io.stderr:write("no network namespaces: ", why, "\n")
  test.clean()
  os.exit(78)
end

local program = arg[0]:sub(1, 1) == "/" and arg[0] or test.top .. "/" .. arg[0]
local env = { LUARUN_SECRET = "32 random characters, or more of them" }
local url = ("redis://:word@%s:7000"):format(hosts.address(1))
local folder = test.folder .. "/redis"
os.execute("mkdir -m 700 " .. folder)
local server = test.start(hosts.on(1, { program = "redis-server", test.file("redis.conf",
  ("dir %s\nport 7000\nbind %s\nrequirepass word\nsave \"\"\n"):format(folder, hosts.address(1))) }))
local function rows(table_name)
  local r = test.run(hosts.on(1, { program = "redis-cli", "-h", hosts.address(1), "-p", "7000", "-a", "word",
    "--no-auth-warning", "ZCARD", "luarun:{default}:index:" .. table_name }))
  return tonumber(r.out)
end
test.eventually(function() return rows("node") == 0 end, "redis answers")
local agents = {}
for i = 2, 3 do agents[i] = test.start(hosts.on(i, { "--workers", "1", "node", "--cluster", url, env = env })) end
test.eventually(function() return rows("node") == 2 end, "two nodes")
local script = test.start(hosts.on(1, { "--workers", "0", "--cluster", url, program, "what=script", env = env }))

-- All that the script has said by now, as a list of what stands behind the word.
local function said(word)
  local list = {}
  for value in script:out():gmatch(word .. " ([%d.]+)\n") do list[#list + 1] = tonumber(value) end
  return list
end

local seconds = {}
for i = 1, n do
  test.eventually(function() return #said("node") >= i + 1 end, "two nodes work: " .. script:out() .. script:err(), 60)
  test.sleep(0.5 + 0.3 * i)
  local count = #said("again")
  local cut = lr.now()
  hosts.cut(3)
  test.eventually(function() return #said("again") > count end, "tasks are run again", 30)
  local first = math.huge
  for j, at in ipairs(said("again")) do if j > count then first = math.min(first, at) end end
  seconds[i] = first - cut
  hosts.mend(3)
  test.eventually(function() return rows("node") == 2 end, "the host is back", 60)
end
script:signal(9)
for _, p in pairs(agents) do p:signal(15) p:wait() end
server:signal(15)
server:wait()
hosts.remove()
test.clean()
kit.answer { count = n, p50 = kit.quantile(seconds, 0.5), max = seconds[n] }
