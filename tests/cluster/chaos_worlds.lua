-- chaos_worlds: where chaos.lua lets a program run: clusters whose processes are known, and what they may not leave.
--
--   private   luarun --procs 4: the script's process, and three that it starts
--   public    luarun up --nodes 4 with a Redis of its own, and a script that joins
--   hosts     five network namespaces: Redis and a script on the first two, a node agent on each of the others
--
-- Each world: start(words, env) begins the program; nodes() are the processes that serve it now, oldest first; left()
-- what there is after its end that should not be; close() ends the rest. Where it cannot be made, make gives the reason.

local ffi = require "ffi"
local hosts = require "hosts"
local kit = require "kit"
local redis = require "redis"

local worlds = {}

local KILL, TERM, CONT = 9, 15, 18

local function command_of(pid) return kit.read("/proc/" .. pid .. "/cmdline") or "" end

-- Of its children those that are luarun: timeout, ip and sh may stand before it.
local function children_of(pid)
  local list = {}
  for _, child in ipairs(redis.children(pid)) do
    if command_of(child):find("^luarun%z") then list[#list + 1] = child end
  end
  table.sort(list)
  return list
end

local World = {}
World.__index = World

local function new(kind, what)
  return setmetatable({ kind = kind, procs = what.procs or 4, workers = what.workers or 1, store = what.store,
    env = { LUARUN_SPILL_DIR = what.disk }, shm = kit.shell("ls -A /dev/shm") }, World)
end

function World:words(words)
  local all = { "--workers", self.workers }
  if self.store then all[#all + 1], all[#all + 2] = "--store-bytes", self.store end
  for _, word in ipairs(words) do all[#all + 1] = word end
  all.env = self.env
  return all
end

---Processes of the world that ended, or should have; "" when nothing is left.
function World:left()
  local left = {}
  if self.server_left then left[#left + 1] = self:server_left() end
  local shm = kit.shell("ls -A /dev/shm")
  if shm ~= self.shm then left[#left + 1] = "/dev/shm: " .. shm end
  return table.concat(left, "; ")
end

-- ---- private ------------------------------------------------------------------------------------------------------

local Private = setmetatable({}, { __index = World })
Private.__index = Private

function worlds.private(what) return setmetatable(new("private", what), Private) end

function Private:start(words)
  table.insert(words, 1, self.procs)
  table.insert(words, 1, "--procs")
  self.driver = kit.start(self:words(words))
  return self.driver
end

function Private:nodes() return children_of(self.driver.pid) end
function Private.agents() return {} end
function Private.close() end

-- ---- a cluster with Redis -----------------------------------------------------------------------------------------

-- What the two of these have in common: server is its Redis (redis.lua), agents() are their process ids.
local Served = setmetatable({}, { __index = World })
Served.__index = Served

function Served:nodes()
  local list = {}
  for _, agent in ipairs(self:agents()) do
    for _, pid in ipairs(children_of(agent)) do list[#list + 1] = pid end
  end
  table.sort(list)
  return list
end

function Served:start(words)
  table.insert(words, 1, self.server.url)
  table.insert(words, 1, "--cluster")
  self.driver = kit.start(self.place(self:words(words)))
  return self.driver
end

-- Rows of jobs, and job processes of agents, after the end of the job.
function Served:server_left()
  local left = ""
  local ok = pcall(kit.eventually, function()
    local jobs, events, processes = self.server:rows("job"), self.server:rows("event"), 0
    for _, agent in ipairs(self:agents()) do processes = processes + #redis.children(agent) end
    left = ("%d rows of jobs, %d of events, %d job processes"):format(jobs, events, processes)
    return jobs == 0 and events == 0 and processes == 0
  end, "nothing is left", 30)
  return not ok and left or nil
end

local Public = setmetatable({}, { __index = Served })
Public.__index = Public

function worlds.public(what)
  if os.execute("command -v redis-server >/dev/null") ~= 0 then return nil, "redis-server is not installed" end
  local self = setmetatable(new("public", what), Public)
  self.state = kit.shell("mktemp -d " .. kit.quote(kit.folder) .. "/up.XXXX")
  self.env.XDG_STATE_HOME = self.state
  self.up, self.server = redis.up(self:words { "up", "--foreground", "--nodes", self.procs })
  return self
end

function Public.place(words) return words end
function Public:agents() return children_of(self.up.pid) end

function Public:redis_process()
  for _, pid in ipairs(redis.children(self.up.pid)) do
    if command_of(pid):find("^redis%-server") then return pid end
  end
end

---Redis ends, and its supervisor starts it again: with its append-only file, or without.
function Public:restart(empty)
  local server = self:redis_process()
  if not server then return false end
  ffi.C.kill(self.up.pid, 19)
  ffi.C.kill(server, KILL)
  kit.eventually(function() return not redis.lives(server) end, "redis is dead")
  if empty then os.execute("rm -rf " .. kit.quote(self.server.socket:match("^(.*)/")) .. "/appendonly*") end
  ffi.C.kill(self.up.pid, CONT)
  return true
end

function Public:close()
  self.up:signal(TERM)
  local status = self.up:wait()
  assert(status == 0, "luarun up ended with " .. status .. ": " .. self.up:err():sub(-500))
  assert(kit.shell("find " .. kit.quote(self.state) .. " -type f -o -type s") == "", "files of luarun up are left")
end

-- ---- hosts --------------------------------------------------------------------------------------------------------

local Hosts = setmetatable({}, { __index = Served })
Hosts.__index = Hosts

local LEASE = 4.5 -- s, and what notices it
local FIRST = 3 -- the host of the first agent; the script is on host 2

function worlds.hosts(what)
  local server, why = hosts.redis(FIRST - 1 + (what.procs or 4), "appendonly yes")
  if not server then return nil, why end
  local self = setmetatable(new("hosts", what), Hosts)
  self.env.LUARUN_SECRET = hosts.env.LUARUN_SECRET
  self.env.LUARUN_SHARE = "0" -- they are one host by everything but their network
  self.server = server
  self.list = {}
  for i = 1, self.procs do self:agent(i) end
  server:has(self.procs, "node")
  return self
end

function Hosts.place(words) return hosts.on(2, words) end

function Hosts:agent(i)
  self.list[i] = kit.start(hosts.on(FIRST - 1 + i, self:words { "node", "--cluster", self.server.url }))
end

function Hosts:agents()
  local list = {}
  for i, agent in ipairs(self.list) do
    if agent:ended() then self:agent(i) end
    list[i] = self.list[i].pid
  end
  return list
end

function Hosts:restart(empty)
  self.server:crash(empty)
  self.server:begin()
  return true
end

---Cuts a link for a while: of the agent's host i to all, or to host j alone; 0 is the script's. Returns what mends it.
function Hosts.cut(_, i, j)
  local a, b = FIRST - 1 + i, j and FIRST - 1 + j
  if not b then
    hosts.cut(a)
    return function() hosts.mend(a) end
  end
  hosts.part(a, b)
  return function() hosts.join(a, b) end
end

function Hosts:close()
  self:agents() -- the row of one that was killed goes when another has seen that its lease is over: while there is another
  local since -- for longer than a lease: a new one's row may not be there yet
  kit.eventually(function()
    if self.server:rows "node" ~= self.procs then since = nil return false end
    since = since or kit.now()
    return kit.now() - since > LEASE
  end, "the rows of agents that were killed go", 40)
  for _, agent in ipairs(self.list) do
    agent:signal(TERM)
    local status = agent:wait()
    assert(status == 0, "a node ended with " .. status .. ": " .. agent:err():sub(-500))
  end
  local left = table.concat(self.server:keys_left(), " ")
  self.server:stop()
  hosts.remove()
  assert(left == "", "keys are left in Redis: " .. left)
end

return worlds
