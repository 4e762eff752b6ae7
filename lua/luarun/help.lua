--- The words of `? name`: one row for every public function of luarun, for methods, and for what one asks about.
--
-- Pure: a topic in, text out. tests/lua/help_test.lua holds it against the public table, both ways.

local help = {}

-- name, how it is written, what it does, an example (may be missing)
local rows = {
  { "remote", "lr.remote(fn[, options])  |  lr.remote(module, name[, options])",
    "A remote function: calling it starts a task and gives a future at once. The function travels with its upvalues; "
      .. "globals do not travel. See also: ? options",
    "local add = lr.remote(function(a, b) return a + b end)\nadd(1, 2):get()" },
  { "remote.with", "rf:with{ options }", "The same remote function with other options. See also: ? options",
    "f = add:with{ priority = 5, timeout = 2 }(1, 2)" },
  { "remote.here", "rf:here(...)", "Calls the function right here: no task, no copy of arguments or results." },
  { "get", "lr.get(future | list[, timeout])",
    "The values of a future; of a list, the list of first values in order, with field n. Raises a task's error, or "
      .. "code `timeout`." },
  { "wait", "lr.wait(list, { count = #list, timeout = nil })",
    "Waits until `count` futures have ended or `timeout` seconds have passed; gives ready, pending, both in the list's "
      .. "order. A failed task counts as ready; timeout 0 polls.",
    "ready, pending = lr.wait({ f, g }, { count = 1, timeout = 0.5 })" },
  { "as_completed", "lr.as_completed(list[, timeout])", "An iterator over the futures in the order in which they end.",
    "for f in lr.as_completed(list) do print(f:get()) end" },
  { "map", "lr.map(fn | rf, list[, { chunk =, window = }])",
    "The values of fn for each item, in order; small items are put together by themselves." },
  { "all", "lr.all(list)", "A future of the list of all first values." },
  { "any", "lr.any(list)", "A future of the first that succeeds." },
  { "put", "lr.put(value)", "A future that is ready; its value is stored once, however many tasks get it." },
  { "free", "lr.free(future)", "Drops the value now; a later get raises code `object_lost`." },
  { "cancel", "lr.cancel(future | list)",
    "Queued tasks never run; running ones are told (lr.cancelled, lr.checkpoint); children too." },
  { "is_future", "lr.is_future(value)", "Whether a value is a future." },
  { "future.get", "f:get([timeout])",
    "All values that the task returned. Raises the task's error, or code `timeout` after so many seconds. At the "
      .. "console ^C ends the wait and the task goes on." },
  { "future.pget", "f:pget([timeout])", "As pcall: true and the values, or false and the error." },
  { "future.state", "f:state()", "waiting, queued, running, ready, failed or cancelled." },
  { "future.is_ready", "f:is_ready()", "Whether it has ended, well or not." },
  { "future.id", "f:id()", "Its id, 32 hexadecimal digits: for :explain and :get." },
  { "future.cancel", "f:cancel()", "As lr.cancel(f)." },
  { "task", "lr.task()", "In a task: { id, name, attempt, node, job }; nil in the script and at the console." },
  { "cancelled", "lr.cancelled()", "In a task: whether it was cancelled." },
  { "checkpoint", "lr.checkpoint()", "In a task: raises when it was cancelled." },
  { "yield", "lr.yield()", "In a task: lets others of its worker run." },
  { "sleep", "lr.sleep(seconds)", "Sleeps; in a task the worker runs others meanwhile." },
  { "now", "lr.now()", "Seconds of a clock that never goes back." },
  { "progress", "lr.progress(done, total[, text])", "In a task: how far it is; shown with its future." },
  { "tensor", "lr.tensor(dtype, shape[, data])",
    "Numbers for Lua and C without a copy: dtypes f32 f64 i8 u8 i32 i64, row-major, indices from 1. Methods: size "
      .. "shape rank dtype get set narrow select reshape copy fill data totable is_readonly.",
    'lr.tensor("f64", { 2, 3 }, { 1, 2, 3, 4, 5, 6 })' },
  { "kernels", "lr.kernels(name)  |  lr.kernels{ source = C, name = }",
    "A library of C functions as remote functions; from source it is compiled once.", 'go = lr.kernels "go"' },
  { "class", "lr.class(name, metatable)", "Objects with this metatable may be sent to tasks and come back." },
  { "resources", "lr.resources()", "What this node offers: cpu, gpu, memory and those of --resources." },
  { "stats", "lr.stats()",
    "Counts of this node: submitted, started, finished, pending, running, steals, workers, seed." },
  { "nodes", "lr.nodes()", "The nodes of this job: { id, state, host, pid, workers, resources }, this process first." },
  { "tasks", "lr.tasks{ state =, name =, limit = 1000 }",
    "Tasks that live in this process (in a console on a cluster: in all live jobs), newest first: { id, name, state, "
      .. "age, attempt, children, progress }; fields n and total. name is the function's.",
    'lr.tasks{ state = "running" }' },
  { "objects", "lr.objects{ limit = 1000 }",
    "Large objects of the store (in a console on a cluster: of all live jobs), largest first: { bytes, references, "
      .. "site, where, id }; fields n, total (small ones too), bytes and capacity." },
  { "errors", "lr.errors{ limit = 1000 }",
    "Tasks of this job that failed lately, latest first: { task, age, code, function_name, message, attempts }." },
  { "init", "lr.init{ options }", "Under plain luajit: starts the job with options (workers =, seed =, ...)." },
  { "shutdown", "lr.shutdown()", "Ends the job; nothing can be submitted afterwards." },
  { "version", "lr.version", "The version, a string." },
  { "Error", "lr.Error",
    "The metatable of errors: code, message, traceback, task, function_name, node, attempts, cause (docs/errors.md)." },
  { "options", "rf:with{ ... }, lr.remote(fn, { ... })",
    "name, cpu (1), gpu (0), memory, resources = { tpu = 1 }, priority (0; larger first), timeout (seconds of the "
      .. "run), deadline (seconds from now in which it must start), retries (3), retry_on_error (false | n), "
      .. "returns (1; n gives n futures), node, pure." },
  { "console", "expression | statement | :command | ? name",
    "Expressions print by themselves (a trailing ; keeps quiet; =expression works too), several lines are read until "
      .. "the chunk is whole, `local` lasts, _ is the last value. TAB completes; ^R searches the history. ^C drops the "
      .. "line, or ends a wait (the task goes on), a second ^C stops what runs. ^D ends. :help lists the short "
      .. "forms." },
}

