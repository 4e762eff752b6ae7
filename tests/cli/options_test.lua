-- luarun's own options: every one with good values and bad ones, the exact words of each refusal, and what is
-- documented but not built yet.

package.path = "tests/cli/?.lua;tests/lua/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local refused = kit.refused
local hint = " (luarun --help lists the options)"

---Runs a chunk under options and returns what it printed.
local function prints(options, chunk, wanted, message)
  local words = {}
  for i, word in ipairs(options) do words[i] = word end
  words[#words + 1], words[#words + 2] = "-e", chunk
  words.env = options.env
  local r = kit.run(words)
  check.eq(r.out, wanted .. "\n", message or r.err)
  check.eq(r.status, 0)
  return r
end

local function say(name) return "print(require('luarun').stats()." .. name .. ")" end

---Each value of an option refused with these words after "luarun: --name: ".
local function all_refused(name, wanted, values)
  for _, value in ipairs(values) do
    local line = ("luarun: --%s: %s wanted, '%s' given"):format(name, wanted, value)
    refused({ "--" .. name, value, "-e", "print 1" }, line)
    refused({ "--" .. name .. "=" .. value, "-e", "print 1" }, line)
  end
end

check.test("--workers", function()
  prints({ "--workers", "3" }, say "workers", "3")
  prints({ "--workers=1" }, say "workers", "1")
  prints({ "--workers=0" }, say "workers", "0")
  prints({ "--workers=0x10" }, say "workers", "16")
  prints({ "--workers", "1", "--workers", "2" }, say "workers", "2", "the last one counts")
  prints({ "--workers", "1" }, "print(require('luarun').resources().cpu)", "1")
  all_refused("workers", "a whole number from 0 to 1024", { "x", "-1", "", " 1", "1.5", "1025", "2x", "1e99", "nan" })
end)

check.test("--workers 0: tasks cannot run", function()
  local r = kit.run { "--workers", "0", "-e", "local f = require('luarun').remote(function() end)()" }
  check.eq(r.err:match("^[^\n]*"), "luarun: (command line):1: there is no worker to run tasks (--workers 0)")
  check.eq(r.status, 1)
end)

check.test("--workers by default: the cores this process may use", function()
  local cores = kit.shell("nproc")
  prints({}, say "workers", cores)
  local r = kit.run { "-c", "0", kit.luarun, "-e", say "workers", program = "taskset" }
  check.eq(r.out, "1\n", r.err)
end)

check.test("--seed", function()
  local draw = "local lr = require 'luarun' print(lr.remote(function() return math.random(1e9) end)():get())"
  local first = kit.run { "--seed", "5", "-e", draw }
  check.eq(first.status, 0, first.err)
  check.eq(kit.run({ "--seed=5", "--workers=1", "-e", draw }).out, first.out, "the same seed, one worker")
  check.ok(kit.run({ "--seed", "6", "-e", draw }).out ~= first.out, "another seed")
  check.ok(kit.run({ "-e", draw }).out ~= kit.run({ "-e", draw }).out, "a seed by chance each time")
  prints({ "--seed", "0" }, say "seed", "0")
  kit.run({ "--seed", "18446744073709551615", "-e", draw })
  all_refused("seed", "a whole number from 0 to 2^64-1", { "x", "-1", "", "1.5", "18446744073709551616" })
end)

check.test("--verbose tells the seed and the workers", function()
  local r = kit.run { "--verbose", "--seed", "7", "--workers", "2", "-e", "require 'luarun'" }
  check.eq(r.err, "luarun: seed 7, 2 workers\n")
  r = kit.run { "--verbose", "-e", say "seed" }
  check.ok(r.err:match("^luarun: seed %d+, %d+ workers\n$"), r.err)
end)

check.test("--store-bytes", function()
  prints({ "--store-bytes", "1G" }, "print 'ok'", "ok")
  for _, size in ipairs { "100000000", "64M", "64MB", "64MiB", "0.5G", "1e8", "512k" } do
    prints({ "--store-bytes=" .. size }, "print 'ok'", "ok", size)
  end
  all_refused("store-bytes", "a size in bytes (500000000, 512K, 64M, 2G)", { "0", "x", "", "-1", "5X", "1e400", "5MM" })
end)

check.test("--store-bytes is a limit", function()
  local r = kit.run { "--store-bytes=1M", "-e", "require('luarun').tensor('f64', {1000000})" }
  check.eq(r.status, 1)
  check.eq(r.err:match("^[^\n]*"), "luarun: (command line):1: 8.0 MB asked: this can never fit the object store, "
    .. "whose capacity is 1.0 MB (--store-bytes)")
  r = kit.run { "--store-bytes=16M", "-e", "print(#require('luarun').tensor('f64', {1000000}))" }
  check.eq(r.out, "1000000\n", r.err)
end)

check.test("--max-pending", function()
  prints({ "--max-pending", "1" }, [[
    local lr, list = require 'luarun', {}
    local one = lr.remote(function() return 1 end)
    for i = 1, 100 do list[i] = one() end
    print(#lr.get(list))]], "100")
  all_refused("max-pending", "a whole number of at least 1", { "0", "x", "", "-5", "1.5" })
end)

check.test("--resources", function()
  prints({ "--resources", "gpu=2,tpu=0.5" }, [[
    local r = require('luarun').resources()
    print(r.gpu, r.tpu)]], "2\t0.5")
  prints({ "--resources=" }, "print(require('luarun').resources().tpu)", "nil")
  local function no(value, why) refused({ "--resources", value }, "luarun: --resources: " .. why) end
  no("tpu", "'tpu': expected name=amount, as in gpu=2,tpu=0.5")
  no("a=1,,b=2", "'': expected name=amount, as in gpu=2,tpu=0.5")
  no("tpu=x", "'tpu=x': the amount must be a number from 0 with up to 4 decimals")
  no("tpu=-1", "'tpu=-1': the amount must be a number from 0 with up to 4 decimals")
  no("tpu=0.00001", "'tpu=0.00001': the amount must be a number from 0 with up to 4 decimals")
  no("=1", "'=1': a name is 1 to 31 letters, digits, '_', '-' or '.', and begins with no digit")
  no("1a=1", "'1a=1': a name is 1 to 31 letters, digits, '_', '-' or '.', and begins with no digit")
  no("a=1,a=2", "'a=2': named twice")
  no("cpu=3", "cpu is the number of workers; set that")
  no(("a"):rep(600) .. "=1", "a text of at most 511 bytes wanted, 602 given")
  local many = {}
  for i = 1, 14 do many[i] = "r" .. i .. "=1" end
  no(table.concat(many, ","), "'r14=1': there is room for 13 named resources only")
end)

check.test("--procs", function()
  prints({ "--procs", "1" }, "print 'ok'", "ok")
  all_refused("procs", "a whole number of at least 1", { "0", "x", "" })
  all_refused("procs", "a whole number from 1 to 64", { "65", "1000000" })
  prints({ "--procs", "2" }, "print 'ok'", "ok") -- without a task none is started
end)

check.test("--cluster and LUARUN_CLUSTER", function()
  prints({ "--cluster", "redis://127.0.0.1:1" }, "print 'ok'", "ok") -- without a task nobody is asked
  local wanted = "redis://host:port, unix:///path or sentinel://host:port/name wanted"
  refused({ "--cluster", "http://x", "-e", "" }, "luarun: --cluster: " .. wanted)
  refused({ "-e", "", env = { LUARUN_CLUSTER = "http://x" } }, "luarun: LUARUN_CLUSTER: cluster: " .. wanted)
  refused({ "--cluster", "redis://127.0.0.1:6379x", "-e", "" },
    "luarun: --cluster: '127.0.0.1:6379x' is no host or host:port")
  refused({ "--cluster", "redis://h?cluster=a/b", "-e", "" },
    "luarun: --cluster: cluster: 1 to 32 letters, digits, _ - . wanted, 'a/b' given")
  refused({ "--cluster", "redis://" .. ("x"):rep(3000), "-e", "" },
    "luarun: --cluster: an address shorter than this one wanted")
  refused({ "--cluster", "redis://127.0.0.1:1", "--procs", "2", "-e", "" },
    "luarun: --cluster and --procs exclude each other: the cluster's nodes have processes of their own")
  prints({ "--procs", "2", env = { LUARUN_CLUSTER = "redis://127.0.0.1:1" } }, "print 'ok'", "ok")
  prints({ env = { LUARUN_CLUSTER = "" } }, "print 'ok'", "ok")
  prints({ "-E", env = { LUARUN_CLUSTER = "http://x" } }, "print 'ok'", "ok")
end)

check.test("node", function()
  refused({ "node" },
    "luarun: node: --cluster URL wanted: the cluster's Redis, as in --cluster redis://127.0.0.1:6379")
  refused({ "node", "--cluster", "tcp://127.0.0.1:1", "script.lua" },
    "luarun: node: no argument wanted, 'script.lua' given")
  refused({ "--cluster", "tcp://127.0.0.1:1", "-e", "" },
    "luarun: --cluster: a script joins a cluster by the address of its Redis (redis://host:port); tcp://127.0.0.1:1 is "
    .. "a node's")
  local r = kit.run { "node", "--cluster", "tcp://127.0.0.1:1" } -- nobody listens there
  check.eq({ r.out, r.status }, { "", 1 })
  check.ok(r.err:find("^luarun: node: [^\n]*tcp://127%.0%.0%.1:1[^\n]*\n$"), r.err)
end)

check.test("--trace is not built yet", function()
  refused({ "--trace", kit.folder .. "/trace", "-e", "" },
    "luarun: --trace: the timeline is not in this version (0.1.0)")
  check.eq(kit.read(kit.folder .. "/trace"), nil)
end)

check.test("--version", function()
  local r = kit.run { "--version", "-e", "print 1" }
  check.ok(r.out:find("^luarun 0%.1%.0 %(LuaJIT 2%.1[^\n]*%)\n$"), r.out)
  check.eq({ r.err, r.status }, { "", 0 })
end)

check.test("--help names every option", function()
  local r = kit.run { "--help" }
  check.eq({ r.err, r.status }, { "", 0 })
  for _, name in ipairs { "workers", "resources", "seed", "store-bytes", "max-pending", "procs", "verbose", "version",
    "help" } do
    check.ok(r.out:find("--" .. name, 1, true), name)
  end
  for _, letter in ipairs { "e", "l", "j", "i", "v", "E" } do check.ok(r.out:find("\n  -" .. letter, 1, true), letter) end
  for line in r.out:gmatch("[^\n]+") do check.ok(#line <= 100, line) end
end)

check.test("an option that wants a value at the end of the line", function()
  for _, name in ipairs { "workers", "cluster", "procs", "resources", "seed", "trace", "store-bytes", "max-pending" } do
    refused({ "--" .. name }, "luarun: --" .. name .. " wants a value" .. hint)
  end
end)

check.test("an option that takes no value", function()
  for _, name in ipairs { "verbose", "version", "help" } do
    refused({ "--" .. name .. "=1" }, "luarun: --" .. name .. " takes no value" .. hint)
  end
end)

check.test("unknown long options", function()
  for _, word in ipairs { "--nope", "--nope=3", "--workersx", "--work", "--=3", "--Workers=1", "--store_bytes=1M",
    "--" .. ("x"):rep(50) } do
    refused({ word, "-e", "print 1" }, "luarun: unknown option '" .. word .. "'" .. hint)
  end
  refused({ "--" .. ("x"):rep(100) }, "luarun: unknown option '--" .. ("x"):rep(58) .. "'" .. hint)
end)

check.test("options after the script are the script's", function()
  local script = kit.file("script.lua", "print(...)")
  check.eq(kit.run({ script, "--workers", "x", "--nope", "-e" }).out, "--workers\tx\t--nope\t-e\n")
end)

check.test("a mistake in a later option: nothing has run", function()
  refused({ "-e", "print 1", "--workers", "x" },
    "luarun: --workers: a whole number from 0 to 1024 wanted, 'x' given")
end)

check.test("commands are not built yet", function()
  for _, name in ipairs { "explain", "replay", "timeline", "logs",
    "profile", "doctor" } do
    refused({ name, "--json" },
      ("luarun: '%s' is not in this version (a script of that name is run as ./%s)"):format(name, name))
  end
end)

check.test("a script with a command's name runs as ./NAME or after --", function()
  kit.file("up", "print('my own up', ...)")
  check.eq(kit.run({ "./up", "x" }).out, "my own up\tx\n")
  check.eq(kit.run({ "--", "up", "x" }).out, "my own up\tx\n")
end)

kit.done()
