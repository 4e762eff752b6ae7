-- cmake --install into a folder of its own: every file where it belongs, and all of it used from there: the program,
-- `require "luarun"` in plain luajit with lr.init and lr.shutdown, and a kernel library built with
-- find_package(luarun) and one with pkg-config.

package.path = "tests/cli/?.lua;tests/lua/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local build = kit.luarun:match("^(.*)/[^/]*$")
local prefix = kit.folder .. "/prefix with a blank"
local q = kit.quote

---Runs a shell command and raises with all it said when it fails.
local function must(command)
  local log = kit.folder .. "/must.log"
  if os.execute("(" .. command .. ") >" .. log .. " 2>&1 </dev/null") ~= 0 then
    error(command .. ":\n" .. tostring(kit.read(log)), 2)
  end
  return kit.read(log)
end

must("cmake --install " .. q(build) .. " --prefix " .. q(prefix))
local libdir = kit.shell("cd " .. q(prefix) .. " && dirname $(find lib* -name pkgconfig | head -1)")

check.test("every file is where it belongs", function()
  for _, path in ipairs {
    "bin/luarun", "include/luarun/kernel.h", "share/lua/5.1/luarun.lua", "share/lua/5.1/luarun/errors.lua",
    libdir .. "/lua/5.1/luarun/core.so", libdir .. "/luarun/kernels/libgo.so", libdir .. "/pkgconfig/luarun.pc",
    libdir .. "/cmake/luarun/luarunConfig.cmake", libdir .. "/cmake/luarun/luarunConfigVersion.cmake",
    libdir .. "/cmake/luarun/luarunTargets.cmake", libdir .. "/cmake/luarun/luarun_add_kernel.cmake",
    "share/doc/luarun/LICENSE", "share/doc/luarun/README.md",
  } do check.ok(kit.read(prefix .. "/" .. path), path) end
end)

check.test("every Lua file of the tree is installed, none besides", function()
  local here = kit.shell("cd lua/luarun && find . -name '*.lua' | grep -v '^./init.lua$' | sort")
  check.eq(kit.shell("cd " .. q(prefix .. "/share/lua/5.1/luarun") .. " && find . -name '*.lua' | sort"), here)
end)

check.test("the program runs from there", function()
  local r = kit.run { "-e", "local lr = require 'luarun' print(lr.remote(function() return 'there' end)():get())",
    program = prefix .. "/bin/luarun" }
  check.eq({ r.out, r.err, r.status }, { "there\n", "", 0 })
end)

-- ---- plain luajit ------------------------------------------------------------------------------------------------

local paths = {
  LUA_PATH = prefix .. "/share/lua/5.1/?.lua;" .. prefix .. "/share/lua/5.1/?/init.lua;;",
  LUA_CPATH = prefix .. "/" .. libdir .. "/lua/5.1/?.so;;",
}

local function plain(chunk) return kit.run { "-e", chunk, program = kit.luajit, env = paths } end

local function prints(chunk, wanted)
  local r = plain(chunk)
  check.eq({ r.out, r.err, r.status }, { wanted, "", 0 })
end

check.test("plain luajit: tasks run", function()
  prints([[
    local lr = require "luarun"
    local add = lr.remote(function(a, b) return a + b end)
    print(add(add(1, 2), 10):get())]], "13\n")
end)

check.test("plain luajit: lr.init takes the options, lr.shutdown ends the job", function()
  prints([[
    local lr = require "luarun"
    lr.init { workers = 3, seed = 5, max_pending = 100, resources = "tpu=2", store_bytes = "16M" }
    print(lr.stats().workers, lr.stats().seed, lr.resources().tpu)
    print(lr.remote(function() return lr.task().name end, { name = "named" })():get())
    lr.shutdown()
    print "after"]], "3\t5\t2\nnamed\nafter\n")
end)

check.test("plain luajit: the same seed draws what luarun draws", function()
  local draw = "print(require('luarun').remote(function() return math.random(1e9) end)():get())"
  local r = kit.run { "--seed", "5", "-e", draw }
  prints("require('luarun').init { seed = 5 } " .. draw, r.out)
end)

check.test("plain luajit: lr.shutdown waits for the tasks", function()
  prints([[
    local lr = require "luarun"
    lr.remote(function() lr.sleep(0.05) io.write "task " io.flush() end)()
    lr.shutdown()
    print "ended"]], "task ended\n")
end)

check.test("plain luajit: without lr.shutdown the script's end waits for the tasks", function()
  prints([[
    local lr = require "luarun"
    lr.remote(function() lr.sleep(0.05) io.write "task " io.flush() end)()
    io.write "script " io.flush()]], "script task ")
end)

check.test("plain luajit: lr.shutdown twice, and before anything", function()
  prints("local lr = require 'luarun' lr.shutdown() lr.shutdown() print 'ok'", "ok\n")
end)

---A chunk under plain luajit that fails with this line, and status 1.
local function refused(chunk, line)
  local r = plain("local lr = require 'luarun' " .. chunk)
  check.eq(r.err:match("^[^\n]*"), line:gsub("^luajit", (kit.luajit:gsub("%%", "%%%%"))))
  check.eq(r.status, 1)
end

