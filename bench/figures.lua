-- figures.lua - what `./dev bench` measures, one row a figure. bench/harness.lua reads it and explains how it runs.
--
-- A row: id; what, for people; contenders, name = command; wants. A command is a program's short name (`programs` in
-- the harness), its workload and its arguments; {peak}, {all}, {kernel} are filled in from the calibration of the
-- run. `luarun` is ours and needs a contender; all others stand beside it. Those in `rounds` run in every round, the
-- rest once.
--
-- A want: name, ours = the key of our answer, or over = {contender, key} to divide it by (key: the same as ours unless
-- said; quotient: a function of both instead of a division); at_least or at_most; unit, for people. No bound: shown
-- and recorded only.
--
-- A command may begin with NAME=value of the environment, and luarun's with options of its own. A row with `absent`
-- (why) is not measured: it stands for what is wanted and is not there yet.

local SLOW_FLAT = "flat n=20000"

local function graph(pattern)
  return {
    id = "graph_" .. pattern, what = "Task Bench, " .. pattern .. ", width 8: METG(50 %)", seconds = "metg",
    contenders = {
      luarun = "luarun graph pattern=" .. pattern .. " peak={all}",
      openmp = "openmp graph pattern=" .. pattern .. " peak={all}",
    },
    rounds = {"luarun", "openmp"},
    wants = {
      {name = "over OpenMP's depend", ours = "metg", over = {"openmp"}, at_most = 1},
      {name = "METG", ours = "metg", at_most = 3e-6, unit = "us"},
    },
  }
end

-- Between node processes: nothing runs in the script's own process there, so that every task goes to the other one.
local CLIENT = "luarun --procs 2 --workers 0 "
-- The same as between hosts: nothing is mapped, so that what a killed process had is lost.
local FAR = "LUARUN_SHARE=0 LUARUN_RING=0 " .. CLIENT

