-- Futures: what a call gives, what get gives, what a future tells of itself, and letting it go.

local lr = require "luarun"
local check = require "check"

local WAIT_S = 30

local add = lr.remote(function(a, b) return a + b end)
local echo = lr.remote(function(...) return ... end)
local boom = lr.remote(function() error("boom", 0) end)
local sleeper = lr.remote(function(s) lr.sleep(s or 60) return "slept" end)

local function pack(...) return { n = select("#", ...), ... } end

local function until_true(fn, what)
  local deadline = lr.now() + WAIT_S
  while not fn() do
    if lr.now() > deadline then error("not in time: " .. what, 2) end
    lr.sleep(0.001)
  end
end

check.test("a call gives a future at once, get its value, as often as one likes", function()
  local f = add(1, 2)
  check.eq((f:get()), 3)
  check.eq((f:get(0)), 3)
  check.eq((lr.get(f)), 3)
end)

check.test("all returned values, nils kept", function()
  check.eq(pack(echo():get()), { n = 0 })
  check.eq(pack(echo(nil):get()), { n = 1 })
  check.eq(pack(echo(nil, 1, nil, "x", nil):get()), { n = 5, [2] = 1, [4] = "x" })
  check.eq(pack(echo(false, nil):get()), { n = 2, false })
  check.eq(pack(echo(1, nil):pget()), { n = 3, true, 1 })
  check.eq(pack(lr.get(echo(1, nil, nil))), { n = 3, 1 })
end)

check.test("200 arguments and results", function()
  local list = {}
  for i = 1, 200 do list[i] = i end
  check.eq({ echo(unpack(list)):get() }, list)
end)

check.test("get and pget raise the task's error", function()
  local f = boom()
  local ok, err = pcall(f.get, f)
  check.eq({ ok, err.code, err.message }, { false, "error", "boom" })
  local ok2, err2 = f:pget()
  check.eq({ ok2, err2.code, err2.message }, { false, "error", "boom" })
end)

check.test("get raises timeout, in time, and the task goes on", function()
  local f = sleeper(0.1)
  local start = lr.now()
  local ok, err = f:pget(0.02)
  local took = lr.now() - start
  check.eq({ ok, err.code }, { false, "timeout" })
  check.ok(took >= 0.02, "too early: " .. took)
  check.eq((f:get(WAIT_S)), "slept")
end)

check.test("get with timeout 0 and less polls", function()
  local f = sleeper()
  local _, err = f:pget(0)
  check.eq(err.code, "timeout")
  _, err = f:pget(-5)
  check.eq(err.code, "timeout")
  f:cancel()
  local g = add(1, 1)
  g:get()
  check.eq((g:get(0)), 2)
  check.eq((g:get(-1)), 2)
end)

check.test("get with a timeout of infinity waits", function()
  check.eq((add(1, 1):get(math.huge)), 2)
end)

check.test("lr.get of a list: first values in order, with n", function()
  check.eq(lr.get { add(1, 1), echo(5, 6), echo(), echo(nil), add(2, 2) }, { n = 5, 2, 5, nil, nil, 4 })
  check.eq(lr.get {}, { n = 0 })
  local f = add(1, 2)
  check.eq(lr.get { f, f, f }, { n = 3, 3, 3, 3 })
end)

check.test("lr.get of a list raises the first failed in order", function()
  local late = lr.remote(function() lr.sleep(0.02) error("late", 0) end)
  local early = boom()
  local ok, err = pcall(lr.get, { late(), early })
  check.eq({ ok, err.message }, { false, "late" })
  early:pget()
end)

check.test("lr.get of a list: one timeout for all of them", function()
  local list = {}
  for i = 1, 5 do list[i] = sleeper() end
  local start = lr.now()
  local ok, err = pcall(lr.get, list, 0.03)
  check.eq({ ok, err.code }, { false, "timeout" })
  check.ok(lr.now() - start >= 0.03)
  lr.cancel(list)
  check.eq(lr.get({ add(1, 1), add(2, 2) }, WAIT_S), { n = 2, 2, 4 })
end)

check.test("a future among the arguments is replaced by its first value", function()
  check.eq((add(add(1, 2), add(3, 4)):get()), 10)
  check.eq(pack(echo(echo(1, 2), echo(), lr.put("p"), echo(nil)):get()), { n = 4, 1, nil, "p" })
  local f = sleeper(0.02)
  check.eq({ echo(f, f):get() }, { "slept", "slept" })
end)

check.test("a future inside a table stays a future", function()
  local f = lr.remote(function(t) return lr.get(t.inner) + 1, tostring(t.inner):match("^future") end)
  check.eq({ f({ inner = add(1, 1) }):get() }, { 3, "future" })
end)

check.test("a task may return futures, and futures of futures", function()
  local outer = lr.remote(function(a) return a(1, 2), { a(3, 4) } end)
  local f, t = outer(add):get()
  check.eq({ (f:get()), (t[1]:get()) }, { 3, 7 })
  local nest
  nest = lr.remote(function(n) if n == 0 then return "end" end return nest(n - 1) end)
  local v = nest(20)
  while lr.is_future(v) do v = v:get() end
  check.eq(v, "end")
end)

