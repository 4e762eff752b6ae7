-- process.lua - another program at the end of two pipes: start it, write lines, read lines with a time limit, end it.
-- No shell, no fork: posix_spawnp. What the program writes to standard error is kept for the report when it dies.
-- Linux only. C names carry a prefix of their own, so that other ffi.cdef calls are not in the way.

local ffi = require "ffi"

ffi.cdef[[
struct procl_pollfd { int fd; short events, revents; };
struct procl_timespec { long seconds, nanoseconds; };
int procl_pipe2(int fds[2], int flags) __asm__("pipe2");
int procl_close(int) __asm__("close");
long procl_read(int, void *, size_t) __asm__("read");
long procl_write(int, const void *, size_t) __asm__("write");
int procl_poll(struct procl_pollfd *, unsigned long, int) __asm__("poll");
int procl_kill(int, int) __asm__("kill");
int procl_waitpid(int, int *, int) __asm__("waitpid");
int procl_clock(int, struct procl_timespec *) __asm__("clock_gettime");
char *procl_strerror(int) __asm__("strerror");
void *procl_signal(int, void *) __asm__("signal");
int procl_spawn(int *, const char *, const void *, const void *, char *const *, char *const *) __asm__("posix_spawnp");
int procl_actions_init(void *) __asm__("posix_spawn_file_actions_init");
int procl_actions_fini(void *) __asm__("posix_spawn_file_actions_destroy");
int procl_actions_dup2(void *, int, int) __asm__("posix_spawn_file_actions_adddup2");
extern char **environ;
]]

local C = ffi.C
local O_CLOEXEC, POLLIN, SIGKILL, SIGPIPE, WNOHANG, CLOCK_MONOTONIC = 0x80000, 1, 9, 13, 1, 1

---@class Process
local Process = {}
Process.__index = Process

local clock_value = ffi.new("struct procl_timespec")

--- Seconds of a steady clock.
function Process.now()
  C.procl_clock(CLOCK_MONOTONIC, clock_value)
  return tonumber(clock_value.seconds) + tonumber(clock_value.nanoseconds) * 1e-9
end

local function pipe()
  local fds = ffi.new("int[2]")
  if C.procl_pipe2(fds, O_CLOEXEC) ~= 0 then error("no pipe: " .. ffi.string(C.procl_strerror(ffi.errno())), 0) end
  return fds[0], fds[1]
end

