/* op_scan.c: cumsum, cumprod, recurrence: results that run along one axis.
 *
 * params  cumsum: {axis, reverse}   cumprod: {axis}   recurrence: {axis, reverse}
 * recurrence: y[k] = a[k] * y[k - 1] + b[k], y[-1] = 0. It is linear in b, and it is the derivative of cumprod: without
 * a division, so right where factors are zero, and to every order, in O(n). */
#include "ops/axes.h"
#include "ops/compose.h"
#include "ops/demand.h"
#include "ops/structured.h"

static grad_status infer_scan(grad_infer *a) {
  const grad_type *x = &a->in[0];
  const grad_status status = grad__infer_axis(a);
  if (status != GRAD_OK) return status;
  if (x->dtype == GRAD_BOOL) return grad__fail(a->ctx, GRAD_EDTYPE, "%s: expected numbers, got bool", a->op->name);
  for (int i = 1; i < a->nin; i++) {
    if (!grad__type_equal(&a->in[i], x))
      return grad__fail(a->ctx, GRAD_ESHAPE, "%s: operands of %s and %s must be of one type", a->op->name,
                        grad__type_text(x).chars, grad__type_text(&a->in[i]).chars);
  }
  return grad__infer_out(a, 0, x->dtype, x->ndim, x->shape);
}

/* A line of a scan: n elements of up to two operands and of the result, each with its own step. */
typedef struct line {
  int64_t n, step[2], out_step;
  const void *in[2];
  void *out;
} line;

typedef void (*line_fn)(const line *l);

#define LINES(T, name)                                                                                                 \
  static void cumsum_##name(const line *l) {                                                                           \
    const T *x = l->in[0];                                                                                             \
    T *y = l->out, sum = 0;                                                                                            \
    for (int64_t i = 0; i < l->n; i++) y[i * l->out_step] = sum += x[i * l->step[0]];                                  \
  }                                                                                                                    \
  static void cumprod_##name(const line *l) {                                                                          \
    const T *x = l->in[0];                                                                                             \
    T *y = l->out, product = 1;                                                                                        \
    for (int64_t i = 0; i < l->n; i++) y[i * l->out_step] = product *= x[i * l->step[0]];                              \
  }                                                                                                                    \
  static void recurrence_##name(const line *l) {                                                                       \
    const T *a = l->in[0], *b = l->in[1];                                                                              \
    T *y = l->out, last = 0;                                                                                           \
    for (int64_t i = 0; i < l->n; i++)                                                                                 \
      y[i * l->out_step] = last = (i ? a[i * l->step[0]] * last : 0) + b[i * l->step[1]];                              \
  }
LINES(double, f64)
LINES(float, f32)
LINES(uint64_t, i64) /* wraps around */

/* Runs `scan` over every line along params[0]; backwards from the last element when reversed. */
static void run_lines(const grad_eval *a, line_fn scan, bool reverse) {
  const int axis = (int)a->ins->params[0], nin = a->ins->nin;
  const grad_array *y = a->out[0];
  if (grad__array_numel(y) == 0) return;
  const int64_t size = (int64_t)grad__dtype_size(y->dtype), n = y->shape[axis];
  const int64_t sign = reverse ? -1 : 1, first = reverse ? n - 1 : 0;
  const grad_array *arrays[] = {y, a->in[0], a->in[nin - 1]};
  grad_array heads[3];
  for (int k = 0; k < 3; k++) grad__view_drop(arrays[k], axis, first, &heads[k]);
  const grad_array *walked[] = {&heads[0], &heads[1], &heads[2]};
  grad_walk w;
  for (grad__walk_start(&w, 3, walked); !w.done; grad__walk_next(&w))
    for (int64_t i = 0; i < w.inner; i++) {
      const line l = {.n = n,
                      .step = {sign * arrays[1]->strides[axis], sign * arrays[2]->strides[axis]},
                      .out_step = sign * y->strides[axis],
                      .in = {w.at[1] + i * w.step[1] * size, w.at[2] + i * w.step[2] * size},
                      .out = w.at[0] + i * w.step[0] * size};
      scan(&l);
    }
}

static line_fn pick(const grad_eval *a, line_fn f64, line_fn f32, line_fn i64) {
  return a->out[0]->dtype == GRAD_F64 ? f64 : a->out[0]->dtype == GRAD_F32 ? f32 : i64;
}

/* On what stands before it, itself included; reversed, after it. */
static grad_status scan_dependence(grad_sparsity *a) {
  const grad_line line = grad__line_through(grad__type(a->p, a->ins->in[0]), (int)a->ins->params[0], a->element);
  const bool reverse = a->ins->nparams > 1 && a->ins->params[1];
  return grad__depend_on_line(a, &line, reverse ? line.place : 0, reverse ? line.extent : line.place + 1);
}

/* --- cumsum */

static grad_status cumsum_eval(const grad_eval *a) {
  run_lines(a, pick(a, cumsum_f64, cumsum_f32, cumsum_i64), a->ins->params[1]);
  return GRAD_OK;
}

static void cumsum_transpose(grad_transpose *a) {
  const int64_t *params = a->ins->params;
  a->cx[0] = grad__emit1(a->p, &grad__op_cumsum, a->cy[0], 2, (const int64_t[]){params[0], !params[1]});
}

