-- scale.lua - docs/scale.md: what the code of sched does in clusters larger than there are machines for, by the simulator.
--
--   luajit tests/sim/scale.lua [--long] [--lines FILE] > docs/scale.md
--
-- --long adds 100 million tasks on 1,000 and on 10,000 nodes (eight minutes of one cpu, 6 GB); --lines: the simulator's lines
-- of runs that
-- were made before are taken from there. Figures are of virtual time, the same on any machine. Owns nothing.

local SIM = os.getenv("LR_SIM") or "build/release/sim/sim"
local PER_NODE, WORKERS, MEAN_MS = 3000, 4, 1.39
local LONG = 100e6

local function parse(line)
  local row = {}
  for name, value in line:gmatch("([%w_]+)=([%d%.]+)") do row[name] = tonumber(value) end
  return row.tasks_per_s and row
end

local known, long = {}, false
local function key(nodes, tasks) return ("%d nodes %d tasks"):format(nodes, tasks) end
local i = 1
while arg[i] do
  if arg[i] == "--long" then long = true end
  if arg[i] == "--lines" then
    i = i + 1
    for line in io.lines(arg[i]) do
      local row = parse(line)
      if row then known[key(row.nodes, row.tasks)] = row end
    end
  end
  i = i + 1
end

local function measure(nodes, tasks)
  local row = known[key(nodes, tasks)]
  if row then return row end
  local pipe = io.popen(("%s --nodes %d --tasks %d --workers %d"):format(SIM, nodes, tasks, WORKERS))
  row = assert(parse(pipe:read("*a")), "the simulator said nothing of " .. nodes .. " nodes")
  pipe:close()
  return row
end

