-- lr.map, lr.all, lr.any.

local lr = require "luarun"
local check = require "check"

local WAIT_S = 30

local after = lr.remote(function(s, v) lr.sleep(s) return v end)
local boom = lr.remote(function(text) error(text or "boom", 0) end)
local square = lr.remote(function(x) return x * x end)

local function range(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

local function squares(n)
  local list = { n = n }
  for i = 1, n do list[i] = i * i end
  return list
end

check.test("map: values in order, with n", function()
  check.eq(lr.map(function(x) return x * x end, range(10)), squares(10))
  check.eq(lr.map(square, range(10)), squares(10))
  check.eq(lr.map(square, {}), { n = 0 })
end)

check.test("map: every chunk and window gives the same", function()
  for _, n in ipairs { 1, 2, 7, 100 } do
    for _, chunk in ipairs { 1, 3, 1000 } do
      for _, window in ipairs { 1, 2, 50 } do
        check.eq(lr.map(square, range(n), { chunk = chunk, window = window }), squares(n))
      end
    end
  end
  check.eq(lr.map(square, range(5000), { window = 1 }), squares(5000))
end)

check.test("map: 20,000 small items are put together", function()
  local before = lr.stats().submitted
  check.eq(lr.map(square, range(20000)), squares(20000))
  check.ok(lr.stats().submitted - before < 10000, "one task for each item")
end)

check.test("map: nils kept, the list's n wanted", function()
  check.eq(lr.map(function(x) if x % 2 == 0 then return x end end, range(5)), { n = 5, nil, 2, nil, 4, nil })
  check.eq(lr.map(function(x) return x == nil end, { n = 3, 1, nil, 3 }), { n = 3, false, true, false })
  check.eq(lr.map(function(x) return x, "more" end, range(2)), { n = 2, 1, 2 })
end)

check.test("map: an error in any item is raised, the cause kept", function()
  local ok, err = pcall(lr.map, function(x) if x == 7 then error("seven", 0) end return x end, range(20), { chunk = 3 })
  check.eq({ ok, err.message, err.code }, { false, "seven", "error" })
end)

check.test("map: when one item fails, the others are given up", function()
  local start = lr.now()
  local ok, err = pcall(lr.map, function(x) if x == 1 then error("one", 0) end lr.sleep(60) end, range(50), { chunk = 1 })
  check.eq({ ok, err.message }, { false, "one" })
  local deadline = lr.now() + WAIT_S
  while lr.stats().running + lr.stats().pending > 0 and lr.now() < deadline do lr.sleep(0.001) end
  check.eq(lr.stats().running + lr.stats().pending, 0)
  check.ok(lr.now() - start < WAIT_S)
end)

check.test("map: upvalues, and lr in the function", function()
  local k = 3
  check.eq(lr.map(function(x) return x * k end, range(3)), { n = 3, 3, 6, 9 })
  check.eq(lr.map(function(x) return (square(x):get()) end, range(4)), squares(4))
end)

check.test("map in a task, map in map", function()
  local f = lr.remote(function(sq, n)
    local list = {}
    for i = 1, n do list[i] = i end
    return lr.map(sq, list)
  end)
  check.eq((f(square, 50):get(WAIT_S)), squares(50))
  check.eq(lr.map(function(n)
    local sum = 0
    for _, v in ipairs(lr.map(square, { n, n + 1 })) do sum = sum + v end
    return sum
  end, range(3)), { n = 3, 5, 13, 25 })
end)

check.test("all: a future of all first values", function()
  local f = lr.all { after(0.01, 1), after(0, 2), lr.put(nil), lr.put("x") }
  check.ok(lr.is_future(f))
  check.eq((f:get(WAIT_S)), { n = 4, 1, 2, nil, "x" })
  check.eq((lr.all {}:get()), { n = 0 })
  local g = after(0, 3)
  check.eq((lr.all { g, g }:get()), { n = 2, 3, 3 })
end)

check.test("all: fails with one that fails", function()
  local ok, err = lr.all { after(0, 1), boom("no"), after(0.01, 2) }:pget(WAIT_S)
  check.eq({ ok, err.message, err.code, err.cause.message }, { false, "no", "error", "no" })
end)

check.test("any: the values of the first that succeeds", function()
  local slow = after(60)
  check.eq({ lr.any { slow, boom(), after(0.01, "v") }:get(WAIT_S) }, { "v" })
  slow:cancel()
  local two = lr.remote(function() return nil, 2, nil end)
  check.eq(select("#", lr.any { two() }:get(WAIT_S)), 3)
end)

check.test("any: fails when all have failed, and when there is none", function()
  local ok, err = lr.any { boom("a"), boom("a") }:pget(WAIT_S)
  check.eq({ ok, err.message }, { false, "a" })
  ok, err = lr.any {}:pget(WAIT_S)
  check.eq({ ok, err.message }, { false, "any: none of an empty list can succeed" })
end)

check.test("all and any as arguments", function()
  local sum = lr.remote(function(t, x) return t[1] + t[2] + x end)
  check.eq((sum(lr.all { after(0, 1), after(0, 2) }, lr.any { after(0, 3) }):get(WAIT_S)), 6)
end)

check.done()
