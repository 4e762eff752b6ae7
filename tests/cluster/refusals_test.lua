-- refusals_test.lua - what may be wrong with a cluster's Redis, secret, addresses and versions: one clear line each, in time.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"
local redis = require "redis"

if os.execute("command -v redis-server >/dev/null") ~= 0 then
  check.skip("refusals", "redis-server is not installed")
  return check.done()
end

local SCRIPT = "require('luarun').remote(function() end)():get() print 'ran'"

---The node agent, a script and a command say the same line, the command without waiting for better times.
---@param url string
---@param line string what the line holds, taken plainly
---@param env? table<string, string>
local function refused(url, line, env)
  local function told(what, words)
    words.env = env
    local r = kit.run(words)
    check.eq({ r.status, r.out }, { 1, "" }, what .. r.err)
    check.ok(r.err:find("^luarun: " .. what .. "[^\n]+\n$"), r.err)
    check.ok(r.err:find(line, 1, true), r.err .. " has not: " .. line)
  end
  told("node: ", { "node", "--cluster", url })
  told("%-%-cluster: ", { "--workers", "1", "--cluster", url, "-e", SCRIPT })
  told("status: ", { "status", "--cluster", url, seconds = 5 }) -- it waits 0.8 s at most; the machine may be busy
end

check.test("a Redis that is not there", function()
  refused("unix://" .. kit.folder .. "/none", "redis at " .. kit.folder .. "/none: No such file or directory")
  refused("redis://127.0.0.1:" .. redis.free_port(), ": Connection refused")
end)

check.test("a host name that does not resolve", function()
  refused("redis://no-such-host.invalid", "no-such-host.invalid")
end)

check.test("a Redis that does not answer", function()
  local server = redis.start()
  server.process:signal(19) -- STOP
  refused(server.url, "answer") -- "2.0 s went by waiting for its first answer", "no answer within 0.8 s"
  server.process:signal(18) -- CONT
  server:stop()
end)

check.test("a wrong password, none, one too many", function()
  local server = redis.start("requirepass right")
  local url = function(user) return "unix://" .. user .. server.socket end
  refused(url ":wrong@", "wrong password for user 'default'")
  refused(url "", "it wants a password")
  check.eq(kit.run({ "--workers", "1", "--cluster", url ":right@", "-e", SCRIPT }).out, "ran\n")
  server.process:signal(9)
  server.process:wait()
  server = redis.start()
  refused("unix://:x@" .. server.socket, "a password was given, but the server has none: leave it out")
  server:stop()
end)

check.test("a read-only replica", function()
  local server = redis.start("replicaof 127.0.0.1 " .. redis.free_port())
  refused(server.url, "a read-only replica: give the primary's address")
  server:stop()
end)

check.test("a Redis without room: nothing registers, reading goes on", function()
  local server = redis.start("maxmemory 1")
  for _, words in ipairs { { "node", "--cluster", server.url }, { "--workers", "1", "--cluster", server.url, "-e", SCRIPT } } do
    local r = kit.run(words)
    check.eq({ r.status, r.out }, { 1, "" }, r.err)
    check.ok(r.err:find("^luarun: [^\n]*it is out of memory: raise maxmemory in redis.conf, or delete something; this %l+ "
      .. "cannot register\n$"), r.err)
  end
  local r = kit.run { "status", "--cluster", server.url }
  check.eq(r.status, 0, r.err)
  check.ok(r.out:find("warning: redis 1 has used %d+ %% of its memory: raise maxmemory\n"), r.out)
  server:stop()
end)

check.test("one that would throw keys away", function()
  local server = redis.start("maxmemory 100mb\nmaxmemory-policy allkeys-lru")
  refused(server.url, "it throws keys away when it is full (maxmemory-policy allkeys-lru): set noeviction")
  server:stop()
end)

