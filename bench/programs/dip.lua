-- dip.lua - throughput while one of four nodes of a public cluster is killed and comes back away= (2) seconds later,
-- under a steady stream of tasks of ms= (2): the worst second's tasks over those of a second before (worst), and how
-- long after the node had returned the rate was whole again (full: 0.95 of before, over half a second). luarun=PATH.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, public = require "luarun", require "public"
local redis = require "redis"
local kit, test = public.kit, public.test

local BEFORE, AFTER, TENTHS, HALF = 5, 4, 10, 5
local away = kit.number("away", 2)

local server = redis.start()
local agents = {}
for i = 1, 4 do agents[i] = server:node() end
server:has(4, "node")
local stream = public.stream(public.words(server.url, { "ms=" .. kit.number("ms", 2), "count=16" }))
stream:works(4)
test.sleep(1 + BEFORE)
local killed = lr.now()
agents[1]:signal(9)
test.sleep(away)
agents[1] = server:node()
stream:works(5)
local returned = lr.now()
test.sleep(AFTER)
stream:finish()

local ends, counts = stream:said "at"
-- Tasks in the so many tenths of a second that begin with that one.
local function tasks(from, tenths)
  local sum = 0
  for i = from, from + tenths - 1 do sum = sum + counts[i] end
  return sum / tenths
end
local first_after, before_from
for i, at in ipairs(ends) do
  if at < killed then first_after = i + 1 end
  if at < killed - BEFORE then before_from = i + 1 end
end
local before = tasks(before_from, first_after - before_from)
local worst, full = math.huge, nil
for i = first_after, #ends - TENTHS + 1 do worst = math.min(worst, tasks(i, TENTHS)) end
for i = first_after, #ends - HALF + 1 do
  local begins = ends[i] - 0.1
  if not full and begins >= returned - 0.1 and tasks(i, HALF) >= 0.95 * before then full = begins - returned end
end
for i = 1, 4 do agents[i]:signal(15) end
for i = 1, 4 do agents[i]:wait() end
server:stop()
public.done()
kit.answer { rate = before * TENTHS, worst = worst / before, full = full and math.max(full, 0) or AFTER }
