/* debug.c: programs evaluated one instruction at a time, with a look at every value. Slow, for finding faults. */
#include "lua/debug.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "exec/exec.h"
#include "ops/ops.h"

/* The values by id (a userdata, so that an error frees them). */
typedef struct values {
  int32_t n;
  grad_array at[];
} values;

static int values_gc(lua_State *L) {
  values *v = lua_touserdata(L, 1);
  for (int32_t i = 0; i < v->n; i++) grad__array_release(&v->at[i]);
  v->n = 0;
  return 0;
}

static values *push_values(lua_State *L, const grad_program *p) {
  size_t bytes = sizeof(values) + (size_t)p->nvalues * sizeof(grad_array);
  values *v = grad__lua_owner_push(L, "gradlua.values", bytes, 0, values_gc);
  v->n = p->nvalues;
  return v;
}

/* The flat position of the first NaN or Inf, -1 when there is none. */
static int64_t first_bad(const grad_array *a, double *value) {
  int64_t position = 0, index[GRAD_MAX_AXES] = {0};
  if (!grad__dtype_is_float(a->dtype)) return -1;
  for (int64_t n = grad__array_numel(a); position < n; position++) {
    *value = grad__array_get(a, index);
    if (!isfinite(*value)) return position;
    for (int k = a->ndim - 1; k >= 0 && ++index[k] == a->shape[k]; k--) index[k] = 0;
  }
  return -1;
}

static bool is_bad(const grad_array *a) {
  double value;
  return first_bad(a, &value) >= 0;
}

/* The first instruction that makes NaN or Inf out of finite values; the place and the value of it. */
static const grad_instr *find_culprit(const grad_program *p, const values *v, int64_t *position, double *value) {
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    bool clean = true;
    for (int32_t k = 0; clean && k < ins->nin; k++) clean = !is_bad(&v->at[ins->in[k]]);
    for (int32_t k = 0; clean && k < ins->nout; k++) {
      *position = first_bad(&v->at[ins->out + k], value);
      if (*position >= 0) return ins;
    }
  }
  return NULL;
}

static bool goes_into_where(const grad_program *p, const grad_instr *culprit) {
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    if (ins->op != &grad__op_where) continue;
    if (ins->in[1] == culprit->out || ins->in[2] == culprit->out) return true;
  }
  return false;
}

static void describe(const grad_program *p, const grad_instr *ins, int64_t position, double value, const char *stage,
                     char *text, size_t size) {
  const char *where = grad__program_where(p, ins);
  snprintf(text, size, "%s gave %s at element %lld of a result (%s)%s%s, %s", ins->op->name,
           isnan(value) ? "NaN"
           : value > 0  ? "Inf"
                        : "-Inf",
           (long long)position + 1, grad__type_text(grad__type(p, ins->out)).chars, *where ? " at " : "", where, stage);
}

void grad__debug_run(lua_State *L, grad_program *p, const grad_array *const *in, const double *scalars,
                     const char *stage) {
  char text[512];
  int64_t position = 0;
  double value = 0;
  bool bad_output = false;
  values *v = push_values(L, p);
  for (int32_t i = 0; i < p->ninputs; i++) {
    v->at[p->inputs[i]] = *in[i];
    grad__array_retain(in[i]);
  }
  for (int32_t i = 0; i < p->ninstrs; i++)
    for (int32_t k = 0; k < p->instrs[i].nout; k++)
      grad__lua_check(L, grad__direct_partial(p, p->instrs[i].out + k, v->at, scalars));
  const grad_instr *culprit = find_culprit(p, v, &position, &value);
  for (int32_t k = 0; k < p->noutputs; k++) bad_output = bad_output || is_bad(&v->at[p->outputs[k]]);
  lua_pop(L, 1);
  if (!culprit) return;
  describe(p, culprit, position, value, stage, text, sizeof text);
  bool hidden = goes_into_where(p, culprit);
  if (bad_output)
    grad__lua_error(L, "%s%s", text,
                    hidden ? "; it goes into where: make the argument safe first, as in log(where(mask, x, 1))" : "");
  if (!hidden) return;
  lua_warning(L, text, 1);
  lua_warning(
      L, "; where does not take it, but a derivative may: make the argument safe first, as in log(where(mask, x, 1))",
      0);
}

/* gl.debug([on]) -> whether it was on */
static int debug(lua_State *L) {
  grad_lua *g = grad__lua(L);
  bool before = g->debug;
  g->debug = grad__arg_boolean_or(L, 1, "the switch", true);
  if (g->debug) lua_warning(L, "@on", 0);
  lua_pushboolean(L, before);
  return 1;
}

static const grad_fn rows[] = {
    GRAD_FUNCTION(
        "debug", debug, "[on = true] -> boolean",
        "checks every value from now on: the first NaN or Inf, of a value or a derivative, is an error that names its "
        "operation and line; gives what it was before"),
    GRAD_FN_END,
};

void grad__open_debug(lua_State *L) { grad__lua_register(L, rows); }
