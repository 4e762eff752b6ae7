-- Functions that travel: upvalues, sharing, recursion, what happens when an upvalue changes, refusals.
local check = require "check"
local lr = require "luarun"
local ffi = require "ffi"

local call = lr.remote(function(fn, ...) return fn(...) end, { name = "call" })

local function refused(text, rf, ...)
  local values, n = { ... }, select("#", ...)
  local err = check.error_has(function() rf(unpack(values, 1, n)) end, text)
  check.eq(err.code, "not_serializable")
  check.eq(err.message, text)
end

local function line_here() return debug.getinfo(2, "l").currentline end

-- ---- upvalues -------------------------------------------------------------------------------------------------

check.test("upvalues of every kind of value", function()
  local n, s, b, nothing, t = 1.5, "s\0t", true, nil, { x = { 1, 2 } }
  local i, f, x = 5LL, lr.put("put"), lr.tensor("f64", { 2 }, { 3, 4 })
  local rf = lr.remote(function() return n, s, b, nothing, t, i, f:get(), x:totable() end)
  local got = { rf():get() }
  check.eq(tostring(got[6]), "5LL")
  got[6] = 5
  check.eq(got, { 1.5, "s\0t", true, nil, { x = { 1, 2 } }, 5, "put", { 3, 4 } })
end)

check.test("a function as argument, as result, in tables", function()
  local k = 10
  local function add(a) return a + k end
  check.eq(call(add, 1):get(), 11)
  check.eq(call(function(t) return t.f(5) end, { f = add }):get(), 15)
  local back = lr.remote(function() return function(y) return k * y end end)():get()
  check.eq(back(3), 30)
end)

check.test("shared upvalues stay shared inside one message", function()
  local n = 0
  local function inc() n = n + 1; return n end
  local function get() return n end
  check.eq({ lr.remote(function(a, b) a(); a(); return b() end)(inc, get):get() }, { 2 })
  check.eq(n, 0)
  local pair = lr.remote(function(t) t.inc(); return t end)({ inc = inc, get = get }):get()
  check.eq(pair.get(), 1)
  check.eq(pair.inc(), 2)
  check.eq(pair.get(), 2)
  check.eq(n, 0)
  local rf = lr.remote(function() inc(); return get() end) -- both upvalues of one function
  check.eq(rf():get(), 1)
end)

check.test("a table reached through two upvalues is one table", function()
  local t = {}
  local a, b = { t = t }, { t = t }
  check.eq(lr.remote(function() return rawequal(a.t, b.t), rawequal(a.t, t) end)():get(), true)
  check.eq({ lr.remote(function() return rawequal(a.t, b.t), rawequal(a.t, t) end)():get() }, { true, true })
end)

check.test("a function that holds itself, by a local and by a table", function()
  local function fact(n) return n < 2 and 1 or n * fact(n - 1) end
  check.eq(call(fact, 10):get(), 3628800)
  local t = {}
  function t.even(n) return n == 0 or t.odd(n - 1) end
  function t.odd(n) return n ~= 0 and t.even(n - 1) end
  check.eq(call(t.even, 10):get(), true)
  local got = lr.remote(function() return t end)():get()
  check.eq(got.odd(7), true)
  check.ok(rawequal(select(2, debug.getupvalue(got.odd, 1)), got))
end)

check.test("vararg, no arguments, many results, goto, nested closures", function()
  check.eq({ lr.remote(function(...) return select("#", ...), ... end)(nil, 2, nil):get() }, { 3, nil, 2, nil })
  check.eq({ lr.remote(function() end)():get() }, {})
  check.eq({ call(function(...) local t = { ... }; return unpack(t) end, 1, 2, 3):get() }, { 1, 2, 3 })
  local function collatz(n)
    local steps = 0
    ::again::
    if n == 1 then goto done end
    n, steps = n % 2 == 0 and n / 2 or 3 * n + 1, steps + 1
    goto again
    ::done::
    return steps
  end
  check.eq(call(collatz, 27):get(), 111)
  local function counter()
    local n = 0
    return function() n = n + 1; return function() return n end end
  end
  check.eq(call(function() local c = counter(); c(); return c()() end):get(), 2)
end)

