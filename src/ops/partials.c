/* partials.c: the one place where the columns of partial derivatives in ops.def become graph-building code. */
#include "ops/ops.h"

/* A value together with its program, so that a column reads as a formula. */
typedef struct node {
  grad_program *p;
  grad_id id;
} node;

#if defined __GNUC__
#define MAY_BE_UNUSED __attribute__((unused))
#else
#define MAY_BE_UNUSED
#endif

/* g_sin(a), g_add(a, b), ...: one function a row. */
#define OP1(name, ...)                                                                                                 \
  MAY_BE_UNUSED static inline node g_##name(node a) { return (node){a.p, grad__op1(a.p, &grad__op_##name, a.id)}; }
#define OP2(name, ...)                                                                                                 \
  MAY_BE_UNUSED static inline node g_##name(node a, node b) {                                                          \
    return (node){a.p, grad__op2(a.p, &grad__op_##name, a.id, b.id)};                                                  \
  }
#define OP3(name, ...)                                                                                                 \
  MAY_BE_UNUSED static inline node g_##name(node a, node b, node c) {                                                  \
    return (node){a.p, grad__op3(a.p, &grad__op_##name, a.id, b.id, c.id)};                                            \
  }
#include "ops/ops.def"
#undef OP1
#undef OP2
#undef OP3

typedef struct point {
  node a, b, c, y;
  const grad_type *type; /* of the constants in the formula */
} point;

static node literal(const point *at, double value) {
  const grad_type *t = at->type;
  return (node){at->y.p, grad__full(at->y.p, value, t->dtype, t->ndim, t->shape)};
}

#define g_lit(x) literal(at, x)
#define ZERO ((node){at->y.p, GRAD_NONE})
#define PARTIAL(name, operand, formula)                                                                                \
  static node name##_d##operand(const point *at) {                                                                     \
    const node a = at->a, b = at->b, c = at->c, y = at->y;                                                             \
    (void)a, (void)b, (void)c, (void)y;                                                                                \
    return formula;                                                                                                    \
  }
#define OP1(name, kind, slope, value, da, ...) PARTIAL(name, a, da)
#define OP2(name, kind, slope, value, da, db, ...) PARTIAL(name, a, da) PARTIAL(name, b, db)
#define OP3(name, kind, slope, value, da, db, dc, ...) PARTIAL(name, a, da) PARTIAL(name, b, db) PARTIAL(name, c, dc)
#include "ops/ops.def"
#undef OP1
#undef OP2
#undef OP3

typedef node (*partial_fn)(const point *at);

static const partial_fn partials[][3] = {
#define OP1(name, ...) {name##_da},
#define OP2(name, ...) {name##_da, name##_db},
#define OP3(name, ...) {name##_da, name##_db, name##_dc},
#include "ops/ops.def"
#undef OP1
#undef OP2
#undef OP3
};

grad_id grad__partial(grad_program *p, const grad_op *op, int i, const grad_id *x, grad_id y, const grad_type *type) {
  const point at = {
      .a = {p, x[0]},
      .b = {p, op->nin > 1 ? x[1] : GRAD_NONE},
      .c = {p, op->nin > 2 ? x[2] : GRAD_NONE},
      .y = {p, y},
      .type = type,
  };
  return partials[op->row][i](&at).id;
}
