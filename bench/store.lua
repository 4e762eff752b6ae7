-- The object store: luarun bench/store.lua [MB [ROUNDS]]
--
-- put of a tensor into memory that was used before, beside a memcpy of the same size in the same round; get of what was
-- put; the same tensor through ten tasks, with a look whether it was copied. Printed: medians and ratios.
-- Wanted: put at 0.7 of memcpy's speed or more; a get in 5 us or less whatever the size; no copy.
local lr = require "luarun"
local ffi = require "ffi"

local mb, rounds = tonumber(arg[1]) or 100, tonumber(arg[2]) or 11
local bytes = mb * 1000 * 1000

local function median(list)
  table.sort(list)
  return list[math.floor(#list / 2) + 1]
end

local source, target = lr.tensor("u8", bytes):fill(1), lr.tensor("u8", bytes):fill(2)
local pass = lr.remote(function(t) return t end)

local function address_of(t) return ffi.cast("intptr_t", t:data()) end

-- One round: seconds of memcpy, put and one of many gets.
local function round()
  local start = lr.now()
  ffi.copy(target:data(), source:data(), bytes)
  local copied = lr.now()
  local f = lr.put(source)
  local put = lr.now()
  for _ = 1, 100 do f:get() end
  local got = lr.now()
  lr.free(f)
  return copied - start, put - copied, (got - put) / 100
end

local copies, puts, gets, ratios = {}, {}, {}, {}
for i = -1, rounds do -- the first two warm the memory
  collectgarbage()
  collectgarbage()
  local copy, put, get = round()
  if i > 0 then copies[i], puts[i], gets[i], ratios[i] = copy, put, get, copy / put end
end

local f = lr.put(source)
local address = address_of(f:get())
local passes = {}
for i = 1, rounds do
  local start, g = lr.now(), f
  for _ = 1, 10 do g = pass(g) end
  local t = g:get()
  passes[i] = lr.now() - start
  assert(address_of(t) == address, "the tensor was copied")
end

print(("memcpy of %d MB           %9.3f ms"):format(mb, median(copies) * 1e3))
print(("put of %d MB              %9.3f ms  %.2f of memcpy's speed (0.70 wanted)"):format(mb, median(puts) * 1e3,
  median(ratios)))
print(("get of it                 %9.3f us  (5 wanted)"):format(median(gets) * 1e6))
print(("through 10 tasks          %9.3f us  no copy"):format(median(passes) * 1e6))
