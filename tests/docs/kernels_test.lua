-- docs/kernels.md does what it says: its files are written to a directory, its commands run in order, its outputs
-- compared.
--
-- A block "```c points.c" is a file; of a "```console" block the lines that begin with "$ " are commands and what
-- follows is what they print. luarun is installed into the directory first, as a user has it.
local here = arg[0]:match("^(.*/)") or "./"
local check = dofile(here .. "../lua/check.lua")
local programs = dofile(here .. "../lua/child.lua")
local sh = programs.sh
local ffi = require "ffi"
ffi.cdef "char *mkdtemp(char *); char *realpath(const char *, char *);"

local function real(path) return ffi.string(ffi.C.realpath(path, nil)) end

local program = real(programs.program)
local build = program:match("^(.*)/")
local scratch = ffi.string(ffi.C.mkdtemp(ffi.new("char[64]", "/tmp/luarun-docs-test-XXXXXX")))
local prefix = scratch .. "/prefix"

-- name or language -> text, in the document's order
local function blocks_of(path)
  local list, block = {}, nil
  for line in io.lines(path) do
    if block and line == "```" then
      list[#list + 1], block = block, nil
    elseif block then
      block.text = block.text .. line .. "\n"
    else
      local language, name = line:match("^```(%w+) ?(%S*)$")
      if language then block = {language = language, name = name, text = ""} end
    end
  end
  return list
end

local environment = ("cd %s/try && export PATH=%s/bin:$PATH XDG_CACHE_HOME=%s/cache CMAKE_PREFIX_PATH=%s && "
  .. "export PKG_CONFIG_PATH=$(dirname $(find %s -name luarun.pc)) && "):format(
  scratch, prefix, scratch, prefix, prefix)

-- Runs a console block: every command's output is what follows it.
local function run_console(text)
  local command, wanted
  local function finish()
    if not command then return end
    local out, status = sh(environment .. command)
    check.eq(out, wanted, command)
    check.eq(status, 0, command)
  end
  for line in text:gmatch("([^\n]*)\n") do
    if line:sub(1, 2) == "$ " then
      finish()
      command, wanted = line:sub(3), ""
    else
      wanted = wanted .. line .. "\n"
    end
  end
  finish()
end

local installed, status = sh(("mkdir -p %s/try && cmake --install %s --prefix %s >/dev/null"):format(
  scratch, build, prefix))
if status ~= 0 then
  check.skip("docs/kernels.md", "nothing to install: " .. installed)
else
  local count = 0
  for _, block in ipairs(blocks_of(here .. "../../docs/kernels.md")) do
    if block.language == "console" then
      count = count + 1
      check.test("console block " .. count .. ": " .. block.text:match("[^\n]*"), function()
        run_console(block.text)
      end)
    elseif block.name ~= "" then
      local f = assert(io.open(scratch .. "/try/" .. block.name, "w"))
      f:write(block.text)
      f:close()
      if block.language == "c" then
        check.test(block.name .. " compiles without a warning", function()
          check.eq(sh(environment .. "cc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "
            .. "$(pkg-config --cflags luarun) " .. block.name), "")
        end)
      end
    end
  end
  if select(2, sh("command -v c++ >/dev/null")) ~= 0 then
    check.skip("a kernel in C++", "no C++ compiler")
  else
    check.test("a kernel in C++", function()
      local f = assert(io.open(scratch .. "/try/plus.cc", "w"))
      f:write([[
#include <luarun/kernel.h>
#include <string>
static int name(lr_call *call)
{
    std::string s = "c++";
    return lr_return_string(call, s.data(), s.size());
}
LR_KERNELS({"name", name, nullptr, nullptr, {}})
]])
      f:close()
      check.eq(sh(environment .. "c++ -Wall -Wextra -Wpedantic -Werror -O2 -shared -fPIC "
        .. "$(pkg-config --cflags luarun) -o libplus.so plus.cc"), "")
      check.eq(sh(environment .. "luarun -e 'print(require \"luarun\".kernels(\"./libplus.so\").name:here())'"), "c++\n")
    end)
  end
  check.test("the document has blocks to run", function() check.ok(count >= 5) end)
end
sh("rm -rf " .. scratch)
check.done()
