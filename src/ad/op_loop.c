/* op_loop.c: scan and while: what they compute. Their rules are in loop_jvp.c, loop_transpose.c and loop_batch.c.
 *
 * A step writes its carry into one of two sets of buffers in turn, and its ys straight into their row of the stack, so
 * that a step allocates nothing. */
#include <string.h>

#include "ad/loop.h"

/* --- inference */

static grad_status expect_type(grad_infer *a, const char *what, int32_t i, const grad_type *want,
                               const grad_type *got) {
  if (grad__type_equal(want, got)) return GRAD_OK;
  return grad__fail(a->ctx, GRAD_ESHAPE, "%s: %s %d is %s, the function takes %s", a->op->name, what, i + 1,
                    grad__type_text(got).chars, grad__type_text(want).chars);
}

static grad_status infer_carry(grad_infer *a, const grad_loop_view *v) {
  for (int32_t k = 0; k < v->ncarry; k++) {
    const grad_type *before = &a->in[v->nconsts + k], *after = grad__type(v->body, v->body->outputs[k]);
    grad_status status = expect_type(a, "state", k, grad__type(v->body, v->body->inputs[v->nconsts + k]), before);
    if (status) return status;
    if (grad__type_equal(before, after)) continue;
    return grad__fail(a->ctx, before->dtype != after->dtype ? GRAD_EDTYPE : GRAD_ESHAPE,
                      "%s: state %d begins as %s and is %s after one step: a loop's state keeps its shape and dtype",
                      a->op->name, k + 1, grad__type_text(before).chars, grad__type_text(after).chars);
  }
  return GRAD_OK;
}

/* A draw with the same generator state in every step would give the same numbers in every step. */
static grad_status refuse_draws(grad_infer *a, const grad_loop_view *v) {
  const grad_program *body = v->body;
  for (int32_t i = 0; i < body->ninstrs; i++) {
    const grad_instr *ins = &body->instrs[i];
    if (!(ins->op->flags & GRAD_OP_RANDOM)) continue;
    const int32_t input = -1 - body->producers[ins->in[0]];
    if (input >= v->nconsts || body->producers[ins->in[0]] >= 0) continue;
    const char *where = grad__program_where(body, ins);
    return grad__fail(
        a->ctx, GRAD_EVALUE,
        "%s: a random draw%s%s inside the loop would give the same numbers at every step: make the state of "
        "the generator a part of the loop's state, or draw before the loop and pass the numbers in as rows",
        a->op->name, *where ? " at " : "", where);
  }
  return GRAD_OK;
}

static grad_status infer_loop(grad_infer *a, const grad_loop_view *v) {
  if (v->body->status) return v->body->status;
  if (v->nxs < 0 || v->nys < 0 || v->body->ninputs != a->nin || v->body->nscalars) {
    return grad__fail(a->ctx, GRAD_EINTERNAL, "%s: the body takes %d values and gives %d, for %d inputs", a->op->name,
                      v->body->ninputs, v->body->noutputs, a->nin);
  }
  for (int32_t i = 0; i < v->nconsts; i++) {
    grad_status status = expect_type(a, "captured value", i, grad__type(v->body, v->body->inputs[i]), &a->in[i]);
    if (status) return status;
  }
  grad_status status = infer_carry(a, v);
  if (!status) status = refuse_draws(a, v);
  if (!status) status = grad__infer_like_outputs(a, v->body, 0, v->ncarry, NULL);
  if (!status) status = grad__infer_like_outputs(a, v->body, v->ncarry, v->nys, &v->length);
  a->nout = v->ncarry + v->nys;
  return status;
}

static grad_loop_view view_of(const grad_infer *a) {
  const grad_instr ins = {.params = a->params, .subs = a->subs, .nin = a->nin, .nsubs = a->nsubs};
  return grad__loop_view(&ins);
}

