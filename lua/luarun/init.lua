--- luarun: what `require "luarun"` gives. The public table; the rest is in luarun.core (C) and beside this file.
--
-- Times are seconds, indices 1-based, sizes bytes. Mistakes of the caller are raised at the caller's line.
-- In a task, what has to wait yields to the worker and is resumed with its outcome: `finish` and `check` turn an
-- outcome into values or an error. In the script the C functions wait themselves and raise themselves.

local core = require "luarun.core"
local errors = require "luarun.errors"
local combine = require "luarun.combine"
local short = require "luarun.short"
local table_new = require "table.new"

---@class luarun
local lr = {}

local Future = core.future_methods
local Remote = core.remote_methods

local check = core.check

-- Passes values on; raises what stands behind the error mark. In Lua, so that compiled code keeps it inline.
local error_mark = core.error_mark
local function finish(...)
  if (...) == error_mark then error(select(2, ...), 0) end
  return ...
end

-- In the script nothing yields, so that the wrappers are not needed.
local short_value = short.value
local core_get = core.get
local get = function(f, timeout)
  local value = timeout == nil and short_value(f)
  if value then return value end
  return core_get(f, timeout)
end
local await, sleep, yield = core.await, core.sleep, core.yield
local collector_wait = core.collector_wait
if not core.is_script then
  local core_await, core_sleep, core_yield, core_wait = core.await, core.sleep, core.yield, core.collector_wait
  local get_one = core.get_one
  get = function(f, timeout)
    local value = timeout == nil and short_value(f)
    if value then return value end
    value = get_one(f, timeout)
    if value ~= error_mark then return value end
    return finish(core_get(f, timeout))
  end
  await = function(list, count, timeout) return check(core_await(list, count, timeout)) end
  sleep = function(seconds) return check(core_sleep(seconds)) end
  yield = function() return check(core_yield()) end
  collector_wait = function(c, timeout) return check(core_wait(c, timeout)) end
end

-- ---- futures --------------------------------------------------------------------------------------------------

--- The task's values (all it returned, nils kept). Raises the task's error; raises code `timeout`
-- after `timeout` seconds.
Future.get = get

--- As pcall: true and the values, or false and the error.
function Future:pget(timeout)
  return pcall(get, self, timeout)
end

local is_future = core.is_future

-- nil or seconds; raises at the caller of the function that asks.
local function check_seconds(name, what, v)
  if v ~= nil and (type(v) ~= "number" or v ~= v) then
    error(("%s: %s: seconds (a number) or nil wanted, %s given")
      :format(name, what, type(v) == "number" and tostring(v) or type(v)), 3)
  end
end

--- `lr.get(future)` is `future:get()`; a list gives the list of first values in order, with field `n`.
---@param what any a future or a list of futures
---@param timeout number? seconds, for all of them together
function lr.get(what, timeout)
  if type(what) ~= "table" then
    if is_future(what) then return get(what, timeout) end
    error("get: a future or a list of futures wanted, " .. type(what) .. " given", 2)
  end
  local n = core.check_list(what)
  check_seconds("get", "timeout", timeout)
  local values = { n = n }
  core.bring(what)
  if not timeout then
    for i = 1, n do values[i] = (get(what[i])) end
    return values
  end
  local deadline = core.now() + timeout
  for i = 1, n do values[i] = (get(what[i], deadline - core.now())) end
  return values
end

local function options_of(name, options)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(name .. ": a table of options wanted, " .. type(options) .. " given", 3)
  end
  return options
end

local function check_keys(name, options, allowed)
  for key in pairs(options) do
    if not allowed[key] then
      error(name .. ": unknown option '" .. tostring(key) .. "'", 3)
    end
  end
end

local short_ended = short.ended

-- How many futures of the list have ended; raises at the caller's caller where an element is no future.
local function count_ended(list, n)
  local count = 0
  for i = 1, n do
    local ended = short_ended(list[i])
    if not ended then core.check_list(list, 3) end
    count = count + ended
  end
  return count
end

-- Those that have ended and the others, in the list's order.
local function split(list, n, expected)
  local ready, pending = table_new(expected, 0), table_new(n - expected, 0)
  local r, p = 0, 0
  for i = 1, n do
    local f = list[i]
    if short_ended(f) == 1 then
      r = r + 1
      ready[r] = f
    else
      p = p + 1
      pending[p] = f
    end
  end
  return ready, pending
end

local wait_keys = { count = true, timeout = true }

