-- jobs_run.lua - so many short jobs in a row (1000): luarun tests/cluster/jobs_run.lua [N]     (./dev jobs)

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local jobs = require "jobs"
local kit = require "kit"

local count = tonumber(arg[1] or "1000")
local start = os.time()
local ok, result = pcall(jobs.run, { count = count, say = function(line) io.stderr:write(line, "\n") end })
kit.clean()
if not ok then
  io.stderr:write(tostring(result), "\n")
  os.exit(1)
end
print(("%d jobs in %d s; after the first 40 Redis grew by %d bytes (its capped history), an agent by %d KiB; nothing else is left")
  :format(count, os.time() - start, result.redis_bytes, result.kib))
