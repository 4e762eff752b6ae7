-- examples/mcts.lua as a program (options, output, ^C, the same game on any number of workers), and what its search is
-- made of: go/nodes.lua, go/tree.lua, go/engine.lua.
local here = arg[0]:match("^(.*/)") or "./"
local examples = here .. "../../examples/"
package.path = here .. "?.lua;" .. here .. "../../bench/?.lua;" .. examples .. "?.lua;" .. package.path

local lr = require "luarun"
local check = dofile(here .. "check.lua")
local board = require "go.board"
local Engine = require "go.engine"
local Nodes = require "go.nodes"
local Tree = require "go.tree"
local Process = require "process"
local go = assert(require("go.kernels").load(examples))
local test, eq, ok, near = check.test, check.eq, check.ok, check.near

local BLACK, WHITE = board.BLACK, board.WHITE

-- ---- nodes -----------------------------------------------------------------------------------------------

-- Priors for `count` moves from 0 on, every third not playable; their visits are 10 + move.
local function some_priors(points)
  local priors = {}
  for move = 0, points - 1 do
    priors[move] = move % 3 == 2 and -1 or 10 + move
    priors[points + move] = (10 + move) / 2
  end
  return priors
end

test("a node gets its playable moves once, with their priors", function()
  local nodes = Nodes.new()
  eq(nodes:add(BLACK, 0), 1)
  eq(nodes:child(1, 0), 0)
  nodes:expand(1, some_priors(9), 9)
  eq(nodes.nodes[1].count, 6)
  local moves = {}
  for i = 0, 5 do moves[i + 1] = nodes.edges[i].move end
  eq(moves, {0, 1, 3, 4, 6, 7})
  near(nodes.edges[2].visits, 13)
  near(nodes.edges[2].wins, 6.5)
  nodes.edges[2].visits = 99
  nodes:expand(1, some_priors(9), 9)
  eq({nodes.edge_count, nodes.edges[2].visits}, {6, 99})
  eq(nodes:best(1).move, 3)
  eq({nodes:leaders(1)}, {99, 17})
end)

test("the arrays grow and keep what they hold; a subtree is a copy of what is below", function()
  local nodes, points = Nodes.new(), 82
  local priors = some_priors(points)
  nodes:add(BLACK, 0)
  nodes:expand(1, priors, points)
  local below = {}
  for i = 0, nodes.nodes[1].count - 1 do -- a child for each move, a grandchild for each third of its moves
    local child = nodes:add(WHITE, nodes.edges[i].move == 0 and 1 or 0)
    nodes.edges[i].child = child
    nodes:expand(child, priors, points)
    below[i] = child
    for j = 0, nodes.nodes[child].count - 1, 3 do
      local edge = nodes.nodes[child].first + j
      nodes.edges[edge].visits = 1000 * i + j
      nodes.edges[edge].child = nodes:add(BLACK, 0)
    end
  end
  ok(nodes.node_count > 1000 and nodes.edge_count > 3000)
  local copy = nodes:subtree(below[7])
  eq(copy.node_count - 1, 1 + math.ceil(nodes.nodes[below[7]].count / 3))
  eq({copy.nodes[1].colour, copy.nodes[1].passes, copy.nodes[1].count}, {WHITE, 0, nodes.nodes[below[7]].count})
  for j = 0, copy.nodes[1].count - 1 do
    local edge = copy.edges[copy.nodes[1].first + j]
    eq(edge.child ~= 0, j % 3 == 0)
    if edge.child ~= 0 then eq({edge.visits, copy.nodes[edge.child].colour}, {7000 + j, BLACK}) end
  end
  eq(nodes:subtree(below[0]):passes(1), 1)
end)

-- ---- the search --------------------------------------------------------------------------------------------

