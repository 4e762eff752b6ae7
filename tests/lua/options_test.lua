-- Options of tasks: priority, resources, deadline, timeout, retries and what they refuse at once.
-- Programs with other resources or numbers of workers are run as children.

local lr = require "luarun"
local check = require "check"
local programs = require "child"

local WAIT_S = 30

local echo = lr.remote(function(...) return ... end)
local sleeper = lr.remote(function(s) lr.sleep(s or 60) return "slept" end)

--- What a child program prints; it must end well, and in time.
local function child(options, chunk)
  return programs.sh(("timeout 60 %s %s -e %s"):format(programs.quote(programs.program), options,
    programs.quote(chunk)))
end

local function prints(options, chunk, wanted)
  local out, status = child(options, "local lr = require 'luarun'\n" .. chunk)
  check.eq({ out, status }, { wanted, 0 })
end

check.test("infeasible at once, with resource, asked and best offer", function()
  local workers = lr.resources().cpu
  local function infeasible(options, text)
    local ok, err = echo:with(options)(1):pget(WAIT_S)
    check.eq({ ok, err.code, err.message }, { false, "infeasible", text })
  end
  infeasible({ resources = { unicorn = 2 } },
    "unicorn: 2 asked, the most a node offers is 0 (start luarun with --resources unicorn=2)")
  infeasible({ cpu = workers + 1 },
    ("cpu: %d asked, the most a node offers is %d (start luarun with --workers %d)"):format(workers + 1, workers, workers + 1))
  infeasible({ gpu = 99 }, ("gpu: 99 asked, the most a node offers is %d (start luarun with --resources gpu=99)")
    :format(lr.resources().gpu))
  infeasible({ node = ("0"):rep(31) .. "1" },
    "node: 00000000000000000000000000000001 asked, there is no such node (lr.nodes() lists them)")
end)

check.test("an infeasible task fails its dependents, in a task too", function()
  local never = echo:with { resources = { unicorn = 1 } }
  local ok, err = echo(never(1)):pget(WAIT_S)
  check.eq({ ok, err.code, err.cause.code }, { false, "infeasible", "infeasible" })
  local f = lr.remote(function(rf) local _, e = rf(1):pget() return e.code end)
  check.eq((f(never):get(WAIT_S)), "infeasible")
end)

check.test("what a node has runs", function()
  for _, options in ipairs {
    { cpu = 0 }, { cpu = 0.5 }, { cpu = 1 }, { cpu = lr.resources().cpu }, { memory = 1e6 }, { node = "spread" },
    { resources = { unicorn = 0 } }, { gpu = 0 }, { priority = 5 }, { priority = -5 }, { deadline = 30 },
    { timeout = 30 }, { retries = 0 }, { retries = 10 }, { pure = true }, { name = "x", priority = 1 },
  } do
    check.eq({ echo:with(options)(1, nil, 3):get(WAIT_S) }, { 1, nil, 3 })
  end
  local here = lr.remote(function() return lr.task().node end)
  check.eq((here:with { node = here():get(WAIT_S) }():get(WAIT_S)), (here():get()))
end)

check.test("named resources are never promised twice", function()
  prints("--workers 4 --resources tpu=2,license=1", [[
    local t = lr.remote(function() lr.sleep(0.02) return lr.now() - 0.02, lr.now() end, {resources = {tpu = 1}})
    local list = {}
    for i = 1, 8 do list[i] = t() end
    local spans = {}
    for i, f in ipairs(list) do spans[i] = {f:get()} end
    local most = 0
    for i = 1, 8 do
      local at, n = (spans[i][1] + spans[i][2]) / 2, 0
      for k = 1, 8 do if spans[k][1] < at and at < spans[k][2] then n = n + 1 end end
      most = math.max(most, n)
    end
    print(most <= 2, lr.resources().tpu, lr.resources().license)
    print(lr.remote(function() return 1 end, {resources = {tpu = 2, license = 1}})():get(20))]],
    "true\t2\t1\n1\n")
end)

check.test("with one worker, larger priorities first, equal ones in order of submission", function()
  prints("--workers 1", [[
    local running = lr.remote(function() lr.sleep(0) local t = lr.now() while lr.now() - t < 0.2 do end end, {priority = 9})()
    while running:state() ~= "running" do lr.sleep(0.001) end
    local t = lr.remote(function(n) return n, lr.now() end)
    local list = {}
    for i, p in ipairs {1, 5, -3, 5, 3, -3, 1} do
      list[i] = t:with{priority = p}(i)
    end
    local got = {}
    for i, f in ipairs(list) do local n, at = f:get(20) got[i] = {n, at} end
    table.sort(got, function(a, b) return a[2] < b[2] end)
    for i, g in ipairs(got) do got[i] = g[1] end
    print(table.concat(got, " "))]], "2 4 5 1 7 3 6\n")
end)