const grad_op grad__op_cumsum = {.name = "cumsum",
                                 .nin = 1,
                                 .nout = 1,
                                 .sparsity = GRAD_SPARSITY_CUSTOM,
                                 .dependence = scan_dependence,
                                 .flags = GRAD_OP_LINEAR,
                                 .infer = infer_scan,
                                 .eval = cumsum_eval,
                                 .transpose = cumsum_transpose,
                                 .batch = grad__batch_axis,
                                 .crop = grad__crop_lines};

static grad_id numbers(grad_program *p, grad_id x) {
  return x != GRAD_NONE && grad__type(p, x)->dtype == GRAD_BOOL ? grad__convert(p, x, GRAD_I64) : x;
}

grad_id grad__cumsum(grad_program *p, grad_id x, int axis) {
  return grad__emit1(p, &grad__op_cumsum, numbers(p, x), 2, (const int64_t[]){axis, false});
}

/* --- recurrence */

static grad_status recurrence_eval(const grad_eval *a) {
  run_lines(a, pick(a, recurrence_f64, recurrence_f32, recurrence_i64), a->ins->params[1]);
  return GRAD_OK;
}

/* x moved by one along the axis, away from the start of the recurrence (forward) or towards it; zero moves in. */
static grad_id shift(grad_program *p, grad_id x, int axis, bool up) {
  if (x == GRAD_NONE || grad__extent(p, x, axis) == 0) return x;
  const int64_t n = grad__extent(p, x, axis);
  int64_t before[GRAD_MAX_AXES] = {0}, after[GRAD_MAX_AXES] = {0};
  before[axis] = up;
  after[axis] = !up;
  return grad__pad(p, grad__slice_axis(p, x, axis, up ? 0 : 1, n - 1, 1), before, after, 0);
}

/* dy[k] = a[k] dy[k - 1] + (db[k] + da[k] y[k - 1]) */
static void recurrence_jvp(grad_jvp *a) {
  grad_program *p = a->p;
  const int axis = (int)a->ins->params[0];
  const bool reverse = a->ins->params[1];
  grad_id db = a->dx[1];
  if (a->dx[0] != GRAD_NONE) db = grad__add_tangents(p, db, grad__mulz(p, a->dx[0], shift(p, a->y[0], axis, !reverse)));
  a->dy[0] = grad__recurrence(p, a->x[0], db, axis, reverse);
}

/* cb[k] = cy[k] + a[k + 1] cb[k + 1] */
static void recurrence_transpose(grad_transpose *a) {
  const int axis = (int)a->ins->params[0];
  const bool reverse = a->ins->params[1];
  a->cx[1] = grad__recurrence(a->p, shift(a->p, a->x[0], axis, reverse), a->cy[0], axis, !reverse);
}

static double recurrence_flops(const grad_program *p, const grad_instr *ins) {
  return 2 * (double)grad__type_numel(grad__type(p, ins->out));
}

const grad_op grad__op_recurrence = {.name = "recurrence",
                                     .nin = 2,
                                     .nout = 1,
                                     .sparsity = GRAD_SPARSITY_CUSTOM,
                                     .dependence = scan_dependence,
                                     .infer = infer_scan,
                                     .eval = recurrence_eval,
                                     .jvp = recurrence_jvp,
                                     .transpose = recurrence_transpose,
                                     .batch = grad__batch_axis,
                                     .crop = grad__crop_lines,
                                     .flops = recurrence_flops};

grad_id grad__recurrence(grad_program *p, grad_id a, grad_id b, int axis, bool reverse) {
  return grad__emit2(p, &grad__op_recurrence, a, b, 2, (const int64_t[]){axis, reverse});
}

/* --- cumprod */

static grad_status cumprod_eval(const grad_eval *a) {
  run_lines(a, pick(a, cumprod_f64, cumprod_f32, cumprod_i64), false);
  return GRAD_OK;
}

/* dy[k] = x[k] dy[k - 1] + dx[k] y[k - 1], with y[-1] = 1 */
static void cumprod_jvp(grad_jvp *a) {
  grad_program *p = a->p;
  const int axis = (int)a->ins->params[0];
  const grad_id y = a->y[0];
  if (y == GRAD_NONE || grad__extent(p, y, axis) == 0) return;
  int64_t before[GRAD_MAX_AXES] = {0}, after[GRAD_MAX_AXES] = {0};
  before[axis] = 1;
  const grad_id earlier =
      grad__pad(p, grad__slice_axis(p, y, axis, 0, grad__extent(p, y, axis) - 1, 1), before, after, 1);
  a->dy[0] = grad__recurrence(p, a->x[0], grad__mulz(p, a->dx[0], earlier), axis, false);
}

const grad_op grad__op_cumprod = {.name = "cumprod",
                                  .nin = 1,
                                  .nout = 1,
                                  .sparsity = GRAD_SPARSITY_CUSTOM,
                                  .dependence = scan_dependence,
                                  .infer = infer_scan,
                                  .eval = cumprod_eval,
                                  .jvp = cumprod_jvp,
                                  .batch = grad__batch_axis,
                                  .crop = grad__crop_lines};

grad_id grad__cumprod(grad_program *p, grad_id x, int axis) {
  return grad__emit1(p, &grad__op_cumprod, numbers(p, x), 1, (const int64_t[]){axis});
}
