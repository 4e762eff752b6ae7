-- public.lua - what the programs about recovery of public clusters share: the helpers of the tests (real Redis servers,
-- node agents, hosts of network namespaces), and stream.lua as the script that is disturbed.
local here = arg[0]:match("^(.*/)")
local tests = here .. "../../tests/"
package.path = tests .. "cluster/?.lua;" .. tests .. "cli/?.lua;" .. tests .. "lua/?.lua;" .. package.path
package.loaded.kit = nil
local public = { test = require "kit" }
package.loaded.kit = public.test
public.kit = dofile(here .. "kit.lua")
public.test.luarun = public.kit.text("luarun", public.test.luarun)
public.program = (here:sub(1, 1) == "/" and here or public.test.top .. "/" .. here) .. "stream.lua"

local Stream = {}
Stream.__index = Stream

---The words that start the stream on the cluster of that address: to be given to `public.stream` as they are, or on
---another host.
function public.words(url, more)
  local till = public.test.folder .. "/till"
  local words = { "--workers", "0", "--cluster", url, public.program, "till=" .. till }
  for _, word in ipairs(more or {}) do words[#words + 1] = word end
  return words
end

function public.stream(words)
  return setmetatable({ process = public.test.start(words) }, Stream)
end

---The numbers that it has said behind a word, and the next ones on those lines.
function Stream:said(word)
  local list, more = {}, {}
  for first, rest in self.process:out():gmatch("%f[%w]" .. word .. " ([%d.]+)([^\n]*)\n") do
    list[#list + 1], more[#more + 1] = tonumber(first), tonumber(rest)
  end
  return list, more
end

---Wait until so many processes have worked for it.
function Stream:works(count)
  public.test.eventually(function() return #self:said "node" >= count end,
    ("%d nodes have worked: %s"):format(count, self.process:err()), 60)
end

---Let it end; every task has had its value, or this raises.
function Stream:finish()
  public.test.file("till", "")
  local status = self.process:wait(60)
  assert(status == 0 and #self:said "all" == 1, "the script failed: " .. self.process:err())
end

---Ends what was started, and removes every file.
function public.done() public.test.clean() end

return public
