/* root_dense.c: newton, hybrid and broyden: one loop on a dense Jacobian, which they differ in keeping. Newton takes a
 * new one for every step; the others update it by Broyden's formula (C. G. Broyden (1965)) and take a new one where it
 * failed. hybrid's steps are doglegs inside a radius (M. J. D. Powell (1970)), the others' come from a line search. */
#include <float.h>

#include "optim/root_solver.h"

typedef struct dense {
  grad__root *r;
  double *jacobian, *direction, *gradient, *rhs, *spare;
  grad__qr qr;
  double radius;
  bool fresh; /* the Jacobian belongs to this point */
} dense;

int64_t grad__root_dense_work(int64_t n) { return n < ((int64_t)1 << 30) ? 2 * n * n + 7 * n : -1; }

static dense place(grad__root *r) {
  int64_t n = r->n;
  dense d = {.r = r, .jacobian = r->work, .qr = {.m = n, .n = n, .columns = r->work + n * n}};
  d.qr.tau = d.qr.columns + n * n;
  d.qr.norm = d.qr.tau + n;
  d.qr.pivot = d.qr.norm + n;
  d.direction = d.qr.pivot + n;
  d.gradient = d.direction + n;
  d.rhs = d.gradient + n;
  d.spare = d.rhs + n;
  return d;
}

static grad_status differences(dense *d) {
  grad__root *r = d->r;
  for (int64_t j = 0; j < r->n; j++) {
    double at = r->x[j], h = sqrt(DBL_EPSILON) * fmax(fabs(at), 1e-3), norm = VEC_INF;
    vec_copy(r->n, r->x, r->trial_x);
    r->trial_x[j] = at + h;
    grad_status status = grad__root_eval(r, r->trial_x, r->trial_f, &norm);
    if (status != GRAD_OK) return status;
    h = r->trial_x[j] - at;
    for (int64_t i = 0; i < r->n; i++) d->jacobian[i * r->n + j] = (r->trial_f[i] - r->f[i]) / h;
  }
  return GRAD_OK;
}

static grad_status take_jacobian(dense *d) {
  grad__root *r = d->r;
  int64_t n = r->n;
  d->fresh = true;
  r->result->evaluations.jac++;
  if (!r->problem->jacobian) return differences(d);
  grad_status status = r->problem->jacobian(r->problem->user, r->x, d->jacobian);
  if (status != GRAD_OK) return status;
  for (int64_t i = 0; r->fixed_point && i < n; i++)
    for (int64_t j = 0; j < n; j++) d->jacobian[i * n + j] = (i == j) - d->jacobian[i * n + j];
  return GRAD_OK;
}

/* Newton's direction and the gradient J'F of |F|^2 / 2; false when they are not finite. */
static bool find_direction(dense *d) {
  grad__root *r = d->r;
  int64_t n = r->n;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) d->qr.columns[j * n + i] = d->jacobian[i * n + j];
  vec_fill(n, 0, d->gradient);
  for (int64_t i = 0; i < n; i++) vec_axpy(n, r->f[i], d->jacobian + i * n, d->gradient);
  if (!vec_finite(n * n, d->jacobian)) return false;
  double *size = d->spare;
  grad__qr_unit_columns(&d->qr, size);
  grad__qr_factor(&d->qr);
  vec_copy(n, r->f, d->rhs);
  grad__qr_project(&d->qr, d->rhs);
  grad__qr_back(&d->qr, grad__qr_rank(&d->qr, DBL_EPSILON * (double)n), d->rhs);
  for (int64_t j = 0; j < n; j++) {
    const int64_t k = (int64_t)d->qr.pivot[j];
    d->direction[k] = -d->rhs[j] / size[k];
  }
  return vec_finite(n, d->direction);
}

static double half_square(int64_t n, const double *f, double norm) {
  return isinf(norm) ? VEC_INF : 0.5 * vec_dot(n, f, f);
}

/* Backtracking until |F|^2 falls enough. *norm: that of the trial taken; Inf when there is none. */
static grad_status search(dense *d, double *norm, bool *finite) {
  grad__root *r = d->r;
  double before = half_square(r->n, r->f, 0), slope = vec_dot(r->n, d->gradient, d->direction), alpha = 1,
         here = VEC_INF;
  if (!(slope < 0)) { /* a singular or outdated Jacobian */
    vec_scaled(r->n, -1, d->gradient, d->direction);
    slope = -vec_dot(r->n, d->gradient, d->gradient);
    alpha = fmin(1, -2 * before / slope);
  }
  *norm = VEC_INF;
  for (int trial = 0; trial < 50; trial++) {
    vec_add_scaled(r->n, r->x, alpha, d->direction, r->trial_x);
    grad_status status = grad__root_eval(r, r->trial_x, r->trial_f, &here);
    if (status != GRAD_OK) return status;
    double value = half_square(r->n, r->trial_f, here);
    *finite |= isfinite(value);
    if (value <= before + 1e-4 * alpha * slope && value < before) {
      *norm = here;
      return GRAD_OK;
    }
    double best = -0.5 * slope * alpha * alpha / (value - before - alpha * slope);
    alpha = isfinite(value) ? vec_clamp(best, 0.1 * alpha, 0.5 * alpha) : 0.25 * alpha;
    if (!d->fresh && trial == 4) return GRAD_OK;
  }
  return GRAD_OK;
}

