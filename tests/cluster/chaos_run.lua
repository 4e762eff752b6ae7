-- chaos_run.lua - long runs of chaos.lua: luarun tests/cluster/chaos_run.lua [options]     (./dev chaos)
--
--   --runs N         seeds, from --seed on (1); a line for each, and a sum at the end
--   --seconds S      of each (20)             --pause S       mean time between two faults (1)
--   --seed N         (by the clock)           --only A,B      these faults only
--   --world W        private, public, hosts   --program P     graphs, searches: without, the seed decides
--   --procs N        nodes (4)                --workers N     of each (1)
--
-- The line of a run that failed ends with the command that does the same again. With LR_CHAOS_KEEP a run that hangs is
-- left for an hour, to be looked at with a debugger.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local chaos = require "chaos"
local kit = require "kit"

local WORLDS, PROGRAMS = { "private", "public", "hosts" }, { "graphs", "graphs", "searches" }
local NUMBERS = { runs = 1, seconds = 20, seed = os.time() % 100000, procs = 4, workers = 1, pause = 1 }
local WORDS = { world = true, program = true, only = true }

local options = {}
for name, value in pairs(NUMBERS) do options[name] = value end
for i = 1, #arg, 2 do
  local name = arg[i]:match("^%-%-([a-z]+)$")
  local value = NUMBERS[name] and tonumber(arg[i + 1] or "") or WORDS[name] and arg[i + 1]
  if not value then
    io.stderr:write("chaos_run.lua: what is ", arg[i], "? (its first lines say the options)\n")
    os.exit(1)
  end
  options[name] = value
end

local only
if options.only then
  only = {}
  for name in options.only:gmatch("[a-z]+") do only[#only + 1] = name end
end

local function sums(told)
  local names, words = {}, {}
  for name, count in pairs(told) do if type(count) == "number" then names[#names + 1] = name end end
  table.sort(names)
  for i, name in ipairs(names) do words[i] = told[name] .. " " .. name end
  return table.concat(words, ", ")
end

local function again(seed)
  local words = { "./dev chaos --seed " .. seed }
  for _, name in ipairs { "seconds", "procs", "workers", "pause" } do
    if options[name] ~= NUMBERS[name] then words[#words + 1] = ("--%s %s"):format(name, options[name]) end
  end
  for name in pairs(WORDS) do if options[name] then words[#words + 1] = ("--%s %s"):format(name, options[name]) end end
  return table.concat(words, " ")
end

local count, all = { right = 0, wrong = 0, hung = 0, left = 0, skipped = 0 }, {}
for seed = options.seed, options.seed + options.runs - 1 do
  local world = options.world or WORLDS[seed % #WORLDS + 1]
  local play = options.program or PROGRAMS[math.floor(seed / #WORLDS) % #PROGRAMS + 1]
  local ok, told, why = pcall(chaos.run, { seed = seed, seconds = options.seconds, procs = options.procs,
    workers = options.workers, pause = options.pause, world = world, program = play, faults = only,
    script = play == "graphs" and { "--crash" } or nil, say = options.runs == 1 and function(line) io.stderr:write(line, "\n") end })
  local kind = ok and (told and "right" or "skipped") or tostring(told):match("^hung") or tostring(told):match("left over") and "left"
    or "wrong"
  count[kind] = count[kind] + 1
  if kind == "right" then
    print(("seed %d, %s: %s; %s"):format(seed, world, sums(told), told.result))
    for name, n in pairs(told) do if type(n) == "number" then all[name] = (all[name] or 0) + n end end
  elseif kind == "skipped" then
    print(("seed %d, %s: skipped: %s"):format(seed, world, why))
  else
    print(("seed %d, %s: %s\nagain with: %s"):format(seed, world, tostring(told), again(seed)))
  end
  io.stdout:flush()
  kit.end_all()
end
chaos.clean()
kit.clean()
if options.runs > 1 then
  print(("%d right, %d wrong, %d hung, %d left something, %d skipped; faults: %s"):format(count.right, count.wrong, count.hung,
    count.left, count.skipped, sums(all)))
end
os.exit(count.wrong + count.hung + count.left == 0)