local by_name, names = {}, {}
for _, row in ipairs(rows) do
  by_name[row[1]] = row
  names[#names + 1] = row[1]
end

--- Every topic there is, in the order in which the page is read.
function help.topics() return names end

local function wrap(text, width, indent)
  local lines, line = {}, indent
  for word in text:gmatch("%S+") do
    if #line + #word + 1 > width and #line > #indent then
      lines[#lines + 1] = line
      line = indent
    end
    line = line == indent and indent .. word or line .. " " .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end
help.wrap = wrap

local function page(row, width)
  local text = row[2] .. "\n" .. wrap(row[3], width, "  ")
  if row[4] then text = text .. "\n\n    " .. row[4]:gsub("\n", "\n    ") end
  return text
end

local function normal(topic)
  topic = topic:gsub("%s+", ""):gsub("%(.*$", ""):gsub(":", "."):gsub("^lr%.", ""):gsub("^luarun%.", "")
  return (topic:gsub("^f%.", "future."):gsub("^rf%.", "remote."))
end

local function overview(width)
  local functions, others = {}, {}
  for _, name in ipairs(names) do
    local list = name:find("[%.]") and others or functions
    list[#list + 1] = name
  end
  return table.concat({
    "? NAME shows one of these; the whole is in docs/console.md and docs/tutorial.md",
    wrap(table.concat(functions, "  "), width, "  "),
    wrap(table.concat(others, "  "), width, "  "),
    ":help lists the console's short forms",
  }, "\n")
end

-- Topics that end in the word (f:get as "get" has lr.get first), or speak of it.
local function related(topic)
  local list = {}
  for _, row in ipairs(rows) do
    local text = (row[1] .. " " .. row[2] .. " " .. row[3]):lower()
    if topic ~= "" and text:find(topic:lower(), 1, true) then list[#list + 1] = row[1] end
  end
  return list
end

--- The page of a topic ("wait", "lr.wait", "f:get", ""); nil and a line where there is none.
---@param topic string
---@param width? integer
function help.find(topic, width)
  width = math.max(width or 80, 40)
  topic = normal(topic)
  if topic == "" then return overview(width) end
  local row = by_name[topic] or by_name["future." .. topic] or by_name["remote." .. topic]
  if row then return page(row, width) end
  local list = related(topic)
  if #list > 0 then return wrap("nothing is called '" .. topic .. "'; it is spoken of in: "
    .. table.concat(list, "  "), width, "") end
  return nil, "there is no help on '" .. topic .. "'; ? alone lists what there is"
end

return help
