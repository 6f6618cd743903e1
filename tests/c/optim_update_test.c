/* The update rules and the schedules against torch.optim in float64 (tests/data/optim_reference.csv, written by
 * scripts/optim_reference.py); f32 against f64; what only this library has. */
#include <stdlib.h>

#include "check_ctx.h"
#include "core/ctx.h"
#include "optim/schedule.h"
#include "optim/update.h"

enum { N = 6 };
static const double start[N] = {0.5, -1.0, 2.0, 0.25, -0.75, 1.5};

static void gradient_at(const double *p, int step, double *g) {
  for (int i = 0; i < N; i++) g[i] = cos(0.7 * i + 0.3 * step) * (1 + p[i]) + 0.1 * p[i] * p[i] * p[i];
}

/* The value of an option "key=value" in "a=1;b=2,3"; its second number when asked. */
static bool option(const char *options, const char *key, int which, double *out) {
  size_t length = strlen(key);
  for (const char *at = options; at; at = strchr(at, ';')) {
    at += *at == ';';
    if (strncmp(at, key, length) != 0 || at[length] != '=') continue;
    const char *value = at + length + 1;
    if (which == 1) value = strchr(value, ',') + 1;
    *out = strtod(value, NULL);
    return true;
  }
  return false;
}
static bool has(const char *options, const char *text) { return strstr(options, text) != NULL; }

static void read_rule(const char *text, grad_update_options *o) {
  double flag = 0;
  option(text, "lr", 0, &o->lr), option(text, "weight_decay", 0, &o->weight_decay);
  option(text, "momentum", 0, &o->momentum), option(text, "dampening", 0, &o->dampening);
  option(text, "betas", 0, &o->beta1), option(text, "betas", 1, &o->beta2), option(text, "eps", 0, &o->eps);
  option(text, "momentum_decay", 0, &o->momentum_decay), option(text, "alpha", 0, &o->alpha);
  option(text, "rho", 0, &o->rho), option(text, "lr_decay", 0, &o->lr_decay);
  option(text, "initial_accumulator_value", 0, &o->initial_accumulator);
  option(text, "etas", 0, &o->eta_minus), option(text, "etas", 1, &o->eta_plus);
  option(text, "step_sizes", 0, &o->step_min), option(text, "step_sizes", 1, &o->step_max);
  option(text, "lambd", 0, &o->lambd), option(text, "t0", 0, &o->t0);
  if (option(text, "nesterov", 0, &flag)) o->nesterov = true;
  if (option(text, "maximize", 0, &flag)) o->maximize = true;
  if (option(text, "amsgrad", 0, &flag)) o->amsgrad = true;
  if (option(text, "centered", 0, &flag)) o->centered = true;
  if (option(text, "decoupled_weight_decay", 0, &flag)) o->decoupled = true;
}

static void read_schedule(const char *text, grad_schedule *s, int64_t *milestones) {
  double flag = 0;
  option(text, "factor", 0, &s->factor), option(text, "total_iters", 0, &s->total_iters);
  option(text, "step_size", 0, &s->step_size), option(text, "gamma", 0, &s->gamma);
  option(text, "start_factor", 0, &s->start_factor), option(text, "end_factor", 0, &s->end_factor);
  option(text, "T_max", 0, &s->t_max), option(text, "eta_min", 0, &s->eta_min);
  option(text, "T_0", 0, &s->t_0), option(text, "T_mult", 0, &s->t_mult), option(text, "max_lr", 0, &s->max_lr);
  option(text, "total_steps", 0, &s->total_steps), option(text, "pct_start", 0, &s->pct_start);
  option(text, "base_lr", 0, &s->base_lr), option(text, "step_size_up", 0, &s->step_size_up);
  option(text, "step_size_down", 0, &s->step_size_down), option(text, "power", 0, &s->power);
  option(text, "patience", 0, &s->patience), option(text, "cooldown", 0, &s->cooldown);
  option(text, "min_lr", 0, &s->min_lr), option(text, "threshold", 0, &s->threshold);
  if (option(text, "three_phase", 0, &flag)) s->three_phase = true;
  s->linear_anneal = has(text, "anneal_strategy=linear");
  s->mode = has(text, "triangular2") ? GRAD_CYCLE_TRIANGULAR2
            : has(text, "exp_range") ? GRAD_CYCLE_EXP_RANGE
                                     : GRAD_CYCLE_TRIANGULAR;
  s->maximize = has(text, "mode=max");
  s->absolute = has(text, "threshold_mode=abs");
  for (const char *at = strstr(text, "milestones="); at && s->milestone_count < 8; at = strpbrk(at + 1, ",;")) {
    if (*at == ';') break;
    milestones[s->milestone_count++] = strtoll(at + (*at == ',' ? 1 : 11), NULL, 10);
  }
  s->milestones = milestones;
}

