/* formula.c: programs as formulas; see formula.h. Every value of the program becomes an array of expressions
 * (algebra.h), held as i64. Ops that only move elements are then run as they are, on these arrays: their zeros are
 * expression 0, which is the number 0. */
#include "fn/formula.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "exec/exec.h"
#include "fn/algebra.h"

enum { MOST_ELEMENTS = 4096 };

typedef struct writer {
  const grad_program *p;
  const double *scalars;
  grad_algebra a;
  grad_array *values; /* by value id */
} writer;

static int64_t *elements(const writer *w, grad_id v) { return w->values[v].data; }

static grad_status make_room(writer *w, grad_id v) {
  const grad_type *t = grad__type(w->p, v);
  const int64_t n = grad__type_numel(t);
  if (n < 0 || n > MOST_ELEMENTS) {
    return grad__fail(w->p->ctx, GRAD_EUNSUPPORTED,
                      "formula: a value of %s is too large to write out (at most %d elements)",
                      grad__type_text(t).chars, MOST_ELEMENTS);
  }
  void *data = grad__arena_alloc(&w->a.arena, (size_t)(n + 1) * sizeof(int64_t));
  if (!data) return w->p->ctx->status;
  grad__array_wrap(&w->values[v], data, GRAD_I64, t->ndim, t->shape);
  return GRAD_OK;
}

/* v is the numbers of an array. */
static grad_status number_elements(writer *w, grad_id v, const grad_array *from) {
  grad_array wide;
  grad_status status = make_room(w, v);
  if (status == GRAD_OK) status = grad__array_new(w->p->ctx, GRAD_F64, from->ndim, from->shape, &wide);
  if (status != GRAD_OK) return status;
  grad__array_copy(&wide, from);
  const int64_t n = grad__array_numel(&wide);
  for (int64_t i = 0; i < n; i++) elements(w, v)[i] = grad__expr_number(&w->a, ((const double *)wide.data)[i]);
  grad__array_release(&wide);
  return w->a.status;
}

/* --- names */

static const char *const greek[] = {"alpha", "beta",  "gamma",  "delta", "epsilon", "zeta", "eta",
                                    "theta", "kappa", "lambda", "mu",    "nu",      "xi",   "pi",
                                    "rho",   "sigma", "tau",    "phi",   "chi",     "psi",  "omega"};

static bool is_greek(const char *name) {
  for (size_t i = 0; i < sizeof greek / sizeof *greek; i++)
    if (strcmp(name, greek[i]) == 0) return true;
  return false;
}

/* x1 is x with the index 1. */
static void latex_name(const char *name, char *out, size_t size) {
  char head[64], index[80] = "";
  size_t digits = strlen(name);
  while (digits > 0 && isdigit((unsigned char)name[digits - 1])) digits--;
  const bool indexed = digits > 0 && name[digits];
  snprintf(head, sizeof head, "%.*s", (int)(indexed ? digits : strlen(name)), name);
  if (indexed) snprintf(index, sizeof index, "_{%.64s}", name + digits);
  if (is_greek(head))
    snprintf(out, size, "\\%s%s", head, index);
  else if (strlen(head) > 1)
    snprintf(out, size, "\\mathrm{%s}%s", head, index);
  else
    snprintf(out, size, "%s%s", head, index);
}

/* "[2, 3]", or "_{2, 3}"; nothing for a number. */
static void index_text(const grad_type *t, int64_t at, bool latex, char *out, size_t size) {
  int64_t index[GRAD_MAX_AXES];
  for (int i = t->ndim - 1; i >= 0; i--) {
    index[i] = at % t->shape[i] + 1;
    at /= t->shape[i];
  }
  size_t used = 0;
  out[0] = '\0';
  for (int i = 0; i < t->ndim; i++)
    used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? ", " : latex ? "_{" : "[", (long long)index[i]);
  if (t->ndim > 0) snprintf(out + used, size - used, latex ? "}" : "]");
}

static grad_status name_input(writer *w, int32_t k, const char *const *names) {
  const grad_id v = w->p->inputs[k];
  const grad_type *t = grad__type(w->p, v);
  char name[64], latex[160], index[GRAD_MAX_AXES * 24], text[sizeof latex + sizeof index];
  if (names && names[k])
    snprintf(name, sizeof name, "%s", names[k]);
  else
    snprintf(name, sizeof name, "x%d", k + 1);
  latex_name(name, latex, sizeof latex);
  const grad_status status = make_room(w, v);
  for (int64_t i = 0; status == GRAD_OK && i < grad__type_numel(t); i++) {
    grad_notation *n = grad__arena_alloc(&w->a.arena, sizeof *n);
    index_text(t, i, false, index, sizeof index);
    snprintf(text, sizeof text, "%s%s", name, index);
    const char *plain = grad__arena_copy(&w->a.arena, text, strlen(text) + 1);
    index_text(t, i, true, index, sizeof index);
    snprintf(text, sizeof text, "%s%s", latex, index);
    const char *typeset = grad__arena_copy(&w->a.arena, text, strlen(text) + 1);
    if (!n || !plain || !typeset) return w->p->ctx->status;
    *n = (grad_notation){8, plain, typeset};
    elements(w, v)[i] = grad__expr_symbol(&w->a, n);
  }
  return status;
}

