--- Sets up the lua_State of a worker: run once, before its first task.
--
-- Globals do not travel with a function, so reading one that is not there is a mistake that must
-- not pass as nil. Modules may set globals while they are loaded (old ones do). math.random is a stream
-- of the task's own; print is a whole line at the script's terminal; a module that is not found on this node is asked
-- for at the driver.

local core = require "luarun.core"
require "luarun"

local loading = 0
local plain_require = require

local loaded = package.loaded

-- A module that fails to load is tried again by the next task: that task too is to hear why, not that there was
-- an error before (which is what plain require says, by a mark that it leaves in package.loaded).
function require(name) -- luacheck: globals require
  local new = name ~= nil and loaded[name] == nil
  loading = loading + 1
  local ok, value = pcall(plain_require, name)
  loading = loading - 1
  if new and not ok then loaded[name] = nil end
  if not ok then error(value, 2) end
  return value
end

-- A module that is not on this node's package.path may be on the driver's.
local loaders = package.loaders
loaders[#loaders + 1] = function(name)
  local source, where = core.fetch_module(name)
  if not source then return where end
  return assert(loadstring(source, "@" .. where))
end

function print(...) -- luacheck: globals print
  local parts = { ... }
  for i = 1, select("#", ...) do parts[i] = tostring(parts[i]) end
  core.print_line(table.concat(parts, "\t"))
end

math.random, math.randomseed = core.random, core.randomseed -- luacheck: globals math

os.exit = function() -- luacheck: globals os
  error("os.exit cannot be called in a task: return, or raise an error", 2)
end

setmetatable(_G, {
  __index = function(_, name)
    if loading > 0 then return nil end
    error(("global '%s' is not set in a task: globals do not travel; make it a local that the function uses, "
      .. "an argument, or a module"):format(tostring(name)), 2)
  end,
  __newindex = function(t, name, value)
    if loading > 0 then return rawset(t, name, value) end
    error(("a task cannot set the global '%s': other tasks would not see it; return the value instead")
      :format(tostring(name)), 2)
  end,
})
