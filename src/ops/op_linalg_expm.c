/* op_linalg_expm.c: the matrix exponential and its derivatives.
 *
 * matrix_exp  a ... n n, then any number of directions e1, e2, ... of a's type -> the derivative of exp at a in these
 *             directions (symmetric and linear in each); with none, exp(a) itself
 * method      scaling and squaring with Pade approximants (Higham 2005, "The scaling and squaring method for the matrix
 *             exponential revisited"). A derivative is a block of the exponential of a block-triangular matrix (Mathias
 *             1996): of x, one more direction e makes [x, e; 0, x], and the wanted block is at the upper right.
 * transpose   of one direction: the others and a transposed, the cotangent in its place
 */
#include "linalg/blas.h"
#include "linalg/lapack.h"
#include "ops/linalg.h"
#include "ops/linalg_items.h"

#include <math.h>
#include <string.h>

enum { MAX_DIRECTIONS = 10 };

static grad_status expm_infer(grad_infer *a) {
  const grad_type *const t = &a->in[0];
  for (int i = 0; i < a->nin; i++) {
    const grad_status status = grad__infer_matrix(a, i, true);
    if (status) return status;
    if (!grad__type_equal(t, &a->in[i])) {
      return grad__fail(a->ctx, GRAD_ESHAPE, "matrix_exp: a direction has not the type of the matrix");
    }
  }
  if (a->nin > MAX_DIRECTIONS + 1) {
    return grad__fail(a->ctx, GRAD_EUNSUPPORTED, "matrix_exp: derivatives of order %d and higher are too large",
                      MAX_DIRECTIONS + 1);
  }
  a->nout = 1;
  return grad__infer_out(a, 0, t->dtype, t->ndim, t->shape);
}

enum { NPOWERS = 5 };
typedef struct expm_parts {
  void *x, *power[NPOWERS]; /* identity, x^2, x^4, ... */
  void *even, *odd, *t;
  int *pivots;
} expm_parts;

static expm_parts carve_parts(grad_carve *c, int64_t n, size_t size) {
  expm_parts parts = {.x = grad__carve(c, n * n, size)};
  for (int i = 0; i < NPOWERS; i++) parts.power[i] = grad__carve(c, n * n, size);
  parts.even = grad__carve(c, n * n, size);
  parts.odd = grad__carve(c, n * n, size);
  parts.t = grad__carve(c, n * n, size);
  parts.pivots = grad__carve(c, n, sizeof(int));
  return parts;
}

static int64_t block_order(const grad_type *t, int nin) { return t->shape[t->ndim - 1] << (nin - 1); }

static int64_t expm_scratch(const grad_program *p, const grad_instr *ins) {
  const grad_type *const t = grad__type(p, ins->in[0]);
  grad_carve c = {0};
  carve_parts(&c, block_order(t, ins->nin), grad__dtype_size(t->dtype));
  return c.used;
}

/* --- arithmetic on n x n matrices of f64 or f32, row after row */

typedef struct expm {
  grad_ctx *ctx;
  grad_dtype dtype;
  int64_t n;
} expm;

static size_t bytes(const expm *e) { return (size_t)(e->n * e->n) * grad__dtype_size(e->dtype); }

static void scale(const expm *e, void *x, double factor) {
  for (int64_t i = 0; i < e->n * e->n; i++) grad__float_put(e->dtype, x, i, factor * grad__float_get(e->dtype, x, i));
}

/* to = sum of c[step * i] power[i] for i < count */
static void combine(const expm *e, void *to, int count, const double *c, void *const *power) {
  for (int64_t i = 0; i < e->n * e->n; i++) {
    double sum = 0;
    for (int k = 0; k < count; k++) sum += c[2 * k] * grad__float_get(e->dtype, power[k], i);
    grad__float_put(e->dtype, to, i, sum);
  }
}

static grad_status multiply(const expm *e, void *to, const void *x, const void *y, double beta) {
  return grad__gemm(e->ctx, e->dtype, false, false, e->n, e->n, e->n, 1, x, e->n, y, e->n, beta, to, e->n);
}

static double norm1(const expm *e, const void *x) {
  double largest = 0;
  for (int64_t j = 0; j < e->n; j++) {
    double sum = 0;
    for (int64_t i = 0; i < e->n; i++) sum += fabs(grad__float_get(e->dtype, x, i * e->n + j));
    if (!(sum <= largest)) largest = sum; /* keeps NaN */
  }
  return largest;
}

/* --- Pade */

