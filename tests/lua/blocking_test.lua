--- Waits that must not block each other: cpus held by one task while it waits for another, waits where Lua cannot
--- yield inside tasks that the machine decides about, and a full queue whose tasks wait for the one that fills it.
local check = require "check"
local lr = require "luarun"

local workers = lr.resources().cpu
local LIMIT = 30 -- seconds: nothing here takes one

local function with_cpus(name, n, fn)
  if workers < n then
    check.skip(name, "needs " .. n .. " workers")
  else
    check.test(name, fn)
  end
end

with_cpus("a task that holds two cpus waits for another that needs two", 2, function()
  local inner = lr.remote(function() return 7 end):with { cpu = 2 }
  local outer = lr.remote(function() return inner():get() + 1 end):with { cpu = 2 }
  check.eq(outer():get(LIMIT), 8)
end)

with_cpus("what a task with two cpus waits for may be parked on the other worker", 2, function()
  local sleeper = lr.remote(function() lr.sleep(0.05) return 1 end)
  local sum = lr.remote(function(list)
    local s = 0
    for _, v in ipairs(lr.get(list)) do s = s + v end
    return s
  end):with { cpu = 2 }
  local list = {}
  for i = 1, 10 do list[i] = sleeper() end
  lr.wait({ sleeper() }, { timeout = 0.01 }) -- let some of them park
  check.eq(sum(list):get(LIMIT), 10)
end)

with_cpus("a task with two cpus may wait by yielding", 2, function()
  local sleeper = lr.remote(function() lr.sleep(0.02) return 3 end)
  local poll = lr.remote(function(t)
    while not t.f:is_ready() do lr.yield() end
    return t.f:get()
  end):with { cpu = 2 }
  for _ = 1, 10 do check.eq(poll({ f = sleeper() }):get(LIMIT), 3) end
end)

with_cpus("many tasks with two cpus, each waiting for another", 2, function()
  local inner = lr.remote(function(x) return x end):with { cpu = 2 }
  local outer = lr.remote(function(x)
    local f = inner(x)
    lr.sleep(0.0001)
    return f:get()
  end):with { cpu = 2 }
  local list, wanted = {}, 0
  for i = 1, 100 do list[i], wanted = outer(i), wanted + i end
  local sum = 0
  for f in lr.as_completed(list, LIMIT) do sum = sum + f:get() end
  check.eq(sum, wanted)
end)

with_cpus("cancelled tasks with two cpus leave none behind", 2, function()
  local inner = lr.remote(function() return 1 end):with { cpu = 2 }
  local outer = lr.remote(function()
    local list = {}
    for i = 1, 20 do list[i] = inner() end
    lr.sleep(60)
  end)
  for _ = 1, 20 do
    local f = outer()
    lr.wait({ f }, { timeout = 0.001 })
    f:cancel()
  end
  check.eq(inner():get(LIMIT), 1)
end)

check.test("a task of the machine waits in a comparator for another of the machine", function()
  local less = lr.remote(function(a, b) return a < b end):with { priority = 1 }
  local sorted = lr.remote(function(list)
    table.sort(list, function(a, b) return (less(a, b):get()) end)
    return table.concat(list, ",")
  end):with { priority = 1 }
  local list = {}
  for i = 1, 8 do list[i] = sorted { 3, 1, 2, i + 3 } end
  for i = 1, 8 do check.eq(list[i]:get(LIMIT), "1,2,3," .. i + 3) end
end)

check.test("thousands of tasks that yield in comparators do not pile up on one stack", function()
  local sorted = lr.remote(function()
    local list = { 3, 1, 2 }
    table.sort(list, function(a, b) lr.yield() return a < b end)
    return list[1]
  end)
  local list = {}
  for i = 1, 5000 do list[i] = sorted() end
  local sum = 0
  for i = 1, 5000 do sum = sum + list[i]:get(LIMIT) end
  check.eq(sum, 5000)
end)

check.test("the tostring of what a task raises still runs in that task, and its children are that task's", function()
  local child = lr.remote(function() lr.sleep(0.001) return lr.task().id end)
  local raising = lr.remote(function()
    error(setmetatable({}, { __tostring = function() return lr.task().id .. " " .. child():get() end }))
  end)
  local list, seen = {}, {}
  for i = 1, 20 do list[i] = raising() end
  for i = 1, 20 do
    local ok, err = list[i]:pget(LIMIT)
    check.eq(ok, false)
    local task, its_child = err.message:match "^(%x+) (%x+)$"
    check.eq(task, err.task)
    check.eq(seen[its_child], nil, "a child's id came twice")
    seen[its_child] = true
  end
end)

-- These need options of their own: the program is run again with a chunk.
local program = arg[-1]
for i = -2, -50, -1 do if arg[i] then program = arg[i] end end

local function run(options, chunk)
  local pipe = assert(io.popen(("timeout 20 '%s' %s -e '%s' 2>&1; echo status=$?"):format(program, options, chunk)))
  local out = pipe:read "*a"
  pipe:close()
  return out
end

check.test("a queue full of tasks that wait for the one that submits does not stop it", function()
  local out = run("--workers 1 --max-pending 8", [[
    local lr = require "luarun"
    local child = lr.remote(function(x) return x end)
    local after = lr.remote(function(a) return a end)
    local filler = lr.remote(function()
      while lr.stats().pending < 7 do lr.sleep(0.001) end
      local sum = 0
      table.sort({ 2, 1 }, function(a, b)
        for i = 1, 20 do sum = sum + child(i):get() end
        return a < b
      end)
      return sum > 0
    end)
    local f, list = filler(), {}
    for i = 1, 7 do list[i] = after(f) end
    for i = 1, 7 do assert(list[i]:get(15) == true) end
    print "done"]])
  check.eq(out, "done\nstatus=0\n")
end)

check.test("a script ends at once though a task waits where Lua cannot yield", function()
  local out = run("--workers 1", [[
    local lr = require "luarun"
    local slow = lr.remote(function() lr.sleep(60) end)
    local stuck = lr.remote(function() table.sort({ 2, 1 }, function(a, b) slow():get() return a < b end) end)
    stuck()
    lr.sleep(0.05)
    os.exit(3)]])
  check.eq(out, "status=3\n")
end)

check.done()
