-- vanish.lua - n= (5) times the link of a host is cut while its node works: seconds from then until the first task that
-- was there has begun elsewhere. luarun=PATH. The hosts are network namespaces (tests/cluster/hosts.lua), three: Redis
-- and the script on one, a node on each of the others. Exit status 78 where the machine lets nobody make some.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, public = require "luarun", require "public"
local hosts, kit, test = require "hosts", public.kit, public.test

local n = kit.number("n", 5)
local made, why = hosts.make(3)
if not made then
  io.stderr:write("no network namespaces: ", why, "\n")
  public.done()
  os.exit(78)
end

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
local words = public.words(url)
words.env = env
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
  test.eventually(function() return rows("node") == 2 end, "the host is back", 60)
end
stream:finish()
for _, p in pairs(agents) do p:signal(15) p:wait() end
server:signal(15)
server:wait()
hosts.remove()
public.done()
kit.answer { count = n, p50 = kit.quantile(seconds, 0.5), max = seconds[n] }
