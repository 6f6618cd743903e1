/* bind_update.c: update rules and learning rate schedules: the table `internal.rules`, on which lua/gradlua/optim
 * stands. A rule is an object that holds the options; what belongs to a tensor of parameters (slots, scalars) is a Lua
 * table.
 */
#include <math.h>
#include <string.h>

#include "lua/binding.h"
#include "lua/toolkits/fields.h"
#include "lua/modules.h"
#include "optim/schedule.h"
#include "optim/update.h"

typedef struct rule_object {
  grad_rule rule;
  grad_update_options options;
} rule_object;

static const char rule_name[] = "gradlua.rule";

#define FIELD(name, kind) GRAD_FIELD(grad_update_options, #name, name, kind)
static const grad_field rule_fields[] = {
    FIELD(lr, DOUBLE),
    FIELD(weight_decay, DOUBLE),
    FIELD(decoupled, BOOLEAN),
    FIELD(maximize, BOOLEAN),
    FIELD(clip_value, DOUBLE),
    FIELD(momentum, DOUBLE),
    FIELD(dampening, DOUBLE),
    FIELD(nesterov, BOOLEAN),
    FIELD(beta1, DOUBLE),
    FIELD(beta2, DOUBLE),
    FIELD(eps, DOUBLE),
    FIELD(amsgrad, BOOLEAN),
    FIELD(alpha, DOUBLE),
    FIELD(momentum_decay, DOUBLE),
    FIELD(centered, BOOLEAN),
    FIELD(rho, DOUBLE),
    FIELD(lr_decay, DOUBLE),
    FIELD(eta_minus, DOUBLE),
    FIELD(eta_plus, DOUBLE),
    FIELD(step_min, DOUBLE),
    FIELD(step_max, DOUBLE),
    FIELD(lambd, DOUBLE),
    FIELD(t0, DOUBLE),
    FIELD(ns_steps, INT),
    FIELD(ns_a, DOUBLE),
    FIELD(ns_b, DOUBLE),
    FIELD(ns_c, DOUBLE),
    FIELD(adjust_lr, INT),
    GRAD_FIELD(grad_update_options, "initial_accumulator_value", initial_accumulator, DOUBLE),
    GRAD_FIELDS_END};
#undef FIELD

static rule_object *check_rule(lua_State *L) { return grad__arg_self(L, rule_name, "a rule"); }

static void read_options(lua_State *L, int index, rule_object *r) {
  if (lua_isnoneornil(L, index)) return;
  luaL_checktype(L, index, LUA_TTABLE);
  grad__fields_read(L, index, rule_fields, &r->options);
  grad__lua_check(L, grad_update_check(grad__lua_ctx(L), r->rule, &r->options));
}

static int rules_new(lua_State *L) {
  grad_rule rule;
  grad__lua_check(L, grad_rule_find(grad__lua_ctx(L), luaL_checkstring(L, 1), &rule));
  rule_object *r = lua_newuserdatauv(L, sizeof *r, 0);
  r->rule = rule;
  grad_update_defaults(rule, &r->options);
  luaL_setmetatable(L, rule_name);
  read_options(L, 2, r);
  return 1;
}

/* text(name): whose rule it is */
static int rules_text(lua_State *L) {
  grad_rule rule;
  grad__lua_check(L, grad_rule_find(grad__lua_ctx(L), luaL_checkstring(L, 1), &rule));
  lua_pushstring(L, grad_rule_text(rule));
  return 1;
}

static int rule_set(lua_State *L) {
  read_options(L, 2, check_rule(L));
  return 0;
}

static int rule_get(lua_State *L) {
  const rule_object *r = check_rule(L);
  const grad_field *field = grad__fields_find(rule_fields, luaL_checkstring(L, 2));
  if (!field) return 0;
  grad__fields_push(L, field, &r->options);
  return 1;
}

