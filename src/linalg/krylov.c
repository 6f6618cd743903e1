/* krylov.c: conjugate gradients, MINRES and GMRES. */
#include "linalg/krylov.h"

#include <float.h>

#include "core/ctx.h"
#include "linalg/vec.h"

/* What the three share: the operator, the test, one block of n-vectors. */
typedef struct solve {
  grad_ctx *ctx;
  int64_t n, limit;
  grad_operator a;
  void *user;
  double target;
  double *block;
  size_t bytes;
} solve;

static grad_status solve_begin(solve *s, grad_ctx *ctx, int64_t n, grad_operator a, void *user, const double *b,
                               const grad_krylov_options *o, int64_t doubles, grad_krylov_result *result) {
  double rtol = o ? o->rtol : 0, atol = o ? o->atol : 0;
  if (rtol == 0 && atol == 0) rtol = 1e-10;
  *result = (grad_krylov_result){0};
  *s = (solve){.ctx = ctx, .n = n, .a = a, .user = user, .target = fmax(rtol * vec_norm2(n, b), atol)};
  s->limit = o && o->max_iter > 0 ? o->max_iter : 10 * n + 10;
  int64_t bytes = 0;
  if (!grad__mul_i64(doubles + 1, sizeof(double), &bytes))
    return grad__fail(ctx, GRAD_EVALUE, "krylov: n = %lld is too large", (long long)n);
  s->bytes = (size_t)bytes;
  s->block = grad__alloc_aligned(ctx, s->bytes);
  return s->block ? GRAD_OK : GRAD_ENOMEM;
}

static void solve_end(solve *s) { grad__free_aligned(s->ctx, s->block, s->bytes); }

static grad_status apply(solve *s, const double *x, double *out) {
  grad_status status = grad__interrupted(s->ctx);
  return status == GRAD_OK ? s->a(s->user, x, out) : status;
}

/* r = b - A x */
static grad_status residual(solve *s, const double *b, const double *x, double *r) {
  grad_status status = apply(s, x, r);
  if (status == GRAD_OK) vec_sub(s->n, b, r, r);
  return status;
}

static grad_status cg_loop(solve *s, const double *b, double *x, grad_krylov_result *result) {
  double *r = s->block, *d = r + s->n, *ad = d + s->n;
  grad_status status = residual(s, b, x, r);
  if (status != GRAD_OK) return status;
  vec_copy(s->n, r, d);
  double rr = vec_dot(s->n, r, r);
  for (; sqrt(rr) > s->target && result->iterations < s->limit; result->iterations++) {
    status = apply(s, d, ad);
    if (status != GRAD_OK) return status;
    double curvature = vec_dot(s->n, d, ad);
    if (!(curvature > 0)) {
      result->indefinite = true;
      break;
    }
    double alpha = rr / curvature;
    vec_axpy(s->n, alpha, d, x);
    vec_axpy(s->n, -alpha, ad, r);
    double next = vec_dot(s->n, r, r);
    vec_add_scaled(s->n, r, next / rr, d, d);
    rr = next;
  }
  result->residual = sqrt(rr);
  return GRAD_OK;
}

grad_status grad_krylov_cg(grad_ctx *ctx, int64_t n, grad_operator a, void *user, const double *b, double *x,
                           const grad_krylov_options *options, grad_krylov_result *result) {
  solve s;
  grad_status status = solve_begin(&s, ctx, n, a, user, b, options, 3 * n, result);
  if (status == GRAD_OK) status = cg_loop(&s, b, x, result);
  result->converged = result->residual <= s.target;
  solve_end(&s);
  return status;
}

/* A rotation [c s; s -c] that takes (a, b) to (r, 0). */
typedef struct rotation {
  double c, s, r;
} rotation;

static rotation rotation_of(double a, double b) {
  double r = hypot(a, b);
  return r > 0 ? (rotation){a / r, b / r, r} : (rotation){1, 0, 0};
}

/* Lanczos vectors v, the tridiagonal matrix factored as it comes; w: directions; names as in the paper. */
static grad_status minres_loop(solve *s, const double *b, double *x, grad_krylov_result *result) {
  int64_t n = s->n;
  double *v = s->block, *before = v + n, *next = before + n, *w_old = next + n, *w_older = w_old + n;
  grad_status status = residual(s, b, x, v);
  if (status != GRAD_OK) return status;
  double beta = vec_norm2(n, v), eta = beta;
  rotation now = {1, 0, 0}, prior = {1, 0, 0};
  vec_fill(4 * n, 0, before);
  result->residual = beta;
  if (beta > 0) vec_scale(n, 1 / beta, v);
  double beta_here = 0; /* couples v with the vector before it */
  for (; result->residual > s->target && result->iterations < s->limit; result->iterations++) {
    status = apply(s, v, next);
    if (status != GRAD_OK) return status;
    double alpha = vec_dot(n, v, next);
    for (int64_t i = 0; i < n; i++) next[i] -= alpha * v[i] + beta_here * before[i];
    double beta_next = vec_norm2(n, next);
    double delta = now.c * alpha - prior.c * now.s * beta_here, rho2 = now.s * alpha + prior.c * now.c * beta_here;
    double rho3 = prior.s * beta_here;
    rotation turn = rotation_of(delta, beta_next);
    if (turn.r == 0) break; /* singular, and b is not in its range */
    for (int64_t i = 0; i < n; i++) {
      w_older[i] = (v[i] - rho3 * w_older[i] - rho2 * w_old[i]) / turn.r;
      x[i] += turn.c * eta * w_older[i];
    }
    double *oldest = w_older;
    w_older = w_old;
    w_old = oldest;
    eta = -turn.s * eta;
    result->residual = fabs(eta);
    prior = now;
    now = (rotation){turn.c, turn.s, 0};
    double *used = before;
    before = v;
    v = next;
    next = used;
    beta_here = beta_next;
    if (beta_next > 0) vec_scale(n, 1 / beta_next, v);
  }
  return GRAD_OK;
}

