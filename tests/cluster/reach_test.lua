-- reach_test.lua - two nodes that live and cannot reach each other, while both reach the driver: what is bound to the other
-- one fails in words, in bounded time; once they can again, it runs.
--
-- Hosts are network namespaces (hosts.lua). Skipped, with the reason, where the machine lets nobody make them.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local hosts = require "hosts"
local kit = require "kit"

local made, why = nil, "redis-server is not installed"
if os.execute("command -v redis-server >/dev/null") == 0 then made, why = hosts.make(5) end
if not made then
  check.skip("nodes that cannot reach each other", why)
  return kit.done()
end

local env = { LUARUN_SECRET = "32 random characters, or more of them" }
local url = ("redis://:word@%s:7000"):format(hosts.address(1))
local folder = kit.folder .. "/redis"
os.execute("mkdir -m 700 " .. folder)
local server = kit.start(hosts.on(1, { program = "redis-server", kit.file("redis.conf",
  ("dir %s\nport 7000\nbind %s\nrequirepass word\nsave \"\"\n"):format(folder, hosts.address(1))) }))

local function ask(...)
  return kit.run(hosts.on(1, { program = "redis-cli", "-h", hosts.address(1), "-p", "7000", "-a", "word", "--no-auth-warning", ... })).out
end

kit.eventually(function() return ask("PING") == "PONG\n" end, "redis answers")
local nodes = {}
for i = 2, 5 do nodes[i] = kit.start(hosts.on(i, { "--workers", "1", "node", "--cluster", url, env = env })) end
kit.eventually(function() return ask("ZCARD", "luarun:{default}:index:node") == "4\n" end, "four nodes")

-- Whether packets from each of the two hosts to the other one find a way.
local function part(what, a, b)
  for from, to in pairs { [a] = b, [b] = a } do
    kit.run(hosts.on(from, { program = "ip", "route", what, "unreachable", hosts.address(to) }))
  end
end

check.test("a link between two nodes is cut: what is bound to the other fails and says why; it is made again", function()
  local p = kit.start(hosts.on(1, { "--workers", "0", "--cluster", url, kit.top .. "/tests/cluster/reach.lua", hosts.address(4),
    hosts.address(5), env = env }))
  p:says("connected")
  local id = p:out():match("connected (%x+)")
  part("add", 4, 5)
  p:says("unreachable: ")
  local words = p:out():match("unreachable: ([^\n]*)")
  check.ok(words:find(id, 1, true), "it names the node: " .. words)
  check.ok(words:find("tcp://" .. hosts.address(5), 1, true), "it names its address: " .. words)
  part("del", 4, 5)
  p:says("again")
  check.eq(p:wait(30), 0, p:err())
end)

for _, p in pairs(nodes) do
  p:signal(15)
  p:wait()
end
server:signal(15)
server:wait()
hosts.remove()
kit.done()
