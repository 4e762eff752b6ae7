-- Inside a task: lr.task, yield, sleep, now, progress, the random stream, print, globals.

local lr = require "luarun"
local check = require "check"
local child = require("child").run

local WAIT_S = 30

local echo = lr.remote(function(...) return ... end)

check.test("lr.task: id, name, attempt, node, job; nil in the script", function()
  check.eq(lr.task(), nil)
  local f = lr.remote(function() return lr.task() end, { name = "me" })()
  local t = f:get(WAIT_S)
  check.eq({ t.id, t.name, t.attempt }, { f:id(), "me", 1 })
  check.ok(t.node:match("^%x+$") and #t.node == 32, t.node)
  check.ok(t.job:match("^%x+$") and #t.job == 32, t.job)
  local called_so = lr.remote(function() return lr.task().name end)
  check.eq((called_so():get()), "called_so")
  local by_module = lr.remote("math", "abs")
  check.ok(tostring(by_module(1)):find(": math.abs,", 1, true))
end)

check.test("names of nested tasks are their own", function()
  local inner = lr.remote(function() return lr.task().name, lr.task().id end, { name = "inner" })
  local outer = lr.remote(function(i)
    local before = lr.task().id
    local name, id = i():get()
    return name, id ~= before, lr.task().id == before, lr.task().name
  end, { name = "outer" })
  check.eq({ outer(inner):get(WAIT_S) }, { "inner", true, true, "outer" })
end)

check.test("cancelled, checkpoint, yield, progress, sleep outside a task", function()
  check.eq(lr.cancelled(), false)
  lr.checkpoint()
  lr.yield()
  lr.progress(1, 2)
  local start = lr.now()
  lr.sleep(0.02)
  check.ok(lr.now() - start >= 0.02)
  lr.sleep(0)
  lr.sleep(-1)
end)

check.test("sleep: not early, in a task; others run meanwhile", function()
  local f = lr.remote(function(s) local t = lr.now() lr.sleep(s) return lr.now() - t end)
  local list = {}
  local start = lr.now()
  for i = 1, 100 do list[i] = f(0.05) end
  for i = 1, 100 do check.ok(list[i]:get(WAIT_S) >= 0.05) end
  check.ok(lr.now() - start < 4, "they slept one after the other")
end)

check.test("yield lets others of the worker run", function()
  local out, err, status = child("--workers 1", [[
    local lr = require "luarun"
    local seen = {}
    local f = lr.remote(function(n)
      for i = 1, 3 do seen[#seen + 1] = n lr.yield() end
      return seen
    end)
    local all = lr.remote(function(rf) local a, b = rf("a"), rf("b") a:get() return b:get() end)
    local s = table.concat(all(f):get(20))
    print(#s, s:find("aaa", 1, true) == nil and s:find("bbb", 1, true) == nil)]])
  check.eq({ out, err, status }, { "6\ttrue\n", "", 0 })
end)

check.test("now: seconds that do not go back, the same clock in every task", function()
  local f = lr.remote(function() return lr.now() end)
  local last = lr.now()
  for _ = 1, 100 do
    local at = f():get()
    check.ok(at >= last)
    last = at
  end
  check.ok(lr.now() >= last)
end)

check.test("progress shows in tostring, within bounds", function()
  local f = lr.remote(function(a, b) lr.progress(a, b) return 1 end)
  for _, row in ipairs { { 1, 4, "25 %" }, { 4, 4, "100 %" }, { 9, 4, "100 %" } } do
    local g = f(row[1], row[2])
    g:get()
    check.eq(tostring(g):sub(-#row[3] - 2), ", " .. row[3])
  end
  for _, row in ipairs { { 0, 4 }, { 1, 0 }, { -1, 4 }, { 0 / 0, 1 } } do
    local g = f(row[1], row[2])
    g:get()
    check.ok(tostring(g):match(" s$"), tostring(g))
  end
end)

-- ---- the random stream ----

local STREAMS = [[
  local lr = require "luarun"
  local leaf = lr.remote(function() return math.random(1e9), math.random(), math.random(5, 7) end)
  local named = leaf:with{name = "named"}
  local nested = lr.remote(function(rf)
    local a = math.random(1e9)
    local list = {rf(), rf(), rf()}
    lr.yield()
    local out = {a, math.random(1e9)}
    for i = 1, 3 do out[#out + 1] = list[i]:get() end
    return table.concat(out, " ")
  end)
  local list = {}
  for i = 1, 40 do list[i] = i % 3 == 0 and nested(leaf) or i % 3 == 1 and leaf() or named:with{priority = i % 4}() end
  for i = 1, 40 do print(list[i]:get(20)) end
  print(unpack(lr.map(function() return math.random(1e6) end, {1, 2, 3, 4, 5, 6}, {chunk = 2})))]]

check.test("the same seed gives the same numbers whatever the number of workers", function()
  local first, err, status = child("--seed 7 --workers 1", STREAMS)
  check.eq({ err, status }, { "", 0 })
  check.ok(#first > 1000)
  for _, workers in ipairs { 1, 2, 4, 8 } do
    local again = child("--seed 7 --workers " .. workers, STREAMS)
    check.eq(again == first, true, "--workers " .. workers)
  end
  check.ok(child("--seed 8 --workers 2", STREAMS) ~= first, "another seed gives others")
  check.ok(child("--workers 2", STREAMS) ~= child("--workers 2", STREAMS), "no seed gives others each time")
end)

check.test("two tasks have two streams", function()
  local seen = {}
  local f = lr.remote(function() return math.random(2 ^ 52) end)
  for _ = 1, 1000 do
    local v = f():get()
    check.eq(seen[v], nil)
    seen[v] = true
  end
end)

check.test("math.random: ranges as in Lua", function()
  local f = lr.remote(function()
    local low, high, sum = 1, 0, 0
    local seen = {}
    for _ = 1, 10000 do
      local u = math.random()
      low, high, sum = math.min(low, u), math.max(high, u), sum + u
      seen[math.random(6)] = true
      local r = math.random(-3, 3)
      assert(r >= -3 and r <= 3 and r % 1 == 0)
    end
    local errors = {}
    for i, g in ipairs { function() math.random(0) end, function() math.random(2, 1) end, function() math.random("x") end } do
      errors[i] = select(2, pcall(g))
    end
    return low, high, sum / 10000, #seen, errors, math.random(5, 5)
  end)
  local low, high, mean, faces, errors, five = f():get(WAIT_S)
  check.ok(low >= 0 and low < 0.01 and high < 1 and high > 0.99)
  check.near(mean, 0.5, 0.03)
  check.eq({ faces, five }, { 6, 5 })
  check.ok(errors[1]:find("bad argument #1 to 'random' (interval is empty)", 1, true), errors[1])
  check.ok(errors[2]:find("bad argument #2 to 'random' (interval is empty)", 1, true), errors[2])
  check.ok(errors[3]:find("bad argument #1 to 'random' (number expected, got string)", 1, true), errors[3])
end)

check.test("math.randomseed: the task's own stream from there on, nobody else's", function()
  local f = lr.remote(function(seed)
    if seed then math.randomseed(seed) end
    local a = math.random(1e9)
    lr.yield()
    return a, math.random(1e9)
  end)
  local list = {}
  for i = 1, 20 do list[i] = f(i % 2 == 0 and 42 or nil) end
  local first = { list[2]:get() }
  local others = {}
  for i = 1, 20 do
    local got = { list[i]:get() }
    if i % 2 == 0 then check.eq(got, first) else others[got[1]] = true end
  end
  check.eq(others[first[1]], nil)
end)

-- ---- print, globals ----

check.test("print in a task: whole lines at the terminal, marked with name and task", function()
  local out, err, status = child("--workers 4", [[
    local lr = require "luarun"
    local f = lr.remote(function(i) print("line", i, nil, true) return lr.task().id end, {name = "printer"})
    local list = {}
    for i = 1, 200 do list[i] = f(i) end
    for i = 1, 200 do list[i] = list[i]:get(20):sub(1, 8) end
    print("script", table.concat(list, " "))]])
  check.eq({ err, status }, { "", 0 })
  local ids = out:match("script\t([%x ]+)\n")
  local count = 0
  for id in ids:gmatch("%x+") do
    count = count + 1
    check.ok(out:find(("[printer %s] line\t%d\tnil\ttrue\n"):format(id, count), 1, true), id)
  end
  check.eq(count, 200)
  check.eq(select(2, out:gsub("\n", "")), 201)
end)

check.test("print uses tostring, of values of the user's too", function()
  local out = child("", [[
    local lr = require "luarun"
    lr.remote(function()
      print(setmetatable({}, {__tostring = function() return "mine" end}))
      print()
      print("a\0b")
    end, {name = "p"})():get()]])
  out = out:gsub("%[p %x+%] ", "|")
  check.eq(out, "|mine\n|\n|a\0b\n")
end)

check.test("reading a global that is not there is an error that names it and says why", function()
  rawset(_G, "set_in_the_script", 5)
  local f = lr.remote(function() return set_in_the_script end) -- luacheck: ignore
  local ok, err = f():pget(WAIT_S)
  rawset(_G, "set_in_the_script", nil)
  check.eq(ok, false)
  check.ok(err.message:match("inside_test%.lua:%d+: global 'set_in_the_script' is not set in a task: globals do not travel; "
    .. "make it a local that the function uses, an argument, or a module$"), err.message)
end)

check.test("setting a global in a task is an error", function()
  local ok, err = lr.remote(function() some_global = 1 end)():pget(WAIT_S) -- luacheck: ignore
  check.eq(ok, false)
  check.ok(err.message:match("inside_test%.lua:%d+: a task cannot set the global 'some_global': other tasks would not see it; "
    .. "return the value instead$"), err.message)
end)

check.test("the standard library is there", function()
  local f = lr.remote(function()
    return type(string.format), type(table.sort), type(math.floor), type(io.write), type(os.time), type(require("ffi").new),
      type(require("bit").band), type(coroutine.wrap), type(debug.traceback), type(_G), type(pcall), type(unpack), type(jit)
  end)
  for i, kind in ipairs { f():get(WAIT_S) } do
    check.eq(kind, (i == 10 or i == 13) and "table" or "function", "value " .. i)
  end
end)

check.test("os.exit in a task is refused", function()
  local ok, err = lr.remote(function() os.exit(0) end)():pget(WAIT_S)
  check.eq(ok, false)
  check.ok(err.message:match("inside_test%.lua:%d+: os%.exit cannot be called in a task: return, or raise an error$"),
    err.message)
end)

check.test("lr.init and lr.shutdown in a task are refused", function()
  local ok, err = lr.remote(function() lr.shutdown() end)():pget(WAIT_S)
  check.eq(ok, false)
  check.ok(err.message:find("shutdown: only the script can end the job", 1, true), err.message)
  ok, err = lr.remote(function() lr.init {} end)():pget(WAIT_S)
  check.eq(ok, false)
  check.ok(err.message:find("init: the job is already there", 1, true), err.message)
  check.eq((echo(1):get(WAIT_S)), 1)
end)

check.test("a yield outside of any coroutine of the task's own is an error that says what to use", function()
  local ok, err = lr.remote(function() coroutine.yield(1) end)():pget(WAIT_S)
  check.eq({ ok, err.message },
    { false, "attempt to yield from a task outside any coroutine of its own (use lr.yield)" })
  check.eq((echo(1):get(WAIT_S)), 1)
end)

check.test("a coroutine of the task's own may be left unfinished, and gone on with after a wait", function()
  local f = lr.remote(function(e)
    local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(e(i):get()) end end)
    local a = co()
    lr.sleep(0.001)
    local b = co()
    return a + b
  end)
  local list = {}
  for i = 1, 50 do list[i] = f(echo) end
  for i = 1, 50 do check.eq((list[i]:get(WAIT_S)), 3) end
end)

check.done()
