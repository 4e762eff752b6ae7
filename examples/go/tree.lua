-- tree.lua - Monte-Carlo tree search with rapid action value estimation, its tree in Lua, its work in tasks.
--
-- Each descent of the tree ends at a leaf. One task takes a few leaves and plays a few games from each to the
-- end (go.playout): a task is then long beside what it costs to start one, and the tree still hears of every few
-- games. Leaves that are due for it are expanded by another task (go.expand). A window of tasks is always in
-- flight: descents count as lost until their result is there (virtual loss), so that the next descent looks
-- elsewhere.
--
-- With a time, results are taken as they come (lr.wait), and what is late is cancelled. With a
-- number of playouts, results are taken in the order of their submission, so that the tree is a function
-- of the seed alone, whatever the number of workers.
--
-- The script's thread shares the processors with the workers, so it must be cheap: nodes and their edges lie in two
-- FFI arrays (go/nodes.lua), where the garbage collector never looks and every loop compiles to plain arithmetic.
--
-- Gelly, Silver: Monte-Carlo tree search and rapid action value estimation in computer Go. Artificial
-- Intelligence 175, 2011: the value is (1-beta) Q + beta Q_rave with their minimum-mean-square-error schedule
-- (section 4.4), priors as virtual visits (section 6).
-- Chaslot, Winands, van den Herik: Parallel Monte-Carlo tree search. CG 2008: virtual loss (section 3.3).

local ffi = require "ffi"
local lr = require "luarun"
local board = require "go.board"
local Nodes = require "go.nodes"

local floats_type = ffi.typeof("float[?]")
local floats_pointer = ffi.typeof("const float *")
local words_type = ffi.typeof("uint16_t[?]")
local descent_type = ffi.typeof("struct { int32_t depth, leaf; int32_t nodes[512], edges[512]; }")

local RAVE_EQUIVALENCE = 3500 -- visits at which Q and Q_rave weigh alike
local EXPLORATION = 0.03      -- a move with v of a node's n visits is worth so much times sqrt(n) / v more
local EXPAND_AT = 2           -- descents to a leaf before it is expanded
local POLL_EVERY = 16         -- tasks between two looks at whether more search can change the move
local DEPTH_MAX = 500         -- moves of one path; a leaf there is not expanded

---@class Tree
local Tree = {}
Tree.__index = Tree

--- A tree over the kernels `go`. options: komi, batch (playouts from a leaf), leaves (in a task), window (tasks
--- in flight), seed or nil.
---@return Tree
function Tree.new(go, options)
  return setmetatable({
    go = go, komi = options.komi, batch = options.batch, leaves = options.leaves, window = options.window,
    seed = options.seed, counter = 0, spare = {},
    paths = words_type(options.leaves * (DEPTH_MAX + 1)), due_paths = words_type(options.leaves * (DEPTH_MAX + 1)),
  }, Tree)
end

local function set_base(self, pos)
  self.base_future = lr.put(pos)          -- with its history, for superko
  self.short = board.without_history(pos) -- enough for playouts
end

--- Starts anew at a position.
function Tree:reset(pos)
  self.points = board.points(pos) + 1
  self.rave = floats_type(4 * self.points)
  self.store = Nodes.new()
  self.root = self.store:add(board.to_move(pos), board.last(pos) == board.PASS and 1 or 0)
  set_base(self, pos)
end

--- Follows a move that was played and led to a position; false when the tree does not know it and must be reset.
function Tree:advance(move, pos)
  local child = self.store:child(self.root, move)
  if child == 0 or self.store:passes(child) >= 2 then return false end
  local old = self.store
  self.store, self.root = old:subtree(child), 1
  old:free()
  set_base(self, pos)
  return true
end

-- The edge of a node with the largest value. With w wins in v visits, r RAVE wins in u RAVE visits and
-- beta = u / (u + v + u v / E), the value (1 - beta) w / v + beta r / u is (w (1 + u / E) + r) / (u + v + u v / E).
-- `bonus` / v is added, or a good move whose RAVE is bad would never be tried (Rosin: Multi-armed bandits with episode
-- context. AMAI 61, 2011). Fractions whose denominators are positive, compared without a division.
local function select_edge(edges, first, count, bonus)
  local best, best_above, best_below = first, -1, 1
  for i = first, first + count - 1 do
    local edge = edges[i]
    local visits, rave_visits = edge.visits, edge.rave_visits
    local weight = 1 + rave_visits * (1 / RAVE_EQUIVALENCE)
    local below = visits * weight + rave_visits
    local above = (edge.wins * weight + edge.rave_wins) * visits + bonus * below
    below = below * visits
    if above * best_below > best_above * below then best, best_above, best_below = i, above, below end
  end
  return best
