-- Kernels as Lua sees them: found, compiled, called, refused, cancelled, crashed.
--
-- The kernels are those of tests/unit/fixtures, compiled here from source, and a few more below. Everything that
-- ends a process, or needs an environment of its own, runs in a program started here (child).
local lr = require "luarun"
local ffi = require "ffi"
local here = arg[0]:match("^(.*/)") or "./"
local check = dofile(here .. "check.lua")
local programs = dofile(here .. "child.lua")
local sh, quote = programs.sh, programs.quote
local test, eq, ok, error_has = check.test, check.eq, check.ok, check.error_has

ffi.cdef [[
char *mkdtemp(char *);
int setenv(const char *, const char *, int);
char *realpath(const char *, char *);
void free(void *);
]]

-- ---- files and programs ---------------------------------------------------------------------------------------

local function real(path)
  local p = ffi.C.realpath(path, nil)
  if p == nil then error("no such file: " .. path) end
  local text = ffi.string(p)
  ffi.C.free(p)
  return text
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("*a")
  f:close()
  return text
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local scratch = ffi.string(ffi.C.mkdtemp(ffi.new("char[64]", "/tmp/luarun-kernels-test-XXXXXX")))
local fixtures = real(here .. "../unit/fixtures")
local include = real(here .. "../../bindings/include")
local program = real(programs.program)

ffi.C.setenv("XDG_CACHE_HOME", scratch .. "/cache", 1)
ffi.C.setenv("LUARUN_INCLUDE", include, 1)

local script_count = 0

-- Runs a script in a program of its own. options: what stands before the script; environment: "A=b C=d".
local function child(source, options, environment)
  script_count = script_count + 1
  local path = write(("%s/script%d.lua"):format(scratch, script_count), source)
  return sh(("ulimit -c 0; %s timeout 60 %s %s %s"):format(environment or "", quote(program), options or "--workers 2",
    quote(path)))
end

-- Builds lib<name>.so of a C file, as docs/kernels.md says.
local function build(source_path, library_path)
  local out, status = sh(("cc -O2 -shared -fPIC -I%s -o %s %s"):format(quote(include), quote(library_path),
    quote(source_path)))
  if status ~= 0 then error(out) end
  return library_path
end

local mine = [[
#include <luarun/kernel.h>
#include <time.h>

/* The address of a tensor's data: nothing was copied when Lua sees the same. */
static int address(lr_call *call)
{
    lr_tensor x;
    return lr_arg_tensor(call, 1, -1, -1, &x) || lr_return_integer(call, (int64_t)(intptr_t)x.data);
}
static int make(lr_call *call) /* (count) -> f64[count], address */
{
    int64_t count;
    lr_tensor t;
    if (lr_arg_integer(call, 1, &count) || lr_return_tensor(call, LR_F64, 1, &count, &t)) return LR_ERR;
    for (int64_t i = 0; i < count; i++)
        ((double *)t.data)[i] = (double)(i + 1);
    return lr_return_integer(call, (int64_t)(intptr_t)t.data);
}
static int string_address(lr_call *call)
{
    const char *bytes;
    size_t length;
    return lr_arg_string(call, 1, &bytes, &length) || lr_return_integer(call, (int64_t)(intptr_t)bytes);
}
static int every_dtype(lr_call *call) /* six tensors, each (2, 2) with 1 2 3 4 */
{
    static const int64_t shape[] = {2, 2};
    for (int d = 0; d < LR_DTYPE_COUNT; d++) {
        lr_tensor t;
        if (lr_return_tensor(call, (lr_dtype)d, 2, shape, &t)) return LR_ERR;
        for (int i = 0; i < 4; i++) {
            switch ((lr_dtype)d) {
            case LR_F32: ((float *)t.data)[i] = (float)(i + 1); break;
            case LR_F64: ((double *)t.data)[i] = i + 1; break;
            case LR_I8: ((int8_t *)t.data)[i] = (int8_t)(i + 1); break;
            case LR_U8: ((uint8_t *)t.data)[i] = (uint8_t)(i + 1); break;
            case LR_I32: ((int32_t *)t.data)[i] = i + 1; break;
            case LR_I64: ((int64_t *)t.data)[i] = i + 1; break;
            case LR_DTYPE_COUNT: break;
            }
        }
    }
    return LR_OK;
}
static int holes(lr_call *call) /* nil, 1, nil */
{
    return lr_return_nil(call) || lr_return_number(call, 1) || lr_return_nil(call);
}
static int words(lr_call *call) /* (bytes) -> a string of that many x */
{
    static char text[200000];
    int64_t n;
    if (lr_arg_integer(call, 1, &n)) return LR_ERR;
    for (int64_t i = 0; i < n; i++)
        text[i] = 'x';
    return lr_return_string(call, text, (size_t)n);
}
/* Tells that it runs by its progress, and goes on until it is told to stop. */
static int until_told(lr_call *call)
{
    lr_progress(call, 1, 4);
    while (!lr_cancelled(call)) {
    }
    return LR_ERR;
}
typedef struct own { int64_t calls; } own;
static int own_init(void *memory) { ((own *)memory)->calls = 100; return LR_OK; }
static int pause_and_count(lr_call *call) /* calls of this worker so far, from 101 */
{
    struct timespec some = {0, 2000000};
    own *o = lr_worker_state(call, sizeof *o, own_init, NULL);
    if (!o) return LR_ERR;
    nanosleep(&some, NULL);
    return lr_return_integer(call, ++o->calls) || lr_return_integer(call, (int64_t)(intptr_t)o);
}
static int stop_once(lr_call *call) /* fails at its first call in a worker's state */
{
    own *o = lr_worker_state(call, sizeof *o, own_init, NULL);
    if (!o) return LR_ERR;
    return o->calls++ == 100 ? lr_fail(call, "not yet") : lr_return_string(call, "now", 3);
}
LR_KERNELS(
    {"address", address, "(x: tensor) -> integer", NULL, {0}},
    {"make", make, "(count: integer) -> f64[count], integer", NULL, {0}},
    {"string_address", string_address, NULL, NULL, {0}},
    {"every_dtype", every_dtype, NULL, NULL, {0}},
    {"holes", holes, NULL, NULL, {0}},
    {"words", words, NULL, NULL, {0}},
    {"until_told", until_told, NULL, NULL, {0}},
    {"pause_and_count", pause_and_count, NULL, NULL, {0}},
    {"stop_once", stop_once, NULL, NULL, {0}})
]]

