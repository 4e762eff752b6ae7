-- Every refusal of the calls that make tasks and wait for them, with its exact words and the caller's line.

local lr = require "luarun"
local check = require "check"

local add = lr.remote(function(a, b) return a + b end)
local sleeper = lr.remote(function() lr.sleep(60) end)
local function nothing() end

local LIST = "cpu, deadline, gpu, memory, name, node, priority, pure, resources, retries, retry_on_error, returns, timeout"

--- The error of fn is a string with the caller's place before exactly this text.
local function refuses(text, fn)
  local ok, err = pcall(fn)
  check.eq(ok, false, "accepted: " .. text)
  check.eq(type(err), "string")
  local place, words = err:match("^(.-refusals_test%.lua:%d+): (.*)$")
  check.ok(place, "no place in: " .. err)
  check.eq(words, text)
end

check.test("lr.remote", function()
  refuses("remote: a function, or a module's name and a function's, wanted, nothing given", function() lr.remote() end)
  refuses("remote: a function, or a module's name and a function's, wanted, number given", function() lr.remote(5) end)
  refuses('remote: a C function cannot be sent; give a module\'s name and the function\'s: lr.remote("math", "sin")',
    function() lr.remote(print) end)
  refuses("remote: the name of a function in module 'm' wanted, nothing given", function() lr.remote("m") end)
  refuses("remote: the name of a function in module 'm' wanted, table given", function() lr.remote("m", {}) end)
  refuses("options: a table wanted, number given", function() lr.remote(nothing, 5) end)
end)

check.test("options", function()
  local function option(text, options)
    refuses(text, function() lr.remote(nothing, options) end)
    refuses(text, function() add:with(options) end)
  end
  option("unknown option 'foo'; there are: " .. LIST, { foo = 1 })
  option("options: the name of an option is a string, number given", { 5 })
  option("option 'stream': streams are not in this version", { stream = true })
  option("option 'cpu': a number, 0 or more, wanted, -1 given", { cpu = -1 })
  option("option 'cpu': a number, 0 or more, wanted, string given", { cpu = "1" })
  option("option 'cpu': a number, 0 or more, wanted, inf given", { cpu = math.huge })
  option("option 'gpu': a number, 0 or more, wanted, boolean given", { gpu = true })
  option("option 'memory': a number, 0 or more, wanted, -5 given", { memory = -5 })
  option("option 'memory': the number is too large", { memory = 1e30 })
  option("option 'resources': a table of names and amounts wanted, number given", { resources = 5 })
  option("option 'resources': a name is a string, number given", { resources = { 1 } })
  option("option 'resources.tpu': a number, 0 or more, wanted, -1 given", { resources = { tpu = -1 } })
  option("option 'resources.tpu': a number, 0 or more, wanted, string given", { resources = { tpu = "x" } })
  option("option 'resources.tpu': the number is too large", { resources = { tpu = 1e30 } })
  option("option 'priority': a number wanted, string given", { priority = "high" })
  option("option 'timeout': seconds, more than 0, wanted, 0 given", { timeout = 0 })
  option("option 'deadline': seconds, more than 0, wanted, -1 given", { deadline = -1 })
  option("option 'retries': a whole number, 0 or more, wanted, 1.5 given", { retries = 1.5 })
  option("option 'retries': the number is too large", { retries = 1e10 })
  option("option 'retry_on_error': false or a whole number, 0 or more, wanted, boolean given", { retry_on_error = true })
  option("option 'retry_on_error': false or a whole number, 0 or more, wanted, -1 given", { retry_on_error = -1 })
  option("option 'returns': a whole number from 1 to 200, wanted, 0 given", { returns = 0 })
  option("option 'returns': a whole number from 1 to 200, wanted, 201 given", { returns = 201 })
  option("option 'name': a string wanted, number given", { name = 5 })
  option("option 'node': a node's id (32 hex digits) or \"spread\" wanted, here given", { node = "here" })
  option("option 'pure': true or false wanted, number given", { pure = 1 })
end)

check.test("rf:with and rf:here", function()
  refuses("with: a table of options wanted, nothing given", function() add:with() end)
  refuses("a remote function wanted, table given (call it with a colon: rf:with{...})", function() add.with {} end)
  refuses("here: a remote function wanted, nil given (call it with a colon: rf:here(...))", function() add.here() end)
end)

check.test("f:get and f:pget", function()
  local f = sleeper()
  refuses("timeout: seconds (a number) or nil wanted, string given", function() f:get("x") end)
  refuses("timeout: seconds (a number) or nil wanted, nan given", function() f:get(0 / 0) end)
  refuses("a future wanted, nothing given", function() f.get() end)
  refuses("a future wanted, number given", function() f.get(5) end)
  local ok, err = f:pget("x")
  check.eq({ ok, err }, { false, "timeout: seconds (a number) or nil wanted, string given" })
  f:cancel()
  refuses("timeout: seconds (a number) or nil wanted, string given", function() f:get("x") end)
end)

