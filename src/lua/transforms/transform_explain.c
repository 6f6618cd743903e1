/* transform_explain.c: gl.explain: what a function does: its program, what the instructions cost, its plan. */
#include "exec/exec.h"
#include "lua/transforms/transform.h"

static const char name[] = "gradlua.explanation";

static int plan_gc(lua_State *L) {
  grad_plan **plan = lua_touserdata(L, 1);
  grad__plan_free(*plan);
  *plan = NULL;
  return 0;
}

static void set_text(lua_State *L, const char *field, grad_text *text) {
  grad__set_text(L, field, text->data ? text->data : "");
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

/* Fills the table on top. */
static void fill(lua_State *L, grad_program *p, grad_plan **plan, grad_text *text) {
  grad_plan_info info;
  grad__lua_check(L, grad__program_print(p, text));
  set_text(L, "program", text);
  grad__lua_check(L, print_costs(p, text));
  set_text(L, "costs", text);
  grad__lua_check(L, grad__plan_new(p, plan));
  grad__lua_check(L, grad__plan_nested(*plan));
  grad__lua_check(L, grad__plan_print(*plan, text));
  set_text(L, "plan", text);
  grad__plan_info(*plan, &info);
  grad__set_integer(L, "instructions", info.instructions);
  grad__set_integer(L, "steps", info.steps);
  grad__set_integer(L, "fused", info.fused);
  grad__set_integer(L, "workspace", info.workspace);
  grad__set_integer(L, "peak", info.peak);
  grad__set_integer(L, "bytes_moved", info.bytes_moved);
  grad__set_number(L, "flops", info.flops);
}

static int finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const int first = (int)context + GRAD_AT_RESULTS, last = lua_gettop(L);
  grad_trace *t = lua_touserdata(L, (int)context + GRAD_AT_TRACE);
  if (last < first) grad__lua_error(L, "the function returned nothing");
  grad__trace_push_outputs(L, t, first, last, "a result");
  grad__trace_end(t);
  grad__lua_check(L, t->p->status);
  grad_plan **plan = grad__lua_owner_push(L, "gradlua.plan", sizeof(grad_plan *), 0, plan_gc);
  grad_text *text = grad__text_push(L);
  lua_newtable(L);
  fill(L, t->p, plan, text);
  luaL_setmetatable(L, name);
  return 1;
}

static int call(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, finish); }

static int explain(lua_State *L) { return grad__transform_call_at(L, call, "any"); }

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
