-- chaos: random graphs or tree searches on clusters (chaos_worlds.lua) to which something happens every now and then
-- (chaos_faults.lua).
--
-- chaos.run makes a world, starts the program in it, does to it what the seed says until the time is over, and looks at
-- what it came to: every result equal to the serial one, an end in time, nothing left over: no process, no segment, no
-- row, no byte on the disk for spilled objects, no file descriptor or mapping kept for those that are gone. What the
-- processes are at just then does not come from the seed: it repeats the kind of a failure, not each of its steps.

local check = require "check"
local faults = require "chaos_faults"
local hosts = require "hosts"
local kit = require "kit"
local redis = require "redis"
local worlds = require "chaos_worlds"

local chaos = {}

local LATE = 90 -- seconds that the end may take after the last fault
local STORE = 8000000
local MANY = { private = 3, public = 6, hosts = 6 } -- fds, mappings a process that may be held more than at another moment

local now = kit.now

local function generator(seed)
  local x = seed % 2 ^ 31 + 1
  return function(low, high) -- xorshift32 (Marsaglia 2003)
    x = bit.bxor(x, bit.lshift(x, 13))
    x = bit.bxor(x, bit.rshift(x, 17))
    x = bit.bxor(x, bit.lshift(x, 5))
    return low + x % 2 ^ 20 / 2 ^ 20 * (high - low)
  end
end

local disk

---A small file system for spilled objects; nil where none can be mounted.
local function small_disk()
  if disk == nil then
    local path = kit.folder .. "/spill"
    os.execute("mkdir -p " .. path)
    disk = os.execute(("mount -t tmpfs none %s -o size=48m 2>/dev/null"):format(path)) == 0 and path
  end
  return disk or nil
end

---Before the end of the process.
function chaos.clean()
  if disk then os.execute("umount -l " .. disk) end
  disk = nil
end

