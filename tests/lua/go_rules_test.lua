-- The rules of Go in examples/kernels/go.c: known positions, a slow implementation (go_reference.lua) and GNU Go.
-- What a position string may hold and may not; priors and playouts where their answer is known.
local here = arg[0]:match("^(.*/)") or "./"
local examples = here .. "../../examples/"
package.path = here .. "?.lua;" .. here .. "../../bench/?.lua;" .. examples .. "?.lua;" .. package.path

local check = dofile(here .. "check.lua")
local board = require "go.board"
local Reference = require "go_reference"
local go = assert(require("go.kernels").load(examples))
local test, eq, ok, error_has = check.test, check.eq, check.ok, check.error_has

local BLACK, WHITE = board.BLACK, board.WHITE

-- A board drawn from the top: X black, O white, anything else empty. Returns its size and cells.
local function drawn(text)
  local rows = {}
  for row in text:gmatch("%S+") do table.insert(rows, 1, row) end
  local cells = table.concat(rows):gsub("[^XO]", "\0"):gsub("X", "\1"):gsub("O", "\2")
  return #rows, cells
end

local function position(text, to_move)
  local size, cells = drawn(text)
  return go.setup:here(size, cells, to_move or BLACK)
end

local function at(pos, name) return assert(board.move(board.size(pos), name)) end

local function play(pos, colour, name)
  local after, why = go.play:here(pos, colour, name == "pass" and 0 or at(pos, name))
  return after, why
end

-- Plays "B E5", "W pass", ... that must all be legal.
local function played(pos, ...)
  for _, word in ipairs{...} do
    local letter, name = word:match("^(%a) (%w+)$")
    pos = assert(play(pos, letter == "B" and BLACK or WHITE, name), word)
  end
  return pos
end

local function stones(text) return select(2, drawn(text)) end

-- ---- known positions ---------------------------------------------------------------------------------

test("a stone is taken when its last liberty goes", function()
  local pos = position(".....\n..X..\n.XO..\n..X..\n.....")
  pos = played(pos, "B D3")
  eq(board.cells(pos), stones(".....\n..X..\n.X.X.\n..X..\n....."))
  eq({board.captured(pos)}, {0, 1})
end)

test("one move takes several groups at once", function()
  local pos = position(".....\n.XXX.\nXO.OX\n.XOX.\n..X..")
  pos = played(pos, "B C3")
  eq(board.cells(pos), stones(".....\n.XXX.\nX.X.X\n.X.X.\n..X.."))
  eq({board.captured(pos)}, {0, 3})
end)

test("stones at the edge and in the corner are taken", function()
  local pos = played(position("OX...\nO....\nX....\n.....\n....."), "B B4")
  eq(board.cells(pos), stones(".X...\n.X...\nX....\n.....\n....."))
end)

test("suicide of one stone and of several is refused", function()
  local pos = position("....X\n...X.\n.....\n.....\n.....", WHITE)
  eq({play(pos, WHITE, "E5")}, {nil, "occupied"})
  pos = position(".X...\nX....\n.....\n.....\n.....", WHITE)
  eq({play(pos, WHITE, "A5")}, {nil, "suicide"})
  pos = position(".OX..\nOX...\nX....\n.....\n.....", WHITE)
  eq({play(pos, WHITE, "A5")}, {nil, "suicide"})
  ok(play(pos, BLACK, "A5"), "black takes what white could not connect")
end)

test("taking comes before suicide", function()
  local pos = position(".XO..\nXO...\nO....\n.....\n.....", WHITE)
  pos = played(pos, "W A5")
  eq(board.cells(pos), stones("O.O..\n.O...\nO....\n.....\n....."))
end)

test("a ko may not be retaken at once, but after a move elsewhere by each", function()
  local pos = position(".....\n.XO..\nX.XO.\n.XO..\n.....", WHITE)
  pos = played(pos, "W B3")
  eq(board.cells(pos), stones(".....\n.XO..\nXO.O.\n.XO..\n....."))
  eq({play(pos, BLACK, "C3")}, {nil, "ko"})
  eq(go.legal:here(pos, BLACK):byte(at(pos, "C3")), 2)
  pos = played(pos, "B E5", "W E1")
  ok(play(pos, BLACK, "C3"), "after a threat and its answer")
end)

