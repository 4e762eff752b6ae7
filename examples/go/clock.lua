-- clock.lua - one player's time by the rules of GTP (time_settings, time_left): a main time, then periods of so many
-- seconds for so many moves ("Canadian byo-yomi"). Pure: it is told what was used, and never asks for the time.

local LAG = 0.03          -- seconds a move that are not ours: pipes, the scheduler, the controller's own clock
local RESERVE = 0.3       -- seconds of the main time that are never planned for
local SAFE = 0.85         -- share of a period that is used
local LEAST = 0.005       -- seconds for a move when there is no time left

---@class Clock
local Clock = {}
Clock.__index = Clock

--- main: seconds; period: seconds, 0 for none; stones: moves of a period. A period without stones is no limit at all
--- by the specification: returns nil then, and when everything is 0.
---@return Clock|nil
function Clock.new(main, period, stones)
  if (period > 0 and stones == 0) or (main <= 0 and period <= 0) then return nil end
  local self = setmetatable({main = main, period = period, stones = stones}, Clock)
  self:reset()
  return self
end

--- Back to the beginning of a game.
function Clock:reset()
  self.main_left = self.main
  self.period_left, self.stones_left = self.period, self.stones
end

--- What the controller says is left: of the main time when stones is 0, else of this period for so many moves.
function Clock:set_left(seconds, stones)
  if stones > 0 then
    self.main_left, self.period_left, self.stones_left = 0, seconds, stones
    if self.stones == 0 then self.period, self.stones = seconds, stones end
  else
    self.main_left, self.period_left, self.stones_left = seconds, self.period, self.stones
  end
end

--- A move was made in so many seconds.
function Clock:spend(seconds)
  local over = math.max(0, seconds - self.main_left)
  if self.main_left > 0 then
    self.main_left = math.max(0, self.main_left - seconds)
    if over == 0 then return end
  end
  if self.period <= 0 then return end
  self.period_left, self.stones_left = self.period_left - over, self.stones_left - 1
  if self.stones_left <= 0 then self.period_left, self.stones_left = self.period, self.stones end
end

--- Seconds for the next move, when about so many more will follow.
function Clock:budget(moves)
  local seconds = math.max(0, self.main_left - RESERVE) / moves
  if self.period > 0 then
    local of_period = SAFE * self.period_left / math.max(1, self.stones_left)
    seconds = self.main_left > 0 and math.max(seconds, math.min(of_period, self.main_left)) or of_period
  end
  return math.max(LEAST, seconds - LAG)
end

return Clock
