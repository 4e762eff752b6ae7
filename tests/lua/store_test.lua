-- The object store as Lua sees it: what is shared, what is full, what garbage holds, what is left behind.
--
-- Programs with a store of their own size are started here (child): 100 MB, and objects of 20 MB.
local lr = require "luarun"
local ffi = require "ffi"
local here = arg[0]:match("^(.*/)") or "./"
local check = dofile(here .. "check.lua")
local programs = dofile(here .. "child.lua")
local sh, quote = programs.sh, programs.quote
local test, eq, ok = check.test, check.eq, check.ok

ffi.cdef [[
char *mkdtemp(char *);
]]

local program = programs.program
local scratch = ffi.string(ffi.C.mkdtemp(ffi.new("char[64]", "/tmp/luarun-store-test-XXXXXX")))

local head = [[
local lr = require "luarun"
local k = lr.kernels{name = "maker", source = [=[
#include <luarun/kernel.h>
static int make(lr_call *call)
{
    int64_t bytes;
    lr_tensor t;
    if (lr_arg_integer(call, 1, &bytes) || lr_return_tensor(call, LR_U8, 1, &bytes, &t)) return LR_ERR;
    ((char *)t.data)[0] = 7;
    return LR_OK;
}
LR_KERNELS({"make", make, NULL, NULL, {0}})
]=]}
local MB20 = 20 * 1000 * 1000
]]

local count = 0
local function script(source)
  count = count + 1
  local path = ("%s/script%d.lua"):format(scratch, count)
  local f = assert(io.open(path, "w"))
  f:write(head, source)
  f:close()
  return path
end

local function child(source, options, spill_dir)
  return sh(("LUARUN_SPILL_DIR=%s timeout 100 %s %s %s"):format(spill_dir or scratch, quote(program),
    options or "--workers 2 --store-bytes 100000000", quote(script(source))))
end

local function full(source) return child(source, nil, "off") end -- what does not fit is not spilled

local function shm() return (sh("ls -A /dev/shm | grep -i luarun")) end

local function address_of(t) return tonumber(ffi.cast("intptr_t", t:data())) end

-- ---- sharing --------------------------------------------------------------------------------------------------

test("a tensor got is the tensor put, in every task", function()
  local f = lr.put(lr.tensor("f64", {200000}))
  local address = address_of(f:get())
  eq(address_of(f:get()), address)
  local where = lr.remote(function(t) return tonumber(require "ffi".cast("intptr_t", t:data())) end)
  eq(where(f):get(), address)
  eq(where(f:get()):get(), address)
  local same = lr.remote(function(t) return {t = t, again = t} end)
  local back = same(f):get()
  eq(address_of(back.t), address)
  eq(address_of(back.again), address)
  eq(address_of(lr.put(f:get()):get()), address)
end)

test("what is shared cannot be written, its copy can", function()
  local t = lr.put(lr.tensor("f64", {3}, {1, 2, 3})):get()
  local done, err = pcall(t.set, t, 1, 9)
  eq(done, false)
  ok(tostring(err):find("read%-only"), err)
  local copy = t:copy()
  copy:set(1, 9)
  eq({t:get(1), copy:get(1)}, {1, 9})
end)

