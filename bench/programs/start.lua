-- start.lua - whole processes: luarun=PATH -e '' beside luajit -e '', n= (40) of each in turns, from before the
-- start until the end was seen. `resident`: the most memory that luarun had at once. `bound`: the median over twice
-- luajit's and 5 ms.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. arg[0]:match("^(.*/)") .. "../?.lua;" .. package.path
local kit, Process = require "kit", require "process"

local luarun = kit.text("luarun", "luarun")

local function run(...)
  local begun = Process.now()
  local process = Process.start{...}
  while process:read_line(10) do end
  local seconds = Process.now() - begun
  assert(process:stop(10) == 0, (...))
  return seconds
end

local function resident()
  local process = Process.start{luarun, "-e", [[
    for line in io.lines("/proc/self/status") do
      if line:match("^VmHWM") then print(line:match("%d+")) end
    end]]}
  local line = process:read_line(10)
  process:stop(10)
  return tonumber(line) * 1024
end

local ours, theirs = {}, {}
run(luarun, "-e", "")
for i = 1, kit.number("n", 40) do
  ours[i], theirs[i] = run(luarun, "-e", ""), run("luajit", "-e", "")
end
local luarun_seconds, luajit_seconds = kit.quantile(ours, 0.5), kit.quantile(theirs, 0.5)
kit.answer{luarun = luarun_seconds, luajit = luajit_seconds, resident = resident(),
           bound = luarun_seconds / (2 * luajit_seconds + 0.005)}
