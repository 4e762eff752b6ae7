-- A module that cannot be loaded: it raises a table.
error({ code = "raises" })