static int rule_slots(lua_State *L) {
  const rule_object *r = check_rule(L);
  const int n = grad_update_slots(r->rule, &r->options);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_pushstring(L, grad_update_slot_name(r->rule, &r->options, i));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* Pushes the array of `dtype` and row-major that the tensor at `index` is, or a copy of it that is so. */
static grad_array *push_plain(lua_State *L, int index, const grad_tensor *t, grad_dtype dtype) {
  if (t->array.dtype != dtype || !grad__array_is_contiguous(&t->array))
    return grad__tensor_push_copy(L, &t->array, dtype);
  lua_pushvalue(L, index);
  return (grad_array *)&t->array;
}

static bool same_shape(const grad_array *a, const grad_array *b) {
  return grad__shape_equal(a->ndim, a->shape, b->ndim, b->shape);
}

/* Pushes the field `name` of the state at `index`: a row-major tensor of that dtype and of n entries. */
static grad_array *push_state(lua_State *L, int index, const char *name, grad_dtype dtype, int64_t n) {
  lua_getfield(L, index, name);
  grad_tensor *t = grad__tensor_to(L, -1);
  if (!t || t->array.dtype != dtype || grad__array_numel(&t->array) != n || !grad__array_is_contiguous(&t->array))
    grad__lua_error(L, "the optimizer's state '%s' does not fit the parameter: %lld entries of %s were expected", name,
                    (long long)n, grad__dtype_name(dtype));
  return &t->array;
}

/* rule:update(step, scale, param, gradient, state) */
static int rule_update(lua_State *L) {
  const rule_object *r = check_rule(L);
  const int64_t step = grad__arg_integer(L, 2, "step");
  const double scale = grad__arg_number(L, 3, "scale");
  grad_tensor *param = grad__tensor_check_writable(L, 4, "the parameter");
  const grad_tensor *gradient = grad__tensor_check_concrete(L, 5, "the gradient");
  luaL_checktype(L, 6, LUA_TTABLE);
  if (!same_shape(&param->array, &gradient->array)) {
    grad__lua_error(L, "optim.%s:step: the gradient's shape %s is not that of its parameter, %s",
                    grad_rule_name(r->rule), grad__shape_text(gradient->array.ndim, gradient->array.shape).chars,
                    grad__shape_text(param->array.ndim, param->array.shape).chars);
  }
  const grad_dtype dtype = param->array.dtype;
  if (!grad__dtype_is_float(dtype))
    grad__lua_error(L, "a parameter must be f64 or f32, not %s", grad__dtype_name(dtype));

  grad_update_target target = {.dtype = dtype, .n = grad__array_numel(&param->array)};
  target.rows = param->array.ndim > 1 ? param->array.shape[0] : 0;
  const grad_array *plain = push_plain(L, 4, param, dtype);
  target.param = plain->data;
  target.gradient = push_plain(L, 5, gradient, dtype)->data;
  const int slots = grad_update_slots(r->rule, &r->options);
  for (int i = 0; i < slots; i++)
    target.slot[i] = push_state(L, 6, grad_update_slot_name(r->rule, &r->options, i), dtype, target.n)->data;
  double *scalars = push_state(L, 6, "scalars", GRAD_F64, GRAD_UPDATE_SCALARS)->data;
  memcpy(target.scalar, scalars, sizeof target.scalar);
  grad__lua_check(L, grad_update(grad__lua_ctx(L), r->rule, &r->options, step, scale, &target));
  memcpy(scalars, target.scalar, sizeof target.scalar);
  if (plain != &param->array) grad__array_copy(&param->array, plain);
  return 0;
}

/* norm(list of tensors) -> Euclidean norm of all entries, not finite when one is not */
static int rules_norm(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  double sum = 0;
  const lua_Integer n = luaL_len(L, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 1, i);
    const grad_tensor *t = grad__tensor_check_concrete(L, -1, "a gradient");
    const grad_dtype dtype = t->array.dtype == GRAD_F32 ? GRAD_F32 : GRAD_F64;
    const grad_array *plain = push_plain(L, lua_gettop(L), t, dtype);
    sum += grad_update_norm_squared(dtype, grad__array_numel(plain), plain->data);
    lua_pop(L, 2);
  }
  lua_pushnumber(L, sqrt(sum));
  return 1;
}

/* Two tensors at 1 and 2 of one float dtype and shape; 1 is written, row-major. */
static void check_pair(lua_State *L, grad_tensor **to, const grad_array **from) {
  *to = grad__tensor_check_writable(L, 1, "the first tensor");
  const grad_tensor *t = grad__tensor_check_concrete(L, 2, "the second tensor");
  const grad_dtype dtype = (*to)->array.dtype;
  if (!same_shape(&(*to)->array, &t->array) || !grad__dtype_is_float(dtype) ||
      !grad__array_is_contiguous(&(*to)->array))
    grad__lua_error(L, "both tensors must be of one shape");
  *from = push_plain(L, 2, t, dtype);
}

