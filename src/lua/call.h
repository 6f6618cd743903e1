/* call.h: functions made by a builder: one implementation for concrete tensors (a small program, run at once) and for
 * traced ones (recorded). */
#ifndef GRAD_LUA_CALL_H
#define GRAD_LUA_CALL_H

#include "lua/binding.h"

/* The C function of every row that has a builder. */
int grad__call_row(lua_State *L);

#endif
