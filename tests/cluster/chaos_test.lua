-- chaos_test.lua - node processes are killed, crash and are stopped while random graphs run: all is as without.
--
-- Short runs. `./dev chaos --seconds N --seed N` makes long ones.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local chaos = require "chaos"
local check = require "check"
local kit = require "kit"

check.test("processes are killed", function()
  local told = chaos.run { seconds = 5, seed = 1, faults = { "kill" }, pause = 0.6 }
  check.ok(told.kill > 0, "somebody was killed")
end)
check.test("processes are stopped for a while, and go on", function()
  local told = chaos.run { seconds = 5, seed = 2, faults = { "stop" }, pause = 0.6 }
  check.ok(told.stop > 0, "somebody was stopped")
end)
check.test("processes crash, from outside and by their tasks, are killed and stopped", function()
  chaos.run { seconds = 6, seed = 3, script = { "--crash" } }
end)
check.test("a script's process that runs nothing loses those that do", function()
  chaos.run { seconds = 4, seed = 4, procs = 3, workers = 0 }
end)

kit.done()
