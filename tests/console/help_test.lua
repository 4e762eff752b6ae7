-- `? name` (luarun.help): every public function of luarun has a page, and no page speaks of what is not there.

local check = require "check"
local help = require "luarun.help"
local lr = require "luarun"

check.test("every public name has a page", function()
  for name in pairs(lr) do
    check.ok((help.find("lr." .. name) or ""):find("lr." .. name, 1, true), "lr." .. name)
    check.eq(help.find("lr." .. name), help.find(name))
  end
end)

check.test("every method of futures and remote functions has one", function()
  for kind, value in pairs { future = lr.put(1), remote = lr.remote(function() end) } do
    for name in pairs(debug.getmetatable(value).__index) do check.ok(help.find(kind .. "." .. name), kind .. "." .. name) end
  end
  check.eq(help.find("f:get"), help.find("future.get"))
  check.eq(help.find("f:get(1)"), help.find("future.get"))
  check.eq(help.find("rf:with"), help.find("remote.with"))
end)

check.test("no page is of what is not there", function()
  local apart = { options = true, console = true }
  for _, name in ipairs(help.topics()) do
    local kind, method = name:match("^(%a+)%.(.+)$")
    if kind then
      local value = kind == "future" and lr.put(1) or lr.remote(function() end)
      check.ok(debug.getmetatable(value).__index[method], name)
    elseif not apart[name] then
      check.ok(rawget(lr, name) ~= nil, name)
    end
  end
end)

check.test("examples compile", function()
  for _, name in ipairs(help.topics()) do
    local example = help.find(name):match("\n\n(.*)$")
    if example then check.ok(loadstring(example) or loadstring("return " .. example), name .. ": " .. example) end
  end
end)

check.test("the overview names all", function()
  local text = help.find("")
  for _, name in ipairs(help.topics()) do check.ok(text:find(name, 1, true), name) end
end)

check.test("pages fit the width", function()
  for _, width in ipairs { 40, 80, 120 } do
    for _, name in ipairs(help.topics()) do
      for line in help.find(name, width):match("\n(.*)$"):gmatch("[^\n]+") do
        check.ok(#line <= width or line:find("^    "), name .. ": " .. line)
      end
    end
  end
end)

check.test("a word that is no name is looked for in the pages", function()
  check.ok(help.find("priority"):find("options", 1, true))
  local text, why = help.find("xyzzy")
  check.eq({ text, why }, { nil, "there is no help on 'xyzzy'; ? alone lists what there is" })
end)

check.done()