test("after two passes the ko is still a repetition", function()
  local pos = position(".....\n.XO..\nX.XO.\n.XO..\n.....", WHITE)
  pos = played(pos, "W B3", "B pass", "W pass")
  eq({play(pos, BLACK, "C3")}, {nil, "superko"})
end)

test("two stones taken and one put back is no ko", function()
  local pos = position("XXO..\n.OO..\nO....\n.....\n.....", WHITE)
  pos = played(pos, "W A4")
  eq(board.cells(pos), stones("..O..\nOOO..\nO....\n.....\n....."))
  pos = position(".OOX.\nXXXX.\n.....\n.....\n.....", BLACK)
  pos = played(pos, "B A5")
  eq(board.cells(pos), stones("X..X.\nXXXX.\n.....\n.....\n....."))
  ok(play(pos, WHITE, "B5"))
end)

-- White adds a stone to one in atari, black takes both, white takes the taker: the board is as it was at first.
test("sending two, returning one: positional superko, not ko", function()
  local pos = played(position(".....\n.....\n.....\nXXO..\n.O.O.", WHITE), "W A1", "B C1")
  eq(board.cells(pos), stones(".....\n.....\n.....\nXXO..\n..XO."))
  eq({play(pos, WHITE, "B1")}, {nil, "superko"})
  eq(go.legal:here(pos, WHITE):byte(at(pos, "B1")), 4)
  pos = played(pos, "W E5", "B E4")
  ok(play(pos, WHITE, "B1"), "after a move elsewhere the board is another")
end)

test("a triple ko ends: the sixth capture would repeat the first position", function()
  local pos = position(".XO...XO.\nXO.O.X.XO\n.XO...XO.\n.........\n.........\n.........\n" ..
    ".XO......\nXO.O.....\n.XO......")
  pos = played(pos, "B C8", "W G8", "B C2", "W B8", "B H8")
  eq({play(pos, WHITE, "B2")}, {nil, "superko"})
  eq({play(pos, WHITE, "G8")}, {nil, "ko"})
end)

test("area: stones, what one colour alone surrounds, nothing for what both touch", function()
  eq(go.score:here(go.new:here(9)), 0)
  eq(go.score:here(position(".....\n.....\n..X..\n.....\n.....")), 25)
  eq(go.score:here(position("..X..\n..X..\n..X..\n..XO.\n..XO.")), 10 + 5 - 2) -- the right side touches both
  eq(go.score:here(position(".XO..\n.XO..\n.XO..\n.XO..\n.XO..")), 10 - 15)
  eq(go.score:here(position("..X.O\n..X.O\n..X.O\n..X.O\n..X.O")), 15 - 5)
end)

test("points that both colours touch count for nobody", function()
  -- black: 8 stones and A3 A4 A5; white: 8 stones and D4 D5 E4 E5; A1 and D1 touch both
  eq(go.score:here(position(".XO..\n.XO..\n.XOOO\nXXXXO\n.OX.O")), 11 - 12)
end)

-- Below, black's four stones and white's five have an eye each and share C1: whoever plays there is taken.
local seki = ".OOXXXXX.\nO.OXXXX.X\n" .. ("OOOXXXXXX\n"):rep(5) .. "XXXOOOXXX\n.X.O.OXXX"

test("in a seki nobody is dead, and the liberty in the middle is nobody's", function()
  for to_move = BLACK, WHITE do
    local pos = position(seki, to_move)
    local score, dead, area = go.judge:here(pos, 500, 9)
    eq(dead, ("\0"):rep(81))
    eq({area:byte(at(pos, "A1")), area:byte(at(pos, "C1")), area:byte(at(pos, "E1"))}, {BLACK, 0, WHITE})
    eq(score, 53 - 27) -- black: 50 stones, A1 H8 J9; white: 24 stones, E1 B8 A9
    eq(go.score:here(pos), 53 - 27)
  end
end)

test("dead stones are taken off before the count", function()
  local pos = position(".XO..\n.XO..\n.XO.X\n.XO..\n.XO..")
  eq(go.score:here(pos), 10 + 1 - 5, "as it stands: the right side touches both")
  local dead = ("\0"):rep(25)
  local stone = at(pos, "E3")
  dead = dead:sub(1, stone - 1) .. "\1" .. dead:sub(stone + 1)
  eq(go.score:here(pos, dead), 10 - 15)
end)

