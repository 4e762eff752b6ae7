-- serial: a stand-in for the module "luarun" that runs every task at once, in plain Lua, where it is called.
--
-- What the random graphs (graph.lua) come to here is what they must come to on any cluster. Only what they use is
-- here. A task that sleeps is taken for one that never ends by itself: it can be cancelled, or end by its timeout.
-- Values are not copied: a graph never changes what it was given.

local serial = {}

local ENDLESS = {} -- raised where a task would wait for ever

local Future = {}
Future.__index = Future
local Remote = {}
Remote.__index = Remote

local attempts = {} -- of the tasks that run, the innermost last

local function future(from) return setmetatable(from, Future) end
local function is_future(v) return getmetatable(v) == Future end

local function failure(e)
  if type(e) == "table" and e.code then return e end
  return { code = "error", value = e, message = tostring(e) }
end

local function attempt(remote, number, args)
  attempts[#attempts + 1] = number
  local got = { pcall(remote.fn, unpack(args, 1, args.n)) }
  attempts[#attempts] = nil
  if got[1] then return future { ok = true, unpack(got, 2) } end
  if got[2] ~= ENDLESS then return future { error = failure(got[2]) } end
  if remote.options.timeout then return future { error = { code = "timeout" } } end
  return future { endless = true }
end

local function run(remote, ...)
  local args = { n = select("#", ...), ... }
  for i = 1, args.n do
    local v = args[i]
    if is_future(v) then
      if v.endless then return future { endless = true } end
      if v.error then return future { error = v.error } end
      args[i] = v[1]
    end
  end
  local result
  for number = 1, 1 + (remote.options.retry_on_error or 0) do
    result = attempt(remote, number, args)
    if not result.error then break end
  end
  return result
end

function Remote:__call(...)
  local result = run(self, ...)
  local futures = {}
  for i = 1, self.options.returns or 1 do
    futures[i] = i == 1 and result or future { ok = result.ok, error = result.error, endless = result.endless, result[i] }
  end
  return unpack(futures)
end

function Remote:with(options)
  local all = {}
  for k, v in pairs(self.options) do all[k] = v end
  for k, v in pairs(options) do all[k] = v end
  return serial.remote(self.fn, all)
end

function Future:pget()
  if self.endless then error(ENDLESS, 0) end
  if self.error then return false, self.error end
  return true, unpack(self)
end

function Future:get()
  if self.endless then error(ENDLESS, 0) end
  if self.error then error(self.error, 0) end
  return unpack(self)
end

function Future:cancel()
  if not self.endless then return end
  self.endless, self.error = nil, { code = "cancelled" }
end

-- A tensor of one dimension that holds one number everywhere.
local Filled = {}
Filled.__index = Filled

function Filled:fill(v) self.value = v return self end
function Filled:size() return self.count end
function Filled:get() return self.value end
function serial.tensor(_, shape) return setmetatable({ count = shape[1], value = 0 }, Filled) end

function serial.remote(fn, options) return setmetatable({ fn = fn, options = options or {} }, Remote) end
function serial.put(value) return future { ok = true, value } end
function serial.yield() end
function serial.sleep() error(ENDLESS, 0) end
function serial.task() return { attempt = attempts[#attempts] } end

function serial.cancel(list)
  for i = 1, #list do list[i]:cancel() end
end

function serial.get(list)
  local values = { n = #list }
  for i = 1, #list do values[i] = list[i]:get() end
  return values
end

function serial.wait(list)
  local ready, pending = {}, {}
  for i = 1, #list do
    local to = list[i].endless and pending or ready
    to[#to + 1] = list[i]
  end
  return ready, pending
end

function serial.as_completed(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

function serial.all(list)
  return serial.remote(function() return serial.get(list) end)()
end

function serial.any(list)
  for i = 1, #list do
    if list[i].ok then return list[i] end
  end
  return future { error = { code = "error" } }
end

return serial
