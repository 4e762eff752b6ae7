-- chaos_run.lua - one long run of chaos.lua: luarun tests/cluster/chaos_run.lua [--seconds N] [--seed N] [--procs N]
--                 [--workers N] [--pause S] [--stopped S] [--only kill|crash|stop]     (./dev chaos)
--
-- Tells each fault as it happens, and the command that does the same again where something was wrong.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local chaos = require "chaos"
local kit = require "kit"

local options = { seconds = 20, seed = os.time() % 100000, procs = 4, workers = 1, pause = 1, stopped = 2 }
for i = 1, #arg, 2 do
  local name = arg[i]:match("^%-%-([a-z]+)$")
  if name == "only" then
    options.faults = { arg[i + 1] }
  elseif name and options[name] and tonumber(arg[i + 1] or "") then
    options[name] = tonumber(arg[i + 1])
  else
    io.stderr:write("chaos_run.lua: what is ", arg[i], "?\n")
    os.exit(1)
  end
end
options.script = { "--crash" }
options.say = function(line) io.stderr:write(line, "\n") end

local ok, told = pcall(chaos.run, options)
kit.clean()
if not ok then
  local command = "./dev chaos"
  for _, name in ipairs { "seconds", "seed", "procs", "workers", "pause", "stopped" } do
    command = ("%s --%s %s"):format(command, name, options[name])
  end
  if options.faults then command = command .. " --only " .. options.faults[1] end
  io.stderr:write(tostring(told), "\nagain with: ", command, "\n")
  os.exit(1)
end
print(("seed %d: %d killed, %d crashed, %d stopped; %s"):format(options.seed, told.kill, told.crash, told.stop,
  told.out:match("[^\n]*: all equal")))
