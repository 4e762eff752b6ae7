-- The console's short forms (luarun.commands): what each prints of what luarun's table gives, and what they say of what is
-- not in this version.

local check = require "check"
local Console = require "luarun.console"
local commands = require "luarun.commands"
local core = require "luarun.core"
local lr = require "luarun"

core.track_futures()

local function new(table_of_luarun, width)
  return Console.new { lr = table_of_luarun or lr, env = setmetatable({}, { __index = _G }),
    futures = core.futures_held, width = function() return width or 100 end }
end

local function output(console, line)
  local kind, text = console:feed(line)
  check.eq(kind, "output", line .. ": " .. tostring(text))
  return text
end

check.test("every one answers, or says in a line why not", function()
  local c = new()
  for _, name in ipairs(commands.names()) do
    local kind, text = c:feed(":" .. name)
    check.ok(kind == "output" or kind == "error" or (kind == "quit" and name == "quit"), name)
    if kind == "error" then check.ok(not text:find("\n"), name .. ": " .. text) end
  end
end)

check.test("what is not in this version is said", function()
  local kind, text = new():feed(":explain 00")
  if rawget(lr, "explain") then return end
  check.eq(kind, "error")
  check.ok(text:find("^not there yet: lr.explain"), text)
end)

check.test(":help lists them all", function()
  local text = output(new(), ":help")
  for _, name in ipairs(commands.names()) do check.ok(text:find(":" .. name, 1, true), name) end
  check.ok(output(new(), ":help wait"):find("lr.wait(", 1, true))
end)

check.test("a table: columns in order, ids shortened, the width kept", function()
  local rows = {
    { id = ("ab"):rep(16), state = "running", age = 0.0123, name = ("long"):rep(50), extra = { 1, 2 } },
    { id = ("cd"):rep(16), state = "ready", age = 100, name = "f\27[2J\nx" },
  }
  local text = commands.table(rows, { "id", "state", "age", "name" }, 80)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  check.eq(#lines, 3, text)
  check.ok(lines[1]:find("^id%s+state%s+age%s+extra%s+name$"), lines[1])
  check.ok(lines[2]:find("^abababababab%s+running%s+12.3 ms%s+{ 1, 2 }%s+long"), lines[2])
  check.ok(lines[3]:find("f\\027[2J x", 1, true), lines[3])
  for _, line in ipairs(lines) do check.ok(#line <= 80, line) end
end)

check.test("tables fit any width", function()
  local rows = { { id = ("ab"):rep(16), message = ("m"):rep(300), bytes = 12345678 } }
  for width = 1, 150 do check.ok(commands.table(rows, { "id", "bytes", "message" }, width)) end
end)

check.test(":tasks with filters", function()
  local asked
  local c = new({ tasks = function(filter)
    asked = filter
    return { { id = ("0"):rep(32), name = "f", state = "running", age = 1 }, n = 1, total = 7 }
  end })
  check.ok(output(c, ":tasks state=running name=f 3"):find("7 tasks; 1 shown$"))
  check.eq(asked, { state = "running", name = "f", limit = 3 })
  local kind, text = c:feed(":tasks what?")
  check.eq({ kind, text }, { "error", "'what?': a filter like state=running, or a number of lines, wanted" })
end)

check.test("a mistake that luarun finds is one line", function()
  local kind, text = new():feed(":tasks state=nope")
  check.eq(kind, "error")
  check.ok(text:find("^tasks: state: one of") and not text:find("\n"), text)
end)

check.test(":nodes, :objects, :errors, :stats, :resources on the real one", function()
  local c = new()
  check.ok(output(c, ":nodes"):find("cpu=2", 1, true))
  local t = lr.tensor("u8", { 500000 })
  check.ok(output(c, ":objects"):find("500.0 kB", 1, true))
  check.eq(#t, 500000)
  lr.remote(function() error("seen in the list", 0) end)():pget()
  check.ok(output(c, ":errors"):find("seen in the list", 1, true))
  check.ok(output(c, ":stats"):find("workers%s+2"))
  check.ok(output(c, ":resources"):find("cpu%s+2"))
end)

check.test(":get reads a future by the beginning of its id", function()
  local c = new()
  c:feed("local f = lr.put('found')")
  c:feed("f:id()")
  local id = c.boxes._.get()
  check.eq(output(c, ":get " .. id:sub(1, 12)), '"found"')
  check.eq(output(c, "_"), '"found"')
  check.eq(output(c, ":get " .. id), '"found"')
  local kind, text = c:feed(":get zz")
  check.ok(kind == "error" and text:find("^an id"), text)
  kind, text = c:feed(":get " .. ("f"):rep(32))
  check.ok(kind == "error" and text:find("^no future"), text)
  c:feed("local g = lr.remote(function() error('inside', 0) end)()")
  c:feed("g:id()")
  kind, text = c:feed(":get " .. c.boxes._.get())
  check.ok(kind == "error" and text:find("inside", 1, true), text)
end)

check.test("futures are found until they are collected, never half gone", function()
  local add = lr.remote(function(a, b) return a + b end)
  for i = 1, 50 do
    for _ = 1, 50 do add(i, 1) end
    collectgarbage("step", 50)
    for _, f in ipairs(core.futures_held()) do check.eq(#f:id(), 32) end
  end
  collectgarbage()
  collectgarbage()
  check.ok(#core.futures_held() < 50, #core.futures_held())
end)

check.test("ids of futures and tasks complete", function()
  local c = new()
  local f = lr.put(1)
  local found = c:complete(":get " .. f:id():sub(1, 10), 15).words
  check.eq(found, { f:id() })
end)

check.test(":cancel", function()
  local c = new()
  c:feed("local f = lr.remote(function() lr.sleep(1000) end)()")
  c:feed("f:id()")
  check.ok(output(c, ":cancel " .. c.boxes._.get()):find("cancelled", 1, true))
end)

check.test(":top", function()
  local c = new()
  c:feed("local f = lr.remote(function() lr.sleep(1000) end)")
  c:feed("local running = f()")
  local text = output(c, ":top")
  check.ok(text:find("^2 workers; 1 tasks? running or parked"), text)
  check.ok(text:find("\n1%s+0%s+0%s+%d+%s+f$") or text:find("\n1%s+0%s+0%s+%d+%s+f\n"), text)
  c:feed("running:cancel()")
end)

check.test(":timeline wants a name, and gives it on", function()
  local written
  local c = new({ timeline = function(path) written = path end })
  check.eq(output(c, ":timeline /tmp/x.json"), "written to /tmp/x.json")
  check.eq(written, "/tmp/x.json")
  check.eq({ c:feed(":timeline") }, { "error", "a file's name wanted" })
end)

check.test(":explain gives text or a table", function()
  local c = new({ explain = function(id) return "because of " .. id end })
  check.eq(output(c, ":explain 12ab"), "because of 12ab")
  c = new({ explain = function() return { state = "queued" } end })
  check.eq(output(c, ":explain 12ab"), '{ state = "queued" }')
end)

check.test("amounts as people read them", function()
  check.eq({ commands.seconds(0.0000021), commands.seconds(0.0042), commands.seconds(3.14), commands.seconds(600),
    commands.seconds(90000) }, { "2 us", "4.2 ms", "3.1 s", "10 min", "25.0 h" })
  check.eq({ commands.bytes(5), commands.bytes(1500), commands.bytes(2.5e9) }, { "5 bytes", "1.5 kB", "2.5 GB" })
end)

check.done()