check.test("returns = n gives n futures", function()
  local three = echo:with { returns = 3 }
  local a, b, c, d = three(1, nil, 3, 4)
  check.eq(d, nil)
  check.eq({ (a:get()), (c:get()) }, { 1, 3 })
  check.eq(pack(b:get()), { n = 1 })
  local x, y = echo:with { returns = 2 }(7)
  check.eq({ pack(x:get()), pack(y:get()) }, { { n = 1, 7 }, { n = 1 } })
  check.eq((add(a, c):get()), 4)
  check.ok(a:id() ~= c:id(), "the ids of two results are equal")
  local p, q = boom:with { returns = 2 }()
  check.eq(select(2, p:pget()).message, "boom")
  check.eq(select(2, q:pget()).message, "boom")
end)

check.test("states", function()
  local f = add(1, 1)
  f:get()
  check.eq({ f:state(), f:is_ready() }, { "ready", true })
  local g = boom()
  g:pget()
  check.eq({ g:state(), g:is_ready() }, { "failed", true })
  local running = sleeper()
  until_true(function() return running:state() == "running" end, "running")
  check.eq(running:is_ready(), false)
  local waiting = echo(running)
  check.eq({ waiting:state(), waiting:is_ready() }, { "waiting", false })
  running:cancel()
  check.eq({ running:state(), running:is_ready() }, { "cancelled", true })
  until_true(function() return waiting:is_ready() end, "the dependent ends")
  check.eq({ lr.put(1):state(), lr.put(1):is_ready() }, { "ready", true })
  waiting:pget()
end)

check.test("ids: 32 hex digits, each its own", function()
  local seen = {}
  for i = 1, 100 do
    local id = add(i, i):id()
    check.ok(id:match("^%x+$") and #id == 32, id)
    check.eq(seen[id], nil)
    seen[id] = true
  end
end)

check.test("tostring shows function, state, node, age", function()
  local f = add:with { name = "sum" }(1, 2)
  f:get()
  local text = tostring(f)
  check.ok(text:match("^future " .. f:id():sub(1, 8) .. ": sum, ready, node %w+, %d+%.%d%d%d s$"), text)
  check.ok(tostring(lr.put(1)):match("^future %x+: put, ready, node %w+, "), tostring(lr.put(1)))
  local half = lr.remote(function() lr.progress(1, 2) lr.sleep(60) end)()
  until_true(function() return tostring(half):match("50 %%$") end, "progress is shown")
  half:cancel()
end)

check.test("lr.put: a future that is ready, one value, of any kind", function()
  for _, v in ipairs { 1, "s", true, { 1, { 2 } } } do check.eq((lr.put(v):get()), v) end
  check.eq(pack(lr.put(nil):get()), { n = 1 })
  check.eq(pack(lr.put(1, 2):get()), { n = 1, 1 })
  check.eq(pack(lr.put(false):get()), { n = 1, false })
  local t = { 1 }
  local f = lr.put(t)
  t[1] = 2
  check.eq((f:get()), { 1 })
  f:get()[1] = 3
  check.eq((f:get()), { 1 })
end)

check.test("lr.free: the value goes, a get says so", function()
  local f = add(1, 2)
  f:get()
  lr.free(f)
  local ok, err = f:pget()
  check.eq({ ok, err.code, err.message }, { false, "object_lost", "the value was freed (lr.free)" })
  local dependent = echo(f)
  local _, err2 = dependent:pget(WAIT_S)
  check.eq(err2.code, "object_lost")
  lr.free(f)
  local p = lr.put("x")
  local copy = echo({ p })
  copy:get()
  lr.free(p)
  check.eq(select(2, p:pget()).code, "object_lost")
end)

check.test("arguments and results are copies", function()
  local t = { 1, 2 }
  local f = lr.remote(function(list) list[1] = "changed" return list end)
  local got = f(t):get()
  check.eq({ t, got }, { { 1, 2 }, { "changed", 2 } })
end)

check.test("rf:with and rf:here", function()
  local t = {}
  local same = lr.remote(function(x) return x, coroutine.running() end)
  local x, co = same:here(t)
  check.ok(x == t, "here copied its argument")
  check.eq(co, coroutine.running())
  check.error_has(function() boom:here() end, "boom")
  check.eq((add:with { name = "x", priority = 1 }:with { cpu = 0 }(1, 2):get(WAIT_S)), 3)
  local here = lr.remote(function(rf) return rf:here(4, 5) end)
  check.eq((here(add):get()), 9)
end)

check.test("a remote function by module and name", function()
  check.eq((lr.remote("math", "max")(3, 9, 4):get()), 9)
  check.eq((lr.remote("string", "rep", { cpu = 1, name = "rep" })("ab", 2):get()), "abab")
  local ok, err = lr.remote("no.such.module", "f")():pget()
  check.eq(ok, false)
  check.ok(err.message:find("module 'no.such.module' not found", 1, true), err.message)
  ok, err = lr.remote("math", "nothing")():pget()
  check.eq({ ok, err.message }, { false, "module 'math' has no function 'nothing'" })
  check.eq(lr.remote("math", "max"):here(1, 2), 2)
end)

check.test("futures, remote functions and upvalues travel", function()
  local k = 10
  local scale = lr.remote(function(x) return x * k end)
  local f = scale(2)
  local use = lr.remote(function(y) return (scale(y):get()) + f:get() end)
  check.eq((use(5):get()), 70)
end)

check.test("10,000 futures at once, let go of at once", function()
  local list = {}
  for i = 1, 10000 do list[i] = add(i, 1) end
  local sum = 0
  for i = 1, 10000 do sum = sum + list[i]:get() end
  check.eq(sum, 10000 * 10001 / 2 + 10000)
  for i = 1, 10000 do add(i, i) end
  collectgarbage()
end)

check.done()
