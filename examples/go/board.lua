-- board.lua - positions as the kernels of go.c make them, seen from Lua: names of points, what stands where,
-- a drawing, handicap points. A position is an immutable string; nothing here changes one.
-- The layout of the string is described in examples/kernels/go.c ("position format").

local board = {}

board.PASS = 0
board.EMPTY, board.BLACK, board.WHITE = 0, 1, 2

local CELLS = 16 -- bytes before the first cell
local COLUMNS = "ABCDEFGHJKLMNOPQRST"

local function get16(pos, at)
  local low, high = pos:byte(at + 1, at + 2)
  return low + 256 * high
end

function board.other(colour) return 3 - colour end

function board.size(pos) return pos:byte(3) end

function board.to_move(pos) return pos:byte(4) end

--- The same position with the other side to move; the ko then lies open.
function board.with_to_move(pos, colour)
  if board.to_move(pos) == colour then return pos end
  return pos:sub(1, 3) .. string.char(colour) .. "\0\0" .. pos:sub(7)
end

--- The last move: 0 for a pass, nil when there is none.
function board.last(pos)
  local move = get16(pos, 6)
  if move ~= 0xffff then return move end
end

--- Stones of each colour that were taken: black's, white's.
function board.captured(pos) return get16(pos, 10), get16(pos, 12) end

--- What stands on a point (a move number): 0, 1 or 2.
function board.at(pos, move) return pos:byte(CELLS + move) end

function board.points(pos) local n = board.size(pos) return n * n end

--- The n*n cells as a string of bytes.
function board.cells(pos) return pos:sub(CELLS + 1, CELLS + board.points(pos)) end

--- The position without its history: enough for playouts, and short.
function board.without_history(pos) return pos:sub(1, CELLS + board.points(pos)) end

--- The moves beside a move's point.
function board.neighbours(size, move)
  local column, list = (move - 1) % size, {}
  if column > 0 then list[1] = move - 1 end
  if column < size - 1 then list[#list + 1] = move + 1 end
  if move > size then list[#list + 1] = move - size end
  if move <= size * size - size then list[#list + 1] = move + size end
  return list
end

--- "E5" and "pass" for 41 and 0 on a 9x9 board.
function board.name(size, move)
  if move == 0 then return "pass" end
  local row, column = math.floor((move - 1) / size), (move - 1) % size
  return COLUMNS:sub(column + 1, column + 1) .. (row + 1)
end

--- The move of a name, or nil: "e5" -> 41, "PASS" -> 0.
function board.move(size, name)
  if name:lower() == "pass" then return 0 end
  local letter, digits = name:match("^(%a)(%d%d?)$")
  local column = letter and COLUMNS:find(letter:upper(), 1, true)
  local row = tonumber(digits)
  if not column or column > size or row < 1 or row > size then return nil end
  return (row - 1) * size + column
end

--- The points of fixed handicap, in the order of the GTP specification (section 4.1.1); nil when the size has none.
function board.handicap_points(size, count)
  if size < 7 or count < 2 then return nil end
  local most = (size % 2 == 0 or size == 7) and 4 or 9
  if count > most then return nil end
  local low = size > 12 and 4 or 3
  local high, middle = size + 1 - low, (size + 1) / 2
  local function at(column, row) return (row - 1) * size + column end
  local order = {at(low, low), at(high, high), at(low, high), at(high, low),
                 at(low, middle), at(high, middle), at(middle, low), at(middle, high)}
  local points = {}
  local pairs_wanted = count > 4 and count % 2 == 1 and count - 1 or count
  for i = 1, pairs_wanted do points[i] = order[i] end
  if pairs_wanted < count then points[count] = at(middle, middle) end
  return points
end

local function is_star(size, column, row)
  if size < 7 then return false end
  local low = size > 12 and 4 or 3
  local middle = size % 2 == 1 and size > 7 and (size + 1) / 2
  local function on_line(x) return x == low or x == size + 1 - low or x == middle end
  if size < 13 and (column == middle) ~= (row == middle) then return false end
  return on_line(column) and on_line(row)
end

--- The board as lines of text: X black, O white, the last move in brackets.
---@return string
function board.draw(pos)
  local size, last = board.size(pos), board.last(pos) or 0
  local letters = {"  "}
  for column = 1, size do letters[#letters + 1] = " " .. COLUMNS:sub(column, column) end
  local header = table.concat(letters)
  local lines = {header}
  for row = size, 1, -1 do
    local line = {("%2d"):format(row)}
    for column = 1, size do
      local move = (row - 1) * size + column
      local stone = board.at(pos, move)
      local mark = stone == 1 and "X" or stone == 2 and "O" or is_star(size, column, row) and "+" or "."
      local before = last > 0 and (move == last and "(" or move - 1 == last and column > 1 and ")") or " "
      line[#line + 1] = before .. mark
    end
    line[#line + 1] = (last > 0 and last == row * size and ")" or " ") .. row
    lines[#lines + 1] = table.concat(line)
  end
  lines[#lines + 1] = header
  return table.concat(lines, "\n")
end

--- "B+3.5", "W+0.5", "0" for black's score less komi.
function board.result(score)
  if score == 0 then return "0" end
  return ("%s+%.1f"):format(score > 0 and "B" or "W", math.abs(score))
end

return board