/* direction becomes the dogleg within the radius: steepest descent's minimizer of the model, then Newton's step. */
static void bend(dense *d) {
  grad__root *r = d->r;
  int64_t n = r->n;
  double length = vec_norm2(n, d->direction), square = vec_dot(n, d->gradient, d->gradient), curvature = 0;
  if (length <= d->radius) return;
  for (int64_t i = 0; i < n; i++) {
    double jg = vec_dot(n, d->jacobian + i * n, d->gradient);
    curvature += jg * jg;
  }
  double descent = square / curvature;
  if (!(descent * sqrt(square) < d->radius)) {
    vec_scaled(n, -d->radius / sqrt(square), d->gradient, d->direction);
    return;
  }
  double uu = descent * descent * square, uv = 0, vv = 0;
  for (int64_t i = 0; i < n; i++) {
    double u = -descent * d->gradient[i], v = d->direction[i] - u;
    uv += u * v;
    vv += v * v;
  }
  double gap = d->radius * d->radius - uu, root = sqrt(uv * uv + vv * gap),
         t = uv > 0 ? gap / (root + uv) : (root - uv) / vv;
  for (int64_t i = 0; i < n; i++) d->direction[i] = -(1 - t) * descent * d->gradient[i] + t * d->direction[i];
}

/* Trials inside a shrinking radius; with an updated Jacobian only two, then a new one is worth its price. */
static grad_status trust(dense *d, double *norm, bool *finite) {
  grad__root *r = d->r;
  double before = vec_norm2(r->n, r->f), here = VEC_INF;
  vec_copy(r->n, d->direction, d->spare);
  if (d->radius == 0) d->radius = fmax(1, 100 * vec_norm2(r->n, r->x));
  *norm = VEC_INF;
  for (int trial = 0; trial < 60; trial++) {
    vec_copy(r->n, d->spare, d->direction);
    bend(d);
    vec_add_scaled(r->n, r->x, 1, d->direction, r->trial_x);
    grad_status status = grad__root_eval(r, r->trial_x, r->trial_f, &here);
    if (status != GRAD_OK) return status;
    double predicted = 0, length = vec_norm2(r->n, d->direction),
           after = isinf(here) ? VEC_INF : vec_norm2(r->n, r->trial_f);
    for (int64_t i = 0; i < r->n; i++) {
      double left = r->f[i] + vec_dot(r->n, d->jacobian + i * r->n, d->direction);
      predicted += left * left;
    }
    predicted = before - sqrt(predicted);
    double ratio = predicted > 0 && isfinite(after) ? (before - after) / predicted : -1;
    *finite |= isfinite(after);
    if (ratio < 0.1) d->radius = 0.5 * fmin(d->radius, length);
    if (ratio > 0.5 && d->radius < 2 * length) d->radius = 2 * length;
    if (ratio > 1e-4) {
      *norm = here;
      return GRAD_OK;
    }
    if ((!d->fresh && trial == 1) || d->radius <= DBL_EPSILON * vec_norm2(r->n, r->x)) return GRAD_OK;
  }
  return GRAD_OK;
}

/* J += (y - J s) s' / s's; called before acceptance. */
static void update(dense *d) {
  grad__root *r = d->r;
  int64_t n = r->n;
  double square = 0;
  for (int64_t i = 0; i < n; i++) d->spare[i] = r->trial_x[i] - r->x[i], square += d->spare[i] * d->spare[i];
  for (int64_t i = 0; square > 0 && i < n; i++) {
    double miss = r->trial_f[i] - r->f[i] - vec_dot(n, d->jacobian + i * n, d->spare);
    vec_axpy(n, miss / square, d->spare, d->jacobian + i * n);
  }
  d->fresh = false;
}

static void give_up(dense *d, bool finite) {
  grad__root *r = d->r;
  double size = vec_norm2(r->n, r->f), flat = vec_norm_inf(r->n, d->gradient), scale = 0;
  for (int64_t i = 0; i < r->n; i++) scale = fmax(scale, vec_norm_inf(r->n, d->jacobian + i * r->n));
  if (!finite) {
    grad__root_stop(r, GRAD_STOP_FAILED, GRAD_FAILURE_REGION);
  } else if (flat <= 1e-6 * scale * size) {
    grad__root_stop(r, GRAD_STOP_FAILED, GRAD_FAILURE_SINGULAR);
  } else if (vec_norm2(r->n, d->direction) <= 1e-12 * vec_norm2(r->n, r->x)) {
    grad__root_stop(r, GRAD_STOP_PRECISION, GRAD_FAILURE_NONE);
  } else {
    grad__root_stop(r, GRAD_STOP_FAILED, GRAD_FAILURE_LINE_SEARCH);
  }
}

grad_status grad__root_dense(grad__root *r) {
  dense d = place(r);
  grad_status status = take_jacobian(&d);
  bool keeps = r->result->method != GRAD_ROOT_NEWTON, running = true;
  while (status == GRAD_OK && running) {
    bool finite = false;
    double norm = VEC_INF;
    bool usable = find_direction(&d);
    if (usable) status = r->result->method == GRAD_ROOT_HYBRID ? trust(&d, &norm, &finite) : search(&d, &norm, &finite);
    if (status != GRAD_OK) return status;
    if (isfinite(norm)) {
      if (keeps) update(&d);
      running = grad__root_accept(r, norm);
      if (running && !keeps) status = take_jacobian(&d);
    } else if (!d.fresh) {
      d.radius = 0;
      status = take_jacobian(&d);
    } else {
      if (!usable) grad__root_stop(r, GRAD_STOP_FAILED, GRAD_FAILURE_SINGULAR);
      if (usable) give_up(&d, finite);
      running = false;
    }
  }
  return status;
}
