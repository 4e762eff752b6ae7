-- moved.lua - objects between node processes: bytes= (100,000,000) each, count= (10). Wants a script's process without
-- workers (--procs 2 --workers 0). rate: bytes a second from here to there, in chunks or mapped, until a task there has
-- seen all of them; there: seconds from the end of the task that made one there to its first and last byte read here;
-- copied: bytes by which this process's private memory has grown by it.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local bytes, count, turns = kit.number("bytes", 1e8), kit.number("count", 10), kit.number("turns", 7)
assert(lr.stats().workers == 0 and lr.stats().procs == 2, "--procs 2 --workers 0 wanted")

local function anonymous()
  for line in io.lines("/proc/self/status") do
    local kilobytes = line:match("^RssAnon:%s+(%d+)")
    if kilobytes then return tonumber(kilobytes) * 1024 end
  end
end

local collect = lr.remote(function() collectgarbage() collectgarbage() end)
local function clean()
  collectgarbage()
  collectgarbage()
  collect():get()
end

local seen = lr.remote(function(list)
  local sum = 0
  for _, t in ipairs(list) do sum = sum + t:get(1) + t:get(#t) end
  return sum
end)

-- All of them to the other process; each turn's are new ones.
local function send()
  local list = {}
  for i = 1, count do list[i] = lr.put(lr.tensor("u8", bytes):fill(i)):get() end
  local begun = lr.now()
  assert(seen(list):get() == count * (count + 1))
  return lr.now() - begun
end

local make = lr.remote(function(i) return lr.tensor("u8", bytes):fill(i), lr.now() end)

local function fetch(i)
  local before = anonymous()
  local t, made = make(i):get()
  assert(t:get(1) == i and t:get(bytes) == i)
  local took = lr.now() - made
  return took, math.max(anonymous() - before, 0)
end

local sends, fetches, copied = {}, {}, 0
for i = -1, turns do -- the first two warm the memory
  local took = send()
  clean()
  if i > 0 then sends[i] = took end
end
for i = -1, turns do
  local took, more = fetch(i + 2)
  clean()
  if i > 0 then fetches[i], copied = took, math.max(copied, more) end
end
kit.answer{rate = count * bytes / kit.quantile(sends, 0.5), there = kit.quantile(fetches, 0.5), copied = copied,
           turns = turns}
