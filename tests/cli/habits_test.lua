-- The habits of luajit's command line, side by side with luajit: the same words give the same output, the same errors
-- and the same status. What differs on purpose (-v, -i, unknown options) stands at the end with its exact words.

package.path = "tests/cli/?.lua;tests/lua/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local same, refused = kit.same, kit.refused

kit.file("args.lua", [[
local low = 0
while arg[low - 1] do low = low - 1 end
for i = low, #arg do print(i, arg[i]) end
print(select("#", ...), ...)
]])
kit.file("module.lua", "print('module', ...) here = 'global of module' return { name = 'module' }")
kit.file("-odd.lua", "print('odd', arg[0], ...)")
kit.file("-", "print('a file called -', ...)")
kit.file("init.lua", "print('init file', arg and arg[0], ...)")
kit.file("shebang.lua", "#!/usr/bin/env luajit\nprint('shebang', debug.getinfo(1).currentline)\nerror('line 3')\n")
kit.file("syntax.lua", "local x = 1\nlocal = 2\n")
kit.file("deep.lua", [[
local function inner(x) error("deep " .. x) end
local function outer(x) inner(x) return 1 end
outer("trouble")
]])

local function both(name, what) check.test(name, function() same(what) end) end

both("-e runs a chunk", { "-e", "print(1)" })
both("-e in one word", { "-eprint(1 + 1)" })
both("several -e in order, sharing globals", { "-e", "x = 1", "-e", "print(x)" })
both("-e and no script does not read standard input", { "-e", "print(1)", stdin = "print 'standard input'" })
both("-e before a script", { "-e", "print(arg[1])", "args.lua", "a" })
both("-e may change the arguments", { "-e", "arg[1] = 'changed' arg[3] = 'new'", "args.lua", "a", "b" })
both("-e may take arg away", { "-e", "arg = nil", "init.lua", "a", "b" })
both("-l requires", { "-l", "module", "-e", "print(here, package.loaded.module.name)" })
both("-l in one word", { "-lmodule" })
both("-l and -e in order", { "-e", "print 'first'", "-l", "module", "-e", "print 'last'" })
both("-l of a module that is not there", { "-l", "no_such_module" })
both("arguments and negative indices", { "args.lua", "a", "b c", "", "-e", "--" })
both("negative indices reach the options", { "-e", "x = 1", "-lmodule", "--", "args.lua", "1" })
both("a name after --", { "--", "-odd.lua", "x" })
both("- is standard input", { "-", "a", "b", stdin = "print('stdin', arg[0], ...)" })
both("a file called - after --", { "--", "-", "x" })
both("no script, no terminal: standard input", { stdin = "print('stdin', arg[0], select('#', ...))" })
both("a script reads standard input", { "-e", "print(io.read('*a'))", stdin = "two\nlines\n" })
both("the shebang line counts as line 1", { "shebang.lua" })
both("LUA_INIT", { "args.lua", "x", env = { LUA_INIT = "print('init', arg and arg[0])" } })
both("LUA_INIT names a file", { "-e", "print 1", env = { LUA_INIT = "@init.lua" } })
both("LUA_INIT names a file that is not there", { "-e", "print 1", env = { LUA_INIT = "@missing.lua" } })
both("LUA_INIT with an error: nothing else runs", { "-e", "print 1", env = { LUA_INIT = "error('boom')" } })
both("LUA_INIT with a syntax error", { "-e", "print 1", env = { LUA_INIT = "x x" } })
both("-E ignores LUA_INIT", { "-E", "-e", "print 1", env = { LUA_INIT = "print 'init'" } })
both("-E ignores LUA_PATH", {
  "-E", "-e", "print(package.path:find('nowhere'))", env = { LUA_PATH = "/nowhere/?.lua" },
})
both("LUA_PATH counts", { "-e", "print(package.path)", env = { LUA_PATH = "/nowhere/?.lua;;" } })
both("-O and -j", { "-O3", "-Oloopunroll=4", "-joff", "-e", "print((jit.status()))" })
both("-O of what is not there", { "-Onothing", "-e", "print 1" })

