-- gtp.lua - the Go Text Protocol, version 2 (Farneback, "Specification of the Go Text Protocol, version 2, draft 2",
-- 2002): lines in, answers out, over an Engine. Pure but for loadsgf and printsgf, which read and write a file.
--
-- A handler gets the session and the words after the command's name. It returns the answer, or nil and the
-- words of a GTP failure. Whatever happens in it, the session goes on.

local board = require "go.board"
local sgf = require "go.sgf"

local NAME, VERSION = "luarun-mcts", "1.0"

---@class Gtp
local Gtp = {}
Gtp.__index = Gtp

local commands = {}

--- A session over an Engine.
---@return Gtp
function Gtp.new(engine)
  return setmetatable({engine = engine, over = false}, Gtp)
end

-- ---- words -----------------------------------------------------------------------------------------

local SYNTAX = "syntax error"

local function integer_of(word)
  if not word or not word:match("^[+-]?%d+$") or #word > 9 then return nil end
  return tonumber(word)
end

local function float_of(word)
  if not word or not word:match("^[+-]?%d*%.?%d*[eE]?[+-]?%d*$") then return nil end
  local value = tonumber(word)
  if value and math.abs(value) < 1e6 then return value end
end

local function colour_of(word)
  word = (word or ""):lower()
  if word == "b" or word == "black" then return board.BLACK end
  if word == "w" or word == "white" then return board.WHITE end
end

local function vertex(session, move) return board.name(session.engine:size(), move):upper() end

local function vertices(session, moves)
  local names = {}
  for i, move in ipairs(moves) do names[i] = vertex(session, move) end
  return table.concat(names, " ")
end

-- ---- administration --------------------------------------------------------------------------------

function commands.protocol_version() return "2" end
function commands.name() return NAME end
function commands.version() return VERSION end
function commands.known_command(_, name) return tostring(commands[name or ""] ~= nil) end

function commands.list_commands()
  local names = {}
  for name in pairs(commands) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, "\n")
end

function commands.quit(session)
  session.over = true
  return ""
end

-- ---- setup -----------------------------------------------------------------------------------------

function commands.boardsize(session, word)
  local size = integer_of(word)
  if not size then return nil, "boardsize not an integer" end
  if size < 5 or size > 19 then return nil, "unacceptable size" end
  session.engine:clear(size)
  return ""
end

function commands.clear_board(session)
  session.engine:clear()
  return ""
end

function commands.komi(session, word)
  local komi = float_of(word)
  if not komi or math.abs(komi) > 1000 then return nil, "komi not a float" end
  session.engine:set_komi(komi)
  return ""
end

function commands.get_komi(session) return ("%g"):format(session.engine.komi) end

local function is_empty_board(engine)
  return not board.cells(engine:position()):find("[^%z]")
end

-- Black stones on the points, white to move.
local function handicap_place(session, points)
  local engine, size, cells = session.engine, session.engine:size(), {}
  for i = 1, size * size do cells[i] = "\0" end
  for _, move in ipairs(points) do cells[move] = "\1" end
  engine:set_position(engine.go.setup:here(size, table.concat(cells), board.WHITE))
  return vertices(session, points)
end

function commands.fixed_handicap(session, word)
  local count = integer_of(word)
  if not count then return nil, SYNTAX end
  if not is_empty_board(session.engine) then return nil, "board not empty" end
  local points = board.handicap_points(session.engine:size(), count)
  if not points then return nil, "invalid number of stones" end
  return handicap_place(session, points)
end

-- Free placement: the fixed points as far as they go.
function commands.place_free_handicap(session, word)
  local count = integer_of(word)
  if not count then return nil, SYNTAX end
  if not is_empty_board(session.engine) then return nil, "board not empty" end
  if count < 2 then return nil, "invalid number of stones" end
  local points
  for fewer = count, 2, -1 do
    points = points or board.handicap_points(session.engine:size(), fewer)
  end
  if not points then return nil, "invalid number of stones" end
  return handicap_place(session, points)
end

function commands.set_free_handicap(session, ...)
  local size, points, taken = session.engine:size(), {}, {}
  if not is_empty_board(session.engine) then return nil, "board not empty" end
  for i, word in ipairs{...} do
    local move = board.move(size, word)
    if not move or move == 0 or taken[move] then return nil, "bad vertex list" end
    points[i], taken[move] = move, true
  end
  if #points < 2 or #points >= size * size then return nil, "bad vertex list" end
  handicap_place(session, points)
  return ""
end

-- ---- play ------------------------------------------------------------------------------------------

function commands.play(session, colour_word, vertex_word)
  local colour = colour_of(colour_word)
  if not colour or not vertex_word then return nil, colour and SYNTAX or "invalid color or coordinate" end
  local move = board.move(session.engine:size(), vertex_word)
  if not move then return nil, "invalid color or coordinate" end
  if not session.engine:play(colour, move) then return nil, "illegal move" end
  return ""
