--- gradlua: the module table: what is written in C, and what is better said in Lua.
local gl = require "gradlua.core"
return gl
