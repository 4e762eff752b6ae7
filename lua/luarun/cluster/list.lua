--- `luarun list WHAT`: a table of the cluster, for people or as JSON, with filters field=value.
--
-- list.read gives the rows, list.text the lines for people. Tasks, objects and functions are in no table: every driver
-- is asked (inspection.lua). What no part of this version knows is refused by name: an empty list would say that there
-- is nothing.

local inspection = require "luarun.cluster.inspection"
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

local function brief(seconds)
  if not seconds then return "-" end
  if seconds >= 1 then return text.span(seconds) end
  if seconds >= 1e-3 then return ("%.3g ms"):format(seconds * 1e3) end
  return ("%.3g us"):format(seconds * 1e6)
end

-- By which the processes that are asked choose themselves.
local STATES = { waiting = true, queued = true, running = true, ready = true, failed = true, cancelled = true }

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
    read = inspection.fns,
    heads = { "function", "job", "kind", "bytes", "mean", "processes", "name" },
    line = function(f)
      return { f.id, f.job:sub(1, 8), f.kind, text.size(f.bytes), brief(f.mean), f.processes, f.name }
    end,
  },
  tasks = {
    read = function(tables, _, filters)
      local state = filters.state
      return inspection.tasks(tables, STATES[state] and state)
    end,
    heads = { "task", "state", "job", "node", "host", "pid", "age", "attempt", "children", "done", "name" },
    line = function(t)
      return { t.id, t.state, t.job:sub(1, 8), t.node:sub(1, 8), t.host, t.pid, text.span(t.age), t.attempt, t.children,
        t.progress and ("%.0f %%"):format(100 * t.progress), t.name }
    end,
  },
  objects = {
    read = inspection.objects,
    heads = { "object", "bytes", "holders", "where", "job", "node", "host", "pid", "site" },
    line = function(o)
      return { o.id, text.size(o.bytes), o.references, o.where, o.job:sub(1, 8), o.node:sub(1, 8), o.host, o.pid,
        o.site }
    end,
  },
}

local ALL = "nodes, jobs, errors, functions, tasks, objects"

---Why a table cannot be listed; nil: it can.
function list.refusal(what)
  if not what then return "what? " .. ALL end
  if what == "actors" then return "there are no actors in this version" end
  if not KINDS[what] then return ("no table '%s': %s"):format(what, ALL) end
end

---The rows that the filters let through.
---@param filters table<string, string>
---@return table[]? rows, string|string[]|nil why or notes: sentences about what is missing
function list.read(tables, what, filters, now)
  local all, notes = KINDS[what].read(tables, now, filters)
  if not all then return nil, notes end
  local out = {}
  for _, row in ipairs(all) do
    local fits = true
    for field, wanted in pairs(filters) do fits = fits and tostring(row[field]) == wanted end
    if fits then out[#out + 1] = row end
  end
  local beyond = (all.total or 0) - #all
  if what == "tasks" and beyond > 0 then
    notes[#notes + 1] = ("%d of %d tasks are not shown: 1000 of a job at most"):format(beyond, all.total)
  end
  return out, notes
end

function list.text(what, found, now)
  local kind, lines, heads = KINDS[what], {}, {}
  for i, head in ipairs(kind.heads) do heads[i] = head end
  for i, row in ipairs(found) do lines[i] = kind.line(row, now) end
  return text.columns(heads, lines)
end

return list