end

local function generate(session, colour_word, play)
  local colour = colour_of(colour_word)
  if not colour then return nil, "invalid color" end
  local move = session.engine:choose(colour)
  if move == "resign" then return "resign" end
  if play then assert(session.engine:play(colour, move)) end
  return vertex(session, move)
end

function commands.genmove(session, word) return generate(session, word, true) end
function commands.reg_genmove(session, word) return generate(session, word, false) end

function commands.undo(session)
  if not session.engine:undo() then return nil, "cannot undo" end
  return ""
end

function commands.loadsgf(session, path, move_word)
  if not path then return nil, SYNTAX end
  local upto = move_word and integer_of(move_word)
  if move_word and not upto then return nil, SYNTAX end
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if not text then return nil, "cannot load file" end
  local game = sgf.parse(text)
  if not game then return nil, "cannot load file" end
  local ok = sgf.replay(game, session.engine, upto)
  if not ok then return nil, "cannot load file" end
  return board.to_move(session.engine:position()) == board.BLACK and "black" or "white"
end

-- The game so far as a record, into a file or as the answer.
function commands.printsgf(session, path)
  local history, moves = session.engine.history, {}
  for i = 2, #history do
    moves[i - 1] = {board.other(board.to_move(history[i])), board.last(history[i])}
  end
  local cells = board.cells(history[1])
  local is_setup = cells:find("[^%z]") ~= nil
  local text = sgf.format{size = session.engine:size(), komi = session.engine.komi, black = "black", white = "white",
                          moves = moves, cells = cells, first = is_setup and board.to_move(history[1]) or nil}
  if not path or path == "-" then return "\n" .. text end
  local file = io.open(path, "wb")
  local ok = file and file:write(text)
  if file then ok = file:close() and ok end
  if not ok then return nil, "cannot write file" end
  return ""
end

-- ---- time ------------------------------------------------------------------------------------------

function commands.time_settings(session, main_word, period_word, stones_word)
  local main, period, stones = integer_of(main_word), integer_of(period_word), integer_of(stones_word)
  if not (main and period and stones) or main < 0 or period < 0 or stones < 0 then return nil, SYNTAX end
  session.engine:set_clock(main, period, stones)
  return ""
end

commands["kgs-time_settings"] = function(session, kind, main_word, period_word, stones_word)
  if kind == "none" then
    session.engine:set_clock(0, 0, 0)
    return ""
  end
  local main, period, stones = integer_of(main_word), integer_of(period_word), integer_of(stones_word)
  if kind == "absolute" and main then session.engine:set_clock(main, 0, 0)
  elseif kind == "byoyomi" and main and period then session.engine:set_clock(main, period, 1)
  elseif kind == "canadian" and main and period and stones then session.engine:set_clock(main, period, stones)
  else return nil, SYNTAX end
  return ""
end

function commands.time_left(session, colour_word, time_word, stones_word)
  local colour, seconds, stones = colour_of(colour_word), integer_of(time_word), integer_of(stones_word)
  if not (colour and seconds and stones) or stones < 0 then return nil, SYNTAX end
  session.engine:set_time_left(colour, seconds, stones)
  return ""
end

-- ---- the end of the game ------------------------------------------------------------------------------

function commands.final_score(session) return board.result(session.engine:final_score()) end

