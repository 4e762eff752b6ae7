-- searches.lua - games of Go by Monte-Carlo tree search (examples/mcts.lua's parts), each a function of its seed alone.
--
--   luarun [--procs N | --cluster URL] tests/cluster/searches.lua [--games N | --seconds S] [--seed N] [--retries N]
--
-- One line for each: its seed and its moves. With --seconds as many as fit; the same --seed prints the same lines however
-- it is run. The tree is here, its playouts are kernels that run wherever there is room.

local top = arg[0]:match("^(.*)/tests/cluster/[^/]*$") or "."
package.path = top .. "/examples/?.lua;" .. package.path

local lr = require "luarun"

local options = { games = nil, seconds = nil, seed = 1, retries = 3 }
for i = 1, #arg, 2 do
  options[assert(arg[i]:match("^%-%-(%a+)$"), arg[i])] = assert(tonumber(arg[i + 1]), arg[i])
end

local kernels = assert(require("go.kernels").load(top .. "/examples/"))
local go = setmetatable({}, { __index = kernels })
for _, name in ipairs { "playout", "expand", "judge" } do go[name] = kernels[name]:with { retries = options.retries } end

local Engine, board = require "go.engine", require "go.board"
local MOVES, PLAYOUTS = 6, 600

local function play(seed)
  local engine = Engine.new(go, { size = 7, komi = 7.5, playouts = PLAYOUTS, seconds = 1, seed = seed, batch = 6, leaves = 2,
    window = 6 })
  local moves = {}
  for i = 1, MOVES do
    local colour = board.to_move(engine:position())
    local move, found = engine:choose(colour)
    assert(engine:play(colour, move))
    moves[i] = board.name(7, move) .. (found and (":%.6f"):format(found.winrate) or "")
  end
  return table.concat(moves, " ")
end

local start, count = lr.now(), 0
while options.games and count < options.games or options.seconds and lr.now() - start < options.seconds do
  local seed = options.seed + count
  print(("game %d: %s"):format(seed, play(seed)))
  io.stdout:flush()
  count = count + 1
end
print("over")
