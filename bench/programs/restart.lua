-- restart.lua - Redis is killed under a public cluster that works, and is back down= (3) seconds later, with its
-- append-only file or (empty=1) with nothing. gap: the longest time in which no task of the running job ended, in
-- tenths of a second; first: seconds from its return until a new job has had a value from a node; together: until
-- the rows of all nodes and of the running job are there. luarun=PATH.
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, public = require "luarun", require "public"
local redis = require "redis"
local kit, test = public.kit, public.test

local empty = kit.number("empty", 0) == 1
local server = redis.start("appendonly yes\nappendfsync everysec")
local agents = { server:node(), server:node() }
server:has(2, "node")
local stream = public.stream(public.words(server.url))
stream:works(2)
test.sleep(2) -- what was written is on the disk

server:crash(empty)
test.sleep(kit.number("down", 3))
server:begin()
local back = lr.now()
local job = test.start { "--workers", "0", "--cluster", server.url, "-e",
  "local lr = require 'luarun' lr.remote(function() return 1 end)():get() print('at ' .. lr.now())" }
test.eventually(function() return server:rows("node") == 2 and server:rows("job") >= 1 end, "all are there again")
local together = lr.now() - back
assert(job:wait() == 0, job:err())
local first = tonumber(job:out():match("at ([%d.]+)")) - back
test.sleep(1)
stream:finish()

local ends, counts = stream:said "at"
local gap, run = 0, 0
for i = 2, #ends do
  run = counts[i] == 0 and run + 1 or 0
  gap = math.max(gap, run / 10)
end
for _, agent in ipairs(agents) do agent:signal(15) end
for _, agent in ipairs(agents) do agent:wait() end
server:stop()
public.done()
kit.answer { gap = gap, first = first, together = together }