/* --- elementwise rows */

static grad_expr add2(grad_algebra *a, grad_expr x, double weight, grad_expr y) {
  return grad__expr_add(a, 2, (const double[]){1, weight}, (const grad_expr[]){x, y});
}

/* Is the condition true at single points only? */
static bool is_single_point(const grad_algebra *a, grad_expr condition) {
  const grad_expr_node *e = &a->nodes[condition];
  if (e->kind != GRAD_EXPR_CALL) return false;
  if (e->notation == &grad__op_row(&grad__op_eq)->notation) return true;
  const bool both = e->notation == &grad__op_row(&grad__op_and)->notation;
  return both && (is_single_point(a, e->args[0]) || is_single_point(a, e->args[1]));
}

static grad_expr power(grad_algebra *a, grad_expr x, grad_expr y) {
  double exponent;
  if (grad__expr_is_number(a, y, &exponent)) return grad__expr_pow(a, x, exponent);
  return grad__expr_call(a, &grad__op_row(&grad__op_pow)->notation, 2, (const grad_expr[]){x, y});
}

/* sigmoid(-u), as its slope is computed, is 1 - sigmoid(u), as it is written. */
static grad_expr sigmoid(grad_algebra *a, grad_expr x) {
  const grad_notation *notation = &grad__op_row(&grad__op_sigmoid)->notation;
  const grad_expr_node *e = &a->nodes[x];
  if (e->kind != GRAD_EXPR_SUM || e->n != 1 || e->weight[0] > 0) return grad__expr_call(a, notation, 1, &x);
  const grad_expr opposite = grad__expr_add(a, 1, (const double[]){-1}, &x);
  return add2(a, grad__expr_number(a, 1), -1, grad__expr_call(a, notation, 1, &opposite));
}

/* A value that counts as a constant is written as it is. In a choice between one and a number it is a shift or a scale
 * that keeps numbers in range and cancels (logsumexp, norm): the number reads better. */
static const grad_notation stopped = {8, "$a", "$a"};

static bool is_shift(const grad_algebra *a, grad_expr x, grad_expr y) {
  double number;
  return a->nodes[x].kind == GRAD_EXPR_CALL && a->nodes[x].notation == &stopped && grad__expr_is_number(a, y, &number);
}

static grad_expr choice(grad_algebra *a, const grad_expr *x) {
  if (x[1] == x[2] || is_single_point(a, x[0]) || is_shift(a, x[1], x[2])) return x[2];
  if (is_shift(a, x[2], x[1])) return x[1];
  return grad__expr_call(a, &grad__op_row(&grad__op_where)->notation, 3, x);
}

static grad_expr apply(grad_algebra *a, const grad_op *op, const grad_expr *x) {
  if (op == &grad__op_add) return add2(a, x[0], 1, x[1]);
  if (op == &grad__op_sub) return add2(a, x[0], -1, x[1]);
  if (op == &grad__op_neg) return grad__expr_add(a, 1, (const double[]){-1}, x);
  if (op == &grad__op_mul || op == &grad__op_mulz) return grad__expr_mul(a, x[0], x[1]);
  if (op == &grad__op_div) return grad__expr_mul(a, x[0], grad__expr_pow(a, x[1], -1));
  if (op == &grad__op_reciprocal) return grad__expr_pow(a, x[0], -1);
  if (op == &grad__op_square) return grad__expr_pow(a, x[0], 2);
  if (op == &grad__op_sqrt) return grad__expr_pow(a, x[0], 0.5);
  if (op == &grad__op_rsqrt) return grad__expr_pow(a, x[0], -0.5);
  if (op == &grad__op_pow) return power(a, x[0], x[1]);
  if (op == &grad__op_hypot)
    return grad__expr_pow(a, add2(a, grad__expr_pow(a, x[0], 2), 1, grad__expr_pow(a, x[1], 2)), 0.5);
  if (op == &grad__op_sigmoid) return sigmoid(a, x[0]);
  if (op == &grad__op_where) return choice(a, x);
  if (op == &grad__op_stop_gradient) return grad__expr_call(a, &stopped, 1, x);
  return grad__expr_call(a, &grad__op_row(op)->notation, op->nin, x);
}

