-- tls_test.lua - node processes whose connections are tls+tcp: certificates in the environment, made here by openssl.

package.path = "tests/lua/?.lua;" .. package.path
local check = require "check"
local child = require "child"
local ffi = require "ffi"

ffi.cdef "int setenv(const char *name, const char *value, int overwrite);"
local folder = os.tmpname() .. ".d"
child.sh("mkdir -m 700 " .. folder)

local function certificate(name)
  local out, status = child.sh(("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
    .. "-subj /CN=127.0.0.1 -keyout %s.key -out %s.pem"):format(folder, name, name))
  check.eq(status, 0, out)
end

local function use(shown, believed)
  for variable, file in pairs { CERT = shown .. ".pem", KEY = shown .. ".key", CA = believed .. ".pem" } do
    ffi.C.setenv("LUARUN_TLS_" .. variable, folder .. "/" .. file, 1)
  end
end

local SUM = [[
  local lr = require "luarun"
  local f = lr.remote(function(i) return i, io.open("/proc/self/cmdline"):read("*a"):match("tls%+tcp://") end)
  local list, sum, secure = {}, 0, 0
  for i = 1, 100 do list[i] = f(i) end
  for i = 1, 100 do local v, tls = list[i]:get() sum = sum + v if tls then secure = secure + 1 end end
  print(sum, secure)]]

ffi.C.setenv("LUARUN_RING", "0", 1) -- records go through the sockets, also on one host
certificate "a"
certificate "b"

check.test("with certificates every connection is tls+tcp", function()
  use("a", "a")
  local out, err, status = child.run("--procs 3 --workers 0", SUM)
  check.eq({ out, status }, { "5050\t100\n", 0 }, err)
  check.eq(err, "")
end)

check.test("a certificate that nobody vouches for: the nodes do not come, and say why", function()
  use("a", "b")
  local out, err, status = child.run("--procs 2 --workers 1", [[
    local lr = require "luarun"
    print(lr.remote(function() lr.sleep(0.3) return 1 end)():get())]])
  check.eq({ out, status }, { "1\n", 0 }, err)
  check.ok(err:find("TLS could not be agreed on", 1, true), err)
end)

check.test("a certificate file that is not there is one line", function()
  use("none", "a")
  local out, err, status = child.run("--procs 2", "require('luarun').remote(function() end)()")
  check.eq({ out, status }, { "", 1 }, err)
  check.ok(err:find("TLS could not be agreed on, or a certificate, key or CA file cannot be used", 1, true), err)
end)

child.sh("rm -r " .. folder)
check.done()