-- The rows of a board from the top, X black, O white, as a position.
local function drawn(rows, to_move)
  local cells = {}
  for row = #rows, 1, -1 do cells[#cells + 1] = rows[row] end
  local text = table.concat(cells):gsub("%.", "\0"):gsub("X", "\1"):gsub("O", "\2")
  return go.setup:here(#rows, text, to_move)
end

-- White's corner group has the eye space A1 B1 C1; whoever plays B1 first decides.
local full = ("X"):rep(9)
local corner = {"XXXXXXX.X", full, "XXXX.XXXX", full, full, full, full, "OOOOXXXXX", "...OXXXXX"}

local function tree_at(pos, options)
  local all = {komi = 7.5, batch = 4, leaves = 2, window = 4, seed = 3}
  for name, value in pairs(options or {}) do all[name] = value or nil end
  local tree = Tree.new(go, all)
  tree:reset(pos)
  return tree
end

-- Visits at the root that come from playouts, priors left out; the wins of all games must fit between.
local function root_visits(tree, pos)
  local priors, store, visits, prior_visits = go.expand:here(pos), tree.store, 0, 0
  local first = store.nodes[tree.root].first
  for i = first, first + store.nodes[tree.root].count - 1 do
    local edge = store.edges[i]
    visits, prior_visits = visits + edge.visits, prior_visits + priors:get(1, 1, edge.move + 1)
    ok(edge.wins >= 0 and edge.wins <= edge.visits and edge.rave_wins <= edge.rave_visits)
  end
  return visits - prior_visits
end

test("all playouts asked for are made and counted, whatever the batches", function()
  local pos = go.new:here(9)
  for _, case in ipairs{{1, 1, 1, 1}, {7, 4, 2, 3}, {100, 8, 8, 6}, {1000, 3, 5, 8}, {333, 1, 1, 8}, {50, 64, 2, 1}} do
    local tree = tree_at(pos, {batch = case[2], leaves = case[3], window = case[4]})
    local found = tree:search{playouts = case[1]}
    eq(found.playouts, case[1])
    eq(root_visits(tree, pos), case[1])
  end
end)

test("a search for a time keeps it, and leaves no virtual loss behind", function()
  local pos = go.new:here(9)
  tree_at(pos):search{playouts = 2000} -- the loops are compiled
  for _, seconds in ipairs{0.01, 0.1, 0.3} do
    local tree, started = tree_at(pos, {seed = false}), lr.now()
    local found = tree:search{seconds = seconds}
    local took = lr.now() - started
    ok(took >= seconds and took < seconds + 0.25, ("%.3f s for %g"):format(took, seconds))
    eq(root_visits(tree, pos), found.playouts)
  end
end)

test("a search stops early only when the rest could not change the move", function()
  local tree, started = tree_at(drawn(corner, BLACK), {komi = 70.5, seed = false}), lr.now()
  local found = tree:search{seconds = 3, early = true}
  ok(lr.now() - started < 2.8, "it went on for the whole time")
  eq(found.move, 2)
  local first, second = tree.store:leaders(tree.root)
  ok(first > second)
end)

test("what is known below a move that is played stays known", function()
  local pos = go.new:here(5)
  local tree = tree_at(pos, {komi = 0.5})
  local found = tree:search{playouts = 2000}
  local variation = tree:principal_variation(3)
  eq(variation[1], found.move)
  pos = go.play:here(pos, BLACK, found.move)
  ok(tree:advance(found.move, pos))
  eq(tree:to_move(), WHITE)
  eq(tree:principal_variation(2), {variation[2], variation[3]})
  ok(root_visits(tree, pos) > 500, "most of the playouts went there")
  tree:search{playouts = 100}
  eq(tree:advance(found.move, pos), false, "an occupied point leads nowhere")
end)

test("a search finds the vital point of a three-point eye, for both sides", function()
  for colour = BLACK, WHITE do
    local tree = tree_at(drawn(corner, colour), {komi = 70.5}) -- the group decides the game
    eq(tree:search{playouts = 6000}.move, 2, colour == BLACK and "to kill" or "to live")
  end
end)

test("superko holds in the tree: what repeats the board is no move there", function()
  local pos = drawn({".....", ".....", ".....", "XXO..", ".O.O."}, WHITE)
  pos = go.play:here(pos, WHITE, 1)
  pos = go.play:here(pos, BLACK, 3)
  local tree = tree_at(pos)
  tree:search{playouts = 50}
  local first = tree.store.nodes[tree.root].first
  for i = first, first + tree.store.nodes[tree.root].count - 1 do ok(tree.store.edges[i].move ~= 2) end
end)

test("an engine plays both colours to the end, and its game can be repeated", function()
  local function game()
    local engine = Engine.new(go, {size = 5, komi = 0.5, seconds = 1, playouts = 60, seed = 11, batch = 4, leaves = 1,
                                   window = 4})
    local moves, passes, colour = {}, 0, BLACK
    while passes < 2 and #moves < 200 do
      local move = engine:choose(colour)
      ok(engine:play(colour, move))
      moves[#moves + 1] = move
      passes = move == 0 and passes + 1 or 0
      colour = board.other(colour)
    end
    return moves, passes
  end
  local moves, passes = game()
  eq(passes, 2)
  eq(moves, (game()))
end)

-- ---- the program ------------------------------------------------------------------------------------------------

local function program()
  local path
  for i = -1, -30, -1 do
    if not arg[i] then break end
    path = arg[i]
  end
  return path
end

local function start(workers, ...)
  return Process.start{program(), "--workers", tostring(workers), examples .. "mcts.lua", ...}
end

local function read_all(process)
  local lines = {}
  while true do
    local line, why = process:read_line(100)
    if not line then
      eq(why, "closed")
      return lines
    end
    lines[#lines + 1] = line
  end
end

-- Runs it to its end: lines of its output, its status, what it said on standard error.
local function run(workers, ...)
  local process = start(workers, ...)
  local lines = read_all(process)
  local complaint = process:read_errors(20)
  return lines, process:stop(20), complaint
end

test("with --playouts and --seed a game is the same with 1, 2 and 4 workers, to the last line", function()
  local games = {}
  for i, workers in ipairs{1, 2, 4} do
    local lines, status = run(workers, "--playouts", "150", "--seed", "5", "--size", "7")
    eq(status, 0)
    for k, line in ipairs(lines) do lines[k] = line:gsub(" in %d.*", "") end -- the time alone may differ
    games[i] = table.concat(lines, "\n")
  end
  ok(games[1]:match("\nboth passed after %d+ moves: [BW]%+%d+%.5$"), games[1]:sub(-200))
  eq(games[2], games[1])
  eq(games[3], games[1])
  ok(table.concat((run(2, "--playouts", "150", "--seed", "6", "--size", "7"))) ~= games[1])
end)

test("what a newcomer sees: the board, each move with its playouts, the end", function()
  local lines, status, complaint = run(2, "--time", "0.05", "--moves", "3", "--size", "9")
  eq({status, complaint}, {0, ""})
  eq(lines[1], "   A B C D E F G H J")
  eq(lines[2], " 9 . . . . . . . . . 9")
  eq(lines[11], lines[1])
  local text = table.concat(lines, "\n")
  for number, words in ipairs{"black X", "white O", "black X"} do
    ok(text:match(("\nmove %d: %s plays [A-HJ]%%d\n"):format(number, words)), words)
  end
  eq(select(2, text:gsub("\nblack wins %d+%.%d %%, %d+ playouts in %d+%.%d+ s, %d+ a second\n", "")), 3)
  ok(lines[#lines]:match("^stopped after 3 moves: [BW]%+%d+%.5$"), lines[#lines])
end)

test("--help, and every refusal of an option to the letter", function()
  local lines, status = run(1, "--help")
  eq({lines[1], status}, {"usage: luarun examples/mcts.lua [options]", 0})
  for _, case in ipairs{
      {"--nonsense", "unknown option '--nonsense' (--help shows all)"},
      {"9", "unknown option '9' (--help shows all)"},
      {"-x", "unknown option '-x' (--help shows all)"},
      {"--gtp=1", "unknown option '--gtp=1' (--help shows all)"},
      {"--size", "--size needs a number"},
      {"--size=", "--size: '' is not a whole number"},
      {"--size=nine", "--size: 'nine' is not a whole number"},
      {"--size=9.5", "--size: '9.5' is not a whole number"},
      {"--size=4", "--size: 4 is out of range (5 to 19)"},
      {"--size=20", "--size: 20 is out of range (5 to 19)"},
      {"--time=0", "--time: 0 is out of range (0.001 to 86400)"},
      {"--time=-1", "--time: -1 is out of range (0.001 to 86400)"},
      {"--time=nan", "--time: 'nan' is not a number"},
      {"--time=inf", "--time: inf is out of range (0.001 to 86400)"},
      {"--playouts=0", "--playouts: 0 is out of range (1 to 1000000000)"},
      {"--komi=x", "--komi: 'x' is not a number"},
      {"--komi=1001", "--komi: 1001 is out of range (-1000 to 1000)"},
      {"--seed=-1", "--seed: -1 is out of range (0 to 9007199254740992)"},
      {"--moves=0", "--moves: 0 is out of range (1 to 1000000)"},
      {"--batch=0", "--batch: 0 is out of range (1 to 10000)"},
      {"--leaves=257", "--leaves: 257 is out of range (1 to 256)"},
      {"--window=0", "--window: 0 is out of range (1 to 1000)"}} do
    local said, failed, complaint = run(1, case[1])
    eq({said, failed, complaint}, {{}, 1, "mcts.lua: " .. case[2] .. "\n"}, case[1])
  end
end)

-- Ends a process with ^C once it has said a line; how long that took.
local function interrupt(process)
  ok(process:read_line(60))
  local started = Process.now()
  ok(process:signal(2))
  while process:read_line(20) do end -- luacheck: ignore
  local status, signal = process:stop(20)
  ok(status ~= 0, "an interrupted program has not succeeded")
  ok(signal ~= 9, "it did not end by itself")
  return Process.now() - started
end

test("^C ends it at once: thinking, and waiting for a command", function()
  local seconds = interrupt(start(2, "--time", "60"))
  ok(seconds < 2, ("%.2f s"):format(seconds))
  local process
  if os.getenv("LR_SANITIZED") == "tsan" then
    check.skip("^C while it waits for a command",
      "ThreadSanitizer holds a signal back while a thread is inside libc's buffered reading")
  else
    process = start(2, "--gtp")
    process:write("name\n")
    seconds = interrupt(process)
    ok(seconds < 2, ("%.2f s"):format(seconds))
  end
  process = start(2, "--gtp", "--time", "60")
  process:write("name\ngenmove b\n")
  seconds = interrupt(process)
  ok(seconds < 2, ("%.2f s"):format(seconds))
end)

check.done()
