-- engine.lua - a game of Go and a player in it: positions played so far (for undo), the search tree, the clock,
-- and what a program must decide besides the best move: when to pass and when to resign.
--
-- Passing. The game is scored by area, so moves in dame cost nothing and dead stones had better be taken off: the
-- engine passes when it wins the board as it stands, every stone alive, and nothing on it can change; or when
-- the search finds nothing better. A loser passes too once everything is settled and the winner passed.

local ffi = require "ffi"
local lr = require "luarun"
local board = require "go.board"
local Clock = require "go.clock"
local Tree = require "go.tree"

local SETTLED = 0.85        -- a point is settled when one side holds it in this share (of -1..1) of the playouts
local JUDGE_PLAYOUTS = 400
local SETTLED_FROM = 0.5    -- share of the board filled, before which nothing is settled
local RESIGN_BELOW = 0.04   -- win rate
local RESIGN_AFTER = 3      -- so many searches in a row
local SCORE_PLAYOUTS = 2000
local HURRY_BELOW = 0.1     -- seconds for a move, by the clock

---@class Engine
local Engine = {}
Engine.__index = Engine

-- The search starts anew.
local function forget(self)
  if self.tree then self.tree:free() end
  self.tree = nil
end

--- options: size, komi, seconds, playouts or nil, seed or nil, batch, leaves, window, resign (boolean).
---@return Engine
function Engine.new(go, options)
  local self = setmetatable({go = go, options = options, komi = options.komi, clocks = {}}, Engine)
  self:clear(options.size)
  return self
end

--- An empty board of a size, 5 to 19.
function Engine:clear(size)
  self:set_position(self.go.new:here(size or self:size()))
end

--- A position that was set up otherwise: nothing before it can be undone.
function Engine:set_position(pos)
  self.history = {pos}
  self.hopeless = {0, 0}
  forget(self)
  self.batches = 0
  for _, clock in pairs(self.clocks) do clock:reset() end
end

function Engine:position() return self.history[#self.history] end
function Engine:size() return board.size(self:position()) end

function Engine:set_komi(komi)
  self.komi = komi
  forget(self)
end

--- Plays a move. Returns true, or nil and why not: occupied, ko, suicide, superko.
function Engine:play(colour, move)
  local before = self:position()
  local pos, reason = self.go.play:here(before, colour, move)
  if not pos then return nil, reason end
  self.history[#self.history + 1] = pos
  if self.tree and not (board.to_move(before) == colour and self.tree:advance(move, pos)) then forget(self) end
  return true
end

--- Takes the last move back; false when there is none.
function Engine:undo()
  if #self.history == 1 then return false end
  self.history[#self.history] = nil
  forget(self)
  return true
end

local function next_seed(self)
  if not self.options.seed then return nil end
  self.batches = self.batches + 1
  return self.options.seed % 2 ^ 31 * 2 ^ 22 + 2 ^ 21 + self.batches % 2 ^ 21
end

--- What playouts say of the position: {score = without dead stones and komi, dead, area = strings of n*n
--- bytes, owner = numbers -1 (white) to 1 (black), settled = whether no point is in doubt, dame = how many}.
function Engine:judge(pos, playouts)
  local score, dead, area, owner = self.go.judge(pos, playouts, next_seed(self)):get()
  local values = ffi.cast("const float *", owner:data())
  local found = {score = score, dead = dead, area = area, owner = {}, settled = true, dame = 0}
  for move = 1, #area do
    local value, holder = values[move - 1], area:byte(move)
    found.owner[move] = value
    if holder == 0 then found.dame = found.dame + 1
    elseif (holder == board.BLACK and value or -value) < SETTLED then found.settled = false end
  end
  return found
end

--- Black's score with komi deducted, dead stones taken off.
function Engine:final_score()
  return self:judge(self:position(), SCORE_PLAYOUTS).score - self.komi
end

local function filled_share(pos)
  local _, empty = board.cells(pos):gsub("%z", "")
  return 1 - empty / board.points(pos)
end

-- Whether passing is right without any search; in a hurry, without any playout.
local function should_pass(self, pos, colour, hurried)
  local sign = colour == board.BLACK and 1 or -1
  local passed = board.last(pos) == 0
  local as_it_stands = sign * (self.go.score:here(pos) - self.komi)
  if passed and as_it_stands > 0 then return true end
  if hurried or filled_share(pos) < SETTLED_FROM then return false end
  if as_it_stands < 0 and not passed then return false end
  local judged = self:judge(pos, JUDGE_PLAYOUTS)
  if not judged.settled then return false end
  local margin = sign * (judged.score - self.komi)
  if as_it_stands > 0 then return margin > judged.dame end
  return passed and margin < -judged.dame - 2
end

-- Seconds for the next move: by the clock when there is one.
local function time_for_move(self, pos, colour)
  local clock = self.clocks[colour]
  if not clock then return self.options.seconds end
  local _, empty = board.cells(pos):gsub("%z", "")
  return math.min(60, clock:budget(math.max(12, empty / 3)))
end

--- time_settings of GTP, for both colours: seconds of main time, seconds of a period and its moves.
function Engine:set_clock(main, period, stones)
  self.clocks = {Clock.new(main, period, stones), Clock.new(main, period, stones)}
end

--- time_left of GTP: seconds left, and for how many moves (0: of the main time).
function Engine:set_time_left(colour, seconds, stones)
  local clock = self.clocks[colour] or Clock.new(math.max(seconds, 1), 0, 0)
  self.clocks[colour] = clock
  clock:set_left(math.max(0, seconds), stones)
end

-- Searches for the rest of `seconds` from `started` on; for so many playouts instead when that was asked for and no
-- clock is running.
local function search(self, pos, colour, started, seconds)
  local options = self.options
  if not self.tree then
    self.tree = Tree.new(self.go, {
      komi = self.komi, batch = options.batch, leaves = options.leaves, window = options.window,
      seed = options.seed and options.seed + #self.history * 7919,
    })
    self.tree:reset(pos)
  end
  local playouts = not self.clocks[colour] and options.playouts or nil
  return self.tree:search{playouts = playouts, seconds = started + seconds - lr.now(), early = true}
end

-- Counts searches in a row that found no hope.
local function should_resign(self, pos, colour, found)
  if not self.options.resign or filled_share(pos) < 0.15 then return false end
  local count = found.winrate < RESIGN_BELOW and self.hopeless[colour] + 1 or 0
  self.hopeless[colour] = count
  return count >= RESIGN_AFTER
end

local function choose(self, colour, started)
  local pos = board.with_to_move(self:position(), colour)
  if pos ~= self:position() then forget(self) end
  local seconds = time_for_move(self, pos, colour)
  if should_pass(self, pos, colour, self.clocks[colour] and seconds < HURRY_BELOW) then return 0 end
  local found = search(self, pos, colour, started, seconds)
  self.found = found
  if should_resign(self, pos, colour, found) then return "resign", found end
  return found.move, found
end

--- Chooses a move for a colour without playing it. Returns the move or "resign", and what the search found (nil
--- when there was none to make). The time it takes is taken from the colour's clock.
function Engine:choose(colour)
  local started, clock = lr.now(), self.clocks[colour]
  local move, found = choose(self, colour, started)
  if clock then clock:spend(lr.now() - started) end
  return move, found
end

return Engine
