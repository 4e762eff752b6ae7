--- `luarun memory`: the stores of all processes of a cluster's live jobs, and the objects in them, the largest first.
--
-- memory.read asks (inspection.lua) and gives a plain table, which is what --json prints; memory.text makes lines of
-- it.

local inspection = require "luarun.cluster.inspection"
local json = require "luarun.cluster.json"
local text = require "luarun.cluster.text"

local memory = {}

local SHOWN = 40

---@return table? memory, string[]|string notes
function memory.read(tables)
  local found, notes = inspection.objects(tables)
  if not found then return nil, notes end
  local m = { total = found.total, bytes = found.bytes, capacity = found.capacity, stores = json.list(found.stores) }
  m.objects = json.list {}
  for i, object in ipairs(found) do m.objects[i] = object end
  return m, notes
end

function memory.text(m)
  local out, lines = {}, {}
  out[1] = ("stores %d: objects %d, %s used of %s\n"):format(#m.stores, m.total, text.size(m.bytes),
    text.size(m.capacity))
  for i, s in ipairs(m.stores) do
    lines[i] = { s.job:sub(1, 8), s.node:sub(1, 8), s.host, s.pid, s.total, text.size(s.used), text.size(s.capacity),
      text.size(s.peak), text.size(s.spilled), text.size(s.held), text.size(s.elsewhere), s.name }
  end
  local heads = { "job", "node", "host", "pid", "objects", "used", "capacity", "peak", "on disk", "held", "elsewhere",
    "name" }
  if #lines > 0 then out[2] = text.columns(heads, lines, "  ") end
  out[#out + 1] = ("\nlarge objects %d\n"):format(#m.objects)
  lines = {}
  for i = 1, math.min(#m.objects, SHOWN) do
    local o = m.objects[i]
    lines[i] = { text.size(o.bytes), o.references, o.where, o.job:sub(1, 8), o.node:sub(1, 8), o.host, o.pid, o.site }
  end
  heads = { "bytes", "holders", "where", "job", "node", "host", "pid", "site" }
  if #lines > 0 then out[#out + 1] = text.columns(heads, lines, "  ") end
  local more = #m.objects - SHOWN
  if more > 0 then out[#out + 1] = ("  and %d more: luarun list objects\n"):format(more) end
  return table.concat(out)
end

return memory
