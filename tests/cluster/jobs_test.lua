-- jobs_test.lua - short jobs in a row, of which some fail and some are killed, leave nothing on the nodes and in Redis.
--
-- `./dev jobs N` runs any number (1000).

package.path = "tests/lua/?.lua;tests/cli/?.lua;tests/cluster/?.lua;" .. package.path
local check = require "check"
local jobs = require "jobs"
local kit = require "kit"

if os.execute("command -v redis-server >/dev/null") ~= 0 then
  check.skip("jobs in a row", "redis-server is not installed")
else
  check.test("64 short jobs in a row leave nothing", function() jobs.run { count = 64 } end)
end

kit.done()
