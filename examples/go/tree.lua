-- tree.lua - Monte-Carlo tree search with rapid action value estimation, its tree in Lua, its work in tasks.
--
-- Each descent of the tree ends at a leaf, for which one task plays a batch of games to the end (go.playout);
-- a leaf that is reached again is expanded, another task (go.expand). A window of batches is always in
-- flight: descents below count as lost until their result is there (virtual loss), so that the next
-- descent looks elsewhere.
--
-- With a time, results are taken as they come (lr.wait), and what is late is cancelled. With a
-- number of playouts, results are taken in the order of their submission, so that the tree is a function
-- of the seed alone, whatever the number of workers.
--
-- Gelly, Silver: Monte-Carlo tree search and rapid action value estimation in computer Go. Artificial
-- Intelligence 175, 2011: the value is (1-beta) Q + beta Q_rave with their minimum-mean-square-error schedule
-- (section 4.4), priors as virtual visits (section 6).
-- Chaslot, Winands, van den Herik: Parallel Monte-Carlo tree search. CG 2008: virtual loss (section 3.3).

local ffi = require "ffi"
local lr = require "luarun"
local board = require "go.board"

-- A node's moves: visits and wins (with priors and virtual losses), and the same as all-moves-as-first counts.
local edges_type = ffi.typeof("struct { float visits, wins, rave_visits, rave_wins; int32_t move; }[?]")
local floats_type = ffi.typeof("float[?]")
local floats_pointer = ffi.typeof("const float *")

local RAVE_EQUIVALENCE = tonumber(os.getenv("T_EQ") or 3500) -- visits at which Q and Q_rave weigh alike
local EXPAND_AT = tonumber(os.getenv("T_EXP") or 2)            -- batches that a leaf plays before it is expanded
local POLL_EVERY = 16          -- batches between two looks at whether more search can change the move

---@class Tree
local Tree = {}
Tree.__index = Tree

--- A tree over the kernels `go`. options: komi, batch (playouts in a task), window (batches in flight), seed or nil.
---@return Tree
function Tree.new(go, options)
  return setmetatable({
    go = go, komi = options.komi, batch = options.batch, window = options.window,
    seed = options.seed, counter = 0, spare = {},
  }, Tree)
end

local function node_new(path, colour, passes)
  return {path = path, colour = colour, passes = passes, batches = 0, count = 0, edges = nil, children = nil}
end

--- Starts anew at a position.
function Tree:reset(pos)
  local size = board.size(pos)
  self.points = size * size + 1
  self.base = pos -- what all paths start from, with its history, for superko
  self.base_future = lr.put(pos)
  self.short = board.without_history(pos)
  self.root = node_new("", board.to_move(pos), 0)
  self.rave = floats_type(4 * self.points)
  self.path_of = {}
  for move = 0, size * size do self.path_of[move] = string.char(move % 256, math.floor(move / 256)) end
end

--- Follows a move that was played; false when the tree does not know it and must be reset.
function Tree:advance(move)
  local root = self.root
  if not root or not root.edges or #root.path > 400 then return false end
  for i = 0, root.count - 1 do
    if root.edges[i].move == move then
      local child = root.children[i]
      if not child or child.passes >= 2 then return false end
      self.root = child
      return true
    end
  end
  return false
end

-- The move at a node with the largest value. No exploration term: RAVE and the priors explore enough
-- (Gelly and Silver 2011, section 5.3).
local function select_edge(node)
  local edges, best, best_value = node.edges, 0, -1
  for i = 0, node.count - 1 do
    local visits, rave_visits = edges[i].visits, edges[i].rave_visits
    local value = edges[i].wins / visits
    if rave_visits > 0 then
      local beta = rave_visits / (rave_visits + visits + visits * rave_visits / RAVE_EQUIVALENCE)
      value = value + beta * (edges[i].rave_wins / rave_visits - value)
    end
    if value > best_value then best, best_value = i, value end
  end
  return best
