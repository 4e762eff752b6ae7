-- Objects with metatables: of a loaded module, or registered with lr.class.
local check = require "check"
package.path = package.path .. ";" .. (arg[0]:match("^(.*)/") or ".") .. "/modules/?.lua"
local lr = require "luarun"
local shapes, stack = require "shapes", require "stack"

local echo = lr.remote(function(...) return ... end, { name = "echo" })
local function there_and_back(value) return (echo(value):get()) end

-- ---- classes of modules ---------------------------------------------------------------------------------------

check.test("an object whose metatable is a module's field", function()
  local p = there_and_back(shapes.point(3, 4))
  check.ok(getmetatable(p) == shapes.Point)
  check.eq(p:length(), 5)
  check.eq(tostring(p), "(3, 4)")
  check.ok(p == shapes.point(3, 4))
  check.eq({ lr.remote(function(q) return shapes.is_point(q), q:length(), tostring(q + q) end)(p):get() },
    { true, 5, "(6, 8)" })
end)

check.test("an object whose metatable is the module", function()
  local s = stack.new():push("a"):push("b")
  check.eq(lr.remote(function(x) return x:pop(), getmetatable(x) == require "stack" end)(s):get(), "b")
  check.eq(s.n, 2)
  s = there_and_back(s)
  check.eq(s:pop(), "b")
  check.ok(getmetatable(s) == stack)
end)

check.test("objects made in a task arrive as the script's own class", function()
  local p = lr.remote(function() return require("shapes").point(1, 2) end)():get()
  check.ok(shapes.is_point(p))
end)

check.test("objects in tables, in objects, in cycles, shared", function()
  local p = shapes.point(1, 2)
  p.self, p.next = p, shapes.point(3, 4)
  p.next.back = p
  local got = there_and_back({ p, p, [p] = "key", list = { p.next } })
  check.ok(rawequal(got[1], got[2]))
  check.ok(rawequal(got[1].self, got[1]))
  check.ok(rawequal(got[1].next.back, got[1]))
  check.ok(rawequal(got.list[1], got[1].next))
  check.eq(got[got[1]], "key")
  check.eq(getmetatable(got.list[1]), shapes.Point)
end)

check.test("an object as an upvalue, beside its class and its module", function()
  local p, Point, module = shapes.point(6, 8), shapes.Point, shapes
  local rf = lr.remote(function()
    return p:length(), getmetatable(p) == Point, Point == module.Point, module == require "shapes"
  end)
  check.eq({ rf():get() }, { 10, true, true, true })
end)

-- ---- lr.class -------------------------------------------------------------------------------------------------

local Account = lr.class("Account", {})
Account.__index = Account
function Account.new(owner) return setmetatable({ owner = owner, balance = 0 }, Account) end
function Account:add(n) self.balance = self.balance + n; return self end
Account.__lt = function(a, b) return a.balance < b.balance end
Account.__tostring = function(a) return a.owner .. ": " .. a.balance end

check.test("lr.class gives the metatable back, and refuses other things", function()
  local mt = {}
  check.ok(lr.class("Some", mt) == mt)
  check.error_has(function() lr.class(5, {}) end, "class: a name (string) wanted, number given")
  check.error_has(function() lr.class("X") end, "class: a metatable wanted, nothing given")
end)

check.test("an object of a registered class: methods, metamethods, identity at home", function()
  local a = there_and_back(Account.new("ann"):add(5))
  check.ok(getmetatable(a) == Account)
  check.eq(a:add(1).balance, 6)
  check.eq({ lr.remote(function(x, y) return tostring(x:add(10)), x < y, y < x end)(a, Account.new("bob")):get() },
    { "ann: 16", false, true })
end)

