/* rows_reduce.c: reductions, scans along an axis, sorting. */
#include <math.h>

#include "lua/call.h"
#include "ops/compose.h"

static uint32_t axes(const grad_call *c, grad_id x) {
  return grad__arg_axes(c->L, 2, "axis", grad__call_type(c, x)->ndim);
}

static bool keepdim(const grad_call *c) { return grad__option_boolean(c->L, c->options, "keepdim", false); }

typedef grad_id (*reduction)(grad_program *p, grad_id x, uint32_t axes, bool keepdim);

static void reduce(grad_call *c, reduction f) {
  grad_id x = grad__call_dense(c, 1, "x");
  grad__call_return(c, f(c->p, x, axes(c, x), keepdim(c)));
}

static void build_sum(grad_call *c) { reduce(c, grad__sum); }
static void build_mean(grad_call *c) { reduce(c, grad__mean); }
static void build_prod(grad_call *c) { reduce(c, grad__prod); }
static void build_any(grad_call *c) { reduce(c, grad__any); }
static void build_all(grad_call *c) { reduce(c, grad__all); }
static void build_median(grad_call *c) { reduce(c, grad__median); }
static void build_logsumexp(grad_call *c) { reduce(c, grad__logsumexp); }

/* gl.max(a, b) with a tensor b is maximum; a number or a list is an axis. */
static void extremum(grad_call *c, reduction f, const grad_op *pairwise) {
  bool pair = c->nargs >= 2 && grad__tensor_to(c->L, 2);
  if (!pair && c->nargs >= 2 && lua_type(c->L, 1) == LUA_TNUMBER) pair = !lua_isnil(c->L, 2);
  if (!pair) {
    reduce(c, f);
    return;
  }
  grad_id a = grad__call_value(c, 1, "argument 1"), b = grad__call_value_like(c, 2, "argument 2", a);
  grad__call_return(c, grad__op2(c->p, pairwise, a, b));
}

static void build_max(grad_call *c) { extremum(c, grad__max, &grad__op_maximum); }
static void build_min(grad_call *c) { extremum(c, grad__min, &grad__op_minimum); }

static void spread(grad_call *c, grad_id (*f)(grad_program *, grad_id, uint32_t, bool, double)) {
  grad_id x = grad__call_dense(c, 1, "x");
  double correction = grad__option_number(c->L, c->options, "correction", 1);
  grad__call_return(c, f(c->p, x, axes(c, x), keepdim(c), correction));
}

static void build_var(grad_call *c) { spread(c, grad__var); }
static void build_std(grad_call *c) { spread(c, grad__std); }

static void build_norm(grad_call *c) {
  grad_id x = grad__call_dense(c, 1, "x");
  double order = grad__option_number(c->L, c->options, "p", 2);
  if (!(order >= 0 || order == -HUGE_VAL))
    grad__lua_error(c->L, "p must be at least 0, or math.huge or -math.huge, got %g", order);
  grad__call_return(c, grad__norm(c->p, x, axes(c, x), keepdim(c), order));
}

static grad_id from_one(grad_call *c, grad_id positions) {
  return grad__op2(c->p, &grad__op_add, positions, grad__full(c->p, 1, GRAD_I64, 0, NULL));
}

/* Positions from 1; with no axis, that in row order. */
static void arg_extremum(grad_call *c, const grad_op *op) {
  grad_id x = grad__call_tensor(c, 1, "x");
  grad_type type = *grad__call_type(c, x);
  int64_t numel = grad__type_numel(&type);
  bool flat = lua_isnil(c->L, 2);
  int axis = flat ? 0 : grad__arg_axis(c->L, 2, "axis", type.ndim);
  if (flat) x = grad__reshape(c->p, x, 1, &numel);
  grad_id at = from_one(c, grad__arg_extremum(c->p, op, x, axis));
  if (at == GRAD_NONE || !keepdim(c)) {
    grad__call_return(c, at);
    return;
  }
  int64_t kept[GRAD_MAX_AXES];
  for (int i = 0; i < type.ndim; i++) kept[i] = flat || i == axis ? 1 : type.shape[i];
  grad__call_return(c, grad__reshape(c->p, at, type.ndim, kept));
}

static void build_argmax(grad_call *c) { arg_extremum(c, &grad__op_argmax); }
static void build_argmin(grad_call *c) { arg_extremum(c, &grad__op_argmin); }

/* --- along one axis: the last by default */

static int one_axis(const grad_call *c, grad_id x, int arg) {
  int ndim = grad__call_type(c, x)->ndim;
  if (ndim == 0) grad__lua_error(c->L, "needs a tensor with an axis, got a 0-d one");
  return grad__arg_axis_or(c->L, arg, "axis", ndim, ndim - 1);
}

static void along(grad_call *c, grad_id (*f)(grad_program *, grad_id, int)) {
  grad_id x = grad__call_tensor(c, 1, "x");
  grad__call_return(c, f(c->p, x, one_axis(c, x, 2)));
}