local rows = {}
for _, nodes in ipairs { 10, 100, 1000, 10000 } do rows[#rows + 1] = measure(nodes, nodes * PER_NODE) end
local plain = #rows
if long then
  rows[#rows + 1] = measure(1000, LONG)
  rows[#rows + 1] = measure(10000, LONG)
end

-- What the agents of so many nodes ask of the control store, by the simulator's model of it, per second; up to 1,000 nodes.
local asked = {}
local function store(nodes)
  if nodes > 1000 then return end
  if not asked[nodes] then
    local pipe = io.popen(("%s --nodes %d --shards %d"):format(SIM, nodes, math.ceil(nodes / 100)))
    asked[nodes] = {}
    for name, value in pipe:read("*a"):gmatch("([%w_]+)=([%d%.]+)") do asked[nodes][name] = tonumber(value) end
    pipe:close()
  end
  return asked[nodes]
end

local function millions(n)
  if n >= 1e6 then return ("%.1f M"):format(n / 1e6) end
  return n >= 1e4 and ("%.0f k"):format(n / 1e3) or ("%.0f"):format(n)
end
local function bytes(n) return n >= 1e6 and ("%.1f MB"):format(n / 1e6) or ("%.0f KB"):format(n / 1e3) end

local function show(head, format)
  print("\n| " .. table.concat(head, " | ") .. " |")
  print("|" .. ("---|"):rep(#head))
  for _, r in ipairs(rows) do print("| " .. table.concat(format(r), " | ") .. " |") end
end

local function bars(title, value, unit)
  local most = 0
  for k = 1, plain do most = math.max(most, value(rows[k])) end
  print("\n" .. title .. "\n\n```")
  for k = 1, plain do
    local bar = ("#"):rep(math.floor(50 * value(rows[k]) / most + 0.5))
    print((("%6d nodes %-50s %.4g %s"):format(rows[k].nodes, bar, value(rows[k]), unit):gsub(" +$", "")))
  end
  print("```")
end

print(([[
# Scale, by simulation

Made by `luajit tests/sim/scale.lua --long > docs/scale.md`; do not edit. The real meshes, brokers and placement in virtual time
(`tests/sim`), each node with four workers, links of 5 to 3,000 µs, made when a node first needs them. The job is a tree: each
task works, starts eight others
and waits for them, until there are so many. Seven in ten work for 0.1 to 0.3 ms, a quarter for 1 to 3 ms, one in twenty for 5
to 25 ms: %.2f ms on average. It begins
on one node and spreads from there. Nothing fails. What the transport, values and workers cost is not in it: these are the
limits of the decisions.]]):format(MEAN_MS))

show({ "nodes", "tasks", "tasks a second", "of what all workers could", "delay p50", "p99", "sent to another node",
  "their delay p50", "p99" }, function(r)
  return { ("%d"):format(r.nodes), millions(r.tasks), millions(r.tasks_per_s), ("%.0f %%"):format(100 * r.busy),
    ("%.2f ms"):format(r.p50_ms),
    ("%.0f ms"):format(r.p99_ms), ("%.1f %%"):format(100 * r.sent_per_task), ("%.1f ms"):format(r.hop_p50_ms),
    ("%.0f ms"):format(r.hop_p99_ms) }
end)
print([[

The delay is from a task's start by its parent to its begin, wherever: a worker begins what it started last, so the older ones
of a tree wait for all below
their younger siblings, and that is what p99 shows. "Their delay" is of those that were sent: from leaving to begin.]])

show({ "nodes", "tasks", "messages a task", "bytes", "messages a second: busiest broker", "busiest other", "links of a node, mean",
  "most", "memory of a mesh, mean",
  "most (a broker)", "control store: operations a task", "a node and second", "the busiest shard" }, function(r)
  local s = store(r.nodes)
  return { ("%d"):format(r.nodes), millions(r.tasks), ("%.2f"):format(r.messages_per_task), ("%.0f"):format(r.bytes_per_task),
    millions(r.broker_messages_per_s), millions(r.node_messages_per_s), ("%.0f"):format(r.links), ("%d"):format(r.most_links),
    bytes(r.node_bytes),
    bytes(r.most_bytes), s and ("%.5f"):format(s.store_ops_per_s / r.tasks_per_s) or "-",
    s and ("%.1f"):format(s.store_ops_per_node_s) or "-", s and ("%.0f"):format(s.store_ops_per_shard_s) or "-" }
end)
print([[

"Links" and "memory" are the most that a node had during the run, "mean" over the nodes that are no brokers. Messages: but for
the greetings of links. No control store is on the way of a task; a node's
agent renews its lease and reads who is there (sched/lease, sched/roster), whether or not there is work; counted with one shard
for each 100 nodes
(`sim --nodes N --shards M`), and not at 10,000.]])

bars("Tasks a second for each node:", function(r) return r.tasks_per_s / r.nodes end, "a second")
bars("Messages a task:", function(r) return r.messages_per_task end, "")
bars("Links of a node that is no broker, at the most, mean:", function(r) return r.links end, "")
bars("Memory of its mesh:", function(r) return r.node_bytes / 1e6 end, "MB")
bars("Messages a second of the busiest broker:", function(r) return r.broker_messages_per_s end, "")

local small, thousand, large = rows[1], rows[3], rows[4]
print(([[

What bends first:

* **The brokers' own rate.** Three nodes hear of all that are idle and have too much: %s messages a second at 1,000 nodes, %s
  at 10,000. One process takes in about a million
  (`./dev bench cluster_rate`), so a job like this on 10,000 nodes is beyond them while it spreads; with longer tasks, which
  need fewer grants a second, it is not.
  More brokers do not mend it: who is idle tells them all, each promises it something, and with ten on 1,000 nodes (`--brokers
  10`) there are twice the messages, 1.8 times the links, and each broker
  still hears two thirds of what each of three does. Groups of nodes, each with a broker of its own that trades with the others, would.
* **Links.** A node has links to those that a broker once brought it together with: %.0f of %d, %.0f of %d. They stay. Who
  meets is chance, so in a job that spreads for hours a node
  comes to know most; a mesh takes about %.1f KB for each.
* **Asking for work is not what costs.** A broker asks each node once (HUNGRY), and again only after that has answered: %.0f %%
  of the messages at 1,000 nodes. To ask a few
  at random instead was not done: it could save no more than that.
* **Workers stay busy** to %.0f %% at 1,000 nodes and %.0f %% at 10,000, against %.0f %% at 10: the difference is the time that
  work needs to spread and to come together, which is longer in a larger tree.]]):format(
  millions(thousand.broker_messages_per_s), millions(large.broker_messages_per_s), thousand.links, thousand.nodes - 1, large.links,
  large.nodes - 1,
  large.node_bytes / large.links / 1e3, 100 * thousand.hungry_per_task / thousand.messages_per_task, 100 * thousand.busy,
  100 * large.busy, 100 * small.busy))