check.test("a larger priority goes before plain tasks, a smaller one after them", function()
  prints("--workers 1", [[
    local running = lr.remote(function() local t = lr.now() while lr.now() - t < 0.2 do end end)()
    while running:state() ~= "running" do lr.sleep(0.001) end
    local t = lr.remote(function() return lr.now() end)
    local low, plain, high = t:with{priority = -1}(), t(), t:with{priority = 1}()
    local l, p, h = low:get(20), plain:get(20), high:get(20)
    print(h < p, p < l)]], "true\ttrue\n")
end)

check.test("a larger priority goes before what is handed out already and has not begun", function()
  prints("--workers 2", [[
    local busy = lr.remote(function() local t = lr.now() while lr.now() - t < 0.2 do end end)
    local running = {busy(), busy()}
    while running[1]:state() ~= "running" or running[2]:state() ~= "running" do lr.sleep(0.001) end
    local t = lr.remote(function() local at = lr.now() while lr.now() - at < 0.01 do end return at end)
    local list = {}
    for i, p in ipairs {1, 2, -1, -2, 3, 9, 4} do list[i] = t:with{priority = p}() end
    local at = lr.get(list, 20)
    local first, last = math.max(at[6], at[7]), math.min(at[3], at[4])
    print(first < at[1] and first < at[2], last > at[1] and last > at[2] and last > at[5])]], "true\ttrue\n")
end)

check.test("deadline: a task that cannot start in time fails and frees its place", function()
  prints("--workers 1", [[
    local running = lr.remote(function() local t = lr.now() while lr.now() - t < 0.3 do end end)()
    while running:state() ~= "running" do lr.sleep(0.001) end
    local start = lr.now()
    local late = lr.remote(function() return 1 end, {deadline = 0.05, name = "late"})()
    local ok, err = late:pget(20)
    local took = lr.now() - start
    print(ok, err.code, took >= 0.05, running:is_ready(), late:state())
    print(err.message:match("^not started 0%.0%d+ s after it was submitted: waited for its turn$") and "its turn" or err.message)]],
    "false\tdeadline\ttrue\tfalse\tfailed\nits turn\n")
end)

check.test("deadline: waiting for a resource names it", function()
  prints("--workers 2 --resources tpu=1", [[
    local holder = lr.remote(function() lr.sleep(60) end, {resources = {tpu = 1}})()
    while holder:state() ~= "running" do lr.sleep(0.001) end
    local _, err = lr.remote(function() end, {resources = {tpu = 1}, deadline = 0.03})():pget(20)
    print(err.code, (err.message:gsub("%d%.%d+", "T")))
    holder:cancel()
    print(lr.remote(function() return "free" end, {resources = {tpu = 1}})():get(20))]],
    "deadline\tnot started T s after it was submitted: waited for tpu (1 asked, 0 free)\nfree\n")
end)

check.test("deadline: inputs that come too late", function()
  local ok, err = echo:with { deadline = 0.02 }(sleeper(0.1)):pget(WAIT_S)
  check.eq({ ok, err.code }, { false, "deadline" })
end)

check.test("deadline: one that starts in time may run longer", function()
  check.eq((sleeper:with { deadline = 5 }(0.02):get(WAIT_S)), "slept")
end)

check.test("timeout of the run: a sleeping and a computing task are stopped", function()
  local start = lr.now()
  local ok, err = sleeper:with { timeout = 0.03, name = "napper" }():pget(WAIT_S)
  check.eq({ ok, err.code, err.message, err.function_name },
    { false, "timeout", "it ran longer than its timeout of 0.03 s", "napper" })
  check.ok(lr.now() - start >= 0.03)
  local spin = lr.remote(function() while true do lr.checkpoint() end end, { timeout = 0.03 })
  ok, err = spin():pget(WAIT_S)
  check.eq({ ok, err.code }, { false, "timeout" })
  check.eq((echo(1):get(WAIT_S)), 1)
end)

check.test("timeout: does not count the time before the run", function()
  local slow = sleeper(0.05)
  check.eq((echo:with { timeout = 0.04 }(slow):get(WAIT_S)), "slept")
end)

check.test("timeout: children of a stopped task are cancelled", function()
  local seen
  local f = lr.remote(function(s) local c = s() lr.progress(1, 2) c:get() end, { timeout = 0.05 })
  local ok, err = f(sleeper):pget(WAIT_S)
  seen = { ok, err.code }
  check.eq(seen, { false, "timeout" })
end)

check.test("retry_on_error: so many attempts more, told by lr.task and err.attempts", function()
  local f = lr.remote(function(good)
    local n = lr.task().attempt
    if n < good then error("attempt " .. n, 0) end
    return n
  end)
  check.eq((f:with { retry_on_error = 3 }(3):get(WAIT_S)), 3)
  check.eq((f:with { retry_on_error = 2 }(3):get(WAIT_S)), 3)
  local ok, err = f:with { retry_on_error = 1 }(3):pget(WAIT_S)
  check.eq({ ok, err.message, err.attempts }, { false, "attempt 2", 2 })
  ok, err = f:with { retry_on_error = false }(2):pget(WAIT_S)
  check.eq({ ok, err.message, err.attempts }, { false, "attempt 1", 1 })
  check.eq((f:with { retry_on_error = 5, priority = 1, timeout = 20, deadline = 20, returns = 2 }(4):get(WAIT_S)), 4)
end)

