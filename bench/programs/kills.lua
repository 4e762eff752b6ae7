-- kills.lua - n= (40) node processes killed one after the other under a steady stream of tasks of ms= (5): seconds from
-- each kill until the first task that was lost with it has begun elsewhere (first), and until the last has (last).
-- spin=1: their bodies compute. The next is killed when the one that took its place has worked. Wants node processes:
-- --procs 5 --workers 0.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit, nodes = require "luarun", require "kit", require "nodes"

local n, seconds = kit.number("n", 40), kit.number("ms", 5) / 1000
local count = lr.stats().procs - 1
assert(lr.stats().workers == 0 and count > 1, "--procs 5 --workers 0 wanted")

local firsts, lasts = {}, {}
local killed, pause_until -- when; nil: nobody is down
local first, last, tasks
local known = {} -- processes that have worked

local body = kit.number("spin", 0) == 1 and nodes.spin or nodes.hold
local function submit() return body(seconds) end

local function ended(f)
  local begun, attempt, pid = f:get()
  known[pid] = true
  if killed and attempt > 1 and begun > killed then
    first, last, tasks = math.min(first, begun), math.max(last, begun), tasks + 1
  end
end

-- All of the nodes that are there have worked.
local function settled()
  local pids = nodes.pids()
  for _, pid in ipairs(pids) do if not known[pid] then return false end end
  return #pids == count and pids
end

local function over()
  local now = lr.now()
  if pause_until and now < pause_until then return false end
  local pids = settled()
  if not pids then return false end
  if killed then
    if tasks > 0 then firsts[#firsts + 1], lasts[#lasts + 1] = first - killed, last - killed end
    killed = nil
  end
  if #firsts == n then return true end
  if pause_until then -- it has had its pause: the next
    first, last, tasks = math.huge, 0, 0
    killed = nodes.kill(pids[math.random(#pids)])
    pause_until = nil
  else
    pause_until = now + 0.05 + 0.1 * math.random()
  end
  return false
end

nodes.await(count, nodes.hold)
nodes.stream(3 * count, submit, ended, over)
kit.answer { count = #firsts, p50 = kit.quantile(firsts, 0.5), p95 = kit.quantile(firsts, 0.95), max = firsts[#firsts],
             last_p95 = kit.quantile(lasts, 0.95), last_max = lasts[#lasts] }
