/* donated.c: tensors that were given away: gl.jit took their memory for its results (option donate). What is left of
 * one keeps dtype and shape, has no memory, and is no tensor any more (grad__tensor_to); whatever is done with it
 * raises and says who has it. */
#include <string.h>

#include "lua/binding.h"

static const char key; /* of the list of donors in the registry, which is also the set of their places in it */

bool grad__tensor_is_donated(lua_State *L, int index) {
  if (!lua_isuserdata(L, index) || !lua_getmetatable(L, index)) return false;
  const bool donated = lua_topointer(L, -1) == grad__lua(L)->meta_donated;
  lua_pop(L, 1);
  return donated;
}

/* "file:line" of the gl.jit that took it. */
static const char *push_donor(lua_State *L, const grad_tensor *x) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
  lua_rawgeti(L, -1, x->slot);
  return lua_tostring(L, -1);
}

void grad__tensor_raise_donated(lua_State *L, const grad_tensor *x) {
  luaL_checkstack(L, 8, NULL);
  grad__lua_error(L, "this tensor was donated to the function jitted at %s: use its result instead", push_donor(L, x));
}

/* Metamethods find the tensor among their first two arguments. */
static int raise_donated(lua_State *L) {
  const int at = grad__tensor_is_donated(L, 1) ? 1 : 2;
  if (!grad__tensor_is_donated(L, at)) grad__arg_error(L, at, "an operand", "a donated tensor");
  grad__tensor_raise_donated(L, lua_touserdata(L, at));
}

static int to_text(lua_State *L) {
  if (!grad__tensor_is_donated(L, 1)) return 0;
  lua_pushfstring(L, "tensor donated to the function jitted at %s", push_donor(L, lua_touserdata(L, 1)));
  return 1;
}

/* What Lua does with any userdata stays as it is: comparing for identity, collecting. */
static bool is_use(const char *event) {
  static const char *const others[] = {"__gc", "__name", "__metatable", "__close", "__eq", "__mode"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (strcmp(event, others[i]) == 0) return false;
  return strncmp(event, "__", 2) == 0;
}

/* The metatable: every metamethod of tensors raises. */
static void make_meta(lua_State *L, grad_lua *g) {
  lua_newtable(L);
  const int meta = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, g->ref_owner);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || !is_use(lua_tostring(L, -2))) continue;
    lua_pushvalue(L, -2);
    grad__lua_push_function(L, raise_donated, NULL, 0);
    lua_rawset(L, meta);
  }
  lua_settop(L, meta);
  lua_pushliteral(L, "tensor");
  lua_setfield(L, meta, "__metatable");
  grad__lua_push_function(L, to_text, NULL, 0);
  lua_setfield(L, meta, "__tostring");
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  g->meta_donated = lua_topointer(L, meta);
  g->ref_donated = luaL_ref(L, LUA_REGISTRYINDEX);
}

int32_t grad__donor_add(lua_State *L) {
  grad_lua *g = grad__lua(L);
  if (!g->meta_donated) make_meta(L, g);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
  const int list = lua_gettop(L), where = list + 1;
  grad__lua_push_where(L);
  lua_pushvalue(L, where);
  if (lua_rawget(L, list) == LUA_TNIL) {
    lua_pushvalue(L, where);
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
    lua_pushvalue(L, where);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, list));
    lua_rawset(L, list);
  }
  lua_pushvalue(L, where);
  lua_rawget(L, list);
  const int32_t donor = (int32_t)lua_tointeger(L, -1);
  lua_settop(L, list - 1);
  return donor;
}

void grad__tensor_give_away(lua_State *L, int index, int32_t donor) {
  grad_tensor *x = lua_touserdata(L, index);
  const grad_array type = x->array;
  index = lua_absindex(L, index);
  grad__array_release(&x->array);
  grad__array_wrap(&x->array, NULL, type.dtype, type.ndim, type.shape);
  x->slot = donor;
  lua_rawgeti(L, LUA_REGISTRYINDEX, grad__lua(L)->ref_donated);
  lua_setmetatable(L, index);
}
