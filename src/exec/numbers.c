/* numbers.c: see numbers.h. Arithmetic and comparisons of f64 have codes of their own; the rest calls the kernel. */
#include "exec/numbers.h"

#include <math.h>
#include <string.h>

#include "exec/planner.h"

#define CODES(XX)                                                                                                      \
  XX(add, a + b)                                                                                                       \
  XX(sub, a - b)                                                                                                       \
  XX(mul, a *b)                                                                                                        \
  XX(mulz, a == 0 || b == 0 ? 0 : a * b)                                                                               \
  XX(div, a / b)                                                                                                       \
  XX(neg, -a)                                                                                                          \
  XX(square, a *a)                                                                                                     \
  XX(reciprocal, 1 / a)                                                                                                \
  XX(sqrt, sqrt(a))                                                                                                    \
  XX(abs, fabs(a))

/* Comparisons of f64; a bool is the first byte of its slot. */
#define TESTS(XX)                                                                                                      \
  XX(eq, a == b)                                                                                                       \
  XX(ne, a != b)                                                                                                       \
  XX(lt, a < b)                                                                                                        \
  XX(le, a <= b)                                                                                                       \
  XX(gt, a > b)                                                                                                        \
  XX(ge, a >= b)

typedef enum code {
  CODE_COPY = GRAD_NUMBER_COPY,
  CODE_CALL = GRAD_NUMBER_CALL,
  CODE_CONVERT = GRAD_NUMBER_CONVERT,
  CODE_REDUCE = GRAD_NUMBER_REDUCE,
  CODE_EVAL = GRAD_NUMBER_EVAL,
  CODE_PACK = GRAD_NUMBER_PACK,
  CODE_UNPACK = GRAD_NUMBER_UNPACK,
  CODE_NONE = GRAD_NUMBER_OPS,
#define XX(name, value) CODE_##name,
  CODES(XX) TESTS(XX)
#undef XX
      CODE_where,
} code;

uint16_t grad__number_op_code(const grad_op *op, grad_dtype dtype) {
  if (dtype != GRAD_F64) return CODE_CALL;
#define XX(name, value)                                                                                                \
  if (op == &grad__op_##name) return CODE_##name;
  CODES(XX)
  TESTS(XX)
#undef XX
  return op == &grad__op_where ? CODE_where : CODE_CALL;
}

static uint16_t code_of(const grad_micro *m) {
  if (m->kind == GRAD_MICRO_CONVERT) return CODE_CONVERT;
  return m->kind == GRAD_MICRO_KERNEL ? grad__number_op_code(m->op, m->dtype) : CODE_COPY;
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
  if (c == CODE_CALL) n->code.calls[n->code.ncalls++] = m->do_.kernel;
  if (c == CODE_CONVERT) n->code.copiers[n->code.ncopiers++] = m->do_.convert;
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

static void reduce(const grad_number_reduction *r, int64_t n, const double *x, double *to) {
  const double value = grad__reduce_combine(r->kind, grad__reduce_identity(r->kind), r->reduce(n, x));
  const float narrow = (float)value;
  if (r->dtype == GRAD_F64) {
    *to = value;
  } else {
    memcpy(to, &narrow, sizeof narrow);
  }
}

static void repack(const grad_number_op *op, double *slots) {
  char *to = (char *)&slots[op->out];
  const char *from = (const char *)&slots[op->in[0]];
  const int32_t size = op->in[1], slot = (int32_t)sizeof *slots;
  const int32_t to_step = op->code == CODE_PACK ? size : slot, from_step = op->code == CODE_PACK ? slot : size;
  for (int32_t i = 0; i < op->n; i++) memcpy(to + i * to_step, from + i * from_step, (size_t)size);
}

grad_status grad__number_code_run(const grad_number_code *n, double *slots) {
  const grad_kernel *call = n->calls;
  const grad_copier *copier = n->copiers;
  const grad_number_reduction *reduction = n->reductions;
  const grad_number_eval *eval = n->evals;
  for (const grad_number_op *op = n->ops, *end = n->ops + n->nops; op < end; op++) {
    const double a = slots[op->in[0]], b = slots[op->in[1]];
    switch ((code)op->code) {
#define XX(name, value)                                                                                                \
  case CODE_##name:                                                                                                    \
    slots[op->out] = (value);                                                                                          \
    break;
      CODES(XX)
#undef XX
#define XX(name, value)                                                                                                \
  case CODE_##name:                                                                                                    \
    *(char *)&slots[op->out] = (char)(value);                                                                          \
    break;
      TESTS(XX)
#undef XX
    case CODE_where:
      slots[op->out] = *(const char *)&slots[op->in[0]] ? b : slots[op->in[2]];
      break;
    case CODE_NONE:
    case CODE_COPY:
      slots[op->out] = a;
      break;
    case CODE_CALL: {
      const void *const in[3] = {&slots[op->in[0]], &slots[op->in[1]], &slots[op->in[2]]};
      (*call++)(op->n, &slots[op->out], in);
      break;
    }
    case CODE_CONVERT:
      (*copier++)(1, &slots[op->out], 1, &slots[op->in[0]], 1);
      break;
    case CODE_REDUCE:
      reduce(reduction++, op->n, &slots[op->in[0]], &slots[op->out]);
      break;
    case CODE_PACK:
    case CODE_UNPACK:
      repack(op, slots);
      break;
    case CODE_EVAL: {
      const grad_status status = grad__fail_at(eval->p, eval->e.ins, eval->e.ins->op->eval(&eval->e));
      if (status != GRAD_OK) return status;
      eval++;
      break;
    }
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
