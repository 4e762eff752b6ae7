--- `luarun status`: one screen of a cluster: its Redis, nodes, resources, jobs, and what is wrong.
--
-- status.read asks the tables and gives a plain table (what --json prints); status.text makes the screen of it. The
-- text is pure.

local json = require "luarun.cluster.json"
local rows = require "luarun.cluster.rows"
local text = require "luarun.cluster.text"

local status = {}

local JOBS_SHOWN, NODES_SHOWN = 20, 40

-- The lines of INFO that say how a server is.
local function server(info)
  local function field(name) return info:match("\n" .. name .. ":([^\r\n]*)") end
  return {
    version = field("redis_version"), memory_bytes = tonumber(field("used_memory")),
    memory_limit_bytes = tonumber(field("maxmemory")), clients = tonumber(field("connected_clients")),
    commands_per_second = tonumber(field("instantaneous_ops_per_sec")), append_only = field("aof_enabled") == "1",
    append_only_failed = field("aof_last_write_status") == "err", uptime = tonumber(field("uptime_in_seconds")),
  }
end

local function read_servers(tables)
  local list = json.list {}
  for shard = 1, tables:shards() do
    local info, why = tables:info(shard)
    list[shard] = info and server("\n" .. info) or { error = why }
  end
  return list
end

local function sum_offers(nodes)
  local sum = {}
  for _, node in ipairs(nodes) do
    for name, amount in pairs(node.offers) do sum[name] = (sum[name] or 0) + amount end
  end
  return sum
end

local function warnings_of(s, own_version)
  local list = json.list {}
  local function warn(...) list[#list + 1] = (...):format(select(2, ...)) end
  if #s.nodes == 0 then warn("no node is registered: jobs run in their own process only") end
  local late, others = 0, 0
  for _, node in ipairs(s.nodes) do
    if node.state == "late" then late = late + 1 end
    if node.version ~= own_version then others = others + 1 end
  end
  if late > 0 then warn("%d node%s not renewed in time", late, late == 1 and "" or "s") end
  if others > 0 then warn("%d node%s of another version than %s", others, others == 1 and "" or "s", own_version) end
  for _, job in ipairs(s.jobs) do
    if job.state == "late" then warn("job %s (%s) was not renewed in time", job.id:sub(1, 8), job.name) end
  end
  for i, r in ipairs(s.redis) do
    if r.error then warn("redis %d: %s", i, r.error) end
    if r.append_only_failed then warn("redis %d cannot write its append-only file: is its disk full?", i) end
    local limit = r.memory_limit_bytes or 0
    if limit > 0 and r.memory_bytes > 0.9 * limit then
      warn("redis %d has used %.0f %% of its memory: raise maxmemory", i, 100 * r.memory_bytes / limit)
    end
  end
  return list
end

---@return table? status, string? why
function status.read(tables, now, own_version)
  local nodes, jobs, history, errors, why
  nodes, why = rows.nodes(tables, now)
  if nodes then jobs, why = rows.jobs(tables, now) end
  if jobs then history, why = rows.history(tables) end
  if history then errors, why = rows.errors(tables) end
  if not errors then return nil, why end
  local s = {
    store = tables:status(), redis = read_servers(tables), nodes = json.list(nodes), jobs = json.list(jobs),
    offers = sum_offers(nodes), jobs_over = #history, errors = #errors, now = now,
  }
  s.warnings = warnings_of(s, own_version)
  return s
end

local function node_lines(s)
  local lines = {}
  for i = 1, math.min(#s.nodes, NODES_SHOWN) do
    local n = s.nodes[i]
    lines[i] = { n.id:sub(1, 8), n.host, n.pid, n.workers, n.jobs, text.amounts(n.offers), text.span(s.now - n.since),
      text.span(s.now - n.seen) .. " ago", n.state }
  end
  return text.columns({ "node", "host", "pid", "workers", "jobs", "offers", "up", "seen", "state" }, lines, "  ")
end

local function job_lines(s)
  local lines = {}
  for i = 1, math.min(#s.jobs, JOBS_SHOWN) do
    local j = s.jobs[i]
    lines[i] = { j.id:sub(1, 8), j.user, j.host, j.pid, text.span(s.now - j.since), j.state, j.name }
  end
  return text.columns({ "job", "user", "host", "pid", "runs", "state", "name" }, lines, "  ")
end

local function more(count, what)
  return count > 0 and ("  and %d more: luarun list %s\n"):format(count, what) or ""
end

local function redis_line(r)
  if r.error then return r.error end
  return ("redis %s: %s, %d clients, %d commands/s, append-only file %s"):format(r.version, text.size(r.memory_bytes),
    r.clients, r.commands_per_second, r.append_only and "on" or "off")
end

---The screen, as one text.
function status.text(s)
  local out = { s.store, "\n" }
  for _, r in ipairs(s.redis) do out[#out + 1] = redis_line(r) .. "\n" end
  out[#out + 1] = ("\nnodes %d: %s\n"):format(#s.nodes, text.amounts(s.offers))
  if #s.nodes > 0 then out[#out + 1] = node_lines(s) end
  out[#out + 1] = more(#s.nodes - NODES_SHOWN, "nodes")
  out[#out + 1] = ("\njobs %d (%d over, in the history)\n"):format(#s.jobs, s.jobs_over)
  if #s.jobs > 0 then out[#out + 1] = job_lines(s) end
  out[#out + 1] = more(#s.jobs - JOBS_SHOWN, "jobs")
  out[#out + 1] = ("\nerrors %d%s\n"):format(s.errors, s.errors > 0 and ": luarun list errors" or "")
  for _, warning in ipairs(s.warnings) do out[#out + 1] = "warning: " .. warning .. "\n" end
  return table.concat(out)
end

return status