check.test("sixty upvalues", function()
  local names, sum = {}, {}
  for i = 1, 60 do names[i], sum[i] = "u" .. i, "u" .. i end
  local values = {}
  for i = 1, 60 do values[i] = i end
  local chunk = ("local %s = ...\nreturn function() return %s end")
    :format(table.concat(names, ","), table.concat(sum, "+"))
  check.eq(lr.remote(assert(loadstring(chunk))(unpack(values)))():get(), 1830)
end)

check.test("stripped functions", function()
  local k = 3
  local f = function(x) return x * k end
  local stripped = loadstring(string.dump(f, true))
  debug.setupvalue(stripped, 1, 7)
  check.eq(lr.remote(stripped)(6):get(), 42)
  check.eq(call(stripped, 2):get(), 14)
  debug.setupvalue(stripped, 1, print)
  check.eq(lr.remote(loadstring(string.dump(function(...) return ... end, true)))(5):get(), 5)
end)

check.test("standard functions as upvalues are the task's own", function()
  local insert, floor, tostring, require, print, type, ipairs = -- luacheck: ignore print
    table.insert, math.floor, tostring, require, print, type, ipairs
  local rf = lr.remote(function()
    local t = {}
    insert(t, floor(2.5))
    for i, v in ipairs { true } do insert(t, tostring(i) .. type(v)) end
    return t, require "table" == table, print == _G.print, require == _G.require
  end)
  check.eq({ rf():get() }, { { 2, "1boolean" }, true, true, true })
  -- and from a task on to another
  local on = lr.remote(function()
    local own_require, own_print = require, print
    return require("luarun").remote(function()
      return own_require == require, own_print == print
    end)():get()
  end)
  check.eq({ on():get() }, { true, true })
end)

check.test("the environment's libraries as upvalues: the same tables over there", function()
  local str, m, f, l = string, math, ffi, lr
  local rf = lr.remote(function() return str == string, m == math, f == require "ffi", l == require "luarun" end)
  check.eq({ rf():get() }, { true, true, true, true })
  -- each named twice, with shared tables after them: nothing is mixed up
  local str2, t = string, { "t" }
  local t2 = t
  local rf2 = lr.remote(function() return str == str2, rawequal(t, t2), t[1] end)
  check.eq({ rf2():get() }, { true, true, "t" })
end)

-- ---- remote functions and kernels that functions hold ---------------------------------------------------------

check.test("a remote function that calls itself", function()
  local fib
  fib = lr.remote(function(n)
    if n < 2 then return n end
    local a, b = fib(n - 1), fib(n - 2)
    return a:get() + b:get()
  end)
  check.eq(fib(10):get(), 55)
end)

check.test("two that call each other", function()
  local even, odd
  even = lr.remote(function(n) if n == 0 then return true end return odd(n - 1):get() end)
  odd = lr.remote(function(n) if n == 0 then return false end return even(n - 1):get() end)
  check.eq(even(7):get(), false)
  check.eq(odd(7):get(), true)
end)

check.test("remote functions as upvalues, in tables, as arguments, as results, with their options", function()
  local double = lr.remote(function(x) return 2 * x end, { name = "double", priority = 3 })
  local t = { double = double }
  check.eq(lr.remote(function(x) return double(x):get() end)(4):get(), 8)
  check.eq(lr.remote(function(x) return t.double(x):get() end)(5):get(), 10)
  check.eq(lr.remote(function(rf, x) return rf(x):get() end)(double, 6):get(), 12)
  local back = lr.remote(function() return double end)():get()
  check.eq(back(7):get(), 14)
  check.eq(tostring(back), "remote function: double")
  local two = lr.remote(function() return 1, 2 end, { returns = 2 })
  check.eq(lr.remote(function(rf) local a, b = rf(); return a:get() * 10 + b:get() end)(two):get(), 12)
  check.eq(lr.remote(function(rf) return rf:here(9) end)(double):get(), 18)
end)

