-- nodes.lua - what the programs about recovery share: the node processes of this script (--procs), tasks that hold a
-- worker for a while, and a steady stream of those.
--
-- A body sleeps (usleep): it holds its worker as a kernel would, and leaves the processor alone. Four nodes on two
-- cores that all computed would tell more about who gets a core than about who takes over whose work.
local lr, ffi = require "luarun", require "ffi"

ffi.cdef [[ int kill(int pid, int signal); ]]

local nodes = {}

---The process ids of the nodes that this script has started and that live.
function nodes.pids()
  local list = {}
  for i, node in ipairs(lr.nodes()) do if i > 1 then list[#list + 1] = node.pid end end
  return list
end

---kill -9; returns when.
function nodes.kill(pid)
  local at = lr.now()
  assert(ffi.C.kill(pid, 9) == 0, "no such process")
  return at
end

---Gives work until so many node processes have done some, for 20 s at most.
function nodes.await(count, busy)
  local deadline, seen, found = lr.now() + 20, {}, 0
  while found < count do
    if lr.now() > deadline then error(("%d of %d nodes work"):format(found, count), 0) end
    local list = {}
    for i = 1, 4 * count do list[i] = busy(0.002) end
    for i = 1, 4 * count do
      local pid = select(3, list[i]:get(20))
      if not seen[pid] then seen[pid], found = true, found + 1 end
    end
  end
end

---hold(seconds): holds a worker so long; returns when it began, which attempt it was, and in which process.
nodes.hold = lr.remote(function(seconds)
  local c = require "ffi"
  c.cdef [[ int usleep(unsigned); int getpid(void); ]]
  local begun = lr.now()
  c.C.usleep(seconds * 1e6)
  return begun, lr.task().attempt, c.C.getpid()
end, { retries = 100 })

---The same with the processor: it computes so long.
nodes.spin = lr.remote(function(seconds)
  local c = require "ffi"
  c.cdef [[ int getpid(void); ]]
  local begun = lr.now()
  while lr.now() < begun + seconds do end -- luacheck: ignore
  return begun, lr.task().attempt, c.C.getpid()
end, { retries = 100 })

---Keeps so many futures under way; `submit()` makes one, `ended(future)` gets each that has ended. Goes on until
---`over()` is true, which is asked after each look, and gets the rest.
function nodes.stream(count, submit, ended, over)
  local list = {}
  for i = 1, count do list[i] = submit() end
  while not over() do
    local ready, pending = lr.wait(list, { count = 1, timeout = 0.01 })
    for _, f in ipairs(ready) do
      ended(f)
      pending[#pending + 1] = submit()
    end
    list = pending
  end
  for _, f in ipairs(list) do ended(f) end
end

return nodes
