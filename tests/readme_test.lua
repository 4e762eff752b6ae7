-- What the README shows is run: its C kernel compiled with the command it gives, its Lua examples with the output
-- that they promise ("--> text"), its commands looked up. The file is read, nothing is repeated here.

package.path = "tests/cli/?.lua;tests/lua/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local text = assert(kit.read("README.md"))

local blocks = {}
for language, body in text:gmatch("\n```(%w+)\n(.-\n)```") do
  blocks[language] = blocks[language] or {}
  table.insert(blocks[language], body)
end

check.test("the two commands come first", function()
  check.ok(text:find("^# luarun\n\n    %./dev run examples/mcts%.lua[^\n]*\n    %./dev test"))
end)

check.test("it fits a screen or so", function()
  local _, lines = text:gsub("\n", "")
  check.ok(lines <= 100, lines .. " lines")
end)

check.test("the kernel compiles as said", function()
  check.eq({ #blocks.c, #blocks.sh }, { 1, 1 })
  local name = blocks.sh[1]:match("(%w+%.c)\n$")
  check.ok(text:find("`" .. name .. "`:\n\n```c", 1, true), name .. " is named before its text")
  kit.file(name, blocks.c[1])
  local include = "-I " .. kit.quote(kit.top .. "/bindings/include")
  local command, count = blocks.sh[1]:gsub("%-I bindings/include", (include:gsub("%%", "%%%%")))
  check.eq(count, 1, "the include directory")
  check.eq(os.execute("cd " .. kit.quote(kit.folder) .. " && " .. command:gsub("^cc", "cc -Wall -Werror")), 0)
end)

for i, body in ipairs(blocks.lua) do
  check.test("Lua example " .. i, function()
    local wanted = {}
    for line in body:gmatch("%-%-> ([^\n]*)") do wanted[#wanted + 1] = line .. "\n" end
    check.ok(#wanted > 0, "it promises an output")
    kit.file("example" .. i .. ".lua", body)
    local r = kit.run { "example" .. i .. ".lua" }
    check.eq(r.err, "")
    check.eq(r.out:gsub("\t", " "), table.concat(wanted))
    check.eq(r.status, 0)
  end)
end

check.test("every ./dev command and every path in it exists", function()
  local help = kit.shell("./dev help")
  for command in text:gmatch("%./dev (%l+)") do check.ok(("\n" .. help):find("\n  " .. command, 1, true), command) end
  for path in text:gmatch("[%s`(](%l+/[%w_./]*%l)[%s`),;]") do
    check.ok(path:find("^build/") or os.execute("test -e " .. kit.quote(path)) == 0, path)
  end
end)

kit.done()
