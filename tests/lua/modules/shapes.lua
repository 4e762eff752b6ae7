-- A module of classes, as the tests of modules and classes want one: it is found beside the script.
local shapes = { loads = 0 }

local Point = {}
Point.__index = Point
Point.__add = function(a, b) return shapes.point(a.x + b.x, a.y + b.y) end
Point.__eq = function(a, b) return a.x == b.x and a.y == b.y end
Point.__tostring = function(p) return ("(%g, %g)"):format(p.x, p.y) end
function Point:length() return math.sqrt(self.x * self.x + self.y * self.y) end

shapes.Point = Point

function shapes.point(x, y) return setmetatable({ x = x, y = y }, Point) end
function shapes.is_point(p) return getmetatable(p) == Point end
function shapes.fail() error("shapes fail") end
shapes.not_a_function = 5

local state = 0
function shapes.count() state = state + 1; return state end

return shapes
