--- Combinators made of tasks: lr.map, lr.all, lr.any.

local CHUNK_SECONDS = 0.0005 -- what lr.map aims at for one task of several items
local CHUNK_MAX = 1000

return function(lr, core)
  local is_future = core.is_future

  -- The bodies run in workers, whose `luarun` is their own.
  local all = lr.remote(function(list)
    return require("luarun").get(list)
  end, { name = "all" })

  local any = lr.remote(function(list)
    local first
    for f in require("luarun").as_completed(list) do
      local outcome = { n = 0 }
      local function keep(ok, ...)
        outcome = { n = select("#", ...), ... }
        return ok
      end
      if keep(f:pget()) then
        require("luarun.core").forgive(list) -- who asks for any does not ask why others failed
        return unpack(outcome, 1, outcome.n)
      end
      first = first or outcome[1]
    end
    error(first or "any: none of an empty list can succeed", 0)
  end, { name = "any" })

  --- A future of the list of all first values (with field `n`), which fails with the first of the list that fails.
  function lr.all(list)
    core.check_list(list)
    return all(list)
  end

  --- A future of the values of the first that succeeds; fails when all have failed.
  function lr.any(list)
    core.check_list(list)
    return any(list)
  end

  local run_chunk = lr.remote(function(fn, items, from, to)
    local lr_here = require "luarun"
    local now, here = lr_here.now, type(fn) == "userdata"
    local out, start = {}, now()
    for i = from, to do
      if here then out[i - from + 1] = (fn:here(items[i - from + 1]))
      else out[i - from + 1] = (fn(items[i - from + 1])) end
    end
    return out, now() - start
  end, { name = "map" })

  local function slice(list, from, to)
    local part = {}
    for i = from, to do part[i - from + 1] = list[i] end
    return part
  end

  local function check_whole(name, v)
    if v ~= nil and (type(v) ~= "number" or v < 1 or v % 1 ~= 0) then
      error(("map: %s: a whole number of at least 1 wanted, %s given"):format(name, tostring(v)), 3)
    end
  end

  --- The values of fn over the list, in order, with field `n`. Items are grouped into tasks of
  -- about half a millisecond, unless
  -- `chunk` says how many; at most `window` tasks are under way at once (default: as many as there are).
  ---@param fn function|userdata a function or a remote function
  function lr.map(fn, list, options)
    options = options or {}
    if type(fn) ~= "function" and not core.is_remote(fn) then
      error("map: a function or a remote function wanted, " .. type(fn) .. " given", 2)
    end
    if type(list) ~= "table" then error("map: a list wanted, " .. type(list) .. " given", 2) end
    if type(options) ~= "table" then error("map: a table of options wanted, " .. type(options) .. " given", 2) end
    for key in pairs(options) do
      if key ~= "chunk" and key ~= "window" then error("map: unknown option '" .. tostring(key) .. "'", 2) end
    end
    check_whole("chunk", options.chunk)
    check_whole("window", options.window)
    local n = list.n or #list
    local values = { n = n }
    local chunk, window = options.chunk or 1, options.window or math.huge
    local under_way, first, last, next_item = {}, 1, 0, 1
    local function collect()
      local entry = under_way[first]
      under_way[first] = nil
      first = first + 1
      local ok, out, seconds = entry.future:pget()
      if not ok then
        for i = first, last do under_way[i].future:cancel() end -- nobody else could get what they give
        error(out, 0)
      end
      for i = entry.from, entry.to do values[i] = out[i - entry.from + 1] end
      if not options.chunk and seconds then
        local each = seconds / (entry.to - entry.from + 1)
        chunk = math.max(1, math.min(CHUNK_MAX, math.floor(CHUNK_SECONDS / math.max(each, 1e-9))))
      end
    end
    -- the first few tell how long an item takes
    local probe = options.chunk and window or math.min(window, 4)
    while next_item <= n or first <= last do
      while next_item <= n and last - first + 1 < probe do
        local to = math.min(n, next_item + chunk - 1)
        last = last + 1
        under_way[last] = { from = next_item, to = to,
                            future = run_chunk(fn, slice(list, next_item, to), next_item, to) }
        next_item = to + 1
      end
      collect()
      probe = window
    end
    return values
  end

  lr.is_future = is_future
end
