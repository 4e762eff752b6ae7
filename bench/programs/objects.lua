-- objects.lua - a tensor of bytes= (100,000,000) in the object store: put beside a memcpy of the same size in the
-- same turn, into memory used before; get of it; the same tensor through ten tasks, and whether it was copied.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit, ffi = require "luarun", require "kit", require "ffi"

local bytes, turns = kit.number("bytes", 1e8), 11
local source, target = lr.tensor("u8", bytes):fill(1), lr.tensor("u8", bytes):fill(2)
local pass = lr.remote(function(t) return t end)

-- Seconds of a memcpy, a put, and one of many gets.
local function turn()
  local begun = lr.now()
  ffi.copy(target:data(), source:data(), bytes)
  local copied = lr.now()
  local f = lr.put(source)
  local put = lr.now()
  for _ = 1, 100 do f:get() end
  local got = lr.now()
  lr.free(f)
  return copied - begun, put - copied, (got - put) / 100
end

local copies, puts, gets, quotients = {}, {}, {}, {}
for i = -1, turns do -- the first two warm the memory
  collectgarbage()
  collectgarbage()
  local copy, put, get = turn()
  if i > 0 then copies[i], puts[i], gets[i], quotients[i] = copy, put, get, copy / put end
end

local f = lr.put(source)
local address = ffi.cast("intptr_t", f:get():data())
local passes, copied = {}, 0
for i = 1, turns do
  local begun, g = lr.now(), f
  for _ = 1, 10 do g = pass(g) end
  local t = g:get()
  passes[i] = lr.now() - begun
  if ffi.cast("intptr_t", t:data()) ~= address then copied = copied + 1 end
end
kit.answer{memcpy = kit.quantile(copies, 0.5), put = kit.quantile(puts, 0.5), get = kit.quantile(gets, 0.5),
           passed = kit.quantile(passes, 0.5), copied = copied, quotient = kit.quantile(quotients, 0.5)}
