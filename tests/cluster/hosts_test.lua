-- hosts_test.lua - a cluster over several hosts: network namespaces with addresses, loopbacks and a latency of their own.
--
--     host 1: Redis, the driver; a bridge          hosts 2 and 3: a node each
-- What is made is in namespaces that have this process's id in their names, and is removed at the end. Skipped, with the
-- reason, where the machine does not let it make any.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local ID = kit.read("/proc/self/stat"):match("^%d+")
local made = {}

local function sh(command)
  local status = os.execute(("{ %s; } >%s/sh.log 2>&1"):format(command, kit.folder))
  return status == 0, kit.read(kit.folder .. "/sh.log")
end

local function must(command)
  local ok, why = sh(command)
  if not ok then error(command .. ": " .. why, 2) end
end

local function host(i) return "lr" .. ID .. "h" .. i end
local function address(i) return "10.77.0." .. i end

local function remove()
  for i in pairs(made) do sh("ip netns del " .. host(i)) end
end

local function make_host(i)
  local ok, why = sh("ip netns add " .. host(i))
  if not ok then return nil, why end
  made[i] = true
  must(("ip -n %s link set lo up"):format(host(i)))
  return true
end

-- Host 1 carries the bridge; the others hang on it.
local function join(i)
  must(("ip link add v%d netns %s type veth peer name eth0 netns %s"):format(i, host(1), host(i)))
  must(("ip -n %s link set v%d master br0 up"):format(host(1), i))
  must(("ip -n %s addr add %s/24 dev eth0"):format(host(i), address(i)))
  must(("ip -n %s link set eth0 up"):format(host(i)))
  sh(("tc -n %s qdisc add dev eth0 root netem delay 200us"):format(host(i))) -- without it: no latency
end

local function on(i, program, words)
  local all = { program = "/usr/bin/env", "ip", "netns", "exec", host(i), program, env = words.env, seconds = words.seconds }
  for _, word in ipairs(words) do all[#all + 1] = word end
  return all
end

local ok, why = nil, "redis-server is not installed"
if os.execute("command -v redis-server >/dev/null") == 0 then ok, why = make_host(1) end
if not ok then
  check.skip("several hosts", (why:gsub("\n.*", "")))
  return kit.done()
end

must(("ip -n %s link add br0 type bridge && ip -n %s addr add %s/24 dev br0 && ip -n %s link set br0 up")
  :format(host(1), host(1), address(1), host(1)))
for i = 2, 3 do
  assert(make_host(i))
  join(i)
end

local env = { LUARUN_SECRET = "32 random characters, or more of them" }
local url = ("redis://:word@%s:7000"):format(address(1))
local folder = kit.folder .. "/redis"
os.execute("mkdir -m 700 " .. folder)
local conf = kit.file("redis.conf", ("dir %s\nport 7000\nbind %s\nrequirepass word\nsave \"\"\n"):format(folder, address(1)))
local server = kit.start(on(1, "redis-server", { conf }))

local function status() return kit.run(on(1, kit.luarun, { "list", "nodes", "--json", "--cluster", url })) end
local function has(count)
  kit.eventually(function() return select(2, status().out:gsub('"id":', "")) == count end, count .. " nodes")
end

local function node(i) return kit.start(on(i, kit.luarun, { "--workers", "1", "node", "--cluster", url, env = env })) end

local PRELUDE = [[
local lr = require "luarun"
local function busy(s) local t = lr.now() + s while lr.now() < t do end end
local function net() -- the namespace it runs in
  local p = io.popen("readlink /proc/self/ns/net") local n = p:read("*l") p:close() return n
end
local where = lr.remote(function() busy(0.005) return net() end)
local function spread(wanted)
  local seen, count, deadline = {}, 0, lr.now() + 20
  while count < wanted and lr.now() < deadline do
    local list = {}
    for i = 1, 8 do list[i] = where() end
    for i = 1, 8 do local n = list[i]:get() if not seen[n] then seen[n], count = true, count + 1 end end
  end
  return count
end
]]

kit.eventually(function() return status().status == 0 end, "redis answers")
local two, three = node(2), node(3)
has(2)

check.test("a script on one host uses the others; results, futures and tensors come back", function()
  local r = kit.run(on(1, kit.luarun, { "--workers", "1", "--cluster", url, "-e", PRELUDE .. [[
    print(spread(3))
    local sum = lr.remote(function(t, f) busy(0.002) return t:get(5) + f end)
    local list, all = {}, 0
    for i = 1, 60 do list[i] = sum(lr.tensor("f64", { 100000 }):fill(i), lr.remote(function() return i end)()) end
    for i = 1, 60 do all = all + list[i]:get() end
    print(all)]], env = env }))
  check.eq({ r.out, r.status, r.err }, { "3\n3660\n", 0, "" })
end)

check.test("the driver may be on any of them", function()
  local r = kit.run(on(3, kit.luarun, { "--workers", "0", "--cluster", url, "-e", PRELUDE .. "print(spread(2))", env = env }))
  check.eq({ r.out, r.status, r.err }, { "2\n", 0, "" })
end)

check.test("another secret is refused, none is not even tried", function()
  local r = kit.run(on(1, kit.luarun, { "--workers", "1", "--cluster", url, "-e", PRELUDE .. "where():get()" }))
  check.eq({ r.status, r.out }, { 1, "" })
  check.ok(r.err:find("^luarun: %-%-cluster: this cluster is not on the loopback, and there is no secret: [^\n]*\n$"), r.err)
  local p = kit.start(on(1, kit.luarun, { "--workers", "0", "--cluster", url, "-e", PRELUDE .. "where():get()",
    env = { LUARUN_SECRET = "another" } }))
  kit.eventually(function()
    return two:err():find("luarun: node: [^\n]*do not have the same secret") and
      three:err():find("luarun: node: [^\n]*do not have the same secret")
  end, "both refuse")
  kit.eventually(function()
    return p:err() == "luarun: a node that came to work for this script was refused: the two nodes do not have the same secret; "
      .. "give every node the same LUARUN_SECRET\n"
  end, "the driver says so, once")
  p:signal(9)
end)

check.test("a host that is cut off: its work is done by the others, and its row goes", function()
  local p = kit.start(on(1, kit.luarun, { "--workers", "1", "--cluster", url, "-e", PRELUDE .. [[
    print(spread(3)) io.stdout:flush()
    local square, list, sum = lr.remote(function(i) busy(0.02) return i * i end), {}, 0
    for i = 1, 400 do list[i] = square(i) end
    print "going" io.stdout:flush()
    for i = 1, 400 do sum = sum + list[i]:get() end
    print(sum)]], env = env, seconds = 60 }))
  p:says("going")
  must(("ip -n %s link set eth0 down"):format(host(3)))
  has(1)
  local ended, why_not = pcall(p.wait, p, 40)
  check.ok(ended, tostring(why_not) .. p:out() .. p:err())
  check.eq(p:out(), "3\ngoing\n21413400\n")
  check.ok(two:err():find("luarun: node: node %x+ is dead: no sign of life; its row is deleted\n"), two:err())
  -- and comes back
  must(("ip -n %s link set eth0 up"):format(host(3)))
  has(2)
  check.ok(three:err():find("this node's row was gone: it was taken for dead", 1, true), three:err())
end)

for _, p in ipairs { two, three } do
  p:signal(15)
  p:wait()
end
server:signal(15)
server:wait()
remove()
kit.done()
