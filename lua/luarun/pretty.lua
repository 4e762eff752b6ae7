--- Values as the console shows them: readable, within bounds, and never able to break a terminal.
--
-- Tables are opened to a depth, keys in an order that repeats; what is too long, too deep or too much is cut with a
-- word about how much there was; a table inside itself is named by its path. Bytes that a terminal would obey
-- (controls, direction marks, what is no UTF-8) are shown as Lua writes them, \27. No metamethod of a value but
-- __tostring is called, and that under pcall. Pure: a value in, text out.

local pretty = {}

pretty.defaults = {
  width = 80,   -- columns
  depth = 5,    -- tables inside each other
  items = 50,   -- of each table
  total = 1000, -- values in all
  bytes = 400,  -- of each string
  lines = 100,  -- of all
}

-- ---- strings --------------------------------------------------------------------------------------------------

local named = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ["\\"] = "\\\\", ['"'] = '\\"' }

local function escape_bytes(bytes)
  return (bytes:gsub(".", function(c) return ("\\%03d"):format(c:byte()) end))
end

-- The bytes of the UTF-8 character at `at`; nil: there is none (too long a form, a surrogate, cut off).
local function utf8_length(text, at)
  local a, b = text:byte(at, at + 1)
  if a >= 0xC2 and a <= 0xDF then return text:find("^[\128-\191]", at + 1) and 2 end
  if a >= 0xE0 and a <= 0xEF then
    if not text:find("^[\128-\191][\128-\191]", at + 1) then return nil end
    if (a == 0xE0 and b < 0xA0) or (a == 0xED and b > 0x9F) then return nil end
    return 3
  end
  if a >= 0xF0 and a <= 0xF4 then
    if not text:find("^[\128-\191][\128-\191][\128-\191]", at + 1) then return nil end
    if (a == 0xF0 and b < 0x90) or (a == 0xF4 and b > 0x8F) then return nil end
    return 4
  end
end

-- Characters that a terminal obeys although they are no ASCII controls: C1, line and direction marks.
local function is_obeyed(character)
  return character:find("^\194[\128-\159]") or character:find("^\226\128[\142\143\168-\174]")
    or character:find("^\226\129[\166-\169]") or character == "\239\187\191"
end

