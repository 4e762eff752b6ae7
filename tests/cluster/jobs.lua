-- jobs: short jobs in a row on a cluster of two nodes, after which nothing of them may be left.
--
-- Most end well; some fail, leave by os.exit, are killed, or lose a process. jobs.run is used by jobs_test.lua for a few, and
-- by jobs_run.lua (./dev jobs) for any number.

local check = require "check"
local kit = require "kit"
local redis = require "redis"

local jobs = {}

local PRELUDE = [[
local lr = require "luarun"
local function busy(s) local t = lr.now() + s while lr.now() < t do end end
local function pid() local f = io.open("/proc/self/stat") local n = f:read("*n") f:close() return n end
local work = lr.remote(function(i) busy(0.001) return i * i, pid() end)
local list, sum = {}, 0
for i = 1, 12 do list[i] = work(i) end
for i = 1, 12 do sum = sum + list[i]:get() end
assert(sum == 650)
]]

-- What comes after, and the status that it gives.
local ENDS = {
  { "print(sum)", 0 },
  { "print(sum)", 0 },
  { "print(lr.remote(function(t) return t:get(7) end)(lr.tensor('f64', { 50000 }):fill(3)):get())", 0 },
  { "error 'on purpose'", 1 },
  { "for i = 1, 20 do work(i) end os.exit(3)", 3 },
  { "local f = lr.remote(function() return { work(3), ('x'):rep(3e5) } end)() print(f:get()[1]:get())", 0 },
  { "for i = 1, 20 do work(i) end os.execute('kill -9 ' .. pid())", 137 },
  { "for i = 1, 10 do local _, p = work(i):get() if p ~= pid() then os.execute('kill -9 ' .. p) end end print(sum)", 0 },
}

local function held(agent)
  local status = kit.read("/proc/" .. agent.pid .. "/status")
  return { fds = tonumber(kit.shell(("ls /proc/%d/fd | wc -l"):format(agent.pid))),
    kib = tonumber(status:match("VmRSS:%s*(%d+)")) }
end

---@param what table count; say (a function for a line now and then)
---@return table what was measured: seconds is the caller's to take
function jobs.run(what)
  local server = redis.start()
  local agents = { server:node(), server:node() }
  server:has(2, "node")
  local function settled()
    server:has(0, "job")
    for _, agent in ipairs(agents) do
      kit.eventually(function() return #redis.children(agent.pid) == 0 end, "job processes end")
    end
  end
  local function used() return tonumber(server:ask("INFO memory"):match("used_memory:(%d+)")) end
  local memory, first
  for i = 1, what.count do
    local ending = ENDS[(i - 1) % #ENDS + 1]
    local r = kit.run { "--workers", "1", "--cluster", server.url, "-e", PRELUDE .. ending[1] }
    check.eq(r.status, ending[2], ("job %d, %s: %s"):format(i, ending[1], r.err))
    if i == math.min(40, what.count) then -- what is made once is made, and the history is on its way to its cap
      settled()
      memory, first = used(), { held(agents[1]), held(agents[2]) }
    end
    if what.say and i % 100 == 0 then what.say(("%d jobs, Redis uses %d bytes"):format(i, used())) end
  end
  settled()
  local grown = used() - memory
  local result = { redis_bytes = grown, kib = 0 }
  for i, agent in ipairs(agents) do
    local now = held(agent)
    check.ok(now.fds <= first[i].fds, ("an agent has %d file descriptors, had %d"):format(now.fds, first[i].fds))
    result.kib = math.max(result.kib, now.kib - first[i].kib)
  end
  check.ok(result.kib < 2048, "an agent has grown by " .. result.kib .. " KiB")
  for _, agent in ipairs(agents) do
    agent:signal(15)
    check.eq(agent:wait(), 0, agent:err())
  end
  check.eq(server:keys_left(), {}, "keys in Redis")
  check.eq(kit.shell("ls -A /dev/shm | grep -i luarun"), "", "/dev/shm")
  server:stop()
  return result
end

return jobs