typedef struct run {
  grad_rule rule;
  grad_update_options options;
  double p[N], g[N], slots[3][N];
  float p32[N], g32[N], slots32[3][N];
  grad_update_target f64, f32;
  int step;
} run;

static void run_begin(run *r, grad_rule rule, const char *text) {
  *r = (run){.rule = rule};
  grad_update_defaults(rule, &r->options);
  read_rule(text, &r->options);
  memcpy(r->p, start, sizeof start);
  for (int i = 0; i < N; i++) r->p32[i] = (float)start[i];
  r->f64 = (grad_update_target){.dtype = GRAD_F64, .n = N, .rows = 2, .param = r->p, .gradient = r->g};
  r->f32 = (grad_update_target){.dtype = GRAD_F32, .n = N, .rows = 2, .param = r->p32, .gradient = r->g32};
  for (int i = 0; i < 3; i++) r->f64.slot[i] = r->slots[i], r->f32.slot[i] = r->slots32[i];
}

static void run_to(grad_ctx *ctx, run *r, int step) {
  while (r->step < step) {
    r->step++;
    gradient_at(r->p, r->step, r->g);
    for (int i = 0; i < N; i++) r->g32[i] = (float)r->g[i];
    check(grad_update(ctx, r->rule, &r->options, r->step, 1, &r->f64) == GRAD_OK);
    check(grad_update(ctx, r->rule, &r->options, r->step, 1, &r->f32) == GRAD_OK);
  }
}

static void check_rule_row(grad_ctx *ctx, run *r, const char *name, const char *text, int step, char *values) {
  grad_rule rule;
  if (!check(grad_rule_find(ctx, name, &rule) == GRAD_OK)) return;
  if (step == 1) run_begin(r, rule, text);
  run_to(ctx, r, step);
  for (int i = 0; i < N; i++) {
    double want = strtod(values, &values);
    if (!check_near(r->p[i], want, 2e-12)) fprintf(stderr, "  %s %s step %d entry %d\n", name, text, step, i);
    if (!check_near((double)r->p32[i], want, 2e-3))
      fprintf(stderr, "  f32: %s %s step %d entry %d\n", name, text, step, i);
  }
}

static void check_schedule_row(grad_ctx *ctx, grad_plateau *plateau, int *plateau_step, const char *name,
                               const char *text, int step, const char *values) {
  grad_schedule_kind kind;
  grad_schedule s;
  int64_t milestones[8];
  if (!check(grad_schedule_find(ctx, name, &kind) == GRAD_OK)) return;
  grad_schedule_defaults(kind, &s);
  read_schedule(text, &s, milestones);
  check(grad_schedule_check(ctx, &s) == GRAD_OK);
  double rate = grad_schedule_rate(&s, 0.1, step);
  if (kind == GRAD_SCHEDULE_PLATEAU) {
    if (step == 0) grad_plateau_begin(&s, 0.1, plateau), *plateau_step = 0;
    for (; *plateau_step < step; ++*plateau_step)
      grad_plateau_step(&s, 2 + cos(0.9 * *plateau_step) + 3.0 / (1 + *plateau_step), plateau);
    rate = plateau->rate;
  }
  if (!check_near(rate, strtod(values, NULL), 1e-13)) fprintf(stderr, "  %s %s step %d\n", name, text, step);
}

static void check_reference(grad_ctx *ctx) {
  char line[512];
  int rows = 0, plateau_step = 0;
  run r;
  grad_plateau plateau = {0};
  FILE *file = fopen(GRAD_TEST_DATA "/optim_reference.csv", "r");
  if (!check(file != NULL)) return;
  check(fgets(line, sizeof line, file) != NULL);
  while (fgets(line, sizeof line, file)) {
    char *field[5] = {line};
    for (int i = 1; i < 5; i++) {
      field[i] = strchr(field[i - 1], '|');
      *field[i]++ = '\0';
    }
    int step = (int)strtol(field[3], NULL, 10);
    if (strcmp(field[0], "rule") == 0) check_rule_row(ctx, &r, field[1], field[2], step, field[4]);
    if (strcmp(field[0], "schedule") == 0)
      check_schedule_row(ctx, &plateau, &plateau_step, field[1], field[2], step, field[4]);
    rows++;
  }
  fclose(file);
  check(rows > 600);
}

/* lion's own definition, written out. */
static void check_lion(grad_ctx *ctx) {
  run r;
  double p[N], m[N] = {0}, g[N];
  run_begin(&r, GRAD_RULE_LION, "lr=0.01;weight_decay=0.1");
  memcpy(p, start, sizeof p);
  for (int step = 1; step <= 20; step++) {
    gradient_at(p, step, g);
    for (int i = 0; i < N; i++) {
      double mixed = 0.9 * m[i] + (1 - 0.9) * g[i];
      p[i] = p[i] * (1 - 0.01 * 0.1) - 0.01 * (mixed > 0 ? 1 : mixed < 0 ? -1 : 0);
      m[i] = 0.99 * m[i] + (1 - 0.99) * g[i];
    }
  }
  run_to(ctx, &r, 20);
  for (int i = 0; i < N; i++) check_near(r.p[i], p[i], 1e-14);
}

