-- reach_test.lua - two nodes that live and cannot reach each other, while both reach the driver: what is bound to the other
-- one fails in words, in bounded time; once they can again, it runs.
--
-- Hosts are network namespaces (hosts.lua). Skipped, with the reason, where the machine lets nobody make them.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local hosts = require "hosts"
local kit = require "kit"

local server, why = hosts.redis(5)
if not server then
  check.skip("nodes that cannot reach each other", why)
  return kit.done()
end

local nodes = {}
for i = 2, 5 do nodes[i] = hosts.node(server, i) end
server:has(4, "node")

check.test("a link between two nodes is cut: what is bound to the other fails and says why; it is made again", function()
  local p = kit.start(hosts.on(1, { "--workers", "0", "--cluster", server.url, kit.top .. "/tests/cluster/reach.lua", hosts.address(4),
    hosts.address(5), env = hosts.env }))
  p:says("connected")
  local id = p:out():match("connected (%x+)")
  hosts.part(4, 5, "unreachable")
  p:says("unreachable: ")
  local words = p:out():match("unreachable: ([^\n]*)")
  check.ok(words:find(id, 1, true), "it names the node: " .. words)
  check.ok(words:find("tcp://" .. hosts.address(5), 1, true), "it names its address: " .. words)
  hosts.join(4, 5, "unreachable")
  p:says("again")
  check.eq(p:wait(30), 0, p:err())
end)

hosts.stop(server, nodes)
kit.done()
