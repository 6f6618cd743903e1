/* callbacks.c: calling Lua from the core's solvers. */
#include "lua/toolkits/callbacks.h"

#include <string.h>

void grad__push_vector(lua_State *L, const double *data, int64_t n) {
  grad_array *array = grad__tensor_new(L, GRAD_F64, 1, &n);
  if (n > 0) memcpy(array->data, data, (size_t)n * sizeof *data);
}

void grad__push_counts(lua_State *L, const grad_counts *counts) {
  lua_createtable(L, 0, 4);
  grad__set_integer(L, "f", counts->f);
  grad__set_integer(L, "g", counts->g);
  grad__set_integer(L, "hv", counts->hv);
  grad__set_integer(L, "jac", counts->jac);
}

/* Pushes the record of a step; in brief unless it is `watched`, since short steps of small problems feel it and a copy
 * of a large x costs more than a step. */
static void push_info(lua_State *L, const grad_step_info *info, int64_t n, bool watched) {
  lua_createtable(L, 0, watched ? 9 : 5);
  grad__set_integer(L, "iteration", info->iteration);
  grad__set_number(L, "f", info->f);
  grad__set_number(L, "gradient_norm", info->gradient_norm);
  grad__set_number(L, "step", info->step);
  grad__set_number(L, "seconds", info->seconds);
  if (!watched) return;
  grad__set_number(L, "violation", info->violation);
  grad__set_number(L, "radius", info->radius);
  grad__push_counts(L, &info->evaluations);
  lua_setfield(L, -2, "evaluations");
  grad__push_vector(L, info->x, n);
  lua_setfield(L, -2, "x");
}

static void take_array(lua_State *L, const grad_request *r) {
  const int64_t shape[2] = {r->rows, r->columns};
  const int ndim = r->columns > 0 ? 2 : 1;
  const grad_tensor *t = grad__tensor_to(L, -1);
  if (!t || grad__tensor_is_traced(t) || !grad__shape_equal(t->array.ndim, t->array.shape, ndim, shape)) {
    grad__lua_error(L, "%s must give a tensor of shape %s", r->name, grad__shape_text(ndim, shape).chars);
  }
  grad_array to;
  grad__array_wrap(&to, r->array, GRAD_F64, ndim, shape);
  grad__array_copy(&to, &t->array);
}

/* Arguments: the request, the table of callbacks. Runs protected. */
static int invoke(lua_State *L) {
  grad_request *r = lua_touserdata(L, 1);
  const bool watched = r->info && lua_getfield(L, 2, "watched") == LUA_TBOOLEAN;
  lua_getfield(L, 2, r->name);
  if (r->info) {
    push_info(L, r->info, r->n, watched);
    lua_call(L, 1, 1);
    *r->stop = lua_toboolean(L, -1);
    return 0;
  }
  grad__push_vector(L, r->x, r->n);
  if (r->v) grad__push_vector(L, r->v, r->n);
  lua_call(L, r->v ? 2 : 1, (r->number != NULL) + (r->array != NULL));
  if (r->number) *r->number = grad__arg_number(L, r->array ? -2 : -1, "the value of the function");
  if (r->array) take_array(L, r);
  return 0;
}

void grad__callbacks_prepare(lua_State *L, int table) {
  grad__lua_push_function(L, invoke, grad__lua_fn(L), 0);
  lua_rawseti(L, table, 1);
}

void grad__callbacks_begin(lua_State *L, int table, grad_callbacks *callbacks) {
  lua_pushnil(L);
  *callbacks = (grad_callbacks){.L = L, .ctx = grad__lua_ctx(L), .table = table, .error = lua_gettop(L)};
}

void grad__callbacks_end(lua_State *L, grad_callbacks *callbacks, grad_status status) {
  if (callbacks->raised) {
    lua_pushvalue(L, callbacks->error);
    lua_error(L);
  }
  grad__lua_check(L, status);
}

grad_status grad__callbacks_call(grad_callbacks *callbacks, grad_request *request) {
  lua_State *L = callbacks->L;
  if (!lua_checkstack(L, 8)) return grad__fail(callbacks->ctx, GRAD_ENOMEM, "Lua's stack is full");
  lua_rawgeti(L, callbacks->table, 1);
  lua_pushlightuserdata(L, request);
  lua_pushvalue(L, callbacks->table);
  callbacks->ctx->calls_out++;
  const int status = lua_pcall(L, 2, 0, 0);
  callbacks->ctx->calls_out--;
  if (status == LUA_OK) return GRAD_OK;
  lua_replace(L, callbacks->error);
  callbacks->raised = true;
  return grad__fail(callbacks->ctx, GRAD_ECALLBACK, "%s raised an error", request->name);
}
