-- reach.lua - for reach_test.lua: a task on one node starts another that is bound to a second node, again and again.
--
--   luarun --cluster URL reach.lua FIRST SECOND
--
-- FIRST and SECOND are addresses of the nodes' hosts. Says "connected" once it has worked, then after each change how it
-- ends: "unreachable: WORDS" or "again"; ends with status 0 after that. Owns nothing.

local lr = require "luarun"

local who = lr.remote(function()
  local pipe = io.popen("ip -o -4 addr show eth0")
  local address = pipe:read("*a"):match("inet ([%d.]+)")
  pipe:close()
  return address, require("luarun").nodes()[1].id
end, { node = "spread", returns = 2 })

-- The nodes' ids by their addresses, until all that are wanted are known.
local ids = {}
local stop = os.time() + 30
while not (ids[arg[1]] and ids[arg[2]]) do
  assert(os.time() < stop, "the nodes have not come")
  for _ = 1, 8 do
    local address, id = who()
    ids[lr.get(address)] = lr.get(id)
  end
end

local bounce = lr.remote(function(second)
  local remote = require "luarun"
  local there = remote.remote(function() return require("luarun").nodes()[1].id end, { node = second })
  local ok, got = pcall(remote.get, there())
  return ok and got or "", not ok and got.code or "", not ok and got.message or ""
end, { node = ids[arg[1]], returns = 3 })

local function try()
  local got, code, message = bounce(ids[arg[2]])
  got, code, message = lr.get(got), lr.get(code), lr.get(message)
  assert(code ~= "" or got == ids[arg[2]], "it ran on another node")
  return code, message
end

local function until_code(wanted, word)
  local code, message
  repeat
    code, message = try()
    assert(code == "" or code == "unreachable", code .. ": " .. message)
  until code == wanted
  print((word:gsub("MESSAGE", function() return message end)))
  io.stdout:flush()
  return message
end

until_code("", "connected " .. ids[arg[2]])
until_code("unreachable", "unreachable: MESSAGE")
until_code("", "again")