both("an error has a traceback", { "deep.lua" })
both("an error in -e", { "-e", "error('boom')" })
both("an error with no position", { "-e", "error('boom', 0)" })
both("an error in -e ends the options", { "-e", "error('boom')", "-e", "print 2" })
both("an error value that is a table", { "-e", "error({})" })
both("an error value with __tostring", { "-e", "error(setmetatable({}, {__tostring = function() return 'mine' end}))" })
both("an error value that is nil", { "-e", "error(nil)" })
both("an error value that is a number", { "-e", "error(12)" })
both("an error with a 0 in it", { "-e", "error('a\\0b')" })
both("a stack overflow", { "-e", "local function f() return 1 + f() end local ok, e = pcall(f) print(ok, e)" })
both("a syntax error in a script", { "syntax.lua" })
both("a syntax error in a chunk", { "-e", "local = 2" })
both("a syntax error in standard input", { "-", stdin = "local = 2" })
both("a script that is not there", { "missing.lua" })
both("a script that is a folder", { "." })
both("output before an error comes out", { "-e", "io.write('no newline') error('boom')" })

both("os.exit()", { "-e", "io.write('kept') os.exit()" })
both("os.exit(true)", { "-e", "os.exit(true)" })
both("os.exit(false)", { "-e", "os.exit(false)" })
both("os.exit(n)", { "-e", "os.exit(7)" })
both("os.exit(256 + n)", { "-e", "os.exit(259)" })
both("os.exit in a coroutine", { "-e", "coroutine.wrap(function() pcall(function() os.exit(3) end) end)()" })
both("os.exit of a text", { "-e", "os.exit('x')" })
both("a script's return value is not its status", { "-e", "return 3" })
both("finalizers run at the end", { "-e", "x = newproxy(true) getmetatable(x).__gc = function() print 'gc' end" })

-- ---- what differs on purpose ----------------------------------------------------------------------------------

local hint = " (luarun --help lists the options)"

check.test("-v says both versions and runs nothing else", function()
  local r = kit.run { "-v", stdin = "print 'standard input'" }
  check.ok(r.out:find("^luarun %d+%.%d+%.%d+\nLuaJIT 2%.1[^\n]*\n$"), r.out)
  check.eq(r.status, 0)
end)

check.test("-v before a script runs it", function()
  check.ok(kit.run({ "-v", "args.lua", "a" }).out:find("1\ta\n", 1, true))
end)

check.test("unknown options are refused", function()
  refused({ "-x" }, "luarun: unknown option '-x'" .. hint)
  refused({ "-ve" }, "luarun: unknown option '-ve'" .. hint)
  refused({ "-E", "-q", "args.lua" }, "luarun: unknown option '-q'" .. hint)
  refused({ "-b", "args.lua" }, "luarun: -b is not in this program: luajit -b writes bytecode")
end)

check.test("options want their values", function()
  refused({ "-e" }, "luarun: -e wants a value" .. hint)
  refused({ "-l" }, "luarun: -l wants a value" .. hint)
  refused({ "-j" }, "luarun: -j wants a value" .. hint)
end)

check.test("an unknown -j command is named", function()
  refused({ "-jnothing", "-e", "print 1" }, "luarun: unknown LuaJIT command 'nothing', or jit.* modules not installed")
end)

check.test("an error in standard input without - is status 1, where luajit says 0", function()
  local r = kit.run { stdin = "print 'before' error('boom', 0)" }
  check.eq(r.status, 1)
  check.eq(r.out, "before\n")
  check.eq(r.err:match("^[^\n]*"), "luarun: boom")
end)

check.test("no script and a terminal: the console", function()
  local r = kit.run { "-qec", kit.luarun, "/dev/null", program = "script", stdin = "6 * 7\n:quit\n" }
  check.ok(r.out:find("%f[%d]42\r\n"), r.out)
  check.eq(r.status, 0)
end)

check.test("a terminal: -e, -v, - and a script need no console", function()
  local script = kit.file("one.lua", "print 'one'")
  local r = kit.run { "-qec", kit.luarun .. " -e 'print(1)'; " .. kit.luarun .. " " .. script, "/dev/null",
    program = "script" }
  check.eq(r.out:gsub("\r", ""), "1\none\n")
  check.eq(r.status, 0)
end)

check.test("modules beside the script are found from anywhere", function()
  os.execute("mkdir -p " .. kit.folder .. "/sub/beside")
  kit.file("sub/main.lua", "print(require('friend'), require('beside'))")
  kit.file("sub/friend.lua", "return 'a friend'")
  kit.file("sub/beside/init.lua", "return 'beside'")
  check.eq(kit.run({ "sub/main.lua" }).out, "a friend\tbeside\n")
  check.eq(kit.run({ "main.lua", cwd = kit.folder .. "/sub" }).out, "a friend\tbeside\n")
  check.eq(kit.run({ kit.folder .. "/sub/main.lua", cwd = "/" }).out, "a friend\tbeside\n")
end)

kit.done()
