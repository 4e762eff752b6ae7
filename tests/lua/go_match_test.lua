-- The referee, bench/go.lua: two short games of examples/mcts.lua against GNU Go on a small board, checked move by
-- move, scored and stored; and what it does when a player breaks the rules or dies.
local here = arg[0]:match("^(.*/)") or "./"
local examples, bench = here .. "../../examples/", here .. "../../bench/"
package.path = here .. "?.lua;" .. bench .. "?.lua;" .. examples .. "?.lua;" .. package.path

local check = dofile(here .. "check.lua")
local Process = require "process"
local sgf = require "go.sgf"
local Engine = require "go.engine"
local go = assert(require("go.kernels").load(examples))
local test, eq, ok = check.test, check.eq, check.ok

local function program()
  local path
  for i = -1, -30, -1 do
    if not arg[i] then break end
    path = arg[i]
  end
  return path
end

local function gnugo_is_here()
  for folder in ((os.getenv("PATH") or "") .. ":/usr/games:/usr/local/games"):gmatch("[^:]+") do
    local file = io.open(folder .. "/gnugo", "rb")
    if file then return file:close() end
  end
end

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- Runs the referee to its end: lines, status, what it said on standard error.
local function referee(...)
  local process = Process.start{program(), "--workers", "1", bench .. "go.lua", ...}
  local lines = {}
  while true do
    local line, why = process:read_line(50)
    if not line then
      eq(why, "closed")
      break
    end
    lines[#lines + 1] = line
  end
  local complaint = process:read_errors(20)
  return lines, process:stop(20), complaint
end

-- A folder of its own for the records, removed with them.
local function with_folder(fn)
  local folder = os.tmpname()
  os.remove(folder)
  local good, err = pcall(fn, folder)
  for number = 1, 3 do os.remove(("%s/game-%02d.sgf"):format(folder, number)) end
  os.remove(folder)
  if not good then error(err, 0) end
end

test("the referee's options are checked", function()
  for _, case in ipairs{
      {{"--nonsense", "1"}, "go.lua: unknown option '--nonsense' (--help shows all)\n"},
      {{"--games"}, "go.lua: --games needs a value\n"},
      {{"--games", "x"}, "go.lua: --games: 'x' is not a number\n"}} do
    local lines, status, complaint = referee(unpack(case[1]))
    eq({lines, status, complaint}, {{}, 1, case[2]})
  end
end)

if not gnugo_is_here() then
  check.skip("a short match against GNU Go", "gnugo is not installed (package gnugo)")
  return check.done()
end

test("a short match against GNU Go: two games, reported, scored and stored", function()
  with_folder(function(folder)
    local lines, status, complaint = referee("--games", "2", "--size", "7", "--playouts", "60", "--level", "1",
      "--workers", "1", "--out", folder)
    eq({status, complaint}, {0, ""})
    eq(#lines, 4, table.concat(lines, "\n"))
    local won = 0
    for number = 1, 2 do
      local pattern = ("^game  %d: we are (%%l+), +(%%S+) +(%%l+) *, +(%%d+) moves"):format(number)
      local colour, result, verdict, moves = lines[number]:match(pattern)
      eq(colour, number == 1 and "black" or "white", lines[number])
      local winner = result:match("^([BW])%+[%dR]") -- no game is forfeited: both kept the rules
      ok(winner and not result:find("Forfeit", 1, true), lines[number])
      eq(verdict, (winner == "B") == (number == 1) and "won" or "lost")
      if verdict == "won" then won = won + 1 end
      local game = sgf.parse(read_file(("%s/game-%02d.sgf"):format(folder, number)))
      eq({game[1].RE[1], game[1].SZ[1], #game - 1}, {result, "7", tonumber(moves)})
      local engine = Engine.new(go, {size = 7, komi = 7.5, seconds = 1, batch = 1, leaves = 1, window = 1})
      ok(sgf.replay(game, engine), "the record is playable")
    end
    ok(lines[3]:find(("total: %d of 2 won"):format(won), 1, true), lines[3])
    ok(lines[4]:find(('"games":2,"won":%d,'):format(won), 1, true), lines[4])
  end)
end)

test("an engine that plays what is not legal, or ends, loses its game with its last words", function()
  with_folder(function(folder)
    local script = [[while read -r c x; do
      case $c in genmove) echo "= A1"; echo;; quit) exit;; *) echo "="; echo;; esac; done]]
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(script)
    file:close()
    local lines, status = referee("--games", "2", "--size", "7", "--level", "1", "--out", folder,
      "--engine", "/bin/sh " .. path)
    eq(status, 0)
    local text = table.concat(lines, "\n")
    ok(text:find("game  1: we are black, W+Forfeit lost", 1, true), text)
    ok(text:find("luarun-mcts plays A1, which is not legal: occupied", 1, true), text)
    lines, status = referee("--games", "1", "--size", "7", "--level", "1", "--out", folder, "--engine", "/bin/false")
    eq(status, 0)
    ok(table.concat(lines, "\n"):find("game  1: we are black, W+Forfeit lost", 1, true), table.concat(lines, "\n"))
    os.remove(path)
  end)
end)

check.done()
