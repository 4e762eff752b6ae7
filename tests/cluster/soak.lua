-- soak: minutes of random jobs and faults on a cluster, in which nothing may grow and after which nothing may be left.
--
-- `luarun up --nodes 2` with a Redis of its own. One job lasts all the time (graphs.lua: every result equal to the serial
-- one); beside it short ones in a row: tensors, nested tasks, errors, cancels, some that are killed. Meanwhile a process
-- dies now and then: of a job, a node agent, Redis. The supervisor, the first agent, the lasting driver and its process on the
-- first node are left alone, so that their whole lives are seen.
--
-- Every few seconds what lives is looked at: resident memory and file descriptors of each process, Redis' memory without
-- its capped logs, its keys, bytes in /dev/shm. Through each series goes a line (least squares). It may climb, in the time
-- that was looked at, by `floor` and four times the scatter about it (standard deviation): more is growth. Both are said.

local check = require "check"
local ffi = require "ffi"
local kit = require "kit"
local redis = require "redis"

local soak = {}

local KILL, TERM = 9, 15
local FLOOR = { kib = 512, fds = 3, keys = 8, shm_kib = 64 }
local LEAST = 10 -- samples of a series that is judged
local SETTLE = 0.5 -- of a series, from its beginning: code is compiled for minutes, what is made once is made

---The line through values[i] at times[i]: its slope, and the standard deviation of the values about it.
function soak.line(times, values)
  local n, t_mean, v_mean = #times, 0, 0
  for i = 1, n do t_mean, v_mean = t_mean + times[i] / n, v_mean + values[i] / n end
  local tt, tv = 0, 0
  for i = 1, n do
    tt = tt + (times[i] - t_mean) ^ 2
    tv = tv + (times[i] - t_mean) * (values[i] - v_mean)
  end
  local slope, rest = tv / tt, 0
  for i = 1, n do rest = rest + (values[i] - v_mean - slope * (times[i] - t_mean)) ^ 2 end
  return slope, math.sqrt(rest / (n - 2))
end

