-- hosts: machines for tests, made of network namespaces: each has an address, a loopback and a link of its own, which can
-- be cut and mended. Host 1 carries the bridge that the others hang on.
--
-- What is made has this process's id in its name. It is removed by hosts.remove(), by a watcher when this process dies, and
-- what others have left (their process is gone) at the start. hosts.make says why where the machine does not let it.

local kit = require "kit"
local redis = require "redis"

local hosts = {}

local ID = kit.read("/proc/self/stat"):match("^%d+")

local function sh(command)
  local status = os.execute(("{ %s; } >%s/sh.log 2>&1"):format(command, kit.folder))
  return status == 0, kit.read(kit.folder .. "/sh.log")
end

local function must(command)
  local ok, why = sh(command)
  if not ok then error(command .. ": " .. why, 2) end
end

local REMOVE = [[
for name in $(ip netns list 2>/dev/null | grep -oE '^lr%sh[0-9]+'); do
  for pid in $(ip netns pids "$name"); do kill -9 "$pid"; done
  ip netns del "$name"
done]]

local function sweep()
  for id in kit.shell("ip netns list 2>/dev/null"):gmatch("%f[%w]lr(%d+)h%d+") do
    if not kit.read("/proc/" .. id .. "/stat") then sh(REMOVE:format(id)) end
  end
end

-- It is in a session of its own: what ends this process's group does not end it.
local function watch()
  kit.file("watch", ("while kill -0 %s; do sleep 0.5; done\n"):format(ID) .. REMOVE:format(ID))
  os.execute(("setsid sh -c 'cp %s/watch /tmp/lr-watch-%s; sh /tmp/lr-watch-%s; rm /tmp/lr-watch-%s' </dev/null >/dev/null 2>&1 &")
    :format(kit.folder, ID, ID, ID))
end

function hosts.name(i) return "lr" .. ID .. "h" .. i end
function hosts.address(i) return "10.78.0." .. i end

---Make so many. Returns nil and the reason where that cannot be.
function hosts.make(count)
  if os.execute("command -v ip >/dev/null") ~= 0 then return nil, "ip is not installed (iproute2)" end
  sweep()
  local ok, why = sh("ip netns add " .. hosts.name(1))
  if not ok then return nil, (why:gsub("\n.*", "")) end
  watch()
  local first = hosts.name(1)
  ok, why = sh(("ip -n %s link set lo up && ip -n %s link add br0 type bridge && ip -n %s addr add %s/24 dev br0 && "
    .. "ip -n %s link set br0 up"):format(first, first, first, hosts.address(1), first))
  for i = 2, ok and count or 1 do
    local name = hosts.name(i)
    ok, why = sh(("ip netns add %s && ip -n %s link set lo up && ip link add v%d netns %s type veth peer name eth0 netns %s && "
      .. "ip -n %s link set v%d master br0 up && ip -n %s addr add %s/24 dev eth0 && ip -n %s link set eth0 up")
      :format(name, name, i, first, name, first, i, name, hosts.address(i), name))
    if not ok then break end
  end
  if ok then return true end
  hosts.remove()
  return nil, (why:gsub("\n.*", ""))
end

function hosts.remove() sh(REMOVE:format(ID)) end

function hosts.cut(i) must(("ip -n %s link set eth0 down"):format(hosts.name(i))) end
function hosts.mend(i) must(("ip -n %s link set eth0 up"):format(hosts.name(i))) end

local function routes(i, j, verb, how)
  how = how or "blackhole"
  must(("ip -n %s route %s %s %s/32 && ip -n %s route %s %s %s/32"):format(hosts.name(i), verb, how, hosts.address(j),
    hosts.name(j), verb, how, hosts.address(i)))
end

---What two hosts send each other is lost, both ways; or how = "unreachable": it is refused. join mends what part did.
function hosts.part(i, j, how) routes(i, j, "add", how) end
function hosts.join(i, j, how) routes(i, j, "del", how) end

---Delay a host's link by so many milliseconds each way: by netem, or where the kernel has none by a program that
---carries its frames (delay.lua). False and why: neither can be.
function hosts.delay(i, ms)
  local name = hosts.name(i)
  if sh(("tc -n %s qdisc replace dev eth0 root netem delay %dms"):format(name, ms)) then
    must(("tc -n %s qdisc replace dev v%d root netem delay %dms"):format(hosts.name(1), i, ms))
    return true
  end
  must(("ip -n %s link del eth0"):format(name))
  local relay = kit.start { program = kit.luajit, kit.top .. "/tests/cluster/delay.lua", name, hosts.name(1), ms,
    hosts.address(i) }
  kit.eventually(function() return relay:out() == "ready\n" or relay:ended() end, "the link")
  if relay:out() == "ready\n" then return true end
  return false, "the kernel has no netem, and: " .. relay:err():gsub("\n.*", "")
end

---What kit.run and kit.start want, on that host.
function hosts.on(i, words)
  local all = { program = "/usr/bin/env", "ip", "netns", "exec", hosts.name(i), words.program or kit.luarun, env = words.env,
    seconds = words.seconds }
  for _, word in ipairs(words) do all[#all + 1] = word end
  return all
end

-- A secret that all nodes of a cluster over hosts know.
hosts.env = { LUARUN_SECRET = "32 random characters, or more of them" }

---Make so many hosts, and start a Redis on the first, with a password: a server as redis.start gives, whose nodes are
---started with hosts.env. nil and the reason where that cannot be.
---@param lines? string more lines of its configuration
function hosts.redis(count, lines)
  if os.execute("command -v redis-server >/dev/null") ~= 0 then return nil, "redis-server is not installed" end
  local made, why = hosts.make(count)
  if not made then return nil, why end
  local address = hosts.address(1)
  local cli = ("ip netns exec %s redis-cli -h %s -p 7000 -a word --no-auth-warning"):format(hosts.name(1), address)
  local server = redis.listening(("redis://:word@%s:7000"):format(address), cli,
    ("port 7000\nbind %s\nrequirepass word\n%s"):format(address, lines or ""), function(words) return hosts.on(1, words) end)
  server.env = hosts.env
  return server
end

---A node agent of that server on host i, with one worker.
function hosts.node(server, i)
  return server:node { place = function(words) return hosts.on(i, words) end }
end

---The end of a test on hosts: the nodes that were started, the server of hosts.redis, the hosts.
function hosts.stop(server, nodes)
  for _, p in pairs(nodes) do
    p:signal(15)
    p:wait()
  end
  server:stop()
  hosts.remove()
end

return hosts