/* ema(average, x, decay) */
static int rules_ema(lua_State *L) {
  grad_tensor *to;
  const grad_array *from;
  const double decay = grad__arg_number(L, 3, "decay");
  check_pair(L, &to, &from);
  grad_update_ema(to->array.dtype, grad__array_numel(from), decay, from->data, to->array.data);
  return 0;
}

/* accumulate(sum, x, scale) */
static int rules_accumulate(lua_State *L) {
  grad_tensor *to;
  const grad_array *from;
  const double scale = grad__arg_number(L, 3, "scale");
  check_pair(L, &to, &from);
  grad_update_accumulate(to->array.dtype, grad__array_numel(from), scale, from->data, to->array.data);
  return 0;
}

/* --- schedules */
typedef struct schedule_object {
  grad_schedule schedule;
  grad_plateau plateau;
  bool begun;
  int64_t milestones[]; /* the schedule borrows them */
} schedule_object;

static const char schedule_name[] = "gradlua.schedule";

#define FIELD(option, kind, name) GRAD_FIELD(grad_schedule, option, name, kind)
static const grad_field schedule_fields[] = {FIELD("factor", DOUBLE, factor),
                                             FIELD("total_iters", DOUBLE, total_iters),
                                             FIELD("step_size", DOUBLE, step_size),
                                             FIELD("gamma", DOUBLE, gamma),
                                             FIELD("start_factor", DOUBLE, start_factor),
                                             FIELD("end_factor", DOUBLE, end_factor),
                                             FIELD("steps", DOUBLE, steps),
                                             FIELD("T_max", DOUBLE, t_max),
                                             FIELD("eta_min", DOUBLE, eta_min),
                                             FIELD("T_0", DOUBLE, t_0),
                                             FIELD("T_mult", DOUBLE, t_mult),
                                             FIELD("max_lr", DOUBLE, max_lr),
                                             FIELD("total_steps", DOUBLE, total_steps),
                                             FIELD("pct_start", DOUBLE, pct_start),
                                             FIELD("div_factor", DOUBLE, div_factor),
                                             FIELD("final_div_factor", DOUBLE, final_div_factor),
                                             FIELD("three_phase", BOOLEAN, three_phase),
                                             FIELD("base_lr", DOUBLE, base_lr),
                                             FIELD("step_size_up", DOUBLE, step_size_up),
                                             FIELD("step_size_down", DOUBLE, step_size_down),
                                             FIELD("power", DOUBLE, power),
                                             FIELD("patience", DOUBLE, patience),
                                             FIELD("threshold", DOUBLE, threshold),
                                             FIELD("cooldown", DOUBLE, cooldown),
                                             FIELD("min_lr", DOUBLE, min_lr),
                                             FIELD("eps", DOUBLE, eps),
                                             GRAD_FIELDS_END};
#undef FIELD

static schedule_object *check_schedule(lua_State *L) { return grad__arg_self(L, schedule_name, "a schedule"); }

/* Pushes the list that the option is (nil: none) and returns its length. */
static int64_t push_milestones(lua_State *L, int options) {
  return grad__option_push(L, options, "milestones") == LUA_TTABLE ? luaL_len(L, -1) : 0;
}

static void read_choices(lua_State *L, int options, grad_schedule *s) {
  static const char *const anneal[] = {"cos", "linear", NULL};
  static const char *const cyclic[] = {"triangular", "triangular2", "exp_range", NULL};
  static const char *const direction[] = {"min", "max", NULL};
  static const char *const threshold[] = {"rel", "abs", NULL};
  s->linear_anneal = grad__option_choice(L, options, "anneal_strategy", anneal, 0) == 1;
  s->absolute = grad__option_choice(L, options, "threshold_mode", threshold, 0) == 1;
  if (s->kind == GRAD_SCHEDULE_CYCLIC) s->mode = (grad_cycle)grad__option_choice(L, options, "mode", cyclic, 0);
  if (s->kind == GRAD_SCHEDULE_PLATEAU) s->maximize = grad__option_choice(L, options, "mode", direction, 0) == 1;
}

