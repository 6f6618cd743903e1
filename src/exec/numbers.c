/* numbers.c: see numbers.h. Slots are eight bytes, whatever the dtype. Arithmetic on f64 has codes of its own, which do
 * to one number what the kernels do to each element of a block; the rest calls the kernel. */
#include "exec/numbers.h"

#include <math.h>
#include <string.h>

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

typedef enum code {
#define XX(name, value) CODE_##name,
  CODES(XX)
#undef XX
      CODE_COPY,
  CODE_CALL,
  CODE_CONVERT
} code;

static code code_of(const grad_micro *m) {
  if (m->kind == GRAD_MICRO_CONVERT) return CODE_CONVERT;
  if (m->kind != GRAD_MICRO_KERNEL) return CODE_COPY;
#define XX(name, value)                                                                                                \
  if (m->op == &grad__op_##name && m->dtype == GRAD_F64) return CODE_##name;
  CODES(XX)
#undef XX
  return CODE_CALL;
}

static int32_t slot_of(const grad_region *g, int32_t operand) {
  const grad_operand *o = &g->operands[operand];
  return o->kind == GRAD_OPERAND_REGISTER ? o->reg : g->nregs + operand;
}

static void add_move(grad_number_move *list, int32_t *count, grad_number_move move) { list[(*count)++] = move; }

static void add_micro(grad_region *g, grad_numbers *n, const grad_micro *m, bool *written, int32_t *ncalls,
                      int32_t *ncopiers) {
  const code c = code_of(m);
  for (int k = 0; k < 3; k++) {
    const grad_operand *o = &g->operands[m->in[k]];
    if (o->kind == GRAD_OPERAND_REGISTER || written[m->in[k]]) continue;
    written[m->in[k]] = true;
    add_move(n->loads, &n->nloads,
             (grad_number_move){.slot = slot_of(g, m->in[k]), .size = o->size, .operand = m->in[k]});
  }
  if (c == CODE_CALL) n->calls[(*ncalls)++] = m->do_.kernel;
  if (c == CODE_CONVERT) n->copiers[(*ncopiers)++] = m->do_.convert;
  grad_number_op *op = &n->ops[n->nops++];
  op->code = (uint16_t)c;
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
  n->ops = alloc(ud, (size_t)g->nmicros, sizeof *n->ops);
  n->calls = alloc(ud, (size_t)g->nmicros, sizeof *n->calls);
  n->copiers = alloc(ud, (size_t)g->nmicros, sizeof *n->copiers);
  n->loads = alloc(ud, (size_t)g->noperands, sizeof *n->loads);
  n->stores = alloc(ud, (size_t)g->noperands + (size_t)g->nreductions, sizeof *n->stores);
  if (!n->ops || !n->calls || !n->copiers || !n->loads || !n->stores) return ctx->status;
  int32_t ncalls = 0, ncopiers = 0;
  for (int32_t i = 0; i < g->nmicros; i++) add_micro(g, n, &g->micros[i], written, &ncalls, &ncopiers);
  n->nslots = g->nregs + g->noperands + g->nreductions;
  g->numbers = n;
  return GRAD_OK;
}

static void run_ops(const grad_numbers *n, double *slots) {
  const grad_kernel *call = n->calls;
  const grad_copier *copier = n->copiers;
  for (const grad_number_op *op = n->ops, *end = n->ops + n->nops; op < end; op++) {
    const double a = slots[op->in[0]], b = slots[op->in[1]];
    switch ((code)op->code) {
#define XX(name, value)                                                                                                \
  case CODE_##name:                                                                                                    \
    slots[op->out] = (value);                                                                                          \
    break;
      CODES(XX)
#undef XX
    case CODE_COPY:
      slots[op->out] = a;
      break;
    case CODE_CALL: {
      const void *const in[3] = {&slots[op->in[0]], &slots[op->in[1]], &slots[op->in[2]]};
      (*call++)(1, &slots[op->out], in);
      break;
    }
    case CODE_CONVERT:
      (*copier++)(1, &slots[op->out], 1, &slots[op->in[0]], 1);
      break;
    }
  }
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
  run_ops(n, slots);
  for (int32_t i = 0; i < n->nstores; i++) {
    const grad_number_move *m = &n->stores[i];
    const grad_place place = m->operand < 0 ? g->reductions[m->reduction].place : g->operands[m->operand].place;
    move_number(grad__at(bases, place), &slots[m->slot], m->size);
  }
}
