--- What lives in the processes of all live jobs of a cluster: tasks, objects, stores, functions (runtime/inspection.h).
--
-- A question is a wake-up that every driver hears; each writes one row with the lines of its job's processes, which is
-- read and deleted here. It takes as long as the slowest driver, WAIT at most; jobs and nodes that were silent then are
-- told in `notes`, a list of sentences. Nothing is printed.

local rows = require "luarun.cluster.rows"
local tables_of = require "luarun.tables"

local inspection = {}

--- Seconds: for all answers; after which drivers are asked again, for one may have begun to listen only then; between
-- looks.
local WAIT, AGAIN, LOOK, LOOK_MAX = 0.65, 0.2, 0.004, 0.04

local function new_token()
  local file = assert(io.open("/dev/urandom", "rb"))
  local bytes = file:read(16)
  file:close()
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- The answers that are there, each deleted as it is read, into answers[job].
local function fetch(tables, token, answers)
  local all, why = tables:scan("inspection")
  if not all then return nil, why end
  local count = 0
  for _, row in ipairs(all) do
    local job = row.key:sub(1, 32) == token and row.key:sub(33)
    if job then
      tables:delete("inspection", row.key)
      if not answers[job] then count = count + 1 end
      answers[job] = row.value
    end
  end
  return count
end

-- The answers of those jobs, as texts by their ids. nil and why: the tables do not answer.
local function gather(tables, question, token, jobs)
  local answers, missing, again, pause = {}, #jobs, false, LOOK
  local from = tables_of.wall()
  local ok, why = tables:publish("inspection", question)
  while ok and missing > 0 do
    local count
    tables_of.sleep(pause)
    pause = math.min(2 * pause, LOOK_MAX)
    count, why = fetch(tables, token, answers)
    if not count then return nil, why end
    missing = missing - count
    local took = tables_of.wall() - from
    if took > WAIT or took < 0 then break end -- a wall clock may be set
    if not again and took > AGAIN then
      again = true
      ok, why = tables:publish("inspection", question)
    end
  end
  if not ok then return nil, why end
  return answers
end

