-- A failed task's error: its fields, its words, what the user raised; what is said at the end of a program.

local lr = require "luarun"
local check = require "check"
local run = require("child").run

local WAIT_S = 30

local echo = lr.remote(function(...) return ... end)

local function child(chunk, options)
  return run(options or "", "local lr = require 'luarun'\n" .. chunk)
end

local function error_of(f)
  local ok, err = f:pget(WAIT_S)
  check.eq(ok, false)
  return err
end

check.test("the fields of an error", function()
  local f = lr.remote(function() error("boom") end, { name = "bomb" })()
  local err = error_of(f)
  check.eq({ err.code, err.task, err.function_name, err.attempts, err.cause, err.value },
    { "error", f:id(), "bomb", 1, nil, nil })
  check.ok(err.message:match("errors_test%.lua:%d+: boom$"), err.message)
  check.ok(err.traceback:match("^stack traceback:\n"), err.traceback)
  check.ok(err.traceback:match("errors_test%.lua:%d+: in function <"), err.traceback)
  local node = lr.remote(function() return lr.task().node end)():get(WAIT_S)
  check.eq(err.node, node)
  check.ok(getmetatable(err) == lr.Error)
end)

check.test("tostring: message, the task, its traceback; the program adds the script's", function()
  local f = lr.remote(function() error("boom") end, { name = "bomb" })()
  local text = tostring(error_of(f))
  check.ok(text:match("^[^\n]*errors_test%.lua:%d+: boom\n\tin task bomb %(" .. f:id():sub(1, 8) .. "%)\nstack traceback:\n"), text)
  check.ok(("x: " .. error_of(f)):match("^x: .*boom"), "concatenated")
  local out, err, status = child([[
    local function level_two(f) return (f:get()) end
    local f = lr.remote(function() error("boom") end, {name = "bomb"})()
    level_two(f)]])
  check.eq({ out, status }, { "", 1 })
  check.ok(err:match("^luarun: %(command line%):%d+: boom\n\tin task bomb %(%x+%)\nstack traceback:\n"), err)
  check.ok(err:find("in function 'level_two'", 1, true), err)
  check.eq(select(2, err:gsub("stack traceback:", "")), 2)
end)

check.test("attempts are told", function()
  local f = lr.remote(function() error("no", 0) end, { name = "again", retry_on_error = 2 })()
  check.ok(tostring(error_of(f)):match("^no\n\tin task again %(%x+, attempt 3%)\n"), tostring(error_of(f)))
end)

check.test("codes that are not `error` stand before the message", function()
  local err = error_of(lr.remote(function() lr.sleep(60) end, { timeout = 0.01 })())
  check.ok(tostring(err):match("^timeout: it ran longer than its timeout of 0%.01 s\n"), tostring(err))
end)

check.test("raised tables, numbers, nil and false are kept in err.value", function()
  local raise = lr.remote(function(v) error(v) end)
  local err = error_of(raise { code = 7, list = { 1, 2 } })
  check.eq(err.value, { code = 7, list = { 1, 2 } })
  check.eq(err.code, "error")
  err = error_of(lr.remote(function() error(42, 0) end)())
  check.eq({ err.message, err.value }, { "42", 42 })
  err = error_of(raise(nil))
  check.eq(err.message, "nil")
  err = error_of(raise(false))
  check.eq({ err.message, err.value }, { "false", false })
end)

check.test("a raised value that cannot be sent, or whose tostring fails", function()
  local err = error_of(lr.remote(function() error({ f = io.write }) end)())
  check.ok(err.message:match("^table: 0x%x+$"), err.message)
  check.eq(err.value, nil)
  err = error_of(lr.remote(function() error(setmetatable({}, { __tostring = function() error("no") end })) end)())
  check.eq(err.message, "(an error value of type table)")
  err = error_of(lr.remote(function() error(setmetatable({ 1 }, { __tostring = function() return "my words" end })) end)())
  check.eq(err.message, "my words")
end)