---The names of the faults that can be in a run, each as often as its weight, and the reasons of the others.
local function choose(what)
  local names, list, why = {}, {}, {}
  for name in pairs(faults) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(what.faults or names) do
    local row = assert(faults[name], "there is no fault " .. name)
    local reason = row.worlds and not row.worlds[what.world] and "not in the world " .. what.world or row.needs and row.needs(what)
    if reason then why[name] = reason end
    for _ = 1, reason and 0 or row.weight or 1 do list[#list + 1] = name end
  end
  return list, why
end

local function program(what)
  local words
  if what.program == "searches" then
    words = { kit.top .. "/tests/cluster/searches.lua", "--seconds", what.seconds, "--seed", what.seed, "--retries", 100 }
  else
    words = { kit.top .. "/tests/cluster/graphs.lua", "--say", "--seconds", what.seconds, "--seed", what.seed, "--retries", 100,
      "--marks", what.marks, "--store", STORE }
  end
  for _, word in ipairs(what.script or {}) do words[#words + 1] = word end
  return words
end

-- What was said against what a run alone says.
local function right(what, driver)
  local out = driver:out()
  if what.program ~= "searches" then return out:match("[^\n]*: all equal\n$") end
  local _, games = out:gsub("game ", "")
  local alone = kit.run { "--workers", 1, kit.top .. "/tests/cluster/searches.lua", "--games", games, "--seed", what.seed,
    seconds = 120 }
  return games > 0 and alone.out == out and games .. " games: all equal" or nil
end

local function held(what, out)
  local fds, maps, fds_now, maps_now = out:match("held\t(%d+)\t(%d+)\t(%d+)\t(%d+)")
  local most = MANY[what.world] * what.procs
  if not fds then return end
  check.ok(fds_now - fds <= most, ("left over: %d file descriptors, at first %d"):format(fds_now, fds))
  check.ok(maps_now - maps <= most, ("left over: %d shared mappings, at first %d"):format(maps_now, maps))
end

-- Does what the seed says until the time is over. Returns how often each was done.
local function disturb(what, world, driver, chance)
  local list = choose(what)
  local told, ends, over, struck = {}, {}, now() + what.seconds, 0
  local function mend(all)
    for i = #ends, 1, -1 do
      if all or now() >= ends[i].at then
        ends[i].mend()
        table.remove(ends, i)
      end
    end
  end
  local function note() for _, pid in ipairs(world:nodes()) do world.pids[pid] = true end end
  while now() < over and not driver:ended() do
    note()
    mend()
    struck = struck + 1 -- those that were asked for by name each once, first
    local name = what.faults and list[struck] or list[math.floor(chance(1, #list + 0.999))]
    local busy
    for _, e in ipairs(ends) do busy = busy or e.name == name end -- one at a time of those that last
    local done, seconds
    if name and not busy then done, seconds = faults[name].strike(world, chance) end
    if done then told[name] = (told[name] or 0) + 1 end
    if done and what.say then what.say(("%5.1f %s"):format(now() - (over - what.seconds), name)) end
    if type(done) == "function" then ends[#ends + 1] = { name = name, mend = done, at = now() + seconds } end
    local pause = now() + chance(0.05, what.pause * 2 - 0.05)
    while now() < pause and not driver:ended() do
      mend()
      kit.sleep(0.02)
    end
  end
  mend(true)
  note()
  return told
end

local function wait(world, driver)
  local ok, status = pcall(driver.wait, driver, LATE)
  if ok then return status end
  if os.getenv "LR_CHAOS_KEEP" then -- to be looked at with a debugger
    print("it hangs: process " .. driver.pid)
    kit.sleep(3600)
  end
  local done = driver:out():match("([^\n]+)\n[^\n]*$") or "nothing"
  local nodes = table.concat(world:nodes(), " ")
  driver:signal(9)
  error(("hung, after %s; processes %d, %s; it said: %s"):format(done, driver.pid, nodes, driver:err():sub(-2000)), 0)
end

local function run(what)
  what.seconds, what.world, what.procs, what.pause = what.seconds or 20, what.world or "private", what.procs or 4, what.pause or 1
  what.program, what.disk, what.store = what.program or "graphs", small_disk(), STORE
  what.marks = kit.shell("mktemp -d " .. kit.quote(kit.folder) .. "/marks.XXXX")
  local list, why = choose(what)
  if #list == 0 then return nil, select(2, next(why)) end
  local chance = generator(what.seed)
  local world, reason = worlds[what.world](what)
  if not world then return nil, reason end
  world.marks, world.disk, world.pids = what.marks, what.disk, {}
  local driver = world:start(program(what))
  driver:says(what.program == "searches" and "game " or "round ")
  local told = disturb(what, world, driver, chance)
  local status = wait(world, driver)
  local out, err = driver:out(), driver:err()
  local result = right(what, driver)
  if status ~= 0 or not result then error(("wrong: status %s: %s%s"):format(status, out:sub(-300), err:sub(-3000)), 0) end
  for pid in pairs(world.pids) do redis.ends(pid, 20) end
  held(what, out)
  local left = world:left()
  world:close()
  check.eq(left, "", "left over")
  if disk then
    check.eq(kit.shell(("df --output=used %s | tail -1"):format(disk)):gsub("%s", ""), "0", "left over on the disk for spilled objects")
  end
  told.result, told.err = result, err
  return told
end

---@param what table seed; seconds (20), world ("private", "public", "hosts"), program ("graphs", "searches"), procs (4),
---  workers (1), faults (a list of names; all that can be), pause (mean seconds between two, 1), script (more words for
---  the program), say (a function for each fault)
---@return table|nil told how often each fault was done; and .result, .err. nil and the reason where it cannot be here
function chaos.run(what)
  local got = { pcall(run, what) }
  if got[1] then return got[2], got[3] end
  hosts.remove()
  error(got[2], 0)
end

return chaos
