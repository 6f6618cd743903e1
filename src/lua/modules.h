/* modules.h: the Lua modules that are compiled into the program: the table that the build generates from lua/. */
#ifndef GRADLUA_MODULES_H
#define GRADLUA_MODULES_H

#include <stddef.h>
#include <lua.h>

typedef struct gradlua_module {
  const char *name; /* as `require` is given it: "gradlua.nn" */
  const char *source;
  size_t size;
} gradlua_module;

extern const gradlua_module gradlua__modules[]; /* ends with a NULL name */

/* gradlua__modules_preload: lets `require` find the compiled-in modules, before any file. A module that is already in
 * package.preload stays. Works without the package library too: see gradlua__modules_require. */
void gradlua__modules_preload(lua_State *L);

/* gradlua__modules_require: pushes the module `name`, loading it on first use as `require` does, and returns 1; pushes
 * nothing and returns 0 when no such module is compiled in. Raises what the module raises. */
int gradlua__modules_require(lua_State *L, const char *name);

/* gradlua__modules_publish: pops a value, a table as a rule, and puts it into the module "gradlua.internal" as field
 * `name`: what the Lua modules are given and users are not. */
void gradlua__modules_publish(lua_State *L, const char *name);
/* Pushes that module; pops one, to be that module. */
void gradlua__internal_push(lua_State *L);
void gradlua__internal_set(lua_State *L);

#endif
