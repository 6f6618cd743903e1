/* check_compare.h: two programs of one function, compared through every transform and pairs of transforms. */
#ifndef CHECK_COMPARE_H
#define CHECK_COMPARE_H

#include "ad/control.h"
#include "check_alloc.h"
#include "check_program.h"
#include "fn/fn.h"

static const int64_t two[] = {2}, square[] = {2, 2}, rows[] = {5, 2};

static inline grad_program *finished(grad_program *p, int32_t n, const grad_id *outputs) {
  for (int32_t i = 0; i < n; i++) grad__program_output(p, outputs[i]);
  if (!check(p->status == GRAD_OK)) fprintf(stderr, "  %s\n", grad_message(p->ctx));
  return p;
}

/* Five steps of a scan over the rows in[2], with consts in[0] and carry in[1], written out. */
static inline void unroll(grad_program *p, const grad_program *body, const grad_id *in, bool reverse, grad_id *out) {
  grad_id ys[5], step[2], h = in[1];
  for (int t = 0; t < 5; t++) {
    const int64_t row = reverse ? 4 - t : t;
    const grad_id x =
        grad__slice(p, in[2], (const int64_t[]){row, 0}, (const int64_t[]){1, 2}, (const int64_t[]){1, 1});
    grad__inline(p, body, (const grad_id[]){in[0], h, grad__reshape(p, x, 1, two)}, NULL, step, NULL);
    h = step[0];
    ys[row] = grad__reshape(p, step[1], 2, (const int64_t[]){1, 2});
  }
  out[0] = h;
  out[1] = grad__concat(p, 5, ys, 0);
}

/* --- two programs of one function */

static inline void compare_runs(grad_ctx *ctx, grad_program *p, grad_program *q, const char *what, uint64_t seed,
                                bool planned) {
  check(grad__verify(p) == GRAD_OK);
  if (!check(p->ninputs == q->ninputs && p->noutputs == q->noutputs)) return;
  check_arrays in = {0}, a, b;
  check_push_random(ctx, &in, p, 0, p->ninputs, &seed);
  bool good = check(check_run(p, &in, NULL, &a) == GRAD_OK) && check(check_run(q, &in, NULL, &b) == GRAD_OK);
  for (int32_t i = 0; good && i < p->noutputs; i++) good = check(check_same_array(&a.a[i], &b.a[i], 1e-11));
  if (good && planned) {
    grad_plan *plan = NULL;
    const grad_array *args[CHECK_MOST];
    for (int32_t i = 0; i < in.n; i++) args[i] = &in.a[i];
    good = check(grad__plan_new(p, &plan) == GRAD_OK);
    for (int round = 0; good && round < 2; round++) {
      check_arrays c = {.n = p->noutputs};
      good = check(grad__plan_run(plan, args, NULL, c.a) == GRAD_OK);
      for (int32_t i = 0; good && i < p->noutputs; i++) good = check(check_same_array(&c.a[i], &b.a[i], 1e-11));
      check_release(&c);
    }
    grad__plan_free(plan);
  }
  if (!good) fprintf(stderr, "  in %s: %s\n", what, grad_message(ctx));
  check_release(&a);
  check_release(&b);
  check_release(&in);
}

typedef grad_status (*transform)(const grad_program *p, grad_program **out);

static const bool all[8] = {true, true, true, true, true, true, true, true};
static const bool some[8] = {true, false, true, false, true, false, true, false};

static inline grad_status do_grad(const grad_program *p, grad_program **out) { return grad__ad_grad(p, all, out); }
static inline grad_status do_jvp(const grad_program *p, grad_program **out) { return grad__ad_jvp(p, all, out); }
static inline grad_status do_vjp(const grad_program *p, grad_program **out) {
  return grad__ad_vjp(p, all, p->noutputs, out);
}
static inline grad_status do_first_vjp(const grad_program *p, grad_program **out) {
  return grad__ad_vjp(p, (const bool[8]){true}, p->noutputs, out);
}
static inline grad_status do_vmap(const grad_program *p, grad_program **out) {
  return grad__ad_vmap(p, 3, all, NULL, out);
}
static inline grad_status do_some_vmap(const grad_program *p, grad_program **out) {
  return grad__ad_vmap(p, 3, some, NULL, out);
}

static inline void compare_transforms(grad_ctx *ctx, grad_program *p, grad_program *q, const char *name) {
  static const struct {
    const char *name;
    transform run;
  } list[] = {{"grad", do_grad}, {"jvp", do_jvp},
              {"vjp", do_vjp},   {"vjp of the first", do_first_vjp},
              {"vmap", do_vmap}, {"vmap of some", do_some_vmap}};
  enum { COUNT = sizeof list / sizeof *list };
  compare_runs(ctx, p, q, name, 3, true);
  for (int i = 0; i < COUNT; i++) {
    grad_program *p1 = NULL, *q1 = NULL;
    char what[128];
    snprintf(what, sizeof what, "%s of %s", list[i].name, name);
    if (!check(list[i].run(p, &p1) == GRAD_OK) || !check(list[i].run(q, &q1) == GRAD_OK)) {
      fprintf(stderr, "  in %s: %s\n", what, grad_message(ctx));
      grad__program_release(p1);
      continue;
    }
    compare_runs(ctx, p1, q1, what, (uint64_t)i, true);
    for (int j = 1; j < COUNT; j++) {
      grad_program *p2 = NULL, *q2 = NULL;
      if (p1->ninputs > 8) break;
      snprintf(what, sizeof what, "%s of %s of %s", list[j].name, list[i].name, name);
      if (check(list[j].run(p1, &p2) == GRAD_OK) && check(list[j].run(q1, &q2) == GRAD_OK)) {
        compare_runs(ctx, p2, q2, what, (uint64_t)(10 * i + j), false);
      } else {
        fprintf(stderr, "  in %s: %s\n", what, grad_message(ctx));
      }
      grad__program_release(p2);
      grad__program_release(q2);
    }
    grad__program_release(p1);
    grad__program_release(q1);
  }
}

/* Third level: batched second derivatives in reverse, where stacks of loops have cotangents of their own. */
static inline void compare_third(grad_ctx *ctx, grad_program *p, grad_program *q, const char *name) {
  static const bool one[16] = {false, true};
  grad_program *deep[2][4] = {{p}, {q}};
  bool good = true;
  for (int i = 0; i < 2 && good; i++) {
    good = check(do_vjp(deep[i][0], &deep[i][1]) == GRAD_OK) && check(do_vjp(deep[i][1], &deep[i][2]) == GRAD_OK) &&
           check(grad__ad_vmap(deep[i][2], 3, one, NULL, &deep[i][3]) == GRAD_OK);
  }
  if (good) {
    compare_runs(ctx, deep[0][3], deep[1][3], name, 77, true);
  } else {
    fprintf(stderr, "  in %s: %s\n", name, grad_message(ctx));
  }
  for (int i = 0; i < 2; i++) {
    for (int k = 0; k < 4; k++) grad__program_release(deep[i][k]);
  }
}
static inline void compare(grad_ctx *ctx, grad_program *p, grad_program *q, const char *name) {
  compare_transforms(ctx, p, q, name);
  grad__program_release(p);
  grad__program_release(q);
}

#endif