/* Degrees, the 1-norms up to which they are accurate (f64, f32; Higham 2005, table 2.3), and their coefficients. */
typedef struct pade {
  int degree;
  double most[2];
  double c[14];
} pade;
static const pade pades[] = {
    {3, {1.495585217958292e-2, 4.258730016922831e-1}, {120, 60, 12, 1}},
    {5, {2.539398330063230e-1, 1.880152677804762}, {30240, 15120, 3360, 420, 30, 1}},
    {7, {9.504178996162932e-1, 3.925724783138660}, {17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1}},
    {9,
     {2.097847961257068, 3.925724783138660},
     {17643225600, 8821612800, 2075673600, 302702400, 30270240, 2162160, 110880, 3960, 90, 1}},
    {13,
     {5.371920351148152, 3.925724783138660},
     {64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
      670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1}}};

/* odd and even part of the numerator, the odd one without its factor x. Degree 13 saves products: with b = x^6,
 * even = b (c12 b + c10 x^4 + c8 x^2) + c6 b + ... + c0, odd likewise. */
static grad_status numerator(const expm *e, const pade *m, const expm_parts *parts) {
  const int count = m->degree == 13 ? 4 : (m->degree + 1) / 2;
  const int products = m->degree == 13 ? 2 : count - 2;
  grad_status status = multiply(e, parts->power[1], parts->x, parts->x, 0);
  for (int k = 0; k < products && !status; k++) {
    status = multiply(e, parts->power[k + 2], parts->power[k + 1], parts->power[1], 0);
  }
  if (status) return status;
  combine(e, parts->even, count, m->c, parts->power);
  combine(e, parts->odd, count, m->c + 1, parts->power);
  for (int part = 0; part < 2 && m->degree == 13 && !status; part++) {
    combine(e, parts->t, 3, m->c + 8 + part, parts->power + 1);
    status = multiply(e, part ? parts->odd : parts->even, parts->power[3], parts->t, 1);
  }
  return status;
}

/* x becomes exp(x), given its 1-norm, which is finite. */
static grad_status exponential(const expm *e, const expm_parts *parts, double norm) {
  const int narrow = e->dtype == GRAD_F32, most = narrow ? 2 : 4;
  int chosen = 0;
  while (chosen < most && norm > pades[chosen].most[narrow]) chosen++;
  const pade *const m = &pades[chosen];
  int squarings = 0;
  if (norm > m->most[narrow]) frexp(norm / m->most[narrow], &squarings);
  scale(e, parts->x, ldexp(1, -squarings));
  memset(parts->power[0], 0, bytes(e));
  for (int64_t i = 0; i < e->n; i++) grad__float_put(e->dtype, parts->power[0], i * e->n + i, 1);
  grad_status status = numerator(e, m, parts);
  if (!status) status = multiply(e, parts->t, parts->x, parts->odd, 0);
  if (status) return status;
  for (int64_t i = 0; i < e->n * e->n; i++) {
    const double even = grad__float_get(e->dtype, parts->even, i), odd = grad__float_get(e->dtype, parts->t, i);
    grad__float_put(e->dtype, parts->x, i, even + odd);
    grad__float_put(e->dtype, parts->even, i, even - odd);
  }
  /* numerator and denominator commute, so that the solve may see both transposed, as LAPACK does */
  status = grad__getrf(e->ctx, e->dtype, e->n, parts->even, parts->pivots);
  if (!status) status = grad__getrs(e->ctx, e->dtype, false, e->n, e->n, parts->even, parts->pivots, parts->x);
  for (int i = 0; i < squarings && !status; i++) {
    status = multiply(e, parts->t, parts->x, parts->x, 0);
    memcpy(parts->x, parts->t, bytes(e));
    if (!status) status = grad__interrupted(e->ctx);
  }
  return status;
}

/* --- blocks */

static double item_norm(const grad_array *a) {
  double largest = 0;
  for (int64_t j = 0; j < a->shape[1]; j++) {
    double sum = 0;
    for (int64_t i = 0; i < a->shape[0]; i++) sum += fabs(grad__array_get(a, (int64_t[]){i, j}));
    if (!(sum <= largest)) largest = sum;
  }
  return largest;
}

/* Block row r, column c of 2^k block rows: a on the diagonal; ei where c has bit i and r is the same without it. Each
 * direction is divided by its factor, so that a large one does not call for more squaring. */
static void assemble(const expm *e, void *x, const grad_items *items, int nin, const double *factors) {
  const int64_t n = items[0].item.shape[0], blocks = INT64_C(1) << (nin - 1);
  memset(x, 0, bytes(e));
  for (int64_t r = 0; r < blocks; r++) {
    for (int i = 0; i < nin; i++) {
      const int64_t bit = i ? INT64_C(1) << (i - 1) : 0;
      if (r & bit) continue;
      for (int64_t row = 0; row < n; row++) {
        for (int64_t col = 0; col < n; col++) {
          const double value = grad__array_get(&items[i].item, (int64_t[]){row, col}) / factors[i];
          grad__float_put(e->dtype, x, (r * n + row) * e->n + (r | bit) * n + col, value);
        }
      }
    }
  }
}

