/* line_wolfe.c: a step that satisfies the strong Wolfe conditions: J. J. More, D. J. Thuente (1994), "Line search
 * algorithms with guaranteed sufficient decrease", ACM TOMS 20. A trial where f is not finite shortens the longest
 * step; where f has no digits left, the approximate Wolfe conditions of Hager and Zhang (2005) are accepted. */
#include "optim/line_search.h"

#include <float.h>

typedef struct point {
  double at, f, slope;
} point;

typedef struct bracket {
  point best, other; /* other: the second end once bracketed */
  bool bracketed;
  double least, most; /* where the next trial may lie */
} bracket;

/* Section 4 of the paper, case 3: same sign of the slopes and the trial's is smaller. The cubic may have no minimizer
 * beyond the trial; the secant then tells. */
static double next_flatter(const bracket *b, const point *t) {
  const point *x = &b->best;
  double theta = 3 * (x->f - t->f) / (t->at - x->at) + x->slope + t->slope;
  double scale = fmax(fabs(theta), fmax(fabs(x->slope), fabs(t->slope)));
  double gamma = scale * sqrt(fmax(0, (theta / scale) * (theta / scale) - (x->slope / scale) * (t->slope / scale)));
  if (t->at > x->at) gamma = -gamma;
  double r = ((gamma - t->slope) + theta) / ((gamma + (x->slope - t->slope)) + gamma);
  double cubic = r < 0 && gamma != 0 ? t->at + r * (x->at - t->at) : t->at > x->at ? b->most : b->least;
  double secant = grad__line_secant(t->at, t->slope, x->at, x->slope);
  bool cubic_closer = fabs(cubic - t->at) < fabs(secant - t->at);
  double next = b->bracketed == cubic_closer ? cubic : secant;
  if (!b->bracketed) return vec_clamp(next, b->least, b->most);
  double limit = t->at + 0.66 * (b->other.at - t->at);
  return t->at > x->at ? fmin(limit, next) : fmax(limit, next);
}

/* The next trial from the best point and the last trial, section 4; then the new interval, section 2. */
static double next_trial(bracket *b, const point *t) {
  const point x = b->best;
  bool opposite = t->slope * (x.slope / fabs(x.slope)) < 0;
  double next;
  if (t->f > x.f) {
    double cubic = grad__line_cubic(x.at, x.f, x.slope, t->at, t->f, t->slope);
    double quadratic = x.at + 0.5 * x.slope / ((x.f - t->f) / (t->at - x.at) + x.slope) * (t->at - x.at);
    next = fabs(cubic - x.at) < fabs(quadratic - x.at) ? cubic : cubic + 0.5 * (quadratic - cubic);
  } else if (opposite) {
    double cubic = grad__line_cubic(t->at, t->f, t->slope, x.at, x.f, x.slope);
    double secant = grad__line_secant(t->at, t->slope, x.at, x.slope);
    next = fabs(cubic - t->at) > fabs(secant - t->at) ? cubic : secant;
  } else if (fabs(t->slope) < fabs(x.slope)) {
    next = next_flatter(b, t);
  } else if (b->bracketed) {
    next = grad__line_cubic(t->at, t->f, t->slope, b->other.at, b->other.f, b->other.slope);
  } else {
    next = t->at > x.at ? b->most : b->least;
  }
  b->bracketed |= t->f > x.f || opposite;
  if (t->f > x.f) {
    b->other = *t;
  } else {
    if (opposite) b->other = x;
    b->best = *t;
  }
  return next;
}

/* In the first stage the search is for a minimizer of f minus the line of sufficient decrease. */
static double next_trial_tilted(bracket *b, const point *t, double tilt) {
  bracket tilted = *b;
  point moved = {t->at, t->f - tilt * t->at, t->slope - tilt};
  tilted.best.f -= tilt * b->best.at;
  tilted.best.slope -= tilt;
  tilted.other.f -= tilt * b->other.at;
  tilted.other.slope -= tilt;
  double next = next_trial(&tilted, &moved);
  tilted.best.f += tilt * tilted.best.at;
  tilted.best.slope += tilt;
  tilted.other.f += tilt * tilted.other.at;
  tilted.other.slope += tilt;
  *b = tilted;
  return next;
}

