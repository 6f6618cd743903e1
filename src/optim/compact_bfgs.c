/* compact_bfgs.c: the compact limited-memory BFGS matrix. */
#include "optim/compact_bfgs.h"

bool grad__compact_push(grad__compact *b, const double *x, const double *prior_x, const double *g,
                        const double *prior_g) {
  grad__pairs *p = &b->pairs;
  int64_t at = p->next * (p->memory + 1);
  if (!grad__pairs_push(p, x, prior_x, g, prior_g, NULL, NULL)) return false;
  b->theta = p->yy[at] / p->sy[at];
  return true;
}

void grad__compact_project(const grad__compact *b, const double *v, double *out) {
  int64_t c = b->pairs.count;
  grad__pairs_project(&b->pairs, v, out + c, out);
  vec_scale(c, b->theta, out + c);
}

void grad__compact_combine(const grad__compact *b, double c, const double *v, double e, double *coefficients,
                           double *out) {
  int64_t count = b->pairs.count;
  vec_scale(count, e, coefficients);
  vec_scale(count, e * b->theta, coefficients + count);
  grad__pairs_combine(&b->pairs, coefficients + count, coefficients, c, v, out);
}

void grad__compact_row(const grad__compact *b, int64_t i, double *out) {
  const grad__pairs *p = &b->pairs;
  for (int64_t k = 0; k < p->count; k++) {
    int64_t at = grad__pairs_slot(p, k) * p->n + i;
    out[k] = p->y[at];
    out[p->count + k] = b->theta * p->s[at];
  }
}

void grad__compact_middle(const grad__compact *b, double *k) {
  const grad__pairs *p = &b->pairs;
  int64_t c = p->count, w = 2 * c;
  for (int64_t i = 0; i < c; i++)
    for (int64_t j = 0; j < c; j++) {
      int64_t at = grad__pairs_slot(p, i) * p->memory + grad__pairs_slot(p, j);
      double lower = i > j ? p->sy[at] : 0;
      k[i * w + j] = i == j ? -p->sy[at] : 0;
      k[(c + i) * w + j] = lower;
      k[j * w + c + i] = lower;
      k[(c + i) * w + c + j] = b->theta * p->ss[at];
    }
}

int64_t grad__compact_work(int64_t memory) {
  int64_t work = grad__pairs_masked_work(memory);
  return work < 0 ? -1 : work + 3 * memory * memory;
}

/* Sums over the free variables: the whole less the fixed ones' cancels too much when few are free. */
void grad__compact_reduce(const grad__compact *b, const double *fixed, double *work, double *k) {
  const grad__pairs *p = &b->pairs;
  int64_t c = p->count, w = 2 * c, m = p->memory;
  const double *sy = p->sy, *ss = p->ss, *yy = p->yy;
  bool any = false;
  for (int64_t i = 0; i < p->n && !any; i++) any = fixed[i] != 0;
  if (any) {
    double *own = work + grad__pairs_masked_work(m);
    grad__pairs_masked(p, fixed, work, own, own + m * m, own + 2 * m * m);
    sy = own, ss = own + m * m, yy = own + 2 * m * m;
  }
  for (int64_t i = 0; i < c; i++)
    for (int64_t j = 0; j < c; j++) {
      int64_t at = grad__pairs_slot(p, i) * m + grad__pairs_slot(p, j);
      k[i * w + j] -= yy[at] / b->theta;
      k[(c + i) * w + c + j] -= b->theta * ss[at];
      k[(c + i) * w + j] -= sy[at];
      k[j * w + c + i] -= sy[at];
    }
}