check.test("objects of a registered class made in a task", function()
  local make = lr.remote(function(name) return Account.new(name):add(3) end)
  local a = make("cid"):get()
  check.ok(getmetatable(a) == Account)
  check.eq(tostring(a), "cid: 3")
  -- the class as an upvalue, and the class of an argument, are one class in the task
  local same = lr.remote(function(x) return getmetatable(x) == Account, getmetatable(Account.new("d")) == Account end)
  check.eq({ same(a):get() }, { true, true })
  -- and from task to task
  local relay = lr.remote(function(x) return require("luarun").remote(function(y) return y:add(1) end)(x):get() end)
  check.eq(relay(a):get().balance, 4)
end)

check.test("a class that holds objects of itself, and a parent", function()
  local Node = {}
  Node.__index = Node
  lr.class("Node", Node)
  function Node.new(v) return setmetatable({ v = v }, Node) end
  Node.empty = Node.new(0)
  Node.empty.parent = Node.empty
  function Node:is_empty() return self == Node.empty, getmetatable(Node.empty) == Node end
  local check_empty = lr.remote(function(n)
    local mt = getmetatable(n)
    return n:is_empty(), mt.empty:is_empty(), rawequal(mt.empty.parent, mt.empty), getmetatable(mt.empty) == mt
  end)
  check.eq({ check_empty(Node.new(1)):get() }, { false, true, true, true })

  local Base, Derived = {}, {}
  Base.__index, Derived.__index = Base, Derived
  function Base.hello(o) return "hello " .. o.name end
  lr.class("Base", Base)
  lr.class("Derived", setmetatable(Derived, Base))
  local d = setmetatable({ name = "d" }, Derived)
  check.eq(lr.remote(function(o) return o:hello() end)(d):get(), "hello d")
  check.eq(there_and_back(d):hello(), "hello d")
end)

check.test("classes that hold objects of each other are refused in words, not by a crash", function()
  local A, B = {}, {}
  A.__index, B.__index = A, B
  lr.class("A", A)
  lr.class("B", B)
  A.b, B.a = setmetatable({}, B), setmetatable({}, A)
  local ok, err = lr.remote(function(o) return getmetatable(o) ~= nil end)(setmetatable({}, A)):pget()
  check.eq(ok, false)
  check.eq(err.message, "a value could not be taken in: classes that hold objects of each other")
end)

check.test("a class registered by a module is the receiver's own", function()
  local registered = require "registered"
  local o = registered.new(7)
  local got = lr.remote(function(x)
    local own = require "registered"
    return x:get(), own.is(x), own.is(own.new(1)), own.new(9)
  end)
  -- the module is loaded before the object arrives in the second call, wherever it runs
  lr.map(function() return (pcall(require, "registered")) end, { 1, 2, 3, 4, 5, 6, 7, 8 }, { chunk = 1 })
  for _ = 1, 10 do
    local load = lr.remote(function(_, x) require "registered"; return x:get() end)
    check.eq(load(1, o):get(), 7)
  end
  local back = lr.remote(function() return require("registered").new(8) end)():get()
  check.ok(registered.is(back))
  check.eq(back:get(), 8)
  check.ok(registered.is(select(4, got(o):get())))
end)

check.test("a method that cannot be sent is named", function()
  local Bad = { log = io.stdout }
  Bad.__index = Bad
  lr.class("Bad", Bad)
  local o = setmetatable({}, Bad)
  for _ = 1, 2 do -- the second time as the first
    local err = check.error_has(function() echo({ x = o }) end,
      "argument 1: x: log: a userdata cannot be sent; send what it was made of, and make it again in the task")
    check.eq(err.code, "not_serializable")
  end
  Bad.log = nil
  check.ok(getmetatable(there_and_back(o)) == Bad)
end)

check.test("methods may be C functions of modules", function()
  local Str = { rep = string.rep, floor = math.floor }
  Str.__index = Str
  lr.class("Str", Str)
  check.eq(lr.remote(function(o) return o.rep("ab", 2) .. o.floor(1.5) end)(setmetatable({}, Str)):get(), "abab1")
end)

check.done()
