-- graph: random graphs of tasks, and a small tree search, written once: graph.make(lr) for a cluster, graph.make(serial,
-- ...) for the run that it must equal.
--
-- A graph is made from a number. Tasks get futures as arguments and inside tables, submit graphs of their own, return
-- tables that hold futures, tensors and long strings, fail, are cancelled or time out, wait in every way there is. Each
-- comes to one number (its digest); those of the first level are what is compared. Nothing depends on time or chance.

local graph = {}

local MOD = 1000003
local LONG = 600 -- seconds: what is cancelled or times out would take this long

-- The generator of Park and Miller: numbers that every run and every node agrees on.
local function generator(seed)
  local state = seed % 2147483646 + 1
  return function(low, high)
    state = state * 16807 % 2147483647
    return low + state % (high - low + 1)
  end
end

local function mix(v, w) return (v * 31 + w) % MOD end

-- A failure that no graph makes by itself is told: what it comes to is some other number, far away.
local EXPECTED = { error = true, timeout = true, cancelled = true }
local function look_at(e)
  if EXPECTED[e.code] then return end
  io.stderr:write(("graph: a task failed with %s: %s (in %s)\n"):format(tostring(e.code), tostring(e.message),
    tostring(e.function_name)))
end

-- Numbers, strings, tables, tensors ({ tensor = }) and futures; a future that failed counts as 7.
local function digest(v)
  local kind = type(v)
  if kind == "number" then return v % MOD end
  if kind == "boolean" then return v and 2 or 3 end
  if kind == "nil" then return 5 end
  if kind == "string" then
    local d = #v % MOD
    for i = 1, #v, math.max(1, math.floor(#v / 50)) do d = mix(d, v:byte(i)) end
    return d
  end
  if v.tensor then
    local n, d = v.tensor:size(1), 0
    for i = 1, n, math.max(1, math.floor(n / 50)) do d = mix(d, v.tensor:get(i)) end
    return d
  end
  if kind == "userdata" or v.pget then
    local ok, value = v:pget()
    if not ok then look_at(value) end
    return ok and mix(11, digest(value)) or 7
  end
  local keys, d = {}, 1
  for k in pairs(v) do keys[#keys + 1] = tostring(k) end
  table.sort(keys)
  for _, k in ipairs(keys) do d = mix(mix(d, #k), digest(v[tonumber(k) or k])) end
  return d
end

local function combine(kind, inputs, count)
  local d = kind
  for i = 1, count do d = mix(d, digest(inputs[i]) * i) end
  return d
end

-- A child of a cluster, by its command line: one that may crash without the job's end.
local function is_child()
  local f = io.open("/proc/self/cmdline")
  local words = f and f:read("*a") or ""
  if f then f:close() end
  return words:find("%znode%z") ~= nil
end

---Everything for one implementation of the interface.
---@param lr table the module luarun, or serial
---@param options? table real: tasks take time, and may crash; tensor: lr.tensor; retries; spread: node = "spread" is used;
---  kernels: what graph.kernels gives (without: the same in Lua); joff: tasks turn the compiler off where they run
function graph.make(lr, options)
  options = options or {}
  local real, tensor, spread = options.real, options.tensor or lr.tensor, options.spread

  local function remote(fn, more)
    more = more or {}
    more.retries = options.retries
    local body = fn
    if options.joff then
      fn = function(...)
        require("jit").off()
        return body(...)
      end
    end
    return lr.remote(fn, more)
  end

  local function busy(ms)
    if not real then return end
    local over = lr.now() + ms / 1000
    while lr.now() < over do end
  end

  -- ---- the tasks --------------------------------------------------------------------------------------------

  local leaf = remote(function(kind, ...)
    busy(kind % 4 * 0.5)
    return combine(kind, { ... }, select("#", ...))
  end)
  local by_table = remote(function(kind, box) busy(0.2) return mix(kind, digest(box)) end)
  local getting = remote(function(kind, list) return combine(kind, lr.get(list), #list) end)
  local catching = remote(function(kind, list)
    local d = kind
    for i = 1, #list do
      local ok, v = list[i]:pget()
      if not ok then look_at(v) end
      d = mix(d, ok and digest(v) or 13)
    end
    return d
  end)
  local waiting = remote(function(kind, list)
    local ready, pending = lr.wait(list, { count = math.min(1, #list) })
    assert(#ready + #pending == #list, "wait lost futures")
    lr.wait(pending)
    return combine(kind, list, #list)
  end)
  local completed = remote(function(kind, list)
    local d = kind
    for f in lr.as_completed(list) do d = (d + digest(f)) % MOD end
    return d
  end)
  local combined = remote(function(kind, list)
    local any = lr.any(list):pget()
    local ok, all = lr.all(list):pget()
    return mix(kind, (any and 2 or 1) + (ok and combine(kind, all, #list) or 17))
  end)
  local sorting = remote(function(kind, list) -- waits where Lua cannot yield
    local order, values = {}, {}
    for i = 1, #list do order[i] = i end
    table.sort(order, function(a, b)
      values[a], values[b] = digest(list[a]), digest(list[b])
      return a < b
    end)
    return combine(kind, values, #order > 1 and #order or 0)
  end)
  local text = remote(function(kind) return ("x" .. kind):rep(100 + kind * 300) end)
  local filled = remote(function(kind)
    busy(0.3)
    return { tensor = tensor("f64", { 100 + kind * 200 }):fill(kind) }
  end)
  -- Large ones lie in the object store, are lent, spilled and fetched.
  local large = remote(function(kind)
    busy(0.3)
    return { tensor = tensor("u8", { 40000 + kind * 4000 }):fill(kind) }
  end)
  local longer = remote(function(kind, v) return ("y" .. kind):rep(20000 + kind * 1000), v end, { returns = 2 })
  local made, summed
  if options.kernels then
    made = options.kernels.made:with { retries = options.retries }
    summed = options.kernels.summed:with { retries = options.retries }
  else
    made = remote(function(kind) return { 40000 + kind * 1000, kind } end)
    summed = remote(function(v) return v[1] * v[2] end)
  end
  local failing = remote(function(kind) busy(0.3) error({ kind = kind }) end)
  local second_try = remote(function(kind, fails) -- 3: always, for attempts that a node's loss ended count, too
    if fails == 3 or lr.task().attempt <= fails then error("again", 0) end
    return kind
  end, { retry_on_error = 2 })
  local sleeper = remote(function() lr.sleep(LONG) return 1 end)
  local sleepers = remote(function(count)
    local list = {}
    for i = 1, count do list[i] = sleeper() end
    for i = 1, count do list[i]:get() end
  end)
  local two = remote(function(kind, v) return digest(v), kind end, { returns = 2 })
  local holder = remote(function(kind, v) -- does not wait for what it returns
    busy(0.3)
    local inner = leaf(kind, v)
    return { a = inner, list = { leaf(inner, 1), text(kind % 5), { inner } } }
  end)
  local passing = remote(function(kind, v) return leaf(kind, v) end) -- a future as its result
  local calling = remote(function(kind, fn, other) busy(0.2) return mix(fn(kind), other(kind):get()) end)
  local even, odd
  even = remote(function(n) busy(0.1) if n <= 0 then return true end return (odd(n - 1):get()) end)
  odd = remote(function(n) if n <= 0 then return false end return (even(n - 1):get()) end)
  local crashing = remote(function(kind)
    if real and lr.task().attempt == 1 and is_child() then require("ffi").cast("int *", 8)[0] = 1 end
    return kind
  end)
  local fallible = { priority = { priority = 3 }, low = { priority = -2 }, timed = { timeout = LONG },
    due = { deadline = LONG }, half = { cpu = 0.5 }, none = { cpu = 0 }, named = { name = "named" } }
  local names = { "priority", "low", "timed", "due", "half", "none", "named" }
  if spread then
    fallible.spread = { node = "spread" }
    names[#names + 1] = "spread"
  end

  -- ---- the graph ----------------------------------------------------------------------------------------------

  local grow

  -- Each kind: (r, k, list, depth) -> a future, and the code that it must fail with where it does.
  local kinds = {
    function(_, k, list) return leaf(k, unpack(list)) end,
    function(_, k, list) return leaf(k, unpack(list)) end,
    function(_, k, list) return leaf(k, list[1], k, list[2]) end,
    function(r, k, _, depth) if depth > 0 then return grow(r(1, 1e6), depth - 1) end return leaf(k) end,
    function(r, k, list, depth) if depth > 0 then return grow(r(1, 1e6), depth - 1, list[1]) end return leaf(k) end,
    function(_, k, list) return by_table(k, { f = list[1], deep = { list, k } }) end,
    function(_, k, list) return getting(k, list) end,
    function(_, k, list) return catching(k, list) end,
    function(_, k, list) return waiting(k, list) end,
    function(_, k, list) return completed(k, list) end,
    function(_, k, list) return combined(k, list) end,
    function(_, k, list) return sorting(k, list) end,
    function(_, k) return text(k) end,
    function(_, k) return filled(k) end,
    function(_, k) return failing(k), "error" end,
    function(r, k) local fails = r(0, 3) return second_try(k, fails), fails == 3 and "error" or nil end,
    function(r) return sleeper:with { timeout = 0.001 * r(1, 20) }(), "timeout" end,
    function(r)
      local f = r(1, 2) == 1 and sleeper() or sleepers(r(1, 4))
      if r(1, 2) == 1 and real then lr.wait({ f }, { timeout = 0.001 }) end
      f:cancel()
      return f, "cancelled"
    end,
    function(r, k, list) local a, b = two(k, list[1]) return r(1, 2) == 1 and a or b end,
    function(_, k, list) return holder(k, list[1]) end,
    function(_, k, list) return passing(k, list[1]) end,
    function(r, k) local n = r(2, 9) return calling(k, function(x) return x * n end, leaf) end,
    function(_, k) return even(k % 8) end,
    function(_, k, list) return lr.put({ k, list }) end,
    function(_, k, list) return by_table(k, { large(k), list[1] }) end,
    function(_, k) return large(k) end,
    function(_, k, list) return (longer(k, list[1])) end,
    function(_, k) return leaf(k, summed(made(k))) end,
    function(r, k, list) return leaf:with(fallible[names[r(1, #names)]])(k, list[1], list[2]) end,
    function(r, k, list) return leaf:with(fallible[names[r(1, #names)]])(k, list[1]) end,
  }

  local function make_nodes(r, count, depth, given)
    local futures, codes = {}, {}
    for i = 1, count do
      local list = {}
      for n = 1, i > 1 and r(0, 3) or 0 do list[n] = futures[r(math.max(1, i - 8), i - 1)] end
      if given and i == 1 then list[1] = given end
      futures[i], codes[i] = kinds[r(1, #kinds)](r, r(1, 60), list, depth)
    end
    return futures, codes
  end

  -- What a future came to; the code of a failure only where it is the task's own.
  local function came_to(f, code)
    local ok, v = f:pget()
    if ok then return digest(v) end
    look_at(v)
    return code and v.code or 7, v
  end

  grow = remote(function(seed, depth, given)
    local r = generator(seed)
    local futures = make_nodes(r, r(2, 3 + 2 * depth), depth, given and lr.put(given))
    local way, d = r(1, 3), seed % MOD
    if way == 1 then lr.wait(futures) end
    if way == 2 then for _ in lr.as_completed(futures) do lr.yield() end end
    for i = 1, #futures do d = mix(d, came_to(futures[i])) end
    return d
  end)

  -- ---- the tree search: moves in a row of three or four by trees that grow apart and are added up ---------------

  local function winner(board, w)
    for at = 1, w * w do
      local c = board[at]
      local x = (at - 1) % w + 1
      if c ~= 0 and c ~= nil then
        for _, step in ipairs { { 1, 0 }, { 0, 1 }, { 1, 1 }, { -1, 1 } } do
          local far = x + 2 * step[1]
          local by = step[1] + step[2] * w
          if far >= 1 and far <= w and board[at + by] == c and board[at + 2 * by] == c then return c end
        end
      end
    end
    return nil
  end

  local function free_places(board)
    local list = {}
    for i = 1, #board do if board[i] == 0 then list[#list + 1] = i end end
    return list
  end

  local search = remote(function(board, w, who, seed, playouts)
    local r, tree = generator(seed), { n = 0, won = 0 }
    for _ = 1, playouts do
      local now, turn, node, path = { unpack(board) }, who, tree, { tree }
      local places = free_places(now)
      while #places > 0 and not winner(now, w) do
        local best, place
        for _, p in ipairs(places) do
          local child = node and node[p]
          local score = not child and 1e9 or child.won / child.n + math.sqrt(2 * math.log(node.n) / child.n)
          if node and (not best or score > best) then best, place = score, p end
        end
        place = node and place or places[r(1, #places)]
        if node then
          local was = node
          node = node[place]
          if not node and #path < 3 then node = { n = 0, won = 0, mover = turn } was[place] = node end
          path[#path + 1] = node
        end
        now[place], turn = turn, 3 - turn
        places = free_places(now)
      end
      local won = winner(now, w)
      for _, on in ipairs(path) do on.n, on.won = on.n + 1, on.won + (on.mover == won and 1 or 0) end
    end
    local visits = {}
    for p = 1, w * w do visits[p] = tree[p] and tree[p].n or 0 end
    return visits
  end)

  ---A game of tree searches, four trees a move: its moves as text.
  local function play(seed)
    local w = 4
    local board, who, moves = {}, 1, {}
    for i = 1, w * w do board[i] = 0 end
    while not winner(board, w) and #free_places(board) > 0 do
      local trees, best, place = {}, -1, nil
      for i = 1, 4 do trees[i] = search(board, w, who, seed * 100 + #moves * 4 + i, 40) end
      local sums = {}
      for i = 1, 4 do
        local visits = trees[i]:get()
        for p = 1, w * w do sums[p] = (sums[p] or 0) + visits[p] end
      end
      for p = 1, w * w do if board[p] == 0 and sums[p] > best then best, place = sums[p], p end end
      board[place], who = who, 3 - who
      moves[#moves + 1] = place
    end
    return table.concat(moves, " ")
  end

  ---The graph of a number: a list of what each task of the first level came to, and the errors of those that failed.
  local function run(seed, crash)
    local r = generator(seed)
    local futures, codes = make_nodes(r, r(10, 60), r(1, 3))
    if crash then futures[#futures + 1] = crashing(seed) end
    local out, errors = {}, {}
    for i = 1, #futures do out[i], errors[i] = came_to(futures[i], codes[i]) end
    return out, errors
  end

  ---Takes more than half of a store of so many bytes, holds it for a moment, and returns a number.
  local hog = remote(function(kind, bytes)
    local held = {}
    for i = 1, 8 do
      held[i] = tensor("u8", { math.floor(bytes / 12) }):fill(kind)
      busy(20)
    end
    local d = 0
    for i = 1, 8 do d = mix(d, held[i]:get(1) + held[i]:get(math.floor(bytes / 12))) end
    return d
  end)
  local function hogs(count, bytes)
    local list = {}
    for i = 1, count do list[i] = hog(i, bytes) end
    for i = 1, count do
      local d = 0
      for _ = 1, 8 do d = mix(d, 2 * i) end
      assert(list[i]:get() == d, "a tensor has changed")
    end
  end

  return { run = run, play = play, hogs = hogs }
end

-- Two that make and add up a large tensor, and one that crashes a cluster's child that comes first to a file.
local SOURCE = [[
#define _GNU_SOURCE
#include <luarun/kernel.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int made(lr_call *call)
{
    int64_t kind;
    lr_tensor out;
    if (lr_arg_integer(call, 1, &kind)) return LR_ERR;
    if (lr_return_tensor(call, LR_U8, 1, (int64_t[]){40000 + kind * 1000}, &out)) return LR_ERR;
    memset(out.data, (int)kind, (size_t)out.count);
    return LR_OK;
}

static int summed(lr_call *call)
{
    lr_tensor in;
    double sum = 0;
    if (lr_arg_tensor(call, 1, LR_U8, 1, &in)) return LR_ERR;
    for (int64_t i = 0; i < in.count; i++)
        sum += ((const uint8_t *)in.data)[i];
    return lr_return_number(call, sum);
}

static int crash_once(lr_call *call)
{
    char path[4096], line[4096];
    const char *text;
    size_t length;
    if (lr_arg_string(call, 1, &text, &length) || length >= sizeof path) return LR_ERR;
    memcpy(path, text, length);
    path[length] = 0;
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, line, sizeof line);
    close(fd);
    if (size < 6 || !memmem(line, (size_t)size, "\0node\0", 6)) return lr_return_number(call, 1);
    fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) *(volatile int *)8 = 1;
    return lr_return_number(call, 1);
}

LR_KERNELS({"made", made, "(kind: integer) -> u8[n]", "a large one", {0}},
           {"summed", summed, "(v: u8[n]) -> number", "its sum", {0}},
           {"crash_once", crash_once, "(path: string) -> number", "crashes a child the first time", {0}})
]]

function graph.kernels(lr) return lr.kernels { name = "graph", source = SOURCE } end

return graph
