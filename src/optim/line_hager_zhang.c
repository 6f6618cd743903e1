/* line_hager_zhang.c: W. W. Hager, H. Zhang (2005), "A new conjugate gradient method with guaranteed descent and an
 * efficient line search", SIAM J. Optim. 16: bracketing, the secant^2 step and the update with bisection, ended by the
 * Wolfe or the approximate Wolfe conditions. Names of the steps (B, U, S) are the paper's. */
#include "optim/line_search.h"

#include <float.h>

typedef struct end_point {
  double at, f, slope;
} end_point;

typedef struct search {
  grad_minimizer *m;
  grad__line *line;
  end_point a, b; /* slope(a) < 0, f(a) <= f0 + noise, slope(b) >= 0 */
  double limit;   /* f0 + noise */
  bool done;
  int left; /* evaluations */
} search;

static bool accepted(const grad__line *line) {
  bool wolfe = line->f <= line->f0 + line->c1 * line->alpha * line->slope0 && line->slope >= line->c2 * line->slope0;
  bool approximate = line->f <= line->f0 + grad__line_noise(line) && line->slope >= line->c2 * line->slope0 &&
                     line->slope <= (2 * line->c1 - 1) * line->slope0;
  return isfinite(line->f) && (wolfe || approximate);
}

/* Evaluates; out is the point, with an infinite f standing for what is not finite. */
static grad_status look(search *s, double at, end_point *out) {
  grad_status status = grad__line_eval(s->m, s->line, at);
  if (status != GRAD_OK) return status;
  s->left--;
  *out = (end_point){at, s->line->f, isfinite(s->line->f) ? s->line->slope : VEC_INF};
  s->done = accepted(s->line);
  return GRAD_OK;
}

/* U3: bisection until slope(b) >= 0, from b with f(b) above the limit. */
static grad_status bisect(search *s) {
  while (s->left > 0 && !s->done) {
    end_point d;
    grad_status status = look(s, 0.5 * (s->a.at + s->b.at), &d);
    if (status != GRAD_OK || s->done) return status;
    if (d.slope >= 0 && d.f <= s->limit) {
      s->b = d;
      return GRAD_OK;
    }
    if (d.f <= s->limit) {
      s->a = d;
    } else {
      s->b = d;
    }
    if (s->b.at - s->a.at <= DBL_EPSILON * s->b.at) return GRAD_OK;
  }
  return GRAD_OK;
}

/* U: the bracket narrowed by a point c of it. */
static grad_status update(search *s, double at) {
  end_point c;
  if (!(at > s->a.at && at < s->b.at)) return GRAD_OK;
  grad_status status = look(s, at, &c);
  if (status != GRAD_OK || s->done) return status;
  if (c.slope >= 0 && c.f <= s->limit) {
    s->b = c;
    return GRAD_OK;
  }
  if (c.f <= s->limit) {
    s->a = c;
    return GRAD_OK;
  }
  s->b = c;
  return bisect(s);
}

/* S: two secant steps, one from each end that moved. */
static grad_status secant2(search *s) {
  const end_point a = s->a, b = s->b;
  double c = grad__line_secant(a.at, a.slope, b.at, b.slope), second = VEC_NAN;
  grad_status status = update(s, c);
  if (status != GRAD_OK || s->done) return status;
  if (c == s->b.at) second = grad__line_secant(b.at, b.slope, s->b.at, s->b.slope);
  if (c == s->a.at) second = grad__line_secant(a.at, a.slope, s->a.at, s->a.slope);
  return isnan(second) ? GRAD_OK : update(s, second);
}

/* B: the first interval that holds a step. */
static grad_status bracket(search *s, double alpha) {
  const end_point start = s->a;
  double ceiling = s->line->longest;
  bool stopped_by_region = false;
  while (s->left > 0 && !s->done) {
    end_point c;
    grad_status status = look(s, alpha, &c);
    if (status != GRAD_OK || s->done) return status;
    if (!isfinite(c.f)) { /* a region that cannot be entered ends the line */
      ceiling = alpha;
      stopped_by_region = true;
      alpha = s->a.at + 0.25 * (alpha - s->a.at);
      continue;
    }
    s->b = c;
    if (c.slope >= 0 && c.f <= s->limit) return GRAD_OK;
    if (c.f > s->limit) {
      s->a = s->a.at < c.at ? s->a : start;
      return bisect(s);
    }
    s->a = c;
    bool at_end = alpha >= (stopped_by_region ? 0.9 : 1) * ceiling;
    if (at_end) {
      s->done = true; /* a decrease, though f still falls */
      s->line->end = stopped_by_region || s->line->walled ? GRAD__LINE_OK : GRAD__LINE_UNBOUNDED;
      return GRAD_OK;
    }
    alpha = stopped_by_region ? 0.5 * (alpha + ceiling) : fmin(5 * alpha, ceiling);
  }
  return GRAD_OK;
}

grad_status grad__line_hager_zhang(grad_minimizer *m, grad__line *line) {
  search s = {
      .m = m, .line = line, .a = {0, line->f0, line->slope0}, .limit = line->f0 + grad__line_noise(line), .left = 60};
  line->end = GRAD__LINE_OK;
  grad_status status = bracket(&s, fmin(line->first, line->longest));
  while (status == GRAD_OK && !s.done && s.left > 0) {
    double width = s.b.at - s.a.at;
    status = secant2(&s);
    if (status != GRAD_OK || s.done) break;
    if (s.b.at - s.a.at > 0.66 * width) status = update(&s, 0.5 * (s.a.at + s.b.at));
    if (!(s.b.at - s.a.at > DBL_EPSILON * s.b.at)) break;
  }
  if (status != GRAD_OK || s.done) return status;
  line->end = isfinite(s.a.f) && s.a.at > 0 && s.a.f < line->f0 ? GRAD__LINE_OK
              : isfinite(line->f)                               ? GRAD__LINE_FAILED
                                                                : GRAD__LINE_REGION;
  return line->end == GRAD__LINE_OK && line->alpha != s.a.at ? grad__line_eval(m, line, s.a.at) : GRAD_OK;
}
