-- go.lua - the referee: matches of examples/mcts.lua against GNU Go over GTP, each in a process of its own.
--
--   ./dev bench go        or  luarun bench/go.lua [options]
--
-- Colours alternate. Every move is checked twice: by the rules in examples/kernels/go.c and by a third
-- process, a GNU Go that plays nothing and at the end scores the game by Chinese rules. A game ends by two passes, by
-- resignation, or after three moves for each point. Each game is stored as SGF. An engine that dies, says
-- nonsense or keeps silent loses its game, and the report says what it said last.

local here = (arg and arg[0] or ""):match("^(.*/)") or "./"
local examples = here .. "../examples/"
package.path = here .. "?.lua;" .. examples .. "?.lua;" .. package.path

local Process = require "process"
local board = require "go.board"
local sgf = require "go.sgf"

local USAGE = [[
usage: luarun bench/go.lua [options]
  --games N       games (default 20)
  --time S        our seconds a move (default 1)
  --playouts N    our playouts a move, instead of a time
  --workers N     our worker threads (default 2)
  --level N       GNU Go's level (default 10)
  --size N        board size (default 9)
  --komi K        komi (default 7.5)
  --out DIR       where the SGF files go (default bench/results/go beside this script)
  --engine CMD    our engine's command line (default: luarun --workers N examples/mcts.lua --gtp --time S)
  --opponent CMD  the opponent's command line (default: gnugo --mode gtp --level N --chinese-rules)
  --first N       number of the first game, for its name and colours (default 1)
]]

local function fail(message)
  io.stderr:write("go.lua: ", message, "\n")
  os.exit(1)
end

local DEFAULTS = {games = 20, time = 1, workers = 2, level = 10, size = 9, komi = 7.5, first = 1,
                  playouts = false, out = here .. "results/go", engine = false, opponent = false}

local function options_read(words)
  local options, i = {}, 1
  for name, value in pairs(DEFAULTS) do options[name] = value end
  while i <= #words do
    local name, value = words[i]:match("^%-%-(%a+)$"), words[i + 1]
    if name == "help" then io.write(USAGE) os.exit(0) end
    if not name or DEFAULTS[name] == nil then fail(("unknown option '%s' (--help shows all)"):format(words[i])) end
    if not value then fail("--" .. name .. " needs a value") end
    local wants_text = name == "out" or name == "engine" or name == "opponent"
    if not wants_text and not tonumber(value) then fail(("--%s: '%s' is not a number"):format(name, value)) end
    options[name] = wants_text and value or tonumber(value)
    i = i + 2
  end
  return options
end