test("a string over the threshold is stored once, however many tasks get it", function()
  local out, status = child([[
local s = ("x"):rep(40e6)
local f = lr.put(s)
local length = lr.remote(function(text) return #text end)
local futures = {}
for i = 1, 20 do futures[i] = length(f) end -- 800 MB, if each had its own
for i = 1, 20 do assert(futures[i]:get() == 40e6) end
print "done"
]])
  eq(status, 0, out)
  eq(out, "done\n")
end)

-- ---- full -----------------------------------------------------------------------------------------------------

test("what only garbage holds makes room, whoever's garbage it is", function()
  local patterns = {
    ["a kernel's results, got and dropped"] = "for _ = 1, 12 do k.make(MB20):get() end",
    ["futures dropped without a look"] = "for i = 1, 12 do k.make(MB20) if i % 3 == 0 then k.make(1):get() end end",
    ["a task's results"] = "local f = lr.remote(function(n) return lr.tensor('u8', n) end)\n"
      .. "for _ = 1, 12 do f(MB20):get() end",
    ["tensors made in a task"] = "local f = lr.remote(function(n) for _ = 1, 12 do lr.tensor('u8', n) end end)\n"
      .. "f(MB20):get()",
    ["values put"] = "local t = lr.tensor('u8', MB20)\nfor _ = 1, 12 do lr.put(t) end",
    ["values put and got"] = "local t = lr.tensor('u8', MB20)\nfor _ = 1, 12 do lr.put(t):get() end",
    ["strings put"] = "local s = ('x'):rep(MB20)\nfor _ = 1, 12 do lr.put(s) end",
    ["arguments"] = "local t = lr.tensor('u8', MB20)\nlocal f = lr.remote(function(x) return #x end)\n"
      .. "for _ = 1, 12 do assert(f(t):get() == MB20) end",
    ["results got inside tasks"] = "local f = lr.remote(function(make, n) for _ = 1, 8 do make(n):get() end end)\n"
      .. "local a, b = f(k.make, MB20), f(k.make, MB20)\na:get() b:get()",
    ["kernels in place"] = "for _ = 1, 12 do k.make:here(MB20) end",
    ["in a coroutine of the script's"] = "coroutine.wrap(function() for _ = 1, 12 do k.make(MB20):get() end end)()",
  }
  for name, source in pairs(patterns) do
    for _, workers in ipairs{1, 2} do
      local out, status = child(source .. "\nprint 'done'", "--store-bytes 100000000 --workers " .. workers)
      eq({out, status}, {"done\n", 0}, name)
    end
  end
end)

test("full of what is still held: the error names totals and the largest; then it works again", function()
  local out, status = full([[
local held = {}
local t = lr.tensor("u8", 12.5e6)
for i = 1, 4 do held[i] = k.make(MB20) held[i]:get() end
local done, err = k.make(MB20):pget()
print(done, err.code, err.message)
print(select(2, pcall(lr.tensor, "u8", MB20)))
print(select(2, pcall(lr.put, t)).message)
print(select(2, pcall(lr.put, ("s"):rep(MB20))).message)
held[4] = nil
print(#k.make(MB20):get())
lr.free(held[3])
print(#k.make(15e6):get(), #t)
]])
  eq(status, 0, out)
  local lines = {}
  for line in out:gmatch("[^\n]+") do lines[#lines + 1] = line end
  local holders = "; largest: 20.0 MB (tensor from kernel maker.make), 20.0 MB (tensor from kernel maker.make), "
    .. "20.0 MB (tensor from kernel maker.make), ..."
  eq(lines[1], "false\tout_of_memory\tmaker.make: result 1: object store full: 20.0 MB asked, 92.5 of 100.0 MB in use by "
    .. "5 objects" .. holders)
  eq(lines[2], "object store full: 20.0 MB asked, 92.5 of 100.0 MB in use by 5 objects" .. holders)
  ok(lines[3]:find("object store full: 12.5 MB asked, 92.5 of 100.0 MB in use by 5 objects" .. holders, 1, true), out)
  ok(lines[4]:find("object store full: 20.0 MB asked, 92.5 of 100.0 MB in use by 5 objects" .. holders, 1, true), out)
  eq(lines[5], "20000000")
  eq(lines[6], "15000000\t12500000")
end)

test("the site names the line that made a tensor", function()
  local out = child([[
local a = lr.tensor("u8", 75e6)
local done, err = pcall(lr.tensor, "u8", 50e6)
print(err, #a)
]])
  ok(out:find("object store full: 50.0 MB asked, 75.0 of 100.0 MB in use by 1 objects; largest: 75.0 MB (tensor made at "
    .. scratch .. "/script" .. count .. ".lua:15)", 1, true), out)
end)

test("what can never fit is refused at once", function()
  local out = child([[
print(select(2, pcall(lr.tensor, "u8", 101e6)))
print(select(2, k.make(101e6):pget()).message)
]])
  eq(out, "101.0 MB asked: this can never fit the object store, whose capacity is 100.0 MB (--store-bytes)\n"
    .. "maker.make: result 1: 101.0 MB asked: this can never fit the object store, whose capacity is 100.0 MB "
    .. "(--store-bytes)\n")
end)

test("the end is quick while kernels find no room", function()
  local out, status = child([[
local held = {}
for i = 1, 4 do held[i] = k.make(MB20) held[i]:get() end
for i = 1, 100 do k.make(MB20) end
os.exit(0)
]])
  eq(status, 0, out)
  eq((out:gsub("luarun: %d+ failed tasks? nobody looked at:.*", "")), "")
end)

-- ---- spilled ------------------------------------------------------------------------------------------------

test("four times the capacity, held: spilled, and every byte is what it was", function()
  local out, status = child([[
local held = {}
for i = 1, 20 do held[i] = lr.put(lr.tensor("u8", MB20):fill(i)) end
for i = 1, 20 do
  local t = held[i]:get()
  for j = 1, MB20, 999 do assert(t:get(j) == i) end
end
local sum = lr.remote(function(t) return t:get(1) + t:get(#t) end)
for i = 1, 20 do assert(sum(held[i]):get() == 2 * i) end
local stats = lr.stats().store
print(stats.used <= stats.capacity, stats.spilled >= 300e6, stats.spilled_count >= 15)
held = nil
collectgarbage() collectgarbage()
lr.remote(function() collectgarbage() collectgarbage() end)():get()
]])
  eq(status, 0, out)
  eq(out, "true\ttrue\ttrue\n")
end)

test("the spill file has no name, and what is spilled can be freed and made again and again", function()
  local out, status = child([[
local function names() local p = io.popen("ls -A " .. os.getenv("LUARUN_SPILL_DIR") .. " | grep -c luarun-spill")
  local n = p:read("*n") p:close() return n end
for _ = 1, 5 do
  local held = {}
  for i = 1, 8 do held[i] = k.make(MB20) held[i]:get() end
  assert(held[1]:get():get(1) == 7 and names() == 0)
  for i = 1, 8 do lr.free(held[i]) end
  collectgarbage() collectgarbage()
end
print(lr.stats().store.spilled_count)
]])
  eq(status, 0, out)
  eq(out, "0\n")
end)

test("no room on the disk: the error of a full store", function()
  local out, status = child([[
local held = {}
local done, err = pcall(function() for i = 1, 20 do held[i] = lr.put(lr.tensor("u8", MB20)) end end)
print(done, err.code)
]], "--workers 2 --store-bytes 100000000", "/proc")
  eq(status, 0, out)
  eq(out, "false\tout_of_memory\n")
end)

-- ---- memory is given back -------------------------------------------------------------------------------------

test("freed memory is used again, not added up", function()
  local out, status = child([[
local function resident()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmRSS:%s*(%d+)"
    if kb then return tonumber(kb) / 1000 end
  end
end
local t = lr.tensor("u8", MB20):fill(1)
for _ = 1, 3 do lr.free(lr.put(t)) end
local before = resident()
for _ = 1, 50 do lr.free(lr.put(t)) end
print(resident() - before < 20)
]], "--workers 2 --store-bytes 1000000000")
  eq({out, status}, {"true\n", 0})
end)

test("a large shared tensor is decoded again and again without full collections", function()
  -- a full collection of a heap of a million tables takes far more than a decode; a thousand of them minutes
  local out, status = child([[
local heap = {}
for i = 1, 1e6 do heap[i] = {} end
local f = lr.put(lr.tensor("u8", MB20))
local start = os.clock()
for _ = 1, 1000 do f:get() end
print(os.clock() - start < 5, #heap)
]])
  eq({out, status}, {"true\t1000000\n", 0})
end)

-- ---- ends -----------------------------------------------------------------------------------------------------

test("nothing is left in /dev/shm, however it ends; two programs have a store each", function()
  local big = "local t = lr.put(lr.tensor('u8', 40e6))\n"
  for tail, status in pairs{[""] = 0, ["os.exit(3)"] = 3, ["error 'x'"] = 1} do
    local out, got = child(big .. tail)
    eq(got, status, out)
  end
  local path = script(big .. "io.open(arg[1], 'w'):close()\nwhile true do lr.sleep(0.01) end")
  local out, status = sh(([[
%s --store-bytes 100000000 %s %s/a & a=$!
%s --store-bytes 100000000 %s %s/b & b=$!
i=0
while { [ ! -e %s/a ] || [ ! -e %s/b ]; } && [ $i -lt 1000 ]; do sleep 0.02; i=$((i+1)); done
kill -INT $a; wait $a; ra=$?
kill -KILL $b; wait $b 2>/dev/null; rb=$?
echo $ra $rb]]):format(quote(program), path, scratch, quote(program), path, scratch, scratch, scratch))
  eq(status, 0, out)
  ok(out:find("130 137\n"), out)
  eq(shm(), "")
end)

sh("rm -rf " .. quote(scratch))
check.done()
