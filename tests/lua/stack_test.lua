-- Waits where Lua cannot yield: in coroutines of the task's own, table.sort comparators, string.gsub callbacks,
-- whatever waits for whatever.

local lr = require "luarun"
local check = require "check"

local WAIT_S = 30

local one = lr.remote(function() return 1 end)
local slow = lr.remote(function(v) lr.sleep(0.02) return v end)

check.test("a get inside a coroutine of the task's own", function()
  local f = lr.remote(function(child)
    local values = {}
    for v in coroutine.wrap(function()
      for i = 1, 3 do coroutine.yield(child(i):get()) end
    end) do values[#values + 1] = v end
    return values
  end)
  check.eq(f(slow):get(WAIT_S), { 1, 2, 3 })
end)

check.test("a get inside a table.sort comparator", function()
  local f = lr.remote(function(child)
    local list = { 5, 3, 9, 1, 7, 2 }
    table.sort(list, function(a, b) return child(a):get() < child(b):get() end)
    return list
  end)
  check.eq(f(slow):get(WAIT_S), { 1, 2, 3, 5, 7, 9 })
end)

check.test("a get inside a string.gsub callback", function()
  local f = lr.remote(function(child) return (("a b c"):gsub("%a", function(c) return child(c .. c):get() end)) end)
  check.eq(f(slow):get(WAIT_S), "aa bb cc")
end)

check.test("a get inside pcall, xpcall, metamethods and iterators", function()
  local f = lr.remote(function(child)
    local t = setmetatable({}, {
      __index = function(_, k) return child(k):get() end,
      __add = function(_, v) return child(v):get() + 1 end,
      __call = function(_, v) return child(v):get() end,
    })
    local ok, v = pcall(function() return child(4):get() end)
    local ok2, v2 = xpcall(function() return child(5):get() end, debug.traceback)
    local sum = 0
    local function upto3(_, last)
      last = (last or 0) + 1
      return last <= 3 and child(last):get() or nil
    end
    for i in upto3 do sum = sum + i end
    return t.x, t + 1, t(3), ok, v, ok2, v2, sum
  end)
  local got = { f(slow):get(WAIT_S) }
  check.eq(got, { "x", 2, 3, true, 4, true, 5, 6 })
end)

check.test("an error crosses each of them", function()
  local bad = lr.remote(function() error("boom", 0) end)
  local f = lr.remote(function(child)
    local list = { 3, 1, 2 }
    local a = select(2, pcall(table.sort, list, function() return child():get() end))
    local b = select(2, pcall(string.gsub, "x", "x", function() return child():get() end))
    local c = select(2, pcall(coroutine.wrap(function() return child():get() end)))
    local lazy = setmetatable({}, { __index = function() return child():get() end })
    local d = select(2, pcall(function() return lazy.x end))
    return a.message, b.message, c.message, d.message
  end)
  check.eq({ f(bad):get(WAIT_S) }, { "boom", "boom", "boom", "boom" })
end)

-- A waits in a coroutine for a child that sleeps; B, begun meanwhile by the same worker, waits in a coroutine for A.
check.test("a wait does not lie buried under another that waits for it", function()
  local a = lr.remote(function(child) return coroutine.wrap(function() return child(7):get() end)() end)
  local b = lr.remote(function(t) return coroutine.wrap(function() return t[1]:get() + 1 end)() end)
  local list = {}
  for i = 1, 20 do
    local fa = a(slow)
    list[2 * i - 1], list[2 * i] = b { fa }, b { fa }
  end
  for i = 1, #list do check.eq((list[i]:get(WAIT_S)), 8) end
end)

check.test("waits that end in the order in which they began", function()
  local f = lr.remote(function(child, n)
    return coroutine.wrap(function() return child(n):get() end)()
  end)
  local wait = lr.remote(function(n) lr.sleep(0.005 * n) return n end)
  local list = {}
  for i = 1, 20 do list[i] = f(wait, i) end
  for i = 1, 20 do check.eq((list[i]:get(WAIT_S)), i) end
end)

check.test("2,000 waits inside each other where Lua cannot yield", function()
  local deep
  deep = lr.remote(function(n)
    if n == 0 then return 0 end
    local child = deep(n - 1)
    return coroutine.wrap(function() return child:get() + 1 end)()
  end)
  check.eq((deep(2000):get(WAIT_S)), 2000)
end)

check.test("wait, as_completed, sleep and yield where Lua cannot yield", function()
  local f = lr.remote(function(child)
    return coroutine.wrap(function()
      local list = { child(1), child(2), child(3) }
      local ready, pending = lr.wait(list, { count = 3 })
      local sum = 0
      for done in lr.as_completed { child(4), child(5) } do sum = sum + done:get() end
      lr.sleep(0.001)
      lr.yield()
      return #ready, #pending, sum
    end)()
  end)
  check.eq({ f(slow):get(WAIT_S) }, { 3, 0, 9 })
end)

check.test("timeouts where Lua cannot yield", function()
  local never = lr.remote(function() lr.sleep(60) end)
  local f = lr.remote(function(child)
    return coroutine.wrap(function()
      local g = child()
      local ok, err = g:pget(0.01)
      local ready, pending = lr.wait({ g }, { timeout = 0.01 })
      g:cancel()
      return ok, err.code, #ready, #pending
    end)()
  end)
  check.eq({ f(never):get(WAIT_S) }, { false, "timeout", 0, 1 })
end)

check.test("a cancel reaches a task that waits where Lua cannot yield", function()
  local f = lr.remote(function()
    return coroutine.wrap(function() lr.sleep(60) return "slept" end)()
  end)
  local g = f()
  while g:state() == "queued" do lr.sleep(0.001) end
  g:cancel()
  local ok, err = g:pget(WAIT_S)
  check.eq({ ok, err.code }, { false, "cancelled" })
  check.eq((one():get(WAIT_S)), 1)
end)

-- Tasks with priorities are counted by the node: a stack that waits must give its cpu back as a coroutine does.
check.test("tasks with priorities wait for each other where Lua cannot yield", function()
  local deep
  deep = lr.remote(function(n)
    if n == 0 then return 0 end
    local child = deep(n - 1)
    return coroutine.wrap(function() return child:get() + 1 end)()
  end, { priority = 1 })
  check.eq((deep(50):get(WAIT_S)), 50)
end)

check.test("one with a priority waits for a plain one that waits for one with a priority", function()
  local urgent = lr.remote(function(v) lr.sleep(0.001) return v end, { priority = 1 })
  local plain = lr.remote(function(child, v) return coroutine.wrap(function() return child(v):get() end)() end)
  local top = lr.remote(function(p, u, v) return (p(u, v):get()) end, { priority = 1 })
  local list = {}
  for i = 1, 10 do list[i] = top(plain, urgent, i) end
  for i = 1, 10 do check.eq((list[i]:get(WAIT_S)), i) end
end)

check.test("the tostring of a raised value may wait", function()
  local f = lr.remote(function(child)
    error(setmetatable({}, { __tostring = function() return "made of " .. child(3):get() end }))
  end)
  local list = {}
  for i = 1, 10 do list[i] = f(slow) end
  for i = 1, 10 do
    local ok, err = list[i]:pget(WAIT_S)
    check.eq(ok, false)
    check.eq(err.message, "made of 3")
  end
end)

check.done()
