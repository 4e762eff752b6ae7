-- code_test.lua - code on its way to node processes that share no files with the script: modules, kernel libraries.
--
-- LUARUN_SHARE=0 makes every process take itself for a machine of its own.

package.path = "tests/lua/?.lua;" .. package.path
local check = require "check"
local child = require "child"
local ffi = require "ffi"

ffi.cdef [[ int setenv(const char *name, const char *value, int overwrite); int mkdir(const char *path, unsigned mode); ]]
local cache = os.tmpname()
os.remove(cache)
assert(ffi.C.mkdir(cache, 448) == 0)
ffi.C.setenv("LUARUN_SHARE", "0", 1)
ffi.C.setenv("XDG_CACHE_HOME", cache, 1)

---Runs a chunk with no worker of the script's own: every task runs elsewhere.
local function prints(chunk, wanted, procs)
  local out, err, status = child.run(("--procs %d --workers 0"):format(procs or 2), "local lr = require 'luarun'\n" .. chunk)
  check.eq({ out, status }, { wanted, 0 }, err)
end

--- Gives the script a module that only it can read: a file that has no name any more.
local MODULE = [==[
  local ffi = require "ffi"
  ffi.cdef [=[
    int memfd_create(const char *name, unsigned flags); long write(int fd, const void *bytes, size_t size);
    int fcntl(int fd, int command, ...);
  ]=]
  local function module(source)
    local fd = ffi.C.fcntl(ffi.C.memfd_create("module", 1), 1030, ffi.cast("int", 700)) -- closed in other programs, and no
    -- number that they use themselves
    assert(ffi.C.write(fd, source, #source) == #source)
    package.path = "/proc/self/fd/?;" .. package.path
    return tostring(fd)
  end
]==]

check.test("a module that is on the script's path only is fetched", function()
  prints(MODULE .. [[
    local name = module "local m = {} function m.twice(x) return 2 * x end return m"
    local f = lr.remote(function(x) return require(name).twice(x), package.loaded[name] ~= nil end)
    print(f(21):get())
    print(lr.remote(name, "twice")(4):get())
    local m = require(name)
    print(lr.remote(function(x) return m.twice(x) end)(5):get())]], "42\ttrue\n8\n10\n")
end)

check.test("a fetched module may require another one, and has its name in errors", function()
  prints(MODULE .. [[
    local inner = module "return { value = 3 }"
    local outer = module("local inner = require '" .. inner .. "' return { f = function() error('here') end, v = inner.value }")
    print(lr.remote(function() return require(outer).v end)():get())
    local ok, err = lr.remote(function() return require(outer).f() end)():pget()
    print(ok, (err.message:gsub("%d+", "N")))]], "3\nfalse\t/proc/self/fd/N:N: here\n")
end)

check.test("a module that is nowhere is an error that says where both have looked", function()
  prints([[
    local ok, err = lr.remote(function() return require "no.such.module" end)():pget()
    print(ok, err.message:match("module 'no.such.module' not found"), err.message:match("no file '[^']*no/such/module.lua'") ~= nil,
      err.message:match("not with the driver either") ~= nil)]], "false\tmodule 'no.such.module' not found\ttrue\ttrue\n")
end)

check.test("a module that cannot be compiled says so, and is asked for again", function()
  prints(MODULE .. [[
    local name = module "return ="
    local f = lr.remote(function() return require(name) end)
    for _ = 1, 2 do
      local ok, err = f():pget()
      print(ok, err.message:match("unexpected symbol near"))
    end]], ("false\tunexpected symbol near\n"):rep(2))
end)

local SOURCE = [==[
    local k = lr.kernels { name = "shipped", source = [[
      #include <luarun/kernel.h>
      static int both(lr_call *call, int sign) {
        double a, b;
        return lr_arg_number(call, 1, &a) || lr_arg_number(call, 2, &b) || lr_return_number(call, a + sign * b);
      }
      static int add(lr_call *call) { return both(call, 1); }
      static int sub(lr_call *call) { return both(call, -1); }
      LR_KERNELS({"add", add, "(a: number, b: number) -> number", "a + b", {0}},
                 {"sub", sub, "(a: number, b: number) -> number", "a - b", {0}})
    ]] }
]==]

check.test("kernels made from source run on machines that have neither source nor library", function()
  prints(SOURCE .. [[
    local futures = {}
    for i = 1, 50 do futures[i] = (i % 2 == 0 and k.add or k.sub)(i, 1) end
    local sum = 0
    for i = 1, 50 do sum = sum + futures[i]:get() end
    print(sum)]], "1275\n", 3)
end)

os.execute("rm -rf " .. child.quote(cache))
check.done()
