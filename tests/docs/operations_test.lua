-- docs/operations.md: the sentences under "What may be wrong" are those of the sources, the commands and options exist, and
-- the files that it names are there.

package.path = "tests/lua/?.lua;tests/cli/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local page = assert(kit.read("docs/operations.md"))

-- All C sources of the runtime, with literals that stand behind each other joined.
local function sources()
  local all = kit.shell("cat runtime/*.c runtime/*.def bindings/*.c")
  return (all:gsub('"%s*\n%s*"', ""):gsub("%%%%", "%%"))
end

-- Parts of a sentence that do not depend on the case: between names in capitals, quoted words and numbers.
local function fragments(sentence)
  local list = {}
  for part in (sentence:gsub("'[^']*'", "\n"):gsub("%u%u+", "\n"):gsub("%f[%w]%u%f[%W]", "\n"):gsub("%d[%d.]*", "\n")
    :gsub("%.%.%.", "\n")):gmatch("[^\n]+") do
    part = part:gsub("^[%s:,{}]+", ""):gsub("[%s:,{}]+$", "")
    if #part >= 12 then list[#list + 1] = part end
  end
  return list
end

check.test("every sentence that is explained is said somewhere", function()
  local text, count = sources(), 0
  local section = assert(page:match("## What may be wrong\n(.*)$"))
  for row in section:gmatch("\n| (`[^\n]-) | ") do
    for sentence in row:gmatch("`([^`]+)`") do
      for _, fragment in ipairs(fragments(sentence)) do
        local system = fragment == "Connection refused" or fragment == "No such file or directory"
        check.ok(system or text:find(fragment, 1, true), fragment)
        count = count + 1
      end
    end
  end
  check.ok(count >= 10, count .. " sentences")
end)

check.test("every option that it names exists", function()
  local known = kit.run({ "--help" }).out .. kit.run({ "up", "--help" }).out .. " redis-server --bind --port --requirepass "
    .. "--appendonly --save --dir"
  for option in page:gmatch("%f[%S]`?%-%-%l[%l-]*") do check.ok(known:find((option:gsub("`", "")), 1, true), option) end
end)

check.test("the pages that it names are there", function()
  for name in page:gmatch("%]%(([%w-]+%.md)%)") do check.ok(kit.read("docs/" .. name), name) end
end)

kit.done()
