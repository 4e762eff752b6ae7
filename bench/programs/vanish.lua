-- vanish.lua - n= (5) times the link of a host is cut while its node works: seconds from then until the first task that
-- was there has begun elsewhere. luarun=PATH. The hosts are network namespaces (tests/cluster/hosts.lua), three: Redis
-- and the script on one, a node on each of the others. Exit status 78 where the machine lets nobody make some.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, public = require "luarun", require "public"
local hosts, kit, test = require "hosts", public.kit, public.test

local n = kit.number("n", 5)
local server, why = hosts.redis(3)
if not server then
  io.stderr:write("no network namespaces: ", why, "\n")
  public.done()
  os.exit(78)
end

local agents = {}
for i = 2, 3 do agents[i] = hosts.node(server, i) end
server:has(2, "node")
local words = public.words(server.url)
words.env = hosts.env
local stream = public.stream(hosts.on(1, words))

local seconds = {}
for i = 1, n do
  stream:works(i + 1)
  test.sleep(0.5 + 0.3 * i) -- not in step with the signs of life
  local count = #stream:said "again"
  local cut = lr.now()
  hosts.cut(3)
  test.eventually(function() return #stream:said "again" > count end, "tasks are run again", 30)
  local first = math.huge
  for j, at in ipairs(stream:said "again") do if j > count then first = math.min(first, at) end end
  seconds[i] = first - cut
  hosts.mend(3)
  server:has(2, "node", 60) -- it is back
end
stream:finish()
for _, p in pairs(agents) do p:signal(15) p:wait() end
server:stop()
hosts.remove()
public.done()
kit.answer { count = n, p50 = kit.quantile(seconds, 0.5), max = seconds[n] }
