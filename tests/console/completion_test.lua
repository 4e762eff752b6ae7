-- What TAB finds (luarun.completion), without a terminal: a line and a cursor in, words out.

local check = require "check"
local completion = require "luarun.completion"

local future = setmetatable({}, { __index = { get = print, state = print, pget = print } })
local values = { lr = { remote = 1, wait = print, resources = print }, print = print, private = 2, future = future,
  text = "a", deep = { er = { down = { x = 1 } } }, ["not a name"] = 3,
  trap = setmetatable({}, { __index = function() error("called") end }) }

local context = {
  lookup = function(name) return values[name] ~= nil, values[name] end,
  names = function()
    local list = {}
    for name in pairs(values) do list[#list + 1] = name end
    return list
  end,
  modules = function() return { "string", "strict", "table" } end,
  ids = function() return { "00aa11", "00bb22", "ff0000" } end,
  topics = function() return { "wait", "future.get", "get" } end,
  commands = function() return { "nodes", "tasks", "top" } end,
  arguments = function(name) return name == "explain" and { "00aa11", "ff0000" } or {} end,
}

local function words(line, cursor) return completion.complete(line, cursor or #line, context).words end

check.test("names", function()
  check.eq(words("pri"), { "print", "private" })
  check.eq(words("x = pri"), { "print", "private" })
  check.eq(words("f(pri"), { "print", "private" })
  check.eq(words("nothing_like_it"), {})
  check.eq(words(""), {})
end)

check.test("keywords, once something is typed", function()
  check.eq(words("whi"), { "while" })
  check.eq(words("re"), { "repeat", "return" })
end)

check.test("fields", function()
  check.eq(words("lr.re"), { "remote", "resources" })
  check.eq(words("deep.er.down."), { "x" })
  check.eq(words("y + deep.er."), { "down" })
  check.eq(words("lr.nope.x"), {})
  check.eq(words("nothing."), {})
end)

check.test("methods: functions only, of strings too", function()
  check.eq(words("future:"), { "get", "pget", "state" })
  check.eq(words("lr:"), { "resources", "wait" })
  check.ok(#words("text:s") > 0)
end)

check.test("no function of a value is called", function()
  check.eq(words("trap."), {})
  check.eq(words("trap.x."), {})
end)

check.test("the cursor counts, not the line's end", function()
  check.eq(words("lr.re + 1", 5), { "remote", "resources" })
end)

check.test("modules after require", function()
  check.eq(words("require 'str"), { "strict", "string" })
  check.eq(words('require("str'), { "strict", "string" })
  check.eq(words("x = require 'string' pri"), { "print", "private" })
end)

check.test("ids in strings and after short forms", function()
  check.eq(words("lr.explain('00"), { "00aa11", "00bb22" })
  check.eq(words("lr.explain '"), { "00aa11", "00bb22", "ff0000" })
  check.eq(words(":explain "), { "00aa11", "ff0000" })
  check.eq(words(":explain 00"), { "00aa11" })
end)

check.test("nothing inside strings and comments", function()
  check.eq(words("x = 'pri"), {})
  check.eq(words("-- pri"), {})
  check.eq(words("x --[[ pri"), {})
end)

check.test("short forms and topics", function()
  check.eq(words(":"), { "nodes", "tasks", "top" })
  check.eq(words(":to"), { "top" })
  check.eq(words("? fu"), { "future.get" })
  check.eq(words("?w"), { "wait" })
end)

check.test("any bytes", function()
  math.randomseed(3)
  local alphabet = { "a", ".", ":", "'", '"', "[", "]", "=", "(", " ", "\255", "\0", "?", "-", "lr", "x" }
  for _ = 1, 2000 do
    local parts = {}
    for i = 1, math.random(12) do parts[i] = alphabet[math.random(#alphabet)] end
    local line = table.concat(parts)
    local found = completion.complete(line, math.random(0, #line), context)
    check.ok(type(found.part) == "string" and type(found.words) == "table")
    for _, word in ipairs(found.words) do check.eq(word:sub(1, #found.part), found.part) end
  end
end)

check.test("what all begin with", function()
  check.eq(completion.common { "remote", "resources" }, "re")
  check.eq(completion.common { "one" }, "one")
  check.eq(completion.common { "a", "b" }, "")
  check.eq(completion.common {}, "")
end)

check.test("columns", function()
  check.eq(completion.columns({ "a", "bb", "ccc", "d" }, 10), "a    ccc\nbb   d")
  local many = {}
  for i = 1, 1000 do many[i] = "word" .. i end
  local text = completion.columns(many, 40, 5)
  check.eq(select(2, text:gsub("\n", "")), 5)
  check.ok(text:find("... (1000 in all)", 1, true))
  for line in text:gmatch("[^\n]+") do check.ok(#line <= 40, line) end
end)

check.done()
