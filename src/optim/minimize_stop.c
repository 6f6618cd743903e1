/* minimize_stop.c: the one stopping test, and the sentences that say why a run ended. */
#include "optim/minimizer.h"

#include <stdio.h>
#include <time.h>

static const char *const method_names[] = {
#define XX(id, name, text) #name,
    GRAD_METHOD_MAP(XX)
#undef XX
};
static const char *const method_texts[] = {
#define XX(id, name, text) text,
    GRAD_METHOD_MAP(XX)
#undef XX
};
static const char *const stop_names[] = {
#define XX(id, name, text) name,
    GRAD_STOP_MAP(XX)
#undef XX
};
static const char *const stop_texts[] = {
#define XX(id, name, text) text,
    GRAD_STOP_MAP(XX)
#undef XX
};
static const char *const failure_names[] = {
#define XX(id, name, text) name,
    GRAD_FAILURE_MAP(XX)
#undef XX
};
static const char *const failure_texts[] = {
#define XX(id, name, text) text,
    GRAD_FAILURE_MAP(XX)
#undef XX
};

const char *grad_method_name(grad_method method) { return method_names[method]; }
const char *grad_method_text(grad_method method) { return method_texts[method]; }
const char *grad_stop_name(grad_stop stop) { return stop_names[stop]; }
const char *grad_failure_name(grad_failure failure) { return failure_names[failure]; }

grad_status grad_method_find(grad_ctx *ctx, const char *name, grad_method *out) {
  for (int i = 0; i < GRAD_METHOD_COUNT; i++) {
    if (strcmp(method_names[i], name) != 0) continue;
    *out = (grad_method)i;
    return GRAD_OK;
  }
#define XX(id, name, text) " " #name
  return grad__fail(ctx, GRAD_EVALUE, "minimize: no method '%s'; there are" GRAD_METHOD_MAP(XX), name);
#undef XX
}

double grad__seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bool grad__step_report(grad_ctx *ctx, const char *task, const grad_step_info *info,
                       bool (*on_step)(void *user, const grad_step_info *info), void *user) {
  const grad_progress progress = {.task = task,
                                  .iteration = info->iteration,
                                  .f = info->f,
                                  .gradient_norm = info->gradient_norm,
                                  .seconds = info->seconds};
  const bool host = ctx->progress && ctx->progress(ctx->progress_ud, &progress);
  return (on_step && on_step(user, info)) || host;
}

static bool asked_to_stop(grad_minimizer *m) {
  const grad__progress *p = m->progress;
  const grad_step_info info = {
      .iteration = (int64_t)p->iteration,
      .f = p->f,
      .gradient_norm = p->gradient_norm,
      .violation = p->violation,
      .step = p->step,
      .radius = p->radius,
      .seconds = p->seconds,
      .evaluations = {(int64_t)p->f_count, (int64_t)p->g_count, (int64_t)p->hv_count, (int64_t)p->jac_count},
      .x = m->x,
  };
  return grad__step_report(m->ctx, method_names[m->method->id], &info, m->options.on_step, m->options.on_step_user);
}

static grad_stop verdict(const grad_minimizer *m) {
  const grad__progress *p = m->progress;
  const grad_minimize_options *o = &m->options;
  bool feasible = p->violation <= o->constraint_tol, moved = p->iteration > 0;
  if (p->gradient_norm <= o->tol && feasible) return GRAD_STOP_GRADIENT;
  if (p->f <= o->target && feasible) return GRAD_STOP_TARGET;
  double size = fmax(fabs(p->f), fmax(fabs(p->prior_f), 1));
  if (moved && feasible && o->f_tol > 0 && fabs(p->prior_f - p->f) <= o->f_tol * size) return GRAD_STOP_F_CHANGE;
  if (moved && o->x_tol > 0 && p->step <= o->x_tol * (o->x_tol + vec_norm2(m->n, m->x))) return GRAD_STOP_X_CHANGE;
  if (p->iteration >= (double)o->max_iter) return GRAD_STOP_ITERATIONS;
  if (o->max_eval > 0 && p->f_count >= (double)o->max_eval) return GRAD_STOP_EVALUATIONS;
  if (o->max_seconds > 0 && p->seconds >= o->max_seconds) return GRAD_STOP_TIME;
  return GRAD_STOP_RUNNING;
}

void grad__stop_test(grad_minimizer *m) {
  grad__progress *p = m->progress;
  p->seconds = grad__seconds() - m->began;
  grad_stop stop = verdict(m);
  bool user = asked_to_stop(m);
  p->stop = stop == GRAD_STOP_RUNNING && user ? GRAD_STOP_USER : stop;
}

void grad__stop_message(const grad_minimizer *m, char *out, size_t size) {
  const grad__progress *p = m->progress;
  bool best = m->arrays[ARRAY_BEST_X].count > 0;
  double norm = best ? p->best_norm : p->gradient_norm;
  const char *name = method_names[m->method->id];
  const char *text = (grad_stop)p->stop == GRAD_STOP_FAILED ? failure_texts[(int)p->failure] : stop_texts[(int)p->stop];
  bool small =
      (grad_stop)p->stop != GRAD_STOP_FAILED && norm <= m->options.tol && p->violation <= m->options.constraint_tol;
  int used = snprintf(out, size, "%s: %s; the largest gradient entry is %.3g, %s tol = %.3g", name, text, norm,
                      norm <= m->options.tol ? "within" : "above", m->options.tol);
  if (m->constraints > 0 && used > 0 && (size_t)used < size)
    used += snprintf(out + used, size - (size_t)used, ", the largest violation %.3g", p->violation);
  if (!small && (grad_stop)p->stop != GRAD_STOP_RUNNING && used > 0 && (size_t)used < size)
    snprintf(out + used, size - (size_t)used, ": not converged");
}
