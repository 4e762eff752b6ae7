--- The console in a terminal: reads lines, gives them to the logic (console.lua), shows what comes, keeps the history.
--
-- Lines are edited where there is a terminal and libedit; elsewhere they are read plainly, without prompts where the
-- input is no terminal, so that a file of lines can be fed. Errors go to standard error, all else to standard output.

local Console = require "luarun.console"
local completion = require "luarun.completion"
local tty = require "luarun.tty"

local PROMPT, MORE = "> ", ">> "
local HISTORY_LINES = 2000 -- kept in the file, at least; up to twice as many lie there

-- ---- the history's file ---------------------------------------------------------------------------------------

local function history_path()
  local state, home = os.getenv("XDG_STATE_HOME"), os.getenv("HOME")
  if os.getenv("LUARUN_HISTORY") then return os.getenv("LUARUN_HISTORY") end
  if state and state:sub(1, 1) == "/" and tty.make_folder(state) and tty.make_folder(state .. "/luarun") then
    return state .. "/luarun/history"
  end
  return home and home ~= "" and home .. "/.luarun_history" or nil
end

local function lines_of(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do list[#list + 1] = line end
  return list
end

-- The file's text with the newest lines only; nil: it is short enough.
local function shortened(text)
  local list = lines_of(text)
  if #list <= 2 * HISTORY_LINES then return nil end
  return table.concat(list, "\n", #list - HISTORY_LINES + 1) .. "\n"
end

local History = {}
History.__index = History

function History.open(path)
  local self = setmetatable({ path = path }, History)
  local text = path and tty.rewrite(path, shortened)
  if not text then self.path = nil end -- a home that cannot be written: the lines live as long as the console
  for _, line in ipairs(lines_of(text or "")) do tty.remember(line) end
  return self
end

function History:add(line)
  if not line:find("%S") then return end
  line = line:gsub("[%z\n\r]", " ")
  tty.remember(line)
  if self.path then tty.append(self.path, line .. "\n") end
end

-- ---- what completion asks -------------------------------------------------------------------------------------

-- Names of the modules that `require` would find.
local function modules()
  local set, list = {}, {}
  for _, loaded in ipairs { package.loaded, package.preload } do
    for name in pairs(loaded) do
      if type(name) == "string" and not name:find("^luarun%.") and name ~= "_G" then set[name] = true end
    end
  end
  for template in (package.path .. ";" .. package.cpath):gmatch("[^;]+") do
    local before, after = template:match("^([^%?%*%[]*)%?([^%?]*)$")
    for _, file in ipairs(before and tty.files(before .. "*" .. after) or {}) do
      local name = file:sub(#before + 1, #file - #after)
      if name:find("^[%w_%-]+$") then set[name] = true end
    end
  end
  for name in pairs(set) do list[#list + 1] = name end
  return list
end

-- For TAB: what to insert, and what to show above the line.
local function completer(console)
  return function(line, cursor)
    local before = line:sub(1, cursor)
    if not before:find("%S") then return "  " end
    local found = console:complete(line, cursor)
    local words, part = found.words, found.part
    if #words == 0 then return nil end
    local common = completion.common(words)
    if #common > #part then return common:sub(#part + 1) end
    if #words > 1 then return nil, completion.columns(words, tty.columns(), 20) end
    return nil
  end
end

-- ---- the loop -------------------------------------------------------------------------------------------------

local function say(file, text)
  if text == nil or text == "" then return end
  file:write(text, "\n")
  file:flush()
end

-- Gives one line to the logic. True: it is the end.
local function one_line(console, line)
  local ok, kind, text = pcall(console.feed, console, line)
  tty.runs(false)
  if not ok then kind, text = "error", tostring(kind) end
  io.stdout:flush()
  if kind == "quit" then return true end
  say(kind == "error" and io.stderr or io.stdout, text)
  return false
end

-- In a cluster, lr.tasks and lr.objects tell of all of it.
local function look_at_cluster(lr, url)
  local inspection = require "luarun.cluster.inspection"
  local own = { tasks = lr.tasks, objects = lr.objects }
  lr.tasks, lr.objects = inspection.functions(url, own, function(note) say(io.stderr, "luarun: " .. note) end)
end

local function new_console(lr)
  local core = require "luarun.core"
  local url, own_tasks = core.joined(), lr.tasks
  core.track_futures()
  if url then look_at_cluster(lr, url) end
  return Console.new {
    lr = lr,
    env = _G,
    width = tty.columns,
    clock = lr.now,
    before = function() tty.runs(true) end,
    after = function() tty.runs(false) end,
    modules = modules,
    futures = core.futures_held,
    tasks = own_tasks,
  }
end

-- How lines are read: a function of a prompt, and what is done with each that is whole.
local function reader(console)
  local is_terminal = tty.is_terminal()
  if is_terminal then
    local edits, why = tty.edit(completer(console))
    if edits then
      local history = History.open(history_path())
      return tty.read_edited, function(line) history:add(line) end
    end
    say(io.stderr, "luarun: lines are not edited: " .. why)
  end
  local nothing = function() end
  if is_terminal then return tty.read_plain, nothing end
  return function() return tty.read_plain("") end, nothing
end

--- Runs the console until its end.
return function()
  local lr = require "luarun"
  local console = new_console(lr)
  local read, remember = reader(console)
  if tty.is_terminal() then
    say(io.stdout, ("luarun %s (%s); ? shows help, :help the short forms, ^D ends"):format(lr.version, jit.version))
  end
  tty.interactive(true)
  while true do
    local line, why = read(console:is_pending() and MORE or PROMPT)
    if line then
      remember(line)
      if one_line(console, line) then break end
    elseif why == "end" then
      break
    else
      console:drop()
    end
  end
  if tty.is_terminal() and not console:is_pending() then io.stdout:write("\n") end
  tty.interactive(false)
  tty.close()
end
