-- The short way of calls and gets (lua/luarun/short.lua) gives what the long way gives, in the script and in tasks, in
-- compiled loops and out of them, and leaves everything that is not ordinary to the long way.
local lr = require "luarun"
local check = require "check"

local count_of = lr.remote(function(...) return select("#", ...) end)
local same = lr.remote(function(...) return ... end)
local sum = lr.remote(function(a, b, c, d) return a + (b or 0) + (c or 0) + (d or 0) end)

-- Runs body in the script and in a task.
local function everywhere(name, body)
  check.test(name .. ", in the script", body)
  check.test(name .. ", in a task", function() lr.remote(body)():get() end)
end

everywhere("none to six numbers arrive as many", function()
  for _ = 1, 100 do
    check.eq(count_of():get(), 0)
    check.eq(count_of(1):get(), 1)
    check.eq(count_of(1, 2):get(), 2)
    check.eq(count_of(1, 2, 3):get(), 3)
    check.eq(count_of(1, 2, 3, 4):get(), 4)
    check.eq(count_of(1, 2, 3, 4, 5):get(), 5)
    check.eq(count_of(1, 2, 3, 4, 5, 6):get(), 6)
  end
end)

everywhere("nils are counted among them", function()
  for _ = 1, 100 do
    check.eq(count_of(nil):get(), 1)
    check.eq(count_of(1, nil):get(), 2)
    check.eq(count_of(1, 2, nil):get(), 3)
    check.eq(count_of(nil, nil, nil, 4):get(), 4)
  end
end)

everywhere("every number comes back as it was", function()
  local numbers = {0, 1, 127, 128, -1, 0.5, 1e308, -1e-308, 2 ^ 53, 1 / 0, -1 / 0}
  for _ = 1, 20 do
    for _, x in ipairs(numbers) do check.eq(same(x):get(), x) end
    local negative_zero, nan = same(-0.0):get(), same(0 / 0):get()
    check.eq(1 / negative_zero, -1 / 0)
    check.ok(nan ~= nan)
  end
end)

everywhere("what is no number goes the other way", function()
  local values = {"text", true, false, {1}, 7}
  for _ = 1, 20 do
    for _, x in ipairs(values) do
      local y = same(x):get()
      check.eq(type(y), type(x))
      if type(x) ~= "table" then check.eq(y, x) end
    end
    local a, b = same(1, "two"):get()
    check.eq(a, 1)
    check.eq(b, "two")
    check.eq(select("#", same(1, nil):get()), 2)
  end
end)

everywhere("a future among numbers is a dependency", function()
  for i = 1, 100 do check.eq(sum(i, same(2), 3, same(4)):get(), i + 9) end
end)

everywhere("a compiled loop of many", function()
  local futures, total = {}, 0
  for i = 1, 20000 do futures[i] = sum(i, 1) end
  for i = 1, 20000 do total = total + futures[i]:get() end
  check.eq(total, 20000 * 20001 / 2 + 20000)
end)

check.test("an upvalue that was assigned since is seen", function()
  local step = 1
  local add = lr.remote(function(x) return x + step end)
  for i = 1, 200 do
    step = i
    check.eq(add(1):get(), 1 + i)
  end
end)

check.test("ids and random streams are those of the long way", function()
  local draw = lr.remote(function() return math.random() end)
  local parent = lr.remote(function(short)
    local id, list = lr.remote(function() return lr.task().id end), {}
    for i = 1, 3 do list[i] = short and id(i):get() or id(tostring(i)):get() end
    return list
  end)
  local a, b = parent(true):get(), parent(false):get()
  for i = 1, 3 do check.ok(a[i] ~= b[i] and #a[i] == #b[i]) end -- other parents, other children
  check.ok(draw():get() ~= draw():get())
end)

check.test("a cancelled task cannot call or get", function()
  local f = lr.remote(function()
    local g = same(1)
    g:get()
    while not lr.cancelled() do lr.yield() end
    local called, got = pcall(same, 1), pcall(g.get, g)
    error(tostring(called) .. tostring(got))
  end)()
  while f:state() ~= "running" do lr.sleep(0.001) end
  f:cancel()
  local ok, err = f:pget()
  check.eq(ok, false)
  check.eq(err.code, "cancelled")
end)

check.test("after a cancel others still call and get", function()
  for i = 1, 200 do check.eq(sum(i, i):get(), 2 * i) end
  check.eq(lr.remote(function() return sum(1, 2):get() end)():get(), 3)
end)

check.test("a failed task raises its error, a timeout of a ready future is checked", function()
  local bad = lr.remote(function(x) error("no " .. x, 0) end)
  for i = 1, 50 do
    local ok, err = bad(i):pget()
    check.eq(ok, false)
    check.eq(err.message, "no " .. i)
  end
  local f = same(1)
  f:get()
  check.eq(pcall(f.get, f, "soon"), false)
  check.eq(f:get(0), 1)
end)

check.test("get of what is no future says so", function()
  local f = same(1)
  for _, wrong in ipairs{same, 1, "text", {}, io.stdout} do
    local ok, why = pcall(f.get, wrong)
    check.eq(ok, false)
    check.ok(tostring(why):find("a future wanted", 1, true), tostring(why))
  end
end)

check.test("options are kept", function()
  local slow = sum:with{priority = 1}
  check.eq(slow(1, 2):get(), 3)
  local two = lr.remote(function(x) return x, x + 1 end, {returns = 2})
  local a, b = two(1)
  check.eq(a:get() + b:get(), 3)
end)

check.done()