check.test("retry_on_error: an attempt has the same arguments, inputs, children and numbers as the one before", function()
  prints("--workers 1", [[
    local id = lr.remote(function() return lr.task().id end)
    local seen = {}
    local f = lr.remote(function(child, t, input)
      seen[#seen + 1] = table.concat({t[1], input, math.random(1e9), (child():get()), (child():get())}, " ")
      t[1] = "changed"
      if lr.task().attempt < 3 then error("again") end
      return seen
    end, {retry_on_error = 2})
    local s = f(id, {"as sent"}, lr.put("in")):get(20)
    print(#s, s[1] == s[2], s[2] == s[3], s[1]:match("^as sent in %d+ %x+ %x+$") ~= nil)]], "3\ttrue\ttrue\ttrue\n")
end)

check.test("retry_on_error: infeasible, cancelled and timed out tasks are not tried again", function()
  local _, err = echo:with { retry_on_error = 5, resources = { unicorn = 1 } }():pget(WAIT_S)
  check.eq({ err.code, err.attempts }, { "infeasible", 1 })
  _, err = sleeper:with { retry_on_error = 5, timeout = 0.02 }():pget(WAIT_S)
  check.eq({ err.code, err.attempts }, { "timeout", 1 })
  local f = sleeper:with { retry_on_error = 5 }()
  f:cancel()
  _, err = f:pget(WAIT_S)
  check.eq(err.code, "cancelled")
end)

check.test("cpu > 1: several at once, waiting for children, with fractions", function()
  for _, row in ipairs { { 2, 2 }, { 3, 1.5 }, { 3, 2 }, { 4, 2 }, { 4, 4 }, { 2, 0 }, { 2, 0.25 } } do
    prints("--workers " .. row[1], ([[
      local child = lr.remote(function(v) lr.sleep(0.001) return v end)
      local wide = lr.remote(function(c, v)
        lr.yield()
        local w = coroutine.wrap(function() return c(v):get() end)()
        return w + c(0):get()
      end, {cpu = %s})
      local list = {}
      for i = 1, 20 do list[i] = wide(child, i) end
      local sum = 0
      for i = 1, 20 do sum = sum + list[i]:get(40) end
      print(sum)]]):format(row[2]), "210\n")
  end
end)

check.test("cpu = all workers: nothing plain runs beside it", function()
  prints("--workers 3", [[
    local stop = lr.put(1)
    local wide = lr.remote(function()
      local from = lr.now()
      while lr.now() - from < 0.05 do end
      return from, lr.now()
    end, {cpu = 3})
    local plain = lr.remote(function()
      local from = lr.now()
      while lr.now() - from < 0.002 do end
      return from, lr.now()
    end)
    local list = {}
    for i = 1, 60 do list[i] = plain() end
    local w = {wide(), wide()}
    for i = 61, 120 do list[i] = plain() end
    local overlaps = 0
    for _, f in ipairs(w) do
      local from, to = f:get(40)
      for _, p in ipairs(list) do
        local a, b = p:get(40)
        if a < to and b > from then overlaps = overlaps + 1 end
      end
    end
    print(overlaps)]], "0\n")
end)

check.test("0 workers: said at once", function()
  local out, status = child("--workers 0", "local lr = require 'luarun' lr.remote(function() end)()")
  check.eq(status, 1)
  check.ok(out:find("there is no worker to run tasks (--workers 0)", 1, true), out)
end)

check.test("max-pending: a submit waits, running other tasks; nothing is lost", function()
  for _, workers in ipairs { 1, 3 } do
    prints("--max-pending 50 --workers " .. workers, [[
      local one = lr.remote(function(x) return x end)
      local most, list = 0, {}
      for i = 1, 2000 do
        list[i] = one(i)
        if i % 10 == 0 then most = math.max(most, lr.stats().pending) end
      end
      local sum = 0
      for i = 1, 2000 do sum = sum + list[i]:get(40) end
      local many = lr.remote(function(rf, n)
        local l, s = {}, 0
        for i = 1, n do l[i] = rf(i) end
        for i = 1, n do s = s + l[i]:get() end
        return s
      end)
      local a, b = many(one, 5000), many(one, 5000)
      print(sum, most < 200, a:get(40), b:get(40))]], "2001000\ttrue\t12502500\t12502500\n")
  end
end)

check.test("a task that submits 300,000", function()
  local many = lr.remote(function(rf, n)
    local sum, last = 0, {}
    for i = 1, n do last[i % 1000] = rf(i) end
    for _, f in pairs(last) do sum = sum + f:get() end
    return sum
  end)
  local n = 300000
  check.eq((many(echo, n):get(60)), (n - 999 + n) * 1000 / 2)
end)

check.done()
