/* transform_explain.c: gl.explain: what a function does: its program, what the instructions cost, its plan. */
#include "exec/exec.h"
#include "lua/transforms/transform.h"

static const char name[] = "gradlua.explanation";

/* What must be freed when a Lua error passes. */
typedef struct work {
  grad_plan *plan;
  grad_text text;
} work;

static int work_gc(lua_State *L) {
  work *w = lua_touserdata(L, 1);
  grad__plan_free(w->plan);
  w->plan = NULL;
  grad__text_clear(&w->text);
  return 0;
}

static work *push_work(lua_State *L) {
  work *w = grad__lua_owner_push(L, "gradlua.explain", sizeof *w, 0, work_gc);
  w->text.ctx = grad__lua_ctx(L);
  return w;
}

static void set_number(lua_State *L, const char *field, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, field);
}

static void set_integer(lua_State *L, const char *field, int64_t value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, field);
}

static void set_text(lua_State *L, const char *field, grad_text *text) {
  lua_pushstring(L, text->data ? text->data : "");
  lua_setfield(L, -2, field);
  grad__text_clear(text);
}

/* One line an instruction that costs something by itself: operations on numbers, bytes that it reads and writes. Views
 * and constants cost nothing. */
static grad_status print_costs(const grad_program *p, grad_text *out) {
  grad_status status = GRAD_OK;
  for (int32_t i = 0; i < p->ninstrs && !status; i++) {
    const grad_instr *ins = &p->instrs[i];
    if (ins->nin == 0 || ins->nout == 0 || ins->op->flags & GRAD_OP_VIEW) continue;
    status = grad__text_add(out, "%-16s %12.0f flops %12lld bytes  %s  %s\n", ins->op->name, grad__instr_flops(p, ins),
                            (long long)grad__instr_bytes(p, ins), grad__type_text(grad__type(p, ins->out)).chars,
                            grad__program_where(p, ins));
  }
  return status;
}

static void fill(lua_State *L, work *w, grad_program *p) {
  grad_plan_info info;
  grad__lua_check(L, grad__program_print(p, &w->text));
  set_text(L, "program", &w->text);
  grad__lua_check(L, print_costs(p, &w->text));
  set_text(L, "costs", &w->text);
  grad__lua_check(L, grad__plan_new(p, &w->plan));
  grad__lua_check(L, grad__plan_nested(w->plan));
  grad__lua_check(L, grad__plan_print(w->plan, &w->text));
  set_text(L, "plan", &w->text);
  grad__plan_info(w->plan, &info);
  set_integer(L, "instructions", info.instructions);
  set_integer(L, "steps", info.steps);
  set_integer(L, "fused", info.fused);
  set_integer(L, "workspace", info.workspace);
  set_integer(L, "peak", info.peak);
  set_integer(L, "bytes_moved", info.bytes_moved);
  set_number(L, "flops", info.flops);
}

static int finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  int n = (int)context, last = lua_gettop(L);
  grad_trace *t = lua_touserdata(L, n + GRAD_AT_TRACE);
  if (last < n + GRAD_AT_RESULTS) grad__lua_error(L, "the function returned nothing");
  lua_newtable(L);
  int leaves = lua_gettop(L);
  for (int r = n + GRAD_AT_RESULTS; r <= last; r++) grad__tree_flatten(L, r, leaves, "a result");
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, leaves); i++) {
    lua_rawgeti(L, leaves, i);
    grad__program_output(t->p, grad__trace_lift(L, t, lua_gettop(L), GRAD_F64));
    lua_pop(L, 1);
  }
  grad__trace_end(t);
  grad__lua_check(L, t->p->status);
  work *w = push_work(L);
  lua_newtable(L);
  fill(L, w, t->p);
  luaL_setmetatable(L, name);
  return 1;
}

static int call(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, finish); }

/* f, arguments... */
static int explain(lua_State *L) {
  grad__transform_check_function(L, 1);
  int n = lua_gettop(L) - 1;
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "any");
  grad__lua_push_function(L, call, grad__lua_fn(L), 2);
  lua_replace(L, 1);
  lua_callk(L, n, 1, 0, grad__transform_return_all);
  return 1;
}

static int to_text(lua_State *L) {
  static const char *const parts[] = {"program", "costs", "plan"};
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (int i = 0; i < 3; i++) {
    luaL_addstring(&b, parts[i]);
    luaL_addstring(&b, ":\n");
    lua_getfield(L, 1, parts[i]);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  return 1;
}

static const grad_fn rows[] = {
    GRAD_FUNCTION(
        "explain", explain, "f, x... -> table",
        "what f does: program, cost of each instruction, plan, and instructions steps fused flops workspace peak; "
        "prints"),
    GRAD_FN_END,
};

static const grad_fn methods[] = {{.name = "__tostring", .call = to_text}, GRAD_FN_END};

void grad__open_transform_explain(lua_State *L) {
  grad__lua_register(L, rows);
  grad__lua_metatable(L, name, methods);
  lua_pop(L, 1);
}
