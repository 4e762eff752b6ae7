-- soak_run.lua - minutes of random jobs and faults: luarun tests/cluster/soak_run.lua [options]     (./dev soak)
--
--   --minutes N (10)   --seed N   --workers N (1), of the job that lasts   --jit 0: it compiles nothing, so that the memory
--   of compiled traces is not looked at
--
-- Says each fault, and at the end a line for each process and each thing that was looked at: how it grew. Fails if one
-- grew by more than its noise, a result was wrong, or something is left.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local kit = require "kit"
local soak = require "soak"

local options = { minutes = 10, seed = os.time() % 100000, workers = 1, jit = 1 }
for i = 1, #arg, 2 do
  local name, value = arg[i]:match("^%-%-([a-z]+)$"), tonumber(arg[i + 1] or "")
  if not (name and options[name] and value) then
    io.stderr:write("soak_run.lua: what is ", arg[i], "?\n")
    os.exit(1)
  end
  options[name] = value
end
options.say = function(line) io.stderr:write(line, "\n") end

local ok, told = pcall(soak.run, options)
kit.clean()
if ok and #told.growing > 0 then ok, told = false, "it grows:\n" .. table.concat(told.growing, "\n") end
if not ok then
  io.stderr:write(tostring(told), ("\nagain with: ./dev soak --minutes %g --seed %d\n"):format(options.minutes, options.seed))
  os.exit(1)
end
print(("seed %d, %g minutes: %d jobs beside the lasting one; killed: %d job processes, %d agents, %d times Redis; nothing grows, "
  .. "nothing is left"):format(options.seed, options.minutes, told.jobs, told.faults.job, told.faults.agent, told.faults.redis))
