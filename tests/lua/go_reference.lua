-- go_reference: the rules of Go once more, slow and plain, for the tests to compare examples/kernels/go.c with.
--
-- It shares no code and no idea with the kernels: a board is a table of numbers, groups are found by flood fill at
-- each question, superko compares whole boards as strings. It knows no passes and no players, only stones.

local Reference = {}
Reference.__index = Reference

--- An empty board, or one with cells (n*n bytes). Points are numbered as in go.c: 1 is A1, row by row.
function Reference.new(size, cells)
  local self = setmetatable({size = size, at = {}, seen = {}, taken = {0, 0}}, Reference)
  for p = 1, size * size do self.at[p] = cells and cells:byte(p) or 0 end
  self.seen[self:key()] = true
  return self
end

function Reference:key() return table.concat(self.at) end

function Reference:neighbours(p)
  local n, list = self.size, {}
  if (p - 1) % n > 0 then list[#list + 1] = p - 1 end
  if (p - 1) % n < n - 1 then list[#list + 1] = p + 1 end
  if p > n then list[#list + 1] = p - n end
  if p <= n * n - n then list[#list + 1] = p + n end
  return list
end

--- The points connected with p that hold the same; how many of other kinds touch them, by kind.
function Reference:region(p)
  local points, marked, touching, i = {p}, {[p] = true}, {[0] = 0, 0, 0}, 1
  while points[i] do
    for _, q in ipairs(self:neighbours(points[i])) do
      if self.at[q] == self.at[p] then
        if not marked[q] then marked[q], points[#points + 1] = true, q end
      elseif not marked[q] then
        touching[self.at[q]] = touching[self.at[q]] + 1 -- the same point may count twice: only zero or not matters
      end
    end
    i = i + 1
  end
  return points, touching
end

local function remove_dead(self, around, colour)
  local count = 0
  for _, q in ipairs(self:neighbours(around)) do
    if self.at[q] == colour then
      local points, touching = self:region(q)
      if touching[0] == 0 then
        for _, p in ipairs(points) do self.at[p] = 0 end
        count = count + #points
      end
    end
  end
  return count
end

local function restore(self, key)
  for p = 1, self.size ^ 2 do self.at[p] = tonumber(key:sub(p, p)) end
end

--- Plays a stone. Returns true, or nil and "occupied", "suicide" or "repetition"; the board is then as it was.
function Reference:play(colour, p)
  if self.at[p] ~= 0 then return nil, "occupied" end
  local before = self:key()
  self.at[p] = colour
  local taken = remove_dead(self, p, 3 - colour)
  local _, touching = self:region(p)
  if touching[0] == 0 then
    restore(self, before)
    return nil, "suicide"
  end
  if self.seen[self:key()] then
    restore(self, before)
    return nil, "repetition"
  end
  self.seen[self:key()] = true
  self.taken[colour] = self.taken[colour] + taken
  return true
end

--- Whether a stone may be played, and why not.
function Reference:check(colour, p)
  local before, taken = self:key(), self.taken[colour]
  local ok, why = self:play(colour, p)
  if not ok then return false, why end
  self.seen[self:key()] = nil
  restore(self, before)
  self.taken[colour] = taken
  return true
end

--- Black's area less white's, every stone alive.
function Reference:score()
  local score, done = 0, {}
  for p = 1, self.size ^ 2 do
    if self.at[p] ~= 0 then
      score = score + (self.at[p] == 1 and 1 or -1)
    elseif not done[p] then
      local points, touching = self:region(p)
      for _, q in ipairs(points) do done[q] = true end
      if touching[1] > 0 and touching[2] == 0 then score = score + #points end
      if touching[2] > 0 and touching[1] == 0 then score = score - #points end
    end
  end
  return score
end

--- The cells as bytes, as go.c has them.
function Reference:cells()
  local bytes = {}
  for p = 1, self.size ^ 2 do bytes[p] = string.char(self.at[p]) end
  return table.concat(bytes)
end

return Reference