---How a series stands: nil where it is too short, else { slope (a minute), climbed, bound, grows }.
function soak.judge(times, values, floor)
  local from, t, v = math.floor(#times * SETTLE), {}, {}
  for i = from + 1, #times do t[#t + 1], v[#v + 1] = times[i], values[i] end
  if #t < LEAST then return nil end
  local slope, scatter = soak.line(t, v)
  local climbed, bound = slope * (t[#t] - t[1]), floor + 4 * scatter
  return { slope = slope * 60, climbed = climbed, bound = bound, grows = climbed > bound, first = v[1], last = v[#v] }
end

-- ---- series -----------------------------------------------------------------------------------------------------

local Series = {}
Series.__index = Series

function Series:add(name, unit, at, value)
  if not value then return end
  local one = self.of[name]
  if not one then
    one = { name = name, unit = unit, times = {}, values = {} }
    self.of[name], self.list[#self.list + 1] = one, one
  end
  one.times[#one.times + 1], one.values[#one.values + 1] = at, value
end

-- A line for each that lasted long enough; those that grow.
function Series:verdict(say)
  local growing = {}
  for _, one in ipairs(self.list) do
    local j = soak.judge(one.times, one.values, FLOOR[one.unit])
    if j then
      local line = ("%-34s %9.1f %s a minute; climbed %.0f of at most %.0f (%.0f at first, %.0f at last, %d samples)")
        :format(one.name, j.slope, one.unit, j.climbed, j.bound, j.first, j.last, #one.times)
      say(line)
      if j.grows then growing[#growing + 1] = line end
    end
  end
  return growing
end

-- ---- the cluster ------------------------------------------------------------------------------------------------

local Cluster = {}
Cluster.__index = Cluster

local PRELUDE = [[
local lr = require "luarun"
local function busy(s) local t = lr.now() + s while lr.now() < t do end end
local function pid() local f = io.open("/proc/self/stat") local n = f:read("*n") f:close() return n end
local work = lr.remote(function(i) busy(0.001) return i * i, pid() end)
local tree tree = lr.remote(function(n) if n == 0 then return 1 end return tree(n - 1):get() + tree(n - 1):get() end)
local list, sum = {}, 0
]]

local function start_cluster()
  local env = { XDG_STATE_HOME = kit.folder .. "/state" } -- there is the secret that who joins must know
  local process, server = redis.up { "--workers", "1", "up", "--nodes", "2", "--foreground", env = env }
  local url = server.url
  local self = setmetatable({ process = process, server = server, url = url, env = env, seen = {} }, Cluster)
  self.first = self:agents()[1]
  -- A driver that runs nothing itself: its task has run in a process that an agent started.
  local first = kit.start { "--workers", "0", "--cluster", url, "-e", PRELUDE .. "assert(work(3):get() == 9)", env = env }
  check.eq(first:wait(30), 0, first:err() .. process:err())
  return self
end

function Cluster:agents()
  local agents, server = {}, nil
  for _, pid in ipairs(redis.children(self.process.pid)) do
    local kind = (kit.read("/proc/" .. pid .. "/comm") or ""):match("[^\n]*")
    if kind == "redis-server" then server = pid else agents[#agents + 1] = pid end
    self.seen[pid] = true
  end
  table.sort(agents)
  return agents, server
end

-- Job processes of an agent, oldest first.
function Cluster:jobs(agent)
  local list = redis.children(agent)
  for _, pid in ipairs(list) do self.seen[pid] = true end
  table.sort(list)
  return list
end

-- Bytes of Redis' own, without logs that grow to their caps: 1,000 jobs, 1,000 errors.
function Cluster:redis_kib()
  local used = tonumber(self.server:ask("INFO memory"):match("used_memory:(%d+)") or "")
  if not used then return nil end
  for key in self.server:ask("--raw KEYS 'luarun:{default}:log*'"):gmatch("[^\n]+") do
    used = used - (tonumber(self.server:ask("MEMORY USAGE " .. kit.quote(key) .. " SAMPLES 0")) or 0)
  end
  return used / 1024
end

local function process_sample(series, at, name, pid)
  local status = kit.read("/proc/" .. pid .. "/status")
  series:add(name .. " " .. pid, "kib", at, tonumber(status and status:match("VmRSS:%s*(%d+)") or nil))
  local fds = status and tonumber(kit.shell(("ls /proc/%d/fd 2>/dev/null | wc -l"):format(pid)))
  series:add(name .. " " .. pid .. " files", "fds", at, fds ~= 0 and fds or nil)
end

function Cluster:sample(series, at, lasting)
  process_sample(series, at, "supervisor", self.process.pid)
  process_sample(series, at, "lasting driver", lasting.pid)
  for _, agent in ipairs((self:agents())) do
    process_sample(series, at, "agent", agent)
    for _, pid in ipairs(self:jobs(agent)) do process_sample(series, at, "job process", pid) end
  end
  series:add("redis", "kib", at, self:redis_kib())
  series:add("redis keys", "keys", at, tonumber(self.server:ask("DBSIZE")))
  series:add("/dev/shm", "shm_kib", at, tonumber(kit.shell("du -sk /dev/shm"):match("%d+")))
end

-- ---- jobs -------------------------------------------------------------------------------------------------------

-- What a short job does, and the status that it ends with.
local SHORT = {
  { "for i = 1, 30 do list[i] = work(i) end for i = 1, 30 do sum = sum + list[i]:get() end assert(sum == 9455)", 0 },
  { "assert(tree(6):get() == 64)", 0 },
  { [[local twice = lr.remote(function(t) local c = t:copy() for i = 1, 100 do c:set(i, 2 * c:get(i)) end return c end)
    for i = 1, 8 do list[i] = twice(lr.tensor("f64", { 50000 }):fill(i)) end
    for i = 1, 8 do assert(list[i]:get():get(7) == 2 * i) end]], 0 },
  { [[local put = lr.put(("x"):rep(4e5)) local size = lr.remote(function(s) busy(0.002) return #s end)
    for i = 1, 8 do list[i] = size(put) end for i = 1, 8 do assert(list[i]:get() == 4e5) end]], 0 },
  { "for i = 1, 10 do list[i] = lr.remote(function(i) busy(0.001) error('no ' .. i) end)(i) end "
    .. "for i = 1, 10 do assert(not list[i]:pget()) end", 0 },
  { "error 'on purpose'", 1 },
  { "for i = 1, 40 do list[i] = work(i) end lr.cancel(list) lr.wait(list)", 0 },
  { [[for i = 1, 4 do list[i] = lr.remote(function() while not lr.cancelled() do end end)() end
    lr.wait(list, { timeout = 0.02 }) lr.cancel(list)]], 0 },
  { "for i = 1, 20 do work(i) end os.exit(3)", 3 },
  { "for i = 1, 20 do work(i) end os.execute('kill -9 ' .. pid())", 137 },
}

-- One job to its end. While Redis is away a job may not come in: it is started again.
local function run_job(cluster, seed, number)
  local job = SHORT[number % #SHORT + 1]
  local words = { "--workers", "1", "--seed", seed + number, "--cluster", cluster.url, "-e", PRELUDE .. job[1],
    env = cluster.env }
  for _ = 1, 20 do
    local p = kit.start(words) -- not kit.run: its shell says of each that is killed that it was
    local status, err = p:wait(60), p:err()
    local away = err:find("luarun: --cluster: redis", 1, true)
    if status == job[2] and not away then return end
    check.ok(away, ("job %d, %s: status %s, %s"):format(number, job[1], tostring(status), err))
    kit.sleep(0.2)
  end
  error("no job comes into the cluster any more", 0)
end

-- ---- faults -----------------------------------------------------------------------------------------------------

local FAULTS = { "job", "job", "job", "agent", "redis" }

local function do_fault(cluster, kind, chance)
  local agents, server = cluster:agents()
  local victim
  if kind == "redis" then victim = server end
  if kind == "agent" then victim = agents[1] ~= cluster.first and agents[1] or agents[2] end
  if kind == "job" then
    local of = agents[math.floor(chance(1, #agents + 0.999))]
    local list = cluster:jobs(of)
    if of == cluster.first then table.remove(list, 1) end -- the lasting job's, which is the oldest
    victim = list[math.floor(chance(1, #list + 0.999))]
  end
  return victim and ffi.C.kill(victim, KILL) == 0
end

---@param what table minutes, seed; every (seconds between two looks, 5), pause (longest time between two faults, 8 s),
---  say (a function for a line)
---@return table jobs, faults (each kind's count), growing (lines)
function soak.run(what)
  local say = what.say or function() end
  local random = ffi.new("uint32_t[1]", what.seed % 2 ^ 31 + 1)
  local function chance(low, high) -- xorshift32 (Marsaglia 2003)
    local x = random[0]
    x = bit.bxor(x, bit.lshift(x, 13))
    x = bit.bxor(x, bit.rshift(x, 17))
    random[0] = bit.bxor(x, bit.lshift(x, 5))
    return low + random[0] % 2 ^ 20 / 2 ^ 20 * (high - low)
  end
  local shm = kit.shell("ls -A /dev/shm")
  local cluster = start_cluster()
  local lasting = kit.start { "--workers", what.workers or 1, "--cluster", cluster.url, kit.top .. "/tests/cluster/graphs.lua", "--say",
    "--seconds", what.minutes * 60, "--seed", what.seed, "--retries", 100, what.jit == 0 and "--joff" or nil, env = cluster.env }
  kit.eventually(function() return #cluster:jobs(cluster.first) > 0 or lasting:ended() end, "the lasting job has its processes")
  local series = setmetatable({ of = {}, list = {} }, Series)
  local told = { jobs = 0, faults = { job = 0, agent = 0, redis = 0 } }
  local start = kit.now()
  local look, fault_at = start, start + 3
  while kit.now() < start + what.minutes * 60 and not lasting:ended() do
    local now = kit.now()
    if now >= look then
      cluster:sample(series, now - start, lasting)
      look = look + (what.every or 5)
    end
    if now >= fault_at then
      local kind = FAULTS[math.floor(chance(1, #FAULTS + 0.999))]
      if do_fault(cluster, kind, chance) then
        told.faults[kind] = told.faults[kind] + 1
        say(("%4d s: %s killed; %d jobs"):format(now - start, kind, told.jobs))
      end
      fault_at = now + chance(1, what.pause or 8)
    end
    run_job(cluster, what.seed, told.jobs)
    told.jobs = told.jobs + 1
  end
  local status = lasting:wait(120)
  check.eq({ status, lasting:out():match(": all equal\n$") }, { 0, ": all equal\n" }, lasting:err():sub(-2000))
  local server = cluster.server
  kit.eventually(function() return server:rows("job") == 0 and server:rows("node") == 2 end, "two nodes and no job are left")
  for _, agent in ipairs((cluster:agents())) do
    kit.eventually(function() return #cluster:jobs(agent) == 0 end, "job processes end")
  end
  kit.eventually(function() return cluster.server:rows("event") + cluster.server:rows("inspection") == 0 end,
    "the last words about jobs go with them", 60) -- at an agent's second look (sched/leftover.h)
  told.growing = series:verdict(say)
  cluster.process:signal(TERM)
  check.eq(cluster.process:wait(), 0, cluster.process:err())
  for pid in pairs(cluster.seen) do redis.ends(pid, 10) end
  check.eq(kit.shell("ls -A /dev/shm"), shm, "/dev/shm")
  check.eq(kit.shell("find " .. kit.quote(kit.folder .. "/state") .. " -type f"), "", "files of the cluster")
  return told
end

return soak