/* schedule(kind, options) */
static int rules_schedule(lua_State *L) {
  grad_schedule_kind kind;
  grad__lua_check(L, grad_schedule_find(grad__lua_ctx(L), luaL_checkstring(L, 1), &kind));
  luaL_checktype(L, 2, LUA_TTABLE);
  const int64_t n = push_milestones(L, 2);
  schedule_object *s = lua_newuserdatauv(L, sizeof *s + (size_t)n * sizeof(int64_t), 0);
  memset(s, 0, sizeof *s);
  grad_schedule_defaults(kind, &s->schedule);
  luaL_setmetatable(L, schedule_name);
  for (int64_t i = 0; i < n; i++) {
    lua_rawgeti(L, -2, i + 1);
    s->milestones[i] = grad__arg_integer(L, -1, "a milestone");
    lua_pop(L, 1);
  }
  s->schedule.milestones = s->milestones;
  s->schedule.milestone_count = n;
  grad__fields_read(L, 2, schedule_fields, &s->schedule);
  read_choices(L, 2, &s->schedule);
  grad__lua_check(L, grad_schedule_check(grad__lua_ctx(L), &s->schedule));
  return 1;
}

/* schedule:rate(base, step) */
static int schedule_rate(lua_State *L) {
  const schedule_object *s = check_schedule(L);
  const double base = grad__arg_number(L, 2, "the base rate");
  const int64_t step = grad__arg_integer(L, 3, "step");
  const bool plateau = s->schedule.kind == GRAD_SCHEDULE_PLATEAU;
  lua_pushnumber(L, plateau && s->begun ? s->plateau.rate : grad_schedule_rate(&s->schedule, base, step));
  return 1;
}

/* schedule:observe(base, metric): tells a plateau schedule what was measured */
static int schedule_observe(lua_State *L) {
  schedule_object *s = check_schedule(L);
  const double base = grad__arg_number(L, 2, "the base rate"), metric = grad__arg_number(L, 3, "the metric");
  if (s->schedule.kind != GRAD_SCHEDULE_PLATEAU) grad__lua_error(L, "only a plateau schedule observes a metric");
  if (!s->begun) grad_plateau_begin(&s->schedule, base, &s->plateau);
  s->begun = true;
  grad_plateau_step(&s->schedule, metric, &s->plateau);
  return 0;
}

static const grad_fn rule_methods[] = {
    GRAD_FUNCTION("set", rule_set, "self, options", "changes options"),
    GRAD_FUNCTION("get", rule_get, "self, name -> value", "the value of an option"),
    GRAD_FUNCTION("slots", rule_slots, "self -> names", "the names of what is kept for each parameter"),
    GRAD_FUNCTION("update", rule_update, "self, step, scale, param, gradient, state", "one step, in place"),
    GRAD_FN_END};

static const grad_fn schedule_methods[] = {
    GRAD_FUNCTION("rate", schedule_rate, "self, base, step -> number", "the rate at a step (0, 1, ...)"),
    GRAD_FUNCTION("observe", schedule_observe, "self, base, metric", "tells a plateau schedule what was measured"),
    GRAD_FN_END};

static const grad_fn rows[] = {
    GRAD_FUNCTION("rule", rules_new, "name, options -> rule", "an update rule"),
    GRAD_FUNCTION("text", rules_text, "name -> string", "the source of an update rule"),
    GRAD_FUNCTION("schedule", rules_schedule, "kind, options -> schedule", "a schedule of learning rates"),
    GRAD_FUNCTION("norm", rules_norm, "tensors -> number", "Euclidean norm of all entries"),
    GRAD_FUNCTION("ema", rules_ema, "average, x, decay", "average = decay * average + (1 - decay) * x, in place"),
    GRAD_FUNCTION("accumulate", rules_accumulate, "sum, x, scale", "sum += scale * x, in place"),
    GRAD_FN_END};

void grad__open_bind_update(lua_State *L) {
  grad__lua_metatable(L, rule_name, rule_methods);
  grad__lua_metatable(L, schedule_name, schedule_methods);
  lua_pop(L, 2);
  lua_newtable(L);
  grad__lua_register(L, rows);
  gradlua__modules_publish(L, "rules");
}
