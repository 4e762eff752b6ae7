-- A module in a folder: its name has a dot.
return { name = (...), where = function() return "deep.inner" end }
