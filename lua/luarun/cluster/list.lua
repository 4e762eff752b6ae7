--- `luarun list WHAT`: a table of the cluster, for people or as JSON, with filters field=value.
--
-- list.read gives the rows, list.text the lines for people. Tables that no part of this version writes are refused by
-- name: an empty list would say that there is nothing.

local rows = require "luarun.cluster.rows"
local text = require "luarun.cluster.text"

local list = {}

local function both(tables, now)
  local jobs, why = rows.jobs(tables, now)
  if not jobs then return nil, why end
  local over
  over, why = rows.history(tables)
  if not over then return nil, why end
  for _, job in ipairs(jobs) do over[#over + 1] = job end
  return over
end

local function age(now, at) return at and text.span(now - at) .. " ago" or "-" end

-- How each is read, and shown in columns.
local KINDS = {
  nodes = {
    read = rows.nodes,
    heads = { "node", "state", "host", "pid", "user", "workers", "jobs", "version", "since", "seen", "offers" },
    line = function(n, now)
      return { n.id, n.state, n.host, n.pid, n.user, n.workers, n.jobs, n.version, age(now, n.since), age(now, n.seen),
        text.amounts(n.offers) }
    end,
  },
  jobs = {
    read = both,
    heads = { "job", "state", "user", "host", "pid", "since", "ended", "name" },
    line = function(j, now)
      return { j.id, j.state, j.user, j.host, j.pid, age(now, j.since), age(now, j.ended), j.name }
    end,
  },
  errors = {
    read = rows.errors,
    heads = { "number", "when", "job", "code", "function", "message" },
    line = function(e, now)
      return { e.number, age(now, e.at), e.job and e.job:sub(1, 8), e.code, e["function"], e.message }
    end,
  },
  functions = {
    read = rows.functions,
    heads = { "function", "job", "name" },
    line = function(f) return { f.id, f.job and f.job:sub(1, 8), f.name } end,
  },
}

local ABSENT = { tasks = true, actors = true, objects = true }

---Why a table cannot be listed; nil: it can.
function list.refusal(what)
  if not what then return "what? nodes, jobs, errors, functions" end
  if ABSENT[what] then return what .. " are in no table of this version: only nodes, jobs, errors and functions are" end
  if not KINDS[what] then return ("no table '%s': nodes, jobs, errors, functions"):format(what) end
end

---The rows that the filters let through.
---@param filters table<string, string>
---@return table[]? rows, string? why
function list.read(tables, what, filters, now)
  local all, why = KINDS[what].read(tables, now)
  if not all then return nil, why end
  local out = {}
  for _, row in ipairs(all) do
    local fits = true
    for field, wanted in pairs(filters) do fits = fits and tostring(row[field]) == wanted end
    if fits then out[#out + 1] = row end
  end
  return out
end

function list.text(what, found, now)
  local kind, lines, heads = KINDS[what], {}, {}
  for i, head in ipairs(kind.heads) do heads[i] = head end
  for i, row in ipairs(found) do lines[i] = kind.line(row, now) end
  return text.columns(heads, lines)
end

return list
