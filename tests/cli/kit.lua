-- kit: runs programs for the command-line tests and says how they ended.
--
-- The tests run in plain luajit and know luarun as a program only (LUARUN in the environment names it). Every program
-- gets a time limit, an empty standard input unless told, and an environment without LUA_INIT and the like. Files
-- live in one temporary folder, which kit.done() removes; it also ends what is still running.
-- Nothing here sleeps to let something happen: kit.eventually asks until it is so or the time is over.

local ffi = require "ffi"
local check = require "check"

ffi.cdef [[
  int usleep(unsigned microseconds);
  int kill(int pid, int signal);
]]

local kit = {}

kit.luarun = os.getenv("LUARUN") or "build/release/luarun"
local top = assert(io.popen("pwd")):read("*l")
if kit.luarun:sub(1, 1) ~= "/" then kit.luarun = top .. "/" .. kit.luarun end
kit.top = top

local folder = assert(io.popen("mktemp -d")):read("*l")
kit.folder = folder

kit.luajit = assert(io.popen("command -v luajit")):read("*l")

local running = {}
local serial = 0

function kit.quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end
kit.read = read

---Write a file in the temporary folder; returns its path.
function kit.file(name, text)
  local path = folder .. "/" .. name
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

---The output of a shell command, without the newline at its end.
function kit.shell(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return (text:gsub("\n$", ""))
end

-- The words of a command line: { args..., program=, env={}, stdin=, cwd=, seconds= } as a shell command.
local function command_of(what, files)
  local words = { "cd", kit.quote(what.cwd or folder), "&& exec env -u LUA_INIT -u LUARUN_CLUSTER -u LUA_PATH",
    "--default-signal=INT,PIPE" }
  for name, value in pairs(what.env or {}) do words[#words + 1] = kit.quote(name .. "=" .. value) end
  if what.seconds then words[#words + 1] = "timeout -k 2 " .. what.seconds end
  words[#words + 1] = kit.quote(what.program or kit.luarun)
  for _, word in ipairs(what) do words[#words + 1] = kit.quote(word) end
  words[#words + 1] = what.out or (">" .. files .. ".out")
  words[#words + 1] = "2>" .. files .. ".err"
  if what.stdin then kit.file(files:match("[^/]+$") .. ".in", what.stdin) end
  words[#words + 1] = "<" .. (what.stdin and files .. ".in" or what.input or "/dev/null")
  return table.concat(words, " ")
end

local function next_files()
  serial = serial + 1
  return folder .. "/run" .. serial
end

---Run a program to its end. Returns { status, out, err }; a signal's status is 128 and its number.
function kit.run(what)
  local files = next_files()
  what.seconds = what.seconds or 30
  os.execute("(" .. command_of(what, files) .. "); echo $? >" .. files .. ".status")
  return { status = tonumber(read(files .. ".status")), out = read(files .. ".out") or "", err = read(files .. ".err") }
end

-- ---- programs that run beside the test ------------------------------------------------------------------------

local Process = {}
Process.__index = Process

---Start a program and leave it running: process.pid, :signal(n), :wait(seconds), :out(), :err().
function kit.start(what)
  local files = next_files()
  local inner = "echo $$ >" .. files .. ".pid; " .. command_of(what, files)
  os.execute(("( (sh -c %s; echo $? >%s.ended; mv %s.ended %s.status) & ) </dev/null >/dev/null 2>&1")
    :format(kit.quote(inner), files, files, files))
  local process = setmetatable({ files = files }, Process)
  kit.eventually(function()
    process.pid = tonumber(read(files .. ".pid") or "")
    return process.pid
  end, "the program started")
  running[process] = true
  return process
end

---Ask until `fn` returns a true value, and return that; an error after `seconds` (20).
function kit.eventually(fn, what, seconds)
  for _ = 1, (seconds or 20) * 200 do
    local value = fn()
    if value then return value end
    ffi.C.usleep(5000)
  end
  error("not within " .. (seconds or 20) .. " seconds: " .. what, 2)
end

function Process:out() return read(self.files .. ".out") or "" end
function Process:err() return read(self.files .. ".err") or "" end

function Process:ended() return read(self.files .. ".status") ~= nil end

---Wait until standard output holds `text`.
function Process:says(text)
  kit.eventually(function()
    return self:out():find(text, 1, true) or read(self.files .. ".status")
  end, "a line of output")
  check.ok(self:out():find(text, 1, true), "the program said " .. text .. "; it said " .. self:out() .. self:err())
end

function Process:signal(number) return ffi.C.kill(self.pid, number) == 0 end

function Process:wait(seconds)
  local status = kit.eventually(function() return tonumber(read(self.files .. ".status") or "") end,
    "the program ended", seconds)
  running[self] = nil
  return status
end

---Seconds, to a hundredth, since the machine began.
function kit.now()
  return tonumber(read("/proc/uptime"):match("^[%d.]+"))
end

function kit.sleep(seconds) ffi.C.usleep(seconds * 1e6) end

-- ---- luarun and luajit side by side -----------------------------------------------------------------------------

-- What may differ between the two: the program's name and addresses.
local function plain(text)
  for _, name in ipairs { kit.luarun, kit.luajit } do text = text:gsub(name:gsub("%p", "%%%0"), "PROGRAM") end
  return (text:gsub("%f[%w]luarun:", "PROGRAM:"):gsub("%f[%w]luajit:", "PROGRAM:"):gsub("0x%x+", "ADDRESS"))
end

---The same command line in both programs gives the same status, output and words on standard error.
function kit.same(what)
  local ours = kit.run(what)
  what.program = kit.luajit
  local theirs = kit.run(what)
  what.program = nil
  check.eq(ours.status, theirs.status, "status (" .. ours.err .. ")")
  check.eq(plain(ours.out), plain(theirs.out), "standard output")
  check.eq(plain(ours.err), plain(theirs.err), "standard error")
  return ours
end

---A refusal: exit status 1, nothing on standard output, this one line on standard error.
function kit.refused(what, line)
  local r = kit.run(what)
  check.eq(r.err, line .. "\n")
  check.eq(r.out, "", "standard output")
  check.eq(r.status, 1, "exit status")
end

---End what is still running.
function kit.end_all()
  for process in pairs(running) do process:signal(9) end
  running = {}
end

---End what is still running, remove the folder.
function kit.clean()
  kit.end_all()
  os.execute("rm -rf " .. kit.quote(folder))
end

function kit.done()
  kit.clean()
  check.done()
end

return kit
