-- sgf.lua - game records in Smart Game Format, FF[4]: reads a game's main line, replays it on an Engine,
-- writes a finished game. Variations are skipped; properties nobody here needs are ignored.

local board = require "go.board"

local sgf = {}

local function value_at(text, at)
  local parts = {}
  while true do
    local stop = text:find("[%]\\]", at)
    if not stop then return nil end
    parts[#parts + 1] = text:sub(at, stop - 1)
    if text:sub(stop, stop) == "]" then return table.concat(parts), stop + 1 end
    parts[#parts + 1] = text:sub(stop + 1, stop + 1)
    at = stop + 2
  end
end

--- The nodes of the main line, each {NAME = {value, ...}}; nil when the text is no game.
function sgf.parse(text)
  local at = text:find("%(%s*;")
  if not at then return nil end
  local nodes, node = {}, nil
  at = at + 1
  while at <= #text do
    local char = text:sub(at, at)
    if char == ";" then
      node = {}
      nodes[#nodes + 1] = node
      at = at + 1
    elseif char == ")" then
      break -- the end of the first line of play
    elseif char:match("%u") then
      local name, stop = text:match("^(%u+)%s*()", at)
      local values = {}
      at = stop
      while text:sub(at, at) == "[" do
        local value, after = value_at(text, at + 1)
        if not value then return nil end
        values[#values + 1] = value
        at = text:match("^%s*()", after)
      end
      if #values == 0 or not node then return nil end
      node[name] = values
    else
      at = at + 1
    end
  end
  return #nodes > 0 and nodes or nil
end

-- "cd" of SGF, from the top left, as a move; "" and "tt" (up to 19x19) are passes.
local function move_of(size, value)
  if value == "" or (value == "tt" and size <= 19) then return 0 end
  local x, y = value:match("^(%l)(%l)$")
  if not x then return nil end
  local column, row = x:byte() - 96, size - (y:byte() - 97)
  if column > size or row < 1 then return nil end
  return (row - 1) * size + column
end

-- "aa" is itself, "aa:cc" every point of the rectangle (FF[4], compressed point lists).
local function points_of(value)
  local left, top, right, bottom = value:match("^(%l)(%l):(%l)(%l)$")
  if not left then return {value} end
  local points = {}
  for y = top:byte(), bottom:byte() do
    for x = left:byte(), right:byte() do points[#points + 1] = string.char(x, y) end
  end
  return points
end

local function setup_of(game, size)
  local cells = {}
  for i = 1, size * size do cells[i] = "\0" end
  for name, stone in pairs{AB = "\1", AW = "\2"} do
    for _, value in ipairs(game[1][name] or {}) do
      for _, point in ipairs(points_of(value)) do
        local move = move_of(size, point)
        if not move or move == 0 then return nil end
        cells[move] = stone
      end
    end
  end
  return table.concat(cells)
end

--- Plays the main line on an engine up to, not with, move number `upto` (all moves when nil), as GTP's loadsgf.
--- Returns false, the engine being as it was, when the record is not playable.
function sgf.replay(game, engine, upto)
  local root = game[1]
  local size = tonumber(root.SZ and root.SZ[1] or 19)
  if not size or size < 5 or size > 19 or size % 1 ~= 0 then return false end
  local cells = setup_of(game, size)
  if not cells then return false end
  local old_history, old_komi = engine.history, engine.komi
  local first = root.PL and root.PL[1]:lower():sub(1, 1)
  local to_move = (first == "w" or (not first and root.AB and not root.AW)) and 2 or 1
  local ok = pcall(function() engine:set_position(engine.go.setup:here(size, cells, to_move)) end)
  local number = 0
  for _, node in ipairs(ok and game or {}) do
    local value, colour = node.B, board.BLACK
    if node.W then value, colour = node.W, board.WHITE end
    if value then
      number = number + 1
      if upto and number >= upto then break end
      local move = move_of(size, value[1])
      ok = move and engine:play(colour, move)
      if not ok then break end
    end
  end
  if not ok then
    engine:set_position(old_history[1])
    engine.history = old_history
    return false
  end
  engine:set_komi(tonumber(root.KM and root.KM[1] or "") or old_komi)
  return true
end

local function point_of(size, move)
  if move == 0 then return "" end
  local column, row = (move - 1) % size, size - 1 - math.floor((move - 1) / size)
  return string.char(97 + column, 97 + row)
end

local function escaped(text) return (tostring(text):gsub("[%]\\]", "\\%0")) end

-- Stones that were there before the first move, as properties.
local function setup_format(size, cells)
  local text = ""
  for stone, name in ipairs{"AB", "AW"} do
    local points = {}
    for move = 1, #(cells or "") do
      if cells:byte(move) == stone then points[#points + 1] = "[" .. point_of(size, move) .. "]" end
    end
    if #points > 0 then text = text .. name .. table.concat(points) end
  end
  return text
end

--- A game as text: game = {size, komi, black, white, result, comment, moves = {{colour, move}, ...}}, and where it did
--- not begin with an empty board cells (n*n bytes) and first (the colour to move).
function sgf.format(game)
  local lines = {("(;FF[4]GM[1]CA[UTF-8]AP[luarun]RU[Chinese]SZ[%d]KM[%g]PB[%s]PW[%s]RE[%s]"):format(
    game.size, game.komi, escaped(game.black), escaped(game.white), escaped(game.result or "?"))}
  if game.comment then lines[1] = lines[1] .. "C[" .. escaped(game.comment) .. "]" end
  lines[1] = lines[1] .. setup_format(game.size, game.cells)
  if game.first then lines[1] = lines[1] .. (game.first == board.BLACK and "PL[B]" or "PL[W]") end
  for _, played in ipairs(game.moves) do
    lines[#lines + 1] = (";%s[%s]"):format(played[1] == board.BLACK and "B" or "W", point_of(game.size, played[2]))
  end
  return table.concat(lines, "\n") .. ")\n"
end

return sgf
