std = "lua54"
max_line_length = 140
files["tests/spec"] = { std = "+busted" }
ignore = { "581" } -- not (x < y) is not x >= y for a NaN
files["examples/embed/model.lua"] = { read_globals = { "gl" } } -- the host provides it