grad_status grad_krylov_minres(grad_ctx *ctx, int64_t n, grad_operator a, void *user, const double *b, double *x,
                               const grad_krylov_options *options, grad_krylov_result *result) {
  solve s;
  grad_status status = solve_begin(&s, ctx, n, a, user, b, options, 5 * n, result);
  if (status == GRAD_OK) status = minres_loop(&s, b, x, result);
  result->converged = result->residual <= s.target;
  solve_end(&s);
  return status;
}

typedef struct basis {
  int64_t size; /* most vectors */
  double *v;    /* (size + 1) x n */
  double *h;    /* (size + 1) x size, rotated to a triangle */
  double *c, *s, *rhs;
} basis;

/* Arnoldi's next vector, with modified Gram-Schmidt done twice; the column of H, rotated. */
static grad_status extend(solve *s, basis *k, int64_t j, double *residual_norm) {
  int64_t n = s->n, w = k->size;
  double *next = k->v + (j + 1) * n;
  grad_status status = apply(s, k->v + j * n, next);
  if (status != GRAD_OK) return status;
  for (int64_t i = 0; i <= j; i++) k->h[i * w + j] = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int64_t i = 0; i <= j; i++) {
      double along = vec_dot(n, k->v + i * n, next);
      k->h[i * w + j] += along;
      vec_axpy(n, -along, k->v + i * n, next);
    }
  double length = vec_norm2(n, next);
  if (length > 0) vec_scale(n, 1 / length, next);
  for (int64_t i = 0; i < j; i++) {
    double a = k->h[i * w + j], b = k->h[(i + 1) * w + j];
    k->h[i * w + j] = k->c[i] * a + k->s[i] * b;
    k->h[(i + 1) * w + j] = k->s[i] * a - k->c[i] * b;
  }
  rotation turn = rotation_of(k->h[j * w + j], length);
  k->h[j * w + j] = turn.r;
  k->c[j] = turn.c;
  k->s[j] = turn.s;
  k->rhs[j + 1] = turn.s * k->rhs[j];
  k->rhs[j] *= turn.c;
  *residual_norm = fabs(k->rhs[j + 1]);
  return GRAD_OK;
}

static void combine(const solve *s, basis *k, int64_t count, double *x) {
  int64_t w = k->size;
  for (int64_t i = count - 1; i >= 0; i--) {
    for (int64_t j = i + 1; j < count; j++) k->rhs[i] -= k->h[i * w + j] * k->rhs[j];
    k->rhs[i] = k->h[i * w + i] != 0 ? k->rhs[i] / k->h[i * w + i] : 0;
  }
  for (int64_t i = 0; i < count; i++) vec_axpy(s->n, k->rhs[i], k->v + i * s->n, x);
}

static grad_status gmres_loop(solve *s, int64_t size, const double *b, double *x, grad_krylov_result *result) {
  int64_t n = s->n;
  basis k = {.size = size, .v = s->block, .h = s->block + (size + 1) * n};
  k.c = k.h + (size + 1) * size;
  k.s = k.c + size;
  k.rhs = k.s + size;
  for (double last = VEC_INF;;) {
    grad_status status = residual(s, b, x, k.v);
    if (status != GRAD_OK) return status;
    double length = vec_norm2(n, k.v);
    result->residual = length;
    if (length <= s->target || result->iterations >= s->limit || !(length < last)) return GRAD_OK;
    last = length;
    vec_scale(n, 1 / length, k.v);
    k.rhs[0] = length;
    int64_t j = 0;
    while (j < size && result->residual > s->target && result->iterations < s->limit) {
      status = extend(s, &k, j++, &result->residual);
      if (status != GRAD_OK) return status;
      result->iterations++;
      if (k.h[(j - 1) * size + j - 1] == 0 || k.s[j - 1] == 0) break; /* an invariant space: exact, or singular */
    }
    combine(s, &k, j, x);
  }
}

grad_status grad_krylov_gmres(grad_ctx *ctx, int64_t n, grad_operator a, void *user, const double *b, double *x,
                              const grad_krylov_options *options, grad_krylov_result *result) {
  solve s;
  int64_t size = options && options->restart > 0 ? options->restart : 30, doubles = -2;
  if (size > n) size = n;
  if (size < 1) size = 1;
  if (!grad__mul_i64(size + 1, n + size + 3, &doubles)) doubles = INT64_MAX - 1;
  grad_status status = solve_begin(&s, ctx, n, a, user, b, options, doubles, result);
  if (status == GRAD_OK) status = gmres_loop(&s, size, b, x, result);
  result->converged = result->residual <= s.target;
  solve_end(&s);
  return status;
}