check.test("a remote function made in a task goes anywhere", function()
  local make = lr.remote(function(k)
    return require("luarun").remote(function(x) return x + k end)
  end)
  local rf = make(100):get()
  check.eq(rf(1):get(), 101)
  check.eq(lr.remote(function(f) return f(2):get() end)(rf):get(), 102)
end)

-- ---- assigned upvalues ----------------------------------------------------------------------------------------

check.test("assigning an upvalue is seen by the next call", function()
  local k = 1
  local rf = lr.remote(function() return k end)
  local first = rf()
  check.eq(first:get(), 1)
  k = 2
  check.eq(rf():get(), 2)
  check.eq(rf():get(), 2)
  k = nil
  check.eq(rf():get(), nil)
  k = { 5 }
  check.eq(rf():get(), { 5 })
  k = 0 / 0
  check.ok(rf():get() ~= rf():get())
  check.eq(first:get(), 1)
end)

check.test("what was submitted before the assignment has the old value", function()
  local gate, k = lr.remote(function() lr.sleep(0.01) end)(), "old"
  local rf = lr.remote(function(_) return k end)
  local f = rf(gate)
  k = "new"
  check.eq(f:get(), "old")
  check.eq(rf(gate):get(), "new")
end)

check.test("a change inside a table that an upvalue holds is not seen; a new table is", function()
  local t = { n = 1 }
  local rf = lr.remote(function() return t.n end)
  check.eq(rf():get(), 1)
  t.n = 2
  check.eq(rf():get(), 1)
  t = { n = 3 }
  check.eq(rf():get(), 3)
end)

check.test("rf:with{} follows the upvalues too", function()
  local k = 1
  local rf = lr.remote(function() return k end)
  local other = rf:with { priority = 1 }
  check.eq(rf():get(), 1)
  check.eq(other():get(), 1)
  k = 2
  check.eq(other():get(), 2)
  check.eq(rf():get(), 2)
end)

check.test("an upvalue that could not be sent, then can", function()
  local k = io.stdout
  local rf = lr.remote(function() return k end)
  check.error_has(rf, "a userdata cannot be sent")
  k = 4
  check.eq(rf():get(), 4)
  k = coroutine.create(check.eq)
  check.error_has(rf, "a coroutine cannot be sent")
  k = 5
  check.eq(rf():get(), 5)
end)

-- ---- tracebacks -----------------------------------------------------------------------------------------------

check.test("a traceback names the script's file and line", function()
  local line
  local function inner() error("deep") end line = line_here()
  local rf = lr.remote(function() return inner() + 1 end)
  local ok, err = rf():pget()
  check.eq(ok, false)
  check.ok(err.message:find("functions_test.lua:" .. line .. ": deep", 1, true), err.message)
  check.ok(err.traceback:find("functions_test.lua:" .. line, 1, true), err.traceback)
end)

-- ---- refusals -------------------------------------------------------------------------------------------------

local C = "a C function cannot be sent; pass its name or a module function instead"

check.test("a C function cannot be made remote", function()
  check.error_has(function() lr.remote(math.sin) end,
    "remote: a C function cannot be sent; give a module's name and the function's: lr.remote(\"math\", \"sin\")")
  check.eq(lr.remote("math", "floor")(2.5):get(), 2)
end)

check.test("an upvalue that cannot be sent is named, with its function", function()
  local src, file = debug.getinfo(1, "S").short_src, io.stdout
  local line
  local rf = lr.remote(function() return file end) line = line_here()
  local userdata = "a userdata cannot be sent; send what it was made of, and make it again in the task"
  refused(("upvalue 'file' of function <%s:%d>: %s"):format(src, line, userdata), rf)
  refused(("argument 2: t: upvalue 'file' of function <%s:%d>: %s"):format(src, line + 4, userdata),
    call, 1, { t = function() return file end })
  local env = { reset = { string.gmatch("", "") } }
  rf = lr.remote(function() return env end) line = line_here()
  refused(("upvalue 'env' of function <%s:%d>: reset[1]: %s"):format(src, line, C), rf)
  local function outer() return env end local outer_line = line_here()
  rf = lr.remote(function() return outer() end) line = line_here()
  refused(("upvalue 'outer' of function <%s:%d>: upvalue 'env' of function <%s:%d>: reset[1]: %s")
    :format(src, line, src, outer_line, C), rf)
end)

