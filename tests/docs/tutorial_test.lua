-- docs/tutorial.md does what it says: each Lua program in it is run, and prints what stands under it. Stars in the text stand
-- for any characters of the same number.

package.path = "tests/cli/?.lua;tests/lua/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local text = assert(kit.read("docs/tutorial.md"))

local function plain(s) return (s:gsub("%W", "%%%0")) end

local count = 0
for body, rest in text:gmatch("\n```lua\n(.-\n)```()") do
  count = count + 1
  local number = count
  check.test("program " .. number, function()
    local wanted = text:match("^\n\n```text\n(.-)```", rest)
    check.ok(wanted, "an output follows it")
    kit.file("program" .. number .. ".lua", body)
    local r = kit.run { "program" .. number .. ".lua" }
    check.eq(r.err, "")
    if not r.out:find("^" .. plain(wanted):gsub("%%%*", ".") .. "$") then check.eq(r.out, wanted) end
    check.eq(r.status, 0)
  end)
end

check.test("there are programs", function() check.ok(count >= 6, count .. " found") end)

check.test("every page it names exists", function()
  for page in text:gmatch("%]%(([%w-]+%.md)%)") do check.ok(kit.read("docs/" .. page), page) end
end)

kit.done()
