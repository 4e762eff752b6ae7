--- The words of Lua text, for the console: what is a name, what a string that has not ended, where a top-level local
-- is.
--
-- Pure: text in, tables out. It knows the lexer of LuaJIT and as much of the grammar as the depth of blocks; whether
-- a text is right is the compiler's business, which is asked first.

local tokens = {}

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true
  until while]]):gmatch("%a+") do keywords[word] = true end
tokens.keywords = keywords

local opens = { ["do"] = true, ["function"] = true, ["if"] = true, ["repeat"] = true }
local closes = { ["end"] = true, ["until"] = true }

-- Where a long bracket that begins at `at` ends; nil: it begins none; false: it does not end.
local function long_end(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", at + #level + 2, true)
  return last or false
end

-- Where the quoted string that begins at `at` ends; false: the line ends before it.
local function quoted_end(text, at)
  local quote, i = text:byte(at), at + 1
  while i <= #text do
    local c = text:byte(i)
    if c == quote then return i end
    if c == 10 then return false end
    i = c == 92 and i + 2 or i + 1 -- a backslash takes the next one with it
  end
  return false
end

local function string_token(text, at)
  local last = long_end(text, at)
  if last == nil then last = quoted_end(text, at) end
  return "string", last or #text, not last
end

local function comment_token(text, at)
  local last = long_end(text, at + 2)
  if last == nil then return "comment", (text:find("\n", at, true) or #text + 1) - 1, false end
  return "comment", last or #text, not last
end

local function next_token(text, at)
  local c = text:sub(at, at)
  if c:find("[%a_\128-\255]") then
    local word = text:match("^[%w_\128-\255]+", at)
    return keywords[word] and "keyword" or "name", at + #word - 1
  end
  if c:find("%d") or text:find("^%.%d", at) then
    local word = text:match("^0[xX][%x%.]*[pP][%+%-]%w*", at) or text:match("^[%d%.]+[eE][%+%-]%w*", at)
      or text:match("^[%w%.]+", at)
    return "number", at + #word - 1
  end
  if text:find("^%-%-", at) then return comment_token(text, at) end
  if c == '"' or c == "'" or text:find("^%[=*%[", at) then return string_token(text, at) end
  local operator = text:match("^%.%.%.?", at) or text:match("^[=~<>]=", at) or text:match("^::", at) or c
  return "operator", at + #operator - 1
end

--- The tokens of a text, in order: { kind, text, first, last, open }; kind is name, keyword, number, string, comment
-- or operator; open: a string or comment that does not end. Never fails, whatever the bytes.
---@param text string
---@return table
function tokens.scan(text)
  local list, at = {}, text:find("%S") or #text + 1
  while at <= #text do
    local kind, last, open = next_token(text, at)
    list[#list + 1] = { kind = kind, text = text:sub(at, last), first = at, last = last, open = open or false }
    at = text:find("%S", last + 1) or #text + 1
  end
  return list
end

-- The same without comments.
local function code_of(text)
  local list = {}
  for _, token in ipairs(tokens.scan(text)) do
    if token.kind ~= "comment" then list[#list + 1] = token end
  end
  return list
end

--- The last token that is no comment, or nil.
function tokens.last(text)
  local list = code_of(text)
  return list[#list]
end

-- Notes the declaration whose `local` is list[i]: its names, and what becomes of its text.
local function declare(list, i, names, edits)
  local word = list[i + 1]
  if not word then return end
  edits[#edits + 1] = { list[i].first, list[i].last, "     " }
  if word.text == "function" then
    if list[i + 2] then names[#names + 1] = list[i + 2].text end
    return
  end
  local k = i + 1
  while list[k] and list[k].kind == "name" do
    names[#names + 1] = list[k].text
    if not (list[k + 1] and list[k + 1].text == ",") then break end
    k = k + 2
  end
  if list[k] and not (list[k + 1] and list[k + 1].text == "=") then
    edits[#edits + 1] = { list[k].last + 1, list[k].last, " = nil" }
  end
end

local function edited(text, edits)
  local parts, at = {}, 1
  for _, edit in ipairs(edits) do
    parts[#parts + 1] = text:sub(at, edit[1] - 1)
    parts[#parts + 1] = edit[3]
    at = edit[2] + 1
  end
  parts[#parts + 1] = text:sub(at)
  return table.concat(parts)
end

--- Makes assignments of the top-level locals of a chunk that compiles: `local x = 1` becomes `x = 1`, `local x` becomes
-- `x = nil`, on the same line. Who declares the names around it makes them last.
---@return string text, table names  as declared, in order
function tokens.without_locals(text)
  local list, names, edits, depth = code_of(text), {}, {}, 0
  for i, token in ipairs(list) do
    if token.kind == "keyword" then
      if opens[token.text] then
        depth = depth + 1
      elseif closes[token.text] then
        depth = depth - 1
      elseif token.text == "local" and depth == 0 then
        declare(list, i, names, edits)
      end
    end
  end
  return edited(text, edits), names
end

--- The set of names that stand anywhere in the text.
function tokens.names(text)
  local set = {}
  for _, token in ipairs(tokens.scan(text)) do
    if token.kind == "name" then set[token.text] = true end
  end
  return set
end

return tokens
