-- examples/go/gtp.lua: every command of the protocol, its answers and its refusals to the letter; records (sgf.lua);
-- the drawing of a board; clocks (clock.lua), and that an engine's moves keep them.
local here = arg[0]:match("^(.*/)") or "./"
local examples = here .. "../../examples/"
package.path = here .. "?.lua;" .. here .. "../../bench/?.lua;" .. examples .. "?.lua;" .. package.path

local lr = require "luarun"
local check = dofile(here .. "check.lua")
local board = require "go.board"
local Clock = require "go.clock"
local Engine = require "go.engine"
local Gtp = require "go.gtp"
local sgf = require "go.sgf"
local Process = require "process"
local go = assert(require("go.kernels").load(examples))
local test, eq, ok, near = check.test, check.eq, check.ok, check.near

local function session(options)
  local all = {size = 9, komi = 7.5, seconds = 0.05, playouts = 64, batch = 4, leaves = 1, window = 4, seed = 1}
  for name, value in pairs(options or {}) do all[name] = value or nil end
  return Gtp.new(Engine.new(go, all))
end

-- Pairs of a line and the whole answer to it.
local function dialogue(gtp, ...)
  local lines = {...}
  for i = 1, #lines, 2 do eq(gtp:answer(lines[i]), lines[i + 1], lines[i]) end
end

local function scratch_file()
  local path = os.tmpname()
  return path, function() os.remove(path) end
end

