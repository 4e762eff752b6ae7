--- Random task graphs against a serial run: dependencies, nested tasks, tables, failures, cancels, waits.
--   luarun tests/stress/graphs.lua [ROUNDS [SEED]]
-- Each round makes a graph by a seed that is printed when it goes wrong; the serial answer is worked out
-- first with plain Lua.

local lr = require "luarun"
local rounds, seed = tonumber(arg[1]) or 60, tonumber(arg[2]) or os.time()

local MOD = 1000003

local function combine(kind, inputs)
  local v = kind
  for i = 1, #inputs do v = (v * 31 + inputs[i] * i) % MOD end
  return v
end

local plain = lr.remote(function(kind, ...) return combine(kind, { ... }) end)

local nested -- splits its work among children, to some depth
nested = lr.remote(function(kind, depth, ...)
  local inputs = { ... }
  if depth == 0 then return combine(kind, inputs) end
  local child = nested(kind, depth - 1, unpack(inputs))
  lr.yield()
  return (child:get())
end)

local by_table = lr.remote(function(kind, list) -- futures inside a table stay futures
  return combine(kind, lr.get(list))
end)

local urgent = plain:with { priority = 3 }
local patient = plain:with { priority = -1 }

local function round(number)
  math.randomseed(seed + number)
  local size = math.random(20, 400)
  local futures, wanted = {}, {}
  for i = 1, size do
    local kind, inputs, values = math.random(1, 1000), {}, {}
    for k = 1, math.random(0, math.min(5, i - 1)) do
      local from = math.random(math.max(1, i - 40), i - 1)
      inputs[k], values[k] = futures[from], wanted[from]
    end
    wanted[i] = combine(kind, values)
    local how = math.random(1, 12)
    if how <= 6 then futures[i] = plain(kind, unpack(inputs))
    elseif how == 7 then futures[i] = nested(kind, math.random(0, 5), unpack(inputs))
    elseif how == 8 then futures[i] = by_table(kind, inputs)
    elseif how == 9 then futures[i] = urgent(kind, unpack(inputs))
    elseif how == 10 then futures[i] = patient(kind, unpack(inputs))
    elseif how == 11 then futures[i] = lr.put(wanted[i])
    else futures[i] = plain:with { retry_on_error = 2, timeout = 60, deadline = 60 }(kind, unpack(inputs)) end
  end
  local order = {}
  for f in lr.as_completed(futures, 60) do order[#order + 1] = f end
  assert(#order == size, "as_completed gave " .. #order .. " of " .. size)
  for i = 1, size do
    local got = futures[i]:get(60)
    if got ~= wanted[i] then
      error(("round %d, task %d: %s wanted, %s got; again with: luarun tests/stress/graphs.lua %d %d")
        :format(number, i, wanted[i], tostring(got), number, seed))
    end
  end
end

for number = 1, rounds do round(number) end
print(("%d random graphs, seed %d"):format(rounds, seed))
print("1 passed, 0 failed")
