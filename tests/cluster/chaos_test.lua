-- chaos_test.lua - each fault of chaos_faults.lua for a few seconds, while random graphs or tree searches run: all is as without.
--
-- `./dev chaos --runs N --seconds S --seed N` makes long runs of all of them together.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local chaos = require "chaos"
local check = require "check"
local kit = require "kit"

---A run, in which each of the faults must have been at least once.
local function survives(name, what)
  local why_not
  check.test(name, function()
    local told
    told, why_not = chaos.run(what)
    for _, fault in ipairs(told and what.faults or {}) do check.ok((told[fault] or 0) > 0, "there was no " .. fault) end
  end)
  if why_not then check.skip(name .. ": all of it", why_not) end
end

local PRIVATE = "private"
survives("processes are killed, the busiest and a broker among them", { seconds = 5, seed = 1, world = PRIVATE, pause = 0.4,
  faults = { "kill", "busiest", "broker" } })
survives("processes crash, by a signal and by their tasks and kernels", { seconds = 5, seed = 5, world = PRIVATE, pause = 0.5,
  faults = { "crash", "kernel" }, script = { "--crash" } })
survives("processes are stopped, and go on", { seconds = 4, seed = 3, world = PRIVATE, pause = 0.5, faults = { "stop" } })
survives("a process is stopped for longer than a lease, perhaps than the silence that ends a connection", { seconds = 2, seed = 4,
  world = PRIVATE, pause = 1, faults = { "long" } })
survives("the stores are full, and the disk that they spill to", { seconds = 5, seed = 5, world = PRIVATE, pause = 0.5,
  faults = { "store", "disk" } })
survives("tree searches: processes are killed and stopped", { seconds = 5, seed = 6, world = PRIVATE, program = "searches",
  pause = 0.5, faults = { "kill", "stop" } })
survives("a cluster: agents are killed, Redis is started again with what it had and empty", { seconds = 6, seed = 7,
  world = "public", pause = 0.5, faults = { "agent", "redis", "empty" } })
survives("hosts: one is cut off, two from each other, the script's", { seconds = 6, seed = 8, world = "hosts", pause = 0.6,
  faults = { "isolate", "link", "driver" } })

chaos.clean()
kit.done()
