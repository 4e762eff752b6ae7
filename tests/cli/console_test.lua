-- The console as a program, without a terminal: lines from standard input, values on standard output, errors on standard
-- error. With a terminal: console_terminal_test.lua; its logic: tests/console.

package.path = "tests/cli/?.lua;tests/lua/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local function says(options, lines, out, err)
  options.stdin = lines
  local r = kit.run(options)
  check.eq({ r.out, r.err, r.status }, { out, err or "", 0 })
end

check.test("values of lines from standard input", function()
  says({ "console" }, "6 * 7\nlocal x = _ + 1\nx\nfor i = 1, 2 do\nprint(i)\nend\n", "42\n43\n1\n2\n")
end)

check.test("a last line without an end", function()
  says({ "console" }, "6 * 7", "42\n")
end)

check.test("nothing at all", function()
  says({ "console" }, "", "")
end)

check.test("errors go to standard error, and the console goes on", function()
  says({ "console" }, "error('boom')\n1\n", "1\n", "(console):1: boom\n")
end)

check.test("tasks, and what they print", function()
  local r = kit.run { "console", "--workers", "2",
    stdin = "local f = lr.remote(function(x) print('in a task', x) return x + 1 end)\nf(1):get()\n" }
  check.ok(r.out:find("^%[f %x+%] in a task\t1\n2\n$"), r.out)
end)

check.test("-i: a script, then the console", function()
  kit.file("script.lua", "answer = 42 print('script', ...)")
  says({ "-i", "script.lua", "a" }, "answer\n", "script\ta\n42\n")
  says({ "-i", "-e", "answer = 7" }, "answer\n", "7\n")
  says({ "-i" }, "1\n", "1\n")
end)

check.test("-i: a script that fails has no console", function()
  kit.file("fails.lua", "error('no')")
  local r = kit.run { "-i", "fails.lua", stdin = "print 'never'\n" }
  check.eq({ r.out, r.status }, { "", 1 })
end)

check.test("options before and behind the command", function()
  says({ "--workers", "1", "console" }, "lr.stats().workers\n", "1\n")
  says({ "console", "--workers=1" }, "lr.stats().workers\n", "1\n")
  kit.refused({ "console", "script.lua" }, "luarun: console: no argument wanted, 'script.lua' given")
end)

check.test("what is read in a chunk is the next line", function()
  says({ "console" }, ":quit\n1\n", "")
end)

check.test("the end does not wait for tasks", function()
  says({ "console" }, "f = lr.remote(function() lr.sleep(1000) end)()\n", "")
end)

check.test("-E, and modules beside the script", function()
  kit.file("friend.lua", "return { name = 'friend' }")
  kit.file("main.lua", "f = require 'friend'")
  says({ "-E", "-i", "main.lua" }, "f.name\n", '"friend"\n')
end)

check.test("libedit is not loaded without a terminal", function()
  local r = kit.run { "console", stdin = "for line in io.lines('/proc/self/maps') do if line:find('libedit') then "
    .. "print(line) end end\n" }
  check.eq({ r.out, r.err }, { "", "" })
end)

kit.done()