check.test("an error of a dependency: the cause kept, its code taken over", function()
  local bad = lr.remote(function() error("deep", 0) end, { name = "bad" })
  local use = echo:with { name = "use" }
  local err = error_of(use(1, bad()))
  check.eq({ err.code, err.message, err.function_name },
    { "error", "argument 2, the result of bad, is not there: it failed", "use" })
  check.eq({ err.cause.code, err.cause.message, err.cause.function_name, err.cause.cause }, { "error", "deep", "bad", nil })
  check.ok(tostring(err):match("argument 2.*\ncaused by:\ndeep\n\tin task bad"), tostring(err))
end)

check.test("through get: the task that got it fails with the same message, the cause kept", function()
  local bad = lr.remote(function() error("deep", 0) end, { name = "bad" })
  local middle = lr.remote(function(b) return (b():get()) end, { name = "middle" })
  local err = error_of(middle(bad))
  check.eq({ err.code, err.message, err.function_name }, { "error", "deep", "middle" })
  check.eq({ err.cause.message, err.cause.function_name }, { "deep", "bad" })
end)

check.test("an error caught and raised again, and one that is put or returned, keeps its fields", function()
  local bad = lr.remote(function() error({ 1 }) end, { name = "bad" })
  local again = lr.remote(function(b) local _, e = b():pget() error(e) end)
  check.eq(error_of(again(bad)).cause.value, { 1 })
  local give = lr.remote(function(b) local _, e = b():pget() return e end)
  local err = give(bad):get(WAIT_S)
  check.eq({ err.code, err.function_name, err.value }, { "error", "bad", { 1 } })
  check.ok(getmetatable(err) == lr.Error)
  check.eq(lr.put(err):get().function_name, "bad")
end)