static grad_status scan_infer(grad_infer *a) {
  const grad_loop_view v = view_of(a);
  grad_status status = infer_loop(a, &v);
  for (int32_t k = 0; k < v.nxs && !status; k++) {
    const grad_type *xs = &a->in[v.nconsts + v.ncarry + k];
    if (xs->ndim < 1 || (xs->shape[0] != v.length && xs->shape[0] != GRAD_DYNAMIC)) {
      return grad__fail(a->ctx, GRAD_ESHAPE, "scan: rows %d are %s, expected a first axis of %lld", k + 1,
                        grad__type_text(xs).chars, (long long)v.length);
    }
    const grad_type row = {xs->shape + 1, xs->dtype, xs->ndim - 1};
    status = expect_type(a, "row of xs", k, grad__type(v.body, v.body->inputs[v.nconsts + v.ncarry + k]), &row);
  }
  return status;
}

static grad_status while_infer(grad_infer *a) {
  const grad_loop_view v = view_of(a);
  if (v.test->status) return v.test->status;
  const grad_type *t = v.test->noutputs == 1 ? grad__type(v.test, v.test->outputs[0]) : NULL;
  if (!t || v.test->ninputs != v.nconsts + v.ncarry || t->ndim != 0 || t->dtype != GRAD_BOOL) {
    return grad__fail(a->ctx, GRAD_EDTYPE,
                      "while_loop: the condition must give a 0-d bool, as x:lt(1) does; it gives %s",
                      t ? grad__type_text(t).chars : "nothing");
  }
  return infer_loop(a, &v);
}

/* --- evaluation */

/* A run: headers for one call of the body, and two sets of buffers for the carry. The headers are made once; a step
 * moves their pointers. */
typedef struct loop_run {
  const grad_eval *a;
  grad_loop_view v;
  grad_array *in, *out; /* of the body */
  const grad_array **args;
  char *buffers[2];
  int64_t step;
} loop_run;

static size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }

static size_t carry_bytes(const grad_loop_view *v) {
  size_t bytes = 0;
  for (int32_t k = 0; k < v->ncarry; k++) {
    const grad_type *t = grad__type(v->body, v->body->outputs[k]);
    bytes += padded((size_t)grad__type_numel(t) * grad__dtype_size(t->dtype));
  }
  return bytes;
}

static int64_t loop_scratch(const grad_program *p, const grad_instr *ins) {
  (void)p;
  const grad_loop_view v = grad__loop_view(ins);
  const size_t headers = ((size_t)v.body->ninputs + (size_t)v.body->noutputs + 1) * sizeof(grad_array);
  return (int64_t)(padded(headers) + padded((size_t)v.body->ninputs * sizeof(void *) + 8) + 2 * carry_bytes(&v));
}

static void wrap_output(const loop_run *r, int32_t k, void *data) {
  const grad_type *t = grad__type(r->v.body, r->v.body->outputs[k]);
  grad__array_wrap(&r->out[k], data, t->dtype, t->ndim, t->shape);
}

static loop_run run_start(const grad_eval *a) {
  loop_run r = {.a = a, .v = grad__loop_view(a->ins)};
  const size_t nin = (size_t)r.v.body->ninputs, nout = (size_t)r.v.body->noutputs;
  char *room = a->scratch;
  r.in = (grad_array *)(void *)room;
  r.out = r.in + nin;
  room += padded((nin + nout + 1) * sizeof(grad_array));
  r.args = (const grad_array **)(void *)room;
  room += padded(nin * sizeof(void *) + 8);
  r.buffers[0] = room;
  r.buffers[1] = room + carry_bytes(&r.v);
  for (size_t i = 0; i < nin; i++) {
    r.in[i] = *a->in[i];
    r.args[i] = &r.in[i];
  }
  for (int32_t k = 0; k < r.v.body->noutputs; k++) wrap_output(&r, k, NULL);
  return r;
}

static int64_t output_bytes(const grad_array *out) {
  return grad__array_numel(out) * (int64_t)grad__dtype_size(out->dtype);
}

/* The next carry goes to the buffers of this step. */
static void place_carry(loop_run *r) {
  char *at = r->buffers[r->step % 2];
  for (int32_t k = 0; k < r->v.ncarry; k++) {
    r->out[k].data = at;
    at += padded((size_t)output_bytes(&r->out[k]));
  }
}

/* y number k of this step goes to a row of its stack. */
static void place_y(loop_run *r, int32_t k, const grad_array *stack, int64_t row) {
  grad_array *out = &r->out[r->v.ncarry + k];
  out->data = (char *)stack->data + (stack->data ? row * output_bytes(out) : 0);
}

