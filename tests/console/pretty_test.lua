-- Values as the console shows them (luarun.pretty): readable, bounded, harmless to a terminal.

local check = require "check"
local pretty = require "luarun.pretty"

local function shown(value, options) return pretty.format(value, options) end

check.test("plain values", function()
  check.eq(shown(nil), "nil")
  check.eq(shown(true), "true")
  check.eq(shown(12), "12")
  check.eq(shown(-0.5), "-0.5")
  check.eq(shown("a\n\"b\"\\"), [["a\n\"b\"\\"]])
  check.eq(shown(10LL), "10LL")
end)

check.test("a number can be read back", function()
  for _, v in ipairs { 0.1, 1 / 3, 2 ^ 53, 1e300, -1e-300, 123456789012345.6 } do
    check.eq(tonumber(shown(v)), v)
  end
  check.eq({ shown(0 / 0), shown(math.huge), shown(-math.huge), shown(-0.0) }, { "nan", "inf", "-inf", "-0" })
end)

check.test("tables on one line where they fit", function()
  check.eq(shown({}), "{}")
  check.eq(shown({ 1, 2, { 3 } }), "{ 1, 2, { 3 } }")
  check.eq(shown({ 1, x = "a", ["b c"] = true, [2.5] = 0, ["end"] = 1 }),
    '{ 1, [2.5] = 0, ["b c"] = true, ["end"] = 1, x = "a" }')
end)

check.test("and on several where they do not", function()
  local t = { name = ("n"):rep(40), other = ("o"):rep(40) }
  check.eq(shown(t), '{\n  name = "' .. t.name .. '",\n  other = "' .. t.other .. '"\n}')
end)

check.test("a list of short things shares lines", function()
  local list = {}
  for i = 1, 40 do list[i] = i end
  local text = shown(list)
  check.eq(select(2, text:gsub("\n", "")), 3, text)
  for line in text:gmatch("[^\n]+") do check.ok(#line <= 80, line) end
end)

check.test("cycles are named by their path", function()
  local t = { a = { b = {} } }
  t.a.b.top, t.a.b.up = t, t.a
  check.eq(shown(t), "{ a = { b = { top = <cycle: .>, up = <cycle: .a> } } }")
  local list = { {} }
  list[1].self = list[1]
  check.eq(shown(list), "{ { self = <cycle: [1]> } }")
end)

check.test("a shared table is no cycle", function()
  local s = { 1 }
  check.eq(shown({ s, s }), "{ { 1 }, { 1 } }")
end)

check.test("depth is bounded", function()
  local t = {}
  for _ = 1, 100000 do t = { t } end
  check.eq(shown(t), "{ { { { { {...} } } } } }")
end)

check.test("width, length and number are bounded", function()
  local list = {}
  for i = 1, 100000 do list[i] = i end
  local text = shown(list)
  check.ok(text:find("... (99950 more)", 1, true), text)
  local map = {}
  for i = 1, 1000 do map["key" .. i] = { i } end
  text = shown(map)
  check.ok(text:find("... (950 more)", 1, true), text)
  local wide = {}
  for i = 1, 50 do
    wide[i] = {}
    for k = 1, 50 do wide[i][k] = { ("x"):rep(50), k } end
  end
  text = shown(wide)
  check.ok(#text < 50000, #text)
  check.ok(select(2, text:gsub("\n", "")) <= 100)
end)

check.test("huge strings are cut", function()
  local text = shown(("x"):rep(1e6))
  check.ok(#text < 500 and text:find("... (1000000 bytes)", 1, true), text)
  check.eq(shown(("é"):rep(300), { bytes = 5 }), '"éé" ... (600 bytes)')
end)

check.test("bytes that a terminal obeys are escaped", function()
  check.eq(shown("\27[31m\0\7\127"), [["\027[31m\000\007\127"]])
  check.eq(shown("é€𝄞"), '"é€𝄞"')
  check.eq(shown("\200x\255"), [["\200x\255"]])
  check.eq(shown("\194\155"), [["\194\155"]]) -- a C1 control, in UTF-8
  check.eq(shown("\226\128\174"), [["\226\128\174"]]) -- right to left from here
  check.eq(shown("\192\128\237\160\128\244\144\128\128"), [["\192\128\237\160\128\244\144\128\128"]])
  check.eq(shown({ ["\27"] = "\27" }), [[{ ["\027"] = "\027" }]])
  check.eq(pretty.clean("a\nb\tc\27"), "a\nb\tc\\027")
end)

check.test("nothing that is shown has a control in it", function()
  math.randomseed(11)
  for _ = 1, 500 do
    local bytes = {}
    for i = 1, math.random(60) do bytes[i] = string.char(math.random(0, 255)) end
    local text = shown({ table.concat(bytes), [table.concat(bytes)] = 1 })
    check.ok(not text:find("[%z\1-\9\11-\31\127]"), text)
    check.ok(not text:find("\194[\128-\159]"), text)
  end
end)

check.test("values with a __tostring say it, within bounds", function()
  local loud = setmetatable({}, { __tostring = function() return "loud\27\nmore" end })
  check.eq(shown(loud), "loud\\027\nmore")
  check.eq(shown({ loud }), "{ <loud\\027> }")
  local long = setmetatable({}, { __tostring = function() return ("y"):rep(1e6) end })
  check.ok(#shown(long) < 2000)
  local broken = setmetatable({}, { __tostring = function() error("no") end })
  check.ok(shown(broken):find("tostring fails", 1, true))
end)

check.test("no other metamethod is called", function()
  local function never() error("called") end
  local t = setmetatable({ 1, a = 2 }, { __index = never, __len = never, __eq = never, __call = never, __pairs = never })
  check.eq(shown(t), "{ 1, a = 2 }")
end)

check.test("functions say where they come from", function()
  check.ok(shown(function() end):find("^function <.*pretty_test.lua:%d+>$"))
  check.ok(shown(print):find("^function: "))
end)

check.test("a terminal of any width", function()
  local t = { a = { 1, 2, 3 }, b = "text", c = { d = { e = "f" } } }
  for width = 1, 100 do check.ok(shown(t, { width = width })) end
end)

check.done()
