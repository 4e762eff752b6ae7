-- up.lua - a cluster of its own, by the commands that users type: what=up (from `luarun up --nodes N` until every node
-- is registered), join (from the start of one more node until it is), redis (commands to Redis for each task that runs
-- elsewhere). luarun=PATH, nodes= (4), n= how often (5), tasks= (2,000).
package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path
local lr, kit = require "luarun", require "kit"

local program, n, nodes = kit.text("luarun", "luarun"), kit.number("n", 5), kit.number("nodes", 4)
local folder = assert(io.popen("mktemp -d")):read("*l")

local function sh(command)
  local pipe = assert(io.popen(("XDG_STATE_HOME=%s LUARUN_CLUSTER= %s 2>&1"):format(folder, command)))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function up(count)
  local begun = lr.now()
  local said = sh(("%s up --nodes %d --workers 1"):format(program, count))
  local seconds, url = lr.now() - begun, said:match("^luarun %-%-cluster '?([^'\n]+)")
  if not url then error(said, 0) end
  return seconds, url
end

local function down() sh(program .. " down") end

local measure = {}

function measure.up()
  local list = {}
  for i = 1, n do
    list[i] = up(nodes)
    down()
  end
  kit.latency(list)
end

function measure.join()
  local _, url = up(1)
  local list = {}
  for i = 1, n do
    local begun = lr.now()
    local pipe = io.popen(("echo $$; XDG_STATE_HOME=%s exec %s --workers 1 node --verbose --cluster '%s' 2>&1")
      :format(folder, program, url))
    local pid, said = pipe:read("*l"), pipe:read("*l")
    list[i] = lr.now() - begun
    os.execute("kill " .. pid)
    pipe:close()
    if not (said and said:find("registered", 1, true)) then error(said or "the node ended", 0) end
  end
  down()
  kit.latency(list)
end

-- Commands that the server has worked off, those inside scripts too.
local function commands(url)
  local count = 0
  local info = sh(("redis-cli -s '%s' INFO commandstats"):format(url:match("^unix://(.*)$")))
  for calls in info:gmatch("calls=(%d+)") do count = count + calls end
  return count
end

function measure.redis()
  local _, url = up(1)
  local tasks, before = kit.number("tasks", 2000), commands(url)
  sh(([[%s --workers 0 --cluster '%s' -e "local lr, list = require 'luarun', {} local f = lr.remote(function() end)
    for i = 1, %d do list[i] = f() end lr.wait(list)"]]):format(program, url, tasks))
  local sent = commands(url) - before
  down()
  kit.answer { count = tasks, commands = sent / tasks }
end

measure[kit.text("what", "up")]()
os.execute("rm -rf " .. folder)
