-- stream.lua - the script whose cluster others disturb: a steady stream of tasks of ms= (5), count= (8) under way,
-- until the file till= exists. It says on a line of its own, with times of one clock:
--
--   at SECONDS COUNT    so many have ended in the tenth of a second before
--   again SECONDS       when a task began that was run again
--   node PID            a process has worked for the first time
--   all COUNT           the end: so many were submitted, and each has had its value
local here = arg[0]:match("^(.*/)")
package.path = here .. "?.lua;" .. package.path
local lr, kit, nodes = require "luarun", require "kit", require "nodes"

local WINDOW = 0.1
local seconds, till = kit.number("ms", 5) / 1000, kit.text("till")
local known, all, count, window_over = {}, 0, 0, lr.now() + WINDOW

local function say(...)
  io.write(string.format(...), "\n")
  io.stdout:flush()
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local function submit()
  all = all + 1
  return nodes.hold(seconds)
end

local function ended(f)
  local begun, attempt, pid = f:get()
  count = count + 1
  if attempt > 1 then say("again %.6f", begun) end
  if not known[pid] then say("node %d", pid) end
  known[pid] = true
end

local ended_count = 0
nodes.stream(kit.number("count", 8), submit, ended, function()
  local over = false
  while lr.now() >= window_over do
    say("at %.3f %d", window_over, count)
    ended_count, count, window_over = ended_count + count, 0, window_over + WINDOW
    over = exists(till)
  end
  return over
end)
assert(ended_count + count == all, "a task has had no value")
say("all %d", all)
