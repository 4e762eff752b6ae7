-- lr.wait and lr.as_completed.

local lr = require "luarun"
local check = require "check"

local WAIT_S = 30

local echo = lr.remote(function(...) return ... end)
local boom = lr.remote(function() error("boom", 0) end)
local after = lr.remote(function(s, v) lr.sleep(s) return v end)

local function sleepers(n)
  local list = {}
  for i = 1, n do list[i] = after(60) end
  return list
end

check.test("waits for all by itself", function()
  local list = { after(0.01), echo(2), after(0.005) }
  local ready, pending = lr.wait(list)
  check.eq({ #ready, #pending }, { 3, 0 })
  for i = 1, 3 do check.ok(ready[i] == list[i], "order") end
end)

check.test("count: at least so many, both in the list's order", function()
  local slow = sleepers(3)
  local a, b = echo(1), echo(2)
  local list = { slow[1], a, slow[2], b, slow[3] }
  local ready, pending = lr.wait(list, { count = 2 })
  check.eq({ #ready, #pending }, { 2, 3 })
  check.ok(ready[1] == a and ready[2] == b, "order of ready")
  check.ok(pending[1] == slow[1] and pending[2] == slow[2] and pending[3] == slow[3], "order of pending")
  lr.cancel(slow)
end)

check.test("count 0 and timeout 0 poll", function()
  local slow = sleepers(2)
  local f = echo(1)
  f:get()
  local ready, pending = lr.wait({ slow[1], f, slow[2] }, { count = 0 })
  check.eq({ #ready, #pending }, { 1, 2 })
  ready, pending = lr.wait({ slow[1], f, slow[2] }, { timeout = 0 })
  check.eq({ #ready, #pending }, { 1, 2 })
  ready, pending = lr.wait({ slow[1], f }, { timeout = -1 })
  check.eq({ #ready, #pending }, { 1, 1 })
  lr.cancel(slow)
end)

check.test("timeout: not early, and what is ready by then", function()
  local slow = sleepers(1)
  local soon = after(0.001)
  local start = lr.now()
  local ready, pending = lr.wait({ slow[1], soon }, { timeout = 0.05 })
  local took = lr.now() - start
  check.eq({ #ready, #pending }, { 1, 1 })
  check.ok(took >= 0.05, "early: " .. took)
  lr.cancel(slow)
end)

check.test("a failed and a cancelled task count as ready", function()
  local slow = sleepers(1)
  slow[1]:cancel()
  local f = boom()
  local ready, pending = lr.wait({ f, slow[1] }, { timeout = WAIT_S })
  check.eq({ #ready, #pending }, { 2, 0 })
  f:pget()
end)

check.test("an empty list; the same future several times", function()
  local ready, pending = lr.wait {}
  check.eq({ ready, pending }, { {}, {} })
  local f = after(0.01)
  ready, pending = lr.wait { f, f, f }
  check.eq({ #ready, #pending }, { 3, 0 })
  local g = after(0.01)
  ready, pending = lr.wait({ g, g }, { count = 1 })
  check.eq({ #ready, #pending }, { 2, 0 })
end)

check.test("one of several results", function()
  local a, b = after:with { returns = 2 }(0.01, 5)
  local ready = lr.wait { b, a }
  check.ok(ready[1] == b and ready[2] == a, "order")
end)

check.test("the list given is left as it is", function()
  local list = { echo(1), echo(2) }
  lr.wait(list)
  check.eq(#list, 2)
end)

check.test("in a task: the same", function()
  local f = lr.remote(function(child)
    local list = { child(60), child(0.005, 2), child(0.001, 1) }
    local ready, pending = lr.wait(list, { count = 2, timeout = 30 })
    local polled, left = lr.wait(list, { timeout = 0 })
    local timed = { lr.wait({ list[1] }, { timeout = 0.01 }) }
    lr.cancel(list)
    return #ready, #pending, ready[1] == list[2], #polled, #left, #timed[1], #timed[2]
  end)
  check.eq({ f(after):get(WAIT_S) }, { 2, 1, true, 2, 1, 0, 1 })
end)

check.test("in a task: polling in a loop lets others run", function()
  local f = lr.remote(function(child)
    local g = child(0, 5)
    while #lr.wait({ g }, { timeout = 0 }) == 0 do end
    return g:get()
  end)
  local list = {}
  for i = 1, 8 do list[i] = f(after) end
  check.eq(lr.get(list, WAIT_S), { n = 8, 5, 5, 5, 5, 5, 5, 5, 5 })
end)

check.test("many waits, many timeouts", function()
  local f = lr.remote(function(child)
    local missed = 0
    local slow = child(60)
    for _ = 1, 50 do
      local ready = lr.wait({ slow, child(0.001) }, { count = 2, timeout = 0.002 })
      missed = missed + (2 - #ready)
    end
    slow:cancel()
    return missed
  end)
  local list = {}
  for i = 1, 8 do list[i] = f(after) end
  for i = 1, 8 do check.ok(list[i]:get(WAIT_S) >= 50) end
end)

check.test("a hundred tasks that wait for the same future", function()
  local f = after(0.02, 5)
  local wait = lr.remote(function(t) return #lr.wait(t) + t[1]:get() end)
  local list = {}
  for i = 1, 100 do list[i] = wait { f } end
  for i = 1, 100 do check.eq((list[i]:get(WAIT_S)), 6) end
end)

-- ---- as_completed ----

check.test("as_completed: the order of ending, each once, then nil", function()
  local gate = {}
  for i = 1, 4 do gate[i] = after(0.01 * i, i) end
  local order = {}
  local next_one = lr.as_completed { gate[4], gate[2], gate[3], gate[1] }
  for f in next_one do order[#order + 1] = f:get() end
  table.sort(order)
  check.eq(order, { 1, 2, 3, 4 })
  check.eq(next_one(), nil)
end)

check.test("as_completed: what has ended comes before what runs", function()
  local slow, done = after(60), echo(1)
  done:get()
  local next_one = lr.as_completed { slow, done }
  check.ok(next_one() == done)
  slow:cancel()
  check.ok(next_one() == slow)
end)

check.test("as_completed: a chain ends in its order", function()
  local list = { echo(0) }
  for i = 2, 50 do list[i] = echo(list[i - 1], i) end
  local backwards = {}
  for i = 1, 50 do backwards[i] = list[51 - i] end
  local expect = after(0, 0)
  expect:get()
  local last = after(0.01)
  local chain = { last }
  for i = 2, 30 do chain[i] = echo(chain[i - 1]) end
  local reversed = {}
  for i = 1, 30 do reversed[i] = chain[31 - i] end
  local i = 0
  for f in lr.as_completed(reversed, WAIT_S) do
    i = i + 1
    check.ok(f == chain[i], "place " .. i)
  end
  check.eq(i, 30)
end)

check.test("as_completed: failures, cancelled ones, duplicates, the empty list", function()
  local slow = after(60)
  slow:cancel()
  local f = boom()
  local count = 0
  for g in lr.as_completed { f, slow, f, slow } do count = count + (g:is_ready() and 1 or 0) end
  check.eq(count, 4)
  check.eq(lr.as_completed {}(), nil)
  f:pget()
end)

check.test("as_completed: its timeout is for all of them", function()
  local slow = sleepers(1)
  local seen = {}
  local start = lr.now()
  local ok, err = pcall(function()
    for f in lr.as_completed({ slow[1], echo(1), echo(2) }, 0.05) do seen[#seen + 1] = f:get() end
  end)
  check.eq({ ok, err.code, #seen }, { false, "timeout", 2 })
  check.ok(err.message:match("wait_test%.lua:%d+: as_completed: time is over$"), err.message)
  check.ok(lr.now() - start >= 0.05)
  lr.cancel(slow)
end)

check.test("as_completed: what ended is given after the timeout too", function()
  local f = echo(1)
  f:get()
  check.ok(lr.as_completed({ f }, 0)() == f)
end)

check.test("as_completed: left in the midst, and the list changed meanwhile", function()
  for _ = 1, 50 do
    local list = { after(0.001, 1), after(0.002, 2), after(0.003, 3) }
    for f in lr.as_completed(list) do
      list[1], list[2], list[3] = nil, nil, nil
      check.ok(f:get())
      break
    end
  end
  collectgarbage()
end)

check.test("as_completed in a task", function()
  local f = lr.remote(function(child)
    local list, sum, count = {}, 0, 0
    for i = 1, 200 do list[i] = child(i % 5 * 0.001, i) end
    for g in lr.as_completed(list, 30) do sum, count = sum + g:get(), count + 1 end
    return sum, count
  end)
  check.eq({ f(after):get(WAIT_S) }, { 20100, 200 })
end)

check.test("wait and as_completed over 50,000 futures are linear", function()
  local list = {}
  for i = 1, 50000 do list[i] = echo(i) end
  local start = lr.now()
  local sum = 0
  for f in lr.as_completed(list, WAIT_S) do sum = sum + f:get() end
  check.eq(sum, 50000 * 50001 / 2)
  check.eq(#lr.wait(list), 50000)
  check.ok(lr.now() - start < 20, "took " .. lr.now() - start)
end)

check.done()
