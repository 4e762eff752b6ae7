-- bench/console.lua - from a key to its echo at the console: while the workers idle, and while every core is busy.
--
--   ./dev bench console [--keys N]
--
-- A luarun in a pseudo-terminal is typed into, one key at a time, 5 to 40 ms apart by chance; measured is the time from
-- the write of the key until the terminal's side reads the character. Busy: one task a core that computes without end,
-- on as many workers as there are cores. The figure is the 99th percentile of the busy ones: below 50 ms nobody
-- notices. Ends with status 1 when it is not met.

local ffi = require "ffi"
local lr = require "luarun" -- for its clock only

ffi.cdef [[
  struct lr_bench_pollfd { int fd; short events; short revents; };
  int forkpty(int *master, char *name, const void *termios, const void *size);
  int execv(const char *path, char *const words[]);
  void _exit(int status);
  int setenv(const char *name, const char *value, int overwrite);
  ssize_t read(int fd, void *bytes, size_t count);
  ssize_t write(int fd, const void *bytes, size_t count);
  int poll(struct lr_bench_pollfd *fds, unsigned long count, int timeout_ms);
  int kill(int pid, int signal);
  int waitpid(int pid, int *status, int options);
  int usleep(unsigned microseconds);
]]

local LIMIT_MS = 50
local keys = 1000
for i = 1, #arg do
  if arg[i] == "--keys" then keys = assert(tonumber(arg[i + 1]), "--keys wants a number") end
end

local luarun = os.getenv("LUARUN") or "build/release/luarun"
local cores = tonumber(io.popen("nproc"):read("*l"))

-- ---- a console in a pseudo-terminal ---------------------------------------------------------------------------

local home = io.popen("mktemp -d"):read("*l")
local Console = {}
Console.__index = Console

local function start(workers)
  local master = ffi.new("int[1]")
  local pid = ffi.C.forkpty(master, nil, nil, nil)
  assert(pid >= 0, "no pseudo-terminal")
  if pid == 0 then
    ffi.C.setenv("TERM", "xterm", 1)
    ffi.C.setenv("HOME", home, 1)
    ffi.C.setenv("XDG_STATE_HOME", home, 1)
    local words = { luarun, "--workers", tostring(workers) }
    local list = ffi.new("const char *[4]", words)
    ffi.C.execv(luarun, ffi.cast("char *const *", list))
    ffi.C._exit(127)
  end
  return setmetatable({ fd = master[0], pid = pid, seen = "" }, Console)
end

local buffer = ffi.new("char[65536]")

-- Reads what the console writes until `text` was there, and forgets it up to there; an error at the deadline.
function Console:expect(text, seconds)
  local deadline = lr.now() + (seconds or 10)
  local fds = ffi.new("struct lr_bench_pollfd[1]", { { self.fd, 1, 0 } })
  local _, last = self.seen:find(text, 1, true)
  while not last do
    local left = deadline - lr.now()
    if left <= 0 then error("the console did not say '" .. text .. "'; it said: " .. self.seen) end
    if ffi.C.poll(fds, 1, math.ceil(left * 1000)) > 0 then
      local count = ffi.C.read(self.fd, buffer, 65536)
      assert(count > 0, "the console has ended")
      self.seen = self.seen .. ffi.string(buffer, count)
    end
    _, last = self.seen:find(text, 1, true)
  end
  self.seen = self.seen:sub(last + 1)
end

function Console:send(text) ffi.C.write(self.fd, text, #text) end

-- A line, and what it prints.
function Console:line(text, wanted)
  self:send(text .. "\r")
  self:expect("\27[?2004l" .. wanted) -- behind its echo
  self:expect("> ")
end

function Console:close()
  self:send("\3\4")
  ffi.C.usleep(100000)
  ffi.C.kill(self.pid, 9)
  ffi.C.waitpid(self.pid, nil, 0)
end

-- ---- measuring ------------------------------------------------------------------------------------------------

local function measure(console)
  local times, letters = {}, "abcdefghijklmnopqrstuvwxyz"
  for i = 1, keys do
    if i % 50 == 1 then -- a new line, now and then
      console:send("\3")
      console:expect("> ")
    end
    ffi.C.usleep(math.random(5000, 40000))
    console.seen = ""
    local letter = letters:sub(i % 26 + 1, i % 26 + 1)
    local from = lr.now()
    console:send(letter)
    console:expect(letter)
    times[i] = (lr.now() - from) * 1000
  end
  console:send("\3")
  console:expect("> ")
  table.sort(times)
  return times
end

local function at(times, part) return times[math.max(1, math.ceil(part * #times))] end

local function report(name, times)
  print(("%-8s %8.2f %8.2f %8.2f"):format(name, at(times, 0.5), at(times, 0.99), times[#times]))
end

math.randomseed(42)
print(("%d keys, %d cores, %d workers"):format(keys, cores, cores))
print(("%-8s %8s %8s %8s   ms from a key to its echo"):format("workers", "p50", "p99", "max"))
local console = start(cores)
console:expect("> ")
report("idle", measure(console))
console:line("local busy = lr.remote(function() local x = 0 while not lr.cancelled() do "
  .. "for i = 1, 1e7 do x = x + i end end end) return 'made'", '"made"')
console:line("local tasks = {} for i = 1, " .. cores .. " do tasks[i] = busy() end", "")
console:line("(function() while lr.stats().running < " .. cores .. " do lr.sleep(0.01) end return 'all busy' end)()",
  '"all busy"')
local times = measure(console)
report("busy", times)
console:close()
os.execute("rm -rf '" .. home .. "'")
local p99 = at(times, 0.99)
print(("p99 while busy: %.2f ms (below %d ms: %s)"):format(p99, LIMIT_MS, p99 < LIMIT_MS and "yes" or "NO"))
os.exit(p99 < LIMIT_MS)
