--- The console's short forms, `:nodes`, `:explain ID` and so on: each a function of a context and its words that gives
-- text.
--
-- They ask the public table and print what it gives; one whose function is not in this version says so in a line. The
-- context is the console's: lr, width(), lookup(name), futures() (live ones that this console holds), settings. Pure,
-- but for what lr does.

local help = require "luarun.help"
local pretty = require "luarun.pretty"

local commands = {}

-- ---- tables as text -------------------------------------------------------------------------------------------

local ID_SHOWN = 12
local LAST_WIDTH_MIN = 20

local function seconds(v)
  if v < 1e-3 then return ("%.0f us"):format(v * 1e6) end
  if v < 1 then return ("%.1f ms"):format(v * 1e3) end
  if v < 120 then return ("%.1f s"):format(v) end
  return v < 7200 and ("%.0f min"):format(v / 60) or ("%.1f h"):format(v / 3600)
end
commands.seconds = seconds

local function bytes(v)
  local unit = 1
  local units = { "bytes", "kB", "MB", "GB", "TB" }
  while v >= 999.5 and unit < #units do v, unit = v / 1000, unit + 1 end
  return (unit == 1 and "%d %s" or "%.1f %s"):format(v, units[unit])
end
commands.bytes = bytes

local shapes = {
  age = seconds, time_s = seconds, bytes = bytes, memory = bytes,
  progress = function(v) return ("%.0f %%"):format(v * 100) end,
}

