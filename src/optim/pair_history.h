/* pair_history.h: the last pairs s = x+ - x, y = g+ - g of a limited-memory method, in a ring of slots, with the
 * products its formulas need. A large run is bound by memory, so each function is one pass over the pairs: a push takes
 * the new pair in and finds all its products at once, a combination is written once. Sums are cut by n alone: the
 * results are the same for any number of threads. */
#ifndef GRAD_OPTIM_PAIR_HISTORY_H
#define GRAD_OPTIM_PAIR_HISTORY_H

#include "core/ctx.h"
#include "linalg/vec.h"

typedef struct grad__pairs {
  grad_ctx *ctx;
  int64_t n, memory, count, next; /* next: the slot that the next pair goes to */
  double *s, *y;                  /* memory x n */
  double *sy, *ss, *yy;           /* memory x memory, by slot: s_i'y_j, s_i's_j, y_i'y_j; ss may be NULL */
  double *work;                   /* grad__pairs_work doubles */
} grad__pairs;

int64_t grad__pairs_work(int64_t n, int64_t memory); /* -1 when too many */

/* The slot of the i-th pair, the oldest being 0. */
static inline int64_t grad__pairs_slot(const grad__pairs *p, int64_t i) {
  return (p->next - p->count + i + p->memory) % p->memory;
}

/* Takes in the pair of two points, the oldest one leaving a full ring; keeps it, and says so, when its curvature is
 * positive enough. With ss, products are s_i's and s'y_i too; otherwise s_g and y_g (memory each, by slot) receive
 * s_i'g and y_i'g. */
bool grad__pairs_push(grad__pairs *p, const double *x, const double *prior_x, const double *g, const double *prior_g,
                      double *s_g, double *y_g);

/* s_v and y_v (count each, oldest pair first) = S'v, Y'v. */
void grad__pairs_project(const grad__pairs *p, const double *v, double *s_v, double *y_v);

/* sy, ss and yy (memory x memory, as the members) become the products over those variables whose `fixed` is 0; scratch:
 * grad__pairs_masked_work doubles. */
void grad__pairs_masked(const grad__pairs *p, const double *fixed, double *scratch, double *sy, double *ss, double *yy);
int64_t grad__pairs_masked_work(int64_t memory);

/* out = c v + S a + Y b, oldest pair first; returns v'out. out may be v. */
double grad__pairs_combine(const grad__pairs *p, const double *a, const double *b, double c, const double *v,
                           double *out);

/* For each instruction set. dots: adds to 8 partial sums each of s'u, y'u, s'v, y'v. combine: out += a s + b y. */
typedef struct grad__pair_kernels {
  void (*dots)(int64_t n, const double *s, const double *y, const double *u, const double *v, double *lanes);
  void (*combine)(int64_t n, double a, const double *s, double b, const double *y, double *out);
} grad__pair_kernels;

#endif