local k = lr.kernels{source = read(fixtures .. "/testkernels.c"), name = "testkernels"}
local m = lr.kernels{source = mine, name = "mine"}

-- The address of a tensor's data as a number: addresses fit 53 bits.
local function address_of(t) return tonumber(ffi.cast("intptr_t", t:data())) end

-- Waits until fn() is true, at most 20 seconds.
local function until_true(fn, what)
  local deadline = lr.now() + 20
  while not fn() do
    if lr.now() > deadline then error("in vain: " .. what) end
    lr.sleep(0.001)
  end
end

local function running(f)
  until_true(function() return tostring(f):find("25 %", 1, true) end, "the kernel to run")
  return f
end

local function message_of(f)
  local done, err = f:pget()
  if done then error("no error was raised") end
  return err.message, err
end

-- ---- results --------------------------------------------------------------------------------------------------

test("arguments and results of every plain type", function()
  local number, integer, text, flag, is_nil = k.echo(1.5, -7, "a\0b", true, nil):get()
  eq(number, 1.5)
  eq(integer, -7)
  eq(text, "a\0b")
  eq(flag, true)
  eq(is_nil, true)
  eq(select(5, k.echo(0, 0, "", false, 0):get()), false)
  eq(select("#", k.nothing():get()), 0)
end)

test("a number takes integers of both kinds; an integer takes whole numbers", function()
  eq(k.number(7LL):get(), 7)
  eq(k.number(18446744073709551615ULL):get(), 2 ^ 64)
  eq(k.number(-0.0):get(), 0)
  local nan = k.number(0 / 0):get()
  ok(nan ~= nan)
  eq(k.number(math.huge):get(), math.huge)
  eq(k.integer(-(2 ^ 53)):get(), -(2 ^ 53))
  eq(k.integer(9007199254740992LL):get(), 2 ^ 53)
  local large = k.integer(9007199254740993LL):get()
  eq(tostring(large), "9007199254740993LL")
  eq(tostring(k.integer(-0x7fffffffffffffffLL - 1):get()), "-9223372036854775808LL")
end)