end

-- Walks from the root to a leaf, leaving a virtual loss of `playouts` on the way. Fills the ticket.
local function descend(self, ticket, playouts)
  local node, depth = self.root, 0
  local nodes, edges = ticket.nodes, ticket.edges
  while node.edges do
    local i = select_edge(node)
    local edge = node.edges[i]
    edge.visits = edge.visits + playouts
    depth = depth + 1
    nodes[depth], edges[depth] = node, i
    local child = node.children[i]
    if not child then
      local move = edge.move
      child = node_new(node.path .. self.path_of[move], 3 - node.colour, move == 0 and node.passes + 1 or 0)
      node.children[i] = child
    end
    node = child
  end
  ticket.depth, ticket.playouts, ticket.leaf = depth, playouts, node
  return node
end

-- Takes the virtual loss of a ticket back.
local function retract(ticket)
  for depth = 1, ticket.depth do
    local edge = ticket.nodes[depth].edges[ticket.edges[depth]]
    edge.visits = edge.visits - ticket.playouts
  end
end

-- Adds a batch's result to every node above its leaf. amaf has four rows: black's visits and wins, white's
-- visits and wins; the moves of the path are added to it on the way up, since they too were first.
local function update(self, ticket, wins, amaf)
  local points, rave, playouts = self.points, self.rave, ticket.playouts
  ffi.copy(rave, amaf, 16 * points)
  for depth = ticket.depth, 1, -1 do
    local node = ticket.nodes[depth]
    local edges, at = node.edges, ticket.edges[depth]
    local black = node.colour == 1
    local own_wins = black and wins or playouts - wins
    local own, other = black and rave or rave + 2 * points, black and rave + 2 * points or rave
    local own_won = own + points
    edges[at].wins = edges[at].wins + own_wins
    local move = edges[at].move
    if move > 0 then
      own[move], own_won[move] = playouts, own_wins
      other[move], other[move + points] = 0, 0
    end
    for i = 0, node.count - 1 do
      local point = edges[i].move
      edges[i].rave_visits = edges[i].rave_visits + own[point]
      edges[i].rave_wins = edges[i].rave_wins + own_won[point]
    end
  end
end

-- Gives a leaf its moves, with the priors of go.expand: visits in row 1 (-1: not playable), wins in row 2.
local function install(self, node, priors)
  local points, count = self.points, 0
  for move = 0, points - 1 do
    if priors[move] >= 0 then count = count + 1 end
  end
  local edges, i = edges_type(count), 0
  for move = 0, points - 1 do
    if priors[move] >= 0 then
      edges[i].move, edges[i].visits, edges[i].wins = move, priors[move], priors[points + move]
      i = i + 1
    end
  end
  node.children, node.count = {}, count
  node.edges = edges
end

-- The seed of the next batch: nil leaves the randomness to the task's own stream.
local function next_seed(self)
  if not self.seed then return nil end
  self.counter = self.counter + 1
  return (self.seed % 2 ^ 31) * 2 ^ 22 + self.counter % 2 ^ 22
end

-- Starts one batch, and the leaf's expansion when it is due; tells both futures to `submitted(future, ticket)`.
local function launch(self, playouts, submitted)
  local ticket = table.remove(self.spare) or {nodes = {}, edges = {}}
  local leaf = descend(self, ticket, playouts)
  leaf.batches = leaf.batches + 1
  if leaf.batches == EXPAND_AT and leaf.passes < 2 then
    submitted(self.go.expand(self.base_future, leaf.path), leaf)
  end
  submitted(self.go.playout(self.short, leaf.path, self.komi, playouts, next_seed(self)), ticket)
end

