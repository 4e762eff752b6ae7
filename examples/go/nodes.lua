-- nodes.lua - where the search tree lies: nodes and their edges in two arrays that grow, named by numbers from 1.
-- It knows nothing of tasks, and of Go only that moves have numbers and colours take turns.
--
-- An edge is a move at a node: visits and wins (with priors and virtual losses) and the same as all-moves-as-first
-- counts; `child` is 0 until somebody goes there. A node without edges is a leaf; `visited` counts descents that
-- ended at it, `played` playouts that passed it. Whoever keeps one of the arrays in a local must read it anew after
-- add and expand: a grown array is another array. The arrays come from the C library, which grows large ones without
-- touching them: ffi.new would fill them and copy.

local ffi = require "ffi"

ffi.cdef[[
void *go_nodes_realloc(void *, size_t) __asm__("realloc");
void go_nodes_free(void *) __asm__("free");
]]

local node_type = ffi.typeof("struct { int32_t first, count, visited, played; uint8_t colour, passes; }")
local edge_type = ffi.typeof("struct { float visits, wins, rave_visits, rave_wins; int32_t move, child; }")
local node_bytes, edge_bytes = ffi.sizeof(node_type), ffi.sizeof(edge_type)
local nodes_pointer, edges_pointer = ffi.typeof("$ *", node_type), ffi.typeof("$ *", edge_type)

local EDGES_MAX = 2 ^ 24 -- 384 MiB; a tree of that size gets no new edges

---@class Nodes
local Nodes = {}
Nodes.__index = Nodes

-- An array with room for so many bytes, with what `old` holds (nil: nothing); old is no more.
local function grown(pointer, old, bytes)
  if old then ffi.gc(old, nil) end
  local new = ffi.C.go_nodes_realloc(old, bytes)
  if new == nil then
    if old then ffi.gc(old, ffi.C.go_nodes_free) end
    error(("the search tree: no memory for an array of %d MiB"):format(bytes / 2 ^ 20), 0)
  end
  return ffi.gc(ffi.cast(pointer, new), ffi.C.go_nodes_free)
end

---@return Nodes
function Nodes.new()
  return setmetatable({
    node_count = 1, node_capacity = 1024, nodes = grown(nodes_pointer, nil, 1024 * node_bytes), -- number 0 is nobody
    edge_count = 0, edge_capacity = 16384, edges = grown(edges_pointer, nil, 16384 * edge_bytes),
  }, Nodes)
end

--- Gives the memory back; otherwise the collector does so, who does not know how much it is.
-- Nothing may be asked after.
function Nodes:free()
  ffi.C.go_nodes_free(ffi.gc(self.nodes, nil))
  ffi.C.go_nodes_free(ffi.gc(self.edges, nil))
  self.nodes, self.edges = nil, nil
end

--- A new leaf; its number.
function Nodes:add(colour, passes)
  local id = self.node_count
  if id == self.node_capacity then
    self.node_capacity = 2 * id
    self.nodes = grown(nodes_pointer, self.nodes, self.node_capacity * node_bytes)
  end
  local node = self.nodes[id]
  node.first, node.count, node.visited, node.played, node.colour, node.passes = 0, 0, 0, 0, colour, passes
  self.node_count = id + 1
  return id
end

-- Room for more edges; the number of the first.
local function reserve(self, count)
  local first = self.edge_count
  self.edge_count = first + count
  if self.edge_count > self.edge_capacity then
    self.edge_capacity = math.max(2 * self.edge_capacity, self.edge_count)
    self.edges = grown(edges_pointer, self.edges, self.edge_capacity * edge_bytes)
  end
  return first
end

--- Whether no more nodes should be expanded.
function Nodes:is_full() return self.edge_count >= EDGES_MAX end

--- Gives a leaf its moves, with the priors of go.expand: visits in row 1 (-1: not playable), wins in row 2.
--- A node that has them already keeps them.
function Nodes:expand(id, priors, points)
  if self.nodes[id].count > 0 then return end
  local count = 0
  for move = 0, points - 1 do
    if priors[move] >= 0 then count = count + 1 end
  end
  local at = reserve(self, count)
  self.nodes[id].first, self.nodes[id].count = at, count
  local edges = self.edges
  for move = 0, points - 1 do
    if priors[move] >= 0 then
      local edge = edges[at]
      edge.visits, edge.wins, edge.rave_visits, edge.rave_wins = priors[move], priors[points + move], 0, 0
      edge.move, edge.child = move, 0
      at = at + 1
    end
  end
end

--- The child that a move leads to, 0 when nobody went there.
function Nodes:child(id, move)
  local first = self.nodes[id].first
  for i = first, first + self.nodes[id].count - 1 do
    if self.edges[i].move == move then return self.edges[i].child end
  end
  return 0
end

--- How many passes in a row led to a node.
function Nodes:passes(id) return self.nodes[id].passes end

--- A copy of what is below a node, which is number 1 there.
---@return Nodes
function Nodes:subtree(id)
  local copy, sources = Nodes.new(), {id}
  copy:add(self.nodes[id].colour, self.nodes[id].passes)
  local at = 1
  while sources[at] do -- breadth first; a child's number in the copy is its place in sources
    local from = self.nodes[sources[at]]
    local first = reserve(copy, from.count)
    ffi.copy(copy.edges + first, self.edges + from.first, from.count * edge_bytes)
    local to = copy.nodes[at]
    to.first, to.count, to.visited, to.played = first, from.count, from.visited, from.played
    for i = first, first + from.count - 1 do
      local child = copy.edges[i].child
      if child ~= 0 then
        sources[#sources + 1] = child
        copy.edges[i].child = copy:add(self.nodes[child].colour, self.nodes[child].passes)
      end
    end
    at = at + 1
  end
  return copy
end

--- The visits of the two most visited edges of a node.
function Nodes:leaders(id)
  local first, second, at = 0, 0, self.nodes[id].first
  for i = at, at + self.nodes[id].count - 1 do
    local visits = self.edges[i].visits
    if visits > first then first, second = visits, first
    elseif visits > second then second = visits end
  end
  return first, second
end

--- The most visited move of a node, as {move, visits, wins, child}; a pass when there are none.
function Nodes:best(id)
  local at, best = self.nodes[id].first, nil
  for i = at, at + self.nodes[id].count - 1 do
    if not best or self.edges[i].visits > self.edges[best].visits then best = i end
  end
  if not best then return {move = 0, visits = 1, wins = 0.5, child = 0} end
  local edge = self.edges[best]
  return {move = edge.move, visits = edge.visits, wins = edge.wins, child = edge.child}
end

return Nodes
