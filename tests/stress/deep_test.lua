-- Depth and length: get nested 100,000 deep, chains of a million dependents that end well and that fail, a million tasks
-- with random dependencies whose sums are worked out beside them. Each in bounded memory.

local lr = require "luarun"
local check = require "check"

local LIMIT_S = 100
local MIB = 1024

--- Resident memory of this process in KiB, now.
local function resident_kib()
  local file = assert(io.open("/proc/self/status"))
  local text = file:read("*a")
  file:close()
  return tonumber(text:match("VmRSS:%s*(%d+) kB"))
end

check.test("get nested 100,000 deep finishes, in under 1 GiB", function()
  local nest
  nest = lr.remote(function(n)
    if n == 0 then return 0 end
    return nest(n - 1):get() + 1
  end)
  local before = resident_kib()
  local f = nest(100000)
  check.eq((f:get(LIMIT_S)), 100000)
  check.ok(resident_kib() - before < 1024 * MIB, "KiB more: " .. resident_kib() - before)
end)

check.test("get nested 100,000 deep that fails at the bottom", function()
  local nest
  nest = lr.remote(function(n)
    if n == 0 then error("bottom", 0) end
    return nest(n - 1):get() + 1
  end)
  local ok, err = nest(100000):pget(LIMIT_S)
  check.eq({ ok, err.message, err.code }, { false, "bottom", "error" })
end)

check.test("a chain in which each task starts the next, 300,000 long, keeps no more than a few", function()
  local step
  step = lr.remote(function(n, done) if n > 0 then step(n - 1, done) end end)
  local before = resident_kib()
  step(300000)
  local deadline = lr.now() + LIMIT_S
  while lr.stats().finished < lr.stats().submitted and lr.now() < deadline do lr.sleep(0.01) end
  check.eq(lr.stats().finished, lr.stats().submitted)
  check.ok(resident_kib() - before < 100 * MIB, "KiB more: " .. resident_kib() - before)
end)

check.test("a chain of a million dependents", function()
  local add = lr.remote(function(a) return a + 1 end)
  local gate = lr.remote(function() lr.sleep(0.05) return 0 end)()
  local f = gate
  for _ = 1, 1000000 do f = add(f) end
  check.eq((f:get(LIMIT_S)), 1000000)
end)

check.test("a chain of a million dependents whose first fails", function()
  local add = lr.remote(function(a) return a + 1 end, { name = "add" })
  local gate = lr.remote(function() lr.sleep(0.05) error("first", 0) end, { name = "gate" })()
  local f = gate
  for _ = 1, 1000000 do f = add(f) end
  local ok, err = f:pget(LIMIT_S)
  check.eq({ ok, err.code, err.function_name }, { false, "error", "add" })
  local depth, e = 0, err
  while e.cause do depth, e = depth + 1, e.cause end
  check.eq(e.message, "first")
  check.ok(depth < 20)
end)

check.test("a chain of 900,000 dependents whose first is cancelled", function()
  local add = lr.remote(function(a) return a + 1 end)
  local gate = lr.remote(function() lr.sleep(60) end)()
  local f = gate
  for _ = 1, 900000 do -- more than max-pending would wait for the gate
    f = add(f)
  end
  gate:cancel()
  local ok, err = f:pget(LIMIT_S)
  check.eq({ ok, err.code }, { false, "cancelled" })
end)

check.test("a million dependents of one task", function()
  local add = lr.remote(function(a, i) return a + i end)
  local gate = lr.remote(function() lr.sleep(0.05) return 1 end)()
  local list = {}
  for i = 1, 1000000 do list[i] = add(gate, i) end
  local sum = 0
  for i = 1, 1000000 do sum = sum + list[i]:get(LIMIT_S) end
  check.eq(sum, 1000000 * 1000001 / 2 + 1000000)
end)

check.test("a million tasks with random dependencies have the right sums", function()
  local N, MOD = 1000000, 16777213
  local sum = lr.remote(function(k, a, b, c) return (k + a + (b or 0) * 3 + (c or 0) * 5) % 16777213 end)
  math.randomseed(12345)
  local random = math.random
  local values, futures = { 1 }, { lr.put(1) }
  local start = lr.now()
  for i = 2, N do
    local kind = random(3)
    -- near ones make chains, far ones keep old futures in use
    local function pick() return random(4) == 1 and random(i - 1) or random(math.max(1, i - 50), i - 1) end
    local a, b, c = pick(), kind > 1 and pick() or nil, kind > 2 and pick() or nil
    values[i] = (i + values[a] + (b and values[b] or 0) * 3 + (c and values[c] or 0) * 5) % MOD
    futures[i] = sum(i, futures[a], b and futures[b], c and futures[c])
  end
  local wrong = 0
  for i = 1, N do if futures[i]:get(LIMIT_S) ~= values[i] then wrong = wrong + 1 end end
  check.eq(wrong, 0)
  check.ok(lr.now() - start < 60, "seconds: " .. lr.now() - start)
end)

check.done()
