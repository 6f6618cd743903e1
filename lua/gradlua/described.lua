--- What the documentation says of functions that are made in a loop, above which no comment can stand: described[f] is a
--- function that gives signature and text, called only when somebody asks.

return setmetatable({}, { __mode = "k" })
