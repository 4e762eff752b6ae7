-- docs/console.md does what it says: each of its sessions is typed into `luarun console`, and what comes back is what stands
-- there. Stars stand for any characters of a line, several blanks for any number of them.

package.path = "tests/cli/?.lua;tests/lua/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local text = assert(kit.read("docs/console.md"))

-- A line of the page as a pattern.
local function pattern_of(line)
  local pattern = line:gsub("[^%w%s%*]", "%%%0"):gsub("%*+", ".-"):gsub("  +", "%%s+")
  return "^" .. pattern .. "$"
end

local function lines_of(block)
  local list = {}
  for line in (block .. "\n"):gmatch("([^\n]*)\n") do list[#list + 1] = line end
  return list
end

local count = 0
for block in text:gmatch("\n```luarun\n(.-)\n```") do
  count = count + 1
  check.test("session " .. count .. ": " .. block:match("[^\n]*"), function()
    local typed, wanted = {}, {}
    for _, line in ipairs(lines_of(block)) do
      local input = line:match("^>>? (.*)$")
      if input then typed[#typed + 1] = input else wanted[#wanted + 1] = line end
    end
    kit.file("typed", table.concat(typed, "\n") .. "\n")
    local r = kit.run { "-c", kit.quote(kit.luarun) .. " console --workers 2 <typed 2>&1", program = "sh" }
    check.eq(r.status, 0)
    local got = lines_of((r.out:gsub("\n$", "")))
    for i = 1, math.max(#got, #wanted) do
      local pattern = pattern_of(wanted[i] or "(nothing)")
      if not (got[i] and got[i]:find(pattern)) then
        error(("line %d: got %s, wanted %s\n%s"):format(i, tostring(got[i]), tostring(wanted[i]), r.out), 0)
      end
    end
  end)
end

check.test("there are sessions", function() check.ok(count >= 7, count .. " found") end)

check.test("every short form is on the page", function()
  local help = kit.run { "console", stdin = ":help\n" }.out
  for name in help:gmatch(":(%l+)") do check.ok(text:find(":" .. name, 1, true), ":" .. name) end
end)

kit.done()
