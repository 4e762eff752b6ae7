-- A module that is a function.
return function() return 42 end
