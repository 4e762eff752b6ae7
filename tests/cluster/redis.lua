-- redis: real Redis servers for the cluster tests, and what a cluster on one looks like from outside.
--
-- Each has a folder of its own in the test's, listens on a socket there, and ends with kit.done(); hosts.redis makes one of a
-- network of hosts. What a test waits for is a condition with a deadline (kit.eventually).

local kit = require "kit"

local redis = {}

local Server = {}
Server.__index = Server

local serial = 0

local function same(words) return words end

local function on_socket(socket) return "redis-cli -s " .. kit.quote(socket) end

---A server that runs already, and is asked by this command of redis-cli; what is started for it is started by
---kit.start(place(words)).
local function reached(cli, place) return setmetatable({ cli = cli, place = place or same }, Server) end

---One that runs already, on its socket.
function redis.at(socket)
  local server = reached(on_socket(socket))
  server.socket = socket
  return server
end

---Start one that listens as these lines of configuration say.
function redis.listening(url, cli, lines, place)
  serial = serial + 1
  local server = reached(cli, place)
  server.folder = kit.folder .. "/redis" .. serial
  os.execute("mkdir -m 700 " .. kit.quote(server.folder))
  server.config = kit.file("redis" .. serial .. "/conf", ("dir %s\nsave \"\"\n%s\n"):format(server.folder, lines))
  server.url = url
  server:begin()
  return server
end

---Start a server with more lines of configuration. Returns server.url, server.socket, server.process.
---@param lines? string
function redis.start(lines)
  local socket = ("%s/redis%d/s"):format(kit.folder, serial + 1)
  local server = redis.listening("unix://" .. socket, on_socket(socket),
    ("port 0\nunixsocket %s\n%s"):format(socket, lines or ""))
  server.socket = socket
  return server
end

function Server:begin()
  self.process = kit.start(self.place { program = "redis-server", self.config })
  kit.eventually(function() return self:ask("PING"):find("PONG") or self:ask("PING"):find("NOAUTH") end, "redis answers")
end

---The answer of redis-cli to a command in its words, as text.
function Server:ask(words) return kit.shell(("%s %s 2>&1"):format(self.cli, words)) end

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

---It is killed; begin() brings it back: with its append-only file, or without.
function Server:crash(empty)
  self.process:signal(9)
  self.process:wait()
  if self.socket then os.remove(self.socket) end
  if empty then os.execute("rm -rf " .. kit.quote(self.folder) .. "/appendonly* " .. kit.quote(self.folder) .. "/*.aof") end
end

---Start a node agent on the server. what: { options..., env=, place= }
function Server:node(what)
  what = what or {}
  local words = { "--workers", "1", "node", "--cluster", self.url .. (what.suffix or "") }
  for i = #what, 1, -1 do table.insert(words, 3, what[i]) end
  words.env = what.env or self.env
  return kit.start((what.place or self.place)(words))
end

---Start `luarun up --foreground` by these words, which is given back once it has said the cluster's address, with that
---cluster's Redis (on its socket).
function redis.up(words)
  local up, url = kit.start(words), nil
  kit.eventually(function() -- Redis says more on the same standard output
    url = up:out():match("luarun %-%-cluster '?([^'\n]+)")
    return url or up:ended()
  end, "the cluster is up")
  assert(url, up:err())
  local server = redis.at(url:match("^unix://(.*)$"))
  server.url = url
  return up, server
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