-- "cpu=2 gpu=0 memory=25.3 GB"
local function resources_text(t)
  local parts = {}
  for name, amount in pairs(t) do
    parts[#parts + 1] = ("%s=%s"):format(name, shapes[name] and shapes[name](amount) or pretty.number(amount))
  end
  table.sort(parts)
  return table.concat(parts, " ")
end

local function is_id(text) return #text == 32 and not text:find("[^%x]") end

local function cell(name, value)
  if value == nil then return "" end
  if name == "resources" and type(value) == "table" then return resources_text(value) end
  if type(value) == "number" then return shapes[name] and shapes[name](value) or pretty.number(value) end
  if type(value) == "string" then
    if is_id(value) then return value:sub(1, ID_SHOWN) end
    return (pretty.clean(value):gsub("[\r\n\t]", " "))
  end
  return (pretty.format(value, { width = math.huge, depth = 2, items = 10, bytes = 40 }):gsub("%s*\n%s*", " "))
end

-- The columns wanted, of those that any row has, and then what else the rows have.
local function columns_of(rows, wanted)
  local there, names, known = {}, {}, {}
  for _, row in ipairs(rows) do
    for name in pairs(row) do there[name] = true end
  end
  for _, name in ipairs(wanted) do
    known[name] = true
    if there[name] then names[#names + 1] = name end
  end
  local others = {}
  for name in pairs(there) do
    if type(name) == "string" and not known[name] then others[#others + 1] = name end
  end
  table.sort(others)
  for i = #others, 1, -1 do table.insert(names, math.max(#names, 1), others[i]) end -- the longest stays last
  return names
end

local function pad(text, width)
  local used = pretty.columns(text)
  if used <= width then return text .. (" "):rep(width - used) end
  return text:sub(1, math.max(width - 3, 1)):gsub("[\128-\255]+$", "") .. "..."
end

--- Rows under a line of names; the last column takes what is left of the width.
---@param rows table list of tables
---@param wanted table names of columns in order; others follow
function commands.table(rows, wanted, width)
  local names, widths, lines = columns_of(rows, wanted), {}, {}
  local cells = {}
  for r, row in ipairs(rows) do
    cells[r] = {}
    for c, name in ipairs(names) do
      cells[r][c] = cell(name, row[name])
      widths[c] = math.min(math.max(widths[c] or #name, pretty.columns(cells[r][c])), c < #names and 32 or 1000)
    end
  end
  local used = 0
  for c = 1, #names - 1 do used = used + widths[c] + 2 end
  widths[#names] = math.max(LAST_WIDTH_MIN, math.min(widths[#names] or 0, width - used))
  local function add(values)
    local parts = {}
    for c = 1, #names do parts[c] = pad(values[c], widths[c]) end
    lines[#lines + 1] = (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  add(names)
  for r = 1, #rows do add(cells[r]) end
  return table.concat(lines, "\n")
end

-- ---- what they share ------------------------------------------------------------------------------------------

-- The function of luarun's table; raises the line that says it is not there yet.
local function need(context, name)
  local fn = rawget(context.lr, name)
  if fn then return fn end
  local _, why = pcall(function() return context.lr[name] end)
  why = tostring(why):gsub("^[^:]*:%d+: ", "")
  error({ line = "not there yet: " .. why:match("[^\n]*") })
end

local function fail(line) error({ line = line }) end

-- "state=running name=fib 10" as { state = "running", name = "fib", limit = 10 }.
local function filters(words)
  local t = {}
  for word in words:gmatch("%S+") do
    local name, value = word:match("^([%w_]+)=(.*)$")
    if name then
      t[name] = tonumber(value) or value
    elseif tonumber(word) then
      t.limit = tonumber(word)
    else
      fail("'" .. pretty.clean(word) .. "': a filter like state=running, or a number of lines, wanted")
    end
  end
  return t
end

local function plural(n, word) return ("%d %s%s"):format(n, word, n == 1 and "" or "s") end

-- foot: a last line of what the whole list tells; may be nil.
local function listing(name, word, wanted, none, foot)
  return function(context, words)
    local fn = need(context, name)
    local asked = filters(words)
    asked.limit = asked.limit or 20
    local ok, list = pcall(fn, asked)
    if not ok then fail((tostring(list):gsub("^[^%s:]*:%d+: ", ""))) end
    local text = #list == 0 and none or commands.table(list, wanted, context.width())
    local total = list.total or #list
    if foot then
      text = text .. "\n" .. foot(list)
    elseif total > #list then text = text .. ("\n%s; %d shown"):format(plural(total, word), #list) end
    return text
  end
end

-- A future that this console holds, by its id or the beginning of it.
local function find_future(context, words)
  local part = words:match("^(%x+)$")
  if not part then fail("an id or the beginning of one wanted (TAB shows those that live)") end
  local found = {}
  for _, f in ipairs(context.futures()) do
    if f:id():sub(1, #part) == part:lower() then found[f:id()] = f end
  end
  local id, f = next(found)
  if not id then fail("no future that this console holds has an id that begins with " .. part) end
  if next(found, id) then fail("more than one id begins with " .. part) end
  return f
end

-- ---- the short forms ------------------------------------------------------------------------------------------

local rows = {}

local function add(name, usage, summary, run, arguments)
  rows[#rows + 1] = { name = name, usage = usage, summary = summary, run = run, arguments = arguments }
end

local states = { "state=waiting", "state=queued", "state=running", "state=ready", "state=failed", "state=cancelled" }

add("nodes", ":nodes", "the nodes, what they offer and what is free",
  listing("nodes", "node", { "id", "state", "host", "pid", "workers", "resources" }, "no nodes"))
add("tasks", ":tasks [state=S] [name=F] [N]", "tasks that live, newest first",
  listing("tasks", "task", { "id", "state", "age", "attempt", "progress", "node", "name" }, "no tasks"),
  function() return states end)
add("actors", ":actors", "actors", listing("actors", "actor", { "id", "name", "state" }, "no actors"))
add("objects", ":objects [N]", "objects of the store, largest first",
  listing("objects", "object", { "id", "bytes", "references", "where", "site" }, "no large objects", function(list)
    return ("%s in all, %s of %s"):format(plural(list.total or #list, "object"), bytes(list.bytes or 0),
      bytes(list.capacity or 0))
  end))
add("errors", ":errors [N]", "tasks that failed, latest first",
  listing("errors", "error", { "task", "age", "code", "function_name", "message" }, "no task has failed"))

local function one(name)
  return function(context)
    local lines = {}
    local t = need(context, name)()
    for key in pairs(t) do lines[#lines + 1] = key end
    table.sort(lines)
    for i, key in ipairs(lines) do lines[i] = ("%-12s %s"):format(key, cell(key, t[key])) end
    return table.concat(lines, "\n")
  end
end

add("resources", ":resources", "what this node offers", one "resources")
add("stats", ":stats", "counts of this node", one "stats")

add("explain", ":explain ID", "why a task is where it is", function(context, words)
  local fn = need(context, "explain")
  if words == "" then fail("an id wanted (TAB shows those that live)") end
  local said = fn(words)
  return type(said) == "string" and pretty.clean(said) or pretty.format(said, { width = context.width() })
end, function(context) return context.ids() end)

add("get", ":get ID", "reads a future that this console holds by its id; the value is then _", function(context, words)
  return nil, find_future(context, words)
end, function(context) return context.ids() end)

add("cancel", ":cancel ID", "cancels a task by its future's id", function(context, words)
  local f = find_future(context, words)
  f:cancel()
  return tostring(f)
end, function(context) return context.ids() end)

local TOP_SECONDS = 0.5

-- Tasks of this process by function and state.
local function by_function(list)
  local found, order = {}, {}
  for _, task in ipairs(list) do
    local row = found[task.name]
    if not row then
      row = { name = task.name, waiting = 0, queued = 0, running = 0, done = 0 }
      found[task.name] = row
      order[#order + 1] = row
    end
    local state = row[task.state] and task.state or "done"
    row[state] = row[state] + 1
  end
  table.sort(order, function(a, b)
    if a.running ~= b.running then return a.running > b.running end
    if a.queued ~= b.queued then return a.queued > b.queued end
    return tostring(a.name) < tostring(b.name)
  end)
  return order
end

add("top", ":top", "what runs now, and rates over half a second", function(context)
  local lr = context.lr
  local before, from = need(context, "stats")(), lr.now()
  lr.sleep(TOP_SECONDS)
  local after, took = lr.stats(), lr.now() - from
  local text = ("%d workers; %d tasks running or parked, %d pending; %.0f submitted/s, %.0f finished/s"):format(
    after.workers, after.running, after.pending, (after.submitted - before.submitted) / took,
    (after.finished - before.finished) / took)
  local tasks = context.own_tasks
  local order = tasks and by_function(tasks { limit = 100000 }) or {}
  if #order == 0 then return text end
  while #order > 15 do order[#order] = nil end
  return text .. "\n" .. commands.table(order, { "running", "queued", "waiting", "done", "name" }, context.width())
end)

add("timeline", ":timeline FILE", "writes the timeline as Chrome trace events", function(context, words)
  local fn = need(context, "timeline")
  if words == "" then fail("a file's name wanted") end
  fn(words)
  return "written to " .. pretty.clean(words)
end)

add("time", ":time [on|off]", "whether to show how long each command took", function(context, words)
  if words ~= "" and words ~= "on" and words ~= "off" then fail("on or off wanted") end
  if words ~= "" then context.settings.time = words == "on" end
  return "the time of each command is " .. (context.settings.time and "shown" or "not shown")
end, function() return { "on", "off" } end)

add("help", ":help [NAME]", "this; with a name as ? NAME", function(context, words)
  if words ~= "" then return context.help(words) end
  local lines = {}
  for _, row in ipairs(rows) do lines[#lines + 1] = ("%-31s%s"):format(row.usage, row.summary) end
  lines[#lines + 1] = "? NAME, ?                      help on a function of luarun; what there is"
  return table.concat(lines, "\n")
end, function() return help.topics() end)

add("quit", ":quit", "ends the console, as ^D does", function() error({ quit = true }) end)

local by_name, names = {}, {}
for _, row in ipairs(rows) do
  by_name[row.name] = row
  names[#names + 1] = row.name
end

function commands.names() return names end

--- What may follow the name, for completion.
function commands.arguments(context, name)
  local row = by_name[name]
  return row and row.arguments and row.arguments(context) or {}
end

--- Runs `:name words`. Text; or nil and a future to be read; raises { line = } for what is to be said in one line,
-- { quit = true } to end, and what luarun raises.
function commands.run(context, name, words)
  local row = by_name[name]
  if not row then fail("there is no short form :" .. name .. "; :help lists them") end
  return row.run(context, words)
end

return commands
