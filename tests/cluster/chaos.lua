-- chaos: random graphs and tree searches on node processes that are killed, stopped and crash meanwhile.
--
-- chaos.run starts one `luarun --procs N tests/cluster/graphs.lua`, does something to a random one of its children every
-- now and then until the time is over, and looks at what it came to: every result equal to the serial one, an end in
-- time, no process left, no file descriptor or mapping kept for those that are gone. What is done when comes from a seed;
-- what the processes are at just then does not, so a seed repeats the kind of a failure, not each of its steps.

local check = require "check"
local ffi = require "ffi"
local kit = require "kit"
local redis = require "redis"

local chaos = {}

local KILL, SEGV, STOP, CONT = 9, 11, 19, 18
local LATE = 60 -- seconds that the end may take after the last fault

local now = kit.now

-- The graphs' process among those that kit started: timeout and sh stand before it.
local function nodes_of(driver)
  local list = {}
  for _, pid in ipairs(redis.children(driver)) do
    local words = kit.read("/proc/" .. pid .. "/cmdline") or ""
    if words:find("^luarun%z") then list[#list + 1] = pid end
  end
  return list
end

---@param what table seconds, seed; procs (4), workers (1), faults (a list of "kill", "crash", "stop"), pause (longest
---  time between two, 1 s), stopped (longest stop, 2 s), script (words for graphs.lua), say (a function for each fault)
---@return table kills, stops, out, err, pids
function chaos.run(what)
  local random = ffi.new("uint32_t[1]", what.seed % 2 ^ 31 + 1)
  local function chance(low, high) -- xorshift32 (Marsaglia 2003)
    local x = random[0]
    x = bit.bxor(x, bit.lshift(x, 13))
    x = bit.bxor(x, bit.rshift(x, 17))
    random[0] = bit.bxor(x, bit.lshift(x, 5))
    return low + random[0] % 2 ^ 20 / 2 ^ 20 * (high - low)
  end
  local words = { "--procs", what.procs or 4, "--workers", what.workers or 1, kit.top .. "/tests/cluster/graphs.lua", "--say",
    "--seconds", what.seconds, "--seed", what.seed, "--retries", 100 } -- some task meets more faults than 3 in a long run
  for _, word in ipairs(what.script or {}) do words[#words + 1] = word end
  local driver = kit.start(words)
  local faults = what.faults or { "kill", "kill", "crash", "stop" }
  local told, stopped = { kill = 0, crash = 0, stop = 0 }, {}
  local pids = {}
  local over = now() + what.seconds
  driver:says("round ")
  local function go_on(all)
    for pid, at in pairs(stopped) do
      if all or now() >= at then
        ffi.C.kill(pid, CONT)
        stopped[pid] = nil
      end
    end
  end
  while now() < over and not driver:ended() do
    local nodes = nodes_of(driver.pid)
    for _, pid in ipairs(nodes) do pids[pid] = true end
    go_on()
    local fault, pid = faults[math.floor(chance(1, #faults + 0.999))], nodes[math.floor(chance(1, #nodes + 0.999))]
    if pid then
      if what.say then what.say(("%s %d"):format(fault, pid)) end
      told[fault] = told[fault] + 1
      if fault == "kill" then ffi.C.kill(pid, KILL) end
      if fault == "crash" then ffi.C.kill(pid, SEGV) end
      if fault == "stop" then
        ffi.C.kill(pid, STOP)
        stopped[pid] = now() + chance(0.1, what.stopped or 2)
      end
    end
    kit.sleep(chance(0.05, what.pause or 1))
  end
  go_on(true)
  for _, pid in ipairs(nodes_of(driver.pid)) do pids[pid] = true end
  local ok, status = pcall(driver.wait, driver, LATE)
  local out, err = driver:out(), driver:err()
  if not ok and os.getenv "LR_CHAOS_KEEP" then -- to be looked at with a debugger
    print("it hangs: process " .. driver.pid)
    kit.sleep(3600)
  end
  if not ok then error(("it hangs, after %s of graphs %s"):format(out:match("(round %d+)\n[^\n]*$") or "nothing", err), 0) end
  check.eq({ status, out:match(": all equal\n$") }, { 0, ": all equal\n" }, out:sub(-300) .. err:sub(-2000))
  for pid in pairs(pids) do redis.ends(pid, 10) end
  local fds, maps, fds_now, maps_now = out:match("held\t(%d+)\t(%d+)\t(%d+)\t(%d+)")
  if fds then
    local processes = (what.procs or 4) -- what each may hold more at one moment than at another
    check.ok(fds_now - fds <= 3 * processes, ("%d file descriptors, at first %d"):format(fds_now, fds))
    check.ok(maps_now - maps <= 3 * processes, ("%d shared mappings, at first %d"):format(maps_now, maps))
  end
  told.out, told.err, told.pids = out, err, pids
  return told
end

return chaos
