-- links_test.lua - four hosts (network namespaces), a node on each of three: random graphs while links are cut and late.
--
-- Redis and most drivers are on host 1. Skipped, with the reason, where the machine lets nobody make namespaces.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local hosts = require "hosts"
local kit = require "kit"
local redis = require "redis"

local server, why = hosts.redis(5)
if not server then
  check.skip("hosts with links of their own", why)
  return kit.done()
end

local GRAPHS = kit.top .. "/tests/cluster/graphs.lua"
local env, url = hosts.env, server.url

-- Graphs from one host: { rounds or seconds, seed, on = 1 }.
local function graphs(what)
  return kit.start(hosts.on(what.on or 1, { "--workers", what.workers or "1", "--cluster", url, GRAPHS, "--say",
    what.rounds and "--rounds" or "--seconds", tostring(what.rounds or what.seconds), "--seed", tostring(what.seed), env = env }))
end

local function equal(p, seconds)
  local ok, status = pcall(p.wait, p, seconds or 60)
  check.ok(ok, "it hangs: " .. p:out():sub(-200) .. p:err():sub(-1500))
  check.eq({ status, p:out():match(": all equal\n$") }, { 0, ": all equal\n" }, p:out():sub(-300) .. p:err():sub(-1500))
end

-- Its child processes, those of `ip netns exec` being the program itself.
local function jobs_of(agent) return #redis.children(agent.pid) end

local nodes = { hosts.node(server, 2), hosts.node(server, 3), hosts.node(server, 4) }
server:has(3, "node")

check.test("random graphs over four hosts; nothing is left in Redis or on the nodes", function()
  equal(graphs { rounds = 20, seed = 10 })
  server:has(0, "job")
  for _, agent in ipairs(nodes) do
    kit.eventually(function() return jobs_of(agent) == 0 end, "its job process ends")
  end
end)

check.test("two jobs at once, from two hosts", function()
  local a, b = graphs { rounds = 15, seed = 20 }, graphs { rounds = 15, seed = 40, on = 5, workers = "0" }
  equal(a)
  equal(b)
end)

check.test("a link is cut while graphs run: their results are right; it comes back, and its node does", function()
  local p = graphs { seconds = 6, seed = 60 }
  p:says("round 62")
  kit.eventually(function() return jobs_of(nodes[2]) == 1 end, "host 3 works for the job")
  hosts.cut(3)
  server:has(2, "node")
  equal(p, 90)
  hosts.mend(3)
  server:has(3, "node")
end)

check.test("a node that joins late gets work, with random graphs on their way", function()
  local p = graphs { seconds = 5, seed = 80 }
  p:says("round 81")
  local late = hosts.node(server, 5)
  server:has(4, "node")
  kit.eventually(function() return jobs_of(late) == 1 end, "it has a process for the job")
  equal(p)
  late:signal(15)
  check.eq(late:wait(), 0, late:err())
  server:has(3, "node")
end)

check.test("the driver is killed: every node frees all that it had for it, and its row goes", function()
  local p = graphs { seconds = 60, seed = 100 }
  p:says("round 101")
  kit.eventually(function() return jobs_of(nodes[1]) + jobs_of(nodes[2]) + jobs_of(nodes[3]) == 3 end, "all work for it")
  p:signal(9)
  for _, agent in ipairs(nodes) do
    kit.eventually(function() return jobs_of(agent) == 0 end, "its job process ends")
  end
  server:has(0, "job")
end)

check.test("the driver's own link is cut: its nodes give it up", function()
  local p = graphs { seconds = 60, seed = 120, on = 5 }
  p:says("round 121")
  hosts.cut(5)
  for _, agent in ipairs(nodes) do
    kit.eventually(function() return jobs_of(agent) == 0 end, "its job process ends", 40)
  end
  server:has(0, "job")
  p:signal(9)
  hosts.mend(5)
end)

-- Of hosts 2 and 3, while they stand: what is new on the way to them is their latency.
local late
late, why = hosts.delay(2, 20)
if late then late, why = hosts.delay(3, 20) end
if late then
  server:has(3, "node", 60)
  check.test("20 ms of latency each way", function()
    local ask_there = hosts.on(2, { program = "redis-cli", "-h", hosts.address(1), "-p", "7000", "-a", "word", "--no-auth-warning",
      "PING" })
    local before = kit.now()
    check.eq(kit.run(ask_there).out, "PONG\n")
    check.ok(kit.now() - before >= 0.08, "a connection and an answer in " .. kit.now() - before .. " s")
    equal(graphs { rounds = 5, seed = 140 }, 120)
  end)
else
  check.skip("20 ms of latency each way", why)
end

hosts.stop(server, nodes)
kit.done()
