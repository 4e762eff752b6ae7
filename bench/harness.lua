-- harness.lua - `./dev bench`: runs the figures of bench/figures.lua and says how they stand.
--
--   ./dev bench [options] [FIGURE...]      figures whose id begins with a word given; none: all
--
-- A contender is a program that measures one workload once, after its own warm-up, and prints its answer as a flat
-- JSON object (the protocol stands in bench/peers/work.h). The contenders of a figure that are compared run in turn,
-- round by round, so that what disturbs the machine disturbs all; each round gives one quotient, and the median
-- counts, with the least and the largest beside it. One round before the first is thrown away. Peers that only stand
-- beside run once.
--
-- Every run is appended to build/bench/history.jsonl, one line a want, with the machine's description; `--record`
-- appends it to bench/record.jsonl too, which is kept in the tree: the last line recorded there for a want, of this
-- kind of processor if there is one, is what the gate compares with. A want that is worse by more than a fifth is a
-- regression, and the exit status is 1. What is not a quotient already is compared in units of the machine's speed
-- in the same run (`calibrate`).

local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path

local Process = require "process"
local figures = require "figures"

local USAGE = [[
usage: ./dev bench [options] [FIGURE...]
  --rounds N     rounds that count (default 5)
  --workers N    worker threads of every contender (default 2)
  --quick        one round, no peers beside
  --record       append the run to bench/record.jsonl
  --list         list the figures
]]
local FALL = 0.2 -- of a recorded value: a regression
local KERNEL_SECONDS = 7e-3
local PATIENCE_SECONDS = 600 -- for one run of one program

local top = here .. "../"
local luarun = os.getenv("LUARUN") or top .. "build/release/luarun"
local python = top .. "build/peers/venv/bin/python"
local built = (luarun:match("^(.*/)") or "./") .. "bench/"

-- The short names of figures.lua: what is started. Our own get the workers as an option.
local programs = {
  nng = {built .. "nng"},
  threads = {built .. "threads"}, limit = {built .. "limit"}, openmp = {built .. "openmp"}, tbb = {built .. "tbb"},
  pool = {"python3", here .. "peers/python_pools.py", "pool"},
  processpool = {"python3", here .. "peers/python_pools.py", "processes"},
  threadpool = {"python3", here .. "peers/python_pools.py", "threads"},
  ray = {python, here .. "peers/ray_peer.py"},
  dask = {python, here .. "peers/dask_peer.py"},
  spark = {python, here .. "peers/spark_peer.py"},
}

local function say(text) io.stderr:write(text, "\n") end

local function fail(text)
  say("bench: " .. text)
  os.exit(1)
end

-- ---- options -----------------------------------------------------------------------------------------------