--- Waits until `count` futures of the list have ended (all, unless said) or `timeout` seconds have passed.
-- A failed task counts as ready; timeout 0 polls.
---@return table ready, table pending  both in the list's order
function lr.wait(list, options)
  options = options_of("wait", options)
  check_keys("wait", options, wait_keys)
  local n = type(list) == "table" and #list or core.check_list(list)
  local ended = count_ended(list, n)
  local count, timeout = options.count or n, options.timeout
  if type(count) ~= "number" or count < 0 or count > n or count % 1 ~= 0 then
    error(("wait: count: a whole number from 0 to %d wanted, %s given"):format(n, tostring(count)), 2)
  end
  check_seconds("wait", "timeout", timeout)
  if ended >= count then return split(list, n, ended) end
  if not timeout or timeout > 0 then
    await(list, count, timeout)
  else
    yield() -- a task that polls in a loop must not keep its worker from what it polls for
  end
  return split(list, n, timeout and ended or count)
end

--- An iterator over the futures of a list in the order in which they end; linear in all for any length.
-- Raises code `timeout` when `timeout` seconds (for all of them) have passed.
function lr.as_completed(list, timeout)
  core.check_list(list)
  check_seconds("as_completed", "timeout", timeout)
  local futures = {}
  for i = 1, #list do futures[i] = list[i] end
  local collector = core.collector(futures)
  local deadline = timeout and core.now() + timeout
  local next_ended = core.collector_next
  return function()
    local index = next_ended(collector)
    while index == nil do
      local left = deadline and deadline - core.now()
      if not collector_wait(collector, left) then errors.raise("timeout", "as_completed: time is over", 2) end
      index = next_ended(collector)
    end
    if not index then return nil end
    local f = futures[index]
    futures[index] = false
    return f
  end
end

--- A future that is ready; its value is stored once, however many tasks get it.
lr.put = core.put

--- Cancels one future or a list. See Future:cancel.
function lr.cancel(what)
  if is_future(what) then return what:cancel() end
  if type(what) ~= "table" then
    error("cancel: a future or a list of futures wanted, " .. type(what) .. " given", 2)
  end
  core.check_list(what)
  for i = 1, #what do what[i]:cancel() end
end

--- Drops a future's value now; a later get raises code `object_lost`.
lr.free = core.free

-- ---- remote functions -----------------------------------------------------------------------------------------

--- A remote function, of a function or of a module's name and a function's.
lr.remote = core.remote
core.remote_meta.__call = short.caller(core.remote_call)

--- The arguments with the value of each future in its place.
local function with_values(...)
  local n = select("#", ...)
  local values = { ... }
  for i = 1, n do
    if is_future(values[i]) then values[i] = (get(values[i])) end
  end
  return unpack(values, 1, n)
end

--- Calls the function right here: no task, no copy of arguments or results. A kernel is given the values of futures.
function Remote:here(...)
  if not core.is_remote(self) then
    error(("here: a remote function wanted, %s given (call it with a colon: rf:here(...))"):format(type(self)), 2)
  end
  local fn = core.here_function(self)
  if fn then return fn(...) end
  return core.here_kernel(self, with_values(...))
end

-- ---- inside a task --------------------------------------------------------------------------------------------

lr.task = core.task
lr.cancelled = core.cancelled
lr.checkpoint = core.checkpoint
lr.now = core.now

--- Tells how far the task is; shown by tostring(future).
function lr.progress(done, total, _)
  if type(done) ~= "number" or type(total) ~= "number" then
    error(("progress: two numbers wanted, %s and %s given"):format(type(done), type(total)), 2)
  end
  core.progress(done, total)
end

--- Lets other tasks of this worker run.
function lr.yield() yield() end

--- Sleeps; the worker runs other tasks meanwhile.
---@param seconds number
function lr.sleep(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds then
    error("sleep: seconds (a number) wanted, " .. (seconds ~= seconds and "nan" or type(seconds)) .. " given", 2)
  end
  sleep(seconds)
end

-- ---- the rest -------------------------------------------------------------------------------------------------

lr.tensor = core.tensor
lr.kernels = core.kernels
lr.class = core.class
lr.resources = core.resources
lr.stats = core.stats
lr.nodes = core.nodes
lr.tasks = core.tasks
lr.objects = core.objects
lr.errors = core.errors
lr.init = core.init
lr.shutdown = core.shutdown
lr.version = core.version
lr.Error = core.error_meta

combine(lr, core)

local later = {
  actor = "actors", actor_named = "actors", kill = "actors", emit = "streams",
  actors = "actors", timeline = "the timeline", explain = "the cluster's tables", span = "the timeline",
}

return setmetatable(lr, {
  __index = function(_, name)
    if later[name] then
      error(("lr.%s belongs to %s, which this version (%s) does not have yet")
        :format(name, later[name], core.version), 2)
    end
    error(("luarun has no function '%s'"):format(tostring(name)), 2)
  end,
})