static grad_status run_body(loop_run *r) {
  grad_status status = r->a->call(r->a->call_ud, r->v.body, r->args, NULL, r->out);
  for (int32_t k = 0; k < r->v.ncarry && !status; k++) {
    grad_array *carry = &r->in[r->v.nconsts + k];
    if (r->step > 0) {
      carry->data = r->out[k].data;
    } else {
      *carry = r->out[k]; /* the first one was the caller's, in any strides */
    }
  }
  r->step++;
  return status ? status : grad__interrupted(r->a->ctx);
}

static void give_carry(const loop_run *r) {
  for (int32_t k = 0; k < r->v.ncarry; k++) grad__array_copy(r->a->out[k], &r->in[r->v.nconsts + k]);
}

static grad_status new_stack(const loop_run *r, int32_t k, int64_t rows, grad_array *out) {
  const grad_type *t = grad__type(r->v.body, r->v.body->outputs[r->v.ncarry + k]);
  int64_t shape[GRAD_MAX_AXES] = {rows};
  for (int i = 0; i < t->ndim; i++) shape[i + 1] = t->shape[i];
  return grad__array_new(r->a->ctx, t->dtype, t->ndim + 1, shape, out);
}

/* The rows of the xs that a step reads; the first step makes their headers. */
static void move_rows(loop_run *r, int64_t row, bool first) {
  const int32_t from = r->v.nconsts + r->v.ncarry;
  for (int32_t i = from; i < from + r->v.nxs; i++) {
    const grad_array *xs = r->a->in[i];
    if (first) grad__view_drop(xs, 0, row, &r->in[i]);
    const int64_t offset = row * xs->strides[0] * (int64_t)grad__dtype_size(xs->dtype);
    if (xs->data) r->in[i].data = (char *)xs->data + offset;
  }
}

/* Steps without a call each: all of a scan, or as many of a while as the stacks have room for. The carry goes to where
 * it would have been after a last step by a call. */
static grad_status repeat(loop_run *r, grad_repeat *loop, bool *done) {
  const grad_eval *a = r->a;
  *done = false;
  if (!a->repeat || loop->most == 0) return GRAD_OK;
  place_carry(r);
  *loop = (grad_repeat){.body = r->v.body,
                        .test = r->v.test,
                        .nconsts = r->v.nconsts,
                        .ncarry = r->v.ncarry,
                        .nxs = r->v.nxs,
                        .in = r->args,
                        .carry = r->out,
                        .ys = a->out + r->v.ncarry,
                        .first = r->step,
                        .most = loop->most,
                        .reverse = r->v.reverse};
  const grad_status status = a->repeat(a->call_ud, a, loop, done);
  if (status || !*done || loop->steps == 0) return status;
  for (int32_t k = 0; k < r->v.ncarry; k++) r->in[r->v.nconsts + k] = r->out[k];
  r->step += loop->steps;
  return GRAD_OK;
}

static grad_status scan_steps(loop_run *r, int64_t length) {
  grad_repeat loop = {.most = length};
  bool done;
  const grad_status status = repeat(r, &loop, &done);
  if (status || done) {
    if (!status) give_carry(r);
    return status;
  }
  for (int64_t t = 0; t < length; t++) {
    const int64_t row = r->v.reverse ? length - 1 - t : t;
    move_rows(r, row, t == 0);
    place_carry(r);
    for (int32_t k = 0; k < r->v.nys; k++) place_y(r, k, r->a->out[r->v.ncarry + k], row);
    grad_status status = run_body(r);
    if (status) return status;
  }
  give_carry(r);
  return GRAD_OK;
}

static grad_status scan_eval(const grad_eval *a) {
  loop_run r = run_start(a);
  const bool dynamic = r.v.length == GRAD_DYNAMIC;
  int64_t length = r.v.length;
  for (int32_t k = 0; k < r.v.nxs && length == GRAD_DYNAMIC; k++)
    length = a->in[r.v.nconsts + r.v.ncarry + k]->shape[0];
  grad_status status = GRAD_OK;
  for (int32_t k = 0; k < r.v.nys && dynamic && !status; k++) status = new_stack(&r, k, length, a->out[r.v.ncarry + k]);
  return status ? status : scan_steps(&r, length);
}