local options = {rounds = 5, workers = 2}
local wanted_ids = {}
do
  local i = 1
  while i <= #arg do
    local word = arg[i]
    if word == "--help" or word == "-h" then io.write(USAGE) os.exit(0)
    elseif word == "--quick" or word == "--record" or word == "--list" then options[word:sub(3)] = true
    elseif word == "--rounds" or word == "--workers" then
      local n = tonumber(arg[i + 1])
      if not n or n < 1 or n % 1 ~= 0 then fail(word .. ": a whole number from 1 wanted") end
      options[word:sub(3)], i = n, i + 1
    elseif word:sub(1, 1) == "-" then fail("unknown option '" .. word .. "' (--help shows all)")
    else wanted_ids[#wanted_ids + 1] = word end
    i = i + 1
  end
  if options.quick then options.rounds = 1 end
end

local function is_wanted(id)
  for _, word in ipairs(wanted_ids) do if id:sub(1, #word) == word then return true end end
  return #wanted_ids == 0
end

-- ---- JSON: flat objects ------------------------------------------------------------------------------------

local function json_read(text)
  local object = {}
  if not text or not text:match("^%s*{.*}%s*$") then return nil end
  for key, value in text:gmatch('"([^"]+)"%s*:%s*("?[^",}]*)') do
    object[key] = tonumber(value) or value:gsub('^"', "")
  end
  return object
end

local function json_write(pairs_in_order)
  local words = {}
  for i = 1, #pairs_in_order, 2 do
    local key, value = pairs_in_order[i], pairs_in_order[i + 1]
    if type(value) == "number" then value = ("%.6g"):format(value)
    else value = '"' .. tostring(value):gsub('[%c"\\,}]', " ") .. '"' end
    words[#words + 1] = ('"%s": %s'):format(key, value)
  end
  return "{" .. table.concat(words, ", ") .. "}"
end

local function lines_of(path)
  local file, list = io.open(path), {}
  if not file then return list end
  for line in file:lines() do list[#list + 1] = json_read(line) end
  file:close()
  return list
end

-- ---- the machine -------------------------------------------------------------------------------------------

local function first_match(path, pattern)
  local file = io.open(path)
  local text = file and file:read("*a") or ""
  if file then file:close() end
  return text:match(pattern)
end

local function output_of(...)
  local ok, process = pcall(Process.start, {...})
  if not ok then return nil end
  local line = process:read_line(10)
  process:stop(10)
  return line
end

local machine = {
  cpu = first_match("/proc/cpuinfo", "model name%s*:%s*([^\n]+)") or jit.arch,
  cpus = tonumber(output_of("nproc")) or 0,
  memory_gib = (tonumber(first_match("/proc/meminfo", "MemTotal:%s*(%d+)") or 0)) / 2 ^ 20,
  kernel = first_match("/proc/sys/kernel/osrelease", "[^\n]+") or "?",
  system = first_match("/etc/os-release", 'PRETTY_NAME="([^"]+)"') or jit.os,
}
local commit = output_of("git", "-C", top, "describe", "--always", "--dirty") or "?"

-- ---- contenders --------------------------------------------------------------------------------------------

local absent = {} -- peer = why
local filled = {luarun = luarun}

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- Ours: the common options, those of the command's own (each with a value), the program.
local function add_luarun(start, words, at)
  for _, word in ipairs{luarun, "--workers", tostring(options.workers), "--max-pending", "20000000"} do
    start[#start + 1] = word
  end
  while words[at]:match("^%-%-") do
    start[#start + 1], start[#start + 2] = words[at], words[at + 1]
    at = at + 2
  end
  start[#start + 1] = here .. "programs/" .. words[at] .. ".lua"
  for i = at + 1, #words do start[#start + 1] = words[i] end
  if words[at] == "graph" then start[#start + 1] = "workers=" .. options.workers end
end

-- The words to start for a command of figures.lua; nil and why where the program is not here.
local function words_of(command)
  local words, at, start = {}, 1, {"/usr/bin/env"}
  local text = command:gsub("{(%w+)}", function(name) return filled[name] end)
  for word in text:gmatch("%S+") do words[#words + 1] = word end
  while words[at]:match("^[A-Z_]+=") do
    start[#start + 1] = words[at]
    at = at + 1
  end
  local name = words[at]
  if name == "luarun" then
    add_luarun(start, words, at + 1)
    return start, name
  end
  local program = programs[name] or fail("figures.lua: no program '" .. name .. "'")
  for _, word in ipairs(program) do
    if word:find("/", 1, true) and not exists(word) then return nil, name, word .. " is not here" end
    start[#start + 1] = word
  end
  for i = at + 1, #words do start[#start + 1] = words[i] end
  start[#start + 1] = "workers=" .. options.workers
  return start, name
end

-- One run: its answer; nil where the contender is absent, or cannot do this workload.
local function run(command)
  local words, name, why = words_of(command)
  if absent[name] then return nil end
  if not words then
    absent[name] = why
    return nil
  end
  local ok, process = pcall(Process.start, words)
  if not ok then
    absent[name] = process
    return nil
  end
  local deadline, last = Process.now() + PATIENCE_SECONDS, nil
  local line, ended = process:read_line(PATIENCE_SECONDS)
  while line do
    last = line
    line, ended = process:read_line(math.max(0, deadline - Process.now()))
  end
  local complaint = process:read_errors(0.1):gsub("%s+$", "")
  local status, signal = process:stop(10)
  if status == 77 then absent[name] = complaint end
  if status == 77 or status == 78 then return nil end
  local answer = json_read(last)
  if status ~= 0 or not answer then
    local how = ended == "timeout" and "no end" or signal and "signal " .. signal or "status " .. tostring(status)
    say(("bench: %s failed (%s): %s"):format(command, how, complaint ~= "" and complaint or tostring(last)))
    return nil, true
  end
  return answer
end

-- ---- one figure --------------------------------------------------------------------------------------------

local function median(list)
  local sorted = {unpack(list)}
  table.sort(sorted)
  local n = #sorted
  return n % 2 == 1 and sorted[(n + 1) / 2] or (sorted[n / 2] + sorted[n / 2 + 1]) / 2
end

local function spread(list)
  return {median = median(list), min = math.min(unpack(list)), max = math.max(unpack(list))}
end

-- What a want is in one round's answers; nil where one of them is missing.
local function value_of(want, answers)
  local ours = answers.luarun and answers.luarun[want.ours]
  if not want.over then return ours end
  local theirs = answers[want.over[1]]
  theirs = theirs and theirs[want.over[2] or want.ours]
  if not (ours and theirs) then return nil end
  return want.quotient and want.quotient(ours, theirs) or ours / theirs
end

local function measure(figure)
  local result = {figure = figure, values = {}, beside = {}, failed = false}
  if figure.absent then return result end
  local answers_of = {}
  local rounds = math.min(options.rounds, figure.most_rounds or options.rounds)
  for round = 0, rounds do -- the first is not counted
    local answers = {}
    for _, name in ipairs(figure.rounds) do
      local answer, failed = run(figure.contenders[name])
      answers[name], result.failed = answer, result.failed or failed
      if answer and (round > 0 or rounds == 0) then
        answers_of[name] = answers_of[name] or {}
        table.insert(answers_of[name], answer)
      end
    end
    for i, want in ipairs(figure.wants) do
      local value = round > 0 and value_of(want, answers)
      if value then
        result.values[i] = result.values[i] or {}
        table.insert(result.values[i], value)
      end
    end
  end
  for name, command in pairs(figure.contenders) do
    if not answers_of[name] and not options.quick then
      local answer = run(command)
      if answer then answers_of[name] = {answer} end
    end
  end
  local key = figure.rate or figure.seconds
  for name, answers in pairs(answers_of) do
    local list = {}
    for _, answer in ipairs(answers) do list[#list + 1] = answer[key] end
    if #list > 0 then result.beside[name] = median(list) end
  end
  return result
end

-- ---- judging -----------------------------------------------------------------------------------------------

local speed -- of this run: iterations a second of one thread, over 10^9

-- A want as it is compared with the record: quotients as they are; times and rates in units of the machine's speed.
local function comparable(figure, want, value)
  if want.over or want.exact or not want.unit then return value end
  return figure.rate == want.ours and value / speed or value * speed
end

local function recorded_of(records, figure, want)
  local found
  for _, line in ipairs(records) do
    if line.figure == figure.id and line.want == want.name and (not found or line.cpu == machine.cpu or
       found.cpu ~= machine.cpu) then found = line end
  end
  return found
end

local function is_met(want, value)
  if want.at_least then return value >= want.at_least end
  if want.at_most then return value <= want.at_most end
  return true
end

local UNITS = {us = 1e6, ms = 1e3, MB = 1e-6, B = 1, k = 1e-3}

local function shown(want, value)
  if want.unit then return ("%.2f %s"):format(value * UNITS[want.unit], want.unit) end
  return ("%.3f"):format(value)
end

local function wanted(want)
  if want.at_least then return "at least " .. shown(want, want.at_least) end
  if want.at_most then return "at most " .. shown(want, want.at_most) end
  return "-"
end

-- ---- the run -----------------------------------------------------------------------------------------------

local function calibrate()
  local words = {built .. "threads", "calibrate", "workers=" .. options.workers}
  local process = Process.start(words)
  local answer = json_read(process:read_line(30))
  process:stop(10)
  if not answer then fail("the calibration gave no answer: " .. table.concat(words, " ")) end
  filled.all, filled.peak = ("%.0f"):format(answer.all), ("%.0f"):format(answer.one)
  filled.kernel = ("%.0f"):format(answer.one * KERNEL_SECONDS)
  speed = answer.one / 1e9
  return answer
end

if options.list then
  for _, figure in ipairs(figures) do print(("%-16s %s"):format(figure.id, figure.what)) end
  os.exit(0)
end

local results, any = {}, false
for _, figure in ipairs(figures) do any = any or is_wanted(figure.id) end
if not any then fail("no figure begins with '" .. table.concat(wanted_ids, "' or '") .. "' (--list shows all)") end

local first = calibrate()
print(("%s, %d cpus, %.0f GiB; %s, Linux %s; %s; commit %s"):format(machine.cpu, machine.cpus, machine.memory_gib,
  machine.system, machine.kernel, jit.version, commit))
print(("%d workers, %d rounds; the unit of work: %.0f million a second on one thread, %.2f times that on all"):format(
  options.workers, options.rounds, first.one / 1e6, first.all / first.one))
print("")
for _, figure in ipairs(figures) do
  if is_wanted(figure.id) then
    say("bench: " .. figure.id .. ", " .. figure.what)
    calibrate() -- the machine's speed moves from minute to minute
    local result = measure(figure)
    result.speed = speed
    results[#results + 1] = result
  end
end

-- One line a want: to the history, and to the record when asked.
local records = lines_of(here .. "record.jsonl")
local lines, table_rows, short, regressed, failed = {}, {}, 0, 0, 0
for _, result in ipairs(results) do
  local figure = result.figure
  speed = result.speed
  for i, want in ipairs(figure.wants) do
    local values = result.values[i]
    local row = {figure.id, want.name, wanted(want)}
    if figure.absent then
      row[4], row[5], row[6] = "absent", figure.absent, ""
    elseif not values then
      failed = failed + 1
      row[4], row[5], row[6] = result.failed and "failed" or "not measured", "", ""
    else
      local value = spread(values)
      local compared = comparable(figure, want, value.median)
      local before = recorded_of(records, figure, want)
      row[4] = shown(want, value.median)
      row[5] = ("%s .. %s"):format(shown(want, value.min), shown(want, value.max))
      row[6] = is_met(want, value.median) and "ok" or "SHORT"
      if not is_met(want, value.median) then short = short + 1 end
      if before and before.compared and before.compared > 0 then
        local change = compared / before.compared - 1
        row[7] = ("%+.0f %%"):format(change * 100)
        local worse = (want.at_least or figure.rate == want.ours) and -change or change
        if worse > FALL then
          regressed = regressed + 1
          row[7] = row[7] .. " REGRESSION"
        end
      end
      lines[#lines + 1] = json_write{"when", os.date("!%Y-%m-%dT%H:%M:%SZ"), "commit", commit, "cpu", machine.cpu,
        "cpus", machine.cpus, "memory_gib", machine.memory_gib, "kernel", machine.kernel, "system", machine.system,
        "luajit", jit.version, "workers", options.workers, "figure", figure.id, "want", want.name,
        "median", value.median, "min", value.min, "max", value.max, "rounds", #values, "compared", compared}
    end
    table_rows[#table_rows + 1] = row
  end
end

local function append(path)
  local file = assert(io.open(path, "a"))
  for _, line in ipairs(lines) do file:write(line, "\n") end
  file:close()
end

os.execute("mkdir -p '" .. top .. "build/bench'")
append(top .. "build/bench/history.jsonl")
if options.record then append(here .. "record.jsonl") end

-- ---- the tables --------------------------------------------------------------------------------------------

local function print_table(heads, rows)
  local widths = {}
  for column, head in ipairs(heads) do
    widths[column] = #head
    for _, row in ipairs(rows) do widths[column] = math.max(widths[column], #(row[column] or "")) end
  end
  table.insert(rows, 1, heads)
  for _, row in ipairs(rows) do
    local words = {}
    for column = 1, #heads do words[column] = ("%-" .. widths[column] .. "s"):format(row[column] or "") end
    print((table.concat(words, "  "):gsub("%s+$", "")))
  end
end

print_table({"figure", "want", "wanted", "median", "min .. max", "", "since recorded"}, table_rows)

local beside = {"luarun", "alone", "nng", "limit", "threads", "openmp", "tbb", "pool", "processpool", "threadpool",
                "ray", "dask", "spark"}
local rows, seen = {}, {}
for _, result in ipairs(results) do
  for _, name in ipairs(beside) do seen[name] = seen[name] or result.beside[name] ~= nil end
end
local heads = {"what", "of"}
for _, name in ipairs(beside) do if seen[name] then heads[#heads + 1] = name end end
for _, result in ipairs(results) do
  local figure = result.figure
  local row, others = {figure.what, figure.rate and "tasks/s" or "us"}, 0
  for column = 3, #heads do
    local value = result.beside[heads[column]]
    row[column] = not value and "" or figure.rate and ("%.3g"):format(value) or ("%.3g"):format(value * 1e6)
    if value and heads[column] ~= "luarun" then others = others + 1 end
  end
  if others > 0 then rows[#rows + 1] = row end
end
if #rows > 0 then
  print("")
  print_table(heads, rows)
end

for name, why in pairs(absent) do print(("absent: %s: %s"):format(name, why)) end
print("")
print(("%d wants: %d short, %d not measured, %d regressions (worse by more than %d %% than recorded)"):format(
  #table_rows, short, failed, regressed, FALL * 100))
os.exit(regressed + failed == 0 and 0 or 1)
