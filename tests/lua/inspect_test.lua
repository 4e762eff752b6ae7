-- What the script sees of its node: lr.nodes, lr.tasks, lr.objects, lr.errors.

local check = require "check"
local lr = require "luarun"

-- A task that runs until the gate is opened: a file, since tasks may run in other processes.
local gate_path = os.tmpname()
os.remove(gate_path)
local held = lr.remote(function(path)
  lr.progress(1, 4)
  while not io.open(path) do lr.sleep(0.001) end
  return 1
end)
local follow = lr.remote(function(a) return a end)

local function eventually(fn, what)
  local deadline = lr.now() + 20
  while lr.now() < deadline do
    if fn() then return end
    lr.sleep(0.001)
  end
  error("never: " .. what, 2)
end

local function by_id(list)
  local map = {}
  for _, row in ipairs(list) do map[row.id] = row end
  return map
end

check.test("tasks: those that run and those that wait for them", function()
  local f = held(gate_path)
  local g = follow(f)
  eventually(function() return f:state() == "running" end, "it runs")
  local tasks = by_id(lr.tasks())
  local row = check.ok(tasks[f:id()], "it is listed")
  check.eq({ row.name, row.state, row.attempt }, { "held", "running", 1 })
  check.ok(row.age >= 0 and row.age < 1000, row.age)
  check.eq(tasks[g:id()].state, "waiting")
  check.eq(#lr.tasks { state = "running", name = "held" }, 1)
  check.eq(#lr.tasks { state = "waiting", name = "held" }, 0)
  check.eq(#lr.tasks { name = "nobody is called so" }, 0)
  assert(io.open(gate_path, "w")):close()
  check.eq(g:get(), 1)
  check.eq(by_id(lr.tasks())[f:id()].state, "ready")
  os.remove(gate_path)
end)

check.test("tasks: the newest first, with a limit and a total", function()
  local list = {}
  for i = 1, 50 do list[i] = follow(i) end
  lr.wait(list)
  local rows = lr.tasks { name = "follow", limit = 5 }
  check.eq({ #rows, rows.n }, { 5, 5 })
  check.ok(rows.total >= 50, rows.total)
  for i = 1, 5 do check.eq(rows[i].id, list[51 - i]:id()) end
  for i = 2, 5 do check.ok(rows[i].age >= rows[i - 1].age) end
  check.eq(#lr.tasks { limit = 0 }, 0)
end)

check.test("tasks: what nobody holds any more is not there", function()
  local f = follow(1)
  local id = f:id()
  f:get()
  f = nil -- luacheck: ignore
  eventually(function()
    collectgarbage()
    return not by_id(lr.tasks())[id]
  end, "it is gone")
end)

check.test("tasks: values that were put are no tasks", function()
  local f = lr.put(5)
  check.eq(by_id(lr.tasks())[f:id()], nil)
end)

check.test("tasks: children are counted", function()
  local parent = lr.remote(function()
    local a, b = follow(1), follow(2)
    return a:get() + b:get()
  end)
  local f = parent()
  check.eq(f:get(), 3)
  local row = by_id(lr.tasks())[f:id()]
  check.ok(row.children == 2 or row.children == 0, row.children) -- 0: it ran in another process
end)

check.test("tasks: looked at while thousands come and go", function()
  local seen = 0
  for _ = 1, 10 do
    local list = {}
    for i = 1, 2000 do list[i] = follow(i) end
    for _ = 1, 5 do
      local rows = lr.tasks { limit = 100 }
      for _, row in ipairs(rows) do
        check.ok(#row.id == 32 and type(row.name) == "string" and row.age >= 0)
        seen = seen + 1
      end
    end
    check.eq(#lr.get(list), 2000)
  end
  check.ok(seen > 0)
end)

check.test("tasks: functions that come and go meanwhile", function()
  for i = 1, 200 do
    local f = lr.remote(function() return i end)()
    lr.tasks()
    check.eq(f:get(), i)
  end
  collectgarbage()
  check.ok(lr.tasks())
end)

check.test("errors: the last that failed, the newest first", function()
  local fails = lr.remote(function(text) error(text, 0) end)
  local before = lr.errors().total
  local f = fails("first")
  f:pget()
  local g = fails("second")
  g:pget()
  local rows = lr.errors { limit = 2 }
  check.eq({ rows[1].task, rows[1].message, rows[1].code, rows[1].function_name },
    { g:id(), "second", "error", "fails" })
  check.eq({ rows[2].task, rows[2].message }, { f:id(), "first" })
  check.eq(rows.total, before + 2)
  check.ok(rows[1].age >= 0 and rows[1].age < 1000)
  fails(("x"):rep(10000)):pget()
  check.ok(#lr.errors()[1].message < 1000)
end)

check.test("errors: no more than are kept", function()
  local fails = lr.remote(function(i) error("number " .. i, 0) end)
  local list = {}
  for i = 1, 600 do list[i] = fails(i) end
  lr.wait(list)
  for i = 1, 600 do list[i]:pget() end
  local rows = lr.errors()
  check.ok(#rows <= 256 and rows.total >= 600, #rows)
end)

check.test("objects: the largest first", function()
  local before = lr.objects()
  local big, small = lr.tensor("u8", { 3000000 }), lr.tensor("u8", { 1000000 })
  local rows = lr.objects()
  check.eq({ rows[1].bytes, rows[2].bytes }, { 3000000, 1000000 })
  check.ok(rows[1].site:find("inspect_test.lua", 1, true), rows[1].site)
  check.eq(rows[1].references, 1)
  check.ok(rows.total >= before.total + 2 and rows.bytes >= 4000000 and rows.capacity > 4000000)
  check.eq(#lr.objects { limit = 1 }, 1)
  check.eq(#big + #small, 4000000)
end)

check.test("nodes", function()
  local nodes = lr.nodes()
  check.eq(#nodes, lr.stats().procs)
  check.eq(nodes[1].state, "up")
  check.eq(nodes[1].workers, lr.stats().workers)
  check.eq(nodes[1].resources.cpu, lr.resources().cpu)
  check.eq(nodes[1].id, follow:here(nodes[1].id))
  local pids = {}
  for _, node in ipairs(nodes) do pids[node.pid] = true end
  local count = 0
  for _ in pairs(pids) do count = count + 1 end
  check.eq(count, #nodes)
end)

check.test("options that are none", function()
  for _, name in ipairs { "tasks", "objects", "errors", "nodes" } do
    check.error_has(function() lr[name](5) end, name .. ": a table of options wanted, number given")
    check.error_has(function() lr[name] { colour = 1 } end, name .. ": unknown option 'colour'")
    check.error_has(function() lr[name] { [1] = 1 } end, name .. ": unknown option '?'")
    check.error_has(function() lr[name] { limit = "x" } end, name .. ": limit: a number up to 1000000 wanted")
    check.error_has(function() lr[name] { limit = -1 } end, "limit")
  end
  check.error_has(function() lr.tasks { state = "nope" } end, "tasks: state: one of waiting, queued")
  check.error_has(function() lr.objects { state = "ready" } end, "unknown option 'state'")
end)

check.test("in a task they tell of its process", function()
  local f = lr.remote(function() return #lr.tasks { state = "running" } end)()
  check.ok(f:get() >= 1)
end)

os.remove(gate_path)
check.done()
