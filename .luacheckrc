-- luacheck over every Lua file of the tree: ./dev lint, and tests/style_test.sh.
std = "luajit"
max_line_length = 120
