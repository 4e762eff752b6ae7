-- The console in a real terminal: luarun in tmux, driven by keys and read from the screen. Every wait is for something to
-- stand on the screen, with a deadline.

package.path = "tests/cli/?.lua;tests/lua/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"
local ffi = require "ffi"

if kit.shell("command -v tmux") == "" then
  check.skip("the console in a terminal", "tmux is not installed")
  kit.done()
  return
end

local socket = kit.folder .. "/tmux"
local quote = kit.quote
local state = kit.folder .. "/state"

local function tmux(...)
  local words = { "tmux -u -f /dev/null -S", quote(socket) }
  for _, word in ipairs { ... } do words[#words + 1] = quote(word) end
  return kit.shell(table.concat(words, " ") .. " 2>&1")
end

-- The server ends with its last session, and when this test is gone, however it went.
ffi.cdef "int getpid(void);"
tmux("new-session", "-d", "-s", "keeper", ("while kill -0 %d; do sleep 1; done; tmux -S %s kill-server"):format(
  ffi.C.getpid(), quote(socket)))

-- ---- a terminal with a program in it --------------------------------------------------------------------------

local Terminal = {}
Terminal.__index = Terminal
local serial = 0

local function open(options)
  options = options or {}
  serial = serial + 1
  local self = setmetatable({ name = "t" .. serial }, Terminal)
  local env = ("env HOME=%s XDG_STATE_HOME=%s %s "):format(quote(kit.folder), quote(options.state or state),
    options.env or "")
  tmux("new-session", "-d", "-s", self.name, "-x", tostring(options.width or 80), "-y", tostring(options.height or 24),
    env .. (options.command or quote(kit.luarun) .. " --workers 2"))
  if not options.command then self:sees("^> $") end
  return self
end

-- The screen's lines, without blanks at their ends; those below the last text are not among them.
function Terminal:screen()
  local list = {}
  for line in (tmux("capture-pane", "-p", "-t", self.name) .. "\n"):gmatch("([^\n]*)\n") do
    list[#list + 1] = (line:gsub("%s+$", ""))
  end
  while list[#list] == "" do list[#list] = nil end
  return list
end

-- A prompt alone has lost its blank.
local function shape(pattern) return (pattern:gsub(" %$$", "%%s*$")) end

local function count_of(list, pattern)
  local count = 0
  for _, line in ipairs(list) do
    if line:find(pattern) then count = count + 1 end
  end
  return count
end

-- Waits until a line of the screen matches (so many of them).
function Terminal:sees(pattern, count)
  local screen
  local ok = pcall(kit.eventually, function()
    screen = self:screen()
    return count_of(screen, shape(pattern)) >= (count or 1)
  end, pattern)
  if not ok then error("never seen: " .. pattern .. "\n" .. table.concat(screen, "\n"), 2) end
end

-- Waits until the last line of the screen matches.
function Terminal:stands(pattern)
  local screen
  local ok = pcall(kit.eventually, function()
    screen = self:screen()
    return (screen[#screen] or ""):find(shape(pattern))
  end, pattern)
  if not ok then error("the last line never was: " .. pattern .. "\n" .. table.concat(screen, "\n"), 2) end
end

function Terminal:keys(...) tmux("send-keys", "-t", self.name, ...) end
-- A semicolon at the end of a word is tmux's own.
function Terminal:text(text) tmux("send-keys", "-t", self.name, "-l", "--", (text:gsub(";$", "\\;"))) end

-- A whole line typed, and its value waited for.
function Terminal:line(text, pattern)
  self:text(text)
  self:keys("Enter")
  if pattern then self:sees(pattern) end
end

function Terminal:clear()
  self:keys("C-l")
  tmux("clear-history", "-t", self.name)
end

function Terminal:paste(text, ...)
  local path = kit.file("paste", text)
  tmux("load-buffer", path)
  tmux("paste-buffer", "-d", "-r", "-t", self.name, ...)
end

function Terminal:is_gone() return not tmux("has-session", "-t", self.name):find("^%s*$") end

function Terminal:close()
  self:keys("C-c")
  self:stands("^> $")
  self:keys("C-d")
  kit.eventually(function() return self:is_gone() end, "^D ends")
end

-- ---- keys -----------------------------------------------------------------------------------------------------

check.test("a line is typed and its value shown", function()
  local t = open()
  t:line("6 * 7", "^42$")
  t:stands("^> $")
  t:close()
end)

check.test("keys that edit", function()
  local t = open()
  t:text("3 + 4")
  t:keys("Home")
  t:text("10 * (")
  t:keys("End")
  t:text("x")
  t:keys("BSpace")
  t:line(")", "^70$")
  t:text("12345")
  t:keys("Left", "Left", "BSpace", "DC", "Enter")
  t:sees("^125$")
  t:text("nothing of this")
  t:keys("C-a", "C-k")
  t:line("'kept'", '^"kept"$')
  t:close()
end)

check.test("characters beyond ASCII", function()
  local t = open()
  t:line("'é€𝄞', #'é€𝄞'", '^"é€𝄞"%s+9$')
  t:text("'a€b'")
  t:keys("Left", "Left", "BSpace", "Enter")
  t:sees('^"ab"$')
  t:close()
end)

check.test("several lines, with a prompt of their own", function()
  local t = open()
  t:line("for i = 1, 2 do", "^>> $")
  t:line("print('line', i * 100)")
  t:line("end", "^line%s+200$")
  t:stands("^> $")
  t:close()
end)

check.test("a line longer than the window", function()
  local t = open { width = 30 }
  t:line("#'" .. ("x"):rep(100) .. "'", "^100$")
  t:close()
end)

-- ---- completion -----------------------------------------------------------------------------------------------

check.test("TAB completes names, fields, methods, modules and ids", function()
  local t = open()
  t:text("lr.rem")
  t:keys("Tab")
  t:stands("^> lr.remote$")
  t:keys("C-c")
  t:line("local my_future = lr.put(11)")
  t:text("my_f")
  t:keys("Tab")
  t:stands("^> my_future$")
  t:text(":is_")
  t:keys("Tab")
  t:stands("^> my_future:is_ready$")
  t:line("()", "^true$")
  t:text("require 'stri")
  t:keys("Tab")
  t:stands("^> require 'string$")
  t:keys("C-c")
  t:text(":nod")
  t:keys("Tab")
  t:stands("^> :nodes$")
  t:keys("C-c")
  t:text("? as_c")
  t:keys("Tab")
  t:stands("^> %? as_completed$")
  t:close()
end)

check.test("TAB lists what it cannot decide, above the line", function()
  local t = open()
  t:text("lr.re")
  t:keys("Tab")
  t:sees("remote%s+resources")
  t:stands("^> lr.re$")
  t:text("sources")
  t:line("().cpu", "^2$")
  t:close()
end)

-- ---- history --------------------------------------------------------------------------------------------------

check.test("history: of this console, of the last one, searched", function()
  local t = open()
  t:line("1000 + 1", "^1001$")
  t:line("1000 + 2", "^1002$")
  t:keys("Up", "Up")
  t:stands("^> 1000 %+ 1$")
  t:keys("C-c")
  t:close()
  t = open()
  t:keys("Up")
  t:stands("^> 1000 %+ 2$")
  t:keys("C-c")
  t:keys("C-r")
  t:text("+ 1")
  t:sees("1000 %+ 1")
  t:keys("Enter")
  t:keys("Enter")
  t:sees("^1001$")
  t:close()
end)

check.test("the history's file: mode 600, and two consoles lose nothing", function()
  local path = kit.folder .. "/both/luarun/history"
  local a, b = open { state = kit.folder .. "/both" }, open { state = kit.folder .. "/both" }
  for i = 1, 5 do
    a:line("100 + " .. i, "^10" .. i .. "$")
    b:line("200 + " .. i, "^20" .. i .. "$")
  end
  a:close()
  b:close()
  check.eq(kit.shell("stat -c %a " .. quote(path)), "600")
  local text = kit.read(path)
  for i = 1, 5 do
    check.ok(text:find("100 + " .. i .. "\n", 1, true) and text:find("200 + " .. i .. "\n", 1, true), text)
  end
end)

check.test("a long history is cut to its newest lines", function()
  os.execute("mkdir -p " .. quote(kit.folder .. "/long/luarun"))
  local lines = {}
  for i = 1, 5000 do lines[i] = "'line " .. i .. "'" end
  kit.file("long/luarun/history", table.concat(lines, "\n") .. "\n")
  local t = open { state = kit.folder .. "/long" }
  t:keys("Up")
  t:stands("^> 'line 5000'$")
  t:close()
  check.eq(select(2, kit.read(kit.folder .. "/long/luarun/history"):gsub("\n", "")), 2000)
end)

check.test("where no folder can be made the history is ~/.luarun_history", function()
  local t = open { state = "relative" }
  t:line("300 + 1", "^301$")
  t:close()
  check.eq(kit.read(kit.folder .. "/.luarun_history"), "300 + 1\n")
end)

-- ---- ^C -------------------------------------------------------------------------------------------------------

check.test("^C drops a line, and a chunk that is not whole", function()
  local t = open()
  t:text("not_to_be_run()")
  t:keys("C-c")
  t:stands("^> $")
  t:line("while true do", "^>> $")
  t:keys("C-c")
  t:stands("^> $")
  t:line("5 + 5", "^10$")
  t:close()
end)

check.test("^C ends a wait and not the task", function()
  local t = open()
  t:line("local gate = lr.remote(function() while not io.open('" .. kit.folder .. "/gate') do lr.sleep(0.01) end return 7 end)")
  t:line("local f = gate()")
  t:line("print('now', 'waits') f:get()", "^now%s+waits$")
  t:keys("C-c")
  t:sees("interrupted: %^C ended the wait; the tasks go on")
  t:line("f:state()", '^"running"$')
  kit.file("gate", "")
  t:line("f:get()", "^7$")
  t:close()
end)

check.test("a second ^C stops the chunk", function()
  local t = open()
  t:line("print('in', 'loop') while true do end", "^in%s+loop$")
  t:keys("C-c")
  t:sees("nothing is being waited for")
  t:keys("C-c")
  t:sees("interrupted: a second %^C stopped the chunk")
  t:line("2 + 2", "^4$")
  t:line("print('in', 'pcall') while true do if not pcall(lr.sleep, 100) then print('went', 'on') end end",
    "^in%s+pcall$")
  t:keys("C-c")
  t:sees("^went%s+on$") -- two at once may come as one
  t:keys("C-c")
  t:sees("stopped the chunk", 2)
  t:line("3 + 3", "^6$")
  t:close()
end)

-- ---- the terminal ---------------------------------------------------------------------------------------------

check.test("what tasks print stands above the line being edited", function()
  local t = open()
  t:line("local say = lr.remote(function(n) for i = 1, n do lr.sleep(0.02) print('from a task', i) end end)")
  t:clear()
  t:line("say(15); return 'go' .. 1", '^"go1"$')
  t:stands("^> $")
  t:text("1000 + half_")
  t:sees("from a task%s+15$")
  t:stands("^> 1000 %+ half_$")
  local screen = t:screen()
  check.eq(count_of(screen, "half_"), 1, table.concat(screen, "\n"))
  check.eq(count_of(screen, "^%[say %x+%] from a task%s+%d+$"), 15, table.concat(screen, "\n"))
  t:keys("BSpace", "BSpace", "BSpace", "BSpace", "BSpace")
  t:line("337", "^1337$")
  t:close()
end)

check.test("also above a line of several rows, with the cursor in the midst of it", function()
  local t = open { width = 40, height = 30 }
  t:line("local say = lr.remote(function(n) for i = 1, n do lr.sleep(0.02) print('tick', i) end end)")
  t:clear()
  t:line("say(10); return 'go' .. 1", '^"go1"$')
  t:stands("^> $")
  t:text("#'" .. ("abcdefghij"):rep(10) .. "'")
  t:keys("C-a")
  t:sees("tick%s+10$")
  local screen = t:screen()
  check.eq(count_of(screen, "^%[say %x+%] tick%s+%d+$"), 10, table.concat(screen, "\n"))
  check.eq(count_of(screen, "abcdefghij"), 3, table.concat(screen, "\n"))
  t:line("900 + ", "^1000$")
  t:close()
end)

check.test("a window that changes its size", function()
  local t = open { width = 100 }
  t:text("#'" .. ("0123456789"):rep(9))
  tmux("resize-window", "-t", t.name, "-x", "50", "-y", "20")
  kit.eventually(function() return count_of(t:screen(), "0123456789") >= 2 end, "two rows")
  t:text("0123456789'")
  t:keys("Enter")
  t:sees("^100$")
  tmux("resize-window", "-t", t.name, "-x", "120", "-y", "30")
  t:line("lr.tensor('f64', { 2 }, { 1, 2 }):size(1)", "^2$")
  t:close()
end)

check.test("binary pasted in, as a terminal marks it: a string of the same bytes", function()
  local t = open()
  local bytes = {}
  for i = 0, 255 do
    local c = string.char(i)
    if not c:find('[\n\r\t"\\]') then bytes[#bytes + 1] = c end
  end
  t:text('local s = "')
  t:paste(table.concat(bytes), "-p")
  t:keys('"', "Enter")
  t:line("#s", "^" .. #bytes .. "$")
  t:line("s:byte(1), s:byte(-1), s:find('\\27', 1, true)", "^0%s+255%s+2[0-9]%s+2[0-9]$")
  t:close()
end)

check.test("lines pasted in are run one after the other", function()
  local t = open()
  t:paste("local a = 20\nlocal function double(x)\n\treturn 2 * x\nend\ndouble(a) + 2\n", "-p")
  t:sees("^42$")
  t:close()
end)

check.test("binary pasted in unmarked leaves a console that works", function()
  local t = open()
  local bytes = {}
  math.randomseed(1)
  for i = 1, 2000 do bytes[i] = string.char(math.random(0, 255)) end
  t:paste(table.concat(bytes))
  kit.eventually(function() -- a ^C that comes in one piece with the bytes is one of them
    t:keys("C-c")
    t:line("'alive' .. 1")
    return count_of(t:screen(), '^"alive1"$') > 0
  end, "it answers")
  t:close()
end)

check.test("a value with escape sequences does not reach the terminal", function()
  local t = open()
  t:line([["\27[2J\27[31m" .. string.char(155)]], [[^"\027%[2J\027%[31m\155"$]])
  t:close()
end)

check.test("after the end the terminal is as it was", function()
  local t = open { command = "sh -c " .. quote(quote(kit.luarun) .. "; echo status $?; stty -a; cat") }
  t:sees("^> $")
  t:line("1 + 1", "^2$")
  t:keys("C-d")
  t:sees("^status 0$")
  t:sees(" icanon ")
  t:sees("^isig icanon")
  t:keys("C-c")
end)

check.test("^Z puts it aside, with the line that is being edited", function()
  local t = open { command = "bash --norc --noprofile -i" }
  t:line("PS1='shell: '")
  t:stands("^shell:$")
  t:line(quote(kit.luarun), "^> $")
  t:text("40 + ")
  t:stands("^> 40 %+$")
  t:keys("C-z")
  t:sees("Stopped")
  t:stands("^shell:$")
  t:line("echo in the $((1 + 1))nd", "^in the 2nd$")
  t:line("fg")
  t:stands("^> 40 %+$")
  t:line("2", "^42$")
  t:keys("C-d")
  t:stands("^shell:$")
  t:line("exit")
end)

check.test("os.exit ends with its status", function()
  local t = open { command = "sh -c " .. quote(quote(kit.luarun) .. "; echo status $?; cat") }
  t:sees("^> $")
  t:line("os.exit(3)", "^status 3$")
  t:keys("C-c")
end)

check.test("without a terminal that edits: plain lines", function()
  local t = open { env = "TERM=dumb" }
  t:sees("lines are not edited")
  t:line("6 * 7", "^42$")
  t:keys("C-c")
  t:line("7 * 7", "^49$")
  t:keys("C-d")
  kit.eventually(function() return t:is_gone() end, "^D ends")
end)

check.test("-i: the console after a script", function()
  kit.file("script.lua", "answer = 99")
  local t = open { command = quote(kit.luarun) .. " -i " .. quote(kit.folder .. "/script.lua") }
  t:line("answer", "^99$")
  t:close()
end)

tmux("kill-server")
kit.done()