static void check_clipping(grad_ctx *ctx) {
  double p[3] = {1, 2, 3}, g[3] = {3, -4, 0.5}, sum[3] = {1, 1, 1};
  grad_update_options o;
  grad_update_target t = {.dtype = GRAD_F64, .n = 3, .param = p, .gradient = g};
  grad_update_defaults(GRAD_RULE_SGD, &o);
  o.lr = 1, o.clip_value = 1;
  check(grad_update(ctx, GRAD_RULE_SGD, &o, 1, 0.5, &t) == GRAD_OK);
  check_near(p[0], 0, 0), check_near(p[1], 3, 0), check_near(p[2], 2.75, 0);
  check_near(grad_update_norm_squared(GRAD_F64, 3, g), 25.25, 1e-15);
  g[1] = (double)NAN;
  check(isnan(grad_update_norm_squared(GRAD_F64, 3, g)));
  g[1] = -4;
  grad_update_ema(GRAD_F64, 3, 0.75, g, sum);
  check_near(sum[0], 1.5, 1e-15);
  grad_update_accumulate(GRAD_F64, 3, 0.5, g, sum);
  check_near(sum[0], 3, 1e-15);
}

/* A long array is one of many short ones, whatever the number of threads; so is the sum of squares. */
static void check_long(grad_ctx *ctx) {
  enum { LENGTH = 150001, STEPS = 3 };
  static double p[2][LENGTH], g[LENGTH], m[2][2][LENGTH];
  grad_update_options o;
  double squares = 0;
  grad_update_defaults(GRAD_RULE_ADAMW, &o);
  for (int i = 0; i < LENGTH; i++) {
    g[i] = sin(0.1 * i), p[0][i] = p[1][i] = cos(0.3 * i);
    squares += g[i] * g[i];
  }
  check_near(grad_update_norm_squared(GRAD_F64, LENGTH, g), squares, 1e-12);
  for (int step = 1; step <= STEPS; step++) {
    grad_update_target whole = {
        .dtype = GRAD_F64, .n = LENGTH, .param = p[0], .gradient = g, .slot = {m[0][0], m[0][1]}};
    grad_ctx_set_threads(ctx, step);
    check(grad_update(ctx, GRAD_RULE_ADAMW, &o, step, 1, &whole) == GRAD_OK);
    for (int at = 0; at < LENGTH; at += 1000) {
      grad_update_target part = {.dtype = GRAD_F64,
                                 .n = LENGTH - at < 1000 ? LENGTH - at : 1000,
                                 .param = p[1] + at,
                                 .gradient = g + at,
                                 .slot = {m[1][0] + at, m[1][1] + at}};
      check(grad_update(ctx, GRAD_RULE_ADAMW, &o, step, 1, &part) == GRAD_OK);
    }
  }
  grad_ctx_set_threads(ctx, 1);
  check(memcmp(p[0], p[1], sizeof p[0]) == 0 && memcmp(m[0], m[1], sizeof m[0]) == 0);
}

static void check_errors(grad_ctx *ctx) {
  grad_rule rule;
  grad_update_options o;
  grad_schedule s;
  double p[4] = {0};
  grad_update_target t = {.dtype = GRAD_I64, .n = 4, .rows = 4, .param = p, .gradient = p};
  check(grad_rule_find(ctx, "adam2", &rule) == GRAD_EVALUE && strstr(grad_message(ctx), "adamw") != NULL);
  grad_update_defaults(GRAD_RULE_SGD, &o);
  check(grad_update(ctx, GRAD_RULE_SGD, &o, 1, 1, &t) == GRAD_EDTYPE);
  t.dtype = GRAD_F64;
  check(grad_update(ctx, GRAD_RULE_SGD, &o, 0, 1, &t) == GRAD_EVALUE);
  o.nesterov = true;
  check(grad_update_check(ctx, GRAD_RULE_SGD, &o) == GRAD_EVALUE);
  grad_update_defaults(GRAD_RULE_ADAM, &o);
  o.beta2 = 1;
  check(grad_update_check(ctx, GRAD_RULE_ADAM, &o) == GRAD_EVALUE && strstr(grad_message(ctx), "betas[2]") != NULL);
  grad_schedule_defaults(GRAD_SCHEDULE_COSINE, &s);
  check(grad_schedule_check(ctx, &s) == GRAD_EVALUE && strstr(grad_message(ctx), "T_max") != NULL);
}

int main(void) {
  grad_ctx *ctx = check_open();
  check_reference(ctx);
  check_lion(ctx);
  check_clipping(ctx);
  check_long(ctx);
  check_errors(ctx);
  grad_ctx_free(ctx);
  return check_done();
}