-- Takes one result in: of a batch, or of an expansion (then the ticket is the node).
local function consume(self, future, ticket)
  if not ticket.nodes then
    install(self, ticket, ffi.cast(floats_pointer, future:get():data()))
    return 0
  end
  local wins, _, score, amaf = future:get()
  update(self, ticket, wins, ffi.cast(floats_pointer, amaf:data()))
  self.score_sum = self.score_sum + score * ticket.playouts
  self.done = self.done + ticket.playouts
  self.spare[#self.spare + 1] = ticket
  return ticket.playouts
end

-- Whether the leading move stays ahead even if all the playouts still to come go to the second.
local function is_decided(self, remaining)
  local first, second = 0, 0
  for i = 0, self.root.count - 1 do
    local visits = self.root.edges[i].visits
    if visits > first then first, second = visits, first
    elseif visits > second then second = visits end
  end
  return first - second > remaining
end

local function search_for_time(self, seconds, early)
  local started = lr.now()
  local deadline, tickets, in_flight = started + seconds, {}, {}
  local batches = 0
  local function submitted(future, ticket)
    in_flight[#in_flight + 1], tickets[future] = future, ticket
  end
  while true do
    while #in_flight < self.window do launch(self, self.batch, submitted) end
    local now = lr.now()
    if now >= deadline then break end
    local ready
    ready, in_flight = lr.wait(in_flight, {count = self.take, timeout = deadline - now})
    for i = 1, #ready do
      consume(self, ready[i], tickets[ready[i]])
      tickets[ready[i]] = nil
      batches = batches + 1
    end
    if early and batches >= POLL_EVERY then
      batches = 0
      if is_decided(self, self.done / (now - started) * (deadline - now)) then break end
    end
  end
  lr.cancel(in_flight)
  for _, ticket in pairs(tickets) do
    if ticket.nodes then retract(ticket) else ticket.batches = 0 end
  end
end

local function search_for_playouts(self, playouts)
  local queue, tickets, head, tail, started = {}, {}, 1, 0, 0
  local function submitted(future, ticket)
    tail = tail + 1
    queue[tail], tickets[tail] = future, ticket
  end
  while true do
    while started < playouts and tail - head + 1 < self.window do
      local batch = math.min(self.batch, playouts - started)
      launch(self, batch, submitted)
      started = started + batch
    end
    if head > tail then break end
    consume(self, queue[head], tickets[head])
    queue[head], tickets[head] = nil, nil
    head = head + 1
  end
end

--- Searches from the root for options.seconds or options.playouts. options.early: stop when nothing can change.
--- Returns what was found: move, winrate of the side to move, playouts, seconds, score (black's, komi
--- deducted), visits of the move.
function Tree:search(options)
  self.done, self.score_sum = 0, 0
  self.take = math.max(1, math.floor(self.window / 2))
  local started, root = lr.now(), self.root
  if not root.edges then
    install(self, root, ffi.cast(floats_pointer, self.go.expand(self.base_future, root.path):get():data()))
  end
  if options.playouts then search_for_playouts(self, options.playouts)
  else search_for_time(self, options.seconds, options.early) end
  local best = self:best(root)
  return {
    move = best.move, winrate = best.wins / best.visits, visits = best.visits,
    playouts = self.done, seconds = lr.now() - started, score = self.score_sum / math.max(1, self.done),
  }
end

--- The most visited move of a node, as {move, visits, wins, index}.
function Tree:best(node) -- luacheck: no self
  local found = {move = 0, visits = 1, wins = 0.5, index = -1}
  for i = 0, node.count - 1 do
    local edge = node.edges[i]
    if edge.visits > found.visits or found.index < 0 then
      found = {move = edge.move, visits = edge.visits, wins = edge.wins, index = i}
    end
  end
  return found
end

--- The moves that search expects, from the root on.
function Tree:principal_variation(length)
  local node, moves = self.root, {}
  while node and node.edges and #moves < length do
    local best = self:best(node)
    moves[#moves + 1] = best.move
    node = node.children[best.index]
  end
  return moves
end

return Tree