/* outcome: a 0-d bool, which the test writes. */
static grad_status run_test(loop_run *r, grad_array *outcome) {
  return r->a->call(r->a->call_ud, r->v.test, r->args, NULL, outcome);
}

/* Doubles the stacks when the next row does not fit. */
static grad_status grow_stacks(loop_run *r, int64_t *cap) {
  if (r->step < *cap) return GRAD_OK;
  const int64_t rows = *cap ? 2 * *cap : 16;
  for (int32_t k = 0; k < r->v.nys; k++) {
    grad_array *stack = r->a->out[r->v.ncarry + k], bigger = {0};
    grad_status status = new_stack(r, k, rows, &bigger);
    if (status) return status;
    const size_t bytes = (size_t)grad__array_numel(stack) * grad__dtype_size(bigger.dtype);
    if (*cap && bytes) memcpy(bigger.data, stack->data, bytes);
    grad__array_release(stack);
    *stack = bigger;
  }
  *cap = rows;
  return GRAD_OK;
}

static grad_status while_steps(loop_run *r) {
  int64_t cap = 0;
  bool passes = false;
  grad_array outcome;
  grad__array_wrap(&outcome, &passes, GRAD_BOOL, 0, NULL);
  grad_status status = grow_stacks(r, &cap);
  if (!status) status = run_test(r, &outcome);
  while (!status && passes) {
    status = grow_stacks(r, &cap);
    if (status) break;
    grad_repeat loop = {.most = r->v.nys ? cap - r->step : INT64_MAX};
    bool done;
    status = repeat(r, &loop, &done);
    if (status) break;
    if (done) {
      passes = loop.passes;
      continue;
    }
    place_carry(r);
    for (int32_t k = 0; k < r->v.nys; k++) place_y(r, k, r->a->out[r->v.ncarry + k], r->step);
    status = run_body(r);
    if (!status) status = run_test(r, &outcome);
  }
  return status;
}

static grad_status while_eval(const grad_eval *a) {
  loop_run r = run_start(a);
  grad_status status = while_steps(&r);
  for (int32_t k = 0; k < r.v.nys; k++) {
    if (status) {
      grad__array_release(a->out[r.v.ncarry + k]);
    } else {
      a->out[r.v.ncarry + k]->shape[0] = r.step;
    }
  }
  if (!status) give_carry(&r);
  return status;
}

/* --- adding stacks */

static grad_status add_stacks_infer(grad_infer *a) {
  const grad_type *t = &a->in[0];
  if (!grad__type_equal(t, &a->in[1])) return grad__fail(a->ctx, GRAD_EINTERNAL, "add_stacks: two types");
  a->out[0].dtype = t->dtype;
  a->out[0].ndim = t->ndim;
  memcpy(a->out[0].shape, t->shape, t->ndim * sizeof *t->shape);
  return GRAD_OK;
}

static grad_status add_stacks_eval(const grad_eval *a) {
  const grad_array *x = a->in[0], *y = a->in[1];
  grad_array sum = {0};
  grad_status status = grad__array_new(a->ctx, x->dtype, x->ndim, x->shape, &sum);
  if (status) return status;
  const int64_t n = grad__array_numel(&sum);
  for (int64_t i = 0; i < n; i++) {
    if (sum.dtype == GRAD_F32) {
      ((float *)sum.data)[i] = ((const float *)x->data)[i] + ((const float *)y->data)[i];
    } else {
      ((double *)sum.data)[i] = ((const double *)x->data)[i] + ((const double *)y->data)[i];
    }
  }
  *a->out[0] = sum;
  return GRAD_OK;
}

static void add_stacks_transpose(grad_transpose *a) {
  for (int i = 0; i < 2; i++) {
    if (a->linear[i]) a->cx[i] = a->cy[0];
  }
}

