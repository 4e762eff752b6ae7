-- graphs.lua - runs random graphs and tree searches here and serially, and compares what they come to.
--
--   luarun [--procs N | --cluster URL] tests/cluster/graphs.lua [--rounds N | --seconds S] [--seed N] [options]
--
--   --rounds N    graphs (default 20; 0 with --seconds: as many as fit)
--   --seed N      of the first; the next has the next number (default: by the clock)
--   --crash       in every second graph a task crashes the node process that runs it first
--   --retries N   of every task (default: luarun's own)
--   --marks DIR   before a graph DIR/hog and DIR/kernel are looked for, and removed: large values fill the stores of the
--                 nodes, a kernel crashes one of them
--   --joff        nothing is compiled, neither here nor where a task has run
--   --store N     bytes of each store, for that
--   --say         a line for each round as it begins; before the last line one with the file descriptors and shared
--                 mappings of this process after the second round and at the end
--
-- The last line is "N graphs, N games: all equal" with status 0; a failure says the seed that repeats it, status 1.

local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path

local lr = require "luarun"
local graph = require "graph"
local serial = require "serial"

local options, i = {}, 1
while arg[i] do
  local name, value = arg[i]:match("^%-%-([a-z]+)=?(.*)$")
  if name == "crash" or name == "say" or name == "joff" then
    options[name] = true
  elseif name == "rounds" or name == "seconds" or name == "seed" or name == "retries" or name == "store" then
    if value == "" then i = i + 1 end
    options[name] = assert(tonumber(value ~= "" and value or arg[i]), "--" .. name .. " needs a number")
  elseif name == "marks" then
    i = i + 1
    options.marks = arg[i]
  else
    error("graphs.lua: unknown option " .. arg[i], 0)
  end
  i = i + 1
end

local seed = options.seed or os.time()
local rounds = options.rounds or (not options.seconds and 20)
local kernels = graph.kernels(lr)
if options.joff then require("jit").off() end
local ours = graph.make(lr, { real = true, retries = options.retries, spread = true, kernels = kernels, joff = options.joff })
local theirs = graph.make(serial, { spread = true })

local function wrong(number, what)
  io.stderr:write(("graphs.lua: seed %d: %s\nagain with: tests/cluster/graphs.lua --rounds 1 --seed %d%s\n")
    :format(number, what, number, options.crash and " --crash" or ""))
  os.exit(false)
end

local function compare(number, crash)
  local wanted = theirs.run(number, crash)
  local got, errors = ours.run(number, crash)
  for n = 1, #wanted do
    if got[n] ~= wanted[n] then
      wrong(number, ("task %d of the first level came to %s, serially to %s %s"):format(n, tostring(got[n]), tostring(wanted[n]),
        errors[n] and ": " .. tostring(errors[n]) or ""))
    end
  end
end

local function marked(name) return options.marks and os.remove(options.marks .. "/" .. name) end

local crash_once = kernels.crash_once:with { retries = options.retries }
local function disturbed(number)
  local crash
  if marked("kernel") then crash = crash_once(options.marks .. "/crashed" .. number) end
  if marked("hog") then ours.hogs(4, options.store) end
  return crash
end

local function lines_of(command)
  local pipe = io.popen(command)
  local text = pipe:read("*a")
  pipe:close()
  return tonumber(text) or -1
end

-- File descriptors, and mappings of memory that is a file's without a name.
local function held()
  local pid = io.open("/proc/self/stat"):read("*n")
  return lines_of(("ls /proc/%d/fd | wc -l"):format(pid)), lines_of(("grep -c memfd: /proc/%d/maps"):format(pid))
end

local start, graphs, games = lr.now(), 0, 0
local fds, maps
while rounds and graphs < rounds or not rounds and lr.now() - start < options.seconds do
  local number = seed + graphs
  if options.say then print("round " .. number) io.stdout:flush() end
  local ok, why = pcall(function()
    local crash = disturbed(number)
    compare(number, options.crash and number % 2 == 0)
    if crash then crash:get() end
  end)
  if not ok then wrong(number, tostring(why)) end
  graphs = graphs + 1
  if graphs == 2 and options.say then fds, maps = held() end
  if graphs % 5 == 0 then
    local moves, wanted = ours.play(number), theirs.play(number)
    if moves ~= wanted then wrong(number, ("the game went %s, serially %s"):format(moves, wanted)) end
    games = games + 1
  end
end
if options.say then
  collectgarbage()
  collectgarbage()
  print("held", fds, maps, held())
end
print(("%d graphs, %d games: all equal"):format(graphs, games))
