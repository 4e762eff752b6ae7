--- The commands that look at a cluster: words in, lines out, an exit status.
--
-- Which cluster: --cluster, else LUARUN_CLUSTER (the program has put it in its place), else the one of --name that
-- `luarun up` started here. What is wrong is one line on standard error, and status 1.

local core_version = require("luarun.core").version
local json = require "luarun.cluster.json"
local list = require "luarun.cluster.list"
local memory = require "luarun.cluster.memory"
local status = require "luarun.cluster.status"
local tables = require "luarun.tables"

local commands = {}

--- Seconds between two screens of --watch.
local WATCH = 1

local FLAGS = { json = true, watch = true, help = true }
local VALUES = { cluster = true, name = true }

-- The words behind a command: options, then what stands alone, filters apart. nil and why where one is wrong.
local function parse(words)
  local options, alone, filters, i = {}, {}, {}, 1
  while i <= #words do
    local word = words[i]
    local name, value = word:match("^%-%-([%w-]+)=(.*)$")
    name = name or word:match("^%-%-([%w-]+)$")
    if name and FLAGS[name] and not value then
      options[name] = true
    elseif name and VALUES[name] then
      if not value then
        i = i + 1
        value = words[i]
      end
      if not value then return nil, "--" .. name .. " wants a value (luarun up --help)" end
      options[name] = value
    elseif word:sub(1, 1) == "-" then
      return nil, ("unknown option '%s' (luarun up --help)"):format(word)
    elseif word:find("=", 1, true) then
      local field, wanted = word:match("^([%w_]+)=(.*)$")
      if not field then return nil, ("'%s': field=value wanted"):format(word) end
      filters[field] = wanted
    else
      alone[#alone + 1] = word
    end
    i = i + 1
  end
  return options, alone, filters
end

local function find_url(options, given)
  if options.cluster then return options.cluster end
  if options.name then
    local url = tables.state_url(options.name)
    return url, url == nil and ("no cluster '%s' is up here"):format(options.name) or nil
  end
  local url = given or tables.state_url("default")
  if url then return url end
  return nil, "which cluster? give --cluster URL, set LUARUN_CLUSTER, or start one here: luarun up"
end

local function tell(name, notes)
  for _, note in ipairs(notes or {}) do io.stderr:write("luarun: ", name, ": ", note, "\n") end
end

local run = {}

function run.status(t, options)
  local function once()
    local s, why = status.read(t, tables.wall(), core_version)
    if not s then return nil, why end
    return options.json and json.encode(s) .. "\n" or status.text(s)
  end
  repeat
    local screen, why = once()
    if not screen then return why end
    if options.watch and not options.json and tables.is_terminal() then io.write("\27[H\27[2J") end
    if not io.write(screen) or not io.flush() then return end -- nobody reads any more
    if options.watch then tables.sleep(WATCH) end
  until not options.watch
end

function run.list(t, options, alone, filters)
  local now = tables.wall()
  local found, notes = list.read(t, alone[1], filters, now)
  if not found then return notes end
  tell("list", notes)
  io.write(options.json and json.encode(json.list(found)) .. "\n" or list.text(alone[1], found, now))
end

function run.memory(t, options)
  local found, notes = memory.read(t)
  if not found then return notes end
  tell("memory", notes)
  io.write(options.json and json.encode(found) .. "\n" or memory.text(found))
end

-- What can be said without a cluster.
local function refusal(name, alone)
  if name == "list" then
    return list.refusal(alone[1]) or (alone[2] and ("one table at a time, '%s' given too"):format(alone[2]))
  end
  return alone[1] and ("no argument wanted, '%s' given"):format(alone[1])
end

---Runs a command; its exit status.
---@param name string
---@param words string[]
---@param given string? the cluster's URL from before the command, or from the environment
---@param help string
function commands.run(name, words, given, help)
  local function refuse(why)
    io.stderr:write("luarun: ", name, ": ", why, "\n")
    return 1
  end
  local options, alone, filters = parse(words)
  if not options then return refuse(alone) end
  if options.help then
    io.write(help)
    return 0
  end
  local url, t
  local why = refusal(name, alone)
  if not why then url, why = find_url(options, given) end
  if not why then t, why = tables.open(url) end
  if not why then
    why = run[name](t, options, alone, filters)
    t:close()
  end
  return why and refuse(why) or 0
end

return commands
