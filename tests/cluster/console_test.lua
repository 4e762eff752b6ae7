-- The console on a cluster: lines fed to `luarun console --cluster URL` run tasks on its nodes.

package.path = "tests/cli/?.lua;tests/lua/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"
local redis = require "redis"

if kit.shell("command -v redis-server") == "" then
  check.skip("the console on a cluster", "redis-server is not installed")
  kit.done()
  return
end

local server = redis.start()
kit.start { "node", "--workers", "1", "--cluster", server.url }
server:has(1, "node")

check.test("tasks run on the cluster's nodes, and what they print comes to the console", function()
  local r = kit.run { "console", "--workers", "1", "--cluster", server.url, seconds = 60, stdin = [[
local where = lr.remote(function()
  local till = lr.now() + 0.005
  while lr.now() < till do end -- one that sleeps keeps no worker busy
  return lr.task().node
end)
local function count()
  local list, seen, n = {}, {}, 0
  for i = 1, 20 do list[i] = where() end
  for _, node in ipairs(lr.get(list)) do
    if not seen[node] then seen[node], n = true, n + 1 end
  end
  return n
end
local deadline = lr.now() + 40
local n = count()
while n < 2 and lr.now() < deadline do n = count() end
n
lr.remote(function() print("printed") end)():get()
]] }
  check.eq({ r.err, r.status }, { "", 0 })
  check.ok(r.out:find("^2\n%[[^\n]*%] printed\n$"), r.out)
end)

check.test("the job leaves with its console", function() server:has(0, "job") end)

kit.done()
