-- child: programs that the Lua tests start, to see them end: luarun itself with a chunk, or a shell command.
--
-- Nothing here checks anything. Every program gets a time limit from whoever writes its command.

local child = {}

--- The luarun that runs this test: the outermost word of its own command line.
child.program = arg[-1]
for i = -1, -40, -1 do
  if arg[i] == nil then break end
  child.program = arg[i]
end

function child.quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

---A shell command's output, both streams, and its exit status.
function child.sh(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1; echo \"status=$?\"", "r"))
  local text = pipe:read("*a")
  pipe:close()
  local out, status = text:match("^(.*)status=(%d+)\n$")
  return out, tonumber(status)
end

---Standard output, standard error and status of luarun with a chunk.
---@param options string what stands before -e
---@param env string|nil words for env, "NAME=value"
function child.run(options, chunk, env)
  local errors = os.tmpname()
  local out, status = child.sh(("env %s timeout 60 %s %s -e %s 2>%s"):format(env or "", child.quote(child.program),
    options, child.quote(chunk), errors))
  local file = assert(io.open(errors))
  local err = file:read("*a")
  file:close()
  os.remove(errors)
  return out, err, status
end

return child
