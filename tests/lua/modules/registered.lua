-- A class that no field of the module shows: registered by name where the module is loaded.
local lr = require "luarun"
local Hidden = {}
Hidden.__index = Hidden
lr.class("registered.Hidden", Hidden)
function Hidden:get() return self.v end
return { new = function(v) return setmetatable({ v = v }, Hidden) end,
         is = function(o) return getmetatable(o) == Hidden end }
