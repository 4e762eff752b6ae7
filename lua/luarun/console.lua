--- The console's logic: a line in; output, "more", an error or "quit" out. No terminal, no files, no clock of its own.
--
-- A chunk is compiled as an expression first and as statements then. `local` at top level lasts: each such variable
-- is a box, a pair of closures over one cell, and a chunk that speaks of it is joined to that cell, so that
-- functions typed in different lines share it, and tasks get it as the upvalue it is. A new `local x` is a new cell
-- which begins with the old value; functions made before keep theirs.
--
-- Typed code is not compiled by LuaJIT's compiler here (in tasks it is): a second ^C could not stop its loops.

local tokens = require "luarun.tokens"
local pretty = require "luarun.pretty"
local help = require "luarun.help"
local commands = require "luarun.commands"
local completion = require "luarun.completion"

local Console = {}
Console.__index = Console

local CHUNK = "=(console)"

local function box(value)
  local v
  local b = { get = function() return v end, set = function(x) v = x end }
  b.set(value)
  return b
end

--- options: lr (the public table), env (globals), width() columns, clock() seconds, modules() names, futures() that
-- this state holds, tasks() of this process where lr.tasks asks a cluster, before() and after() around what runs; all
-- but lr may be missing.
function Console.new(options)
  local self = setmetatable({
    lr = options.lr,
    env = options.env or _G,
    width = options.width or function() return 80 end,
    clock = options.clock or os.clock,
    before = options.before or function() end,
    after = options.after or function() end,
    futures = options.futures or function() return {} end,
    own_tasks = options.tasks or rawget(options.lr or {}, "tasks"),
    settings = { time = false },
    boxes = {},
    lines = {},
  }, Console)
  self.modules = options.modules or function() return {} end
  self.context = self:make_context()
  self:set_local("_", nil)
  self:set_local("lr", options.lr)
  return self
end

function Console:set_local(name, value) self.boxes[name] = box(value) end

-- ---- what the others need -------------------------------------------------------------------------------------

function Console:lookup(name)
  local b = self.boxes[name]
  if b then return true, b.get() end
  local value = rawget(self.env, name)
  return value ~= nil, value
end