static void write_elementwise(writer *w, const grad_instr *ins) {
  const int64_t n = grad__array_numel(&w->values[ins->out]);
  for (int64_t i = 0; i < n; i++) {
    grad_expr x[3];
    for (int k = 0; k < ins->nin; k++) x[k] = (grad_expr)elements(w, ins->in[k])[i];
    elements(w, ins->out)[i] = apply(&w->a, ins->op, x);
  }
}

/* --- structured ops */

/* Constants, whose values the op itself gives. */
static grad_status write_numbers(writer *w, const grad_instr *ins) {
  const grad_type *t = grad__type(w->p, ins->out);
  grad_array y;
  grad_status status = grad__array_new(w->p->ctx, t->dtype, t->ndim, t->shape, &y);
  if (status != GRAD_OK) return status;
  status = grad__direct_instr(w->p->ctx, ins, NULL, w->scalars, (grad_array *const[]){&y});
  if (status == GRAD_OK) status = number_elements(w, ins->out, &y);
  grad__array_release(&y);
  return status;
}

/* Ops that only move elements: run on the ids of the expressions. */
static grad_status write_moved(writer *w, const grad_instr *ins) {
  const grad_array **in = grad__arena_alloc(&w->a.arena, ((size_t)ins->nin + 1) * sizeof *in);
  if (!in) return w->p->ctx->status;
  for (int k = 0; k < ins->nin; k++) in[k] = &w->values[ins->in[k]];
  return grad__direct_instr(w->p->ctx, ins, in, w->scalars, (grad_array *const[]){&w->values[ins->out]});
}

/* Elements of the input that make element k of a reduction, in their order; returns how many. */
static int64_t reduced_elements(const writer *w, const grad_instr *ins, int64_t k, grad_expr *out) {
  const grad_type *t = grad__type(w->p, ins->in[0]);
  const int64_t axes = ins->params[0], n = grad__type_numel(t);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) {
    int64_t rest = i, place = 0, step = 1;
    for (int d = t->ndim - 1; d >= 0; d--) {
      if (!(axes >> d & 1)) {
        place += rest % t->shape[d] * step;
        step *= t->shape[d];
      }
      rest /= t->shape[d];
    }
    if (place == k) out[count++] = (grad_expr)elements(w, ins->in[0])[i];
  }
  return count;
}

static grad_status write_reduced(writer *w, const grad_instr *ins) {
  static const grad_notation max = {8, "max", "\\max"}, min = {8, "min", "\\min"};
  const int64_t n = grad__type_numel(grad__type(w->p, ins->in[0]));
  grad_expr *x = grad__arena_alloc(&w->a.arena, (size_t)(n + 1) * sizeof *x);
  double *ones = grad__arena_alloc(&w->a.arena, (size_t)(n + 1) * sizeof *ones);
  if (!x || !ones) return w->p->ctx->status;
  for (int64_t i = 0; i < n; i++) ones[i] = 1;
  for (int64_t k = 0; k < grad__array_numel(&w->values[ins->out]); k++) {
    const int32_t count = (int32_t)reduced_elements(w, ins, k, x);
    grad_expr y = count > 0 ? x[0] : grad__expr_number(&w->a, 1);
    if (ins->op == &grad__op_sum)
      y = grad__expr_add(&w->a, count, ones, x);
    else if (ins->op == &grad__op_prod)
      for (int32_t i = 1; i < count; i++) y = grad__expr_mul(&w->a, y, x[i]);
    else if (count > 1)
      y = grad__expr_call(&w->a, ins->op == &grad__op_max ? &max : &min, count, x);
    elements(w, ins->out)[k] = y;
  }
  return GRAD_OK;
}

/* One matrix of a product; a and b begin where its factors do. */
static void write_matrix(writer *w, const grad_instr *ins, const int64_t *a, const int64_t *b, int64_t *y) {
  const grad_type *x = grad__type(w->p, ins->in[0]), *z = grad__type(w->p, ins->out);
  const bool ta = ins->params[0], tb = ins->params[1];
  const int64_t rows = z->shape[z->ndim - 2], cols = z->shape[z->ndim - 1], inner = x->shape[x->ndim - (ta ? 2 : 1)];
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) {
      grad_expr sum = 0;
      for (int64_t l = 0; l < inner; l++) {
        const int64_t p = a[ta ? l * rows + i : i * inner + l], q = b[tb ? j * inner + l : l * cols + j];
        sum = add2(&w->a, sum, 1, grad__expr_mul(&w->a, (grad_expr)p, (grad_expr)q));
      }
      y[i * cols + j] = sum;
    }
}