-- The processes of one answer, each with its lines in `rows`; and how many nodes were silent.
local function parse(text)
  local processes, silent = {}, 0
  for line in text:gmatch("[^\n]+") do
    local f = rows.fields(line)
    if f.asked then
      silent = tonumber(f.asked) - tonumber(f.answered)
    elseif f.process then
      processes[#processes + 1] = { fields = f, rows = {} }
    elseif #processes > 0 then
      local list = processes[#processes].rows
      list[#list + 1] = f
    end
  end
  return processes, silent
end

-- Asks all; take(job, process, fields of a row or nil: the process itself).
local function ask(tables, what, state, take)
  local jobs, why = rows.jobs(tables, tables_of.wall())
  if not jobs then return nil, why end
  local token, notes = new_token(), {}
  local answers
  answers, why = gather(tables, ("%s:%s:%s"):format(what, state or "any", token), token, jobs)
  if not answers then return nil, why end
  for _, job in ipairs(jobs) do
    local name = ("job %s (%s, process %s on %s)"):format(job.id:sub(1, 8), job.name, job.pid, job.host)
    if not answers[job.id] then
      notes[#notes + 1] = name .. " does not answer"
    else
      local processes, silent = parse(answers[job.id])
      if silent > 0 then notes[#notes + 1] = ("%s: %d of its nodes did not answer"):format(name, silent) end
      for _, p in ipairs(processes) do
        take(job, p.fields)
        for _, f in ipairs(p.rows) do take(job, p.fields, f) end
      end
    end
  end
  return notes
end

-- What every row has: where it was seen.
local function seen(job, process, row)
  row.job, row.node, row.host, row.pid = job.id, process.process, process.host, tonumber(process.pid)
  return row
end

-- A task that was given away is told twice: the process that has it knows better. Where none has it (it is on its way,
-- or looks for a node) it is queued.
local function settle(own, away, guests, state)
  local list, less = {}, 0
  for key, task in pairs(guests) do
    list[#list + 1] = task
    own[key] = nil
  end
  for key, task in pairs(own) do
    if away[key] then task.state = "queued" end
    if state == nil or task.state == state then list[#list + 1] = task else less = less + 1 end
  end
  return list, less
end

---Tasks of all live jobs, the newest first, with n and total: { id, name, state, age, attempt, children, progress, job,
---node, host, pid }.
---@param state? string
---@return table[]? tasks, string[]|string notes
function inspection.tasks(tables, state)
  local own, away, guests, total = {}, {}, {}, 0
  local notes, why = ask(tables, "tasks", state, function(job, process, f)
    if not f then
      total = total + tonumber(process.total) - tonumber(process.guests)
      return
    end
    local progress = tonumber(f.progress) / 65535
    local key = job.id .. f.task
    local task = seen(job, process, {
      id = f.task, name = f.name, state = f.state, age = tonumber(f.age) / 1000, attempt = tonumber(f.attempt),
      children = tonumber(f.children), progress = progress > 0 and progress or nil,
    })
    away[key] = away[key] or f.away == "1"
    local kind = f.guest == "1" and guests or own
    kind[key] = task
  end)
  if not notes then return nil, why end
  local list, less = settle(own, away, guests, state)
  table.sort(list, function(a, b)
    if a.age ~= b.age then return a.age < b.age end
    return a.id < b.id
  end)
  list.total = math.max(total - less, #list)
  return list, notes
end

---Large objects, the largest first: { bytes, references, site, where, id, owner, job, node, host, pid }, with total
---(small ones too), bytes, capacity, and in `stores` one row for each process: { total, used, capacity, peak, spilled,
---held, elsewhere, job, name, node, host, pid }.
---@return table[]? objects, string[]|string notes
function inspection.objects(tables)
  local list = { total = 0, bytes = 0, capacity = 0, stores = {} }
  local notes, why = ask(tables, "objects", nil, function(job, process, f)
    if f then
      list[#list + 1] = seen(job, process, {
        bytes = tonumber(f.bytes), references = tonumber(f.references), site = f.site, where = f.where, id = f.id,
        owner = tonumber(f.pid),
      })
      return
    end
    local store = seen(job, process, { name = job.name })
    for _, field in ipairs { "total", "used", "capacity", "peak", "spilled", "held", "elsewhere" } do
      store[field] = tonumber(process[field])
    end
    list.stores[#list.stores + 1] = store
    list.total, list.bytes = list.total + store.total, list.bytes + store.used
    list.capacity = list.capacity + store.capacity
  end)
  if not notes then return nil, why end
  table.sort(list, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes > b.bytes end
    return (a.id or "") < (b.id or "")
  end)
  return list, notes
end

---Functions of all live jobs, once for each job however many of its processes have them, by name: { id, job, name,
---kind, bytes, mean, processes }. mean: seconds that its tasks run, lately, over the processes that have run some.
---@return table[]? functions, string[]|string notes
function inspection.fns(tables)
  local list, known, ran = { total = 0 }, {}, {}
  local notes, why = ask(tables, "functions", nil, function(job, process, f)
    if not f then
      list.total = list.total + tonumber(process.total)
      return
    end
    local key, mean = job.id .. f.fn, tonumber(f.mean) / 1e9
    local fn = known[key]
    if not fn then
      fn = { id = f.fn, job = job.id, name = f.name, kind = f.kind, bytes = tonumber(f.bytes), processes = 0 }
      known[key], list[#list + 1], ran[fn] = fn, fn, 0
    end
    fn.processes = fn.processes + 1
    if mean == 0 then return end
    fn.mean = ((fn.mean or 0) * ran[fn] + mean) / (ran[fn] + 1)
    ran[fn] = ran[fn] + 1
  end)
  if not notes then return nil, why end
  table.sort(list, function(a, b)
    if a.name ~= b.name then return a.name < b.name end
    return a.job .. a.id < b.job .. b.id
  end)
  return list, notes
end

---For a console: `tasks` and `objects` as lr's, of the whole cluster at that URL. check: those of this process, which
---raise where options are wrong.
---@param url string
---@param check table { tasks =, objects = }
---@param say fun(note: string)
function inspection.functions(url, check, say)
  local function read(what, ...)
    local t, why = tables_of.open(url)
    if not t then error(what .. ": " .. why, 0) end
    local list, notes = inspection[what](t, ...)
    t:close()
    if not list then error(what .. ": " .. notes, 0) end
    for _, note in ipairs(notes) do say(note) end
    return list
  end
  local function checked(what, options)
    local ok, why = pcall(check[what], options)
    if not ok then error(why, 3) end
  end
  local function finish(list, options)
    local limit = options and options.limit or 1000
    for i = #list, limit + 1, -1 do list[i] = nil end
    list.n = #list
    return list
  end
  local function tasks(options)
    checked("tasks", options)
    local list, name = read("tasks", options and options.state), options and options.name
    if not name then return finish(list, options) end
    local named = {}
    for _, task in ipairs(list) do
      if task.name == name then named[#named + 1] = task end
    end
    named.total = #named
    return finish(named, options)
  end
  local function objects(options)
    checked("objects", options)
    return finish(read "objects", options)
  end
  return tasks, objects
end

return inspection
