-- Modules in tasks, by name and as upvalues; the strict table of globals; what `luarun` is in there.
local check = require "check"
package.path = package.path .. ";" .. (arg[0]:match("^(.*)/") or ".") .. "/modules/?.lua"

-- A module with a syntax error in its second line; a file of the tree may not have one.
local place = os.tmpname()
local broken, broken_file = place:match("[^/]+$"), place .. ".lua"
package.path = package.path .. ";" .. place:match("^(.*/)") .. "?.lua"
do
  local file = assert(io.open(broken_file, "w"))
  file:write("local x = {\nfunction x.y() return 1 end\nreturn x\n")
  file:close()
end

local lr = require "luarun"

local function fails(text, rf, ...)
  local ok, err = rf(...):pget()
  check.eq(ok, false)
  if not err.message:find(text, 1, true) then check.eq(err.message, text) end
  return err
end

-- ---- modules --------------------------------------------------------------------------------------------------

check.test("a change of package.path before the first task is seen in tasks", function()
  check.eq(lr.remote(function() return require("shapes").point(3, 4):length() end)():get(), 5)
  check.eq(lr.remote(function() return package.path end)():get(), package.path)
  check.eq(lr.remote(function() return package.cpath end)():get(), package.cpath)
end)

check.test("a module beside the script is found", function()
  check.eq(lr.remote(function() return require("check").show("x") end)():get(), '"x"')
end)

check.test("lr.remote(module, name)", function()
  check.eq(lr.remote("shapes", "point")(1, 2):get().y, 2)
  check.eq(lr.remote("deep.inner", "where")():get(), "deep.inner")
  check.eq(lr.remote("math", "max")(1, 5, 3):get(), 5)
  check.eq(lr.remote("string", "rep", { name = "repeat" })("ab", 2):get(), "abab")
  check.eq(tostring(lr.remote("string", "rep", { name = "repeat" })), "remote function: repeat")
  check.eq(tostring(lr.remote("shapes", "point")), "remote function: shapes.point")
  check.eq(lr.remote("math", "max"):here(1, 2), 2)
end)

check.test("lr.remote(module, name): refusals", function()
  fails("module 'shapes' has no function 'circle'", lr.remote("shapes", "circle"))
  fails("module 'shapes' has no function 'not_a_function'", lr.remote("shapes", "not_a_function"))
  fails("module 'answer' is a function, not a table of functions", lr.remote("answer", "x"))
  fails("module 'no.such.module' not found:", lr.remote("no.such.module", "x"))
  check.error_has(function() lr.remote("shapes") end,
    "remote: the name of a function in module 'shapes' wanted, nothing given")
  check.error_has(function() lr.remote("shapes", 5) end,
    "remote: the name of a function in module 'shapes' wanted, number given")
end)

check.test("a syntax error in a module: its words, file and line", function()
  local text = ("error loading module '%s' from file '%s':\n\t%s:2: '(' expected near 'x'")
    :format(broken, broken_file, broken_file)
  fails(text, lr.remote(broken, "x"))
  fails(text, lr.remote(broken, "x")) -- and again
  fails(text, lr.remote(function() require(broken) end))
end)

check.test("an error while a module is loaded, a table too; the next task hears it again", function()
  local caught = lr.remote(function()
    local ok, err = pcall(require, "raises")
    return ok, type(err) == "table" and err.code
  end)
  check.eq({ caught():get() }, { false, "raises" })
  local err = fails("table: ", lr.remote("raises", "x"))
  check.eq(err.value, { code = "raises" })
end)

check.test("an error in a module's function names the module's line", function()
  fails("shapes.lua:15: shapes fail", lr.remote("shapes", "fail"))
end)

check.test("a missing module names the line that wants it", function()
  local line = debug.getinfo(1, "l").currentline + 1
  fails(("modules_test.lua:%d: module 'nowhere' not found:"):format(line), lr.remote(function() require "nowhere" end))
end)

check.test("modules and their functions as upvalues are the task's own", function()
  local shapes, point, answer = require "shapes", require "shapes".point, require "answer"
  local shapes2, Point = shapes, shapes.Point
  local rf = lr.remote(function()
    local own = require "shapes"
    return shapes == own, shapes2 == own, point == own.point, Point == own.Point, answer == require "answer", answer()
  end)
  check.eq({ rf():get() }, { true, true, true, true, true, 42 })
end)

check.test("modules beside shared tables: nothing is mixed up", function()
  local shapes, stack, t = require "shapes", require "stack", { "t" }
  local a, b = { shapes = shapes, t = t }, { stack = stack, t = t }
  local rf = lr.remote(function()
    return a.shapes == require "shapes", b.stack == require "stack", rawequal(a.t, b.t), t[1], rawequal(t, a.t)
  end)
  check.eq({ rf():get() }, { true, true, true, "t", true })
end)

check.test("a module function as an argument and as a result", function()
  local shapes = require "shapes"
  check.eq(lr.remote(function(f) return f == require("shapes").point end)(shapes.point):get(), true)
  check.ok(lr.remote(function() return require("shapes").point end)():get() == shapes.point)
end)

check.test("a module loaded after others were sent is known too", function()
  local before = lr.remote(function() return 1 end)
  before():get()
  local inner = require "deep.inner"
  check.eq(lr.remote(function() return inner == require "deep.inner", inner.name end)():get(), true)
end)

