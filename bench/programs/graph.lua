-- graph.lua - Task Bench's graphs (Slaughter et al., SC '20), eight tasks wide: pattern= trivial, stencil, fft,
-- tree, random; steps= (1,000). Each task is a kernel that depends on the futures of the step before. METG(50 %) as
-- in bench/peers/work.h, which has the same patterns in C; peak=: iterations a second of all workers together.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"
local work, bit = require "work".work, require "bit"

local WIDTH = 8

-- The places of the step before that place `at` (0-based) of a step needs, by pattern.
local patterns = {
  trivial = function() return {} end,
  stencil = function(_, at)
    local needs = {}
    for i = math.max(at - 1, 0), math.min(at + 1, WIDTH - 1) do needs[#needs + 1] = i end
    return needs
  end,
  fft = function(step, at) return {at, bit.bxor(at, bit.lshift(1, (step - 1) % 3))} end,
  tree = function(_, at) return {math.floor(at / 2)} end,
  random = function(step, at)
    local needs, known = {}, {}
    local hash = (step * 2654435761 + at * 40503) % 2 ^ 32
    for _ = 1, 3 do
      local place = math.max(0, math.min(WIDTH - 1, at - 2 + math.floor(hash / 65536) % 5))
      if not known[place] then needs[#needs + 1], known[place] = place, true end
      hash = (1664525 * hash + 1013904223) % 2 ^ 32
    end
    return needs
  end,
}

local pattern, steps = kit.text("pattern", "stencil"), kit.number("steps", 1000)
local needs_of = patterns[pattern] or error("pattern= trivial, stencil, fft, tree or random", 0)
local needs = {} -- made before the clock runs
for step = 1, steps do
  needs[step] = {}
  for at = 0, WIDTH - 1 do needs[step][at] = step == 1 and {} or needs_of(step - 1, at) end
end

local function run(iterations)
  collectgarbage()
  local begun = lr.now()
  local row, all = {}, {}
  for step = 1, steps do
    local new = {}
    for at = 0, WIDTH - 1 do
      local n = needs[step][at]
      local a, b, c = row[n[1]], row[n[2]], row[n[3]]
      local f
      if c then f = work(iterations, a, b, c)
      elseif b then f = work(iterations, a, b)
      elseif a then f = work(iterations, a)
      else f = work(iterations, 1) end
      new[at] = f
      if pattern == "trivial" then all[#all + 1] = f end
    end
    row = new
  end
  for at = 0, WIDTH - 1 do row[at]:get() end
  if #all > 0 then lr.wait(all) end
  return lr.now() - begun
end

local tasks, workers, peak = steps * WIDTH, kit.number("workers", 2), kit.number("peak", 1.2e9)

local function metg()
  local above, granularity_above, result, crosses = 1, nil, 0, false
  local iterations = 65536
  run(10)
  while iterations >= 8 do
    local seconds = math.min(run(iterations), run(iterations), run(iterations), run(iterations))
    local efficiency, granularity = tasks * iterations / seconds / peak, seconds * workers / tasks
    if efficiency >= 0.5 then
      above, granularity_above, result, crosses = efficiency, granularity, granularity, true
    elseif crosses then
      result = granularity_above + (above - 0.5) / (above - efficiency) * (granularity - granularity_above)
      crosses = false
    end
    iterations = iterations / 2
  end
  return result
end

kit.answer{metg = metg(), tasks = tasks}
