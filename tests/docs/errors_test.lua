-- docs/errors.md lists every error of sched/errors.def with the same words, and no other.

package.path = "tests/cli/?.lua;tests/lua/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"
local codes = require("luarun.core").error_codes()

local rows, count = {}, 0
for code, meaning, advice in assert(kit.read("docs/errors.md")):gmatch("\n| `([%w_]+)` | ([^|\n]*) | ([^|\n]*) |") do
  rows[code], count = { meaning = meaning, advice = advice }, count + 1
end

check.test("every error is on the page", function()
  for code, words in pairs(codes) do check.eq(rows[code], { meaning = words.meaning, advice = words.advice }, code) end
end)

check.test("the page has no other", function()
  local known = 0
  for code in pairs(rows) do check.ok(codes[code], code) known = known + 1 end
  check.eq(known, count)
  check.ok(known >= 11)
end)

kit.done()
