-- luacheck over every Lua file of the tree: ./dev lint, and tests/style_test.sh.
std = "luajit"
max_line_length = false -- tests/style_test.sh has the rule for all languages
files["tests"] = { ignore = { "241", "512" } } -- lists that only keep futures alive, loops left at once