/* exp of the block matrix; its upper right block goes to `to`. */
static grad_status expm_item(const expm *e, const expm_parts *parts, const grad_items *items, int nin,
                             const grad_array *to) {
  double factors[MAX_DIRECTIONS + 1] = {1}, product = 1;
  const int64_t n = items[0].item.shape[0];
  const double norm = item_norm(&items[0].item);
  for (int i = 1; i < nin; i++) {
    const double size = item_norm(&items[i].item);
    factors[i] = size > 0 ? size / (norm > 0 ? norm : 1) : 1;
    if (!(factors[i] > 0 && factors[i] < (double)INFINITY)) factors[i] = 1;
    product *= factors[i];
  }
  assemble(e, parts->x, items, nin, factors);
  const double whole = norm1(e, parts->x);
  if (!isfinite(whole)) {
    grad__array_fill(to, (double)NAN);
    return GRAD_OK;
  }
  const grad_status status = exponential(e, parts, whole);
  if (status) return status;
  if (product != 1) scale(e, parts->x, product);
  grad_array block, all;
  grad__array_wrap(&all, parts->x, e->dtype, 2, (int64_t[]){e->n, e->n});
  grad__view_slice(&all, 0, 0, n, 1, &block);
  grad__view_slice(&block, 1, e->n - n, n, 1, &block);
  grad__array_copy(to, &block);
  return GRAD_OK;
}

static grad_status expm_eval(const grad_eval *a) {
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  grad_items items[MAX_DIRECTIONS + 1], to = grad__items(a->out[0], 2);
  const int nin = a->ins->nin;
  for (int i = 0; i < nin; i++) items[i] = grad__items(a->in[i], 2);
  const grad_dtype dtype = a->in[0]->dtype;
  const expm e = {.ctx = a->ctx, .dtype = dtype, .n = to.item.shape[0] << (nin - 1)};
  grad_carve carve = {.base = a->scratch};
  const expm_parts parts = carve_parts(&carve, e.n, grad__dtype_size(dtype));
  while (to.at < to.count) {
    const grad_status status = expm_item(&e, &parts, items, nin, &to.item);
    if (status) return status;
    for (int i = 0; i < nin; i++) grad__items_next(&items[i]);
    grad__items_next(&to);
  }
  return GRAD_OK;
}

static void expm_jvp(grad_jvp *a) {
  grad_id in[MAX_DIRECTIONS + 2], dy = GRAD_NONE;
  const int nin = a->ins->nin;
  memcpy(in, a->x, (size_t)nin * sizeof *in);
  if (a->dx[0] != GRAD_NONE) {
    in[nin] = a->dx[0];
    dy = grad__emit(a->p, &grad__op_matrix_exp, nin + 1, in, 0, NULL);
  }
  for (int i = 1; i < nin; i++) {
    if (a->dx[i] == GRAD_NONE) continue;
    in[i] = a->dx[i];
    dy = grad__add_tangents(a->p, dy, grad__emit(a->p, &grad__op_matrix_exp, nin, in, 0, NULL));
    in[i] = a->x[i];
  }
  a->dy[0] = dy;
}

static void expm_transpose(grad_transpose *a) {
  grad_id in[MAX_DIRECTIONS + 1];
  int which = 0;
  for (int i = 0; i < a->ins->nin; i++) {
    if (a->linear[i]) which = i;
    in[i] = a->linear[i] ? a->cy[0] : grad__linalg_transpose(a->p, a->x[i]);
  }
  a->cx[which] = grad__emit(a->p, &grad__op_matrix_exp, a->ins->nin, in, 0, NULL);
}

static double expm_flops(const grad_program *p, const grad_instr *ins) {
  const double n = (double)block_order(grad__type(p, ins->in[0]), ins->nin);
  const grad_type *const t = grad__type(p, ins->out);
  const double order = (double)t->shape[t->ndim - 1];
  return order > 0 ? 20 * n * n * n * (double)grad__type_numel(t) / (order * order) : 0;
}

const grad_op grad__op_matrix_exp = {
    .name = "matrix_exp",
    .nin = -1,
    .nout = 1,
    .infer = expm_infer,
    .eval = expm_eval,
    .scratch = expm_scratch,
    .jvp = expm_jvp,
    .transpose = expm_transpose,
    .batch = grad__batch_same,
    .flops = expm_flops,
};

grad_id grad__matrix_exp(grad_program *p, grad_id a) {
  a = grad__linalg_matrix(p, "matrix_exp", a, true);
  return grad__emit1(p, &grad__op_matrix_exp, a, 0, NULL);
}
