-- An old module: it sets globals while it is loaded, and reads one that need not be there.
-- luacheck: globals old_setting old_helper new_global
if old_setting == nil then old_setting = 1 end
function old_helper() return "helped" end
return {
  help = function() return old_helper() end,
  set = function() new_global = 1 end,
}