/* A stack without the batch axis gets it behind its rows' axis, by a scan: nothing else may touch a dynamic extent. */
static grad_id spread_stack(grad_batch *a, int i) {
  if (a->batched[i]) return a->x[i];
  const grad_type *t = &a->xt[i];
  const grad_type row = {t->shape + 1, t->dtype, t->ndim - 1};
  int64_t shape[GRAD_MAX_AXES] = {a->size};
  for (int k = 0; k < row.ndim; k++) shape[k + 1] = row.shape[k];
  grad_program *body = NULL;
  if (!grad__program_try(a->p, grad__program_new(a->p->ctx, &body))) return GRAD_NONE;
  grad__program_output(body, grad__broadcast(body, grad__program_input_like(body, &row), row.ndim + 1, shape));
  const grad_loop loop = {.body = body, .nxs = 1, .xs = &a->x[i], .length = GRAD_DYNAMIC};
  const grad_id out = grad__emit_loop(a->p, &loop, NULL);
  grad__program_release(body);
  return out;
}

static void add_stacks_batch(grad_batch *a) {
  a->y[0] = grad__add_stacks(a->p, spread_stack(a, 0), spread_stack(a, 1));
}

const grad_op grad__op_add_stacks = {
    .name = "add_stacks",
    .nin = 2,
    .nout = 1,
    .flags = GRAD_OP_LINEAR,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = add_stacks_infer,
    .eval = add_stacks_eval,
    .transpose = add_stacks_transpose,
    .batch = add_stacks_batch,
};

grad_id grad__add_stacks(grad_program *p, grad_id a, grad_id b) {
  return grad__emit(p, &grad__op_add_stacks, 2, (const grad_id[]){a, b}, 0, NULL);
}

/* --- ops and builders */

static double scan_flops(const grad_program *p, const grad_instr *ins) {
  const grad_loop_view v = grad__loop_view(ins);
  (void)p;
  return (v.length == GRAD_DYNAMIC ? 1 : (double)v.length) * grad__program_flops(v.body);
}

/* Of one turn: how many there are, only the run tells. */
static double while_flops(const grad_program *p, const grad_instr *ins) {
  const grad_loop_view v = grad__loop_view(ins);
  (void)p;
  return grad__program_flops(v.body) + grad__program_flops(v.test);
}

const grad_op grad__op_scan = {
    .name = "scan",
    .nin = -1,
    .nout = -1,
    .flags = GRAD_OP_CONTROL,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = scan_infer,
    .eval = scan_eval,
    .scratch = loop_scratch,
    .jvp = grad__loop_jvp,
    .transpose = grad__scan_transpose,
    .batch = grad__loop_batch,
    .flops = scan_flops,
    .crop = grad__loop_crop,
};

const grad_op grad__op_while = {
    .name = "while",
    .nin = -1,
    .nout = -1,
    .flags = GRAD_OP_CONTROL | GRAD_OP_REFUSES,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = while_infer,
    .eval = while_eval,
    .scratch = loop_scratch,
    .jvp = grad__loop_jvp,
    .batch = grad__loop_batch,
    .flops = while_flops,
    .crop = grad__loop_crop,
};

grad_id grad__emit_loop(grad_program *p, const grad_loop *loop, grad_program *test) {
  const int32_t n = loop->nconsts + loop->ncarry + loop->nxs;
  grad_id *in = grad__ids_in(p, n);
  if (!in) return GRAD_NONE;
  for (int32_t i = 0; i < loop->nconsts; i++) in[i] = loop->consts[i];
  for (int32_t i = 0; i < loop->ncarry; i++) in[loop->nconsts + i] = loop->init[i];
  for (int32_t i = 0; i < loop->nxs; i++) in[loop->nconsts + loop->ncarry + i] = loop->xs[i];
  const int64_t params[4] = {loop->nconsts, loop->ncarry, loop->length, loop->reverse};
  grad_program *const subs[2] = {loop->body, test};
  return test ? grad__emit_nested(p, &grad__op_while, n, in, 2, params, 2, subs)
              : grad__emit_nested(p, &grad__op_scan, n, in, 4, params, 1, subs);
}

void grad__scan(grad_program *p, const grad_loop *loop, grad_id *out) {
  grad__ids_from(grad__emit_loop(p, loop, NULL), loop->body->noutputs, out);
}

void grad__while_loop(grad_program *p, grad_program *test, const grad_loop *loop, grad_id *out) {
  grad__ids_from(grad__emit_loop(p, loop, test), loop->ncarry, out);
}