--- Starts a program: words = {"gnugo", "--mode", "gtp"}, found in PATH. Raises when it cannot be started.
---@return Process
function Process.start(words)
  C.procl_signal(SIGPIPE, ffi.cast("void *", 1)) -- a dead reader is an error of write, not our end
  local in_read, in_write = pipe()
  local out_read, out_write = pipe()
  local err_read, err_write = pipe()
  local actions = ffi.new("uint64_t[64]")
  C.procl_actions_init(actions)
  C.procl_actions_dup2(actions, in_read, 0)
  C.procl_actions_dup2(actions, out_write, 1)
  C.procl_actions_dup2(actions, err_write, 2)
  local argv = ffi.new("char *[?]", #words + 1)
  for i, word in ipairs(words) do argv[i - 1] = ffi.cast("char *", word) end
  local pid = ffi.new("int[1]")
  local failed = C.procl_spawn(pid, words[1], actions, nil, argv, C.environ)
  C.procl_actions_fini(actions)
  C.procl_close(in_read)
  C.procl_close(out_write)
  C.procl_close(err_write)
  if failed ~= 0 then
    C.procl_close(in_write)
    C.procl_close(out_read)
    C.procl_close(err_read)
    error(("cannot start %s: %s"):format(words[1], ffi.string(C.procl_strerror(failed))), 0)
  end
  return setmetatable({pid = pid[0], words = words, input = in_write, output = out_read, errors = err_read,
                       buffer = "", said = "", complaint = ""}, Process)
end

--- Writes all of a text; false when the program no longer reads.
function Process:write(text)
  local at = 0
  while at < #text do
    local wrote = tonumber(C.procl_write(self.input, ffi.cast("const char *", text) + at, #text - at))
    if wrote <= 0 then return false end
    at = at + wrote
  end
  return true
end

local chunk = ffi.new("char[4096]")

local function drain(fd)
  local got = tonumber(C.procl_read(fd, chunk, 4096))
  if got > 0 then return ffi.string(chunk, got) end
end

-- Waits until something more was read; false at the deadline or when the program closed its output.
local function read_more(self, deadline)
  local fds = ffi.new("struct procl_pollfd[2]")
  while true do
    fds[0].fd, fds[0].events, fds[0].revents = self.output, POLLIN, 0
    fds[1].fd, fds[1].events, fds[1].revents = self.errors, POLLIN, 0
    local left = deadline - Process.now()
    if left <= 0 then return false, "timeout" end
    local count = C.procl_poll(fds, 2, math.min(math.ceil(left * 1000), 1e6))
    if count > 0 and fds[1].revents ~= 0 then
      local text = drain(self.errors)
      if text then self.complaint = (self.complaint .. text):sub(-2000)
      else C.procl_close(self.errors) self.errors = -1 end
    end
    if count > 0 and fds[0].revents ~= 0 then
      local text = drain(self.output)
      if not text then return false, "closed" end
      self.buffer = self.buffer .. text
      self.said = (self.said .. text):sub(-500)
      return true
    end
  end
end

--- The next line without its end. nil, "timeout" or "closed" when there is none within so many seconds.
function Process:read_line(seconds)
  local deadline = Process.now() + seconds
  while true do
    local line, rest = self.buffer:match("^([^\n]*)\n(.*)$")
    if line then
      self.buffer = rest
      return (line:gsub("\r$", ""))
    end
    local ok, why = read_more(self, deadline)
    if not ok then return nil, why end
  end
end

--- What it last said, for a report.
function Process:last_words()
  local text = ("last output: %q"):format(self.said:sub(-200))
  if self.complaint ~= "" then text = text .. (", on standard error: %q"):format(self.complaint:sub(-400)) end
  return text
end

--- What it said on standard error (the last 2000 bytes), once it has closed that, or after so many seconds.
function Process:read_errors(seconds)
  local fds, deadline = ffi.new("struct procl_pollfd[1]"), Process.now() + seconds
  while self.errors >= 0 and Process.now() < deadline do
    fds[0].fd, fds[0].events = self.errors, POLLIN
    if C.procl_poll(fds, 1, 100) > 0 then
      local text = drain(self.errors)
      if text then self.complaint = (self.complaint .. text):sub(-2000)
      else C.procl_close(self.errors) self.errors = -1 end
    end
  end
  return self.complaint
end

--- Closes its standard input: it reads an end of file. Safe to call twice.
function Process:close_input()
  if self.input >= 0 then C.procl_close(self.input) end
  self.input = -1
end

--- Sends it a signal by number.
function Process:signal(number) return C.procl_kill(self.pid, number) == 0 end

--- Ends it, by force after `seconds` (default 1), and frees everything. Safe to call twice. Returns its exit status,
--- and for one ended by a signal nil and the signal's number.
function Process:stop(seconds)
  if not self.pid then return nil end
  self:close_input()
  local status, deadline = ffi.new("int[1]"), Process.now() + (seconds or 1)
  while C.procl_waitpid(self.pid, status, WNOHANG) == 0 do
    if Process.now() > deadline then
      C.procl_kill(self.pid, SIGKILL)
      C.procl_waitpid(self.pid, status, 0)
      break
    end
    C.procl_poll(nil, 0, 5)
  end
  C.procl_close(self.output)
  if self.errors >= 0 then C.procl_close(self.errors) end
  self.pid = nil
  local signal = status[0] % 128
  if signal ~= 0 then return nil, signal end
  return math.floor(status[0] / 256)
end

return Process
