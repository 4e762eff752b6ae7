-- scale.lua - docs/scale.md: what the code of sched does in clusters larger than there are machines for, by the simulator.
--
-- luajit tests/sim/scale.lua [NODES...] > docs/scale.md. Owns nothing; the figures are of virtual time, the same on any machine.

local SIM = os.getenv("LR_SIM") or "build/release/sim/sim"
local PER_NODE = 300

local function measure(nodes)
  local pipe = assert(io.popen(("%s --nodes %d --tasks %d --workers 4"):format(SIM, nodes, nodes * PER_NODE)))
  local row = {}
  for name, value in pipe:read("*a"):gmatch("([%w_]+)=([%d%.]+)") do row[name] = tonumber(value) end
  pipe:close()
  assert(row.tasks_per_s, "the simulator said nothing of " .. nodes .. " nodes")
  return row
end

local function bars(rows, title, value, unit)
  local most = 0
  for _, row in ipairs(rows) do most = math.max(most, value(row)) end
  print("\n" .. title .. "\n\n```")
  for _, row in ipairs(rows) do
    local bar = ("#"):rep(math.floor(50 * value(row) / most + 0.5))
    print((("%6d nodes %-50s %.4g %s"):format(row.nodes, bar, value(row), unit):gsub(" +$", "")))
  end
  print("```")
end

local counts = #arg > 0 and arg or { 10, 30, 100, 300, 1000 }
local rows = {}
for i, nodes in ipairs(counts) do rows[i] = measure(tonumber(nodes)) end

print([[
# Scale, by simulation

Made by `luajit tests/sim/scale.lua > docs/scale.md`; do not edit. The real meshes, brokers and placement in virtual time
(`tests/sim`), each node with four workers, links of 5 to 3,000 µs, 300 tasks a node of 0.2 to 2.2 ms. The script starts
64 tasks, which start the others: so work spreads from few nodes to all. Nothing fails. What the transport, values and
workers cost is not in it: these are the limits of the decisions.

| nodes | tasks a second | of what all workers could | delay p50 | p99 | messages a task | bytes a task | memory of a mesh, most |
|---|---|---|---|---|---|---|---|]])
for _, r in ipairs(rows) do
  print(("| %d | %d | %.0f %% | %.2f ms | %.1f ms | %.2f | %d | %.0f KB |"):format(r.nodes, r.tasks_per_s, 100 * r.busy, r.p50_ms,
    r.p99_ms, r.messages_per_task, r.bytes_per_task, r.peak_bytes_per_node / 1000))
end
bars(rows, "Tasks a second for each node:", function(r) return r.tasks_per_s / r.nodes end, "a second")
bars(rows, "Messages a task (without the greetings of all to all):", function(r) return r.messages_per_task end, "")
bars(rows, "Memory of the largest mesh:", function(r) return r.peak_bytes_per_node / 1e6 end, "MB")
print([[

What bends first:

* **Memory and connections: each node knows each other.** A mesh holds a record for every peer, whether they ever
  exchange anything, and once they do a map for each kind of crossing: 2 KB a peer for the busiest, so 2 MB with 1,000
  nodes, and 1,000 connections each. With 10,000 nodes it would be 20 MB a node and 50 million connections in all; that
  was not run. Connecting when a grant first names a node would make both grow with what is exchanged.
* **The brokers talk to all.** Who has nothing to do says so to each of the three, and each asks every node for work when
  it has somebody idle: a round of messages as long as the cluster is large, for a burst as for a trickle. So messages a
  task grow, about as the logarithm of the nodes here.
* **The delay's tail is the workload's**: a task waits behind its siblings on the node that started them until the next
  grant. It falls with more nodes, for there are more that are idle.

There is no control store on the way of a task, so none is counted: a job's nodes use it when they come and go.]])