end

-- Walks from the root to a leaf, leaving a virtual loss of `playouts` on the way. Fills the descent, and writes the
-- path to `path` as go.c reads it among others: the number of moves, then the moves. Returns the end of what it wrote.
local function descend(self, descent, playouts, path, start)
  local store = self.store
  local nodes, edges = store.nodes, store.edges
  local id, depth = self.root, 0
  while nodes[id].count > 0 do
    local played = nodes[id].played + playouts
    nodes[id].played = played
    local i = select_edge(edges, nodes[id].first, nodes[id].count, EXPLORATION * math.sqrt(played))
    edges[i].visits = edges[i].visits + playouts
    descent.nodes[depth], descent.edges[depth] = id, i
    depth = depth + 1
    path[start + depth] = edges[i].move
    local child = edges[i].child
    if child == 0 then
      child = store:add(3 - nodes[id].colour, edges[i].move == 0 and nodes[id].passes + 1 or 0)
      nodes = store.nodes -- which has moved when it grew
      edges[i].child = child
    end
    id = child
  end
  path[start] = depth
  descent.depth, descent.leaf = depth, id
  nodes[id].visited = nodes[id].visited + 1
  return start + depth + 1
end

-- Takes the virtual losses of a ticket back.
local function retract(self, ticket)
  local nodes, edges = self.store.nodes, self.store.edges
  for i = 1, ticket.count do
    local descent = ticket[i]
    for depth = 0, descent.depth - 1 do
      local node, edge = nodes[descent.nodes[depth]], edges[descent.edges[depth]]
      node.played = node.played - ticket.playouts
      edge.visits = edge.visits - ticket.playouts
    end
  end
end

-- Adds one node's share of a leaf's games: its own colour's first moves, and the move chosen there.
local function update_node(nodes, edges, id, at, own, own_won, playouts)
  local chosen = edges[at]
  chosen.wins = chosen.wins + own_won[0]
  if chosen.move > 0 then own[chosen.move], own_won[chosen.move] = playouts, own_won[0] end
  local first = nodes[id].first
  for i = first + 1, first + nodes[id].count - 1 do -- the first is the pass, which is no first move of anybody
    local edge = edges[i]
    local move = edge.move
    edge.rave_visits = edge.rave_visits + own[move]
    edge.rave_wins = edge.rave_wins + own_won[move]
  end
end

-- Adds what the games from one leaf say to every node above it. amaf has four rows: black's visits and wins, white's
-- visits and wins, the wins of all games in the place of the pass; the moves of the path are added to it on the way
-- up, since they too were first.
local function update(self, descent, playouts, amaf)
  local points, rave = self.points, self.rave
  local nodes, edges = self.store.nodes, self.store.edges
  ffi.copy(rave, amaf, 16 * points)
  local black, white = rave + 0, rave + 2 * points
  for depth = descent.depth - 1, 0, -1 do
    local id, at = descent.nodes[depth], descent.edges[depth]
    local move = edges[at].move
    if nodes[id].colour == board.BLACK then
      update_node(nodes, edges, id, at, black, black + points, playouts)
      if move > 0 then white[move], white[move + points] = 0, 0 end
    else
      update_node(nodes, edges, id, at, white, white + points, playouts)
      if move > 0 then black[move], black[move + points] = 0, 0 end
    end
  end
end

-- The seed of the next task: nil leaves the randomness to the task's own stream.
local function next_seed(self)
  if not self.seed then return nil end
  self.counter = self.counter + 1
  return (self.seed % 2 ^ 31) * 2 ^ 22 + self.counter % 2 ^ 22
end

-- Whether a leaf is to be expanded now.
local function is_due(self, descent)
  local node = self.store.nodes[descent.leaf]
  return node.visited == EXPAND_AT and node.passes < 2 and descent.depth < DEPTH_MAX and not self.store:is_full()
end

