--- Error values: what a failed task's future raises.
--
-- A table with `code`, `message`, `traceback` (of the task), `task`, `function_name`, `node`, `attempts`, `cause`
-- and, when the task raised something that is not a string, `value`. tostring reads like a Lua traceback with
-- the task's side first; the program adds the script's.

local core = require "luarun.core"

local errors = {}

local Error = core.error_meta
Error.__index = Error

local function add_one(lines, err)
  local head = err.message or ""
  if err.code and err.code ~= "error" then head = err.code .. ": " .. head end
  if err.function_name and err.function_name ~= "" then
    local attempt = (err.attempts or 1) > 1 and (", attempt %d"):format(err.attempts) or ""
    head = head .. ("\n\tin task %s (%s%s)"):format(err.function_name, (err.task or "?"):sub(1, 8), attempt)
  end
  lines[#lines + 1] = head
  if err.traceback and err.traceback ~= "" then lines[#lines + 1] = err.traceback end
end

function Error.__tostring(err)
  local lines = {}
  add_one(lines, err)
  local cause, depth = err.cause, 0
  while type(cause) == "table" and depth < 20 do
    lines[#lines + 1] = "caused by:"
    add_one(lines, cause)
    cause, depth = cause.cause, depth + 1
  end
  return table.concat(lines, "\n")
end

function Error.__concat(a, b) return tostring(a) .. tostring(b) end

--- Raises an error value made here.
---@param level number as of error()
function errors.raise(code, message, level)
  local info = debug.getinfo((level or 1) + 1, "Sl")
  local where = info and info.currentline > 0 and ("%s:%d: "):format(info.short_src, info.currentline) or ""
  error(setmetatable({ code = code, message = where .. message }, Error), 0)
end

return errors