test("playouts find the dead stone, the living group and the owner of each point", function()
  local pos = position([[
...X.XO..
...X.XO..
...XXXO.O
...X.XOO.
...XXXO.O
XXXX.XOOO
OOOXXXOXO
...OOOO.O
..O.O.OO.]], BLACK)
  local _, dead = go.judge:here(pos, 400, 3)
  for move = 1, 81 do
    local stone = board.at(pos, move)
    if stone ~= 0 then eq(dead:byte(move) == 1, board.name(9, move) == "H3", board.name(9, move)) end
  end
  local score, _, area, owner = go.judge:here(pos, 400, 3)
  eq(#area, 81)
  ok(owner:get(at(pos, "A9")) > 0.9 and owner:get(at(pos, "J9")) < -0.9, "owners of two corners")
  local size, cells = drawn((table.concat{
    "...X.XO..\n...X.XO..\n...XXXO.O\n...X.XOO.\n...XXXO.O\nXXXX.XOOO\nOOOXXXO.O\n...OOOO.O\n..O.O.OO."}))
  eq(score, Reference.new(size, cells):score())
end)

-- ---- the reference -----------------------------------------------------------------------------------

-- Lehmer's generator: the same games everywhere.
local function random_from(seed)
  local state = seed
  return function(n)
    state = state * 48271 % 2147483647
    return state % n + 1
  end
end

local reasons = {[0] = "legal", "occupied", "ko", "suicide", "superko"}

-- Compares everything about one position; returns the legal moves of `colour` and whether superko was met.
local function compare(pos, reference, colour, where)
  eq(board.cells(pos), reference:cells(), where)
  eq(go.score:here(pos), reference:score(), where)
  local black_lost, white_lost = board.captured(pos)
  eq({black_lost, white_lost}, {reference.taken[WHITE], reference.taken[BLACK]}, where)
  local moves, superko = {}, false
  for side = BLACK, WHITE do
    local said = go.legal:here(pos, side)
    for move = 1, #said do
      local reason = reasons[said:byte(move)]
      local legal, why = reference:check(side, move)
      eq(reason == "legal", legal, where .. ", " .. board.name(reference.size, move))
      if why == "repetition" then
        ok(reason == "ko" or reason == "superko", where)
        if reason == "superko" then superko = true end
      elseif not legal then
        eq(reason, why, where)
      end
      if legal and side == colour then moves[#moves + 1] = move end
    end
  end
  return moves, superko
end

-- Stones anywhere, so that whole boards are taken and repeated: colours alternate, now and then one passes.
local function wild_game(size, seed, length)
  local random, superkos = random_from(seed), 0
  local pos, reference, colour = go.new:here(size), Reference.new(size), BLACK
  for number = 1, length do
    local where = ("size %d, seed %d, move %d"):format(size, seed, number)
    local moves, superko = compare(pos, reference, colour, where)
    if superko then superkos = superkos + 1 end
    local move = (#moves == 0 or random(12) == 1) and 0 or moves[random(#moves)]
    pos = assert(go.play:here(pos, colour, move))
    if move > 0 then reference:play(colour, move) end
    colour = 3 - colour
  end
  return superkos
end

test("random games agree with the slow rules at every point of every move, superko among them", function()
  local superkos = 0
  for seed = 1, 6 do superkos = superkos + wild_game(5, seed, 150) end
  for seed = 11, 12 do superkos = superkos + wild_game(7, seed, 120) end
  wild_game(9, 21, 120)
  wild_game(19, 31, 25)
  ok(superkos >= 3, ("superko was met %d times only"):format(superkos))
end)

-- How many games of `depth` moves there are, passes left out.
local function count_kernels(pos, colour, depth)
  local legal = go.legal:here(pos, colour)
  local count = 0
  for move = 1, #legal do
    if legal:byte(move) == 0 then
      count = count + (depth == 1 and 1 or count_kernels(go.play:here(pos, colour, move), 3 - colour, depth - 1))
    end
  end
  return count
end

local function count_reference(cells, size, seen, colour, depth)
  local count = 0
  for move = 1, size * size do
    local reference = Reference.new(size, cells)
    for key in pairs(seen) do reference.seen[key] = true end
    if reference:play(colour, move) then
      count = count + (depth == 1 and 1 or
        count_reference(reference:cells(), size, reference.seen, 3 - colour, depth - 1))
    end
  end
  return count
end

test("counts of all games of some moves: known for the empty board, by the slow rules elsewhere", function()
  eq(count_kernels(go.new:here(5), BLACK, 1), 25)
  eq(count_kernels(go.new:here(5), BLACK, 3), 25 * 24 * 23)
  eq(count_kernels(go.new:here(19), WHITE, 2), 361 * 360)
  for _, text in ipairs{
    ".XO..\nX.XO.\n.XO..\nXO.OX\n.XOX.", ".OXX.\nOXXOX\nXXO.O\nOOOOO\n.O.O.", "XX.XX\nXXXXX\nXX.OO\nOOOO.\n.O.OO"} do
    local size, cells = drawn(text)
    local pos = go.setup:here(size, cells, BLACK)
    for colour = BLACK, WHITE do
      for depth = 1, 3 do
        eq(count_kernels(pos, colour, depth), count_reference(cells, size, {}, colour, depth), text)
      end
    end
  end
end)

-- ---- GNU Go ------------------------------------------------------------------------------------------

local function gnugo_path()
  for folder in ((os.getenv("PATH") or "") .. ":/usr/games:/usr/local/games"):gmatch("[^:]+") do
    local file = io.open(folder .. "/gnugo", "rb")
    if file then
      file:close()
      return folder .. "/gnugo"
    end
  end
end

local function ask(process, command)
  ok(process:write(command .. "\n"), command)
  local lines = {}
  while true do
    local line, why = process:read_line(60)
    if not line then error(command .. ": " .. why .. "; " .. process:last_words()) end
    if line == "" and #lines > 0 then break end
    if line ~= "" then lines[#lines + 1] = line end
  end
  local mark, text = table.concat(lines, " "):match("^([=?]) *(.-) *$")
  return text, mark == "="
end

local function sorted_names(size, moves)
  local names = {}
  for i, move in ipairs(moves) do names[i] = board.name(size, move) end
  table.sort(names)
  return names
end

local function sorted_words(text)
  local names = {}
  for word in text:gmatch("%S+") do
    if word ~= "PASS" then names[#names + 1] = word end
  end
  table.sort(names)
  return names
end

local function legal_moves(pos, colour)
  local said, moves = go.legal:here(pos, colour), {}
  for move = 1, #said do
    if said:byte(move) == 0 then moves[#moves + 1] = move end
  end
  return moves
end

-- Moves that fill no single-point eye of their own: such a game ends, with every group alive or taken.
local function sensible(pos, colour)
  local size, moves = board.size(pos), {}
  local reference = Reference.new(size, board.cells(pos))
  for _, move in ipairs(legal_moves(pos, colour)) do
    local is_own = true
    for _, q in ipairs(reference:neighbours(move)) do is_own = is_own and reference.at[q] == colour end
    if not is_own then moves[#moves + 1] = move end
  end
  return moves
end

-- One game, compared move by move. Returns whether the score at its end could be compared as well: where GNU Go
-- thinks stones dead that the rules of area, all alive, count, there is nothing to compare.
local function game_with_gnugo(gnugo, size, seed)
  local random, colour, passes = random_from(seed), BLACK, 0
  local pos = go.new:here(size)
  for _, command in ipairs{"boardsize " .. size, "clear_board", "komi 0.5"} do ask(gnugo, command) end
  while passes < 2 do
    local where = ("size %d, seed %d"):format(size, seed)
    for side = BLACK, WHITE do
      local listed = ask(gnugo, "all_legal " .. (side == BLACK and "b" or "w"))
      eq(sorted_names(size, legal_moves(pos, side)), sorted_words(listed), where)
    end
    local black_lost, white_lost = board.captured(pos)
    eq(tonumber((ask(gnugo, "captures white"))), black_lost, where)
    eq(tonumber((ask(gnugo, "captures black"))), white_lost, where)
    local moves = sensible(pos, colour)
    local move = #moves == 0 and 0 or moves[random(#moves)]
    passes = move == 0 and passes + 1 or 0
    local _, good = ask(gnugo, ("play %s %s"):format(colour == BLACK and "b" or "w", board.name(size, move)))
    ok(good, where)
    pos = assert(go.play:here(pos, colour, move))
    colour = 3 - colour
  end
  for side = BLACK, WHITE do
    local listed, owned = sorted_words(ask(gnugo, "list_stones " .. (side == 1 and "b" or "w"))), {}
    for move = 1, size * size do
      if board.at(pos, move) == side then owned[#owned + 1] = move end
    end
    eq(listed, sorted_names(size, owned))
  end
  if ask(gnugo, "final_status_list dead") ~= "" then return false end
  eq(ask(gnugo, "final_score"), board.result(go.score:here(pos) - 0.5), ("size %d, seed %d"):format(size, seed))
  return true
end

local gnugo_binary = gnugo_path()
if gnugo_binary then
  test("random games agree with GNU Go: legal moves, captures, stones, score", function()
    local gnugo = require("process").start{gnugo_binary, "--mode", "gtp", "--chinese-rules", "--positional-superko",
                                           "--level", "1"}
    local scored = 0
    for seed = 1, 6 do
      if game_with_gnugo(gnugo, seed <= 3 and 7 or 9, seed * 77) then scored = scored + 1 end
    end
    gnugo:write("quit\n")
    gnugo:stop()
    ok(scored >= 2, ("only %d of 6 games could be scored"):format(scored))
  end)
else
  check.skip("random games agree with GNU Go", "gnugo is not installed (package gnugo)")
end

-- ---- priors and playouts -----------------------------------------------------------------------------

local function path(...)
  local bytes = {string.char(select("#", ...) % 256, 0)}
  for _, move in ipairs{...} do bytes[#bytes + 1] = string.char(move % 256, math.floor(move / 256)) end
  return table.concat(bytes)
end

test("expand: what is illegal, or fills an own eye, is marked -1; a pass is always there", function()
  local pos = position(".XO..\nX.XO.\n.XO..\nXO.OX\n.XOX.")
  local priors = go.expand:here(pos)
  eq(priors:shape(), {1, 2, 26})
  ok(priors:get(1, 1, 1) > 0)
  local legal = go.legal:here(pos, BLACK)
  for move = 1, 25 do
    local visits, wins = priors:get(1, 1, move + 1), priors:get(1, 2, move + 1)
    if legal:byte(move) ~= 0 then eq(visits, -1, board.name(5, move))
    elseif visits ~= -1 then ok(wins >= 0 and wins <= visits and visits > 0) end
  end
  eq(priors:get(1, 1, at(pos, "A5") + 1), -1, "A5 is black's eye")
end)

test("expand: several paths give what each gives alone", function()
  local pos = go.new:here(9)
  local both = go.expand:here(pos, path(41, 42, 32) .. path() .. path(0, 11))
  for i, one in ipairs{path(41, 42, 32), path(), path(0, 11)} do
    eq(both:select(1, i):totable(), go.expand:here(pos, one):select(1, 1):totable())
  end
end)

test("playout: all games are counted, wins and losses add up, moves within bounds", function()
  local amaf, done, score = go.playout:here(go.new:here(9), path(41) .. path(), 7.5, 50, 12)
  eq(done, 100)
  ok(score > -90 and score < 90)
  for leaf = 1, 2 do
    eq(amaf:get(leaf, 1, 1), 50)
    eq(amaf:get(leaf, 3, 1), 50)
    eq(amaf:get(leaf, 2, 1) + amaf:get(leaf, 4, 1), 50, "no jigo with half a point")
    for move = 2, 82 do
      local black, black_won, white, white_won = amaf:get(leaf, 1, move), amaf:get(leaf, 2, move),
        amaf:get(leaf, 3, move), amaf:get(leaf, 4, move)
      ok(black + white <= 50 and black_won <= black and white_won <= white)
    end
  end
end)

test("playout: a seed fixes everything; another seed is another game", function()
  local function text(seed)
    local amaf, _, score = go.playout:here(go.new:here(9), nil, 7.5, 20, seed)
    return score .. check.show(amaf:totable())
  end
  eq(text(5), text(5))
  ok(text(5) ~= text(6))
end)

test("playout: a won game is won, whoever moves, and two passes end it", function()
  local text = ".X.XX\nXXXXX\nXXXXX\nXXXXX\n.X.X."
  for to_move = BLACK, WHITE do
    local amaf = go.playout:here(position(text, to_move), nil, 7.5, 30, 1)
    eq(amaf:get(1, 2, 1), 30)
  end
  local over = played(position(".....\n.....\n..X..\n.....\n....."), "B pass", "W pass")
  local amaf, done, score = go.playout:here(over, nil, 30, 7, 1)
  eq({amaf:get(1, 2, 1), amaf:get(1, 4, 1), done, score}, {0, 7, 7, -5})
  amaf = go.playout:here(over, nil, 25, 4, 1)
  eq({amaf:get(1, 2, 1), amaf:get(1, 4, 1)}, {2, 2}, "a jigo is half a win")
end)

-- ---- bad input -----------------------------------------------------------------------------------------

local function refused(text, kernel, ...)
  local n, values = select("#", ...), {...}
  error_has(function() go[kernel]:here(unpack(values, 1, n)) end, text)
end

test("every kernel refuses what is no position, and says what it wants", function()
  local good = go.new:here(9)
  local function changed(byte, value) return good:sub(1, byte) .. string.char(value) .. good:sub(byte + 2) end
  refused("argument 1: not a Go position (as made by new, setup or play)", "legal", "", 1)
  refused("argument 1: not a Go position (as made by new, setup or play)", "score", ("x"):rep(97))
  refused("argument 1: not a Go position (as made by new, setup or play)", "score", changed(1, 2))
  refused("argument 1: a board of 4 by 4; 5 to 19 wanted", "score", changed(2, 4))
  refused("argument 1: a board of 20 by 20; 5 to 19 wanted", "score", changed(2, 20))
  refused("argument 1: a position of 97 bytes; 377 and at most 4096 hashes of 8 wanted", "score", changed(2, 19))
  refused("argument 1: a position of 98 bytes; 97 and at most 4096 hashes of 8 wanted", "score", good .. "x")
  refused("argument 1: side to move is 3; 1 or 2 wanted", "expand", changed(3, 3))
  refused("argument 1: point A1 holds 7; 0, 1 or 2 wanted", "playout", changed(16, 7), nil, 7.5, 1)
  refused("argument 1: stones without a liberty near", "score",
    good:sub(1, 16) .. ("\1"):rep(81))
end)

test("new, setup and play refuse what cannot be", function()
  refused("argument 1: a board of 4 by 4; 5 to 19 wanted", "new", 4)
  refused("argument 1: a board of 20 by 20; 5 to 19 wanted", "new", 20)
  refused("argument 2: colour 3; 1 (black) or 2 (white) wanted", "play", go.new:here(5), 3, 1)
  refused("argument 3: move 26; 0 (pass) to 25 wanted", "play", go.new:here(5), 1, 26)
  refused("argument 3: move -1; 0 (pass) to 25 wanted", "play", go.new:here(5), 1, -1)
  refused("argument 2: 24 points; 25 wanted", "setup", 5, ("\0"):rep(24), 1)
end)

test("paths, numbers of playouts, komi and marks of dead stones are checked", function()
  local pos = go.new:here(9)
  refused("argument 2: path 1 does not fit its string", "playout", pos, "\1", 7.5, 1)
  refused("argument 2: path 2 does not fit its string: 3 bytes are left", "expand", pos, path(1) .. "\1\0\1")
  refused("argument 2: 0 paths; 1 to 256 wanted", "expand", pos, "")
  refused("argument 2: 257 paths; 1 to 256 wanted", "expand", pos, ("\0\0"):rep(257))
  refused("argument 2: move 2 of path 1 is 82; 0 to 81 wanted", "expand", pos, path(1, 82))
  refused("argument 2: move 2 of path 2, A1, is not legal: occupied", "expand", pos, path() .. path(1, 1))
  refused("argument 4: 0 playouts; 1 to 1000000 wanted", "playout", pos, nil, 7.5, 0)
  refused("argument 3: komi out of range", "playout", pos, nil, 0 / 0, 1)
  refused("argument 2: 5 points; 81 wanted", "score", pos, "xxxxx")
end)

test("random bytes as positions and paths never do more than fail", function()
  local random, good = random_from(99), go.new:here(9)
  local failures = 0
  for _ = 1, 2000 do
    local bytes = {good:byte(1, -1)}
    for _ = 1, random(6) do bytes[random(#bytes)] = random(256) - 1 end
    local text = string.char(unpack(bytes))
    local fine = pcall(go.playout.here, go.playout, text, random(2) == 1 and path(random(81)) or nil, 7.5, 1)
    if not fine then failures = failures + 1 end
  end
  ok(failures > 100 and failures < 2000)
end)

check.done()
