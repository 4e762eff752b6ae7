-- procs_test.lua - a private cluster of node processes (--procs): work is shared, anything crosses, processes are killed.

package.path = "tests/lua/?.lua;" .. package.path
local check = require "check"
local child = require "child"

---Runs a chunk on so many processes. In it: `spin(s)` makes a remote function that works so long and then returns what fn
---does, `pid()` is this process, `others()` the node processes' ids.
local PRELUDE = [[
local lr = require "luarun"
local function pid() local f = io.open("/proc/self/stat") local n = f:read("*n") f:close() return n end
local function busy(s) local t = lr.now() + s while lr.now() < t do end end
local function others()
  local list, p = {}, io.popen("pgrep -f -P " .. pid() .. " '^luarun '")
  for line in p:lines() do list[#list + 1] = tonumber(line) end
  p:close()
  return list
end
local function until_true(fn)
  local deadline = lr.now() + 20
  while not fn() do if lr.now() > deadline then error("not in time", 2) end lr.sleep(0.001) end
end
]]

local function run(procs, chunk)
  local out, err, status = child.run("--procs " .. procs .. " --workers 1", PRELUDE .. chunk)
  return out, err, status
end

local function prints(procs, chunk, wanted)
  local out, err, status = run(procs, chunk)
  check.eq({ out, status }, { wanted, 0 }, err)
  return err
end

check.test("every process runs some of the work", function()
  prints(3, [[
    local where = lr.remote(function() busy(0.01) return pid() end)
    local futures, seen, count = {}, {}, 0
    for i = 1, 90 do futures[i] = where() end
    for i = 1, 90 do seen[futures[i]:get()] = true end
    for _ in pairs(seen) do count = count + 1 end
    print(count)]], "3\n")
end)

check.test("with --workers 0 the script's process runs nothing, the others have a worker each", function()
  local out, err, status = child.run("--procs 3 --workers 0", PRELUDE .. [[
    local where = lr.remote(function() busy(0.005) return pid() end)
    local futures, seen, count = {}, {}, 0
    for i = 1, 40 do futures[i] = where() end
    for i = 1, 40 do seen[futures[i]:get()] = true end
    for _ in pairs(seen) do count = count + 1 end
    print(count, seen[pid()])]])
  check.eq({ out, status }, { "2\tnil\n", 0 }, err)
end)

check.test("with --workers 0 a task that asks for no cpu runs elsewhere, too", function()
  local out, err = child.run("--procs 2 --workers 0", PRELUDE .. [[
    print(lr.remote(function() return 1 end):with { cpu = 0 }():get(20))]])
  check.eq(out, "1\n", err)
end)

check.test("a task with futures in its arguments that waits for the first node to come", function()
  local out, err = child.run("--procs 2 --workers 0", PRELUDE .. [[
    local one = lr.remote(function() return 1 end)
    print(lr.remote(function(t) return t[1]:get() + 1 end):with { cpu = 0.5 }({ one() }):get(20))]])
  check.eq(out, "2\n", err)
end)

check.test("microsecond tasks stay at home", function()
  prints(2, [[
    local where = lr.remote(function() return lr.task().node end)
    local home = where():get()
    for _ = 1, 1000 do where():get() end -- its time is known now
    local futures, elsewhere = {}, 0
    for i = 1, 20000 do futures[i] = where() end
    for i = 1, 20000 do if futures[i]:get() ~= home then elsewhere = elsewhere + 1 end end
    print(elsewhere)]], "0\n")
end)

check.test("values, functions, futures, tensors and errors cross both ways", function()
  prints(3, [[
    local k = 7
    local inner = lr.remote(function(x) return 2 * x end)
    local f = lr.remote(function(i, t, g)
      busy(0.005)
      return { i = i, k = t.a + k, shared = t.b == t.c, g = g(i), again = g }, t.f:get(), inner(i)
    end)
    local futures = {}
    for i = 1, 60 do
      local b = { i }
      futures[i] = f(i, { a = i, b = b, c = b, f = inner(i) }, function(x) return x * k end)
    end
    for i = 1, 60 do
      local r, two, future = futures[i]:get()
      assert(r.i == i and r.k == i + 7 and r.shared and r.g == 7 * i and r.again(1) == 7, "table")
      assert(two == 2 * i and future:get() == 2 * i, "futures")
    end
    local t = lr.remote(function(x) busy(0.005) return x:get(3), x end)
    for i = 1, 20 do futures[i] = t(lr.tensor("f64", { 300000 }):fill(i)) end
    for i = 1, 20 do
      local v, x = futures[i]:get()
      assert(v == i and x:get(300000) == i, "tensor")
    end
    local bad = lr.remote(function(i) busy(0.005) error({ i = i }) end)
    for i = 1, 20 do futures[i] = bad(i) end
    for i = 1, 20 do
      local ok, err = futures[i]:pget()
      assert(not ok and err.code == "error" and err.value.i == i, "error")
    end
    print "all"]], "all\n")
end)

-- What the script claims while it lies in a queue, and gives back for another try, must not be queued there twice.
check.test("short tasks that fail and are tried again, while others want work: none is lost", function()
  prints(3, [[
    local again = lr.remote(function(k) if lr.task().attempt <= 2 then error("again", 0) end return k end,
      { retry_on_error = 2 })
    local short = lr.remote(function(k) return k end)
    local long = lr.remote(busy)
    for i = 1, 300 do again(i):get() short(i):get() end -- their time is known
    for _ = 1, 40 do
      local held, list = {}, {}
      for i = 1, 3 do held[i] = long(0.005) end
      for i = 1, 60 do list[i] = i % 2 == 0 and again(i) or short(i) end
      for i = 60, 1, -3 do assert(list[i]:get(20) == i) end
      for i = 1, 60 do assert(list[i]:get(20) == i) end
      lr.get(held)
    end
    print "all"]], "all\n")
end)

check.test("functions that refer to each other, nested tasks and random numbers are as on one process", function()
  local chunk = [[
    local even, odd
    even = lr.remote(function(n) busy(0.002) if n == 0 then return true end return (odd(n - 1):get()) end)
    odd = lr.remote(function(n) if n == 0 then return false end return (even(n - 1):get()) end)
    local draw = lr.remote(function() busy(0.002) return math.random(1e9) end)
    local a, b = {}, {}
    for i = 1, 30 do a[i], b[i] = even(i % 7), draw() end
    for i = 1, 30 do print(a[i]:get(), b[i]:get()) end]]
  local alone = child.run("--workers 2 --seed 5", PRELUDE .. chunk)
  local shared = child.run("--procs 3 --workers 1 --seed 5", PRELUDE .. chunk)
  check.eq(shared, alone)
end)

check.test("lines printed elsewhere come to the script's terminal, each once", function()
  local out = run(3, [[
    local say = lr.remote(function(i) busy(0.005) print("line", i) end)
    local futures = {}
    for i = 1, 60 do futures[i] = say(i) end
    lr.wait(futures)
    lr.sleep(0.05)]])
  local seen = {}
  for i in out:gmatch("%[say %x+ on %x+%] line\t(%d+)\n") do seen[tonumber(i)] = (seen[tonumber(i)] or 0) + 1 end
  for i = 1, 60 do check.eq(seen[i], 1, "line " .. i) end
end)

check.test("a task that runs elsewhere is cancelled there", function()
  prints(3, [[
    local mark = os.tmpname()
    local forever = lr.remote(function(mark)
      local function note(c) local f = io.open(mark, "a") f:write(c) f:close() end
      note("s")
      while not lr.cancelled() do end
      note("x")
    end)
    local function marks(c)
      local f = io.open(mark)
      local _, n = f:read("*a"):gsub(c, "")
      f:close()
      return n
    end
    local list = {}
    for i = 1, 6 do list[i] = forever(mark) end
    until_true(function() return marks("s") == 3 end) -- one in each process
    lr.cancel(list)
    until_true(function() return marks("x") == 3 end)
    os.remove(mark)
    print(select(2, list[1]:pget()).code)]], "cancelled\n")
end)

check.test("a process that is killed: its tasks run again, the results are the same, another takes its place", function()
  local err = prints(3, [[
    local square = lr.remote(function(i) busy(0.02) return i * i end)
    local futures, sum = {}, 0
    for i = 1, 100 do futures[i] = square(i) end
    futures[10]:get()
    local victim = others()[1]
    os.execute("kill -9 " .. victim)
    for i = 1, 100 do sum = sum + futures[i]:get() end
    until_true(function() return #others() == 2 end)
    for _, p in ipairs(others()) do assert(p ~= victim) end
    print(sum)]], "338350\n")
  check.ok(err:find("luarun: node %x+ is lost %(process %d+: killed by signal 9 %(Killed%)%); its %d tasks are run again"),
    err)
end)

check.test("a failed task of another process, whose future nobody looked at, is told as such", function()
  local out, err = run(2, [[
    local boom = lr.remote(function() error("boom", 0) end)
    local me = pid()
    local holder = lr.remote(function() busy(0.02) local f = boom() lr.wait { f } return { f }, pid() end,
      { node = "spread" })
    local kept, where
    repeat kept, where = holder():get() until where ~= me
    lr.wait(kept)
    print "kept"]])
  check.eq(out, "kept\n", err)
  check.ok(err:find("\n  task of another node %(%x+%) failed: error: boom\n"), err)
end)

check.test("futures in a result, also in one of those, whose process is killed: made again by the task that returned them", function()
  local folder = child.sh "mktemp -d":gsub("\n", "")
  prints(4, ("local folder = %q\n"):format(folder) .. [[
    local function exists(path) local f = io.open(path) if f then f:close() end return f ~= nil end
    local inner = lr.remote(function(mark, i) while not exists(mark) do lr.sleep(0.002) end return i end)
    local middle = lr.remote(function(mark, i) return { inner(mark, i) } end)
    local outer = lr.remote(function(mark, i) -- not in the script's process
      busy(0.02)
      return { inner(mark, i), deep = middle(mark, 2 * i), long = inner(mark, ("x"):rep(1e6)) }, pid()
    end)
    local me = pid()
    for round = 1, 3 do
      local mark, t, where = folder .. "/" .. round, nil, me
      while where == me do t, where = outer(mark, round):get() end
      local deep = t.deep:get()[1]
      local cancelled = inner(mark, 0)
      os.execute("kill -9 " .. where)
      cancelled:cancel()
      until_true(function() for _, p in ipairs(others()) do if p == where then return false end end return true end)
      io.open(mark, "w"):close()
      print(t[1]:get(20), deep:get(20), #t.long:get(20))
    end]], "1\t2\t1000000\n2\t4\t1000000\n3\t6\t1000000\n")
  child.sh("rm -r " .. folder)
end)

check.test("with LUARUN_RECOVERY=0 nothing is run again: what a killed process had fails, the rest goes on", function()
  local out, err = child.run("--procs 3 --workers 0", PRELUDE .. [[
    local hold = lr.remote(function(mark)
      local f = io.open(mark, "a") f:write(pid(), "\n") f:close()
      while not lr.cancelled() do lr.sleep(0.001) end
    end)
    local square = lr.remote(function(text) busy(0.001) return #text end)
    local mark = os.tmpname()
    local function begun()
      local list = {}
      for p in io.lines(mark) do list[#list + 1] = tonumber(p) end
      return list
    end
    local list = { hold(mark), hold(mark) }
    until_true(function() return #begun() == 2 end)
    os.execute("kill -9 " .. begun()[1])
    local failed = {}
    until_true(function() failed = lr.wait(list, { count = 1, timeout = 0.1 }) return #failed > 0 end)
    local ok, e = failed[1]:pget()
    print(ok, e.code, e.message)
    lr.cancel(list)
    local sum = 0
    for i = 1, 50 do list[i] = square(("x"):rep(i)) end
    for i = 1, 50 do sum = sum + list[i]:get(20) end
    print(sum, #begun())
    os.remove(mark)]], "LUARUN_RECOVERY=0")
  check.eq(out, "false\tnode_died\t1 node was lost while they ran it; the last one: killed by signal 9 (Killed)\n1275\t2\n", err)
  check.ok(err:find("lost %(process %d+: killed by signal 9 %(Killed%)%); its %d tasks fail\n"), err)
end)

check.test("killed again and again: every result is right", function()
  prints(3, [[
    local square = lr.remote(function(i) busy(0.01) return i * i end, { retries = 100 })
    local outer = lr.remote(function(i) local s = 0 for j = 1, 5 do s = s + square(i + j):get() end return s end, { retries = 100 })
    local futures, sum, wanted = {}, 0, 0
    for i = 1, 60 do futures[i] = outer(i) end
    for round = 1, 5 do
      futures[round * 8]:get()
      local list = others()
      if list[1] then os.execute("kill -9 " .. list[round % #list + 1]) end
    end
    for i = 1, 60 do
      sum = sum + futures[i]:get()
      for j = 1, 5 do wanted = wanted + (i + j) ^ 2 end
    end
    print(sum == wanted)]], "true\n")
end)

check.test("processes that are killed before they have come: others are started, and nothing is infeasible meanwhile", function()
  local out, err = child.run("--procs 3 --workers 0", PRELUDE .. [[
    local square = lr.remote(function(i) busy(0.005) return i * i end):with { cpu = 0.5 }
    local seen, kills, sum = {}, 0, 0
    for i = 1, 30 do
      local f = square(i)
      for _, p in ipairs(others()) do
        if not seen[p] and kills < 12 then
          seen[p], kills = true, kills + 1
          os.execute("kill -9 " .. p)
        end
      end
      sum = sum + f:get(30)
    end
    print(sum)]])
  check.eq(out, "9455\n", err)
end)

check.test("a task that kills every node it runs on ends as an error that says how", function()
  local out, err, status = run(3, [[
    local hold = lr.remote(function() while not lr.cancelled() do end end)
    local held = hold() -- the script's own worker
    until_true(function() return held:state() == "running" end)
    local others_hold = { hold(), hold() }
    lr.sleep(0.1)
    lr.cancel(others_hold)
    local f = lr.remote(function() require("ffi").cast("int *", 0)[0] = 1 end)()
    local ok, e = f:pget(30)
    print(ok, e.code, e.message)
    lr.cancel { held }]])
  check.eq(status, 0, err)
  check.ok(out:find("^false\tnode_died\t4 nodes were lost while they ran it; the last one: killed by signal 11 "), out)
end)

check.test("nothing is left: after the end, after os.exit, after the script's process was killed", function()
  local start = [[
    lr.remote(function() busy(0.01) end)():get()
    until_true(function() return #others() == 2 end)
    local list = others()
    print(table.concat(list, " "))
    io.stdout:flush()
  ]]
  for _, last in ipairs { "", "os.exit(0)", "os.execute('kill -9 ' .. pid())" } do
    local out = run(3, start .. last)
    local a, b = out:match("(%d+) (%d+)")
    check.ok(a and b, out)
    local deadline = os.time() + 10
    for _, p in ipairs { a, b } do
      local alive = true
      while alive and os.time() < deadline do
        local f = io.open("/proc/" .. p .. "/stat")
        local text = f and f:read("*a") or ""
        if f then f:close() end
        alive = text ~= "" and not text:find(") Z", 1, true)
      end
      check.eq(alive, false, "process " .. p .. " after '" .. last .. "'")
    end
  end
end)

check.test("a node with another secret, or with none, is refused", function()
  local out, err = run(2, [[
    lr.remote(function() busy(0.01) end)():get()
    until_true(function() return #others() == 1 end)
    local f = io.open("/proc/" .. others()[1] .. "/cmdline")
    local address = f:read("*a"):match("tcp://127%.0%.0%.1:%d+")
    f:close()
    local f = io.open("/proc/self/cmdline")
    local program = f:read("*a"):match("^[^%z]+")
    f:close()
    for _, secret in ipairs { "LUARUN_SECRET=wrong", "LUARUN_SECRET=" } do
      os.execute(secret .. " timeout 20 '" .. program .. "' node --cluster " .. address .. " 2>&1")
    end]])
  local _, lines = out:gsub("luarun: node: [^\n]*secret[^\n]*\n", "")
  check.eq(lines, 2, out .. err)
end)

check.done()