-- Starts one task of up to `most` playouts, and before it one that expands those of its leaves that are due. Tells
-- both futures to `submitted(future, ticket)`, the ticket of an expansion being the list of its leaves. Returns
-- the number of playouts.
local function launch(self, most, submitted)
  local ticket = table.remove(self.spare) or {}
  local playouts = math.min(self.batch, most)
  local count = math.min(self.leaves, math.floor(most / playouts))
  local due, paths, used, due_used = nil, self.paths, 0, 0
  for i = 1, count do
    local descent, start = ticket[i] or descent_type(), used
    ticket[i] = descent
    used = descend(self, descent, playouts, paths, start)
    if is_due(self, descent) then
      due = due or {expands = true}
      due[#due + 1] = descent.leaf
      ffi.copy(self.due_paths + due_used, paths + start, 2 * (used - start))
      due_used = due_used + used - start
    end
  end
  ticket.count, ticket.playouts = count, playouts
  if due then submitted(self.go.expand(self.base_future, ffi.string(self.due_paths, 2 * due_used)), due) end
  submitted(self.go.playout(self.short, ffi.string(paths, 2 * used), self.komi, playouts, next_seed(self)), ticket)
  return count * playouts
end

-- Takes one task's result in.
local function consume(self, future, ticket)
  if ticket.expands then
    local priors = ffi.cast(floats_pointer, future:get():data())
    for i = 1, #ticket do self.store:expand(ticket[i], priors + (i - 1) * 2 * self.points, self.points) end
    return
  end
  local amaf, done, score = future:get()
  local rows = ffi.cast(floats_pointer, amaf:data())
  for i = 1, ticket.count do update(self, ticket[i], ticket.playouts, rows + (i - 1) * 4 * self.points) end
  self.score_sum = self.score_sum + score * done
  self.done = self.done + done
  self.spare[#self.spare + 1] = ticket
end

-- Whether the leading move stays ahead even if all the playouts still to come go to the second.
local function is_decided(self, remaining)
  local first, second = self.store:leaders(self.root)
  return first - second > remaining
end

-- Undoes what was in flight when the time was over.
local function drop(self, in_flight, tickets)
  lr.cancel(in_flight)
  for _, ticket in pairs(tickets) do
    if ticket.expands then
      for i = 1, #ticket do self.store.nodes[ticket[i]].visited = 0 end
    else
      retract(self, ticket)
    end
  end
end

local function search_for_time(self, seconds, early)
  local started = lr.now()
  local deadline, tickets, in_flight = started + seconds, {}, {}
  local take, taken = math.max(1, self.window - lr.resources().cpu - 1), 0 -- one task stays for each worker, and one
  local function submitted(future, ticket)
    in_flight[#in_flight + 1], tickets[future] = future, ticket
  end
  while true do
    while #in_flight < self.window do launch(self, self.batch * self.leaves, submitted) end
    local now = lr.now()
    if now >= deadline then break end
    local ready
    ready, in_flight = lr.wait(in_flight, {count = take, timeout = deadline - now})
    for i = 1, #ready do
      consume(self, ready[i], tickets[ready[i]])
      tickets[ready[i]] = nil
    end
    taken = taken + #ready
    if early and taken >= POLL_EVERY then
      taken = 0
      if is_decided(self, self.done / (now - started) * (deadline - now)) then break end
    end
  end
  drop(self, in_flight, tickets)
end

local function search_for_playouts(self, playouts)
  local queue, tickets, head, tail, started = {}, {}, 1, 0, 0
  local function submitted(future, ticket)
    tail = tail + 1
    queue[tail], tickets[tail] = future, ticket
  end
  while true do
    while started < playouts and tail - head + 1 < self.window do
      started = started + launch(self, playouts - started, submitted)
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
  local started, store = lr.now(), self.store
  if store.nodes[self.root].count == 0 then
    consume(self, self.go.expand(self.base_future), {expands = true, self.root})
  end
  if options.playouts then search_for_playouts(self, options.playouts)
  else search_for_time(self, options.seconds, options.early) end
  local best = store:best(self.root)
  return {
    move = best.move, winrate = best.wins / best.visits, visits = best.visits,
    playouts = self.done, seconds = lr.now() - started, score = self.score_sum / math.max(1, self.done),
  }
end

--- Gives the tree's memory back; it must be reset before it is used again.
function Tree:free()
  self.store:free()
  self.store = nil
end

--- The colour to move at the root.
function Tree:to_move() return self.store.nodes[self.root].colour end

--- The moves that the search expects, from the root on.
function Tree:principal_variation(length)
  local id, moves = self.root, {}
  while id ~= 0 and self.store.nodes[id].count > 0 and #moves < length do
    local best = self.store:best(id)
    moves[#moves + 1] = best.move
    id = best.child
  end
  return moves
end

return Tree