test("tensors of every dtype come back, read-only", function()
  local out = {m.every_dtype():get()}
  eq(#out, 6)
  for i, dtype in ipairs{"f32", "f64", "i8", "u8", "i32", "i64"} do
    eq(out[i]:dtype(), dtype)
    eq(out[i]:shape(), {2, 2})
    local values = {}
    for n = 0, 3 do values[n + 1] = tonumber(out[i]:data()[n]) end
    eq(values, {1, 2, 3, 4})
    eq(out[i]:is_readonly(), true)
  end
  error_has(function() out[1]:set(1, 1, 5) end, "read-only")
end)

test("tensors of every dtype and rank go in", function()
  for code, dtype in ipairs{"f32", "f64", "i8", "u8", "i32", "i64"} do
    local d, rank, count, first = k.any_tensor(lr.tensor(dtype, {3, 1, 2})):get()
    eq({d, rank, count, first}, {code - 1, 3, 6, 3})
  end
  eq({k.any_tensor(lr.tensor("f64", {})):get()}, {1, 0, 1, -1})
  eq({k.any_tensor(lr.tensor("u8", {0})):get()}, {3, 1, 0, 0})
  eq({k.any_tensor(lr.tensor("i8", {1, 1, 1, 1, 1, 1, 1, 2})):get()}, {2, 8, 2, 1})
end)

test("views: a narrowed tensor's kernel sees the view alone", function()
  local t = lr.put(lr.tensor("f64", {4, 2}, {1, 2, 3, 4, 5, 6, 7, 8})):get()
  local y = k.scale(t:select(1, 2), 10):get()
  eq({y:get(1), y:get(2)}, {30, 40})
  eq({k.any_tensor(t:narrow(1, 2, 3)):get()}, {1, 2, 6, 3})
end)

test("empty tensors, one of rank 0, an empty string, nil", function()
  local none, one, text, last = k.empties():get()
  eq(none:shape(), {3, 0})
  eq(one:get(), 7)
  eq(text, "")
  eq(last, nil)
  eq(select("#", k.empties():get()), 4)
end)

test("nils are kept; several futures of one call", function()
  eq(select("#", m.holes():get()), 3)
  eq({m.holes():get()}, {nil, 1, nil})
  local a, b, c, d = k.count_up:with{returns = 4}(3)
  eq({a:get(), b:get(), c:get()}, {1, 2, 3})
  eq(d:get(), nil)
end)

test("many results, and more than Lua takes", function()
  eq(select("#", k.count_up(1):get()), 1)
  eq(select("#", k.count_up(200):get()), 200)
  eq(select(7000, k.count_up(7000):get()), 7000)
  local _, err = k.count_up(100000):pget()
  error_has(function() error(err) end, "too many values for Lua's stack (about 8,000): a table or a tensor holds more")
end)

test("many arguments", function()
  local numbers = {}
  for i = 1, 200 do numbers[i] = i end
  eq(k.sum(unpack(numbers)):get(), 20100)
  eq(k.sum():get(), 0)
end)

test("strings up to 10 MB both ways", function()
  for _, size in ipairs{0, 1, 127, 128, 65535, 65536, 65537, 10000000} do
    local text = ("x"):rep(size)
    ok(k.string(text):get() == text, "a string of " .. size)
  end
  eq(#m.words(200000):get(), 200000)
end)

-- ---- nothing is copied ----------------------------------------------------------------------------------------

if lr.stats().procs > 1 then
  check.skip("nothing is copied", "addresses of different processes")
else
test("a shared tensor is not copied on its way to a kernel", function()
  local t = lr.put(lr.tensor("f64", {100000})):get()
  eq(m.address(t):get(), address_of(t))
  eq(m.address(lr.put(t)):get(), address_of(t))
  eq(m.address:here(t), address_of(t))
  eq(m.address(t:narrow(1, 11, 5)):get(), address_of(t) + 80)
end)

test("a writable tensor is copied, so that the task's stays what it was", function()
  local t = lr.tensor("f64", {2}, {1, 2})
  local f = k.scale(t, 2)
  t:fill(0)
  eq(f:get():totable(), {2, 4})
  ok(m.address(t):get() ~= address_of(t))
end)

test("a kernel's tensor is not copied: to the script, through tasks, to the next kernel", function()
  local f = m.make(100000)
  local t, address = f:get()
  eq(address_of(t), address)
  eq(t:get(100000), 100000)
  eq(m.address(f):get(), address)
  local pass = lr.remote(function(x) return x end)
  local g = f
  for _ = 1, 10 do g = pass(g) end
  eq(address_of(g:get()), address)
  eq(m.address(g):get(), address)
end)

test("small tensors are shared too", function()
  local t, address = m.make(4):get()
  eq(address_of(t), address)
  eq(m.address(t):get(), address)
end)

test("a long string reaches every kernel at one place", function()
  local s = lr.put(("y"):rep(1000000))
  eq(m.string_address(s):get(), m.string_address(s):get())
end)
end

test("a tensor of 256 MB", function()
  local t = m.make(32 * 1024 * 1024):get()
  eq(#t, 32 * 1024 * 1024)
  eq(t:get(#t), #t)
end)

-- ---- refusals -------------------------------------------------------------------------------------------------

local function refused(kernel, text, ...)
  local message, err = message_of(k[kernel](...))
  eq(message, "testkernels." .. kernel .. ": " .. text)
  eq(err.code, "kernel_error")
  eq(err.function_name, "testkernels." .. kernel)
end

test("wrong types: kernel, argument, wanted, given", function()
  local wanted = {number = "a number", integer = "an integer", string = "a string", boolean = "a boolean",
    any_tensor = "a tensor", rank_two = "a tensor of rank 2", board = "a u8 tensor",
    take_tensor = "an f64 tensor of rank 1"}
  local given = {
    {"nil", nil}, {"a boolean", true}, {"a number", 1.5}, {"a number", 3}, {"a string", "7"}, {"a table", {}},
    {"a string", ("z"):rep(100000)}, {"an int64", 5LL}, {"a uint64", 5ULL},
    {"a function", function() end}, {"a remote function", k.sum}, {"a remote function", lr.remote(function() end)},
    {"an f64 tensor of rank 2", lr.tensor("f64", {1, 1})}, {"an f32 tensor of rank 1", lr.tensor("f32", {1})},
    {"an i64 tensor of rank 0", lr.tensor("i64", {})}, {"an i8 tensor of rank 3", lr.tensor("i8", {1, 1, 1})},
    {"a u8 tensor of rank 8", lr.tensor("u8", {1, 1, 1, 1, 1, 1, 1, 1})},
    {"an i32 tensor of rank 1", lr.tensor("i32", {1})},
  }
  local fits = {number = {["a number"] = true, ["an int64"] = true, ["a uint64"] = true},
    integer = {["an int64"] = true, ["a uint64"] = true}, string = {["a string"] = true},
    boolean = {["a boolean"] = true}, rank_two = {["an f64 tensor of rank 2"] = true},
    board = {["a u8 tensor of rank 8"] = true}, take_tensor = {}}
  for kernel, what in pairs(wanted) do
    for _, case in ipairs(given) do
      local word, value = case[1], case[2]
      local text = ("argument 1: %s wanted, %s given"):format(what, word)
      if kernel == "integer" and word == "a number" then
        text = value ~= 3 and "argument 1: an integer wanted, 1.5 given" or nil
      elseif kernel == "any_tensor" and word:find("tensor") or fits[kernel] and fits[kernel][word] then
        text = nil
      end
      if text then
        refused(kernel, text, value)
      else
        k[kernel](value):get()
      end
    end
  end
end)

test("the position is the argument's", function()
  refused("matrix", "argument 2: an f64 tensor of rank 2 wanted, a string given", 1, "x")
  refused("matrix", "argument 2: an f64 tensor of rank 2 wanted, an f64 tensor of rank 1 given", 1,
    lr.tensor("f64", {4}))
  refused("sum", "argument 3: a number wanted, a string given", 1, 2, "3", 4)
  refused("scale", "argument 2: a number wanted, nil given", lr.tensor("f64", {1}), nil)
end)

test("missing arguments", function()
  refused("number", "argument 1 is missing: a number wanted")
  refused("integer", "argument 1 is missing: an integer wanted")
  refused("string", "argument 1 is missing: a string wanted")
  refused("boolean", "argument 1 is missing: a boolean wanted")
  refused("matrix", "argument 2 is missing: an f64 tensor of rank 2 wanted", 1)
  refused("any_tensor", "argument 1 is missing: a tensor wanted")
  refused("scale", "argument 2 is missing: a number wanted", lr.tensor("f64", {1}))
end)

test("numbers that are no int64", function()
  refused("integer", "argument 1: an integer wanted, 0.5 given", 0.5)
  refused("integer", "argument 1: an integer wanted, nan given", -(0 / 0))
  refused("integer", "argument 1: an integer that fits an int64 wanted, inf given", math.huge)
  refused("integer", "argument 1: an integer that fits an int64 wanted, 9.2233720368548e+18 given", 2 ^ 63)
  refused("integer", "argument 1: an integer that fits an int64 wanted, 9223372036854775808 given",
    9223372036854775808ULL)
end)

test("the same refusals in place, without a task", function()
  local err = error_has(function() k.number:here("x") end,
    "testkernels.number: argument 1: a number wanted, a string given")
  eq(err.code, "kernel_error")
  error_has(function() k.number:here() end, "testkernels.number: argument 1 is missing: a number wanted")
end)

test("what cannot be sent is refused where it is sent", function()
  error_has(function() k.number(coroutine.create(print)) end, "argument 1: ")
  error_has(function() k.sum(1, {io.stdout}) end, "argument 2: ")
end)

-- ---- kernels that do wrong ------------------------------------------------------------------------------------

test("lr_fail, and errors without words", function()
  refused("fail", "no room at 7")
  refused("fail_silently", "the kernel failed without a message")
  refused("return_strange", "the kernel returned 42: LR_OK or LR_ERR wanted")
  refused("ignore_error", "argument 1: a number wanted, a string given", "x")
  local long = message_of(k.fail_at_length())
  eq(#long, 1023)
  ok(long:find("^testkernels%.fail_at_length: x+$"))
end)

test("what a kernel must not ask for", function()
  refused("position_zero", "argument 0: the kernel counts wrong, positions start at 1", 1)
  refused("no_such_dtype", "argument 1: the kernel asks for dtype 99 and rank 1, which no tensor has", 1)
  refused("garbage", "result 1: the shape (3, -1) has a negative dimension", 1)
  refused("garbage", "result 1: the shape (9223372036854775807, 9223372036854775807, 2) has more elements than "
    .. "memory can hold", 2)
  refused("garbage", "result 1: a rank of 0 to 8 wanted, 9 given", 4)
  refused("garbage", "result 1: a rank of 0 to 8 wanted, -1 given", 5)
  refused("garbage", "result 1: there is no dtype 77", 6)
  refused("garbage", "result 1: no shape given", 7)
  refused("garbage", "lr_return_tensor: no place for the view", 8)
  ok(message_of(k.garbage(9)):find("result 1: the kernel returned a string of 18446744073709551615 bytes at 0x",
    1, true))
  refused("garbage", "result 1: the kernel returned a string of 5 bytes at (nil)", 10)
end)

test("a result that can never fit the store", function()
  for how, size in pairs{[3] = "8000.0 GB", [11] = "9223372036.9 GB"} do
    local message, err = message_of(k.garbage(how))
    eq(err.code, "out_of_memory")
    ok(message:find("testkernels.garbage: result 1: " .. size
      .. " asked: this can never fit the object store, whose capacity is ", 1, true), message)
    ok(message:find("(--store-bytes)", 1, true), message)
  end
end)

test("after all that kernels still work", function()
  for i = 1, 100 do eq(k.number(i):get(), i) end
end)

-- ---- a remote function like any other -------------------------------------------------------------------------

test("names, and what the library says of itself", function()
  eq(tostring(k.scale), "remote function: testkernels.scale")
  ok(tostring(k.spin:with{name = "other"}) == "remote function: other")
  local text = tostring(k)
  ok(text:find("^kernel library 'testkernels' %(/.*%.so%):\n  nothing%(%)\n      does nothing\n"), text)
  ok(text:find("\n  scale(x: f64[n], k: number) -> f64[n]\n      k times x\n", 1, true), text)
  ok(tostring(k.nothing()):find("testkernels.nothing", 1, true))
  local has = "kernel library 'mine' has no kernel 'nothing'; it has: address, make, string_address, every_dtype, "
    .. "holes, words, until_told, pause_and_count, stop_once"
  error_has(function() return m.nothing end, has)
end)

test("options: with, name, returns, priority; unknown ones", function()
  eq(k.sum:with{priority = 1}(1, 2):get(), 3)
  eq(k.sum:with{cpu = 1, retries = 0, name = "adder"}(1, 2):get(), 3)
  local _, err = message_of(k.number:with{name = "renamed"}("x"))
  eq(err.code, "kernel_error")
  error_has(function() k.sum:with{cpus = 1} end, "unknown option 'cpus'")
end)

test("default needs of a kernel, and options in their place", function()
  local cpus = lr.resources().cpu
  if cpus >= 2 then
    eq(select("#", k.two_cpus():get()), 0)
  else
    local _, err = message_of(k.two_cpus())
    eq(err.code, "infeasible")
  end
  eq(select("#", k.two_cpus:with{cpu = 1}():get()), 0)
  local _, err = message_of(k.two_cpus:with{memory = 1e12, cpu = 1}())
  eq(err.code, "infeasible")
end)

test("retry_on_error runs it again, and counts", function()
  local _, err = message_of(k.fail:with{retry_on_error = 2}())
  eq(err.attempts, 3)
  eq(select(2, message_of(k.fail())).attempts, 1)
  local states = lr.stats().workers + lr.stats().procs -- a script's thread may run what it waits for: it has one, too
  -- each worker's state fails its first call: after one more attempt than there are workers it has worked
  eq(m.stop_once:with{retry_on_error = states}():get(), "now")
end)

test("futures as arguments are replaced, from any kind of task", function()
  local add = lr.remote(function(a, b) return a + b end)
  eq(k.sum(add(1, 2), k.sum(3, 4), lr.put(5), 6):get(), 21)
  eq(k.sum(m.holes:with{returns = 2}(), 1):pget(), false)
  local _, second = k.count_up:with{returns = 2}(2)
  eq(k.sum(second, 1):get(), 3)
  eq(k.sum(k.count_up(5)):get(), 1)
  refused("number", "argument 1: a number wanted, nil given", k.nothing())
  refused("number", "argument 1: a number wanted, a string given", lr.put("x"))
end)

test("a failed argument fails the call, with its cause", function()
  local message, err = message_of(k.sum(1, k.fail()))
  eq(message, "argument 2, the result of testkernels.fail, is not there: it failed")
  eq(err.cause.message, "testkernels.fail: no room at 7")
end)

test("a future inside a table stays one: the table is refused, its kernel is not waited for", function()
  refused("number", "argument 1: a number wanted, a table given", {k.sum(1)})
end)

test("in place: values of futures, errors, results", function()
  eq(k.sum:here(1, 2), 3)
  eq(select("#", m.holes:here()), 3)
  eq(k.sum:here(k.sum(1, 2), lr.put(4)), 7)
  error_has(function() k.sum:here(k.fail()) end, "testkernels.fail: no room at 7")
end)

test("kernels inside tasks: as upvalues, as arguments, in tables, loaded there", function()
  local task = lr.remote(function(sum, library, list)
    return k.sum(1, 2):get(), sum(1, 3):get(), library.sum(1, 4):get(), list[1].f(1, 5):get(), k.sum:here(1, 6)
  end)
  eq({task(k.sum, k, {{f = k.sum}}):get()}, {3, 4, 5, 6, 7})
  local options = lr.remote(function(f) return f():pget() end)
  local _, err = options(k.fail:with{retry_on_error = 1}):get()
  eq(err.attempts, 2)
  local load = lr.remote(function(source)
    local inside = require "luarun".kernels{source = source, name = "mine"}
    return inside, inside.holes:with{returns = 2}
  end)
  local library = load(mine):get()
  eq(select("#", library.holes():get()), 3)
  error_has(function() return library.none end, "kernel library 'mine' has no kernel 'none'")
end)

test("kernels from a table.sort comparator, and waited for there", function()
  local sorted = lr.remote(function()
    local list = {3, 1, 2}
    table.sort(list, function(a, b) return k.sum(a):get() < k.sum:here(b) end)
    return list
  end)
  eq(sorted():get(), {1, 2, 3})
end)

test("map, all and as_completed over kernels", function()
  eq(lr.map(k.integer, {1, 2, 3}), {1, 2, 3, n = 3})
  local futures, total = {}, 0
  for i = 1, 50 do futures[i] = k.integer(i) end
  for f in lr.as_completed(futures) do total = total + f:get() end
  eq(total, 1275)
end)

-- ---- worker state ---------------------------------------------------------------------------------------------

test("a worker's state is made once and kept", function()
  local futures = {}
  for i = 1, 60 do futures[i] = m.pause_and_count() end
  local most, calls = {}, 0
  for i = 1, 60 do
    local count, place = futures[i]:get()
    most[place] = math.max(most[place] or 100, count)
  end
  local states = 0
  for _, count in pairs(most) do
    states = states + 1
    calls = calls + count - 100
  end
  -- the script's thread has one too, where it ran some of them itself
  ok(states <= lr.stats().workers * lr.stats().procs + 1, states .. " states")
  ok(calls >= 60, calls .. " calls")
end)

test("states that cannot be made", function()
  refused("state_fails", "the worker state could not be made: its init failed")
  local message, err = message_of(k.state_absurd())
  eq(message, "testkernels.state_absurd: no memory for a worker state of 18446744073709551615 bytes")
  eq(err.code, "out_of_memory")
  k.count_calls:here()
  error_has(function() k.counter_larger:here() end,
    "testkernels.counter_larger: the worker state was made with 16 bytes; now 1000 are wanted")
end)

local fini_source = ([[
#include <luarun/kernel.h>
#include <stdio.h>
#include <unistd.h>
static int init(void *memory) { (void)memory; return write(2, "made\n", 5) == 5 ? LR_OK : LR_ERR; }
static void fini(void *memory) { (void)memory; if (write(2, "gone\n", 5) != 5) return; }
static int use(lr_call *call) { return lr_worker_state(call, 8, init, fini) ? LR_OK : LR_ERR; }
LR_KERNELS({"use", use, NULL, NULL, {0}})
]])

test("every state that was made is freed, however the program ends", function()
  local head = "local lr = require 'luarun'\nlocal k = lr.kernels{name = 'finis', source = [=[" .. fini_source
    .. "]=]}\nfor i = 1, 20 do k.use():get() end\nk.use:here()\n"
  for tail, status in pairs{[""] = 0, ["os.exit(3)"] = 3, ["error('x')"] = 1, ["lr.shutdown()"] = 0} do
    local out, got = child(head .. tail)
    eq(got, status, out)
    local _, made = out:gsub("made\n", "")
    local _, gone = out:gsub("gone\n", "")
    ok(made >= 2, out)
    eq(gone, made, tail .. ": " .. out)
  end
end)

-- ---- cancelling -----------------------------------------------------------------------------------------------

test("cancel tells a running kernel, and the worker goes on", function()
  for _ = 1, 5 do
    local f = running(m.until_told())
    local before = lr.now()
    f:cancel()
    eq(f:state(), "cancelled")
    eq(select(2, message_of(f)).code, "cancelled")
    eq(k.sum(1):get(), 1)
    ok(lr.now() - before < 5)
  end
end)

test("a timeout tells it", function()
  local f = m.until_told:with{timeout = 0.05}()
  local message, err = message_of(f)
  eq(err.code, "timeout")
  eq(message, "it ran longer than its timeout of 0.05 s")
  eq(k.sum(1):get(), 1)
end)

test("a cancelled ancestor tells it, whether it waits in a task or runs in place", function()
  local outer = lr.remote(function() return m.until_told():get() end)
  local place = lr.remote(function() return m.until_told:here() end)
  for _, rf in ipairs{outer, place} do
    local f = rf()
    if rf == place then running(f) else until_true(function() return f:state() == "running" end, "the task to run") end
    f:cancel()
    eq(select(2, message_of(f)).code, "cancelled")
    eq(k.sum(1):get(), 1)
  end
end)

test("a kernel that was queued and cancelled never runs", function()
  local blockers, workers = {}, lr.stats().workers
  for i = 1, workers do blockers[i] = m.until_told() end
  for i = 1, workers do running(blockers[i]) end
  local f = m.pause_and_count()
  f:cancel()
  eq(f:state(), "cancelled")
  lr.cancel(blockers)
  eq(select(2, message_of(f)).code, "cancelled")
end)

test("what comes from a body that is told while it looks is thrown away, a thousand times", function()
  local returns = lr.remote(function()
    local cancelled = require "luarun".cancelled
    while not cancelled() do end
    return 1
  end)
  local raises = lr.remote(function()
    local checkpoint = require "luarun".checkpoint
    while true do checkpoint() end
  end)
  for _ = 1, 250 do
    for _, rf in ipairs{k.spin, k.give_up_when_cancelled, returns, raises} do
      local f = rf()
      while f:state() ~= "running" do lr.yield() end
      f:cancel()
      eq(f:state(), "cancelled")
      eq(select(2, message_of(f)).code, "cancelled")
      eq(f:state(), "cancelled")
    end
  end
end)

test("progress shows in the future; spans are taken", function()
  local f = k.half_way()
  f:get()
  ok(tostring(f):find("50 %", 1, true), tostring(f))
  eq(select("#", k.spans():get()), 0)
end)

-- ---- random numbers -------------------------------------------------------------------------------------------

test("random numbers: the same with one worker as with four, different from task to task", function()
  local source = "local lr = require 'luarun'\nlocal k = lr.kernels{source = io.open('" .. fixtures
    .. "/testkernels.c'):read('*a'), name = 'testkernels'}\nlocal f = {}\nfor i = 1, 40 do f[i] = k.random() end\n"
    .. "for i = 1, 40 do print(('%.17g %.17g %.17g'):format(f[i]:get())) end\n"
    .. "print(('%.17g'):format((k.random:here())))"
  local one, status = child(source, "--seed 7 --workers 1")
  eq(status, 0, one)
  eq(child(source, "--seed 7 --workers 4"), one)
  ok(child(source, "--seed 8 --workers 4") ~= one)
  local seen, count = {}, 0
  for number in one:gmatch("[%d.e-]+") do
    ok(not seen[number], "the number " .. number .. " came twice")
    ok(tonumber(number) >= 0 and tonumber(number) < 1)
    seen[number], count = true, count + 1
  end
  eq(count, 121)
end)

-- ---- finding --------------------------------------------------------------------------------------------------

local small = [[
#include <luarun/kernel.h>
static int one(lr_call *call) { return lr_return_number(call, 1); }
LR_KERNELS({"one", one, "() -> number", "one", {0}})
]]

test("found beside the script, in kernels/, by package.cpath, by LUARUN_KERNELS, by path, in that order", function()
  local base = scratch .. "/find"
  sh("mkdir -p " .. base .. "/kernels " .. base .. "/c " .. base .. "/env")
  local lib = build(write(scratch .. "/small.c", small), base .. "/libsmall.so")
  local script = write(base .. "/main.lua",
    "package.cpath = package.cpath .. ';" .. base .. "/c/?.so'\nlocal k = require'luarun'.kernels(arg[1])\n"
    .. "print(tostring(k):match('%((.-)%)'), k.one():get())")
  for _, place in ipairs{"/kernels", "/c", "/env"} do sh("cp " .. lib .. " " .. base .. place .. "/libsmall.so") end
  local function run(name)
    return (sh(("LUARUN_KERNELS=/nowhere:%s/env %s --workers 1 %s %s"):format(base, quote(program), script, name)))
  end
  for _, place in ipairs{"", "/kernels", "/c", "/env"} do
    eq(run("small"), base .. place .. "/libsmall.so\t1\n")
    os.remove(base .. place .. "/libsmall.so")
  end
  ok(run("small"):find("kernel library 'small' was not found; tried:", 1, true))
  build(scratch .. "/small.c", base .. "/other.so")
  eq(run(base .. "/other.so"), base .. "/other.so\t1\n")
end)

test("not found: every place is listed, once", function()
  local out, status = child("package.cpath = '/nowhere/?.so;/nowhere/fixed.so'\nrequire'luarun'.kernels 'missing'\n",
    nil, "LUARUN_KERNELS=/no/a:/no/b")
  eq(status, 1)
  local lines = {}
  for line in out:gmatch("\n  (/[^\n]*)") do lines[#lines + 1] = line end
  local directory = program:match("^(.*)/")
  local wanted = {scratch .. "/libmissing.so", scratch .. "/kernels/libmissing.so", "/nowhere/libmissing.so",
    "/no/a/libmissing.so", "/no/b/libmissing.so", directory .. "/kernels/libmissing.so"}
  for i, path in ipairs(wanted) do eq(lines[i], path, out) end
  -- then where the examples' kernels are installed, as seen from the program and as it was configured
  ok(#lines == #wanted + 1 or #lines == #wanted + 2, out)
  ok(lines[#lines]:find("/luarun/kernels/libmissing%.so$"), out)
  ok(out:find("luarun: .*script%d+%.lua:2: kernel library 'missing' was not found; tried:\n"), out)
end)

test("the examples' kernels are found from anywhere in a build tree", function()
  local directory = program:match("^(.*)/")
  local f = io.open(directory .. "/kernels/libgo.so")
  if not f then return check.skip("libgo.so", "not a build tree") end
  f:close()
  local out, status = child("print((tostring(require'luarun'.kernels 'go'):match('%((.-)%)')))")
  eq(status, 0, out)
  eq(out, directory .. "/kernels/libgo.so\n")
end)

test("what is not a kernel library", function()
  local dir = scratch .. "/bad"
  sh("mkdir -p " .. dir)
  local function refuses(path, text)
    error_has(function() lr.kernels(path) end, "kernel library " .. path .. text)
  end
  refuses("/nowhere/libx.so", " cannot be opened: No such file or directory")
  refuses(write(dir .. "/libtext.so", "text"), " cannot be opened: file too short")
  build(fixtures .. "/wrongabi.c", dir .. "/libwrongabi.so")
  error_has(function() lr.kernels(dir .. "/libwrongabi.so") end, "kernel library " .. dir
    .. "/libwrongabi.so was built for kernel ABI 7; this luarun has ABI 1: rebuild it against this luarun's "
    .. "luarun/kernel.h")
  build(write(dir .. "/plain.c", "int x;\n"), dir .. "/libplain.so")
  error_has(function() lr.kernels(dir .. "/libplain.so") end, dir .. "/libplain.so is not a kernel library: it does "
    .. "not export luarun_kernel_library (see LR_KERNELS in luarun/kernel.h)")
  local table_of = "#include <luarun/kernel.h>\nint k(lr_call *c);int k(lr_call *c){(void)c;return 0;}\n"
  for rows, text in pairs{
    ['LR_KERNELS({"a", k, 0, 0, {0}}, {"a", k, 0, 0, {0}})'] = " has two kernels named 'a'",
    ['LR_KERNELS({"a", 0, 0, 0, {0}})'] = ": kernel 'a' has no function",
    ['LR_KERNELS({0, k, 0, 0, {0}})'] = ": kernel 1 has no name",
    ['LR_KERNELS({"a b", k, 0, 0, {0}})'] = ": 'a b' cannot name a kernel (letters, digits and _ can)",
    ['__attribute__((visibility("default"))) const lr_kernel_library luarun_kernel_library = {LR_KERNEL_ABI, 0, 0};'] =
      ": its table has 0 kernels: 1 to 4096 wanted",
  } do
    local done, why = pcall(lr.kernels, {source = table_of .. rows .. "\n", name = "bad"})
    eq(done, false)
    ok(why:find("%.so" .. text:gsub("%p", "%%%0")), why)
  end
  error_has(function() lr.kernels "a b" end,
    "'a b' cannot name a kernel library (letters, digits and _ can; or a path)")
  error_has(function() lr.kernels(3) end, "lr.kernels: a name or a table {source=, name=} wanted, a number given")
  error_has(function() lr.kernels() end, "lr.kernels: a name or a table {source=, name=} wanted, nil given")
end)

-- ---- from source ----------------------------------------------------------------------------------------------

test("fields of the table", function()
  error_has(function() lr.kernels{name = "x"} end, "lr.kernels: field 'source': a string wanted, nil given")
  error_has(function() lr.kernels{source = 3, name = "x"} end,
    "lr.kernels: field 'source': a string wanted, a number given")
  error_has(function() lr.kernels{source = small} end, "lr.kernels: field 'name': a string wanted, nil given")
  error_has(function() lr.kernels{source = small, name = "a/b"} end,
    "'a/b' cannot name a kernel library (letters, digits and _ can)")
  error_has(function() lr.kernels{source = small, name = "x", flag = "-O3"} end,
    "lr.kernels: unknown field 'flag'; it knows source, name, flags")
  error_has(function() lr.kernels{source = small, name = "x", flags = "-O3"} end,
    "lr.kernels: field 'flags': a table of strings wanted, a string given")
  error_has(function() lr.kernels{source = small, name = "x", flags = {"-O3", 3}} end,
    "lr.kernels: field 'flags': item 2: a string wanted, a number given")
end)

test("flags reach the compiler, and are part of what is cached", function()
  local source = "#include <luarun/kernel.h>\nstatic int v(lr_call *c) { return lr_return_number(c, V); }\n"
    .. 'LR_KERNELS({"v", v, 0, 0, {0}})\n'
  local two = lr.kernels{source = source, name = "flagged", flags = {"-DV=2"}}
  local three = lr.kernels{source = source, name = "flagged", flags = {"-DV=3"}}
  eq({two.v():get(), three.v():get()}, {2, 3})
end)

test("the compiler's errors come with its lines", function()
  local done, err = pcall(lr.kernels, {source = "#include <luarun/kernel.h>\nint x = ;\n", name = "broken"})
  eq(done, false)
  ok(err:find("kernel library 'broken' does not compile:\nbroken.c:2:9: error: ", 1, true), err)
  ok(err:find("int x = ;", 1, true), err)
  ok(not err:find("build-", 1, true), "no temporary directory in it: " .. err)
  local many = {}
  for i = 1, 200 do many[i] = "int x" .. i .. " = ;" end
  local _, long = pcall(lr.kernels, {source = table.concat(many, "\n"), name = "broken"})
  local _, lines = long:gsub("\n", "")
  ok(lines <= 22, lines .. " lines")
  ok(long:find("\n%.%.%.$"), long)
end)

test("compiled once, then taken from the cache, whatever the process", function()
  local cache = scratch .. "/cache2"
  local cc = write(scratch .. "/counting-cc", "#!/bin/sh\necho x >> " .. scratch .. "/compiles\nexec cc \"$@\"\n")
  sh("chmod +x " .. cc)
  local source = "print(require'luarun'.kernels{source = [=[" .. small .. "]=], name = 'small'}.one():get())"
  local environment = "XDG_CACHE_HOME=" .. cache .. " CC=" .. cc
  for _ = 1, 3 do
    local out, status = child(source, nil, environment)
    eq(status, 0, out)
    eq(out, "1\n")
  end
  eq(read(scratch .. "/compiles"), "x\n")
  eq((sh("stat -c %a " .. cache .. "/luarun/kernels")), "700\n")
end)

test("processes that compile the same at once do not disturb each other", function()
  local cache = scratch .. "/cache3"
  local path = write(scratch .. "/together.lua", "print(require'luarun'.kernels{source = [=[" .. small
    .. "]=], name = 'small'}.one():get())")
  local commands = {}
  for i = 1, 4 do
    commands[i] = ("XDG_CACHE_HOME=%s timeout 60 %s --workers 1 %s &"):format(cache, quote(program), path)
  end
  eq((sh(table.concat(commands, " ") .. " wait")), "1\n1\n1\n1\n")
  local left = sh("ls " .. cache .. "/luarun/kernels")
  ok(left:find("^%x+%.so\n$"), left)
end)

test("no compiler: said plainly", function()
  local source = "require'luarun'.kernels{source = [=[" .. small .. "\n/* none */]=], name = 'small'}"
  local out, status = child(source, nil, "CC=no-such-cc")
  eq(status, 1)
  ok(out:find("script%d+%.lua:1: kernel library 'small' cannot be compiled: there is no compiler 'no%-such%-cc' "
    .. "%(install gcc or clang, or set CC%)\n"), out)
  out, status = child(source, nil, "CC=" .. scratch)
  eq(status, 1)
  ok(out:find("kernel library 'small' cannot be compiled: " .. scratch .. " cannot be run: Permission denied",
    1, true), out)
end)

-- ---- crashes --------------------------------------------------------------------------------------------------

local function shm() return (sh("ls -A /dev/shm | grep luarun")) end

local function crash_script(call)
  return "local lr = require 'luarun'\nlocal k = lr.kernels{source = io.open('" .. fixtures
    .. "/testkernels.c'):read('*a'), name = 'testkernels'}\nlocal big = lr.put(lr.tensor('f64', {1000000}))\n"
    .. "io.write('before\\n') io.flush()\n" .. call .. "\nprint('after')\n"
end

test("a crash names kernel and signal, then takes its usual course", function()
  local probe, traced = child("print(1)", nil, "ASAN_OPTIONS=help=1")
  if traced == 0 and probe:find("AddressSanitizer") then
    return check.skip("crashes", "a sanitizer's handlers come first")
  end
  local cases = {
    {"k.crash():get()", 128 + 11, "SIGSEGV (invalid memory access) at 0x10\n"},
    {"k.crash(2):get()", 128 + 6, "SIGABRT (abort)\n"},
    {"k.crash(3):get()", 128 + 8, "SIGFPE (integer division by zero or overflow)\n"},
    {"k.crash:here()", 128 + 11, "SIGSEGV (invalid memory access) at 0x10\n"},
    {"lr.remote(function() return k.crash:here() end)():get()", 128 + 11, "SIGSEGV (invalid memory access) at 0x10\n"},
  }
  for _, case in ipairs(cases) do
    -- the signal itself, not a status that looks like it: timeout would hide it
    script_count = script_count + 1
    local path = write(("%s/script%d.lua"):format(scratch, script_count), crash_script(case[1]))
    local out, status = sh(("ulimit -c 0; %s --workers 2 %s"):format(quote(program), path))
    eq(status, case[2], out)
    ok(out:find("^before\n"), out)
    ok(out:find("luarun: kernel testkernels.crash crashed: " .. case[3], 1, true), out)
    ok(not out:find("after", 1, true), out)
    local _, reports = out:gsub("luarun: kernel", "")
    eq(reports, 1, out)
  end
  eq(shm(), "")
end)

test("a kernel that never looks: ^C ends the program at once, in a task and in place", function()
  local calls = {"k.loop():get()", "k.loop:here()"}
  if os.getenv("LR_SANITIZED") == "tsan" then
    check.skip("^C in place", "ThreadSanitizer holds a signal back until the thread calls libc, and this one never does")
    calls[2] = nil
  end
  for _, call in ipairs(calls) do
    local mark = scratch .. "/running"
    os.remove(mark)
    local source = [[
local lr = require "luarun"
local k = lr.kernels{source = [=[
#include <luarun/kernel.h>
#include <stdio.h>
static int loop(lr_call *call)
{
    volatile int on = 1;
    (void)call;
    fclose(fopen("]] .. mark .. [[", "w"));
    while (on) {
    }
    return LR_OK;
}
LR_KERNELS({"loop", loop, NULL, NULL, {0}})
]=], name = "loop"}
]] .. call
    local path = write(scratch .. "/loop.lua", source)
    local out, status = sh(("%s --workers 2 %s & pid=$!; i=0; while [ ! -e %s ] && [ $i -lt 1000 ]; do sleep 0.02; "
      .. "i=$((i+1)); done; start=$(date +%%s%%N); kill -INT $pid; wait $pid; rc=$?; end=$(date +%%s%%N); "
      .. "echo took $(((end - start) / 1000000)); (exit $rc)"):format(quote(program), path, mark))
    eq(status, 130, out)
    ok(tonumber(out:match("took (%d+)")) < 3000, out)
  end
  eq(shm(), "")
end)

sh("rm -rf " .. quote(scratch))
check.done()
