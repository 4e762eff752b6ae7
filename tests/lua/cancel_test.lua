-- Cancelling: queued, running, waiting in every way, with children and dependents.

local lr = require "luarun"
local check = require "check"

local WAIT_S = 30

local echo = lr.remote(function(...) return ... end)
local sleeper = lr.remote(function(s) lr.sleep(s or 60) return "slept" end)

local function until_true(fn, what)
  local deadline = lr.now() + WAIT_S
  while not fn() do
    if lr.now() > deadline then error("not in time: " .. what, 2) end
    lr.sleep(0.0005)
  end
end

local function running(f)
  until_true(function() return f:state() == "running" or f:is_ready() end, "running")
  check.eq(f:state(), "running")
  return f
end

--- The workers are all free again, and nothing of what was cancelled runs on.
local function all_ended(what)
  until_true(function() local s = lr.stats() return s.running == 0 and s.pending == 0 end, what)
end

local function is_cancelled(f, message)
  local ok, err = f:pget(WAIT_S)
  check.eq({ ok, err.code, err.message }, { false, "cancelled", message or "the task was cancelled" })
  check.eq(f:state(), "cancelled")
end

check.test("a queued task never runs", function()
  local n = lr.resources().cpu
  local spin = lr.remote(function() while not lr.cancelled() do end end)
  local busy = {}
  for i = 1, n do busy[i] = spin:with { priority = 1 }() end
  for i = 1, n do running(busy[i]) end
  local queued = {}
  for i = 1, 20 do queued[i] = lr.remote(function() error("it ran", 0) end)() end
  for i = 1, 20 do check.eq(queued[i]:state(), "queued") end
  lr.cancel(queued)
  for i = 1, 20 do is_cancelled(queued[i]) end
  lr.cancel(busy)
  all_ended("the busy ones stop")
  for i = 1, 20 do check.eq(queued[i]:state(), "cancelled") end
end)

if lr.stats().procs > 1 then
  check.skip("a queued task with a priority, and one that waits for a resource", "another process has room for it")
else
check.test("a queued task with a priority, and one that waits for a resource", function()
  local spin = lr.remote(function() while not lr.cancelled() do end end)
  local f = spin:with { cpu = lr.resources().cpu }()
  running(f)
  local g = echo:with { cpu = lr.resources().cpu, priority = 2 }(1)
  g:cancel()
  is_cancelled(g)
  f:cancel()
  is_cancelled(f)
  check.eq((echo:with { cpu = lr.resources().cpu }(3):get(WAIT_S)), 3)
end)
end

check.test("a get raises code cancelled at once; the body is told", function()
  local f = lr.remote(function()
    while not lr.cancelled() do end
    return "its value is thrown away"
  end)()
  running(f)
  f:cancel()
  check.ok(f:is_ready())
  is_cancelled(f)
  all_ended("the body stops")
  is_cancelled(f)
end)

check.test("lr.checkpoint, and every other lr call, raises in a cancelled task", function()
  for _, body in ipairs {
    function() while true do lr.checkpoint() end end,
    function() while true do lr.progress(1, 2) end end,
    function() while true do lr.yield() end end,
    function(rf) while true do rf(1) end end,
    function() while true do lr.put(1) end end,
    function() while true do lr.sleep(0) end end,
    function(_, f) while true do f[1]:pget() lr.get(f) end end,
    function(_, f) while true do lr.wait(f) lr.checkpoint() end end,
  } do
    local f = lr.remote(body)(echo, { echo(1) })
    f:cancel()
    local g = lr.remote(body)(echo, { echo(1) })
    running(g)
    g:cancel()
    is_cancelled(g)
  end
  all_ended("all of them stop")
end)

check.test("what waits is woken: sleep, get, wait, as_completed, a timeout not yet over", function()
  local slow = sleeper()
  for _, body in ipairs {
    function() lr.sleep(60) end,
    function(t) t[1]:get() end,
    function(t) t[1]:get(60) end,
    function(t) t[1]:pget() lr.checkpoint() end,
    function(t) lr.get(t) end,
    function(t) lr.wait(t) end,
    function(t) lr.wait(t, { timeout = 60 }) end,
    function(t) for _ in lr.as_completed(t) do end end,
    function(t) lr.all(t):get() end,
    function(t) coroutine.wrap(function() t[1]:get() end)() end,
    function(t) table.sort({ 1, 2 }, function() t[1]:get() end) end,
    function(t) (("x"):gsub("x", function() lr.wait(t) end)) () end,
  } do
    local f = lr.remote(body) { slow }
    running(f)
    f:cancel()
    is_cancelled(f)
  end
  check.eq(slow:is_ready(), false)
  slow:cancel()
  all_ended("nothing waits on")
end)


