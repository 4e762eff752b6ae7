--- JSON out: numbers, texts, booleans, lists and tables with names as keys, which come in the order of their names.
--
-- A table with a field `n` or with elements is a list; json.list marks an empty one. It never reads JSON.

local json = {}

local List = {}

---Marks a list, so that an empty one is [].
function json.list(list) return setmetatable(list, List) end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function text(s)
  return '"' .. s:gsub('[%c"\\\127]', function(c) return ESCAPES[c] or ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function number(n)
  if n ~= n or n == math.huge or n == -math.huge then return "null" end
  if n == math.floor(n) and math.abs(n) < 2 ^ 53 then return ("%.0f"):format(n) end
  return ("%.14g"):format(n)
end

local encode

local function list_of(value)
  local parts = {}
  for i = 1, #value do parts[i] = encode(value[i]) end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function object_of(value)
  local names, parts = {}, {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = text(name) .. ":" .. encode(value[name]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

function encode(value)
  local kind = type(value)
  if kind == "string" then return text(value) end
  if kind == "number" then return number(value) end
  if kind == "table" then
    return (getmetatable(value) == List or #value > 0) and list_of(value) or object_of(value)
  end
  return kind == "boolean" and tostring(value) or "null"
end

json.encode = encode

return json