static void write_matmul(writer *w, const grad_instr *ins) {
  const grad_type *t[] = {grad__type(w->p, ins->in[0]), grad__type(w->p, ins->in[1]), grad__type(w->p, ins->out)};
  int64_t size[3], matrices = 1;
  for (int k = 0; k < 3; k++) size[k] = t[k]->shape[t[k]->ndim - 2] * t[k]->shape[t[k]->ndim - 1];
  for (int i = 0; i + 2 < t[2]->ndim; i++) matrices *= t[2]->shape[i];
  for (int64_t m = 0; m < matrices; m++)
    write_matrix(w, ins, elements(w, ins->in[0]) + m * size[0], elements(w, ins->in[1]) + m * size[1],
                 elements(w, ins->out) + m * size[2]);
}

static bool only_moves(const grad_op *op) {
  static const grad_op *const movers[] = {&grad__op_broadcast, &grad__op_reshape, &grad__op_permute,
                                          &grad__op_slice,     &grad__op_unslice, &grad__op_concat};
  for (size_t i = 0; i < sizeof movers / sizeof *movers; i++)
    if (op == movers[i]) return true;
  return false;
}

static bool reduces(const grad_op *op) {
  return op == &grad__op_sum || op == &grad__op_prod || op == &grad__op_max || op == &grad__op_min;
}

static grad_status write_instr(writer *w, const grad_instr *ins) {
  const grad_op *op = ins->op;
  for (int k = 0; k < ins->nout; k++) {
    const grad_status status = make_room(w, ins->out + k);
    if (status != GRAD_OK) return status;
  }
  if (op->flags & GRAD_OP_ELEMENTWISE || op == &grad__op_stop_gradient) {
    write_elementwise(w, ins);
  } else if (ins->nin == 0 && ins->nsubs == 0) {
    return write_numbers(w, ins);
  } else if (only_moves(op)) {
    return write_moved(w, ins);
  } else if (op == &grad__op_convert) {
    memcpy(elements(w, ins->out), elements(w, ins->in[0]), (size_t)grad__array_numel(&w->values[ins->out]) * 8);
  } else if (reduces(op)) {
    return write_reduced(w, ins);
  } else if (op == &grad__op_matmul) {
    write_matmul(w, ins);
  } else {
    return grad__fail(w->p->ctx, GRAD_EUNSUPPORTED, "formula: %s has no written form", op->name);
  }
  return w->a.status;
}

/* --- output */

/* Brackets nest as the axes do; `at` is the first element. */
static grad_status print_array(writer *w, const grad_type *t, int axis, const int64_t *at, bool latex, grad_text *out) {
  if (axis == t->ndim) return grad__expr_print(&w->a, (grad_expr)*at, latex, out);
  int64_t step = 1;
  for (int i = axis + 1; i < t->ndim; i++) step *= t->shape[i];
  grad_status status = grad__text_add(out, latex ? "\\left[" : "[");
  for (int64_t i = 0; status == GRAD_OK && i < t->shape[axis]; i++) {
    if (i > 0) status = grad__text_add(out, ", ");
    if (status == GRAD_OK) status = print_array(w, t, axis + 1, at + i * step, latex, out);
  }
  return status == GRAD_OK ? grad__text_add(out, latex ? "\\right]" : "]") : status;
}

grad_status grad__formula(const grad_program *p, int32_t output, const char *const *names,
                          const grad_array *const *known, const double *scalars, bool latex, grad_text *out) {
  writer w = {.p = p, .scalars = scalars};
  grad_status status = p->status != GRAD_OK ? p->status : grad__algebra_init(&w.a, p->ctx);
  if (p->status != GRAD_OK) return status;
  if (status == GRAD_OK) w.values = grad__arena_alloc(&w.a.arena, ((size_t)p->nvalues + 1) * sizeof *w.values);
  if (status == GRAD_OK && !w.values) status = p->ctx->status;
  for (int32_t k = 0; status == GRAD_OK && k < p->ninputs; k++) {
    const bool is_known = known && known[k];
    status = is_known ? number_elements(&w, p->inputs[k], known[k]) : name_input(&w, k, names);
  }
  for (int32_t i = 0; status == GRAD_OK && i < p->ninstrs; i++) status = write_instr(&w, &p->instrs[i]);
  if (status == GRAD_OK) {
    const grad_id v = p->outputs[output];
    status = print_array(&w, grad__type(p, v), 0, elements(&w, v), latex, out);
  }
  grad__algebra_clear(&w.a);
  return status;
}
