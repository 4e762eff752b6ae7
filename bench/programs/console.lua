-- console.lua - bench/console.lua in a process of its own: luarun=PATH, keys= (400). Milliseconds from a key to its
-- echo while every processor computes; `over_idle`: how much more that is than most take at an idle console.
local here = arg[0]:match("^(.*/)")
package.path = here .. "?.lua;" .. here .. "../?.lua;" .. package.path
local kit, Process = require "kit", require "process"

local process = Process.start{kit.text("luarun", "luarun"), "--workers", "0", here .. "../console.lua", "--keys",
  tostring(kit.number("keys", 400))}
local idle, busy
for line in function() return process:read_line(120) end do
  idle = idle or line:match("^idle%s+([%d.]+)")
  busy = busy or line:match("^busy%s+[%d.]+%s+([%d.]+)")
end
local said = process:last_words()
process:stop(10)
if not (idle and busy) then error("no figures: " .. said, 0) end
kit.answer{p99 = tonumber(busy), over_idle = tonumber(busy) - tonumber(idle)}
