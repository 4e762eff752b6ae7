-- What crosses as an argument, as a result and by lr.put, and what does not: every refusal with its
-- place and its words.
local check = require "check"
local lr = require "luarun"
local ffi = require "ffi"

local echo = lr.remote(function(...) return ... end, { name = "echo" })

---The value after a task has had it as an argument and given it back.
local function there_and_back(value) return (echo(value):get()) end

local function refused(text, ...)
  local values, n = { ... }, select("#", ...)
  local err = check.error_has(function() echo(unpack(values, 1, n)) end, text)
  check.eq(err.code, "not_serializable")
  check.eq(err.message, text)
end

---A function whose only reason to be sent is what it returns: `make` runs in the task.
local function refused_result(text, make)
  local ok, err = lr.remote(make)():pget()
  check.eq(ok, false)
  check.eq(err.code, "not_serializable")
  check.eq(err.message, text)
end

-- ---- what crosses ---------------------------------------------------------------------------------------------

check.test("nil, booleans and their number", function()
  local function count(...) return select("#", ...), ... end
  check.eq({ count(echo(nil, true, false, nil):get()) }, { 4, nil, true, false, nil })
  check.eq({ count(echo():get()) }, { 0 })
  check.eq({ count(echo(nil, nil):get()) }, { 2 })
end)

check.test("numbers keep every bit", function()
  local numbers = { 0, 1, 127, 128, 255, -1, 0.5, 1e308, 5e-324, 2 ^ 53, 2 ^ 53 + 2, -2 ^ 63, 2 ^ 1000,
    math.huge, -math.huge, math.pi }
  for _, v in ipairs(numbers) do check.eq(there_and_back(v), v) end
  for _, v in ipairs(numbers) do check.eq(there_and_back({ v })[1], v) end
  check.eq(1 / there_and_back(-0.0), -math.huge)
  check.eq(1 / there_and_back(0), math.huge)
  check.eq(1 / there_and_back({ -0.0 })[1], -math.huge)
  check.eq(1 / there_and_back({ x = -0.0 }).x, -math.huge)
  local nan = there_and_back(0 / 0)
  check.ok(nan ~= nan)
end)

