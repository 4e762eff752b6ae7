-- chaos_faults: what chaos.lua may do to a world (chaos_worlds.lua), a row each.
--
-- A row: worlds in which it can be (all without), weight (how often beside the others; 1), needs (a function that gives a
-- reason where it cannot be here), and strike(world, chance), which does it and returns false where there was nothing to
-- do it to; true; or a function that ends it and the seconds until then. chance(low, high) is the seed's.

local ffi = require "ffi"
local kit = require "kit"

local KILL, SEGV, STOP, CONT = 9, 11, 19, 18

local function any(list, chance) return list[math.floor(chance(1, #list + 0.999))] end

local function send(pid, signal)
  if not pid then return false end
  return ffi.C.kill(pid, signal) == 0
end

local function stop(low, high)
  return function(world, chance)
    local pid = any(world:nodes(), chance)
    if not send(pid, STOP) then return false end
    return function() ffi.C.kill(pid, CONT) end, chance(low, high)
  end
end

-- Seconds of processor that a process has used.
local function used(pid)
  local user, system = (kit.read("/proc/" .. pid .. "/stat") or ""):match("%) %S %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)")
  return user and (user + system) / 100 or 0
end

local function busiest(world)
  local seen, best, most = {}, nil, -1
  for _, pid in ipairs(world:nodes()) do
    seen[pid] = used(pid)
    local since = seen[pid] - (world.used and world.used[pid] or 0)
    if since > most then best, most = pid, since end
  end
  world.used = seen
  return best
end

local function mark(name)
  return function(world)
    local file = assert(io.open(world.marks .. "/" .. name, "w"))
    file:close()
    return true
  end
end

local function no_disk(what) return not what.disk and "a small file system cannot be mounted here (not root)" or nil end
local function no_program(what) return what.program ~= "graphs" and "only the graphs look for marks" or nil end

local clustered, networked = { public = true, hosts = true }, { hosts = true }

return {
  kill = { weight = 2, strike = function(world, chance) return send(any(world:nodes(), chance), KILL) end },
  crash = { strike = function(world, chance) return send(any(world:nodes(), chance), SEGV) end },
  kernel = { needs = no_program, strike = mark "kernel" },
  stop = { strike = stop(0.1, 2) },
  long = { strike = stop(4, 12) },
  busiest = { strike = function(world) return send(busiest(world), KILL) end },
  -- the role of the global scheduler is the script's and the first two others'
  broker = { strike = function(world, chance) return send(world:nodes()[math.floor(chance(1, 2.999))], KILL) end },
  agent = { worlds = clustered, strike = function(world, chance) return send(any(world:agents(), chance), KILL) end },
  redis = { worlds = clustered, strike = function(world) return world:restart(false) end },
  empty = { worlds = clustered, strike = function(world) return world:restart(true) end },
  isolate = { worlds = networked, strike = function(world, chance)
    return world:cut(math.floor(chance(1, world.procs + 0.999))), chance(0.3, 6)
  end },
  link = { worlds = networked, strike = function(world, chance)
    local i = math.floor(chance(1, world.procs - 0.001))
    return world:cut(i, i + 1), chance(0.3, 12)
  end },
  driver = { worlds = networked, strike = function(world, chance) return world:cut(0), chance(0.3, 4) end },
  disk = { needs = no_disk, strike = function(world, chance)
    os.execute(("head -c 1G /dev/zero >%s/fill 2>/dev/null"):format(kit.quote(world.disk)))
    return function() os.remove(world.disk .. "/fill") end, chance(0.2, 2)
  end },
  store = { needs = function(what) return no_program(what) or no_disk(what) end, strike = mark "hog" },
}
