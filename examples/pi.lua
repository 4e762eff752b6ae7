-- Monte Carlo: pi by throwing darts, in tasks. math.random in a task is a stream of its own, seeded from the job's
-- seed and the task's id, so that the same job gives the same number whatever the number of workers:
--   luarun --seed 1 examples/pi.lua [TASKS [DARTS]]

local lr = require "luarun"

local tasks = tonumber(arg[1]) or 16
local darts = tonumber(arg[2]) or 100000

local throw = lr.remote(function(count)
  local random, inside = math.random, 0
  for _ = 1, count do
    local x, y = random(), random()
    if x * x + y * y <= 1 then inside = inside + 1 end
  end
  return inside
end)

local futures, inside = {}, 0
for i = 1, tasks do futures[i] = throw(darts) end
for f in lr.as_completed(futures) do inside = inside + f:get() end -- in the order in which they end

local pi = 4 * inside / (tasks * darts)
print(("pi is about %.1f"):format(pi))
print("close enough: " .. tostring(math.abs(pi - math.pi) < 0.02))
