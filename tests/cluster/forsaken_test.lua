-- forsaken_test.lua - a node loses the driver alone, while the node whose task it runs still has both: it vanishes, and what it
-- cancels at its end is nobody's result.
--
-- Hosts are network namespaces (hosts.lua). Skipped, with the reason, where the machine lets nobody make them.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local hosts = require "hosts"
local kit = require "kit"

local DRIVER, OUTER, INNER, LATER = 2, 3, 4, 5

local server, why = hosts.redis(LATER)
if not server then
  check.skip("a node that loses the driver", why)
  return kit.done()
end

local function node(i, offers)
  return server:node { "--resources", offers, place = function(words) return hosts.on(i, words) end }
end

local nodes = { node(OUTER, "outer=1"), node(INNER, "inner=2") }
server:has(2, "node")

check.test("the node that waits for its task has it run again elsewhere, and sees none of it fail", function()
  local p = kit.start(hosts.on(DRIVER, { "--workers", "0", "--cluster", server.url, "-e", ([[
    local lr = require "luarun"
    local outer = lr.remote(function(flag)
      local lr = require "luarun"
      local sleeping = lr.remote(function() require("luarun").sleep(600) end, { resources = { inner = 1 } })
      local inner = lr.remote(function(flag)
        if require("luarun").task().attempt > 1 then return "run again" end
        local f = sleeping()
        io.open(flag, "w"):close()
        local ok, e = f:pget()
        return ok and "it slept" or "it failed with " .. e.code
      end, { resources = { inner = 1 } })
      return inner(flag):get()
    end, { resources = { outer = 1 } })
    print(outer("%s"):get())]]):format(kit.folder .. "/sleeps"), env = hosts.env }))
  kit.eventually(function() return kit.read(kit.folder .. "/sleeps") or p:ended() end, "the inner task runs")
  nodes[3] = node(LATER, "inner=2")
  server:has(3, "node")
  hosts.part(DRIVER, INNER)
  check.eq({ p:wait(30), p:out() }, { 0, "run again\n" }, p:err())
  hosts.join(DRIVER, INNER)
end)

hosts.stop(server, nodes)
kit.done()