check.test("too old, and no Redis at all", function()
  local function pretend(words, line)
    local socket = kit.folder .. "/pretend" .. #line
    local p = kit.start { program = kit.luajit, kit.top .. "/tests/cluster/pretend.lua", socket, words }
    kit.eventually(function() return os.execute("test -S " .. socket) == 0 end, "it listens")
    refused("unix://" .. socket, line)
    p:signal(9)
    p:wait()
  end
  local info = "redis_version:5.0.14\\r\\nredis_mode:standalone\\r\\nrole:master\\r\\n"
  pretend(("+OK\\r\\n$%d\\r\\n%s\\r\\n"):format(#info:gsub("\\%l", "x"), info), "version 5.0.14 is too old: 6 or later is wanted")
  pretend("SSH-2.0-OpenSSH_9.2\\r\\n", "redis at ")
end)

check.test("keys of another program under our prefix, tables of another format; a foreign keyspace is left alone", function()
  local server = redis.start()
  server:ask("SET theirs 1")
  server:ask("HSET 'luarun:{default}:format' a b")
  refused(server.url, "another program uses keys that begin with luarun:{default}:: choose another ?cluster=")
  server:ask("DEL 'luarun:{default}:format'")
  server:ask("SET 'luarun:{default}:format' 0")
  refused(server.url, "its tables under luarun:{default}: have format 0, this luarun writes ")
  check.eq(kit.run({ "--workers", "1", "--cluster", server.url .. "?cluster=other", "-e", SCRIPT }).out, "ran\n")
  check.eq(kit.run({ "--workers", "1", "--cluster", server.url .. "?cluster=other&database=1", "-e", SCRIPT }).out, "ran\n")
  refused(server.url .. "?database=99", "it has no database 99")
  check.eq(server:ask("GET theirs"), "1")
  server:stop()
end)

-- An address of this machine that is not the loopback; nil: it has none.
local function outside()
  return kit.shell("hostname -I 2>/dev/null"):match("%d+%.%d+%.%d+%.%d+")
end

check.test("off the loopback a secret is a must, and the same on every node", function()
  local address = outside()
  if not address then return check.skip("off the loopback", "this machine has no address but the loopback's") end
  local port = redis.free_port()
  local server = redis.start(("protected-mode no\nport %d\nbind %s"):format(port, address))
  local url = ("redis://%s:%d"):format(address, port)
  local line = "this cluster is not on the loopback, and there is no secret: set LUARUN_SECRET, or LUARUN_SECRET_FILE to a "
    .. "file of mode 0600 that holds it, the same on every node"
  for _, words in ipairs { { "node", "--cluster", url }, { "--workers", "1", "--cluster", url, "-e", SCRIPT } } do
    local r = kit.run(words)
    check.eq({ r.status, r.out }, { 1, "" }, r.err)
    check.ok(r.err:find(line, 1, true), r.err)
  end
  local file = kit.file("secret", "it is shared\n")
  local opened = kit.run { "node", "--cluster", url, env = { LUARUN_SECRET_FILE = file } }
  check.ok(opened.err:find("can be read by others", 1, true), opened.err)
  os.execute("chmod 600 " .. file)
  local node = kit.start { "--workers", "1", "node", "--cluster", url, env = { LUARUN_SECRET_FILE = file } }
  server:has(1, "node")
  local r = kit.run { "--workers", "0", "--cluster", url, "-e", SCRIPT, env = { LUARUN_SECRET = "it is shared" } }
  check.eq({ r.out, r.err }, { "ran\n", "" })
  -- its job process is refused, and says so
  local p = kit.start { "--workers", "0", "--cluster", url, "-e", SCRIPT, env = { LUARUN_SECRET = "another" } }
  kit.eventually(function() return node:err():find("luarun: node: [^\n]*do not have the same secret") end, "a refusal")
  p:signal(9)
  node:signal(15)
  check.eq(node:wait(), 0)
  server:stop()
end)

check.test("--listen: a port in use, a name that does not resolve, no address", function()
  local server = redis.start()
  local port = redis.free_port()
  local other = redis.start("bind 127.0.0.1\nport " .. port)
  local function listen(address) return { "--workers", "1", "--cluster", server.url, "--listen", address, "-e", SCRIPT } end
  local function says(address, line)
    local r = kit.run(listen(address))
    check.eq({ r.status, r.out }, { 1, "" }, r.err)
    check.ok(r.err:find("^luarun: [^\n]+\n$") and r.err:find(line, 1, true), r.err)
  end
  says("tcp://127.0.0.1:" .. port, "the address is in use")
  says("tcp://no-such-host.invalid:0", "required")
  says("http://x", "listen: tcp://HOST:PORT (port 0: any free one) wanted, 'http://x' given")
  check.eq(kit.run(listen("tcp://127.0.0.1:0")).out, "ran\n")
  other:stop()
  check.eq(kit.run(listen("tcp://127.0.0.1:" .. port)).out, "ran\n")
  local r = kit.run { "--workers", "1", "--cluster", server.url, "--listen", "tcp://no-such-host.invalid:0", "-e", SCRIPT,
    env = { LUARUN_SECRET = "x" } }
  check.ok(r.err:find("^luarun: %-%-cluster: [^\n]*resolve[^\n]*\n$"), r.err)
  server:stop()
end)

-- Writes a leased row of another version, as a node or driver of that version would.
local function write_row(server, table, text)
  server:ask(([[EVAL "redis.call('SET', 'luarun:{default}:row:%s:0123456789abcdef', '0000000000000001' .. string.rep('\0', 16)]]
    .. [[ .. ARGV[1]) redis.call('ZADD', 'luarun:{default}:index:%s', 1, '0123456789abcdef') return 1" 0 %s]])
    :format(table, table, kit.quote(text)))
end

check.test("nodes and jobs of another version are told of, and take no part", function()
  local server = redis.start()
  write_row(server, "node", "1 since=1 renewed=9999999999999 lease=60000 version=9.9 pid=1 host=h user=u loopback=l workers=1 "
    .. "jobs=0 offers=cpu=1")
  local r = kit.run { "--workers", "1", "--cluster", server.url, "-e", SCRIPT }
  check.eq({ r.out, r.err }, { "ran\n",
    "luarun: 1 of the cluster's 1 nodes are of luarun 9.9, this is 0.1.0: they take no part in this job\n" })
  r = kit.run { "status", "--cluster", server.url }
  check.ok(r.out:find("warning: 1 node of another version than 0.1.0\n", 1, true), r.out)
  write_row(server, "job", "1 since=1 renewed=1 lease=60000 version=9.9 pid=1 host=h user=u loopback=l workers=1 "
    .. "address=tcp://127.0.0.1:1 name=old.lua")
  local node = server:node()
  kit.eventually(function() return node:err():find("\n") end, "a line")
  check.eq(node:err(), "luarun: node: job old.lua is of luarun 9.9, this node of 0.1.0: it is left to others\n")
  check.eq(#redis.children(node.pid), 0)
  node:signal(15)
  check.eq(node:wait(), 0)
  server:stop()
end)

check.test("a job on the loopback of another machine is told of", function()
  local server = redis.start()
  write_row(server, "job", "1 since=1 renewed=1 lease=60000 version=0.1.0 pid=1 host=there user=u loopback=l workers=1 "
    .. "address=tcp://127.0.0.1:1 name=x.lua")
  local node = server:node()
  kit.eventually(function() return node:err():find("\n") end, "a line")
  check.eq(node:err(), "luarun: node: job x.lua listens on the loopback of there, which nobody here can reach: give its "
    .. "--cluster the address of Redis by which other machines know it\n")
  node:signal(15)
  check.eq(node:wait(), 0)
  server:stop()
end)

check.test("local tasks of a driver in a cluster send no command to Redis", function()
  local server = redis.start()
  local node = server:node()
  server:has(1, "node")
  local r = kit.run { "--workers", "1", "--cluster", server.url, "-e", ([[
    local lr = require "luarun"
    local function calls()
      local p, n = io.popen("redis-cli -s %s INFO commandstats"), 0
      for name, count in p:read("*a"):gmatch("cmdstat_(%%w+):calls=(%%d+)") do
        if name:match("^[sg]et$") or name:match("^evalsha") or name:match("^z") then n = n + count end
      end
      p:close()
      return n
    end
    local add = lr.remote(function(a, b) return a + b end)
    for i = 1, 2000 do add(i, 1):get() end
    local before, start = calls(), lr.now()
    for i = 1, 50000 do add(i, 1):get() end
    local list = {}
    for i = 1, 50000 do list[i] = add(i, 1) end
    lr.wait(list)
    local sent, seconds = calls() - before, lr.now() - start
    -- a renewal is a script of five commands at most, once a second from the driver and from the node, and the node looks about
    assert(sent <= 20 * (seconds + 1), sent .. " commands in " .. seconds .. " s")
    print("few")]]):format(server.socket) }
  check.eq(r.out, "few\n", r.err)
  node:signal(15)
  node:wait()
  server:stop()
end)

check.test("a node joins within 0.3 s; a cluster of four is up within 2 s", function()
  local ffi = require "ffi"
  ffi.cdef "struct timespec_of_test { long s, ns; }; int clock_gettime(int clock, struct timespec_of_test *out);"
  local function now()
    local t = ffi.new "struct timespec_of_test"
    ffi.C.clock_gettime(1, t)
    return tonumber(t.s) + tonumber(t.ns) / 1e9
  end
  -- the best of several, for other programs want the processors too
  local function best(limit, fn)
    local least = math.huge
    for _ = 1, 8 do
      least = math.min(least, fn())
      if least < limit then return end
    end
    error(("%.3f s at best"):format(least))
  end
  local server = redis.start()
  best(0.3, function()
    local start = now()
    local node = server:node()
    server:has(1, "node")
    local joined = now() - start
    node:signal(15)
    node:wait()
    return joined
  end)
  server:stop()
  local env = { XDG_STATE_HOME = kit.folder .. "/state" }
  best(2, function()
    local start = now()
    check.eq(kit.run({ "up", "--nodes", "4", env = env }).status, 0)
    local up = now() - start
    kit.run { "down", env = env }
    return up
  end)
end)

kit.done()
