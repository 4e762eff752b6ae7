-- check: the few assertions that the Lua tests share.
--
-- A test file is a plain script: it requires "check", calls check.test(name, fn) for every case, and ends with
-- check.done(). Each case prints one line, "ok - NAME", "not ok - NAME: why" or "ok - NAME # skip why"; done() prints
-- the sum, alone on a line, which tests/run reads, and ends the process with status 1 if a case failed.
--
-- It never uses luarun: a broken runtime must not be able to break the words that say so.

local check = {}

local passed, failed, skipped = 0, 0, 0

--- How many levels of a table a message shows.
local SHOW_DEPTH = 4

---A value as a message shows it: strings quoted, tables opened, keys in an order that repeats.
---@param value any
---@param depth? integer
---@return string
local function show(value, depth)
  depth = depth or 0
  if type(value) == "string" then return string.format("%q", value) end
  if type(value) ~= "table" then return tostring(value) end
  if depth >= SHOW_DEPTH then return "{...}" end
  local parts = {}
  for key, item in pairs(value) do
    parts[#parts + 1] = "[" .. show(key, depth + 1) .. "]=" .. show(item, depth + 1)
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ", ") .. "}"
end

---Whether two values are equal, tables by their contents. `seen` holds the pairs under comparison, so cycles end.
local function same(a, b, seen)
  if a == b then return true end
  if a ~= a and b ~= b then return type(a) == type(b) end -- two NaN
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  local others = seen[a] or {}
  if others[b] then return true end
  others[b], seen[a] = true, others
  for key, value in pairs(a) do
    if not same(value, b[key], seen) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function fail(message, default, level)
  error(message and (tostring(message) .. ": " .. default) or default, (level or 2) + 1)
end

---`a` and `b` are equal; tables are compared by contents, NaN equals NaN.
function check.eq(a, b, message)
  if not same(a, b, {}) then fail(message, "got " .. show(a) .. ", wanted " .. show(b)) end
  return a
end

---`value` is true in Lua's sense. Returns it.
function check.ok(value, message)
  if not value then fail(message, "got " .. show(value) .. ", wanted a true value") end
  return value
end

---`a` and `b` differ by `eps` (1e-9) at most.
function check.near(a, b, eps, message)
  local limit = eps or 1e-9
  local close = type(a) == "number" and math.abs(a - b) <= limit -- never so for a NaN
  if not close then
    fail(message, "got " .. show(a) .. ", wanted " .. show(b) .. " within " .. tostring(limit))
  end
  return a
end

---`fn()` raises an error whose tostring holds `text`, taken plainly. Returns the error.
function check.error_has(fn, text, message)
  local ok, err = pcall(fn)
  if ok then fail(message, "no error was raised, wanted one with " .. show(text)) end
  if not tostring(err):find(text, 1, true) then
    fail(message, "the error is " .. show(tostring(err)) .. ", wanted in it " .. show(text))
  end
  return err
end

local function traced(err)
  return { text = tostring(err), trace = debug.traceback("", 2) }
end

local function say(...)
  io.stdout:write(table.concat({ ... }), "\n")
  io.stdout:flush()
end

---Run one case. It passes when `fn` returns; a check.skip inside it is counted as a skip.
function check.test(name, fn)
  local ok, err = xpcall(fn, traced)
  if ok then
    passed = passed + 1
    say("ok - ", name)
    return
  end
  failed = failed + 1
  say("not ok - ", name, ": ", err.text)
  io.stderr:write("# ", name, err.trace:gsub("\n", "\n# "), "\n")
end

---Count a case that cannot be run here, and say why.
function check.skip(name, why)
  skipped = skipped + 1
  say("ok - ", name, " # skip ", why or "")
end

---Print the sum; status 1 if anything failed, or if nothing at all was tested.
function check.done()
  local sum = string.format("%d passed, %d failed", passed, failed)
  if skipped > 0 then sum = sum .. string.format(", %d skipped", skipped) end
  say(sum)
  if failed > 0 or passed + skipped == 0 then os.exit(false) end
end

check.show = show

return check
