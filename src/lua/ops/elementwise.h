/* elementwise.h: rows that work element by element. */
#ifndef GRAD_LUA_ELEMENTWISE_H
#define GRAD_LUA_ELEMENTWISE_H

#include "lua/binding.h"

/* Registers the rows, each with its variant that works in place. */
void grad__lua_register_elementwise(lua_State *L, const grad_fn *rows);

#endif