check.test("a thousand nested failures: small, the innermost cause there", function()
  local nest
  nest = lr.remote(function(n) if n == 0 then error("innermost", 0) end return (nest(n - 1):get()) end)
  local err = error_of(nest(1000))
  check.eq(err.message, "innermost")
  local depth, e = 0, err
  while e.cause do depth, e = depth + 1, e.cause end
  check.eq(e.message, "innermost")
  check.ok(depth < 20, depth)
  check.ok(#tostring(err) < 20000)
end)

check.test("a stack overflow in a task is an error", function()
  local function deep(n) return n and 1 + deep(n + 1) end
  local err = error_of(lr.remote(function() return deep(1) end)())
  check.ok(err.message:find("stack overflow", 1, true), err.message)
  check.eq((echo(1):get(WAIT_S)), 1)
end)

check.test("a result that cannot cross: not_serializable, the place named", function()
  local err = error_of(lr.remote(function() return 1, { a = { b = io.write } } end)())
  check.eq(err.code, "not_serializable")
  check.ok(err.message:find("result 2", 1, true) and err.message:find("a.b", 1, true), err.message)
end)

check.test("lr.get, as_completed, map and wait hand the same errors on", function()
  local bad = lr.remote(function() error("boom", 0) end)
  local err = select(2, pcall(lr.get, { echo(1), bad() }))
  check.eq(err.message, "boom")
  for f in lr.as_completed { bad() } do check.eq(error_of(f).message, "boom") end
end)

-- ---- errors nobody looks at ----

local BOMB = "local bomb = lr.remote(function() error('boom', 0) end, {name = 'bomb'})\n"

check.test("an error nobody looks at is reported at the end", function()
  local out, err, status = child(BOMB .. "bomb() print('done')")
  check.eq({ out, status }, { "done\n", 0 })
  check.ok(err:match("^luarun: 1 failed task nobody looked at:\n  task bomb %(%x%x%x%x%x%x%x%x%) failed: error: boom\n$"), err)
  out, err, status = child(BOMB .. "local f = bomb() lr.wait{f} print('done')")
  check.eq({ out, status }, { "done\n", 0 })
  check.ok(err:match("1 failed task nobody looked at"), err)
end)

check.test("many of them: ten are shown", function()
  local _, err = child(BOMB .. "for i = 1, 25 do bomb() end")
  check.ok(err:match("^luarun: 25 failed tasks nobody looked at:\n"), err)
  check.eq(select(2, err:gsub("\n  task bomb ", "")), 10)
  check.ok(err:match("\n  and 15 more\n$"), err)
end)

check.test("not reported: looked at, cancelled, handed on", function()
  for _, chunk in ipairs {
    "bomb():pget()", "pcall(lr.get, bomb())", "local f = bomb() lr.wait{f} f:state()", "bomb():cancel()",
    "local f = bomb() lr.wait{f} f:cancel() f:state()",
    "for f in lr.as_completed{bomb()} do f:pget() end",
    "local f = lr.remote(function(x) return x end)(bomb()) f:pget()",
    "local f = lr.remote(function(b) local g = b() g:pget() end)(bomb) f:get()",
    "lr.remote(function() lr.sleep(60) end)():cancel()",
    "lr.any{bomb(), lr.put(1)}:get()",
    "pcall(lr.map, function() error('x') end, {1})",
    "pcall(lr.get, lr.all{bomb(), lr.put(1)})",
    "pcall(lr.map, function() error('x') end, {1, 2, 3, 4, 5, 6, 7, 8}, {chunk = 1})",
    "local f = bomb() lr.wait{f} lr.free(f)",
    -- some of these fail between the cancel's first look and its end
    "for _ = 1, 20000 do local f = bomb() while f:state() == 'queued' do end f:cancel() end",
  } do
    local out, err, status = child(BOMB .. chunk)
    check.eq({ out, err, status }, { "", "", 0 }, chunk)
  end
end)

check.test("dependents of a failure nobody looks at: reported, the dependents", function()
  local _, err = child(BOMB .. "lr.remote(function(x) return x end, {name = 'user'})(bomb())")
  check.ok(err:find("task user", 1, true) and err:find("argument 1, the result of bomb, is not there: it failed", 1, true), err)
  check.ok(err:match("^luarun: 1 failed task "), err)
end)

check.test("a script that fails while tasks run: its error, status 1, at once", function()
  local start = lr.now()
  local out, err, status = child([[
    local s = lr.remote(function() lr.sleep(60) end)
    for i = 1, 10 do s() end
    error("the script's", 0)]])
  check.eq({ out, status }, { "", 1 })
  check.ok(err:match("^luarun: the script's\n"), err)
  check.ok(lr.now() - start < 20)
end)

check.test("a script that ends waits for its tasks, and says so when that takes long", function()
  local out, err, status = child([[
    lr.remote(function() lr.sleep(0.05) print("late") end, {name = "late"})()
    print("end of script")]])
  check.eq({ err, status }, { "", 0 })
  check.ok(out:match("^end of script\n%[late %x+%] late\n$"), out)
  local _, long = child("lr.remote(function() lr.sleep(1.3) end)() lr.remote(function() lr.sleep(1.3) end)()")
  check.eq(long, "luarun: the script has ended; waiting for 2 tasks it started (^C ends them)\n")
end)

check.test("os.exit in the script ends at once, whatever runs", function()
  for _, chunk in ipairs {
    "lr.remote(function() lr.sleep(60) end)() os.exit(3)",
    "local f = lr.remote(function() while true do end end)() while f:state() == 'queued' do end os.exit(3)",
    "local s = lr.remote(function() lr.sleep(60) end) local f = s() local g = lr.remote(function(t) t[1]:get() end){f} " ..
    "while g:state() == 'queued' do end os.exit(3)",
    "for i = 1, 1000 do lr.remote(function() lr.sleep(60) end)() end os.exit(3)",
  } do
    local start = lr.now()
    local out, err, status = child(chunk)
    check.eq({ out, err, status }, { "", "", 3 }, chunk)
    check.ok(lr.now() - start < 20, chunk)
  end
end)

check.test("tasks parked and waiting on stacks when the script fails", function()
  local _, err, status = child([[
    local s = lr.remote(function() lr.sleep(60) end)
    local slow = s()
    local w = lr.remote(function(t) return coroutine.wrap(function() return t[1]:get() end)() end)
    local list = {}
    for i = 1, 50 do list[i] = w{slow} end
    while list[50]:state() == "queued" do lr.sleep(0.001) end
    error("over", 0)]])
  check.eq(status, 1)
  check.ok(err:match("^luarun: over\n"), err)
end)

check.done()