local function write_file(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- ---- lines -----------------------------------------------------------------------------------------------

test("who it is", function()
  dialogue(session(), "protocol_version", "= 2\n\n", "name", "= luarun-mcts\n\n", "version", "= 1.0\n\n")
end)

test("ids are given back, in successes and in failures", function()
  dialogue(session(), "1 protocol_version", "=1 2\n\n", "007 name", "=007 luarun-mcts\n\n", "12 nonsense",
    "?12 unknown command\n\n", "3 boardsize 9", "=3\n\n", "4 play b i9", "?4 invalid color or coordinate\n\n",
    "5", "?5 syntax error\n\n")
end)

test("comments, blanks, control characters and line ends", function()
  dialogue(session(), "", "", "   ", "", "\r", "", "# a comment", "", "  # another", "", "\t\t", "",
    "name # who", "= luarun-mcts\n\n", "\t7\tname\t", "=7 luarun-mcts\n\n", "name\r", "= luarun-mcts\n\n",
    "na\1me\127", "= luarun-mcts\n\n", "\0name", "= luarun-mcts\n\n", "known_command\tname", "= true\n\n",
    "name#", "= luarun-mcts\n\n", "1 # only an id", "?1 syntax error\n\n")
end)

test("unknown commands, and commands are in lower case", function()
  dialogue(session(), "genmove_black", "? unknown command\n\n", "NAME", "? unknown command\n\n",
    "-1 name", "? unknown command\n\n", "1.5", "? unknown command\n\n", "\255\254", "? unknown command\n\n",
    "__index", "? unknown command\n\n", ("x"):rep(100000), "? unknown command\n\n")
end)

test("known_command and list_commands agree, and hold what referees need", function()
  local gtp = session()
  local listed = gtp:answer("list_commands"):match("^= (.-)\n\n$")
  local names = {}
  for name in listed:gmatch("[^\n]+") do
    names[name] = true
    eq(gtp:answer("known_command " .. name), "= true\n\n")
  end
  for name in ([[protocol_version name version known_command list_commands quit boardsize clear_board komi play
      genmove reg_genmove undo time_settings time_left kgs-time_settings final_score final_status_list showboard
      fixed_handicap place_free_handicap set_free_handicap loadsgf printsgf gogui-analyze_commands]]):gmatch("%S+") do
    ok(names[name], name)
  end
  dialogue(gtp, "known_command nonsense", "= false\n\n", "known_command", "= false\n\n")
end)

test("what GoGui may analyze are known commands that answer", function()
  local gtp = session()
  ok(gtp:answer("genmove b"):match("^= %a%d\n\n$"))
  for line in gtp:answer("gogui-analyze_commands"):gmatch("[%w/ -]+/([%w-]+)\n") do
    eq(gtp:answer("known_command " .. line), "= true\n\n", line)
    eq(gtp:answer(line):sub(1, 1), "=", line)
  end
  eq(select(2, gtp:answer("mcts-ownership"):gsub("%-?%d%.%d%d", "")), 81)
end)

test("no answer holds an empty line but its end", function()
  local gtp = session()
  for name in pairs(Gtp.commands) do
    if name ~= "quit" then
      local text = gtp:answer(name)
      ok(text:match("^[=?].*[^\n]\n\n$") or text == "=\n\n", name)
      ok(not text:sub(1, -3):find("\n\n", 1, true), name)
    end
  end
end)

-- ---- setting up --------------------------------------------------------------------------------------------

test("boardsize", function()
  local gtp = session()
  dialogue(gtp, "boardsize 5", "=\n\n", "boardsize 19", "=\n\n", "boardsize 4", "? unacceptable size\n\n",
    "boardsize 20", "? unacceptable size\n\n", "boardsize 0", "? unacceptable size\n\n",
    "boardsize -9", "? unacceptable size\n\n", "boardsize", "? boardsize not an integer\n\n",
    "boardsize nine", "? boardsize not an integer\n\n", "boardsize 9.5", "? boardsize not an integer\n\n",
    "boardsize 99999999999", "? boardsize not an integer\n\n", "boardsize 0x9", "? boardsize not an integer\n\n")
  eq(gtp.engine:size(), 19, "a refused size changes nothing")
end)

test("every size from 5 to 19 has its corners, plays and is drawn", function()
  local gtp = session{playouts = 4}
  local letters = "ABCDEFGHJKLMNOPQRST"
  for size = 5, 19 do
    local corner = letters:sub(size, size) .. size
    local outside = size < 19 and letters:sub(size + 1, size + 1) .. "1" or "U1"
    dialogue(gtp, "boardsize " .. size, "=\n\n", "play b A1", "=\n\n", "play w " .. corner:lower(), "=\n\n",
      "play b " .. outside, "? invalid color or coordinate\n\n",
      "play b A" .. size + 1, "? invalid color or coordinate\n\n")
    ok(gtp:answer("genmove b"):match("^= %a+%d*\n\n$"), size)
    eq(select(2, board.draw(gtp.engine:position()):gsub("\n", "")), size + 1)
  end
end)

test("komi", function()
  local gtp = session()
  dialogue(gtp, "komi 6.5", "=\n\n", "get_komi", "= 6.5\n\n", "komi -3", "=\n\n", "get_komi", "= -3\n\n",
    "komi 0", "=\n\n", "komi 5e0", "=\n\n", "get_komi", "= 5\n\n", "komi", "? komi not a float\n\n",
    "komi x", "? komi not a float\n\n", "komi 1e99", "? komi not a float\n\n", "komi nan", "? komi not a float\n\n",
    "komi .", "? komi not a float\n\n", "komi 0x10", "? komi not a float\n\n", "komi 1001", "? komi not a float\n\n",
    "get_komi", "= 5\n\n")
end)

test("play: colours, coordinates, what is illegal, and nothing changes then", function()
  local gtp = session()
  dialogue(gtp, "play black e5", "=\n\n", "play W E6", "=\n\n", "play WHITE d5", "=\n\n", "play b PASS", "=\n\n",
    "play w pass", "=\n\n", "play b E5", "? illegal move\n\n", "play b I5", "? invalid color or coordinate\n\n",
    "play b E0", "? invalid color or coordinate\n\n", "play b E10", "? invalid color or coordinate\n\n",
    "play b 5E", "? invalid color or coordinate\n\n", "play g E5", "? invalid color or coordinate\n\n",
    "play b", "? syntax error\n\n", "play", "? invalid color or coordinate\n\n",
    "play b E999", "? invalid color or coordinate\n\n")
  eq(board.at(gtp.engine:position(), board.move(9, "E5")), board.BLACK)
  dialogue(gtp, "clear_board", "=\n\n", "play b B1", "=\n\n", "play b A2", "=\n\n", "play w A1", "? illegal move\n\n")
end)

test("a colour may play twice, a ko may not be retaken, undo opens it", function()
  local gtp = session()
  for _, move in ipairs{"b B2", "b C1", "b C3", "w C2", "w D1", "w D3", "w E2"} do
    eq(gtp:answer("play " .. move), "=\n\n", move)
  end
  dialogue(gtp, "play b D2", "=\n\n", "play w C2", "? illegal move\n\n", "play w A9", "=\n\n", "play b B9", "=\n\n",
    "play w C2", "=\n\n", "play b D2", "? illegal move\n\n", "undo", "=\n\n", "play w J9", "=\n\n")
end)

test("undo goes back to the empty board and no further", function()
  local gtp = session()
  dialogue(gtp, "undo", "? cannot undo\n\n", "play b E5", "=\n\n", "play w D4", "=\n\n", "undo", "=\n\n",
    "undo", "=\n\n", "undo", "? cannot undo\n\n")
  eq(gtp.engine:position(), go.new:here(9))
  eq(gtp:answer("play b E5"), "=\n\n")
  ok(gtp:answer("genmove w"):match("^= %a%d\n\n$"))
  dialogue(gtp, "undo", "=\n\n", "undo", "=\n\n", "undo", "? cannot undo\n\n")
end)

test("handicap: the points of the specification, and when it is refused", function()
  local gtp = session()
  dialogue(gtp, "boardsize 9", "=\n\n", "fixed_handicap 5", "= C3 G7 C7 G3 E5\n\n",
    "fixed_handicap 2", "? board not empty\n\n", "clear_board", "=\n\n", "fixed_handicap 9",
    "= C3 G7 C7 G3 C5 G5 E3 E7 E5\n\n", "clear_board", "=\n\n", "fixed_handicap 1", "? invalid number of stones\n\n",
    "fixed_handicap 10", "? invalid number of stones\n\n", "fixed_handicap", "? syntax error\n\n",
    "fixed_handicap two", "? syntax error\n\n", "boardsize 8", "=\n\n", "fixed_handicap 5",
    "? invalid number of stones\n\n", "fixed_handicap 4", "= C3 F6 C6 F3\n\n", "boardsize 6", "=\n\n",
    "fixed_handicap 2", "? invalid number of stones\n\n", "boardsize 19", "=\n\n", "fixed_handicap 6",
    "= D4 Q16 D16 Q4 D10 Q10\n\n")
  eq(board.to_move(gtp.engine:position()), board.WHITE)
  dialogue(gtp, "boardsize 9", "=\n\n", "place_free_handicap 3", "= C3 G7 C7\n\n", "place_free_handicap 3",
    "? board not empty\n\n", "clear_board", "=\n\n", "place_free_handicap 1", "? invalid number of stones\n\n",
    "place_free_handicap 50", "= C3 G7 C7 G3 C5 G5 E3 E7 E5\n\n", "clear_board", "=\n\n",
    "set_free_handicap E5 C3", "=\n\n", "set_free_handicap E5 C3", "? board not empty\n\n", "clear_board", "=\n\n",
    "set_free_handicap E5", "? bad vertex list\n\n", "set_free_handicap", "? bad vertex list\n\n",
    "set_free_handicap E5 E5", "? bad vertex list\n\n", "set_free_handicap E5 pass", "? bad vertex list\n\n",
    "set_free_handicap E5 Z9", "? bad vertex list\n\n")
  eq(gtp.engine:position(), go.new:here(9))
end)

-- ---- the board and the end --------------------------------------------------------------------------------

test("showboard draws stones, stars, the last move and the prisoners", function()
  local gtp = session()
  for _, move in ipairs{"w A9", "b B9", "b A8", "w E4", "b J1"} do eq(gtp:answer("play " .. move), "=\n\n") end
  eq(gtp:answer("showboard"), [[
=
   A B C D E F G H J
 9 . X . . . . . . . 9
 8 X . . . . . . . . 8
 7 . . + . . . + . . 7
 6 . . . . . . . . . 6
 5 . . . . + . . . . 5
 4 . . . . O . . . . 4
 3 . . + . . . + . . 3
 2 . . . . . . . . . 2
 1 . . . . . . . .(X)1
   A B C D E F G H J
white to move, komi 7.5, black has taken 1, white has taken 0

]])
end)

test("the drawing of the largest and of the smallest board", function()
  local text = board.draw(go.new:here(19))
  ok(text:find("   A B C D E F G H J K L M N O P Q R S T\n19 . .", 1, true))
  eq(select(2, text:gsub("%+", "")), 9)
  ok(text:find("\n16 . . . + . . . . . + . . . . . + . . . 16\n", 1, true))
  eq(board.draw(go.play:here(go.new:here(5), 1, 1)),
    "   A B C D E\n 5 . . . . . 5\n 4 . . . . . 4\n 3 . . . . . 3\n 2 . . . . . 2\n 1(X). . . . 1\n   A B C D E")
end)

-- The rows of a board from the top, X black, O white, as a position.
local function position(rows, to_move)
  local cells = {}
  for row = #rows, 1, -1 do cells[#cells + 1] = rows[row] end
  local text = table.concat(cells):gsub("%.", "\0"):gsub("X", "\1"):gsub("O", "\2")
  return go.setup:here(#rows, text, to_move)
end

-- Black: 28 stones and 8 points. White: 41 stones and G7 G3 J3, and H3 where a dead stone stands.
local wall = "XX.XOOOOO"
local finished = {wall, wall, "XX.XOO.OO", wall, "XXXXOOOOO", wall, "XX.XOO.X.", wall, wall}

test("final_score and final_status_list: dead, alive, territory", function()
  local gtp = session{komi = 0.5}
  gtp.engine:set_position(position(finished, board.BLACK))
  dialogue(gtp, "final_score", "= W+9.5\n\n", "final_status_list dead", "= H3\n\n",
    "final_status_list seki", "=\n\n", "final_status_list dame", "=\n\n",
    "final_status_list black_territory", "= C1 C2 C3 C4 C6 C7 C8 C9\n\n",
    "final_status_list white_territory", "= G3 H3 J3 G7\n\n",
    "final_status_list nothing", "? syntax error\n\n", "final_status_list", "? syntax error\n\n")
  local alive = gtp:answer("final_status_list alive")
  eq(select(2, alive:gsub("%a%d", "")), 28 + 41)
  eq(select(2, alive:gsub("\n", "")), 3, "two groups and the end")
end)

test("final_status_list: a seki is neither dead nor alive", function()
  local gtp = session()
  gtp.engine:set_position(position({".OOXXXXX.", "O.OXXXX.X", "OOOXXXXXX", "OOOXXXXXX", "OOOXXXXXX", "OOOXXXXXX",
                                    "OOOXXXXXX", "XXXOOOXXX", ".X.O.OXXX"}, board.BLACK))
  local listed = gtp:answer("final_status_list seki")
  eq(select(2, listed:gsub("%a%d", "")), 4 + 5, listed)
  ok(listed:find("B1", 1, true) and listed:find("D1", 1, true), listed)
  dialogue(gtp, "final_status_list dead", "=\n\n", "final_status_list dame", "= C1\n\n", "final_score", "= B+18.5\n\n")
end)

test("a jigo is 0", function()
  local path, done = scratch_file()
  write_file(path, "(;SZ[5]KM[5]AB[ca][cb][cc][cd][ce]AW[da][db][dc][dd][de])")
  dialogue(session(), "loadsgf " .. path, "= black\n\n", "komi 5", "=\n\n", "final_score", "= 0\n\n")
  done()
end)

-- ---- moves ---------------------------------------------------------------------------------------------------

test("genmove plays what it says, reg_genmove does not", function()
  local gtp = session()
  local name = gtp:answer("reg_genmove b"):match("^= (%a%d)\n\n$")
  ok(name)
  eq(gtp.engine:position(), go.new:here(9))
  name = gtp:answer("genmove b"):match("^= (%a%d)\n\n$")
  eq(board.at(gtp.engine:position(), board.move(9, name)), board.BLACK)
  dialogue(gtp, "genmove", "? invalid color\n\n", "genmove x", "? invalid color\n\n",
    "reg_genmove", "? invalid color\n\n")
end)

test("genmove takes what is in atari and does not fill its last eye", function()
  local path, done = scratch_file()
  local gtp = session{playouts = 600}
  write_file(path, "(;SZ[5]KM[0.5]AB[aa][ba][ca][da][ea][ab][bb][cb][db]AW[ac][bc][cc][dc][ec])")
  dialogue(gtp, "loadsgf " .. path, "= black\n\n", "genmove w", "= E4\n\n")
  write_file(path, "(;SZ[5]KM[0.5]AB[ba][bb][ab][bc][bd][be][cc][ad]AW[da][db][dc][dd][de][ea][ec])")
  eq(gtp:answer("loadsgf " .. path), "= black\n\n")
  for _ = 1, 6 do
    local move = gtp:answer("genmove b"):match("^= (%w+)\n\n$")
    ok(move ~= "A5" and move ~= "A3" and move ~= "A1", move)
    gtp:answer("play w pass")
  end
  done()
end)

test("who is ahead answers a pass with a pass; who is behind plays on", function()
  local gtp = session{komi = 0.5}
  gtp.engine:set_position(position(finished, board.BLACK))
  dialogue(gtp, "play b pass", "=\n\n", "genmove w", "= PASS\n\n")
  gtp = session{komi = -7.5} -- 2.5 behind as it stands, 1.5 ahead with the dead stone taken
  gtp.engine:set_position(position(finished, board.BLACK))
  dialogue(gtp, "play b pass", "=\n\n")
  ok(gtp:answer("genmove w"):match("^= [GJ]3\n\n$"), "white takes the stone")
end)

-- ---- records ----------------------------------------------------------------------------------------------------

test("printsgf and loadsgf are inverse, up to a move, with a handicap", function()
  local path, done = scratch_file()
  local gtp = session()
  for _, line in ipairs{"boardsize 7", "komi 5.5", "play b D4", "play w C3", "play b pass", "play w A1", "play b G7"} do
    eq(gtp:answer(line), "=\n\n", line)
  end
  local last = gtp.engine:position()
  eq(gtp:answer("printsgf " .. path), "=\n\n")
  eq(gtp:answer("printsgf"), "=\n" .. read_file(path) .. "\n")
  dialogue(gtp, "boardsize 19", "=\n\n", "komi 0", "=\n\n", "loadsgf " .. path, "= white\n\n", "get_komi", "= 5.5\n\n")
  eq(gtp.engine:position(), last)
  dialogue(gtp, "loadsgf " .. path .. " 3", "= black\n\n")
  eq(#gtp.engine.history, 3)
  dialogue(gtp, "undo", "=\n\n", "undo", "=\n\n", "undo", "? cannot undo\n\n")
  dialogue(gtp, "boardsize 9", "=\n\n", "fixed_handicap 2", "= C3 G7\n\n", "play w E5", "=\n\n",
    "printsgf " .. path, "=\n\n")
  last = gtp.engine:position()
  dialogue(gtp, "clear_board", "=\n\n", "loadsgf " .. path, "= black\n\n")
  eq(board.cells(gtp.engine:position()), board.cells(last))
  dialogue(gtp, "printsgf /nowhere/at/all.sgf", "? cannot write file\n\n")
  done()
end)

test("loadsgf refuses what it cannot play and leaves the game as it was", function()
  local path, done = scratch_file()
  local gtp = session()
  dialogue(gtp, "play b E5", "=\n\n")
  local before = gtp.engine:position()
  for _, text in ipairs{"", "hello", "(;SZ[9]B[aa]W[aa", "(;SZ[9];B[aa];W[aa])", "(;SZ[4])", "(;SZ[20])", "(;SZ[x])",
      "(;SZ[9];B[zz])", "(;SZ[9];B[jj])", "(;SZ[9]AB[aa][ab][ba]AW[bb];W[a])", "(;SZ[5]AB[ba][ab]AW[aa])",
      "(;SZ[9];B)", "(;SZ[9]AB[])"} do
    write_file(path, text)
    eq(gtp:answer("loadsgf " .. path), "? cannot load file\n\n", text)
    eq(gtp.engine:position(), before, text)
  end
  dialogue(gtp, "loadsgf", "? syntax error\n\n", "loadsgf " .. path .. " x", "? syntax error\n\n",
    "loadsgf /nowhere.sgf", "? cannot load file\n\n", "loadsgf " .. examples, "? cannot load file\n\n",
    "undo", "=\n\n")
  done()
end)

test("records: escapes, variations, line ends, lists of points, passes", function()
  local game = sgf.parse("\n(;FF[4]SZ[9]C[a \\] b \\\\ c]\r\nAB[aa:bb]\r\n[ii];B[cc]C[(;x)]\n(;W[dd];B[])(;W[ee]))")
  eq(game[1].C, {"a ] b \\ c"})
  eq(#game, 4)
  eq(game[3].W, {"dd"})
  local engine = Engine.new(go, {size = 5, komi = 1, seconds = 1, batch = 1, leaves = 1, window = 1})
  ok(sgf.replay(game, engine))
  eq(select(2, board.cells(engine:position()):gsub("\1", "")), 6)
  eq(board.last(engine:position()), 0)
  local text = sgf.format{size = 9, komi = 6.5, black = "a]b", white = "c\\d", result = "B+1.5", comment = "x",
                          moves = {{1, 1}, {2, 81}, {1, 0}}}
  eq(text, "(;FF[4]GM[1]CA[UTF-8]AP[luarun]RU[Chinese]SZ[9]KM[6.5]PB[a\\]b]PW[c\\\\d]RE[B+1.5]C[x]\n" ..
    ";B[ai]\n;W[ia]\n;B[])\n")
  eq(sgf.parse(text)[1].PB, {"a]b"})
end)

-- ---- clocks --------------------------------------------------------------------------------------------------------

test("time commands and their refusals", function()
  dialogue(session(), "time_settings 60 10 5", "=\n\n", "time_settings 0 0 0", "=\n\n",
    "time_settings 60", "? syntax error\n\n",
    "time_settings a b c", "? syntax error\n\n", "time_settings -1 0 0", "? syntax error\n\n",
    "time_settings 1.5 0 0", "? syntax error\n\n", "time_left b 10 0", "=\n\n", "time_left w 5 2", "=\n\n",
    "time_left x 10 0", "? syntax error\n\n", "time_left b", "? syntax error\n\n",
    "time_left b 10 -1", "? syntax error\n\n",
    "kgs-time_settings none", "=\n\n", "kgs-time_settings absolute 60", "=\n\n",
    "kgs-time_settings byoyomi 60 10 3", "=\n\n", "kgs-time_settings canadian 60 10 3", "=\n\n",
    "kgs-time_settings fischer 1 1", "? syntax error\n\n")
end)

test("no limit: a period without moves, or no time at all", function()
  eq(Clock.new(0, 0, 0), nil)
  eq(Clock.new(100, 10, 0), nil)
end)

test("a clock's plan never takes more than there is, whatever the settings", function()
  for _, setting in ipairs{{10, 0, 0}, {1, 0, 0}, {0, 5, 1}, {0, 30, 25}, {60, 10, 3}, {2, 1, 1}} do
    local clock = Clock.new(unpack(setting))
    local main, period, stones = setting[1], setting[2], setting[3]
    local used, of_period, moves = 0, 0, 0
    for move = 1, 120 do
      local seconds = clock:budget(math.max(12, (120 - move) / 2)) + 0.001 -- and what it cannot plan
      clock:spend(seconds)
      local in_main = math.min(seconds, main - used)
      used = used + in_main
      if in_main < seconds or main == 0 then
        ok(period > 0, ("main time of %d s is over at move %d"):format(main, move))
        of_period, moves = of_period + seconds - in_main, moves + 1
        ok(of_period <= period, ("%g s of a period of %g"):format(of_period, period))
        if moves == stones then of_period, moves = 0, 0 end
      end
    end
  end
end)

test("time_left overrules what the engine counted; the first move of a period has its share", function()
  local clock = Clock.new(100, 10, 5)
  clock:set_left(4, 2)
  ok(clock:budget(12) <= 2 and clock:budget(12) > 1)
  clock:spend(1)
  clock:spend(1)
  near(clock.period_left, 10)
  eq(clock.stones_left, 5)
  clock:set_left(50, 0)
  ok(clock:budget(20) > 2 and clock:budget(20) < 3)
  clock:set_left(0, 1)
  ok(clock:budget(20) <= 0.01)
end)

-- The first search compiles the kernels and the loops; that is no move's time.
test("moves keep a period, and a main time that runs out", function()
  local gtp = session{playouts = false, seed = false}
  gtp:answer("genmove b")
  dialogue(gtp, "clear_board", "=\n\n", "time_settings 0 2 4", "=\n\n")
  local started = lr.now()
  for number = 1, 4 do gtp:answer(number % 2 == 1 and "genmove b" or "genmove b") end
  ok(lr.now() - started < 2, ("%.2f s for 4 moves in 2 s"):format(lr.now() - started))
  dialogue(gtp, "clear_board", "=\n\n", "time_settings 2 0 0", "=\n\n")
  started = lr.now()
  for _ = 1, 25 do gtp:answer("genmove w") end
  ok(lr.now() - started < 2, ("%.2f s for 25 moves in 2 s"):format(lr.now() - started))
  dialogue(gtp, "time_left b 1 1", "=\n\n", "time_left w 100 0", "=\n\n")
  started = lr.now()
  gtp:answer("genmove b")
  local seconds = lr.now() - started
  ok(seconds < 1, ("%.2f s where 1 was left; the other colour's clock is its own"):format(seconds))
end)

-- ---- as a process ------------------------------------------------------------------------------------------------

local function program()
  local path
  for i = -1, -30, -1 do
    if not arg[i] then break end
    path = arg[i]
  end
  return path
end

local function engine_process(...)
  return Process.start{program(), "--workers", "2", examples .. "mcts.lua", "--gtp", "--playouts", "32", ...}
end

local function next_answer(process)
  local line = process:read_line(60)
  local empty = process:read_line(60)
  return line, empty
end

test("as a process: answers come at once, quit and the end of input both end it with status 0", function()
  local process = engine_process()
  process:write("1 name\r\n\n# x\n2 genmove b\r\n3 nonsense\n")
  eq({next_answer(process)}, {"=1 luarun-mcts", ""})
  ok(next_answer(process):match("^=2 %a%d$"))
  eq({next_answer(process)}, {"?3 unknown command", ""})
  process:write("quit\n")
  eq({next_answer(process)}, {"=", ""})
  eq({process:read_line(20)}, {nil, "closed"})
  eq(process:stop(20), 0)
  process = engine_process()
  process:write("name")
  process:close_input()
  eq({next_answer(process)}, {"= luarun-mcts", ""})
  eq({process:read_line(20)}, {nil, "closed"})
  eq(process:stop(20), 0)
end)

check.done()