check.test("lr.get", function()
  refuses("get: a future or a list of futures wanted, nil given", function() lr.get() end)
  refuses("get: a future or a list of futures wanted, number given", function() lr.get(5) end)
  refuses("list[1]: a future wanted, number given", function() lr.get { 1 } end)
  refuses("list[2]: a future wanted, table given", function() lr.get { add(1, 2), {} } end)
  refuses("get: timeout: seconds (a number) or nil wanted, string given", function() lr.get({ add(1, 2) }, "x") end)
  refuses("get: timeout: seconds (a number) or nil wanted, nan given", function() lr.get({ add(1, 2) }, 0 / 0) end)
end)

check.test("lr.wait", function()
  refuses("a list of futures wanted, nil given", function() lr.wait() end)
  refuses("list[1]: a future wanted, number given", function() lr.wait { 5 } end)
  refuses("wait: a table of options wanted, number given", function() lr.wait({}, 5) end)
  refuses("wait: unknown option 'foo'", function() lr.wait({}, { foo = 1 }) end)
  refuses("wait: count: a whole number from 0 to 0 wanted, 1 given", function() lr.wait({}, { count = 1 }) end)
  refuses("wait: count: a whole number from 0 to 1 wanted, -1 given", function() lr.wait({ add(1, 1) }, { count = -1 }) end)
  refuses("wait: count: a whole number from 0 to 1 wanted, 0.5 given", function() lr.wait({ add(1, 1) }, { count = .5 }) end)
  refuses("wait: timeout: seconds (a number) or nil wanted, string given", function() lr.wait({}, { timeout = "x" }) end)
end)

check.test("lr.as_completed, lr.map, lr.all, lr.any", function()
  refuses("a list of futures wanted, nil given", function() lr.as_completed() end)
  refuses("list[1]: a future wanted, number given", function() lr.as_completed { 5 } end)
  refuses("as_completed: timeout: seconds (a number) or nil wanted, string given", function() lr.as_completed({}, "x") end)
  refuses("map: a function or a remote function wanted, nil given", function() lr.map() end)
  refuses("map: a function or a remote function wanted, userdata given", function() lr.map(add(1, 2), {}) end)
  refuses("map: a list wanted, nil given", function() lr.map(nothing) end)
  refuses("map: a table of options wanted, number given", function() lr.map(nothing, {}, 5) end)
  refuses("map: unknown option 'foo'", function() lr.map(nothing, {}, { foo = 1 }) end)
  refuses("map: chunk: a whole number of at least 1 wanted, 0 given", function() lr.map(nothing, {}, { chunk = 0 }) end)
  refuses("map: window: a whole number of at least 1 wanted, 1.5 given", function() lr.map(nothing, {}, { window = 1.5 }) end)
  refuses("a list of futures wanted, nil given", function() lr.all() end)
  refuses("list[1]: a future wanted, number given", function() lr.any { 5 } end)
end)

check.test("lr.put, lr.cancel, lr.free", function()
  refuses("put: a value wanted, nothing given", function() lr.put() end)
  refuses("cancel: a future or a list of futures wanted, nil given", function() lr.cancel() end)
  refuses("list[1]: a future wanted, string given", function() lr.cancel { "x" } end)
  refuses("a future wanted, nothing given", function() lr.free() end)
  local f = sleeper:with { name = "sleeper" }()
  refuses("free: sleeper has not ended; cancel it first", function() lr.free(f) end)
  f:cancel()
  local err = select(2, pcall(lr.put, print))
  check.eq({ err.code, err.message },
    { "not_serializable", "value: a C function (print) cannot be sent; pass its name or a module function instead" })
end)

check.test("inside a task, from the script", function()
  refuses("sleep: seconds (a number) wanted, nil given", function() lr.sleep() end)
  refuses("sleep: seconds (a number) wanted, nan given", function() lr.sleep(0 / 0) end)
  refuses("progress: two numbers wanted, string and nil given", function() lr.progress("a") end)
end)

check.test("the same refusals in a task name the task's line", function()
  local waits = sleeper()
  local f = lr.remote(function(g)
    local lines = {}
    for i, fn in ipairs {
      function() g[1]:get("x") end, function() g[1].get() end, function() lr.get(5) end, function() lr.wait { 5 } end,
      function() lr.sleep() end, function() lr.remote(5) end, function() lr.put() end, function() lr.cancel(5) end,
    } do
      local _, err = pcall(fn)
      lines[i] = tostring(err):match("^(.-refusals_test%.lua):%d+: ") and "ok" or tostring(err)
    end
    return lines
  end)
  local lines = f({ waits }):get(10)
  waits:cancel()
  check.eq(lines, { "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok" })
end)

check.test("what is not there", function()
  refuses("lr.actor belongs to actors, which this version (" .. lr.version .. ") does not have yet",
    function() return lr.actor end)
  refuses("lr.span belongs to the timeline, which this version (" .. lr.version .. ") does not have yet",
    function() return lr.span end)
  refuses("luarun has no function 'foo'", function() return lr.foo end)
  refuses("init: the job is already there", function() lr.init {} end)
end)

check.done()
