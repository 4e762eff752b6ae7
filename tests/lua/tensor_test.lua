-- Tensors: making, reading, writing, views, pointers, sending; every refusal with its text.
local lr = require "luarun"
local ffi = require "ffi"
local check = dofile(arg[0]:match("^(.*/)") .. "check.lua")
local test, eq, ok, error_has = check.test, check.eq, check.ok, check.error_has

local dtypes = {"f32", "f64", "i8", "u8", "i32", "i64"}

-- The elements of a tensor in a row, as text: "1 2 3".
local function flat(t)
  local out = {}
  local p = t:data()
  for i = 1, #t do out[i] = tostring(tonumber(p[i - 1])) end
  return table.concat(out, " ")
end

local function numbers(dtype, ...)
  local n = 1
  for _, size in ipairs{...} do n = n * size end
  local data = {}
  for i = 1, n do data[i] = i end
  return lr.tensor(dtype, {...}, data)
end

test("a new tensor is zero, of every dtype", function()
  for _, dtype in ipairs(dtypes) do
    local t = lr.tensor(dtype, {2, 3})
    eq(t:dtype(), dtype)
    eq(t:rank(), 2)
    eq(#t, 6)
    eq(flat(t), "0 0 0 0 0 0")
    eq(t:is_readonly(), false)
  end
end)

test("shapes: a number, a table, none, many, with a zero", function()
  eq(table.concat(lr.tensor("f64", 4):shape(), " "), "4")
  eq(table.concat(lr.tensor("f64", {2, 3, 4}):shape(), " "), "2 3 4")
  local t = lr.tensor("f64", {2, 3, 4})
  eq(t:size(1) .. t:size(2) .. t:size(3), "234")
  local one = lr.tensor("i32", {})
  eq(#one, 1)
  eq(one:set(7):get(), 7)
  eq(#lr.tensor("u8", {3, 0, 2}), 0)
  eq(lr.tensor("u8", {1, 1, 1, 1, 1, 1, 1, 1}):rank(), 8)
end)

test("data: flat, nested, bytes, another tensor", function()
  eq(flat(lr.tensor("f64", {2, 2}, {1, 2, 3, 4})), "1 2 3 4")
  eq(flat(lr.tensor("f64", {2, 2}, {{1, 2}, {3, 4}})), "1 2 3 4")
  eq(flat(lr.tensor("i8", {2, 1, 2}, {{{1, 2}}, {{3, -4}}})), "1 2 3 -4")
  eq(flat(lr.tensor("u8", 3, "abc")), "97 98 99")
  eq(flat(lr.tensor("i32", 2, "\1\0\0\0\255\255\255\255")), "1 -1")
  eq(flat(lr.tensor("f32", {4}, lr.tensor("f64", {2, 2}, {1, 2, 3, 4}))), "1 2 3 4")
  eq(#lr.tensor("f64", {2, 0}, {{}, {}}), 0)
  eq(#lr.tensor("f64", {0}, {}), 0)
end)

test("data that does not fit is refused with its place", function()
  local function refused(text, ...)
    local args = {...}
    error_has(function() lr.tensor(unpack(args)) end, text)
  end
  refused("data: 4 elements wanted for the shape (2, 2), 3 given", "f64", {2, 2}, {1, 2, 3})
  refused("data: 4 elements wanted for the shape (2, 2), 6 given", "f64", {2, 2}, lr.tensor("f64", 6))
  refused("data: 2 elements wanted, 3 given", "f64", {2, 2}, {{1, 2}, {3, 4}, {5, 6}})
  refused("data[2]: 2 elements wanted, 1 given", "f64", {2, 2}, {{1, 2}, {3}})
  refused("data[2]: a table of 2 elements wanted, a number given", "f64", {2, 2}, {{1, 2}, 3})
  refused("data[2][1]: a number wanted, a string given", "f64", {2, 2}, {{1, 2}, {"3", 4}})
  refused("data[3]: a number wanted, nil given", "f64", {4}, {1, 2, nil, 4})
  refused("data[1]: 300 does not fit u8 (0..255)", "u8", 1, {300})
  refused("data[1]: -129 does not fit i8 (-128..127)", "i8", 1, {-129})
  refused("data[1]: 2147483648 does not fit i32 (-2147483648..2147483647)", "i32", 1, {2 ^ 31})
  refused("data[1]: 1.5 is not a whole number, as i32 wants", "i32", 1, {1.5})
  refused("data[1]: nan is not a whole number, as i32 wants", "i32", 1, {0 / 0})
  refused("data: element 2: 1.5 is not a whole number, as u8 wants", "u8", 2, lr.tensor("f64", 2, {1, 1.5}))
  refused("data: a string of 16 bytes wanted for f64 of the shape (2), 3 given", "f64", 2, "abc")
  refused("data: a table, a tensor or a string of bytes wanted, a number given", "f64", 2, 3)
end)

test("dtypes and shapes that are none are refused", function()
  local function refused(text, ...)
    local args = {...}
    error_has(function() lr.tensor(unpack(args)) end, text)
  end
  refused("dtype: f32, f64, i8, u8, i32 or i64 wanted, 'float' given", "float", 1)
  refused("dtype: f32, f64, i8, u8, i32 or i64 wanted, a number given", 1, 1)
  refused("dtype: f32, f64, i8, u8, i32 or i64 wanted, nil given")
  refused("shape: a number or a table of numbers wanted, nil given", "f64")
  refused("shape: a number or a table of numbers wanted, a string given", "f64", "3")
  refused("shape: dimension 2: a whole number from 0 wanted, -1 given", "f64", {3, -1})
  refused("shape: dimension 1: a whole number from 0 wanted, 1.5 given", "f64", 1.5)
  refused("shape: dimension 1: a whole number from 0 wanted, a string given", "f64", {"3"})
  refused("shape: at most 8 dimensions, 9 given", "f64", {1, 1, 1, 1, 1, 1, 1, 1, 1})
  refused("the shape (4503599627370496, 4503599627370496) has more elements than memory can hold", "f64",
    {2 ^ 52, 2 ^ 52})
  refused("4503599.6 GB asked: this can never fit the object store, whose capacity is", "u8", 2 ^ 52)
end)

test("get and set", function()
  for _, dtype in ipairs(dtypes) do
    local t = lr.tensor(dtype, {2, 3})
    eq(t:set(2, 3, 5), t)
    eq(t:get(2, 3), 5)
    eq(flat(t), "0 0 0 0 0 5")
  end
  local t = lr.tensor("f32", 1)
  t:set(1, 0.1)
  ok(math.abs(t:get(1) - 0.1) < 1e-7)
end)

test("get and set refuse what is not there", function()
  local t = lr.tensor("u8", {2, 9})
  error_has(function() t:get(1, 10) end, "index 10 is outside 1..9 of dimension 2")
  error_has(function() t:get(0, 1) end, "index 0 is outside 1..2 of dimension 1")
  error_has(function() t:get(1.5, 1) end, "index 1.5 of dimension 1 is not a whole number")
  error_has(function() t:get("1", 1) end, "an index into dimension 1 wanted, a string given")
  error_has(function() t:get(1) end, "2 indices wanted for the shape (2, 9), 1 given")
  error_has(function() t:get(1, 1, 1) end, "2 indices wanted for the shape (2, 9), 3 given")
  error_has(function() t:set(1, 1) end, "2 indices and a value wanted for the shape (2, 9), 2 arguments given")
  error_has(function() t:set(1, 1, "x") end, "value: a number wanted, a string given")
  error_has(function() t:set(1, 1, 256) end, "value: 256 does not fit u8 (0..255)")
  error_has(function() t.get(7, 1) end,
    "a tensor wanted before the method's name, a number given (methods are called with a colon)")
end)

test("i64: numbers as far as they are exact, cdata beyond", function()
  local t = lr.tensor("i64", 3)
  t:set(1, 2 ^ 53)
  eq(t:get(1), 2 ^ 53)
  t:set(1, 9007199254740993LL)
  eq(type(t:get(1)), "cdata")
  ok(t:get(1) == 9007199254740993LL)
  t:set(2, 5ULL)
  eq(t:get(2), 5)
  t:set(3, -2 ^ 63)
  ok(t:get(3) == ffi.cast("int64_t", 0x8000000000000000ULL))
  error_has(function() t:set(1, 2 ^ 63) end, "value: 9.2233720368548e+18 does not fit i64")
  error_has(function() t:set(1, 0x8000000000000000ULL) end, "value: an integer that fits i64 wanted")
  error_has(function() lr.tensor("i32", 1):set(1, 1LL) end, "value: a number wanted, a cdata given")
  ok(t:totable()[1] == 9007199254740993LL)
end)

test("fill and copy", function()
  local t = lr.tensor("i32", {2, 2})
  eq(t:fill(-3), t)
  eq(flat(t), "-3 -3 -3 -3")
  local c = t:copy()
  c:set(1, 1, 9)
  eq(flat(t), "-3 -3 -3 -3")
  eq(flat(c), "9 -3 -3 -3")
  eq(flat(lr.tensor("i64", 2):fill(7LL)), "7 7")
  error_has(function() t:fill(0.5) end, "value: 0.5 is not a whole number, as i32 wants")
end)

test("narrow and select on the first dimension are views", function()
  local t = numbers("f64", 4, 2)
  local n = t:narrow(1, 2, 2)
  eq(flat(n), "3 4 5 6")
  n:set(1, 1, 30)
  eq(t:get(2, 1), 30)
  local s = t:select(1, 4)
  eq(s:rank(), 1)
  eq(flat(s), "7 8")
  s:fill(0)
  eq(flat(t), "1 2 30 4 5 6 0 0")
  eq(flat(t:select(1, 1):select(1, 2)), "2")
  eq(t:select(1, 1):select(1, 2):rank(), 0)
  eq(#t:narrow(1, 5, 0), 0)
end)

test("on an inner dimension they are read-only copies", function()
  local t = numbers("i32", 2, 3, 2)
  eq(flat(t:narrow(2, 2, 2)), "3 4 5 6 9 10 11 12")
  eq(flat(t:select(3, 2)), "2 4 6 8 10 12")
  eq(table.concat(t:select(2, 1):shape(), " "), "2 2")
  ok(t:narrow(2, 2, 1):is_readonly())
  error_has(function() t:narrow(2, 2, 1):fill(0) end,
    "the tensor is read-only (it is a copy: narrow and select on an inner dimension cannot share memory); "
      .. "t:copy() is writable")
  eq(t:narrow(2, 2, 1):copy():fill(0):get(1, 1, 1), 0)
  local row = numbers("f64", 1, 4) -- the outer dimension is 1: contiguous, so a view
  row:narrow(2, 2, 2):fill(0)
  eq(flat(row), "1 0 0 4")
  ok(not numbers("f64", 2, 2):narrow(2, 1, 2):is_readonly())
end)

test("narrow and select refuse what is outside", function()
  local t = lr.tensor("f64", {10, 2})
  error_has(function() t:narrow(3, 1, 1) end, "dimension 3 is outside 1..2")
  error_has(function() t:size(0) end, "dimension 0 is outside 1..2")
  error_has(function() t:size() end, "a dimension of 1..2 wanted, nil given")
  error_has(function() t:narrow(1, 8, 5) end, "8..12 is outside 1..10 of dimension 1")
  error_has(function() t:narrow(1, 1, -1) end, "a whole index and a count from 0 wanted, 1 and -1 given")
  error_has(function() t:select(1, 11) end, "index 11 is outside 1..10 of dimension 1")
end)

test("reshape shares the memory", function()
  local t = numbers("u8", 2, 3)
  local r = t:reshape(3, 2)
  eq(r:get(2, 1), 3)
  r:set(1, 1, 9)
  eq(t:get(1, 1), 9)
  eq(flat(t:reshape{6}), "9 2 3 4 5 6")
  error_has(function() t:reshape(4, 2) end, "6 elements cannot take the shape (4, 2), which has 8")
  error_has(function() t:reshape(-1) end, "shape: dimension 1: a whole number from 0 wanted, -1 given")
end)

test("totable", function()
  eq(lr.tensor("f64", {}):totable(), 0)
  local t = numbers("f64", 2, 2):totable()
  eq(t[1][1] .. t[1][2] .. t[2][1] .. t[2][2], "1234")
  eq(#lr.tensor("f64", {2, 0}):totable()[2], 0)
end)

test("data is a pointer of the element's type and keeps the tensor alive", function()
  local types = {f32 = "float *", f64 = "double *", i8 = "int8_t *", u8 = "uint8_t *", i32 = "int32_t *",
    i64 = "int64_t *"}
  for dtype, type_name in pairs(types) do
    ok(ffi.istype(type_name, lr.tensor(dtype, 1):data()), dtype)
  end
  local p = lr.tensor("f64", 1000):fill(3):data()
  for _ = 1, 50 do
    collectgarbage()
    lr.tensor("f64", 1000):fill(4)
  end
  eq(p[999], 3)
  local t = lr.tensor("i32", {3, 2})
  local q = t:data()
  for i = 0, #t - 1 do q[i] = i end
  eq(t:get(3, 2), 5)
  eq(t:select(1, 2):data()[0], 2)
end)

test("tostring is readable and bounded", function()
  eq(tostring(lr.tensor("f64", {})), "f64 tensor (): 0")
  eq(tostring(lr.tensor("f64", 3, {1, 2.5, -3})), "f64 tensor (3): 1 2.5 -3")
  eq(tostring(lr.tensor("i8", {2, 2}, {1, 20, -3, 4})), "i8 tensor (2, 2):\n  1 20\n -3  4")
  eq(tostring(lr.tensor("i8", {2, 1, 2})), "i8 tensor (2, 1, 2):\n 0 0\n\n 0 0")
  eq(tostring(lr.tensor("f64", {3, 0})), "f64 tensor (3, 0)")
  eq(tostring(lr.tensor("u8", 12)), "u8 tensor (12): 0 0 0 0 0 0 0 0 0 0 ...")
  eq(tostring(lr.tensor("i64", 1):fill(9007199254740993LL)), "i64 tensor (1): 9007199254740993")
  ok(#tostring(lr.tensor("f64", {1000, 1000})) < 1000)
end)

test("== is identity, a missing method is nil", function()
  local t = lr.tensor("f64", 1)
  ok(t == t)
  ok(t ~= t:reshape(1))
  eq(t.no_such_method, nil)
end)

test("a tensor from a future is read-only and shared", function()
  local f = lr.put(lr.tensor("f64", 2, {1, 2}))
  local a, b = f:get(), f:get()
  ok(a:is_readonly())
  ok(tostring(a:data()):match("const"))
  eq(ffi.cast("uintptr_t", a:data()), ffi.cast("uintptr_t", b:data()))
  local text = "the tensor is read-only (it came from a future or was sent as a result); t:copy() is writable"
  error_has(function() a:set(1, 5) end, text)
  error_has(function() a:fill(5) end, text)
  error_has(function() a:narrow(1, 1, 1):fill(5) end, text)
  eq(a:copy():set(1, 5):get(1), 5)
  eq(flat(a), "1 2")
end)

test("an argument is a copy of what was writable; a result is not copied", function()
  local t = lr.tensor("f64", 2, {1, 2})
  local f = lr.remote(function(x) return x:get(1), x:is_readonly() end)(t)
  t:set(1, 9)
  local first, readonly = f:get()
  eq(first, 1)
  eq(readonly, true)
  ok(not t:is_readonly())
  local r = lr.remote(function() return require("luarun").tensor("i32", 3):fill(4) end)():get()
  eq(flat(r), "4 4 4")
  ok(r:is_readonly())
end)

test("parts of a tensor travel, whatever their shape", function()
  local t = numbers("f64", 3, 4)
  local sum = lr.remote(function(x)
    local total = 0
    for i = 1, #x do total = total + x:data()[i - 1] end
    return total
  end)
  eq(sum(t:select(1, 2)):get(), 26)
  eq(sum(t:select(2, 4)):get(), 24)
  eq(sum(lr.put(t):get():narrow(1, 2, 2)):get(), 68)
end)

test("garbage tensors give their room back before the store refuses", function()
  for _ = 1, 3000 do lr.tensor("u8", 4 * 1024 * 1024) end
  ok(true)
end)

check.done()
