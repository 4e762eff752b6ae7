-- codec.lua - what it costs to send a value: the codec's way out and in beside LuaJIT's string.buffer, in one process.
--
--   ./dev bench codec [SECONDS]
--
-- Both sides: one value encoded and decoded again, from Lua, the result dropped. string.buffer keeps its buffer
-- between rounds, as it is meant to be used. The two take turns; of each the fastest of its turns counts. The
-- last lines are ratios, codec to string.buffer: 1.5 is the bound that is wanted of the first two.

local core = require "luarun.core"
local buffer = require "string.buffer"

local seconds = tonumber(arg[1]) or 3
local TURNS = 15

local function doubles(n)
  local t = {}
  for i = 1, n do t[i] = i + 0.5 end
  return t
end

local function records(n)
  local t = {}
  for i = 1, n do t[i] = { id = i, name = "record " .. i, tags = { "a", "b" }, done = i % 2 == 0 } end
  return t
end

local cases = {
  { "{1, 2, {x = 3}}", { 1, 2, { x = 3 } }, wanted = 1.5 },
  { "1,000 doubles", doubles(1000), wanted = 1.5 },
  { "100 records", records(100) },
  { "a string of 1,000 bytes", ("x"):rep(1000) },
}

local function same(a, b)
  if type(a) ~= "table" then return a == b end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

local roundtrip = core.codec_roundtrip
local kept = buffer.new()

local ways = {
  codec = function(value, n) for _ = 1, n do roundtrip(value) end end,
  buffer = function(value, n) for _ = 1, n do kept:reset():encode(value); kept:decode() end end,
}

---Seconds of one round, the fastest of the turns.
local function measure(value, budget)
  local best, n = { codec = math.huge, buffer = math.huge }, 1
  repeat -- how many rounds are worth a look at the clock
    n = n * 2
    local start = core.now()
    ways.codec(value, n)
  until core.now() - start > budget / TURNS / 4
  for _ = 1, TURNS do
    for _, way in ipairs { "codec", "buffer" } do
      collectgarbage()
      local start = core.now()
      ways[way](value, n)
      best[way] = math.min(best[way], (core.now() - start) / n)
    end
  end
  return best.codec, best.buffer
end

print(("%-26s %12s %14s %7s"):format("value", "codec", "string.buffer", "ratio"))
for _, case in ipairs(cases) do
  local name, value = case[1], case[2]
  assert(same(value, roundtrip(value)) and same(value, kept:reset():encode(value):decode()), name)
  local codec, other = measure(value, seconds / #cases)
  local verdict = case.wanted and (codec / other <= case.wanted and "  ok" or "  above " .. case.wanted) or ""
  print(("%-26s %9.0f ns %11.0f ns %7.2f%s"):format(name, codec * 1e9, other * 1e9, codec / other, verdict))
end
