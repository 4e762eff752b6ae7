-- The words of Lua text (luarun.tokens): what ends, what does not, and top-level locals made to last.

local check = require "check"
local tokens = require "luarun.tokens"

local function texts(text)
  local list = {}
  for i, token in ipairs(tokens.scan(text)) do list[i] = token.text end
  return list
end

local function kinds(text)
  local list = {}
  for i, token in ipairs(tokens.scan(text)) do list[i] = token.kind .. (token.open and "!" or "") end
  return list
end

check.test("tokens of all kinds", function()
  check.eq(texts("local x=a.b..'c' -- d\n[[e]] 0x1F 1e-3 3LL ~= ... é"),
    { "local", "x", "=", "a", ".", "b", "..", "'c'", "-- d", "[[e]]", "0x1F", "1e-3", "3LL", "~=", "...", "é" })
  check.eq(kinds("if x 'a' 1 -- c"), { "keyword", "name", "string", "number", "comment" })
end)

check.test("what does not end is open", function()
  check.eq(kinds("x = 'ab"), { "name", "operator", "string!" })
  check.eq(kinds("[==[ a ]=]"), { "string!" })
  check.eq(kinds("--[[ a\n b"), { "comment!" })
  check.eq(kinds([["a\"]]), { "string!" })
  check.eq(kinds([["a\\"]]), { "string" })
end)

check.test("any bytes end", function()
  math.randomseed(7)
  for _ = 1, 300 do
    local bytes = {}
    for i = 1, math.random(40) do bytes[i] = string.char(math.random(0, 255)) end
    local text, at = table.concat(bytes), 0
    for _, token in ipairs(tokens.scan(text)) do
      check.ok(token.first > at and token.last >= token.first and token.last <= #text)
      at = token.last
    end
  end
end)

check.test("the last token is no comment", function()
  check.eq(tokens.last("f(); -- quiet").text, ";")
  check.eq(tokens.last("-- nothing"), nil)
end)

local function lasting(text)
  local out, names = tokens.without_locals(text)
  return out:gsub(" +", " "):gsub("^ ", ""):gsub(" $", ""), table.concat(names, " ")
end

check.test("top-level locals become assignments", function()
  local out, names = lasting("local x = 1")
  check.eq({ out, names }, { "x = 1", "x" })
  out, names = lasting("local a, b")
  check.eq({ out, names }, { "a, b = nil", "a b" })
  out, names = lasting("local a, b = f(); local c")
  check.eq({ out, names }, { "a, b = f(); c = nil", "a b c" })
  out, names = lasting("local function f() local z end")
  check.eq({ out, names }, { "function f() local z end", "f" })
end)

check.test("locals inside blocks stay", function()
  for _, text in ipairs { "do local x end", "for i = 1, 2 do local x end", "while a do local x end",
    "repeat local x until x", "if a then local x elseif b then local y else local z end",
    "f(function() local x end)", "t = { g = function() local y end }", "s = 'local x' -- local y" } do
    local out, names = tokens.without_locals(text)
    check.eq({ out, #names }, { text, 0 }, text)
  end
end)

check.test("lines stay lines", function()
  local out = tokens.without_locals("local x\nlocal y = 2\nlocal function f()\nend")
  check.eq(select(2, out:gsub("\n", "")), 3)
end)

check.done()
