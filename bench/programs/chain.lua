-- chain.lua - a chain of n= (1,000) tasks, each of which takes the value of the one before (bytes=, 100,000) and makes
-- the next, all on one node process, which is then killed; then the last value is asked for. seconds until it is there;
-- most: how often the task that ran most often has run, before and after; again: how many ran more than once. With
-- hold=0 the script holds the last future only. Wants --procs 2 --workers 0, and LUARUN_SHARE=0 LUARUN_RING=0: else
-- what a process has made is mapped, and outlives it.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit, nodes = require "luarun", require "kit", require "nodes"

local n, elements = kit.number("n", 1000), kit.number("bytes", 1e5) / 8
assert(lr.stats().workers == 0 and lr.stats().procs == 2, "--procs 2 --workers 0 wanted")

local note = os.tmpname()
local link = lr.remote(function(before, i, elements, note) -- luacheck: ignore
  local file = io.open(note, "a")
  file:write(i, "\n") -- one write: whole
  file:close()
  return lr.tensor("f64", elements):fill(before and before:get(1) + 1 or 1)
end)

local held, last = {}, nil
for i = 1, n do
  last = link(last, i, elements, note)
  held[i] = last
end
lr.wait({ last })
if kit.number("hold", 1) == 0 then held = nil end
collectgarbage()
collectgarbage()
nodes.kill(nodes.pids()[1])
lr.get(nodes.hold(0)) -- another has taken its place
local begun = lr.now()
local value = last:get(120)
local seconds = lr.now() - begun
assert(value:get(1) == n and value:get(elements) == n, "another value")

local runs, most, again = {}, 0, 0
for line in io.lines(note) do
  local i = tonumber(line)
  runs[i] = (runs[i] or 0) + 1
  most = math.max(most, runs[i])
  if runs[i] == 2 then again = again + 1 end
end
for i = 1, n do assert(runs[i], "one has not run") end
os.remove(note)
kit.answer { seconds = seconds, most = most, again = again, count = n, held = held and #held or 1 }