function Console:names()
  local list = {}
  for name in pairs(self.boxes) do list[#list + 1] = name end
  for name in next, self.env do list[#list + 1] = name end
  return list
end

-- Ids of futures held here, and of tasks that this process knows.
function Console:ids()
  local set, list = {}, {}
  for _, f in ipairs(self.futures()) do set[f:id()] = true end
  if self.own_tasks then
    for _, task in ipairs(self.own_tasks { limit = 200 }) do set[task.id] = true end
  end
  for id in pairs(set) do list[#list + 1] = id end
  return list
end

-- A kernel's page is in its library's own words.
local function kernel_page(library, name)
  local page = tostring(library)
  if not name then return page end
  for line, doc in (page .. "\n"):gmatch("\n  (%S[^\n]*)\n?([^\n]*)") do
    if line:match("^[%w_]+") == name then return line .. (doc:find("^%s%s%s") and "\n" .. doc or "") end
  end
end

function Console:help(topic)
  local first, field = topic:match("^%s*([%a_][%w_]*)%.?([%w_]*)%s*$")
  local known, value = false, nil
  if first then known, value = self:lookup(first) end
  local mt = known and type(value) == "table" and getmetatable(value)
  if mt and type(mt) == "table" and tostring(value):find("^kernel library") then
    local page = kernel_page(value, field ~= "" and field or nil)
    if page then return pretty.clean(page) end
  end
  return help.find(topic, self.width())
end

function Console:make_context()
  local context = { lr = self.lr, settings = self.settings, own_tasks = self.own_tasks }
  function context.lookup(name) return self:lookup(name) end
  function context.names() return self:names() end
  function context.modules() return self.modules() end
  function context.ids() return self:ids() end
  function context.topics() return help.topics() end
  function context.commands() return commands.names() end
  function context.arguments(name) return commands.arguments(context, name) end
  function context.futures() return self.futures() end
  function context.width() return self.width() end
  function context.help(topic)
    local text, why = self:help(topic)
    return text or why
  end
  return context
end

--- What TAB finds: see completion.complete.
function Console:complete(line, cursor) return completion.complete(line, cursor, self.context) end

-- ---- compiling ------------------------------------------------------------------------------------------------

local function wants_more(message) return message:find("near '<eof>'$") ~= nil end

-- An expression's values go through this: in a tail call the chunk's own level would be missing from errors.
local function keep(...) return ... end
local KEEP = "local console_keep=...;"

-- The expression in the text, without a semicolon at its end.
local function expression_of(text)
  text = text:match("^%s*=([^=].*)$") or text
  local last = tokens.last(text)
  if not last or last.text ~= ";" then return text end
  return text:sub(1, last.first - 1) .. text:sub(last.last + 1)
end

-- The text as the body of a function whose lasting locals are upvalues; joined to the boxes.
function Console:joined(text, declared)
  local used = tokens.names(text)
  for _, name in ipairs(declared) do used[name] = true end
  local names = {}
  for name in pairs(used) do
    if self.boxes[name] then names[#names + 1] = name end
  end
  local head = #names > 0 and "local " .. table.concat(names, ",") .. ";" or ""
  local maker, why = loadstring(KEEP .. head .. "return function(...) " .. text .. "\nend", CHUNK)
  if not maker then return nil, why end
  local fn = maker(keep)
  for i = 1, 250 do
    local name = debug.getupvalue(fn, i)
    if not name then break end
    if self.boxes[name] then debug.upvaluejoin(fn, i, self.boxes[name].get, 1) end
  end
  setfenv(fn, self.env)
  jit.off(fn, true)
  return fn
end

-- A function and whether it is an expression; nil, "more"; nil, "error", message.
function Console:compile(text)
  local expression = expression_of(text)
  local as_expression, why_not = loadstring("return " .. expression, CHUNK)
  if as_expression then return self:joined("return console_keep(" .. expression .. "\n)", {}), true end
  local as_statements, why = loadstring(text, CHUNK)
  if not as_statements then
    if wants_more(why) or wants_more(why_not) then return nil, "more" end
    return nil, "error", why
  end
  local body, names = tokens.without_locals(text)
  local old = {}
  for _, name in ipairs(names) do
    old[name] = old[name] or self.boxes[name] or false
    self.boxes[name] = box(old[name] and old[name].get())
  end
  local fn, failed = self:joined(body, names)
  if fn then return fn, false end
  for name, b in pairs(old) do self.boxes[name] = b or nil end -- as it was
  return nil, "error", failed
end

-- ---- running --------------------------------------------------------------------------------------------------

-- The traceback without the console's own levels, and none where it says nothing.
local function own_levels(trace)
  local lines, frames = {}, 0
  for line in trace:gmatch("\n%s+([^\n]+)") do
    if line:find("^%[C%]: in function 'xpcall'") then break end
    if not line:find("^%[C%]: in function 'error'") then frames = frames + 1 end
    lines[#lines + 1] = "\t" .. line
  end
  if #lines > 0 then lines[#lines] = lines[#lines]:gsub("in function <%(console%):%d+>", "in the chunk") end
  return frames > 1 and "\n" .. table.concat(lines, "\n") or ""
end

local function in_full(err)
  if type(err) == "table" and (err.line or err.quit) and getmetatable(err) == nil then return err end
  local text
  if type(err) == "string" then
    text = pretty.clean(err)
  elseif type(err) == "table" and type(rawget(err, "message")) == "string" and getmetatable(err) then
    text = pretty.clean(tostring(err))
  else
    text = "an error that is no string: " .. pretty.format(err)
  end
  if text:find("^interrupted") then return { text = text } end
  return { text = text .. own_levels(debug.traceback("", 2)) }
end

local function pack(...) return { n = select("#", ...), ... } end

-- true and the values, or false and { text = } or { quit = }.
function Console:call(fn, ...)
  self.before()
  local results = pack(xpcall(fn, in_full, ...))
  self.after()
  return results
end

function Console:show(values, first)
  local parts, single, used = {}, true, 0
  for i = first, values.n do
    local part = pretty.format(values[i], { width = self.width() })
    single = single and not part:find("\n", 1, true)
    used = used + #part + 8
    parts[#parts + 1] = part
  end
  return table.concat(parts, single and used < self.width() and "\t" or "\n")
end

local function failure(err)
  if err.quit then return "quit" end
  return "error", err.line or err.text
end

function Console:timed(from, kind, text)
  if not self.settings.time or kind == "quit" then return kind, text end
  local line = "(" .. commands.seconds(self.clock() - from) .. ")"
  if not text or text == "" then return kind, line end
  return kind, text .. "\n" .. line
end

-- What an expression gave, or a future that was read.
function Console:keep(results, quiet)
  if results.n < 2 then return "output", "" end
  self.boxes._.set(results[2])
  self.before() -- a __tostring of the user's may run
  local ok, text = pcall(self.show, self, results, 2)
  self.after()
  if not ok then return "error", "the value cannot be shown: " .. pretty.clean(tostring(text)) end
  return "output", quiet and "" or text
end

function Console:run_chunk(fn, is_expression, quiet)
  local from = self.clock()
  local results = self:call(fn)
  if not results[1] then return self:timed(from, failure(results[2])) end
  if not is_expression and results.n < 2 then return self:timed(from, "output", "") end
  return self:timed(from, self:keep(results, quiet))
end

local function read_future(f) return f:get() end

function Console:run_command(name, words)
  local from = self.clock()
  local results = self:call(commands.run, self.context, name, words)
  if results[1] and results[2] == nil and results[3] then
    results = self:call(read_future, results[3])
    if results[1] then return self:timed(from, self:keep(results, false)) end
  end
  if not results[1] then return self:timed(from, failure(results[2])) end
  return self:timed(from, "output", results[2] or "")
end

--- Gives the console a line, without its end.
---@return string kind  "output", "more" (lines are missing), "error" or "quit"
---@return string? text  what to show; "" for nothing
function Console:feed(line)
  if #self.lines == 0 then
    local topic = line:match("^%s*%?(.*)$")
    if topic then
      local text, why = self:help(topic)
      if text then return "output", text end
      return "error", pretty.clean(why)
    end
    local name, words = line:match("^%s*:(%a%w*)%s*(.-)%s*$")
    if name then return self:run_command(name, words) end
  end
  self.lines[#self.lines + 1] = line
  local text = table.concat(self.lines, "\n")
  local fn, kind, why = self:compile(text)
  if not fn and kind == "more" then return "more" end
  self.lines = {}
  if not fn then return "error", pretty.clean(why) end
  local last = tokens.last(text)
  return self:run_chunk(fn, kind, last ~= nil and last.text == ";")
end

--- Whether lines of a chunk that is not whole have been given.
function Console:is_pending() return #self.lines > 0 end

--- Forgets them.
function Console:drop() self.lines = {} end

return Console
