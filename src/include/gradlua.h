/* gradlua.h: embedding the Lua toolkit in a host application. Include grad.h alone to use the core with no Lua. */
#ifndef GRADLUA_H
#define GRADLUA_H

#include <lua.h>

#include "grad.h"

#ifdef __cplusplus
extern "C" {
#endif

/* luaopen_gradlua_core: the C half of the module, `require "gradlua.core"`; lua/gradlua/init.lua is the other. */
GRAD_API int luaopen_gradlua_core(lua_State *L);

/* luaopen_gradlua: both halves; the modules under lua/ are compiled in. `luaL_requiref(L, "gradlua", luaopen_gradlua, 0)`
 * gives a host the whole toolkit. */
GRAD_API int luaopen_gradlua(lua_State *L);

/* gradlua_context: the core's context that the toolkit uses in L. NULL before luaopen_gradlua_core. */
GRAD_API grad_ctx *gradlua_context(lua_State *L);

/* gradlua_interrupt_flag: set *flag to 1, from a signal handler or another thread, to stop the computation that runs
 * with the Lua error "interrupted!"; it is cleared then. NULL before luaopen_gradlua_core. Valid until lua_close. */
GRAD_API volatile int *gradlua_interrupt_flag(lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
