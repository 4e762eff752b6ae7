-- redis: real Redis servers for the cluster tests, and what a cluster on one looks like from outside.
--
-- Each has a folder of its own in the test's, listens on a socket there (or a free port of the loopback), and ends with
-- kit.done(). What a test waits for is a condition with a deadline (kit.eventually).

local kit = require "kit"

local redis = {}

local Server = {}
Server.__index = Server

local serial = 0

---Start a server with more lines of configuration. Returns server.url, server.socket, server.process.
---@param lines? string
function redis.start(lines)
  serial = serial + 1
  local folder = kit.folder .. "/redis" .. serial
  os.execute("mkdir -m 700 " .. kit.quote(folder))
  local server = setmetatable({ folder = folder, socket = folder .. "/s" }, Server)
  server.config = kit.file("redis" .. serial .. "/conf", ("dir %s\nport 0\nunixsocket %s\nsave \"\"\n%s\n")
    :format(folder, server.socket, lines or ""))
  server.url = "unix://" .. server.socket
  server:begin()
  return server
end

function Server:begin()
  self.process = kit.start { program = "redis-server", self.config }
  kit.eventually(function() return self:ask("PING"):find("PONG") or self:ask("PING"):find("NOAUTH") end, "redis answers")
end

---The answer of redis-cli to a command in its words, as text.
function Server:ask(words)
  return kit.shell(("redis-cli -s %s %s 2>&1"):format(kit.quote(self.socket), words))
end

---How many rows a table has.
function Server:rows(table, cluster)
  return tonumber(self:ask(("ZCARD 'luarun:{%s}:index:%s'"):format(cluster or "default", table))) or -1
end

---Wait until a table has so many rows.
function Server:has(count, table, seconds)
  kit.eventually(function() return self:rows(table) == count end,
    ("%d rows in the table %s (it has %d)"):format(count, table, self:rows(table)), seconds)
end

---Keys that a cluster without nodes and jobs may not have.
function Server:keys_left(cluster)
  local left = {}
  for key in self:ask("--raw KEYS '*'"):gmatch("[^\n]+") do
    local name = key:match("^luarun:{" .. (cluster or "default") .. "}:(.*)$") or key
    if name ~= "format" and name ~= "version" and not name:find("^logg?e?d?:") then left[#left + 1] = key end
  end
  return left
end

function Server:stop()
  self.process:signal(15)
  self.process:wait()
end

---Start a node agent on the server. what: { options..., env= }
function Server:node(what)
  what = what or {}
  local words = { "--workers", "1", "node", "--cluster", self.url .. (what.suffix or "") }
  for i = #what, 1, -1 do table.insert(words, 3, what[i]) end
  words.env = what.env
  return kit.start(words)
end

---A port of the loopback that nobody has.
function redis.free_port()
  local used = kit.shell("cat /proc/net/tcp /proc/net/tcp6")
  for port = 20000 + os.time() % 10000, 32000 do
    if not used:find((":%04X "):format(port), 1, true) then return port end
  end
end

---The process ids whose parent is that process.
function redis.children(pid)
  local list = {}
  for line in kit.shell("ps -o pid=,stat= --ppid " .. pid):gmatch("[^\n]+") do
    local child, state = line:match("(%d+)%s+(%a)")
    if state ~= "Z" then list[#list + 1] = tonumber(child) end
  end
  return list
end

---Whether a process is there and no zombie.
function redis.lives(pid)
  local stat = kit.read("/proc/" .. pid .. "/stat")
  return stat ~= nil and stat ~= "" and not stat:find(") Z", 1, true)
end

function redis.ends(pid, seconds)
  kit.eventually(function() return not redis.lives(pid) end, "process " .. pid .. " ends", seconds)
end

return redis