check.test("plain luajit: refusals of lr.init", function()
  local at = "luajit: (command line):1: init: "
  refused("lr.init { workers = -1 }", at .. "workers: a whole number from 0 to 1024 wanted, '-1' given")
  refused("lr.init { workers = true }", at .. "workers: a whole number from 0 to 1024 wanted, 'true' given")
  refused("lr.init { store_bytes = 'x' }",
    at .. "store-bytes: a size in bytes (500000000, 512K, 64M, 2G) wanted, 'x' given")
  refused("lr.init { nope = 1 }", at .. "unknown option 'nope'")
  refused("lr.init { cluster = 'http://x' }",
    at .. "cluster: redis://host:port, unix:///path or sentinel://host:port/name wanted")
  refused("lr.init { trace = 'x' }", at .. "trace: the timeline is not in this version (0.1.0)")
  refused("lr.init { verbose = 'x' }", at .. "verbose: true or false wanted, 'x' given")
  refused("lr.init { 5 }", at .. "unknown option '1'")
  refused("lr.init(5)", at .. "a table of options wanted, number given")
  refused("lr.init {} lr.init {}", at .. "the job is already there")
  refused("lr.put(1) lr.remote(function() end)() lr.init {}", at .. "the job is already there")
end)

check.test("plain luajit: a task after lr.shutdown", function()
  refused("lr.put(1) lr.remote(function() end)():get() lr.shutdown() lr.remote(function() end)()",
    "luajit: (command line):1: the job has ended (lr.shutdown was called)")
end)

check.test("plain luajit: what has ended can still be read after lr.shutdown", function()
  prints("local lr = require 'luarun' local f = lr.put(7) lr.shutdown() print(f:get(), f:state())", "7\tready\n")
end)

check.test("a task cannot end the job", function()
  local r = kit.run { "-e", "local lr = require 'luarun' print(lr.remote(function() lr.shutdown() end)():pget())" }
  check.ok(r.out:find("shutdown: only the script can end the job, not a task", 1, true), r.out)
end)

check.test("luarun: the job is there already", function()
  local r = kit.run { "-e", "require('luarun').init {}" }
  check.eq(r.err:match("^[^\n]*"), "luarun: (command line):1: init: the job is already there")
  check.eq(r.status, 1)
end)

check.test("plain luajit: an error in a task and at the end", function()
  refused("lr.remote(function() error('boom', 0) end)():get()", "luajit: boom")
end)

check.test("plain luajit: os.exit while tasks run ends the program", function()
  local r = kit.run { "-e", [[
    local lr = require "luarun"
    lr.remote(function() lr.sleep(1000) end)()
    os.exit(6)]], program = kit.luajit, env = paths, seconds = 10 }
  check.eq({ r.status, r.err }, { 6, "" })
end)

-- ---- kernels -----------------------------------------------------------------------------------------------------

kit.file("mine.c", [[
#include <luarun/kernel.h>

static int twice(lr_call *call)
{
    double x;
    if (lr_arg_number(call, 1, &x)) return LR_ERR;
    return lr_return_number(call, 2 * x);
}

LR_KERNELS({"twice", twice, "(x: number) -> number", "2 x", {0}})
]])
local use = "print(require('luarun').kernels('mine').twice(21):get())"

local function kernel_runs(folder)
  for _, program in ipairs { prefix .. "/bin/luarun", kit.luajit } do
    local env = { LUARUN_KERNELS = folder, LUA_PATH = paths.LUA_PATH, LUA_CPATH = paths.LUA_CPATH }
    local r = kit.run { "-e", use, program = program, env = env }
    check.eq({ r.out, r.err, r.status }, { "42\n", "", 0 }, program)
  end
end

check.test("a kernel library built with find_package(luarun)", function()
  kit.file("CMakeLists.txt", [[
cmake_minimum_required(VERSION 3.20)
project(mine C)
find_package(luarun 0.1 REQUIRED)
luarun_add_kernel(mine mine.c)
]])
  local out = kit.folder .. "/cmake"
  must(("cmake -G Ninja -S %s -B %s -DCMAKE_PREFIX_PATH=%s"):format(q(kit.folder), q(out), q(prefix)))
  must("cmake --build " .. q(out))
  kernel_runs(out)
end)

check.test("another version's package is refused", function()
  kit.file("CMakeLists.txt", [[
cmake_minimum_required(VERSION 3.20)
project(mine C)
find_package(luarun 9.0 REQUIRED)
]])
  local r = kit.run { "-G", "Ninja", "-S", kit.folder, "-B", kit.folder .. "/wrong", "-DCMAKE_PREFIX_PATH=" .. prefix,
    program = "cmake" }
  check.eq(r.status, 1)
  check.ok(r.err:find("luarunConfig.cmake, version: 0.1.0", 1, true), r.err)
end)

check.test("a kernel library built with pkg-config", function()
  local out = kit.folder .. "/pc"
  must("mkdir " .. q(out))
  local env = "PKG_CONFIG_PATH=" .. q(prefix .. "/" .. libdir .. "/pkgconfig") .. " "
  must(("eval \"cc -shared -fPIC -O2 $(%s pkg-config --cflags luarun) -o %s %s\""):format(env, q(out .. "/libmine.so"),
    q(kit.folder .. "/mine.c")))
  check.eq(kit.shell(env .. "pkg-config --modversion luarun"), "0.1.0")
  kernel_runs(out)
end)

kit.done()