check.test("a module loaded again is the one that counts", function()
  local old = require "deep.inner"
  package.loaded["deep.inner"] = nil
  local new = require "deep.inner"
  check.ok(old ~= new)
  check.eq(lr.remote(function() return new == require "deep.inner" end)():get(), true)
  check.eq(lr.remote(function() return old == require "deep.inner" end)():get(), false)
end)

check.test("a module that only the script has cannot be loaded in a task", function()
  package.loaded["script.only"] = { f = function() return 1 end }
  local only = require "script.only"
  fails("a value could not be taken in: module 'script.only' cannot be loaded here: ",
    lr.remote(function() return only end))
  package.loaded["script.only"] = nil
end)

check.test("a value that a waiting task cannot take in is its error, and the task goes on", function()
  local produce = lr.remote(function(t, name)
    local class = {}
    class.__index = class
    package.loaded[name] = class -- no other state has this module
    t.gate:get()
    return setmetatable({}, class)
  end)
  local consume = lr.remote(function(t, name)
    local ok, err = pcall(function() return t.f:get() end)
    if ok then return package.loaded[name] ~= nil, 2 end
    local again = require("luarun").remote(function() return { 1, { 2 } } end)():get() -- it can still wait
    return err.message:find("module '" .. name .. "' cannot be loaded here: ", 1, true) ~= nil, again[2][1]
  end)
  for i = 1, 20 do
    local gate = lr.remote(function() require("luarun").sleep(0.002) end)()
    local name = "one.state.only" .. i
    check.eq({ consume({ f = produce({ gate = gate }, name) }, name):get() }, { true, 2 })
  end
end)

-- ---- globals --------------------------------------------------------------------------------------------------

some_global = "set in the script" -- luacheck: globals some_global

check.test("reading a global that is not set names it", function()
  local err = fails("global 'some_global' is not set in a task: globals do not travel; make it a local that the "
    .. "function uses, an argument, or a module", lr.remote(function() return some_global end)) -- luacheck: ignore
  check.ok(err.message:find("modules_test.lua:%d+: global"), err.message)
  fails("global 'undefined_function' is not set in a task",
    lr.remote(function() undefined_function() end)) -- luacheck: ignore
  check.eq(lr.remote(function() return rawget(_G, "some_global") end)():get(), nil)
end)

check.test("setting a global is refused", function()
  fails("a task cannot set the global 'new_global': other tasks would not see it; return the value instead",
    lr.remote(function() new_global = 1 end)) -- luacheck: globals new_global
  fails("a task cannot set the global 'new_global'", lr.remote(function() require("globals").set() end))
  check.eq(lr.remote(function() return rawget(_G, "new_global") end)():get(), nil)
end)

check.test("a module may set globals, and read unset ones, while it is loaded", function()
  check.eq(lr.remote("globals", "help")():get(), "helped")
  check.eq(lr.remote(function() require "globals"; return old_helper() end)():get(), "helped") -- luacheck: ignore
  -- also after a module that failed to load, which must not leave the door open
  local strict = lr.remote(function()
    pcall(require, broken)
    pcall(require, "nowhere")
    return pcall(function() return undefined end) -- luacheck: ignore
  end)
  check.eq(strict():get(), false)
end)

check.test("the standard globals are all there", function()
  local names = {}
  for name in pairs(_G) do names[#names + 1] = name end
  local missing = lr.remote(function(list)
    local out = {}
    for _, name in ipairs(list) do if rawget(_G, name) == nil then out[#out + 1] = name end end
    table.sort(out)
    return out
  end)
  check.eq(missing(names):get(), { "arg", "some_global" })
end)

check.test("os.exit is refused in a task", function()
  fails("os.exit cannot be called in a task: return, or raise an error", lr.remote(function() os.exit(3) end))
end)

-- ---- luarun in a task -----------------------------------------------------------------------------------------

check.test("require \"luarun\" in a task gives the same interface", function()
  local function shape(t)
    local out = {}
    for k, v in pairs(t) do out[k] = type(v) end
    return out
  end
  local here = shape(lr)
  check.eq(lr.remote(function() return shape(require "luarun") end)():get(), here)
  check.eq(lr.remote(function() return shape(lr) end)():get(), here) -- as an upvalue
  check.eq(lr.remote(function() return rawequal(lr, require "luarun") end)():get(), true)
end)

check.test("futures, remote functions, tensors have the same methods in a task", function()
  local wanted = {
    f = { "get", "pget", "cancel", "state", "is_ready", "id" },
    rf = { "with", "here" },
    t = { "size", "shape", "get", "set", "narrow", "select", "reshape", "copy", "fill", "data", "totable" },
  }
  local function missing()
    local values, out = { f = lr.put(1), rf = lr.remote(function() end), t = lr.tensor("f64", { 1 }) }, {}
    for kind, names in pairs(wanted) do
      for _, name in ipairs(names) do
        if type(values[kind][name]) ~= "function" then out[#out + 1] = kind .. "." .. name end
      end
    end
    return out
  end
  check.eq(missing(), {})
  check.eq(lr.remote(missing)():get(), {})
end)

os.remove(place)
os.remove(broken_file)
check.done()
