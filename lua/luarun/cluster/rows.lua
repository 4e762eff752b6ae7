--- What stands in a cluster's tables, as plain Lua tables: nodes, jobs, jobs that are over, errors.
--
-- Rows are lines `1 field=value field=value ... last=free text` (sched/row.h, sched/record.h). Times come out in
-- seconds since 1970; those that are of another clock are left out. It reads what `luarun.tables` gives and prints
-- nothing.

local rows = {}

-- A field that goes to the end of its row.
local FREE = { name = true, site = true, offers = true, ["function"] = true, status = false }

---The fields of a row as texts.
---@param value string
---@return table<string, string>
function rows.fields(value)
  local out, at = {}, 1
  while true do
    local _, stop, field = value:find("%f[^%s]([%l_]+)=", at)
    if not stop then return out end
    if FREE[field] then
      out[field] = value:sub(stop + 1)
      return out
    end
    local text = value:match("^%S*", stop + 1)
    out[field] = text
    at = stop + #text + 1
  end
end

local function number(text) return tonumber(text) end
local function seconds(text) return text and tonumber(text) and tonumber(text) / 1000 end

-- Nanoseconds of a wall clock; the machine's own records have a monotonic one.
local function seconds_of_ns(text)
  local ns = tonumber(text)
  return ns and ns > 1e18 and ns / 1e9 or nil
end

---"cpu=2,gpu=1" as numbers.
local function amounts(text)
  local out = {}
  for name, amount in (text or ""):gmatch("([^=,]+)=([^,]+)") do out[name] = tonumber(amount) end
  return out
end

-- What both kinds of leased rows have; state is `live` unless the row was not renewed in its lease.
local function leased(row, now)
  local f = rows.fields(row.value)
  if f.swept then return nil end
  local renewed, lease = seconds(f.renewed) or now, (number(f.lease) or 3000) / 1000
  return {
    id = row.key, state = now - renewed > lease and "late" or "live", host = f.host, pid = number(f.pid), user = f.user,
    workers = number(f.workers), version = f.version, since = seconds(f.since), seen = renewed,
  }, f
end

local function by_age(list)
  table.sort(list, function(a, b)
    if (a.since or 0) ~= (b.since or 0) then return (a.since or 0) < (b.since or 0) end
    return (a.id or "") < (b.id or "")
  end)
  return list
end

-- Each row once, though a scan may have met it twice.
local function collect(tables, name, now, finish)
  local all, why = tables:scan(name)
  if not all then return nil, why end
  local list, seen = {}, {}
  for _, row in ipairs(all) do
    local entry, f = leased(row, now)
    if entry and not seen[row.key] then
      seen[row.key] = true
      finish(entry, f)
      list[#list + 1] = entry
    end
  end
  return by_age(list)
end

---@return table[]? nodes, string? why
function rows.nodes(tables, now)
  return collect(tables, "node", now, function(node, f)
    node.jobs, node.offers = number(f.jobs), amounts(f.offers)
  end)
end

---@return table[]? jobs, string? why
function rows.jobs(tables, now)
  return collect(tables, "job", now, function(job, f)
    job.name, job.address = f.name, f.address
  end)
end

local function log(tables, name, key, make)
  local all, why = tables:log(name, key)
  if not all then return nil, why end
  local list = {}
  for _, row in ipairs(all) do list[#list + 1] = make(rows.fields(row.value), row) end
  return list
end

---Jobs that are over, the oldest first.
function rows.history(tables)
  return log(tables, "job", "history", function(f)
    return { id = f.job, state = f.status, name = f.name, user = f.user, since = seconds(f.since),
      ended = seconds(f.ended) }
  end)
end

---Failed tasks that nobody looked at, and job processes that died.
function rows.errors(tables)
  return log(tables, "error", "all", function(f, row)
    local name, message = (f["function"] or ""):match("^(.-): (.*)$")
    return { number = row.version, job = f.job, task = f.task, code = f.code, ["function"] = name, message = message,
      at = seconds_of_ns(f.at) }
  end)
end

return rows