/* The search gave out: the best point, if it lowers f enough. */
static grad_status settle(grad_minimizer *m, grad__line *line, const bracket *b) {
  line->end = GRAD__LINE_FAILED;
  if (b->best.at == 0 || !(b->best.f <= line->f0 + line->c1 * b->best.at * line->slope0)) return GRAD_OK;
  if (line->alpha != b->best.at) {
    grad_status status = grad__line_eval(m, line, b->best.at);
    if (status != GRAD_OK) return status;
  }
  if (isfinite(line->f) && line->f < line->f0) line->end = GRAD__LINE_OK;
  return GRAD_OK;
}

/* The first finite trial at or below alpha. */
static grad_status first_finite(grad_minimizer *m, grad__line *line, double from, double *alpha, double *longest) {
  for (int halving = 0; halving < 60; halving++) {
    grad_status status = grad__line_eval(m, line, *alpha);
    if (status != GRAD_OK || isfinite(line->f)) return status;
    *longest = *alpha = from + (halving < 3 ? 0.5 : 0.1) * (*alpha - from);
  }
  return GRAD_OK;
}

/* Where the trial after `alpha` may lie; and alpha itself, kept inside the bracket. */
static double set_limits(bracket *b, double alpha, double longest) {
  alpha = fmin(alpha, longest);
  if (!b->bracketed) {
    b->least = alpha + 1.1 * (alpha - b->best.at);
    b->most = alpha + 4 * (alpha - b->best.at);
    return alpha;
  }
  b->least = fmin(b->best.at, b->other.at);
  b->most = fmax(b->best.at, b->other.at);
  return alpha > b->least && alpha < b->most ? alpha : b->best.at + 0.5 * (b->other.at - b->best.at);
}

grad_status grad__line_wolfe(grad_minimizer *m, grad__line *line) {
  bracket b = {.best = {0, line->f0, line->slope0}};
  double alpha = fmin(line->first, line->longest), longest = line->longest, tilt = line->c1 * line->slope0;
  double width = longest, prior_width = 2 * width;
  bool first_stage = true;
  b.least = 0;
  b.most = 5 * alpha;
  for (int trial = 0; trial < 40; trial++) {
    grad_status status = first_finite(m, line, b.best.at, &alpha, &longest);
    if (status != GRAD_OK) return status;
    if (!isfinite(line->f)) {
      line->end = b.best.at == 0 ? GRAD__LINE_REGION : GRAD__LINE_FAILED;
      return b.best.at == 0 ? GRAD_OK : settle(m, line, &b);
    }
    bool lowered = line->f <= line->f0 + alpha * tilt;
    if ((lowered && fabs(line->slope) <= -line->c2 * line->slope0) || grad__line_approximate(line)) {
      line->end = GRAD__LINE_OK;
      return GRAD_OK;
    }
    if (lowered && line->slope <= tilt && alpha >= longest) {
      line->end = longest < line->longest || line->walled ? GRAD__LINE_OK : GRAD__LINE_UNBOUNDED;
      return GRAD_OK;
    }
    if (b.bracketed && (alpha <= b.least || alpha >= b.most || b.most - b.least <= 4 * DBL_EPSILON * b.most)) break;
    if (first_stage && lowered && line->slope >= 0) first_stage = false;
    point t = {alpha, line->f, line->slope};
    bool tilted = first_stage && line->f <= b.best.f && !lowered;
    alpha = tilted ? next_trial_tilted(&b, &t, tilt) : next_trial(&b, &t);
    if (b.bracketed) {
      if (fabs(b.other.at - b.best.at) >= 0.66 * prior_width) alpha = b.best.at + 0.5 * (b.other.at - b.best.at);
      prior_width = width;
      width = fabs(b.other.at - b.best.at);
    }
    alpha = set_limits(&b, alpha, longest);
  }
  return settle(m, line, &b);
}
