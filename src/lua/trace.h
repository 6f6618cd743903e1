/* trace.h: recording operations on traced tensors into a program. */
#ifndef GRAD_LUA_TRACE_H
#define GRAD_LUA_TRACE_H

#include "lua/binding.h"

/* Called before the memory of `array` is changed: live traces that captured any of it get their own copy first. */
void grad__trace_preserve(lua_State *L, const grad_array *array);

#endif
