--- The short way of calls and gets: what compiled code does without leaving for Lua's C API. The other half, and
-- what may go this way, is bindings/short.h; everything else goes the long way, which also raises the errors.

local core = require "luarun.core"
local ffi = require "ffi"

local state = ffi.cast("void *", core.short_state)
local call = ffi.cast("bool (*)(void *, void *, void *, int, double, double, double, double)", core.short_call)
local get = ffi.cast("bool (*)(void *, void *, double *)", core.short_get)
local ended = ffi.cast("int (*)(void *)", core.short_ended)
local stock_up = core.short_stock
local select, type, getmetatable = select, type, getmetatable

local STOCK = 64
local stock, left = {}, 0 -- empty futures; how many. Made many at a time, since that leaves compiled code
local number = ffi.new("double[1]")

local short = {}

--- The __call of remote functions: `long(rf, ...)` where it is no ordinary call. A tail call, so that its errors are
-- the caller's.
function short.caller(long)
  return function(rf, ...)
    local count = select("#", ...)
    if count == 0 or count > 4 then return long(rf, ...) end
    local a, b, c, d = ...
    if type(a) ~= "number" then return long(rf, ...) end
    if count < 2 then b = 0 elseif type(b) ~= "number" then return long(rf, ...) end
    if count < 3 then c = 0 elseif type(c) ~= "number" then return long(rf, ...) end
    if count < 4 then d = 0 elseif type(d) ~= "number" then return long(rf, ...) end
    if left == 0 then
      stock_up(stock, STOCK)
      left = STOCK
    end
    local f = stock[left]
    if not call(state, rf, f, count, a, b, c, d) then return long(rf, ...) end
    stock[left] = false
    left = left - 1
    return f
  end
end

--- The value of a future of ours, where it is a single number that is there; else nil. Ours have a metatable that is
-- not shown.
function short.value(f)
  if type(f) == "userdata" and getmetatable(f) == "luarun" and get(state, f, number) then return number[0] end
end

--- 1 or 0: whether the future has ended; nil where it is none of ours.
function short.ended(f)
  if type(f) ~= "userdata" or getmetatable(f) ~= "luarun" then return nil end
  local answer = ended(f)
  if answer >= 0 then return answer end
end

return short