static void build_cumsum(grad_call *c) { along(c, grad__cumsum); }
static void build_cumprod(grad_call *c) { along(c, grad__cumprod); }
static void build_softmax(grad_call *c) { along(c, grad__softmax); }
static void build_log_softmax(grad_call *c) { along(c, grad__log_softmax); }

static void build_sort(grad_call *c) {
  grad_id x = grad__call_tensor(c, 1, "x"), positions = GRAD_NONE;
  bool descending = grad__option_boolean(c->L, c->options, "descending", false);
  grad_id values = grad__sort(c->p, x, one_axis(c, x, 2), descending, &positions);
  grad__call_return(c, values);
  grad__call_return(c, from_one(c, positions));
}

static void build_argsort(grad_call *c) {
  grad_id x = grad__call_tensor(c, 1, "x"), positions = GRAD_NONE;
  bool descending = grad__option_boolean(c->L, c->options, "descending", false);
  grad__sort(c->p, x, one_axis(c, x, 2), descending, &positions);
  grad__call_return(c, from_one(c, positions));
}

static void build_topk(grad_call *c) {
  grad_id x = grad__call_tensor(c, 1, "x"), positions = GRAD_NONE;
  int64_t k = grad__arg_integer(c->L, 2, "k");
  int axis = one_axis(c, x, 3);
  int64_t extent = grad__call_type(c, x)->shape[axis];
  if (k < 0 || k > extent)
    grad__lua_error(c->L, "k = %lld is not in 0 .. %lld, the extent of axis %d", (long long)k, (long long)extent,
                    axis + 1);
  bool largest = grad__option_boolean(c->L, c->options, "largest", true);
  grad_id values = grad__topk(c->p, x, k, axis, largest, &positions);
  grad__call_return(c, values);
  grad__call_return(c, from_one(c, positions));
}

static const grad_fn rows[] = {
    GRAD_BUILDER(sum, "x [, axis] [, {keepdim = false}] -> tensor", "sum over all axes, one, or a list"),
    GRAD_BUILDER(mean, "x [, axis] [, {keepdim = false}] -> tensor", "arithmetic mean"),
    GRAD_BUILDER(prod, "x [, axis] [, {keepdim = false}] -> tensor", "product; derivatives are right with zeros too"),
    GRAD_PLAIN_BUILDER(max, "x [, axis] [, {keepdim = false}] -> tensor",
                       "largest value; ties share the derivative; max(a, b) of two tensors is maximum"),
    GRAD_PLAIN_BUILDER(min, "x [, axis] [, {keepdim = false}] -> tensor",
                       "smallest value; ties share the derivative; min(a, b) of two tensors is minimum"),
    GRAD_BUILDER(any, "x [, axis] [, {keepdim = false}] -> tensor", "is any element true (not 0)?"),
    GRAD_BUILDER(all, "x [, axis] [, {keepdim = false}] -> tensor", "are all elements true (not 0)?"),
    GRAD_BUILDER(median, "x [, axis] [, {keepdim = false}] -> tensor",
                 "median; the mean of the two in the middle of an even count"),
    GRAD_BUILDER(logsumexp, "x [, axis] [, {keepdim = false}] -> tensor",
                 "log of the sum of exponentials, without overflow"),
    GRAD_BUILDER(var, "x [, axis] [, {keepdim = false, correction = 1}] -> tensor",
                 "variance: squared deviations over n - correction"),
    GRAD_BUILDER(std, "x [, axis] [, {keepdim = false, correction = 1}] -> tensor",
                 "standard deviation: the root of var"),
    GRAD_BUILDER(norm, "x [, axis] [, {keepdim = false, p = 2}] -> tensor",
                 "p-norm, over all entries by default; slope 0 at 0"),
    GRAD_BUILDER(argmax, "x [, axis] [, {keepdim = false}] -> i64 tensor",
                 "position of the first largest value; with no axis, in row order"),
    GRAD_BUILDER(argmin, "x [, axis] [, {keepdim = false}] -> i64 tensor",
                 "position of the first smallest value; with no axis, in row order"),
    GRAD_BUILDER(cumsum, "x [, axis = -1] -> tensor", "running sum"),
    GRAD_BUILDER(cumprod, "x [, axis = -1] -> tensor", "running product"),
    GRAD_BUILDER(softmax, "x [, axis = -1] -> tensor", "exponentials that sum to 1 along the axis"),
    GRAD_BUILDER(log_softmax, "x [, axis = -1] -> tensor", "log of softmax, without overflow"),
    GRAD_BUILDER(sort, "x [, axis = -1] [, {descending = false}] -> values, positions", "stable sort along an axis"),
    GRAD_BUILDER(argsort, "x [, axis = -1] [, {descending = false}] -> positions", "the positions that sort"),
    GRAD_BUILDER(
        topk, "x, k [, axis = -1] [, {largest = true}] -> values, positions",
        "the k largest, largest first; of equal ones the first, and the derivative is that of the positions given"),
    GRAD_FN_END,
};

void grad__open_rows_reduce(lua_State *L) { grad__lua_register(L, rows); }