return {
  {
    id = "nested", what = "fib(27), a task for every call", rate = "rate",
    contenders = {
      luarun = "luarun nested n=27", limit = "limit nested n=27", openmp = "openmp nested n=27",
      tbb = "tbb nested n=27", threadpool = "threadpool nested n=15", ray = "ray nested n=12",
      dask = "dask nested n=12",
    },
    rounds = {"luarun", "openmp"},
    wants = {{name = "over OpenMP", ours = "rate", over = {"openmp"}, at_least = 1}},
  },
  {
    id = "flat", what = "a million add(i, 1) from the script, got and summed", rate = "rate",
    contenders = {
      luarun = "luarun flat n=1000000", limit = "limit flat n=1000000", openmp = "openmp flat n=1000000",
      tbb = "tbb flat n=1000000", pool = "pool " .. SLOW_FLAT, processpool = "processpool " .. SLOW_FLAT,
      threadpool = "threadpool " .. SLOW_FLAT, ray = "ray " .. SLOW_FLAT, dask = "dask flat n=5000",
      spark = "spark flat n=1000",
    },
    rounds = {"luarun", "tbb"},
    wants = {{name = "over oneTBB's empty tasks", ours = "rate", over = {"tbb"}, at_least = 0.35}},
  },
  {
    id = "roundtrip", what = "one add(1, 2) from the script and its value", seconds = "p50",
    contenders = {
      luarun = "luarun roundtrip n=100000", limit = "limit roundtrip n=100000", openmp = "openmp roundtrip n=100000",
      tbb = "tbb roundtrip n=100000", pool = "pool roundtrip n=2000", processpool = "processpool roundtrip n=2000",
      threadpool = "threadpool roundtrip n=2000", ray = "ray roundtrip n=500", dask = "dask roundtrip n=500",
      spark = "spark roundtrip n=30",
    },
    rounds = {"luarun"},
    wants = {
      {name = "p50", ours = "p50", at_most = 1e-6, unit = "us"},
      {name = "p99", ours = "p99", at_most = 15e-6, unit = "us"},
    },
  },
  {
    id = "handoff", what = "one task that must run on another, sleeping thread", seconds = "p50",
    contenders = {
      luarun = "luarun handoff n=2000 pause=0.001", threads = "threads futex n=2000 pause=0.001 apart=1",
      together = "threads futex n=2000 pause=0.001",
    },
    rounds = {"luarun", "threads", "together"},
    wants = {
      {name = "p50 over a futex's, two processors", ours = "p50", over = {"threads"}, at_most = 2},
      {name = "p50 over a futex's, as Linux places them", ours = "p50", over = {"together"}, at_most = 2},
    },
  },
  {
    id = "completed", what = "as_completed over 10,000 futures, each", seconds = "each",
    contenders = {luarun = "luarun completed n=10000"},
    rounds = {"luarun"},
    wants = {{name = "each", ours = "each", at_most = 1e-6, unit = "us"}},
  },
  {
    id = "waits", what = "wait for one of 10,000 until none is left, each", seconds = "each",
    contenders = {luarun = "luarun waits n=10000"},
    rounds = {"luarun"},
    wants = {
      {name = "each", ours = "each", at_most = 5e-6, unit = "us"},
      {name = "a wait that finds one of 10,000", ours = "found", unit = "us"},
    },
  },
  {
    id = "timeouts", what = "lateness of get, wait, sleep for 1 to 100 ms", seconds = "p50",
    contenders = {luarun = "luarun timeouts n=150"},
    rounds = {"luarun"},
    wants = {
      {name = "p50", ours = "p50", at_most = 0.3e-3, unit = "us"},
      {name = "p99", ours = "p99", at_most = 1e-3, unit = "us"},
    },
  },
  {
    id = "kernel", what = "empty C kernels with a tensor, from the script", rate = "rate",
    contenders = {luarun = "luarun kernel n=100000"},
    rounds = {"luarun"},
    wants = {{name = "over empty Lua tasks", ours = "quotient", at_least = 0.8}},
  },
  {
    id = "objects", what = "put of 100 MB into memory used before", seconds = "put",
    contenders = {luarun = "luarun objects bytes=100000000", ray = "ray put bytes=100000000"},
    rounds = {"luarun"},
    wants = {
      {name = "put over memcpy", ours = "quotient", at_least = 0.7},
      {name = "get", ours = "get", at_most = 5e-6, unit = "us"},
      {name = "copies in ten tasks", ours = "copied", at_most = 0},
    },
  },
  {
    id = "codec_small", what = "{1, 2, {x = 3}} encoded and decoded", seconds = "codec",
    contenders = {luarun = "luarun codec value=small"},
    rounds = {"luarun"},
    wants = {{name = "over string.buffer", ours = "quotient", at_most = 1.5}},
  },
  {
    id = "codec_doubles", what = "a table of 1,000 doubles encoded and decoded", seconds = "codec",
    contenders = {luarun = "luarun codec value=doubles"},
    rounds = {"luarun"},
    wants = {{name = "over string.buffer", ours = "quotient", at_most = 1.5}},
  },
  {
    id = "memory", what = "a pending task with its future held, of a million",
    contenders = {luarun = "luarun pending n=1000000"},
    rounds = {"luarun"},
    wants = {{name = "bytes", ours = "bytes", at_most = 400, unit = "B", exact = true}},
  },
  {
    id = "pending", what = "ten million pending tasks, each, to the last value", seconds = "each",
    contenders = {luarun = "luarun pending n=10000000", few = "luarun pending n=100000"},
    rounds = {"luarun", "few"}, most_rounds = 3,
    wants = {{name = "over that of 100,000", ours = "each", over = {"few"}, at_most = 1.5}},
  },
  graph "trivial", graph "stencil", graph "fft", graph "tree", graph "random",
  {
    id = "kernels", what = "1,000 C kernels of 7 ms", rate = "rate",
    contenders = {
      luarun = "luarun kernels n=1000 iterations={kernel}", threads = "threads kernels n=1000 iterations={kernel}",
      openmp = "openmp kernels n=1000 iterations={kernel}", tbb = "tbb kernels n=1000 iterations={kernel}",
      pool = "pool kernels n=1000 ms=7", processpool = "processpool kernels n=1000 ms=7",
      ray = "ray kernels n=1000 ms=7", dask = "dask kernels n=1000 ms=7", spark = "spark kernels n=1000 ms=7",
    },
    rounds = {"luarun", "threads"}, most_rounds = 5,
    wants = {{name = "over two plain threads", ours = "rate", over = {"threads"}, at_least = 0.98}},
  },
  {
    id = "start", what = "luarun -e ''", seconds = "luarun",
    contenders = {luarun = "luarun start luarun={luarun}"},
    rounds = {"luarun"},
    wants = {
      {name = "over twice luajit's and 5 ms", ours = "bound", at_most = 1},
      {name = "resident", ours = "resident", at_most = 15e6, unit = "MB", exact = true},
    },
  },
  {
    id = "cluster_empty", what = "an empty task in another node process, 1 ms between two", seconds = "p50",
    contenders = {
      luarun = CLIENT .. "elsewhere n=2000 pause=0.001", threads = "threads futex n=2000 pause=0.001 apart=1",
    },
    rounds = {"luarun", "threads"},
    wants = {
      {name = "p50", ours = "p50", at_most = 50e-6, unit = "us"},
      {name = "p99", ours = "p99", unit = "us"},
      {name = "p50 over a futex's, two processors", ours = "p50", over = {"threads"}},
    },
  },
  {
    id = "cluster_pingpong", what = "an empty task in another node process, one after the other", seconds = "p50",
    contenders = {
      luarun = CLIENT .. "elsewhere n=20000", threads = "threads futex n=20000 apart=1",
    },
    rounds = {"luarun", "threads"},
    wants = {
      {name = "p50", ours = "p50", at_most = 50e-6, unit = "us"},
      {name = "p99", ours = "p99", unit = "us"},
      {name = "p50 over a futex's, two processors", ours = "p50", over = {"threads"}},
    },
  },
  {
    id = "cluster_tcp", what = "the same over nng's tcp, as on another host", seconds = "p50",
    contenders = {
      luarun = "LUARUN_RING=0 " .. CLIENT .. "elsewhere n=5000", nng = "nng roundtrip n=5000",
    },
    rounds = {"luarun", "nng"},
    wants = {
      {
        name = "over 1.5 of nng's and 50 us", ours = "p50", over = {"nng"}, at_most = 1,
        quotient = function(ours, theirs) return ours / (1.5 * theirs + 50e-6) end,
      },
      {name = "p50", ours = "p50", unit = "us"},
    },
  },
  {
    id = "cluster_rate", what = "small tasks with 100 bytes, to another node process and back", rate = "rate",
    contenders = {luarun = CLIENT .. "spill n=100000", alone = "luarun --workers 1 spill n=100000"},
    rounds = {"luarun", "alone"},
    wants = {
      {name = "a second", ours = "rate", at_least = 300000, unit = "k"},
      {name = "over one process with one worker", ours = "rate", over = {"alone"}},
    },
  },
  {
    id = "cluster_kernels", what = "1,000 C kernels of 7 ms on four node processes of one worker", rate = "rate",
    contenders = {
      luarun = "luarun --procs 4 --workers 1 kernels n=1000 iterations={kernel}",
      alone = "luarun --workers 4 kernels n=1000 iterations={kernel}",
    },
    rounds = {"luarun", "alone"}, most_rounds = 5,
    wants = {{name = "over one process of four workers", ours = "rate", over = {"alone"}, at_least = 0.97}},
  },
  {
    id = "cluster_local", what = "a million add(i, 1) at home, beside an idle node process", rate = "rate",
    contenders = {
      luarun = "luarun --procs 2 --workers 1 flat n=1000000", alone = "luarun --workers 1 flat n=1000000",
    },
    rounds = {"luarun", "alone"},
    wants = {{name = "over one process alone", ours = "rate", over = {"alone"}, at_least = 0.95}},
  },
  {
    id = "cluster_nested", what = "fib(25) at home, beside an idle node process", rate = "rate",
    contenders = {
      luarun = "luarun --procs 2 --workers 1 nested n=25", alone = "luarun --workers 1 nested n=25",
    },
    rounds = {"luarun", "alone"},
    wants = {{name = "over one process alone", ours = "rate", over = {"alone"}, at_least = 0.95}},
  },
  {
    id = "cluster_mcts", what = "playouts of examples/mcts.lua, two processes of one worker", rate = "rate",
    contenders = {
      luarun = "luarun mcts luarun={luarun} procs=2 each=1", alone = "luarun mcts luarun={luarun} procs=1 each=2",
    },
    rounds = {"luarun", "alone"},
    wants = {{name = "over one process of two workers", ours = "rate", over = {"alone"}, at_least = 0.9}},
  },
  {
    id = "cluster_redis", what = "Redis commands for a task that goes elsewhere, mean of 2,000",
    contenders = {luarun = "luarun up luarun={luarun} what=redis"}, rounds = {"luarun"}, most_rounds = 3,
    wants = {{name = "commands", ours = "commands", at_most = 2}},
  },
  {
    id = "cluster_objects", what = "1 GB of objects to another process in chunks over tcp, as to another host",
    rate = "rate",
    contenders = {
      luarun = "LUARUN_SHARE=0 LUARUN_RING=0 " .. CLIENT .. "moved bytes=100000000 count=10 turns=3",
      nng = "nng messages bytes=1048576 total=4000000000",
    },
    rounds = {"luarun", "nng"},
    wants = {{name = "over nng with 1 MB messages", ours = "rate", over = {"nng"}, at_least = 0.8}},
  },
  {
    id = "cluster_tensor", what = "100 MB made in one node process, read in another", seconds = "there",
    contenders = {luarun = CLIENT .. "moved bytes=100000000 count=1"},
    rounds = {"luarun"},
    wants = {
      {name = "read", ours = "there", at_most = 1e-3, unit = "ms"},
      {name = "copied", ours = "copied", at_most = 10e6, unit = "MB"},
    },
  },
  {
    id = "cluster_up", what = "luarun up --nodes 4, until all are registered", seconds = "p50",
    contenders = {luarun = "luarun up luarun={luarun} what=up nodes=4"}, rounds = {"luarun"}, most_rounds = 3,
    wants = {{name = "p50", ours = "p50", at_most = 2, unit = "ms"}},
  },
  {
    id = "cluster_join", what = "a node joins a cluster", seconds = "p50",
    contenders = {luarun = "luarun up luarun={luarun} what=join"}, rounds = {"luarun"}, most_rounds = 3,
    wants = {{name = "p50", ours = "p50", at_most = 0.3, unit = "ms"}},
  },
  {
    id = "cluster_console", what = "console: from a key to its echo, all processors busy", seconds = "p99",
    contenders = {luarun = "luarun console luarun={luarun} keys=400"}, rounds = {"luarun"}, most_rounds = 3,
    wants = {
      {name = "p99, ms", ours = "p99", at_most = 50},
      {name = "p99 over p50 of an idle one, ms", ours = "over_idle"},
    },
  },
  {
    id = "recovery_kill", what = "a node process of four is killed: until the first of its tasks has begun elsewhere",
    seconds = "p50", contenders = {luarun = "luarun --procs 5 --workers 0 kills n=40"}, rounds = {"luarun"},
    most_rounds = 2,
    wants = {
      {name = "p95", ours = "p95", at_most = 0.1, unit = "ms"},
      {name = "p50", ours = "p50", unit = "ms"},
      {name = "longest", ours = "max", unit = "ms"},
      {name = "the last of them, p95", ours = "last_p95", unit = "ms"},
    },
  },
  {
    id = "recovery_kill_busy", what = "the same while all four compute", seconds = "p50",
    contenders = {luarun = "luarun --procs 5 --workers 0 kills n=40 spin=1"}, rounds = {"luarun"}, most_rounds = 2,
    wants = {
      {name = "p95", ours = "p95", at_most = 0.1, unit = "ms"},
      {name = "p50", ours = "p50", unit = "ms"},
      {name = "longest", ours = "max", unit = "ms"},
      {name = "the last of them, p95", ours = "last_p95", unit = "ms"},
    },
  },
  {
    id = "recovery_host", what = "a host's link is cut: until the first of its tasks has begun elsewhere",
    seconds = "p50", contenders = {luarun = "luarun vanish luarun={luarun} n=5"}, rounds = {"luarun"}, most_rounds = 2,
    wants = {
      {name = "longest of 5", ours = "max", at_most = 3.5, unit = "ms"},
      {name = "p50", ours = "p50", unit = "ms"},
    },
  },
  {
    id = "recovery_dip", what = "tasks of 2 ms while one of four nodes dies and returns", rate = "rate",
    contenders = {luarun = "luarun dip luarun={luarun}"}, rounds = {"luarun"}, most_rounds = 3,
    wants = {
      {name = "worst second over undisturbed", ours = "worst", at_least = 0.6, exact = true},
      {name = "whole again after its return", ours = "full", at_most = 2, unit = "ms", exact = true},
    },
  },
  {
    id = "recovery_cost", what = "small tasks to another process, over the same with LUARUN_RECOVERY=0", rate = "rate",
    contenders = {
      luarun = CLIENT .. "spill n=200000", without = "LUARUN_RECOVERY=0 " .. CLIENT .. "spill n=200000",
    },
    rounds = {"luarun", "without"},
    wants = {{name = "over not recoverable", ours = "rate", over = {"without"}, at_least = 0.9}},
  },
  {
    id = "recovery_chain", what = "a chain of 1,000 objects whose node is killed, to the last one's value",
    seconds = "seconds", contenders = {luarun = FAR .. "chain", last = FAR .. "chain hold=0"},
    rounds = {"luarun", "last"}, most_rounds = 3,
    wants = {
      {name = "runs of a task, before and after", ours = "most", at_most = 2, exact = true},
      {name = "tasks that ran again", ours = "again", at_least = 1000, exact = true},
      {name = "seconds", ours = "seconds"},
    },
  },
  {
    id = "recovery_redis", what = "Redis is killed under load and back after 3 s, with its file", seconds = "first",
    contenders = {luarun = "luarun restart luarun={luarun}"}, rounds = {"luarun"}, most_rounds = 3,
    wants = {
      {name = "longest pause of the running job", ours = "gap", at_most = 1, unit = "ms", exact = true},
      {name = "until a new job has a value", ours = "first", at_most = 1, unit = "ms"},
    },
  },
  {
    id = "recovery_redis_empty", what = "the same, and it has lost everything", seconds = "first",
    contenders = {luarun = "luarun restart luarun={luarun} empty=1"}, rounds = {"luarun"}, most_rounds = 3,
    wants = {
      {name = "longest pause of the running job", ours = "gap", at_most = 1, unit = "ms", exact = true},
      {name = "until a new job has a value", ours = "first", at_most = 1, unit = "ms"},
      {name = "until all rows are there again", ours = "together", at_most = 1, unit = "ms"},
    },
  },
}
