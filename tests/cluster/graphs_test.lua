-- graphs_test.lua - random graphs of tasks and small tree searches come to the same on any cluster as serially.
--
-- `./dev graphs --rounds N --seed N` runs any number; tests/cluster/graph.lua says what is in them.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"
local redis = require "redis"

local SCRIPT = kit.top .. "/tests/cluster/graphs.lua"

---Runs so many graphs with luarun's options.
local function equal(options, rounds, seed, more)
  local words = { seconds = 100 }
  for _, word in ipairs(options) do words[#words + 1] = word end
  for _, word in ipairs { SCRIPT, "--rounds", rounds, "--seed", seed } do words[#words + 1] = word end
  for _, word in ipairs(more or {}) do words[#words + 1] = word end
  local r = kit.run(words)
  check.eq({ r.status, r.out:match("[^\n]*\n$") }, { 0, ("%d graphs, %d games: all equal\n"):format(rounds, rounds / 5) },
    r.out .. r.err)
  return r
end

check.test("one process", function() equal({ "--workers", "2" }, 20, 100) end)
check.test("three processes", function() equal({ "--procs", "3", "--workers", "1" }, 40, 200) end)
check.test("four processes of two workers", function() equal({ "--procs", "4", "--workers", "2" }, 20, 300) end)
check.test("a script's process that runs nothing, two that serve", function()
  equal({ "--procs", "3", "--workers", "0" }, 20, 400)
end)
check.test("three processes, of which tasks crash some", function()
  local r = equal({ "--procs", "3", "--workers", "1" }, 10, 500, { "--crash" })
  check.ok(r.err:find("luarun: node %x+ is lost %(process %d+: killed by signal 11 "), r.err)
end)

if os.execute("command -v redis-server >/dev/null") ~= 0 then
  check.skip("a public cluster", "redis-server is not installed")
else
  check.test("a public cluster of two nodes", function()
    local server = redis.start()
    local a, b = server:node(), server:node()
    server:has(2, "node")
    equal({ "--workers", "1", "--cluster", server.url }, 30, 600)
    for _, node in ipairs { a, b } do
      node:signal(15)
      check.eq(node:wait(), 0, node:err())
    end
    check.eq(server:keys_left(), {})
    server:stop()
  end)
end

kit.done()
