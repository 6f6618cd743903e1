/* numbers.c: see numbers.h. Arithmetic has codes of its own; the rest calls the kernel. */
#include "exec/numbers.h"

#include <math.h>
#include <string.h>

#include "exec/planner.h"

uint16_t grad__number_op_code(const grad_op *op, grad_dtype dtype) {
#define XX(name, value)                                                                                                \
  if (op == &grad__op_##name) return GRAD_NUMBER_##name;
  if (dtype == GRAD_F64) {
    GRAD_NUMBER_FLOATS(XX, sqrt, fabs)
    GRAD_NUMBER_TESTS(XX)
  }
#undef XX
#define XX(name, value)                                                                                                \
  if (dtype == GRAD_F32 && op == &grad__op_##name) return GRAD_NUMBER_f32_##name;
  GRAD_NUMBER_FLOATS(XX, sqrtf, fabsf)
  GRAD_NUMBER_TESTS(XX)
#undef XX
#define XX(name, value)                                                                                                \
  if (dtype == GRAD_I64 && op == &grad__op_##name) return GRAD_NUMBER_i64_##name;
  GRAD_NUMBER_INTEGERS(XX)
#undef XX
#define XX(name, value)                                                                                                \
  if (dtype == GRAD_BOOL && op == &grad__op_##name) return GRAD_NUMBER_bool_##name;
  GRAD_NUMBER_MASKS(XX)
#undef XX
  return op == &grad__op_where && dtype != GRAD_BOOL ? GRAD_NUMBER_where : GRAD_NUMBER_CALL;
}

static uint16_t code_of(const grad_micro *m) {
  if (m->kind == GRAD_MICRO_CONVERT) return GRAD_NUMBER_CONVERT;
  return m->kind == GRAD_MICRO_KERNEL ? grad__number_op_code(m->op, m->dtype) : GRAD_NUMBER_COPY;
}

static int32_t slot_of(const grad_region *g, int32_t operand) {
  const grad_operand *o = &g->operands[operand];
  return o->kind == GRAD_OPERAND_REGISTER ? o->reg : g->nregs + operand;
}

static void add_move(grad_number_move *list, int32_t *count, grad_number_move move) { list[(*count)++] = move; }

static void add_micro(grad_region *g, grad_numbers *n, const grad_micro *m, bool *written) {
  const uint16_t c = code_of(m);
  for (int k = 0; k < 3; k++) {
    const grad_operand *o = &g->operands[m->in[k]];
    if (o->kind == GRAD_OPERAND_REGISTER || written[m->in[k]]) continue;
    written[m->in[k]] = true;
    add_move(n->loads, &n->nloads,
             (grad_number_move){.slot = slot_of(g, m->in[k]), .size = o->size, .operand = m->in[k]});
  }
  if (c == GRAD_NUMBER_CALL) n->code.calls[n->code.ncalls++] = m->do_.kernel;
  if (c == GRAD_NUMBER_CONVERT) n->code.copiers[n->code.ncopiers++] = m->do_.convert;
  grad_number_op *op = &n->code.ops[n->code.nops++];
  op->code = c;
  op->n = 1;
  for (int k = 0; k < 3; k++) op->in[k] = slot_of(g, m->in[k]);
  if (m->kind == GRAD_MICRO_REDUCE) { /* of one number: the number, kept where no later result can take its slot */
    const int32_t r = (int32_t)(m->do_.reduction - g->reductions);
    op->out = g->nregs + g->noperands + r;
    add_move(n->stores, &n->nstores,
             (grad_number_move){.slot = op->out, .size = g->operands[m->in[0]].size, .operand = -1, .reduction = r});
    return;
  }
  op->out = slot_of(g, m->out);
  const grad_operand *out = &g->operands[m->out];
  if (out->kind == GRAD_OPERAND_REGISTER) return;
  written[m->out] = true;
  add_move(n->stores, &n->nstores, (grad_number_move){.slot = op->out, .size = out->size, .operand = m->out});
}

grad_status grad__numbers_build(grad_region *g, void *(*alloc)(void *ud, size_t count, size_t size), void *ud,
                                grad_ctx *ctx) {
  grad_numbers *n = alloc(ud, 1, sizeof *n);
  bool *written = alloc(ud, (size_t)g->noperands, sizeof *written);
  if (!n || !written) return ctx->status;
  grad_number_code *code = &n->code;
  code->ops = alloc(ud, (size_t)g->nmicros, sizeof *code->ops);
  code->calls = alloc(ud, (size_t)g->nmicros, sizeof *code->calls);
  code->copiers = alloc(ud, (size_t)g->nmicros, sizeof *code->copiers);
  n->loads = alloc(ud, (size_t)g->noperands, sizeof *n->loads);
  n->stores = alloc(ud, (size_t)g->noperands + (size_t)g->nreductions, sizeof *n->stores);
  if (!code->ops || !code->calls || !code->copiers || !n->loads || !n->stores) return ctx->status;
  for (int32_t i = 0; i < g->nmicros; i++) add_micro(g, n, &g->micros[i], written);
  n->nslots = g->nregs + g->noperands + g->nreductions;
  g->numbers = n;
  return GRAD_OK;
}

void grad__number_reduce(const grad_number_reduction *r, int64_t n, const double *x, double *to) {
  const double value = grad__reduce_combine(r->kind, grad__reduce_identity(r->kind), r->reduce(n, x));
  const float narrow = (float)value;
  if (r->dtype == GRAD_F64) {
    *to = value;
  } else {
    memcpy(to, &narrow, sizeof narrow);
  }
}

void grad__number_repack(const grad_number_op *op, double *slots) {
  char *to = (char *)&slots[op->out];
  const char *from = (const char *)&slots[op->in[0]];
  const int32_t size = op->in[1], slot = (int32_t)sizeof *slots;
  const int32_t to_step = op->code == GRAD_NUMBER_PACK ? size : slot,
                from_step = op->code == GRAD_NUMBER_PACK ? slot : size;
  for (int32_t i = 0; i < op->n; i++) memcpy(to + i * to_step, from + i * from_step, (size_t)size);
}

grad_status grad__number_eval(const grad_number_eval *eval) {
  return grad__fail_at(eval->p, eval->e.ins, eval->e.ins->op->eval(&eval->e));
}

static int mask_at(const double *slot) { return *(const char *)slot; }
static void put_mask(double *slot, int x) { *(char *)slot = (char)x; }

static void run_f32(const grad_number_op *op, double *slots) {
  float x[2], y = 0;
  for (int k = 0; k < 2; k++) memcpy(&x[k], &slots[op->in[k]], sizeof x[k]);
  const float a = x[0], b = x[1];
  switch (op->code) {
#define XX(name, value)                                                                                                \
  case GRAD_NUMBER_f32_##name:                                                                                         \
    y = (value);                                                                                                       \
    break;
    GRAD_NUMBER_FLOATS(XX, sqrtf, fabsf)
#undef XX
#define XX(name, value)                                                                                                \
  case GRAD_NUMBER_f32_##name:                                                                                         \
    put_mask(&slots[op->out], (value));                                                                                \
    return;
    GRAD_NUMBER_TESTS(XX)
#undef XX
  }
  memcpy(&slots[op->out], &y, sizeof y);
}

static void run_integers(const grad_number_op *op, double *slots) {
  uint64_t x[2];
  for (int k = 0; k < 2; k++) memcpy(&x[k], &slots[op->in[k]], sizeof x[k]);
  const uint64_t a = x[0], b = x[1];
  uint64_t y = 0;
  switch (op->code) {
#define XX(name, value)                                                                                                \
  case GRAD_NUMBER_i64_##name:                                                                                         \
    y = (value);                                                                                                       \
    memcpy(&slots[op->out], &y, sizeof y);                                                                             \
    return;
    GRAD_NUMBER_INTEGERS(XX)
#undef XX
#define XX(name, value)                                                                                                \
  case GRAD_NUMBER_bool_##name:                                                                                        \
    put_mask(&slots[op->out], (int)(value));                                                                           \
    return;
    GRAD_NUMBER_MASKS(XX)
#undef XX
  }
}

grad_status grad__number_code_run(const grad_number_code *n, double *slots) {
  const grad_kernel *call = n->calls;
  const grad_copier *copier = n->copiers;
  const grad_number_reduction *reduction = n->reductions;
  const grad_number_eval *eval = n->evals;
  for (const grad_number_op *op = n->ops, *end = n->ops + n->nops; op < end; op++) {
    double *const to = &slots[op->out];
    const double *const in = &slots[op->in[0]], *const other = &slots[op->in[1]];
    const double a = *in, b = *other;
    switch (op->code) {
#define XX(name, value)                                                                                                \
  case GRAD_NUMBER_##name:                                                                                             \
    *to = (value);                                                                                                     \
    break;
      GRAD_NUMBER_FLOATS(XX, sqrt, fabs)
#undef XX
#define XX(name, value)                                                                                                \
  case GRAD_NUMBER_##name:                                                                                             \
    put_mask(to, (value));                                                                                             \
    break;
      GRAD_NUMBER_TESTS(XX)
#undef XX
    case GRAD_NUMBER_where:
      *to = mask_at(in) ? b : slots[op->in[2]];
      break;
    case GRAD_NUMBER_COPY:
      *to = a;
      break;
    case GRAD_NUMBER_CALL:
      (*call++)(op->n, to, (const void *const[3]){in, other, &slots[op->in[2]]});
      break;
    case GRAD_NUMBER_CONVERT:
      (*copier++)(1, to, 1, in, 1);
      break;
    case GRAD_NUMBER_REDUCE:
      grad__number_reduce(reduction++, op->n, in, to);
      break;
    case GRAD_NUMBER_PACK:
    case GRAD_NUMBER_UNPACK:
      grad__number_repack(op, slots);
      break;
    case GRAD_NUMBER_EVAL: {
      const grad_status status = grad__number_eval(eval++);
      if (status != GRAD_OK) return status;
      break;
    }
    default:
      if (op->code >= GRAD_NUMBER_i64_add)
        run_integers(op, slots);
      else
        run_f32(op, slots);
    }
  }
  return GRAD_OK;
}

/* A size known to the compiler is one instruction; one that is not costs more than all the rest of a short program. */
static inline void move_number(void *to, const void *from, int size) {
  if (size == 8)
    memcpy(to, from, 8);
  else
    memcpy(to, from, (size_t)size);
}

void grad__numbers_run(const grad_region *g, char *const *bases, char *scratch) {
  const grad_numbers *n = g->numbers;
  double *slots = (double *)(void *)scratch;
  for (int32_t i = 0; i < n->nloads; i++) {
    const grad_number_move *m = &n->loads[i];
    move_number(&slots[m->slot], grad__at(bases, g->operands[m->operand].place), m->size);
  }
  grad__number_code_run(&n->code, slots);
  for (int32_t i = 0; i < n->nstores; i++) {
    const grad_number_move *m = &n->stores[i];
    const grad_place place = m->operand < 0 ? g->reductions[m->reduction].place : g->operands[m->operand].place;
    move_number(grad__at(bases, place), &slots[m->slot], m->size);
  }
}
