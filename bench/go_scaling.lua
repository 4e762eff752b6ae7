-- go_scaling.lua - how well examples/mcts.lua uses a second processor: its playouts with two workers over those with
-- one, divided by what two plain threads that run the same kernel library reach over one (bench/go_threads.c).
--
--   ./dev bench go_scaling  or  luarun bench/go_scaling.lua [options]
--
-- The four programs run one after the other, round by round, so that what disturbs the machine disturbs all of them;
-- each round gives one quotient, and the median counts. Wants a C compiler; builds into a folder that it removes.

local here = (arg and arg[0] or ""):match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path

local Process = require "process"

local USAGE = [[
usage: luarun bench/go_scaling.lua [options]
  --rounds N    rounds (default 7)
  --seconds S   seconds of each program in a round (default 2)
  --workers N   compare so many workers and threads with one (default 2)
  --size N      board size (default 9)
  --least R     fail when the median is below this (default 0: only report)
]]

local function fail(message)
  io.stderr:write("go_scaling.lua: ", message, "\n")
  os.exit(1)
end

local function options_read(words)
  local options = {rounds = 7, seconds = 2, workers = 2, size = 9, least = 0}
  for i = 1, #words, 2 do
    local name = words[i]:match("^%-%-(%a+)$")
    if name == "help" then io.write(USAGE) os.exit(0) end
    if not name or not options[name] then fail(("unknown option '%s' (--help shows all)"):format(words[i])) end
    options[name] = tonumber(words[i + 1]) or fail(("--%s: '%s' is not a number"):format(name, words[i + 1] or ""))
  end
  return options
end

-- Runs a program to its end; its first line.
local function first_line(seconds, ...)
  local process = Process.start{...}
  local line, why = process:read_line(seconds + 60)
  local said = process:last_words()
  process:stop(10)
  if not line then error(("%s: %s; %s"):format((...), why, said), 0) end
  return line
end

local function compile(folder)
  local function cc(...)
    local process = Process.start{"cc", ...}
    process:read_line(120)
    local complaint = process:read_errors(120)
    if process:stop(10) ~= 0 then error("cc failed: " .. complaint, 0) end
  end
  local include = here .. "../bindings/include"
  cc("-O2", "-shared", "-fPIC", "-I", include, "-o", folder .. "/libgo.so", here .. "../examples/kernels/go.c")
  cc("-O2", "-pthread", "-I", include, "-o", folder .. "/go_threads", here .. "go_threads.c", "-ldl")
end

-- Playouts a second of plain threads.
local function threads_rate(folder, options, count)
  local line = first_line(options.seconds, folder .. "/go_threads", folder .. "/libgo.so", tostring(count),
    tostring(options.seconds), tostring(options.size))
  local playouts, seconds = line:match("^(%d+) ([%d.]+)$")
  return playouts / seconds
end

-- Playouts a second of the script, and the share of its processor time that the thread with the tree took.
local function script_rate(folder, options, workers)
  local line = first_line(options.seconds, "/usr/bin/env", "LUARUN_KERNELS=" .. folder, options.program, "--workers",
    tostring(workers), here .. "../examples/mcts.lua", "--bench", tostring(options.seconds), "--size",
    tostring(options.size))
  local rate, cpu, own = line:match(" s, (%d+) a second, cpu ([%d.]+) s, the tree's thread ([%d.]+) s$")
  return tonumber(rate), own / cpu
end

local function median(values)
  table.sort(values)
  local middle = #values / 2
  if #values % 2 == 1 then return values[middle + 0.5] end
  return (values[middle] + values[middle + 1]) / 2
end

local function round_run(folder, options)
  local many = options.workers
  local threads_one, script_one = threads_rate(folder, options, 1), script_rate(folder, options, 1)
  local threads_many = threads_rate(folder, options, many)
  local script_many, share = script_rate(folder, options, many)
  local quotient = script_many / script_one / (threads_many / threads_one)
  print(("threads %6.0f -> %6.0f (%.3f)   luarun %6.0f -> %6.0f (%.3f)   quotient %.3f   tree %.1f %%"):format(
    threads_one, threads_many, threads_many / threads_one, script_one, script_many, script_many / script_one, quotient,
    100 * share))
  io.stdout:flush()
  return quotient, share, script_many
end

local function main(words)
  local options = options_read(words)
  for i = -1, -30, -1 do options.program = arg[i] or options.program end
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir -m 700 " .. folder)
  local good, err = pcall(function()
    compile(folder)
    local quotients, shares, rates = {}, {}, {}
    for i = 1, options.rounds do quotients[i], shares[i], rates[i] = round_run(folder, options) end
    local found = median(quotients)
    print(('{"bench":"go_scaling","rounds":%d,"workers":%d,"quotient":%.3f,"tree_share":%.4f,"playouts":%.0f}'):format(
      options.rounds, options.workers, found, median(shares), median(rates)))
    if found < options.least then error(("the quotient is below %g"):format(options.least), 0) end
  end)
  os.remove(folder .. "/libgo.so")
  os.remove(folder .. "/go_threads")
  os.remove(folder)
  if not good then fail(tostring(err)) end
end

main{...}
