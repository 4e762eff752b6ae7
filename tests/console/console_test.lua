-- The console's logic (luarun.console): a line in; output, "more" or an error out. On the real luarun, without a terminal.

local check = require "check"
local Console = require "luarun.console"
local lr = require "luarun"
local core = require "luarun.core"

local function new(options)
  options = options or {}
  options.lr = options.lr or lr
  options.env = options.env or setmetatable({}, { __index = _G })
  options.futures = options.futures or core.futures_held
  return Console.new(options)
end

-- Feeds lines; the last one's kind and text.
local function feed(console, ...)
  local kind, text
  for _, line in ipairs { ... } do kind, text = console:feed(line) end
  return kind, text
end

local function gives(console, line, wanted)
  local kind, text = console:feed(line)
  check.eq({ kind, text }, { "output", wanted }, line)
end

local function fails(console, line, wanted)
  local kind, text = console:feed(line)
  check.eq(kind, "error", line)
  check.ok(text:find(wanted, 1, true), line .. " gave " .. tostring(text))
  return text
end

check.test("expressions print, statements do not", function()
  local c = new()
  gives(c, "1 + 1", "2")
  gives(c, "x = 5", "")
  gives(c, "x", "5")
  gives(c, "= x * 2", "10")
  gives(c, "return x", "5")
  gives(c, "1, nil, 'a'", '1\tnil\t"a"')
  gives(c, "nil", "nil")
  gives(c, "", "")
  gives(c, "-- a comment", "")
  gives(c, "(function() end)()", "")
end)

check.test("a semicolon at the end keeps quiet", function()
  local c = new()
  gives(c, "{ 1, 2 };", "")
  gives(c, "#_", "2")
  gives(c, "40 + 2; -- with a comment", "")
  gives(c, "_", "42")
  gives(c, "';'", '";"')
end)

check.test("_ is the last value", function()
  local c = new()
  gives(c, "6 * 7", "42")
  gives(c, "_ + 1", "43")
  gives(c, "x = 1", "")
  gives(c, "_", "43")
  fails(c, "error('no')", "no")
  gives(c, "_", "43")
end)

check.test("several lines until the chunk is whole", function()
  local c = new()
  check.eq(c:feed("for i = 1, 2 do"), "more")
  check.ok(c:is_pending())
  check.eq(c:feed("  y = i"), "more")
  gives(c, "end", "")
  check.ok(not c:is_pending())
  gives(c, "y", "2")
  check.eq(feed(c, "t = {", "1,"), "more")
  gives(c, "2 }", "")
  gives(c, "#t", "2")
  check.eq(c:feed("[[two"), "more")
  gives(c, "lines]]", '"two\\nlines"')
  check.eq(c:feed("1 +"), "more")
  gives(c, "2", "3")
  check.eq(c:feed("--[[ a comment"), "more")
  gives(c, "]] 7", "7")
end)

check.test("what is pending can be dropped", function()
  local c = new()
  check.eq(c:feed("while true do"), "more")
  c:drop()
  gives(c, "1", "1")
end)

check.test("a local at top level lasts", function()
  local c = new()
  gives(c, "local x = 1", "")
  gives(c, "x", "1")
  gives(c, "local function f() return x end", "")
  gives(c, "x = 2", "")
  gives(c, "f()", "2")
  gives(c, "local x = x + 1", "")
  gives(c, "x, f()", "3\t2") -- a new variable; what was made before keeps the old one
  gives(c, "local x", "")
  gives(c, "x", "nil")
  gives(c, "local a, b, c = 1, 2", "")
  gives(c, "a, b, c", "1\t2\tnil")
  gives(c, "do local a = 9 end", "")
  gives(c, "a", "1")
  gives(c, "local fact; fact = function(n) return n < 2 and 1 or n * fact(n - 1) end", "")
  gives(c, "fact(5)", "120")
  gives(c, "local function g(n) return n == 0 and 'done' or g(n - 1) end", "")
  gives(c, "g(3)", '"done"')
  check.eq(rawget(c.env, "x"), nil)
end)

check.test("a local of a chunk that fails keeps what it had got", function()
  local c = new()
  fails(c, "local x = 1; error('here')", "here")
  gives(c, "x", "1")
  fails(c, "local y = = 2", "'='")
  gives(c, "y", "nil")
end)

check.test("more locals than a function has room for", function()
  local c = new()
  for i = 1, 300 do gives(c, "local v" .. i .. " = " .. i, "") end
  gives(c, "v1 + v150 + v300", "451")
end)

