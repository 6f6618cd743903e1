/* lua_code.h: what a compiled Lua function names: globals, and modules that it requires. */
#ifndef GRAD_LUA_CODE_H
#define GRAD_LUA_CODE_H

#include <stdbool.h>

#include <lua.h>

/* Adds the names that the Lua function at stack index `function`, whose upvalue number `env` (from 1) is the table of
 * its globals, and the functions inside it use: names[name] = true for a global that is read, modules[name] = true for
 * a module in `require "name"`; both are stack indices of tables. False where the code is of another Lua than 5.4. */
bool grad__code_names(lua_State *L, int function, int env, int names, int modules);

#endif