-- The group of stones at a move: its moves, and its liberties as a set with field n.
local function group_at(pos, start)
  local size, colour = board.size(pos), board.at(pos, start)
  local group, member, liberties, i = {start}, {[start] = true}, {n = 0}, 1
  while group[i] do
    for _, near in ipairs(board.neighbours(size, group[i])) do
      local stone = board.at(pos, near)
      if stone == colour and not member[near] then
        member[near], group[#group + 1] = true, near
      elseif stone == board.EMPTY and not liberties[near] then
        liberties[near], liberties.n = true, liberties.n + 1
      end
    end
    i = i + 1
  end
  return group, liberties
end

-- Alive only because nobody can begin: it shares liberties with the other side, and to play on one of them would
-- leave it in atari.
local function is_seki(engine, pos, judged, start)
  local _, liberties = group_at(pos, start)
  local shares = false
  for move = 1, board.points(pos) do
    if liberties[move] and judged.area:byte(move) == board.EMPTY then
      shares = true
      local after = engine.go.play:here(pos, board.at(pos, start), move)
      if after and select(2, group_at(after, move)).n > 1 then return false end
    end
  end
  return shares
end

-- Groups for which keep(a move of it) holds, each a line.
local function group_lines(session, keep)
  local pos, seen, lines = session.engine:position(), {}, {}
  for start = 1, board.points(pos) do
    if not seen[start] and board.at(pos, start) ~= board.EMPTY then
      local group = group_at(pos, start)
      for _, move in ipairs(group) do seen[move] = true end
      if keep(start) then lines[#lines + 1] = vertices(session, group) end
    end
  end
  return table.concat(lines, "\n")
end

-- Points of a colour's area that are empty or hold a dead stone.
local function area_words(session, judged, holder)
  local points, pos = {}, session.engine:position()
  for move = 1, #judged.area do
    local open = board.at(pos, move) == board.EMPTY or judged.dead:byte(move) == 1
    if open and judged.area:byte(move) == holder then points[#points + 1] = move end
  end
  return vertices(session, points)
end

local AREAS = {dame = board.EMPTY, black_territory = board.BLACK, white_territory = board.WHITE}

function commands.final_status_list(session, status)
  if not AREAS[status] and status ~= "dead" and status ~= "alive" and status ~= "seki" then return nil, SYNTAX end
  local engine, pos = session.engine, session.engine:position()
  local judged = engine:judge(pos, 2000)
  if AREAS[status] then return area_words(session, judged, AREAS[status]) end
  return group_lines(session, function(move)
    if judged.dead:byte(move) == 1 then return status == "dead" end
    return status == (is_seki(engine, pos, judged, move) and "seki" or "alive")
  end)
end

function commands.showboard(session)
  local engine, pos = session.engine, session.engine:position()
  local black, white = board.captured(pos)
  local next_name = board.to_move(pos) == board.BLACK and "black" or "white"
  return ("\n%s\n%s to move, komi %g, black has taken %d, white has taken %d"):format(
    board.draw(pos), next_name, engine.komi, white, black)
end

-- ---- GoGui -------------------------------------------------------------------------------------------

commands["gogui-analyze_commands"] = function()
  return "dboard/Ownership/mcts-ownership\nvar/Expected Moves/mcts-variation\nstring/Last Search/mcts-status"
end

commands["mcts-ownership"] = function(session)
  local judged, size, lines = session.engine:judge(session.engine:position(), 1000), session.engine:size(), {}
  for row = size, 1, -1 do
    local line = {}
    for column = 1, size do line[column] = ("%.2f"):format(judged.owner[(row - 1) * size + column]) end
    lines[#lines + 1] = table.concat(line, " ")
  end
  return "\n" .. table.concat(lines, "\n")
end

commands["mcts-variation"] = function(session)
  if not session.engine.tree then return "" end
  local moves, words = session.engine.tree:principal_variation(12), {}
  local colour = session.engine.tree:to_move()
  for i, move in ipairs(moves) do
    words[i] = (colour == board.BLACK and "b " or "w ") .. vertex(session, move)
    colour = board.other(colour)
  end
  return table.concat(words, " ")
end

commands["mcts-status"] = function(session)
  local found = session.engine.found
  if not found then return "no search yet" end
  return ("%s, win rate %.1f %%, %d playouts in %.2f s"):format(vertex(session, found.move), 100 * found.winrate,
    found.playouts, found.seconds)
end

-- ---- lines --------------------------------------------------------------------------------------------

-- The specification's preprocessing (section 3.1): control characters go, tabs are spaces, comments end the line.
local function clean(line)
  line = line:gsub("\t", " "):gsub("%c", ""):gsub("#.*", "")
  return line
end

-- An answer is one block: no empty line in it.
local function block(mark, id, text)
  text = text:gsub("\n\n+", "\n"):gsub("%s+$", "")
  local space = (text ~= "" and text:sub(1, 1) ~= "\n") and " " or ""
  if text:sub(1, 1) == "\n" then space = "" end
  return mark .. id .. space .. text .. "\n\n"
end

--- Answers one line: the text to write, "" when the line asks nothing.
---@return string
function Gtp:answer(line)
  local words = {}
  for word in clean(line):gmatch("%S+") do words[#words + 1] = word end
  if #words == 0 then return "" end
  local id = ""
  if words[1]:match("^%d+$") then id = table.remove(words, 1) end
  local handler = words[1] and commands[words[1]]
  if not handler then return block("?", id, words[1] and "unknown command" or SYNTAX) end
  local ok, text, failure = pcall(handler, self, unpack(words, 2))
  if not ok then return block("?", id, "internal error: " .. tostring(text):gsub("\n.*", "")) end
  if not text then return block("?", id, failure or SYNTAX) end
  return block("=", id, text)
end

--- Serves until `quit` or the end of the input.
function Gtp:serve(input, output)
  for line in input:lines() do
    local text = self:answer(line)
    if text ~= "" then
      output:write(text)
      output:flush()
    end
    if self.over then return end
  end
end

Gtp.commands = commands

return Gtp
