-- mcts.lua - playouts a second of examples/mcts.lua --bench in a process of its own: luarun=PATH, procs= (1), each=
-- workers of each process (2), seconds= (3).
local here = arg[0]:match("^(.*/)")
package.path = here .. "?.lua;" .. here .. "../?.lua;" .. package.path
local kit, Process = require "kit", require "process"

local seconds = kit.number("seconds", 3)
local process = Process.start{kit.text("luarun", "luarun"), "--procs", tostring(kit.number("procs", 1)), "--workers",
  tostring(kit.number("each", 2)), here .. "../../examples/mcts.lua", "--bench", tostring(seconds)}
local line = process:read_line(seconds + 60)
local said = process:last_words()
process:stop(10)
local rate = line and line:match(" s, (%d+) a second")
if not rate then error("no rate: " .. said, 0) end
kit.answer{rate = tonumber(rate)}
