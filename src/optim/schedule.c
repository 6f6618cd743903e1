/* schedule.c: learning rate schedules. */
#include "optim/schedule.h"

#include <math.h>
#include <string.h>

#include "core/ctx.h"

static const double pi = 3.14159265358979323846;

static const char *const names[] = {
#define XX(id, name) #name,
    GRAD_SCHEDULE_MAP(XX)
#undef XX
};

const char *grad_schedule_name(grad_schedule_kind kind) { return names[kind]; }

grad_status grad_schedule_find(grad_ctx *ctx, const char *name, grad_schedule_kind *out) {
  for (int i = 0; i < GRAD_SCHEDULE_COUNT; i++) {
    if (strcmp(names[i], name) != 0) continue;
    *out = (grad_schedule_kind)i;
    return GRAD_OK;
  }
#define XX(id, name) " " #name
  return grad__fail(ctx, GRAD_EVALUE, "schedule: no schedule '%s'; there are" GRAD_SCHEDULE_MAP(XX), name);
#undef XX
}

void grad_schedule_defaults(grad_schedule_kind kind, grad_schedule *s) {
  *s = (grad_schedule){.kind = kind,
                       .factor = kind == GRAD_SCHEDULE_PLATEAU ? 0.1 : 1.0 / 3,
                       .total_iters = 5,
                       .gamma = kind == GRAD_SCHEDULE_CYCLIC ? 1 : 0.1,
                       .start_factor = kind == GRAD_SCHEDULE_LINEAR ? 1.0 / 3 : 0,
                       .end_factor = 1,
                       .t_mult = 1,
                       .pct_start = 0.3,
                       .div_factor = 25,
                       .final_div_factor = 1e4,
                       .step_size_up = 2000,
                       .power = 1,
                       .patience = 10,
                       .threshold = 1e-4,
                       .eps = 1e-8};
}

static grad_status check_positive(grad_ctx *ctx, const grad_schedule *s, const char *option, double value) {
  if (value > 0) return GRAD_OK;
  return grad__fail(ctx, GRAD_EVALUE, "schedule.%s: %s is %g, expected more than 0", names[s->kind], option, value);
}

grad_status grad_schedule_check(grad_ctx *ctx, const grad_schedule *s) {
  switch (s->kind) {
  case GRAD_SCHEDULE_STEP:
    return check_positive(ctx, s, "step_size", s->step_size);
  case GRAD_SCHEDULE_MULTISTEP:
    return check_positive(ctx, s, "the number of milestones", (double)s->milestone_count);
  case GRAD_SCHEDULE_LINEAR:
  case GRAD_SCHEDULE_POLYNOMIAL:
    return check_positive(ctx, s, "total_iters", s->total_iters);
  case GRAD_SCHEDULE_COSINE:
    return check_positive(ctx, s, "T_max", s->t_max);
  case GRAD_SCHEDULE_COSINE_RESTARTS: {
    grad_status status = check_positive(ctx, s, "T_0", s->t_0);
    if (status != GRAD_OK || s->t_mult >= 1) return status;
    return grad__fail(ctx, GRAD_EVALUE, "schedule.cosine_restarts: T_mult is %g, expected 1 or more", s->t_mult);
  }
  case GRAD_SCHEDULE_WARMUP:
    return check_positive(ctx, s, "steps", s->steps);
  case GRAD_SCHEDULE_ONE_CYCLE: {
    grad_status status = check_positive(ctx, s, "total_steps", s->total_steps);
    if (status == GRAD_OK) status = check_positive(ctx, s, "max_lr", s->max_lr);
    if (status != GRAD_OK || (s->pct_start >= 0 && s->pct_start <= 1)) return status;
    return grad__fail(ctx, GRAD_EVALUE, "schedule.one_cycle: pct_start is %g, expected 0 to 1", s->pct_start);
  }
  case GRAD_SCHEDULE_CYCLIC:
    return check_positive(ctx, s, "step_size_up", s->step_size_up);
  case GRAD_SCHEDULE_PLATEAU:
    if (s->factor > 0 && s->factor < 1) return GRAD_OK;
    return grad__fail(ctx, GRAD_EVALUE, "schedule.plateau: factor is %g, expected 0 < factor < 1", s->factor);
  default:
    return GRAD_OK;
  }
}

static double cosine(double from, double to, double share) { return to + (from - to) / 2 * (1 + cos(pi * share)); }

static double multistep(const grad_schedule *s, double base, int64_t step) {
  double rate = base;
  for (int64_t i = 0; i < s->milestone_count && s->milestones[i] <= step; i++) rate *= s->gamma;
  return rate;
}

