-- mcts.lua - plays Go by Monte-Carlo tree search: the tree here, in Lua; its playouts in C, in batches, as tasks.
--
--   luarun examples/mcts.lua                     plays a game against itself and draws it
--   luarun examples/mcts.lua --time 5 --size 13  five seconds a move, another board
--   luarun examples/mcts.lua --gtp               speaks the Go Text Protocol (for GoGui, GNU Go's referees, ...)
--
-- The parts: go/tree.lua the search, go/engine.lua the player, go/board.lua positions, go/gtp.lua the
-- protocol, go/sgf.lua records, kernels/go.c rules and playouts.

local here = (arg and arg[0] or ""):match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path

local lr = require "luarun"

local USAGE = [[
usage: luarun examples/mcts.lua [options]
  --time S      seconds a move (default 1)
  --playouts N  so many playouts a move instead of a time; with --seed a game can be repeated exactly
  --size N      board size, 5 to 19 (default 9)
  --komi K      white's compensation (default 7.5)
  --seed N      fixes all random choices
  --gtp         speak the Go Text Protocol, version 2, on standard input and output
  --moves N     stop a game against itself after N moves
  --batch N     playouts from one leaf of the tree at once (default 12, and 4 on boards over 9)
  --leaves N    leaves in one task (default 8; with fewer than 16000 playouts one for each 2000)
  --window N    tasks in flight (default 6; with a time, and more than two workers, two for each and two)
  --bench S     search the empty board for S seconds and print the playouts a second
  --help
]]

local function fail(message)
  io.stderr:write("mcts.lua: ", message, "\n")
  os.exit(1)
end

local NUMBERS = {
  time = {least = 0.001, most = 86400}, playouts = {least = 1, most = 1e9, whole = true},
  size = {least = 5, most = 19, whole = true}, komi = {least = -1000, most = 1000},
  seed = {least = 0, most = 2 ^ 53, whole = true}, moves = {least = 1, most = 1e6, whole = true},
  batch = {least = 1, most = 10000, whole = true}, leaves = {least = 1, most = 256, whole = true},
  window = {least = 1, most = 1000, whole = true},
  bench = {least = 0.01, most = 3600},
}

local function number_read(name, text)
  local rule, value = NUMBERS[name], tonumber(text)
  if not text then fail("--" .. name .. " needs a number") end
  if not value or value ~= value or (rule.whole and value % 1 ~= 0) then
    fail(("--%s: '%s' is not a%s number"):format(name, text, rule.whole and " whole" or ""))
  end
  if value < rule.least or value > rule.most then
    fail(("--%s: %s is out of range (%g to %.16g)"):format(name, text, rule.least, rule.most))
  end
  return value
end

local function options_read(words)
  local options, i = {}, 1
  while i <= #words do
    local name, value = words[i]:match("^%-%-([%w-]+)=(.*)$")
    name = name or words[i]:match("^%-%-([%w-]+)$")
    if name == "help" and not value then
      io.write(USAGE)
      os.exit(0)
    elseif name == "gtp" and not value then
      options.gtp = true
    elseif name and NUMBERS[name] then
      if not value then i, value = i + 1, words[i + 1] end
      options[name] = number_read(name, value)
    else
      fail(("unknown option '%s' (--help shows all)"):format(words[i]))
    end
    i = i + 1
  end
  return options
end

local function play_itself(engine, options)
  local board = require "go.board"
  local words = {"black X", "white O"}
  local number, passes = 0, 0
  print(board.draw(engine:position()))
  io.stdout:flush()
  while passes < 2 and number < (options.moves or math.huge) do
    local colour = board.to_move(engine:position())
    local move, found = engine:choose(colour)
    assert(engine:play(colour, move))
    number = number + 1
    passes = move == 0 and passes + 1 or 0
    print(("\nmove %d: %s plays %s"):format(number, words[colour], board.name(engine:size(), move)))
    if found then
      local black = colour == board.BLACK and found.winrate or 1 - found.winrate
      print(("black wins %.1f %%, %d playouts in %.2f s, %d a second"):format(100 * black, found.playouts,
        found.seconds, found.playouts / found.seconds))
    end
    print(board.draw(engine:position()))
    io.stdout:flush()
  end
  print(("\n%s after %d moves: %s"):format(passes == 2 and "both passed" or "stopped", number,
    board.result(engine:final_score())))
end

-- Processor seconds that this thread, which keeps the tree, has used; 0 where the system does not tell.
local function thread_seconds()
  local file = io.open("/proc/thread-self/schedstat")
  local nanoseconds = file and file:read("*n") or 0
  if file then file:close() end
  return nanoseconds * 1e-9
end

-- Searches the empty board, the tree growing all the while, and prints what bench/go_scaling.lua reads.
local function bench(go, options)
  local Tree = require "go.tree"
  local tree = Tree.new(go, options)
  tree:reset(go.new:here(options.size))
  tree:search{seconds = math.min(0.2, options.bench)}
  local cpu, own = os.clock(), thread_seconds()
  local found = tree:search{seconds = options.bench}
  print(("%d playouts in %.3f s, %.0f a second, cpu %.3f s, the tree's thread %.3f s"):format(found.playouts,
    found.seconds, found.playouts / found.seconds, os.clock() - cpu, thread_seconds() - own))
end

local function main(words)
  local options = options_read(words)
  local go, why = require("go.kernels").load(here)
  if not go then fail(why) end
  options.size = options.size or 9
  options.komi = options.komi or 7.5
  options.seconds = options.time or 1
  -- a number of playouts promises the same game on any number of workers, so it must not depend on them
  options.window = options.window or (options.playouts and 6 or math.max(6, 2 * lr.resources().cpu + 2))
  options.leaves = options.leaves or math.max(1, math.min(8, math.floor((options.playouts or 16000) / 2000)))
  options.batch = options.batch or (options.size <= 9 and 12 or 4)
  options.resign = options.gtp
  if options.bench then return bench(go, options) end
  local engine = require("go.engine").new(go, options)
  if options.gtp then
    require("go.gtp").new(engine):serve(io.stdin, io.stdout)
  else
    play_itself(engine, options)
  end
end

main{...}