check.test("functions with locals of the console go to tasks", function()
  local c = new()
  gives(c, "local factor = 3", "")
  gives(c, "local triple = lr.remote(function(x) return x * factor end)", "")
  gives(c, "triple(5):get()", "15")
  gives(c, "factor = 4", "")
  gives(c, "triple(5):get()", "20")
  gives(c, "lr.map(function(x) return x * factor end, { 1, 2, 3 })", "{ 4, 8, 12, n = 3 }")
end)

check.test("a global is not in a task, and the error says what to do", function()
  local c = new()
  gives(c, "offset = 10", "")
  fails(c, "lr.remote(function() return offset end)():get()", "globals do not travel")
end)

check.test("errors", function()
  local c = new()
  check.eq(fails(c, "error('boom')", "boom"), "(console):1: boom")
  fails(c, "x = = 1", "(console):1: ")
  fails(c, "nothing.field", "nothing")
  fails(c, "error({ code = 7 })", "an error that is no string: { code = 7 }")
  fails(c, "error('a\\27b')", "a\\027b")
  local text = fails(c, "local function f() error('deep') end f()", "deep")
  check.ok(text:find("in function 'f'", 1, true), text)
  check.ok(not text:find("console.lua", 1, true), text)
  check.eq(c:feed("error(nil)"), "error")
  check.eq(c:feed("error(setmetatable({}, { __tostring = function() error('x') end }))"), "error")
end)

check.test("a task's error shows both sides", function()
  local c = new()
  local text = fails(c, "lr.remote(function() error('inside') end)():get()", "inside")
  check.ok(text:find("in task", 1, true), text)
end)

check.test("a value whose showing fails is no end", function()
  local c = new()
  gives(c, "setmetatable({}, { __tostring = function() error('x') end });", "")
  check.eq(c:feed("_"), "output")
end)

check.test("text can not leave the function it is compiled in", function()
  local c = new()
  check.eq(c:feed("1) end, function() return (2"), "error")
  check.eq(c:feed("end return function() x = 1"), "error")
end)

check.test("? shows help", function()
  local c = new()
  local kind, text = c:feed("? wait")
  check.eq(kind, "output")
  check.ok(text:find("lr.wait(", 1, true))
  check.eq(c:feed("?"), "output")
  fails(c, "? xyzzy", "no help")
end)

check.test("? on a kernel library and a kernel", function()
  local library = setmetatable({}, { __tostring = function()
    return "kernel library 'm' (/m.so):\n  dot(x: f64[n]) -> number\n      the product\n  sum(x: f64[n]) -> number"
  end })
  local c = new { env = { m = library } }
  gives(c, "? m.dot", "dot(x: f64[n]) -> number\n      the product")
  gives(c, "? m.sum", "sum(x: f64[n]) -> number")
  gives(c, "? m", tostring(library))
end)

check.test("the time of a command", function()
  local now = 0
  local c = new { clock = function() now = now + 0.5 return now end }
  c:feed(":time on")
  gives(c, "1", "1\n(500.0 ms)")
  gives(c, "x = 1", "(500.0 ms)")
  c:feed(":time off")
  gives(c, "1", "1")
end)

check.test("the end", function()
  check.eq(new():feed(":quit"), "quit")
end)

check.test("around what runs", function()
  local log = {}
  local c = new { before = function() log[#log + 1] = "before" end, after = function() log[#log + 1] = "after" end }
  c:feed("1")
  c:feed("error('x')")
  check.eq(log, { "before", "after", "before", "after", "before", "after" }) -- running, showing, running
end)

check.test("completion knows locals, globals and futures", function()
  local c = new { env = { global_one = 1 } }
  c:feed("local lasting_one = lr.put(3)")
  check.eq(c:complete("last", 4).words, { "lasting_one" })
  check.eq(c:complete("global_", 7).words, { "global_one" })
  check.ok(#c:complete("lasting_one:", 12).words >= 5)
  check.eq(c:complete("lr.rem", 6).words, { "remote" })
end)

check.test("a chunk of a thousand lines", function()
  local c = new()
  check.eq(c:feed("local t = {"), "more")
  for i = 1, 1000 do check.eq(c:feed("  " .. i .. ","), "more") end
  gives(c, "}", "")
  gives(c, "#t", "1000")
end)

check.test("any bytes", function()
  math.randomseed(5)
  for _ = 1, 300 do
    local c, bytes = new(), {}
    for i = 1, math.random(30) do bytes[i] = string.char(math.random(0, 255)) end
    local kind = c:feed((table.concat(bytes):gsub("\n", " ")))
    check.ok(kind == "output" or kind == "more" or kind == "error", kind)
  end
end)

check.done()