check.test("upvalues: a coroutine, a ctype, a pointer, a foreign metatable", function()
  for _, case in ipairs {
    { coroutine.create(print), "a coroutine cannot be sent; send what it would produce, or run it in the task" },
    { ffi.typeof("struct { int x; }"), "C data (struct " },
    { ffi.new("char[4]"), "C data (char [4]) cannot be sent; send numbers, a string of its bytes, or a tensor" },
    { setmetatable({}, {}), "a table with a metatable that is neither a loaded module's nor registered cannot be sent; "
      .. "register it with lr.class(name, metatable)" },
    { ffi.C, "a userdata cannot be sent" },
  } do
    local up = case[1]
    check.error_has(lr.remote(function() return up end), "upvalue 'up' of function <")
    check.error_has(lr.remote(function() return up end), case[2])
  end
end)

check.test("a stripped function's upvalue has no name", function()
  local f = loadstring(string.dump(function() return C end, true))
  debug.setupvalue(f, 1, io.stdout)
  check.error_has(lr.remote(f), "upvalue '?' of function <")
end)

check.test("a remote function inside another whose upvalue cannot be sent", function()
  local file = io.stdout
  local inner = lr.remote(function() return file end)
  local outer = lr.remote(function() return inner() end)
  check.error_has(outer, "upvalue 'file' of function <")
  check.error_has(function() call(inner) end, "argument 1: upvalue 'file' of function <")
  file = 1
  check.eq(outer():get():get(), 1)
end)

check.test("a function too large names the fat upvalue, a table or a string", function()
  local thin, fat = "x", {}
  for i = 1, 2500000 do fat[i] = i end
  local rf = lr.remote(function() return #thin + #fat end)
  local err = check.error_has(rf, "most of it upvalue 'fat' (")
  check.eq(err.code, "not_serializable")
  check.ok(err.message:find("^a function of 22%.5 MB, most of it upvalue 'fat' %(22%.5 MB%), cannot be sent; "
    .. "lr%.put the data once and pass the future as an argument$"), err.message)
  fat = ("x"):rep(20e6)
  err = check.error_has(rf, "most of it upvalue 'fat' (20.0 MB)")
  check.eq(err.code, "not_serializable")
  fat = ("x"):rep(10e6) -- within bounds
  check.eq(rf():get(), 10000001)
  fat = { lr.put(("x"):rep(20e6)) } -- as the error says
  check.eq(lr.remote(function() return #fat[1]:get() end)():get(), 20e6)
end)

check.test("a function that could not be sent does not stay behind in one that could", function()
  local file = io.stdout
  local a, b
  a = lr.remote(function() return b and file end)
  b = lr.remote(function() return a():get() end)
  check.error_has(a, "upvalue 'file' of function <")
  file = 3
  check.eq(a():get(), 3)
  check.eq(b():get(), 3)
end)

check.test("thousands of remote functions in one message keep their own options, whatever is collected meanwhile", function()
  local f, list = lr.remote(function() end), {}
  for i = 1, 3000 do list[i] = f:with { resources = { ["r" .. i % 7] = i % 5 }, name = "n" .. i, retries = i % 9 } end
  local names = lr.remote(function(all)
    local wrong = 0
    for i = 1, #all do if tostring(all[i]) ~= "remote function: n" .. i then wrong = wrong + 1 end end
    return #all, wrong
  end, { returns = 2 })
  local pause, step = collectgarbage("setpause", 10), collectgarbage("setstepmul", 1000)
  collectgarbage() -- and from now on all the time
  local count, wrong = names(list)
  collectgarbage("setpause", pause)
  collectgarbage("setstepmul", step)
  check.eq({ count:get(), wrong:get() }, { 3000, 0 })
end)

check.done()
