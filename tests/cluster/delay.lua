-- delay.lua - a link with latency, for kernels without netem: luajit delay.lua HOST BRIDGE_HOST MILLISECONDS ADDRESS
--
-- Makes a tap eth0 in one network namespace and a tap on br0 of another, and carries frames between them, each way by so
-- many milliseconds late. Prints "ready", and lives until it is killed; both taps go with it. Started by hosts.lua.

local ffi = require "ffi"

ffi.cdef [[
  int open(const char *path, int flags, ...);
  int close(int fd);
  int setns(int fd, int type);
  int ioctl(int fd, unsigned long request, ...);
  long read(int fd, void *bytes, size_t size);
  long write(int fd, const void *bytes, size_t size);
  struct pollfd { int fd; short events, revents; };
  struct timespec { long tv_sec, tv_nsec; };
  int ppoll(struct pollfd *fds, unsigned long count, const struct timespec *timeout, const void *mask);
  int clock_gettime(int clock, struct timespec *at);
  int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
]]

local O_RDWR, O_NONBLOCK, CLONE_NEWNET, TUNSETIFF, IFF_TAP, IFF_NO_PI = 2, 0x800, 0x40000000, 0x400454ca, 2, 0x1000
local POLLIN, PR_SET_PDEATHSIG = 1, 1
local FRAME = 65536

local host, bridge, delay_ms, address = arg[1], arg[2], tonumber(arg[3]), arg[4]

local function enter(name)
  local fd = ffi.C.open("/var/run/netns/" .. name, 0)
  assert(fd >= 0 and ffi.C.setns(fd, CLONE_NEWNET) == 0, "no namespace " .. name)
  ffi.C.close(fd)
end

-- struct ifreq: 16 bytes of name, then the flags.
local function tap(name)
  local fd = ffi.C.open("/dev/net/tun", O_RDWR + O_NONBLOCK)
  local request = ffi.new("uint8_t[40]")
  ffi.copy(request, name)
  ffi.cast("uint16_t *", request + 16)[0] = IFF_TAP + IFF_NO_PI
  assert(fd >= 0 and ffi.C.ioctl(fd, TUNSETIFF, request) == 0, "no tap " .. name)
  return fd
end

local function sh(command) assert(os.execute(command) == 0, command) end

local time = ffi.new("struct timespec")
local function now()
  ffi.C.clock_gettime(1, time)
  return tonumber(time.tv_sec) + tonumber(time.tv_nsec) / 1e9
end

ffi.C.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
enter(host)
local there = tap("eth0")
sh(("ip addr add %s/24 dev eth0 && ip link set eth0 up"):format(address))
enter(bridge)
local here = tap("d" .. address:match("%d+$"))
sh(("ip link set d%s master br0 up"):format(address:match("%d+$")))
print "ready"
io.stdout:flush()

-- Frames on their way, oldest first: { at, to, bytes }.
local queue, first, last = {}, 1, 0
local fds = ffi.new("struct pollfd[2]")
fds[0].fd, fds[1].fd = there, here
fds[0].events, fds[1].events = POLLIN, POLLIN
local bytes, pause = ffi.new("uint8_t[?]", FRAME), ffi.new("struct timespec")

local function take(from, to)
  while true do
    local n = tonumber(ffi.C.read(from, bytes, FRAME))
    if n <= 0 then return end
    last = last + 1
    queue[last] = { now() + delay_ms / 1000, to, ffi.string(bytes, n) }
  end
end

while true do
  local wait = first <= last and math.max(queue[first][1] - now(), 0) or 1
  pause.tv_sec, pause.tv_nsec = math.floor(wait), wait % 1 * 1e9
  ffi.C.ppoll(fds, 2, pause, nil)
  take(there, here)
  take(here, there)
  while first <= last and queue[first][1] <= now() do
    local frame = queue[first]
    ffi.C.write(frame[2], frame[3], #frame[3])
    queue[first] = nil
    first = first + 1
  end
end