check.test("strings: empty, NULs, every byte, around the store's threshold, 10 MB", function()
  local bytes = {}
  for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
  local every = table.concat(bytes)
  for _, s in ipairs { "", "\0", "a\0b\0", every, every:rep(10) } do check.eq(there_and_back(s), s) end
  for size = 65534, 65538 do
    local s = ("x"):rep(size - 1) .. "y"
    check.ok(there_and_back(s) == s, size)
  end
  local big = every:rep(40960)
  check.eq(#big, 10485760)
  check.ok(there_and_back(big) == big)
  check.ok(there_and_back({ big, big })[2] == big)
  check.ok(lr.put(big):get() == big)
end)

check.test("tables: arrays, holes, records, keys of every kind", function()
  for _, t in ipairs {
    {}, { 1, 2, 3 }, { "a", "b", n = 2 }, { 1, nil, 3 }, { nil, nil, 3 }, { [0] = 0, 1, 2 },
    { [-1] = 1, [1.5] = 2, [2 ^ 60] = 3 },
    { [true] = 1, [false] = 2 }, { [1] = 1, [2] = 2, [4] = 4, x = { y = { z = {} } } }, { { { {} } } },
    { false, true, "x", 1.5, { 1 } }, { [math.huge] = 1, [-math.huge] = 2 }, { [""] = 1, ["a b"] = 2, ["\0"] = 3 },
  } do
    check.eq(there_and_back(t), t)
  end
  local t = {}
  for i = 1, 1000 do t[i], t["k" .. i] = i * 0.5, i end
  check.eq(there_and_back(t), t)
  local reversed = {}
  for i = 100, 1, -1 do reversed[i] = i end
  check.eq(there_and_back(reversed), reversed)
end)

check.test("a table as a key, and the same table as a value", function()
  local key = { "k" }
  local got = there_and_back({ [key] = "v", key = key })
  check.eq(got[got.key], "v")
  check.eq(got.key, { "k" })
end)

check.test("arguments and results are copies", function()
  local t = { 1 }
  local change = lr.remote(function(x) x[1] = 2; return x end)
  check.eq(change(t):get(), { 2 })
  check.eq(t, { 1 })
  local f = lr.put(t)
  t[1] = 3
  check.eq(f:get(), { 1 })
  check.ok(not rawequal(f:get(), f:get()))
end)

check.test("cycles and shared references stay, across arguments too", function()
  local a = { name = "a" }
  local b = { name = "b", other = a }
  a.self, a.other = a, b
  local x, y = echo(a, b):get()
  check.ok(rawequal(x.self, x))
  check.ok(rawequal(x.other, y))
  check.ok(rawequal(y.other, x))
  local shared = {}
  local got = there_and_back({ shared, { shared }, [shared] = 1 })
  check.ok(rawequal(got[1], got[2][1]))
  check.eq(got[got[1]], 1)
end)

check.test("what is the same inside a task is the same for the task", function()
  local t = {}
  local same = lr.remote(function(x, y, z) return rawequal(x, y), rawequal(x, z.t) end)
  check.eq({ same(t, t, { t = t }):get() }, { true, true })
  check.eq({ same(t, {}, { t = {} }):get() }, { false, false })
end)

local function chain(n)
  local t = { depth = 1 }
  for i = 2, n do t = { depth = i, t } end
  return t
end

local function depth_of(t)
  local n = 0
  while t do n, t = n + 1, t[1] end
  return n
end

check.test("nesting: 100, 5,000 deep; deeper is refused", function()
  for _, n in ipairs { 100, 1499, 1500, 1501, 3001, 5000 } do check.eq(depth_of(there_and_back(chain(n))), n) end
  refused("argument 1: it is nested more than 5000 deep; send it in parts", chain(5001))
  refused("argument 2: it is nested more than 5000 deep; send it in parts", 1, chain(100000))
  check.eq(there_and_back(chain(3)), chain(3)) -- nothing is left of the refusals
  refused_result("result 1: it is nested more than 5000 deep; send it in parts", function()
    local t = {}
    for _ = 1, 6000 do t = { t } end
    return t
  end)
end)

check.test("nesting through keys, and what is shared far down", function()
  local t, shared = {}, { "s" }
  for _ = 1, 2999 do t = { [t] = true, s = shared } end
  local got = there_and_back(t)
  local n, s = 1, got.s
  while next(got) do
    n = n + 1
    check.ok(rawequal(got.s, s))
    local below
    for k in pairs(got) do if k ~= "s" then below = k end end
    got = below
  end
  check.eq(n, 3000)
end)

check.test("a refusal far down names its place", function()
  local t = { [1] = print }
  for _ = 1, 3999 do t = { t } end
  local err = check.error_has(function() echo(t) end, "a C function (print) cannot be sent")
  check.ok(err.message:find("^argument 1: %[1%]%[1%]%[1%]"))
end)

check.test("a table of a million entries", function()
  local t = {}
  for i = 1, 1000000 do t[i] = i end
  local got = there_and_back(t)
  check.eq(#got, 1000000)
  for i = 1, 1000000 do if got[i] ~= i then check.eq(got[i], i) end end
  local names = {}
  for i = 1, 200000 do names["n" .. i] = { i } end
  got = there_and_back(names)
  for i = 1, 200000 do if got["n" .. i][1] ~= i then check.eq(got["n" .. i], { i }) end end
end)

check.test("int64 and uint64", function()
  for _, v in ipairs { 0LL, -1LL, 2LL ^ 62, -0x7fffffffffffffffLL - 1, 0ULL, 0xffffffffffffffffULL } do
    local got = there_and_back(v)
    check.eq(type(got), "cdata")
    check.eq(tostring(got), tostring(v))
    check.eq(tostring(there_and_back({ x = v }).x), tostring(v))
  end
  check.eq(tostring(there_and_back(ffi.new("int64_t", -5))), "-5LL")
end)

check.test("futures inside a table stay futures; the same task behind them", function()
  local f = echo("x", "y")
  local get = lr.remote(function(t) return t.f:id(), t.f:get() end)
  check.eq({ get({ f = f }):get() }, { f:id(), "x", "y" })
  local back = there_and_back({ f = f }).f
  check.eq(back:id(), f:id())
  check.eq({ back:get() }, { "x", "y" })
end)

check.test("a future at the top level is replaced by its value, nil too", function()
  check.eq({ echo(echo({ 1 }), 2, lr.put("p")):get() }, { { 1 }, 2, "p" })
  local count = lr.remote(function(...) return select("#", ...), ... end)
  check.eq({ count(echo(nil), 1):get() }, { 2, nil, 1 })
  check.eq({ count(echo(), echo()):get() }, { 2 })
end)

check.test("tensors, and views of them", function()
  local t = lr.tensor("i32", { 4, 3 }, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 })
  check.eq(there_and_back(t):totable(), t:totable())
  check.eq(there_and_back(t:narrow(1, 2, 2)):totable(), { { 4, 5, 6 }, { 7, 8, 9 } })
  check.eq(there_and_back(t:select(1, 4)):totable(), { 10, 11, 12 })
  check.eq(there_and_back({ t = lr.tensor("f64", { 0 }) }).t:totable(), {})
  local sealed = echo(t):get()
  check.ok(sealed:is_readonly())
  check.eq(there_and_back(sealed:narrow(1, 3, 1)):totable(), { { 7, 8, 9 } })
  t:set(1, 1, 100)
  check.eq(sealed:get(1, 1), 1)
end)

check.test("error values cross with all that is in them", function()
  local fails = lr.remote(function() error({ why = "because" }) end, { name = "fails" })
  local _, err = fails():pget()
  local got = there_and_back(err)
  for _, key in ipairs { "code", "message", "traceback", "task", "function_name", "node", "attempts", "value" } do
    check.eq(got[key], err[key], key)
  end
  check.eq(getmetatable(got), getmetatable(err))
  check.eq(there_and_back({ err, err })[2].value, { why = "because" })
  local rethrow = lr.remote(function(e) error(e, 0) end, { name = "rethrow" })
  local _, outer = rethrow(err):pget()
  check.eq(outer.cause.function_name, "fails")
  check.eq(outer.cause.value, { why = "because" })
end)

check.test("very many arguments", function()
  local values = {}
  for i = 1, 3000 do values[i] = i end
  check.eq({ echo(unpack(values)):get() }, values)
  values[3000] = {}
  check.eq(#{ echo(unpack(values)):get() }, 3000)
end)

-- ---- what does not --------------------------------------------------------------------------------------------

local C = "pass its name or a module function instead"

check.test("C functions", function()
  refused("argument 2: t.env.reset: a C function (io.write) cannot be sent; " .. C,
    1, { t = { env = { reset = io.write } } })
  refused("argument 1: a C function (print) cannot be sent; " .. C, print)
  refused("argument 1: [1][2]: a C function (string.gsub) cannot be sent; " .. C, { { 1, string.gsub } })
  local unnamed = string.gmatch("", "")
  refused("argument 1: a C function cannot be sent; " .. C, unnamed)
end)

check.test("the place of what is refused", function()
  local bad = coroutine.create(function() end)
  local why = ": a coroutine cannot be sent; send what it would produce, or run it in the task"
  refused("argument 1" .. why, bad)
  refused("argument 3: x" .. why, 1, 2, { x = bad })
  refused("argument 1: [1]" .. why, { bad })
  refused("argument 1: [1.5]" .. why, { [1.5] = bad })
  refused("argument 1: [true].y" .. why, { [true] = { y = bad } })
  refused("argument 1: a.b[3].c" .. why, { a = { b = { 1, 2, { c = bad } } } })
  refused("argument 1: a[\"two words\"][\"1x\"]" .. why, { a = { ["two words"] = { ["1x"] = bad } } })
  refused("argument 1: [a table]" .. why, { [{}] = bad })
  refused("argument 1: [a key]" .. why, { [bad] = 1 })
  refused("argument 1: t[a key].x" .. why, { t = { [{ x = bad }] = 1 } })
  refused("argument 1: [\"\"]" .. why, { [""] = bad })
end)

check.test("a long path is cut, not lost", function()
  local t = { print }
  for _ = 1, 200 do t = { [("key"):rep(30)] = t } end
  local err = check.error_has(function() echo(t) end, "a C function (print) cannot be sent")
  check.ok(#err.message < 700)
end)

check.test("coroutines, userdata, files, C data", function()
  refused("argument 1: a coroutine cannot be sent; send what it would produce, or run it in the task",
    coroutine.create(print))
  local userdata = "a userdata cannot be sent; send what it was made of, and make it again in the task"
  refused("argument 1: " .. userdata, io.stdout)
  refused("argument 1: out: " .. userdata, { out = io.stdout })
  refused("argument 1: " .. userdata, newproxy())
  local instead = "send numbers, a string of its bytes, or a tensor"
  refused("argument 1: C data (int [3]) cannot be sent; " .. instead, ffi.new("int[3]"))
  refused("argument 1: p: C data (void *) cannot be sent; " .. instead, { p = ffi.new("void *") })
  refused("argument 1: C data (int) cannot be sent; " .. instead, ffi.typeof("int"))
  ffi.cdef "typedef struct values_test { int x; } values_test;"
  ffi.metatype("values_test", { __tostring = function() return "17LL" end }) -- a struct that reads like an integer
  refused("argument 1: C data (struct values_test) cannot be sent; " .. instead, ffi.new("values_test"))
end)

check.test("tables with foreign metatables", function()
  local why = "a table with a metatable that is neither a loaded module's nor registered cannot be sent; "
    .. "register it with lr.class(name, metatable)"
  refused("argument 1: " .. why, setmetatable({}, {}))
  refused("argument 2: a[1]: " .. why, 0, { a = { setmetatable({}, { __index = {} }) } })
end)

check.test("results", function()
  refused_result("result 1: a C function (print) cannot be sent; " .. C, function() return print end)
  refused_result("result 3: x.y: a C function (math.sin) cannot be sent; " .. C,
    function() return 1, 2, { x = { y = math.sin } } end)
  refused_result("result 1: a coroutine cannot be sent; send what it would produce, or run it in the task",
    function() return coroutine.create(function() end) end)
end)

check.test("put", function()
  local err = check.error_has(function() lr.put({ x = print }) end,
    "value: x: a C function (print) cannot be sent; " .. C)
  check.eq(err.code, "not_serializable")
end)

check.test("what a task raises and cannot cross is raised as words", function()
  local ok, err = lr.remote(function() error({ print }) end)():pget()
  check.eq(ok, false)
  check.eq(err.code, "error")
  check.eq(err.value, nil)
  check.ok(err.message:find("^table: "))
end)

check.test("a refusal leaves nothing behind: the next values cross", function()
  for _ = 1, 100 do
    pcall(echo, { 1, { x = print } }, "y")
    check.eq(there_and_back({ 1, { x = 2 } }), { 1, { x = 2 } })
  end
end)

check.done()
