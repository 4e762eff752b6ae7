-- recovery_test.lua - how soon work goes on when something dies: short forms of the figures of `./dev bench recovery`.
--
-- The bounds are several times what a quiet machine takes, and below what it took before it was mended.

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

---What a program of bench/programs answers, as a table of numbers; nil and what it said where it cannot run here.
local function measure(options, name, ...)
  local words = { env = {} }
  for word in options:gmatch("%S+") do
    local variable, value = word:match("^([A-Z_]+)=(.*)$")
    if variable then words.env[variable] = value else words[#words + 1] = word end
  end
  words[#words + 1] = kit.top .. "/bench/programs/" .. name .. ".lua"
  for _, word in ipairs { ... } do words[#words + 1] = word end
  words.seconds, words.cwd = 120, kit.top
  local r, answer = kit.run(words), {}
  if r.status == 78 then return nil, r.err end
  check.eq(r.status, 0, r.out .. r.err)
  for key, value in r.out:gmatch('"(%w+)": ([%d.e+-]+)') do answer[key] = tonumber(value) end
  return answer
end

check.test("killed processes: the first of their tasks begins elsewhere within a fifth of a second", function()
  local answer = measure("--procs 4 --workers 0", "kills", "n=9")
  check.eq(answer.count, 9)
  check.ok(answer.p50 < 0.2, "p50 " .. answer.p50)
end)

-- Its connections end, and it lives on for ever: how it ends is never known.
check.test("nobody waits to know how a process died before its tasks run again", function()
  local mark = kit.folder .. "/stopped"
  local r = kit.run { "--procs", "3", "--workers", "0", "-e", ([[
    local lr = require "luarun"
    local mark = %q
    local function at() local f = io.open(mark) local s = f and f:read("*n") if f then f:close() end return s end
    local once = lr.remote(function(mark)
      local f = io.open(mark)
      if f then f:close() return lr.now() end
      f = io.open(mark, "w") f:write(("%%.6f"):format(lr.now())) f:close()
      local c = require "ffi"
      c.cdef "int shutdown(int, int); int kill(int, int); int getpid(void);"
      for fd = 3, 1000 do c.C.shutdown(fd, 2) end
      c.C.kill(c.C.getpid(), 19)
      while true do c.C.getpid() end -- until the stop, which another thread may take, has come here
    end)
    print(once(mark):get(20) - at())]]):format(mark) }
  check.eq(r.status, 0, r.err)
  local seconds = tonumber(r.out)
  check.ok(seconds < 0.4, ("%s s; it is looked for 0.5 s how it died"):format(r.out))
end)

check.test("a chain of objects whose node is killed: its end is there, and each task ran once more", function()
  for _, hold in ipairs { "hold=1", "hold=0" } do
    local answer = measure("LUARUN_SHARE=0 LUARUN_RING=0 --procs 2 --workers 0", "chain", "n=100", hold)
    check.eq({ answer.most, answer.again }, { 2, 100 })
  end
end)

if os.execute("command -v redis-server >/dev/null") ~= 0 then
  check.skip("Redis and hosts that go", "redis-server is not installed")
  return kit.done()
end

check.test("Redis is killed under load and comes back: nothing is lost, the job goes on, new ones begin", function()
  for _, with in ipairs { "empty=0", "empty=1" } do
    local answer = measure("--workers 1", "restart", "luarun=" .. kit.luarun, "down=1", with)
    check.ok(answer.gap <= 1, "the running job paused for " .. answer.gap .. " s")
    check.ok(answer.first < 3, "a new job had its value after " .. answer.first .. " s")
  end
end)

local answer, why = measure("--workers 1", "vanish", "luarun=" .. kit.luarun, "n=1")
if answer then
  check.test("a host that vanishes: its tasks begin elsewhere within its lease and a little", function()
    check.ok(answer.max < 5, answer.max .. " s")
  end)
else
  check.skip("a host that vanishes", why)
end

kit.done()
