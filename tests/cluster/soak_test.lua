-- soak_test.lua - random jobs on a cluster in which processes, agents and Redis are killed: all end right, nothing is left.
--
-- A short run, too short to say whether anything grows: `./dev soak` does. That it would is shown on made-up series.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"
local soak = require "soak"

-- Ten minutes, a look every five seconds: so much a minute, within so much noise, and a jump in the first minute.
local function series(a_minute, noise)
  local times, values, random = {}, {}, 1
  for i = 1, 120 do
    random = random * 16807 % 2147483647 -- Park and Miller 1988
    times[i] = 5 * i
    values[i] = 4000 + (i < 12 and 0 or 900) + a_minute * times[i] / 60 + noise * (random / 2147483647 - 0.5)
  end
  return times, values
end

check.test("the line through a series", function()
  local slope, scatter = soak.line({ 0, 1, 2, 3 }, { 1, 3, 5, 7 })
  check.eq({ slope, scatter }, { 2, 0 })
  slope, scatter = soak.line({ 0, 1, 2, 3 }, { 1, -1, -1, 1 })
  check.eq({ slope, scatter }, { 0, math.sqrt(2) })
end)

check.test("what grows is found, noise and a first jump are not; too short a series is not judged", function()
  local times, values = series(0, 200)
  check.eq(soak.judge(times, values, 512).grows, false)
  times, values = series(0, 3000)
  check.eq(soak.judge(times, values, 512).grows, false)
  times, values = series(250, 200)
  local j = soak.judge(times, values, 512)
  check.eq(j.grows, true)
  check.ok(j.slope > 200 and j.slope < 300, "a slope of " .. j.slope)
  check.eq(soak.judge({ 1, 2, 3 }, { 1, 2, 3 }, 1), nil)
end)

if os.execute("command -v redis-server >/dev/null") ~= 0 then
  check.skip("a short soak", "redis-server is not installed")
else
  check.test("a quarter of a minute of jobs and faults: every result is right, nothing is left", function()
    local told = soak.run { minutes = 0.25, seed = 7, pause = 2 }
    check.ok(told.jobs > 0, "jobs have run")
    check.ok(told.faults.job + told.faults.agent + told.faults.redis > 0, "something was killed")
  end)
end

kit.done()
