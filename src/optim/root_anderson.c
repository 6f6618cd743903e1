/* root_anderson.c: D. G. Anderson (1965); H. F. Walker, P. Ni (2011), "Anderson acceleration for fixed-point
 * iterations", SIAM J. Numer. Anal. 49: the last differences of x and F, combined by least squares (QR). Where |F|
 * grows past ten times the best, the history is dropped and the damping halved. */
#include <float.h>

#include "optim/root_solver.h"

typedef struct history {
  int64_t memory, count, next;
  double *dx, *df; /* memory x n */
  grad__qr qr;
  double *rhs;
} history;

int64_t grad__root_anderson_work(int64_t n, int64_t memory) {
  if (memory > 1000 || n > ((int64_t)1 << 40)) return -1;
  return 3 * memory * n + 3 * memory + n;
}

static history place(const grad__root *r) {
  int64_t n = r->n, memory = r->options.memory < n ? r->options.memory : n;
  history h = {.memory = memory, .dx = r->work, .df = r->work + memory * n};
  h.qr = (grad__qr){.m = n, .columns = h.df + memory * n};
  h.qr.tau = h.qr.columns + memory * n;
  h.qr.norm = h.qr.tau + memory;
  h.qr.pivot = h.qr.norm + memory;
  h.rhs = h.qr.pivot + memory;
  return h;
}

/* trial_x = x - damping F - (dX - damping dF) gamma, gamma = argmin |F - dF gamma|. */
static void propose(grad__root *r, history *h, double damping) {
  int64_t n = r->n;
  vec_add_scaled(n, r->x, -damping, r->f, r->trial_x);
  if (h->count == 0) return;
  h->qr.n = h->count;
  vec_copy(h->count * n, h->df, h->qr.columns);
  vec_copy(n, r->f, h->rhs);
  grad__qr_factor(&h->qr);
  grad__qr_project(&h->qr, h->rhs);
  int64_t rank = grad__qr_rank(&h->qr, 1e-12);
  grad__qr_back(&h->qr, rank, h->rhs);
  for (int64_t j = 0; j < rank; j++) {
    int64_t k = (int64_t)h->qr.pivot[j];
    double gamma = h->rhs[j];
    for (int64_t i = 0; i < n; i++) r->trial_x[i] -= gamma * (h->dx[k * n + i] - damping * h->df[k * n + i]);
  }
}

static void remember(grad__root *r, history *h) {
  if (h->memory == 0) return;
  int64_t n = r->n, k = h->next;
  vec_sub(n, r->trial_x, r->x, h->dx + k * n);
  vec_sub(n, r->trial_f, r->f, h->df + k * n);
  h->next = (k + 1) % h->memory;
  if (h->count < h->memory) h->count++;
}

grad_status grad__root_anderson(grad__root *r) {
  history h = place(r);
  double damping = r->options.damping, norm = VEC_INF;
  bool running = true, finite = false;
  for (int failures = 0; running;) {
    propose(r, &h, damping);
    grad_status status = grad__root_eval(r, r->trial_x, r->trial_f, &norm);
    if (status != GRAD_OK) return status;
    finite |= isfinite(norm);
    if (norm <= 10 * r->result->residual) {
      remember(r, &h);
      running = grad__root_accept(r, norm);
      continue;
    }
    if (++failures > 60) {
      grad__root_stop(r, GRAD_STOP_FAILED, finite ? GRAD_FAILURE_LINE_SEARCH : GRAD_FAILURE_REGION);
      return GRAD_OK;
    }
    h.count = h.next = 0;
    damping *= 0.5;
  }
  return GRAD_OK;
}