if lr.stats().procs > 1 then
  check.skip("children too, to any depth; their parents not", "counts what runs in this process")
else check.test("children too, to any depth; their parents not", function()
  local tree
  tree = lr.remote(function(depth)
    if depth == 0 then lr.sleep(60) end
    return lr.get { tree(depth - 1), tree(depth - 1) }
  end)
  local parent = lr.remote(function(t, d) local c = t(d) local ok, err = c:pget() return ok, err.code end)
  local f = tree(6)
  until_true(function() return lr.stats().running >= 127 end, "the tree is there")
  f:cancel()
  is_cancelled(f)
  all_ended("the whole tree ends")
  local g = lr.remote(function(t)
    local c = t(3)
    lr.sleep(0.01)
    c:cancel()
    local ok, err = c:pget()
    return ok, err.code, "parent"
  end)(tree)
  check.eq({ g:get(WAIT_S) }, { false, "cancelled", "parent" })
  all_ended("the child's tree ends")
  check.ok(parent)
end) end

check.test("children of a cancelled task that has ended are left alone", function()
  local f = lr.remote(function(s) return { s(0.05) } end)(sleeper)
  local child = f:get(WAIT_S)[1]
  f:cancel()
  check.eq((child:get(WAIT_S)), "slept")
  check.eq(f:state(), "ready")
end)

check.test("dependents fail with the cause kept", function()
  local f = sleeper:with { name = "napper" }()
  local g = echo:with { name = "user" }(1, f)
  local h = echo(g)
  f:cancel()
  local ok, err = g:pget(WAIT_S)
  check.eq({ ok, err.code, err.message, err.function_name },
    { false, "cancelled", "argument 2, the result of napper, is not there: it was cancelled", "user" })
  check.eq({ err.cause.code, err.cause.function_name }, { "cancelled", "napper" })
  ok, err = h:pget(WAIT_S)
  check.eq({ ok, err.code }, { false, "cancelled" })
end)

check.test("a dependent that is cancelled leaves its input alone", function()
  local f = sleeper(0.03)
  local g = echo(f)
  check.eq(g:state(), "waiting")
  g:cancel()
  is_cancelled(g)
  check.eq((f:get(WAIT_S)), "slept")
  check.eq(g:state(), "cancelled")
end)

check.test("twice, too late, of a put, of one result of several", function()
  local f = sleeper()
  f:cancel()
  f:cancel()
  is_cancelled(f)
  local g = echo(5)
  g:get()
  g:cancel()
  check.eq((g:get()), 5)
  local p = lr.put(1)
  p:cancel()
  check.eq((p:get()), 1)
  local a, b = sleeper:with { returns = 2 }()
  b:cancel()
  is_cancelled(a)
  is_cancelled(b)
end)

check.test("lr.cancel takes one future or a list", function()
  local list = {}
  for i = 1, 10 do list[i] = sleeper() end
  local one = sleeper()
  lr.cancel(list)
  lr.cancel(one)
  for i = 1, 10 do is_cancelled(list[i]) end
  is_cancelled(one)
  lr.cancel {}
end)

check.test("a task cancels its parent, and so itself", function()
  local slow = sleeper()
  local f = lr.remote(function(t)
    local inner = lr.remote(function(u) u[1]:cancel() return 1 end)
    return (inner(t):get())
  end) { slow }
  check.eq((f:get(WAIT_S)), 1)
  is_cancelled(slow)
end)

check.test("a thousand tasks cancelled from a thousand places, while they start and end", function()
  for _ = 1, 5 do
    local list, kinds = {}, {}
    for i = 1, 400 do
      list[i] = i % 3 == 0 and echo(i) or i % 3 == 1 and sleeper(0.001 * (i % 7)) or echo(list[i - 1])
    end
    for i = 1, 400, 2 do list[i]:cancel() end
    for i = 1, 400 do
      local ok, v = list[i]:pget(WAIT_S)
      kinds[ok and "value" or v.code] = (kinds[ok and "value" or v.code] or 0) + 1
    end
    local value, cancelled = kinds.value or 0, kinds.cancelled or 0
    check.eq(value + cancelled, 400)
  end
  all_ended("nothing is left")
end)

check.test("cancelling in the midst of submitting children", function()
  local spawn = lr.remote(function(rf)
    local list = {}
    for i = 1, 1e9 do list[i % 100 + 1] = rf(0.001) end
  end)
  for _ = 1, 20 do
    local f = spawn(sleeper)
    running(f)
    f:cancel()
    is_cancelled(f)
  end
  all_ended("all children end")
end)

check.done()
