-- pretend: a stand-in for a Redis server: says these words to whoever connects to its socket, and then is silent.
--
--     luajit pretend.lua SOCKET WORDS        \r and \n in the words stand for themselves as in Lua
-- Ends by a signal only. It speaks to eight at a time and reads nothing.

local ffi = require "ffi"

ffi.cdef [[
  struct sockaddr_un { unsigned short family; char path[108]; };
  int socket(int domain, int type, int protocol);
  int bind(int fd, const struct sockaddr_un *at, unsigned size);
  int listen(int fd, int backlog);
  int accept(int fd, void *at, unsigned *size);
  long write(int fd, const char *bytes, size_t count);
]]

local path, words = arg[1], arg[2]:gsub("\\r", "\r"):gsub("\\n", "\n")
local at = ffi.new("struct sockaddr_un", { family = 1, path = path })
local fd = ffi.C.socket(1, 1, 0)
assert(ffi.C.bind(fd, at, ffi.sizeof(at)) == 0 and ffi.C.listen(fd, 8) == 0, "cannot listen on " .. path)
while true do
  local client = ffi.C.accept(fd, nil, nil)
  if client < 0 then break end
  ffi.C.write(client, words, #words)
end