local function clean_high(run)
  local parts, at = {}, 1
  while at <= #run do
    local length = utf8_length(run, at)
    local character = run:sub(at, at + (length or 1) - 1)
    parts[#parts + 1] = (length and not is_obeyed(character)) and character or escape_bytes(character)
    at = at + #character
  end
  return table.concat(parts)
end

--- Text that a terminal shows as it is: line ends and tabs stay, other controls are written as \27.
---@param text string
---@return string
function pretty.clean(text)
  text = text:gsub("[%z\1-\8\11-\31\127]", escape_bytes)
  return (text:gsub("[\128-\255]+", clean_high))
end

local function cut(text, bytes)
  if #text <= bytes then return text, "" end
  local last = bytes
  while last > bytes - 4 and text:find("^[\128-\191]", last + 1) do last = last - 1 end
  return text:sub(1, last), (" ... (%d bytes)"):format(#text)
end

--- A string as it would be written in Lua, cut at `bytes`.
function pretty.quote(text, bytes)
  local shown, rest = cut(text, bytes or pretty.defaults.bytes)
  shown = shown:gsub('[\n\t\r\\"]', named)
  return '"' .. pretty.clean(shown) .. '"' .. rest
end

-- Columns that a text takes, about: characters, wide ones for two.
local function columns(text)
  local _, continuation = text:gsub("[\128-\191]", "")
  local _, wide = text:gsub("[\227-\239][\128-\191][\128-\191]", "")
  return #text - continuation + wide
end
pretty.columns = columns

-- ---- what is no table -----------------------------------------------------------------------------------------

function pretty.number(v)
  if v ~= v then return "nan" end
  if v == math.huge then return "inf" end
  if v == -math.huge then return "-inf" end
  if v == 0 and 1 / v < 0 then return "-0" end
  local text = ("%.14g"):format(v)
  return tonumber(text) == v and text or ("%.17g"):format(v)
end

local function said(value, options)
  local ok, text = pcall(tostring, value)
  if not ok or type(text) ~= "string" then return ("<%s: tostring fails: %s>"):format(type(value),
    pretty.clean(tostring(text)):match("[^\n]*")) end
  local shown, rest = cut(text, 4 * options.bytes)
  return pretty.clean(shown) .. rest
end

local function show_function(fn)
  local info = debug.getinfo(fn, "S")
  if info.what == "C" then return tostring(fn) end
  return ("function <%s:%d>"):format(pretty.clean(info.short_src), info.linedefined)
end

local function own_tostring(value)
  local mt = debug.getmetatable(value)
  return type(mt) == "table" and rawget(mt, "__tostring") ~= nil
end

local function show_plain(value, options)
  local kind = type(value)
  if kind == "string" then return pretty.quote(value, options.bytes) end
  if kind == "number" then return pretty.number(value) end
  if kind == "function" then return show_function(value) end
  return said(value, options)
end

-- ---- tables ---------------------------------------------------------------------------------------------------

local rank = { number = 1, string = 2, boolean = 3 }

local function key_less(a, b)
  local ra, rb = rank[type(a)] or 4, rank[type(b)] or 4
  if ra ~= rb then return ra < rb end
  if ra <= 2 then return a < b end
  local ta, tb = type(a), type(b)
  if ta ~= tb then return ta < tb end
  if ta == "boolean" then return b and not a end
  return false -- tables and the like: as they come
end

-- Keys behind the list part that are to be shown, and how many there are.
local function keys_of(t, list, limit)
  local keys, count = {}, 0
  for key in next, t do
    local in_list = type(key) == "number" and key >= 1 and key <= list and key % 1 == 0
    if not in_list then
      count = count + 1
      if count <= 20 * limit then keys[count] = key end
    end
  end
  table.sort(keys, key_less)
  return keys, count
end

local reserved = require("luarun.tokens").keywords

local function is_name(key)
  return type(key) == "string" and #key <= 60 and key:find("^[%a_][%w_]*$") and not reserved[key]
end

local function path_of(path, key)
  if is_name(key) then return path .. "." .. key end
  if type(key) == "string" or type(key) == "number" then
    return path .. "[" .. (type(key) == "string" and pretty.quote(key, 20) or pretty.number(key)) .. "]"
  end
  return path .. "[<" .. type(key) .. ">]"
end

local SHORT = 24 -- columns of a part that shares its line with others

local show

-- The parts of an opened table, each as it would stand on a line of its own.
local function parts_of(t, state, depth, path)
  local options, parts = state.options, {}
  local list = 0
  while rawget(t, list + 1) ~= nil do list = list + 1 end
  local function add(key, value, label)
    parts[#parts + 1] = label .. show(value, state, depth + 1, path_of(path, key), columns(label))
  end
  for i = 1, math.min(list, options.items) do
    if state.left <= 0 then break end
    add(i, rawget(t, i), "")
  end
  local keys, count = keys_of(t, list, options.items)
  local room = math.max(options.items - #parts, 5)
  local shown = math.min(list, #parts)
  for i = 1, math.min(#keys, room) do
    if state.left <= 0 then break end
    local key = keys[i]
    add(key, rawget(t, key), is_name(key) and key .. " = " or "[" .. show_plain(key, { bytes = 60 }) .. "] = ")
    shown = shown + 1
  end
  if shown < list + count then parts[#parts + 1] = ("... (%d more)"):format(list + count - shown) end
  return parts
end

-- Short parts (a list of numbers) share lines.
local function rows_of(parts, width)
  local rows, row, used = {}, {}, 0
  for _, part in ipairs(parts) do
    if columns(part) > SHORT or part:find("\n", 1, true) then return parts end
  end
  for _, part in ipairs(parts) do
    if used + #part + 2 > width and #row > 0 then
      rows[#rows + 1] = table.concat(row, ", ")
      row, used = {}, 0
    end
    row[#row + 1] = part
    used = used + columns(part) + 2
  end
  rows[#rows + 1] = table.concat(row, ", ")
  return rows
end

local function lay_out(parts, state, depth, used)
  local length, single = 2, true
  for _, part in ipairs(parts) do
    length = length + columns(part) + 2
    single = single and not part:find("\n", 1, true)
  end
  if single and length + used + 2 * depth <= state.options.width then
    return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
  end
  local indent = ("  "):rep(depth + 1)
  return "{\n" .. indent .. table.concat(rows_of(parts, state.options.width - #indent), ",\n" .. indent) .. "\n"
    .. ("  "):rep(depth) .. "}"
end

local function show_table(t, state, depth, path, used)
  if state.path[t] then return "<cycle: " .. state.path[t] .. ">" end
  if depth >= state.options.depth then return next(t) == nil and "{}" or "{...}" end
  state.path[t] = path == "" and "." or path
  local text = lay_out(parts_of(t, state, depth, path), state, depth, used)
  state.path[t] = nil
  return text
end

function show(value, state, depth, path, used)
  state.left = state.left - 1
  if type(value) ~= "table" then return show_plain(value, state.options) end
  if not own_tostring(value) then return show_table(value, state, depth, path, used) end
  local text = said(value, state.options)
  if depth > 0 then text = "<" .. (text:match("^[^\n]*")) .. ">" end
  return text
end

local function bounded(text, limit)
  local at = 0
  for _ = 1, limit do
    at = text:find("\n", at + 1, true)
    if not at then return text end
  end
  local _, rest = text:sub(at + 1):gsub("\n", "")
  return text:sub(1, at - 1) .. ("\n... (%d more lines)"):format(rest + 1)
end

--- A value as text: one line where it fits, else several.
---@param value any
---@param options? table  of pretty.defaults
---@return string
function pretty.format(value, options)
  local own = setmetatable(options or {}, { __index = pretty.defaults })
  local state = { options = own, left = own.total, path = {} }
  return bounded(show(value, state, 0, "", 0), own.lines)
end

return pretty
