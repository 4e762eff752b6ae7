-- codec.lua - one value encoded and decoded again, the result dropped, beside LuaJIT's string.buffer, which keeps
-- its buffer between rounds as it is meant to be used; in turns. value= small, doubles, records, text.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local kit, core, buffer = require "kit", require "luarun.core", require "string.buffer"

local function list(n, fn)
  local t = {}
  for i = 1, n do t[i] = fn(i) end
  return t
end

local values = {
  small = {1, 2, {x = 3}},
  doubles = list(1000, function(i) return i + 0.5 end),
  records = list(100, function(i) return {id = i, name = "record " .. i, tags = {"a", "b"}, done = i % 2 == 0} end),
  text = ("x"):rep(1000),
}
local value = values[kit.text("value", "small")] or error("value= small, doubles, records or text", 0)

local function same(a, b)
  if type(a) ~= "table" then return a == b end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

local roundtrip, kept = core.codec_roundtrip, buffer.new()

local function codec(n) for _ = 1, n do roundtrip(value) end end
local function other(n) for _ = 1, n do kept:reset():encode(value); kept:decode() end end

local function run(way, n)
  collectgarbage()
  local begun = core.now()
  way(n)
  return (core.now() - begun) / n
end

assert(same(value, roundtrip(value)) and same(value, kept:reset():encode(value):decode()))
local n = 1
repeat n = n * 2 until run(codec, n) * n > 0.02
local ours, theirs, quotients = {}, {}, {}
for i = 1, 15 do
  ours[i], theirs[i] = run(codec, n), run(other, n)
  quotients[i] = ours[i] / theirs[i]
end
kit.answer{codec = kit.quantile(ours, 0.5), buffer = kit.quantile(theirs, 0.5), quotient = kit.quantile(quotients, 0.5)}
