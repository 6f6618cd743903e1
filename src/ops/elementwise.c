/* elementwise.c: the ops of ops.def: what their rows say, and the slots that all of them share. */
#include <string.h>

#include "ops/demand.h"
#include "ops/kernels_table.h"
#include "ops/stream.h"
#include "ops/structured.h"

/* --- rows */

#define GRAD_KIND_WIDE GRAD_KIND_FLOAT
#define DOMAIN_OF(lo, hi)                                                                                              \
  { lo, hi }
#define CALL(name, latex)                                                                                              \
  { 8, name, latex }
#define INFIX(level, text, latex)                                                                                      \
  { level, text, latex }
#define OP1(name, kind, slope, value, da, dom, scalar, print, doc) {GRAD_KIND_##kind, print, {DOMAIN_OF dom}},
#define OP2(name, kind, slope, value, da, db, doma, domb, scalar, print, doc)                                          \
  {GRAD_KIND_##kind, print, {DOMAIN_OF doma, DOMAIN_OF domb}},
#define OP3(name, kind, slope, value, da, db, dc, doma, domb, domc, scalar, print, doc)                                \
  {GRAD_KIND_##kind, print, {DOMAIN_OF doma, DOMAIN_OF domb, DOMAIN_OF domc}},
static const grad_row rows[] = {
#include "ops/ops.def"
};
#undef OP1
#undef OP2
#undef OP3
#undef CALL
#undef INFIX

const grad_row *grad__op_row(const grad_op *op) { return op->flags & GRAD_OP_ELEMENTWISE ? &rows[op->row] : NULL; }

grad_dtype grad__operand_dtype(const grad_op *op, grad_dtype promoted) {
  switch (rows[op->row].kind) {
  case GRAD_KIND_FLOAT:
    return promoted < GRAD_F32 ? GRAD_F64 : promoted;
  case GRAD_KIND_ARITH:
  case GRAD_KIND_PREDICATE:
    return promoted == GRAD_BOOL ? GRAD_I64 : promoted;
  case GRAD_KIND_LOGICAL:
    return GRAD_BOOL;
  default:
    return promoted;
  }
}

grad_dtype grad__result_dtype(const grad_op *op, grad_dtype operand) {
  return rows[op->row].kind == GRAD_KIND_PREDICATE ? GRAD_BOOL : operand;
}

/* --- infer: operands of one shape and one dtype, which the op has a kernel for */

static grad_status elementwise_infer(grad_infer *a) {
  const int first = rows[a->op->row].kind == GRAD_KIND_SELECT ? 1 : 0;
  const grad_type *x = &a->in[first];
  if (first == 1 && a->in[0].dtype != GRAD_BOOL)
    return grad__fail(a->ctx, GRAD_EDTYPE, "%s: the mask must be bool, got %s", a->op->name,
                      grad__dtype_name(a->in[0].dtype));
  if (grad__operand_dtype(a->op, x->dtype) != x->dtype)
    return grad__fail(a->ctx, GRAD_EDTYPE, "%s: operands cannot be %s", a->op->name, grad__dtype_name(x->dtype));
  for (int i = 0; i < a->nin; i++) {
    const grad_type *t = &a->in[i];
    if (i >= first && t->dtype != x->dtype)
      return grad__fail(a->ctx, GRAD_EDTYPE, "%s: operands have dtypes %s and %s", a->op->name,
                        grad__dtype_name(x->dtype), grad__dtype_name(t->dtype));
    if (!grad__shape_equal(x->ndim, x->shape, t->ndim, t->shape))
      return grad__fail(a->ctx, GRAD_ESHAPE, "%s: operands have shapes %s and %s", a->op->name,
                        grad__shape_text(x->ndim, x->shape).chars, grad__shape_text(t->ndim, t->shape).chars);
  }
  return grad__infer_out(a, 0, grad__result_dtype(a->op, x->dtype), x->ndim, x->shape);
}

/* --- eval */

enum { CHUNK = 1 << 16 }; /* elements between two looks at the interrupt */

static grad_status no_zeros(const grad_eval *a, const void *divisor, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    if (((const int64_t *)divisor)[i] == 0)
      return grad__fail(a->ctx, GRAD_EVALUE, "%s: integer division by zero", a->ins->op->name);
  }
  return GRAD_OK;
}

static grad_status eval_chunk(const grad_eval *a, grad_kernel kernel, int64_t n, void *out, const void *const *in) {
  if (grad__kernel_divides(a->ins->op, a->in[0]->dtype)) {
    const grad_status status = no_zeros(a, in[1], n);
    if (status != GRAD_OK) return status;
  }
  kernel(n, out, in);
  return GRAD_OK;
}

static grad_status eval_contiguous(const grad_eval *a, grad_kernel kernel, int64_t numel) {
  const int nin = a->ins->op->nin;
  const void *in[3];
  for (int64_t at = 0; at < numel; at += CHUNK) {
    const int64_t n = numel - at < CHUNK ? numel - at : CHUNK;
    for (int i = 0; i < nin; i++)
      in[i] = (const char *)a->in[i]->data + at * (int64_t)grad__dtype_size(a->in[i]->dtype);
    void *out = (char *)a->out[0]->data + at * (int64_t)grad__dtype_size(a->out[0]->dtype);
    grad_status status = eval_chunk(a, kernel, n, out, in);
    if (status == GRAD_OK && numel > CHUNK) status = grad__interrupted(a->ctx);
    if (status != GRAD_OK) return status;
  }
  return GRAD_OK;
}

static grad_status eval_strided(const grad_eval *a, grad_kernel kernel, int64_t numel) {
  const int nin = a->ins->op->nin;
  grad_stream streams[3];
  _Alignas(64) char buffers[3][GRAD_BLOCK * sizeof(double)];
  for (int i = 0; i < nin; i++) grad__stream_start(&streams[i], a->in[i], 0);
  const int64_t size = (int64_t)grad__dtype_size(a->out[0]->dtype);
  char *out = a->out[0]->data;
  for (int64_t at = 0; at < numel; at += GRAD_BLOCK) {
    const int64_t n = numel - at < GRAD_BLOCK ? numel - at : GRAD_BLOCK;
    const void *in[3];
    for (int i = 0; i < nin; i++) in[i] = grad__stream_next(&streams[i], n, buffers[i]);
    grad_status status = eval_chunk(a, kernel, n, out + at * size, in);
    if (status == GRAD_OK && at % CHUNK == CHUNK - GRAD_BLOCK) status = grad__interrupted(a->ctx);
    if (status != GRAD_OK) return status;
  }
  return GRAD_OK;
}

static grad_status elementwise_eval(const grad_eval *a) {
  const int nin = a->ins->op->nin;
  const grad_kernel kernel = grad__kernel(a->ctx, a->ins->op, a->in[nin - 1]->dtype);
  const int64_t numel = grad__array_numel(a->out[0]);
  bool contiguous = true;
  for (int i = 0; i < nin && contiguous; i++) contiguous = numel == 1 || grad__array_is_contiguous(a->in[i]);
  return contiguous ? eval_contiguous(a, kernel, numel) : eval_strided(a, kernel, numel);
}

/* --- derivatives and batching */

static void elementwise_jvp(grad_jvp *a) {
  grad_id sum = GRAD_NONE;
  if (a->y[0] == GRAD_NONE) return;
  const grad_type type = *grad__type(a->p, a->y[0]);
  for (int i = 0; i < a->ins->op->nin; i++) {
    if (a->dx[i] == GRAD_NONE) continue;
    const grad_id slope = grad__partial(a->p, a->ins->op, i, a->x, a->y[0], &type);
    if (slope != GRAD_NONE) sum = grad__add_tangents(a->p, sum, grad__mulz(a->p, a->dx[i], slope));
  }
  a->dy[0] = sum;
}

/* One `where` for both branches instead of two and a sum. */
static void select_jvp(grad_jvp *a) {
  if (a->dx[1] == GRAD_NONE && a->dx[2] == GRAD_NONE) return;
  const grad_id zero = grad__lit(a->p, 0, a->y[0]);
  a->dy[0] =
      grad__where(a->p, a->x[0], a->dx[1] == GRAD_NONE ? zero : a->dx[1], a->dx[2] == GRAD_NONE ? zero : a->dx[2]);
}

/* sub: the second tangent is subtracted rather than negated and added. */
static void sub_jvp(grad_jvp *a) {
  if (a->dx[0] == GRAD_NONE || a->dx[1] == GRAD_NONE)
    elementwise_jvp(a);
  else
    a->dy[0] = grad__sub(a->p, a->dx[0], a->dx[1]);
}

/* The partial in an operand in which the op is linear does not depend on that operand. */
static void elementwise_transpose(grad_transpose *a) {
  for (int i = 0; i < a->ins->op->nin; i++) {
    if (!a->linear[i] || a->cy[0] == GRAD_NONE) continue;
    const grad_id slope = grad__partial(a->p, a->ins->op, i, a->x, GRAD_NONE, &a->xt[i]);
    if (slope != GRAD_NONE) a->cx[i] = grad__mulz(a->p, a->cy[0], slope);
  }
}

static double elementwise_flops(const grad_program *p, const grad_instr *ins) {
  return (double)grad__type_numel(grad__type(p, ins->out));
}

/* --- ops */

#define FLAGS_LINEAR GRAD_OP_LINEAR
#define FLAGS_BILINEAR 0
#define FLAGS_SMOOTH 0
#define FLAGS_FLAT GRAD_OP_NONDIFF
#define KEEPS_FLOAT GRAD_OP_UNIFORM
#define KEEPS_ARITH GRAD_OP_UNIFORM
#define KEEPS_PREDICATE 0
#define KEEPS_LOGICAL 0
#define KEEPS_SELECT 0
#define KEEPS_WIDE GRAD_OP_UNIFORM
#define TRANSPOSE_LINEAR elementwise_transpose
#define TRANSPOSE_BILINEAR elementwise_transpose
#define TRANSPOSE_SMOOTH NULL
#define TRANSPOSE_FLAT NULL
#define JVP(id, rule) (id == GRAD_ROW_where ? select_jvp : id == GRAD_ROW_sub ? sub_jvp : rule)
#define JVP_LINEAR elementwise_jvp
#define JVP_BILINEAR elementwise_jvp
#define JVP_SMOOTH elementwise_jvp
#define JVP_FLAT NULL
#define DEPENDS_LINEAR GRAD_SPARSITY_ELEMENTWISE
#define DEPENDS_BILINEAR GRAD_SPARSITY_ELEMENTWISE
#define DEPENDS_SMOOTH GRAD_SPARSITY_ELEMENTWISE
#define DEPENDS_FLAT GRAD_SPARSITY_NONE

#define ELEMENTWISE(id, arity, kind, slope, words)                                                                     \
  const grad_op grad__op_##id = {                                                                                      \
      .name = #id,                                                                                                     \
      .nin = arity,                                                                                                    \
      .nout = 1,                                                                                                       \
      .flags = GRAD_OP_ELEMENTWISE | FLAGS_##slope | KEEPS_##kind,                                                     \
      .sparsity = DEPENDS_##slope,                                                                                     \
      .row = GRAD_ROW_##id,                                                                                            \
      .doc = words,                                                                                                    \
      .infer = elementwise_infer,                                                                                      \
      .eval = elementwise_eval,                                                                                        \
      .jvp = JVP(GRAD_ROW_##id, JVP_##slope),                                                                          \
      .transpose = TRANSPOSE_##slope,                                                                                  \
      .batch = grad__batch_same,                                                                                       \
      .crop = grad__crop_same,                                                                                         \
      .flops = elementwise_flops,                                                                                      \
  };
#define OP1(name, kind, slope, value, da, dom, scalar, print, doc) ELEMENTWISE(name, 1, kind, slope, doc)
#define OP2(name, kind, slope, value, da, db, doma, domb, scalar, print, doc) ELEMENTWISE(name, 2, kind, slope, doc)
#define OP3(name, kind, slope, value, da, db, dc, doma, domb, domc, scalar, print, doc)                                \
  ELEMENTWISE(name, 3, kind, slope, doc)
#include "ops/ops.def"