local function words_of(line)
  local words = {}
  for word in line:gmatch("%S+") do words[#words + 1] = word end
  return words
end

local function is_file(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- Debian puts games into a folder that is not on root's PATH.
local function gnugo_find()
  for folder in ((os.getenv("PATH") or "") .. ":/usr/games:/usr/local/games"):gmatch("[^:]+") do
    if is_file(folder .. "/gnugo") then return folder .. "/gnugo" end
  end
end

-- ---- players ---------------------------------------------------------------------------------------

local Player = {}
Player.__index = Player

local function player_start(name, words)
  return setmetatable({name = name, process = Process.start(words)}, Player)
end

-- Sends a command; returns the answer's text. Raises {player=, message=} on anything else.
function Player:ask(command, seconds)
  local function broken(why)
    error({player = self, message = ("%s: '%s': %s; %s"):format(self.name, command, why,
      self.process:last_words())}, 0)
  end
  if not self.process:write(command .. "\n") then broken("it has ended") end
  local lines, limit = {}, seconds or 30
  while true do
    local line, why = self.process:read_line(limit)
    if not line then
      broken(why == "timeout" and ("no answer in %g s"):format(limit) or "it has ended")
    end
    if line == "" and #lines > 0 then break end
    if line ~= "" then lines[#lines + 1] = line end
  end
  local mark, text = table.concat(lines, "\n"):match("^([=?])%d*%s*(.*)$")
  if mark ~= "=" then broken("answer " .. table.concat(lines, " ")) end
  return text
end

function Player:stop()
  if not self.process.pid then return end
  self.process:write("quit\n")
  self.process:stop()
end

-- ---- one game -----------------------------------------------------------------------------------------

local function game_begin(players, options)
  for _, player in pairs(players) do
    player:ask("boardsize " .. options.size)
    player:ask("clear_board")
    player:ask("komi " .. options.komi)
  end
end

-- Plays until two passes or a resignation; fills moves; returns the result when it was resigned.
local function game_play(go, players, options, moves)
  local pos, passes, colour = go.new:here(options.size), 0, board.BLACK
  local seconds = math.max(60, options.time * 10)
  while passes < 2 and #moves < 3 * options.size ^ 2 do
    local letter = colour == board.BLACK and "b" or "w"
    local name = players[colour]:ask("genmove " .. letter, seconds)
    if name:lower() == "resign" then return (colour == board.BLACK and "W" or "B") .. "+Resign" end
    local move = board.move(options.size, name)
    local next_pos, reason
    if move then next_pos, reason = go.play:here(pos, colour, move) end
    if not next_pos then
      error({player = players[colour], message = ("%s plays %s, which is not legal: %s"):format(
        players[colour].name, name, reason or "no such point")}, 0)
    end
    pos, moves[#moves + 1] = next_pos, {colour, move}
    passes = move == 0 and passes + 1 or 0
    players[board.other(colour)]:ask(("play %s %s"):format(letter, name))
    players.judge:ask(("play %s %s"):format(letter, name))
    colour = board.other(colour)
  end
end

-- Plays and scores one game: {black, white, result, moves, note}.
local function game_run(go, ours, theirs, judge, ours_black, options)
  local players = {ours_black and ours or theirs, ours_black and theirs or ours, judge = judge}
  local game = {size = options.size, komi = options.komi, moves = {},
                black = players[1].name, white = players[2].name}
  local ok, result = pcall(function()
    game_begin(players, options)
    return game_play(go, players, options, game.moves) or judge:ask("final_score", 120)
  end)
  if ok then
    game.result = result
  elseif type(result) == "table" and result.player and result.player ~= judge then
    game.result = (result.player == players[1] and "W" or "B") .. "+Forfeit"
    game.note, game.broken = result.message, result.player
  else
    error(type(result) == "table" and result.message or result, 0)
  end
  local winner = game.result:match("^([BW])%+")
  game.won = winner and (winner == "B") == ours_black
  return game
end

-- ---- the match ------------------------------------------------------------------------------------------

local function save(path, text)
  local file = io.open(path, "wb")
  if not file then fail("cannot write " .. path) end
  file:write(text)
  file:close()
end

local function commands_of(options, gnugo)
  local luarun = arg[-1] or "luarun"
  for i = -1, -20, -1 do if arg[i] then luarun = arg[i] end end -- the program itself, before its options
  local limit = options.playouts and "--playouts " .. options.playouts or "--time " .. options.time
  local ours = options.engine and words_of(options.engine)
    or {luarun, "--workers", tostring(options.workers), examples .. "mcts.lua", "--gtp", unpack(words_of(limit))}
  local theirs = options.opponent and words_of(options.opponent)
    or {gnugo, "--mode", "gtp", "--level", tostring(options.level), "--chinese-rules"}
  return ours, theirs, {gnugo, "--mode", "gtp", "--level", "10", "--chinese-rules"}
end

local function report(played, won, black_won, blacks, seconds, options)
  print(("total: %d of %d won (%d of %d as black, %d of %d as white) in %.0f s"):format(won, played, black_won,
    blacks, won - black_won, played - blacks, seconds))
  local limit = options.playouts and ('"playouts":%d'):format(options.playouts) or ('"time":%g'):format(options.time)
  print(('{"bench":"go","games":%d,"won":%d,"black_won":%d,"blacks":%d,%s,"workers":%d,"level":%d,"size":%d,' ..
    '"komi":%g,"seconds":%.1f}'):format(played, won, black_won, blacks, limit, options.workers, options.level,
    options.size, options.komi, seconds))
end

local function main(words)
  local options = options_read(words)
  local gnugo = gnugo_find()
  if not gnugo then fail("gnugo is not installed (package gnugo); nothing was played") end
  local go = assert(require("go.kernels").load(examples))
  os.execute(("mkdir -p '%s'"):format(options.out:gsub("'", "'\\''")))
  local our_words, their_words, judge_words = commands_of(options, gnugo)
  local ours, theirs = player_start("luarun-mcts", our_words), player_start("GNU Go", their_words)
  local judge = player_start("judge", judge_words)
  local won, black_won, blacks, started = 0, 0, 0, Process.now()
  for number = options.first, options.first + options.games - 1 do
    local ours_black, began = number % 2 == 1, Process.now()
    local game = game_run(go, ours, theirs, judge, ours_black, options)
    if game.won then won = won + 1 end
    if ours_black then blacks, black_won = blacks + 1, black_won + (game.won and 1 or 0) end
    game.comment = game.note
    local path = ("%s/game-%02d.sgf"):format(options.out, number)
    save(path, sgf.format(game))
    print(("game %2d: we are %s, %-9s %s, %3d moves, %3.0f s, %s%s"):format(number, ours_black and "black" or "white",
      game.result, game.won and "won " or "lost", #game.moves, Process.now() - began, path,
      game.note and "\n  " .. game.note or ""))
    io.stdout:flush()
    if game.broken then -- a fresh process for the next game
      game.broken.process:stop(0)
      game.broken.process = Process.start(game.broken == ours and our_words or their_words)
    end
  end
  report(options.games, won, black_won, blacks, Process.now() - started, options)
  for _, player in ipairs{ours, theirs, judge} do player:stop() end
end

main{...}