static double cosine_restarts(const grad_schedule *s, double base, double t) {
  double period = s->t_0;
  if (s->t_mult == 1) {
    t = fmod(t, period);
  } else { /* period k begins at t_0 (t_mult^k - 1) / (t_mult - 1) */
    double k = floor(log(t / s->t_0 * (s->t_mult - 1) + 1) / log(s->t_mult) + 1e-12);
    t -= s->t_0 * (pow(s->t_mult, k) - 1) / (s->t_mult - 1);
    period *= pow(s->t_mult, k);
  }
  return cosine(base, s->eta_min, t / period);
}

static double one_cycle(const grad_schedule *s, double t) {
  double first = s->max_lr / s->div_factor, last = first / s->final_div_factor;
  double ends[3] = {s->pct_start * s->total_steps - 1, s->total_steps - 1, 0}, rates[4] = {first, s->max_lr, last, 0};
  int phases = 2;
  if (s->three_phase) {
    ends[1] = 2 * s->pct_start * s->total_steps - 2;
    ends[2] = s->total_steps - 1;
    rates[2] = first;
    rates[3] = last;
    phases = 3;
  }
  int phase = 0;
  while (phase < phases - 1 && t > ends[phase]) phase++;
  double from = phase > 0 ? ends[phase - 1] : 0, share = fmin(1, (t - from) / (ends[phase] - from));
  if (s->linear_anneal) return rates[phase] + (rates[phase + 1] - rates[phase]) * share;
  return cosine(rates[phase], rates[phase + 1], share);
}

static double cyclic(const grad_schedule *s, double t) {
  double down = s->step_size_down > 0 ? s->step_size_down : s->step_size_up, total = s->step_size_up + down;
  double cycle = floor(1 + t / total), x = 1 + t / total - cycle, ratio = s->step_size_up / total;
  double height = (s->max_lr - s->base_lr) * (x <= ratio ? x / ratio : (x - 1) / (ratio - 1));
  if (s->mode == GRAD_CYCLE_TRIANGULAR2) height /= pow(2, cycle - 1);
  if (s->mode == GRAD_CYCLE_EXP_RANGE) height *= pow(s->gamma, t);
  return s->base_lr + height;
}

double grad_schedule_rate(const grad_schedule *s, double base, int64_t step) {
  double t = (double)step, share = fmin(t, s->total_iters) / s->total_iters;
  switch (s->kind) {
  case GRAD_SCHEDULE_CONSTANT:
    return t < s->total_iters ? base * s->factor : base;
  case GRAD_SCHEDULE_STEP:
    return base * pow(s->gamma, floor(t / s->step_size));
  case GRAD_SCHEDULE_MULTISTEP:
    return multistep(s, base, step);
  case GRAD_SCHEDULE_EXPONENTIAL:
    return base * pow(s->gamma, t);
  case GRAD_SCHEDULE_LINEAR:
    return base * (s->start_factor + (s->end_factor - s->start_factor) * share);
  case GRAD_SCHEDULE_COSINE:
    return cosine(base, s->eta_min, t / s->t_max);
  case GRAD_SCHEDULE_COSINE_RESTARTS:
    return cosine_restarts(s, base, t);
  case GRAD_SCHEDULE_WARMUP:
    return base * (s->start_factor + (1 - s->start_factor) * fmin(1, (t + 1) / s->steps));
  case GRAD_SCHEDULE_ONE_CYCLE:
    return one_cycle(s, t);
  case GRAD_SCHEDULE_CYCLIC:
    return cyclic(s, t);
  case GRAD_SCHEDULE_POLYNOMIAL:
    return base * pow(1 - share, s->power);
  default:
    return base;
  }
}

void grad_plateau_begin(const grad_schedule *s, double base, grad_plateau *state) {
  *state = (grad_plateau){.rate = base, .best = s->maximize ? -(double)INFINITY : (double)INFINITY};
}

static bool better(const grad_schedule *s, double metric, double best) {
  double sign = s->maximize ? 1 : -1;
  double bar = s->absolute ? best + sign * s->threshold : best * (1 + sign * s->threshold);
  return s->maximize ? metric > bar : metric < bar;
}

void grad_plateau_step(const grad_schedule *s, double metric, grad_plateau *state) {
  if (better(s, metric, state->best)) {
    state->best = metric;
    state->bad = 0;
  } else {
    state->bad++;
  }
  if (state->cooldown > 0) {
    state->cooldown--;
    state->bad = 0;
  }
  if (state->bad <= s->patience) return;
  double rate = fmax(state->rate * s->factor, s->min_lr);
  if (state->rate - rate > s->eps) state->rate = rate;
  state->cooldown = s->cooldown;
  state->bad = 0;
}
