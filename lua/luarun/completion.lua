--- What TAB does, without a terminal: a line and a cursor in; the words that could stand there out.
--
-- Looks at tables only as they lie: no function of the user's is called, and of metatables only an __index that is a
-- table is followed. What there is (globals, lasting locals, modules, ids, topics) comes in as a context of functions.

local tokens = require "luarun.tokens"

local completion = {}

local MAX = 500 -- candidates

local function starts(word, part) return word:sub(1, #part) == part end

local function sorted(set)
  local list = {}
  for word in pairs(set) do list[#list + 1] = word end
  table.sort(list)
  return list
end

local function matching(words, part)
  local set, count = {}, 0
  for _, word in ipairs(words) do
    if starts(word, part) and not set[word] and count < MAX then
      set[word] = true
      count = count + 1
    end
  end
  return sorted(set)
end

local function is_name(key) return type(key) == "string" and key:find("^[%a_][%w_]*$") and not tokens.keywords[key] end

-- The tables in which a field of the value is looked up.
local function tables_of(value)
  local list = {}
  for _ = 1, 10 do
    if type(value) == "table" then list[#list + 1] = value end
    local mt = debug.getmetatable(value)
    local index = type(mt) == "table" and rawget(mt, "__index")
    if type(index) ~= "table" then break end
    value = index
  end
  return list
end

local function field(value, name)
  for _, t in ipairs(tables_of(value)) do
    local found = rawget(t, name)
    if found ~= nil then return found end
  end
end

-- Names of fields; only functions after a colon.
local function fields(value, part, functions_only)
  local set, count = {}, 0
  for _, t in ipairs(tables_of(value)) do
    for key, v in next, t do
      if count >= MAX then break end
      local wanted = is_name(key) and starts(key, part) and not set[key]
      if wanted and (not functions_only or type(v) == "function") then
        set[key] = true
        count = count + 1
      end
    end
  end
  return sorted(set)
end

-- The value of "a.b.c", or nil.
local function value_of(chain, context)
  local first, rest = chain:match("^([%a_][%w_]*)(.*)$")
  if not first then return nil end
  local known, value = context.lookup(first)
  if not known then return nil end
  for name in rest:gmatch("[%.:]([%a_][%w_]*)") do
    value = field(value, name)
    if value == nil then return nil end
  end
  return value
end

local function names(part, context)
  local set = {}
  for _, name in ipairs(context.names()) do
    if is_name(name) and starts(name, part) then set[name] = true end
  end
  for word in pairs(tokens.keywords) do
    if part ~= "" and starts(word, part) then set[word] = true end
  end
  return sorted(set)
end

local loads = { require = true }

-- Inside a string that has not ended: a module after require, else a live id.
local function in_string(before, context)
  local list = tokens.scan(before)
  local last = list[#list]
  if not last or last.kind ~= "string" or not last.open then return nil end
  local part = last.text:sub(2)
  local previous = list[#list - 1]
  if previous and previous.text == "(" then previous = list[#list - 2] end
  if previous and loads[previous.text] then return part, matching(context.modules(), part) end
  if part:find("^%x+$") or (part == "" and previous and previous.text == "explain") then
    return part, matching(context.ids(), part)
  end
  return part, {}
end

-- After `? ` and in a short form; nil: the line is neither.
local function in_short_form(before, context)
  local part = before:match("^%s*%?%s*([%w_%.:]*)$")
  if part then return part, matching(context.topics(), part) end
  part = before:match("^%s*:(%w*)$")
  if part then return part, matching(context.commands(), part) end
  local name, words
  name, words, part = before:match("^%s*:(%w+)%s+(.-)(%S*)$")
  if name then return part, matching(context.arguments(name, words), part) end
end

---@param line string the line (and, of a chunk of several lines, that line alone)
---@param cursor integer bytes before the cursor
---@param context table lookup(name) -> known, value; names(), modules(), ids(), topics(), commands(),
--   arguments(command, words before) -> lists of words
---@return table { part = what stands there, words = candidates, sorted }
function completion.complete(line, cursor, context)
  local before = line:sub(1, cursor)
  local part, words = in_short_form(before, context)
  if not part then part, words = in_string(before, context) end
  if part then return { part = part, words = words } end
  local last = tokens.scan(before)
  last = last[#last]
  if last and last.kind == "comment" and (last.open or last.last == #before) then return { part = "", words = {} } end
  local chain, mark, name = before:match("([%a_][%w_%.:]*)([%.:])([%w_]*)$")
  if chain then
    local value = value_of(chain, context)
    return { part = name, words = value == nil and {} or fields(value, name, mark == ":") }
  end
  part = before:match("[%a_][%w_]*$") or ""
  if part == "" or before:sub(1, -#part - 1):find("[%.:]$") then return { part = part, words = {} } end
  return { part = part, words = names(part, context) }
end

--- What all words begin with.
function completion.common(words)
  local common = words[1] or ""
  for _, word in ipairs(words) do
    while not starts(word, common) do common = common:sub(1, -2) end
  end
  return common
end

--- Words in columns, as many as fit into the width, at most `rows` lines.
function completion.columns(words, width, rows)
  local longest = 1
  for _, word in ipairs(words) do longest = math.max(longest, #word) end
  local per_line = math.max(1, math.floor((width + 1) / (longest + 2)))
  local height = math.ceil(#words / per_line)
  local shown = math.min(height, rows or 20)
  local lines = {}
  for row = 1, shown do
    local parts = {}
    for column = 0, per_line - 1 do
      local word = words[row + column * height]
      if word then parts[#parts + 1] = word .. (" "):rep(longest + 2 - #word) end
    end
    lines[row] = (table.concat(parts):gsub("%s+$", ""))
  end
  if shown < height then lines[#lines + 1] = ("... (%d in all)"):format(#words) end
  return table.concat(lines, "\n")
end

return completion
