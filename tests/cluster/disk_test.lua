-- disk_test.lua - the disk that objects are spilled to is full: for a while, and for good.
--
-- The disk is a small tmpfs, which takes root to mount; skipped without. The store holds 4 MB, what is made more.

package.path = "tests/lua/?.lua;tests/cli/?.lua;" .. package.path
local check = require "check"
local kit = require "kit"

local disk = kit.folder .. "/disk"
if os.execute(("mkdir %s && mount -t tmpfs none %s -o size=16m 2>/dev/null"):format(disk, disk)) ~= 0 then
  check.skip("a full disk", "a small file system cannot be mounted here (not root)")
  return kit.done()
end

-- make(i): a tensor of 0.5 MB full of i; whole(): those that were made are what they were.
local PRELUDE = ([[
local lr = require "luarun"
local DISK = %q
local held = {}
local function make(i) held[i] = lr.tensor("u8", { 500000 }):fill(i) held[i] = lr.put(held[i]):get() end
local function whole()
  for i, t in ipairs(held) do
    for at = 1, 500000, 4096 do assert(t:get(at) == i, "tensor " .. i .. " has changed") end
  end
  return #held
end
local function fill() os.execute("head -c 30M /dev/zero >" .. DISK .. "/fill 2>/dev/null") end
]]):format(disk)

local function run(chunk)
  local r = kit.run { "--workers", "1", "--store-bytes", "4M", "-e", PRELUDE .. chunk, env = { LUARUN_SPILL_DIR = disk } }
  os.remove(disk .. "/fill")
  return r
end

check.test("who makes a value waits while the disk is full", function()
  local r = run [[
    for i = 1, 12 do make(i) end
    fill()
    os.execute("(sleep 1; rm " .. DISK .. "/fill) &")
    for i = 13, 24 do make(i) end
    assert(io.open(DISK .. "/fill") == nil, "it did not wait")
    print(whole())]]
  check.eq({ r.out, r.status }, { "24\n", 0 }, r.err)
end)

check.test("a disk that stays full is an error that names it; what was spilled is read on", function()
  local r = run [[
    fill()
    local made = lr.remote(function() for i = 1, 24 do make(i) end end)
    local ok, e = made():pget()
    print(ok, e.code, e.message)
    ok, e = pcall(function() for i = 1, 24 do make(i) end end)
    print(ok, #held < 24, whole() == #held)
    os.remove(DISK .. "/fill")
    for i = #held + 1, 24 do make(i) end
    print(whole())]]
  check.eq(r.status, 0, r.err)
  check.ok(r.out:find("^false\tout_of_memory\tvalue: object store full: [^\n]*; the disk of " .. disk:gsub("%p", "%%%0")
    .. " takes no more %(No space left on device%)\n"), r.out)
  check.ok(r.out:find("\nfalse\ttrue\ttrue\n24\n$"), r.out)
end)

check.test("nothing is left on it", function()
  check.eq(kit.shell(("ls -A %s; df --output=used %s | tail -1"):format(disk, disk)):gsub("%s", ""), "0")
end)

os.execute("umount " .. disk)
kit.done()
