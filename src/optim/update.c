/* update.c: the update rules' options and their step-dependent coefficients; which kernel runs. */
#include "optim/update.h"

#include <math.h>
#include <string.h>

#include "array/array.h"
#include "core/pool.h"
#include "optim/update_kernels.h"
#include "optim/update_muon.h"

static const char *const names[] = {
#define XX(id, name, text) #name,
    GRAD_RULE_MAP(XX)
#undef XX
};
static const char *const texts[] = {
#define XX(id, name, text) text,
    GRAD_RULE_MAP(XX)
#undef XX
};

const char *grad_rule_name(grad_rule rule) { return names[rule]; }
const char *grad_rule_text(grad_rule rule) { return texts[rule]; }

grad_status grad_rule_find(grad_ctx *ctx, const char *name, grad_rule *out) {
  for (int i = 0; i < GRAD_RULE_COUNT; i++) {
    if (strcmp(names[i], name) != 0) continue;
    *out = (grad_rule)i;
    return GRAD_OK;
  }
#define XX(id, name, text) " " #name
  return grad__fail(ctx, GRAD_EVALUE, "optim: no rule '%s'; there are" GRAD_RULE_MAP(XX), name);
#undef XX
}

void grad_update_defaults(grad_rule rule, grad_update_options *options) {
  grad_update_options o = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip_value = (double)INFINITY};
  switch (rule) {
  case GRAD_RULE_ADAMW:
    o.weight_decay = 1e-2, o.decoupled = true;
    break;
  case GRAD_RULE_AMSGRAD:
    o.amsgrad = true;
    break;
  case GRAD_RULE_NADAM:
    o.lr = 2e-3, o.momentum_decay = 4e-3;
    break;
  case GRAD_RULE_ADAMAX:
    o.lr = 2e-3;
    break;
  case GRAD_RULE_RMSPROP:
    o.lr = 1e-2, o.alpha = 0.99;
    break;
  case GRAD_RULE_ADAGRAD:
    o.lr = 1e-2, o.eps = 1e-10;
    break;
  case GRAD_RULE_ADADELTA:
    o.lr = 1, o.rho = 0.9, o.eps = 1e-6;
    break;
  case GRAD_RULE_RPROP:
    o.lr = 1e-2, o.eta_minus = 0.5, o.eta_plus = 1.2, o.step_min = 1e-6, o.step_max = 50;
    break;
  case GRAD_RULE_LION:
    o.lr = 1e-4, o.beta2 = 0.99, o.decoupled = true;
    break;
  case GRAD_RULE_ASGD:
    o.lr = 1e-2, o.lambd = 1e-4, o.alpha = 0.75, o.t0 = 1e6;
    break;
  case GRAD_RULE_MUON:
    o.weight_decay = 0.1, o.decoupled = true, o.momentum = 0.95, o.nesterov = true, o.eps = 1e-7, o.ns_steps = 5;
    o.ns_a = 3.4445, o.ns_b = -4.775, o.ns_c = 2.0315;
    break;
  default:
    break;
  }
  *options = o;
}

typedef struct range {
  const char *name;
  double value, lo, hi; /* lo <= value < hi */
} range;

grad_status grad_update_check(grad_ctx *ctx, grad_rule rule, const grad_update_options *o) {
  const double inf = (double)INFINITY;
  const range ranges[] = {
      {"lr", o->lr, 0, inf},
      {"weight_decay", o->weight_decay, 0, inf},
      {"momentum", o->momentum, 0, inf},
      {"betas[1]", o->beta1, 0, 1},
      {"betas[2]", o->beta2, 0, 1},
      {"eps", o->eps, 0, inf},
      {"momentum_decay", o->momentum_decay, 0, inf},
      {"alpha", o->alpha, 0, inf},
      {"lr_decay", o->lr_decay, 0, inf},
      {"initial_accumulator_value", o->initial_accumulator, 0, inf},
  };
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
    if (!(ranges[i].value >= ranges[i].lo && ranges[i].value < ranges[i].hi))
      return grad__fail(ctx, GRAD_EVALUE, "optim.%s: %s is %g, expected %g <= %s < %g", names[rule], ranges[i].name,
                        ranges[i].value, ranges[i].lo, ranges[i].name, ranges[i].hi);
  if (!(o->clip_value > 0))
    return grad__fail(ctx, GRAD_EVALUE, "optim.%s: clip_value is %g, expected more than 0", names[rule], o->clip_value);
  if (!(o->rho >= 0 && o->rho <= 1))
    return grad__fail(ctx, GRAD_EVALUE, "optim.%s: rho is %g, expected 0 <= rho <= 1", names[rule], o->rho);
  if (o->nesterov && rule == GRAD_RULE_SGD && !(o->momentum > 0 && o->dampening == 0))
    return grad__fail(ctx, GRAD_EVALUE,
                      "optim.sgd: nesterov needs a momentum above 0 and dampening 0, got momentum %g, dampening %g",
                      o->momentum, o->dampening);
  if (rule == GRAD_RULE_RPROP && !(o->eta_minus > 0 && o->eta_minus < 1 && o->eta_plus > 1))
    return grad__fail(ctx, GRAD_EVALUE, "optim.rprop: etas are %g and %g, expected 0 < etas[1] < 1 < etas[2]",
                      o->eta_minus, o->eta_plus);
  if (rule == GRAD_RULE_MUON && (o->ns_steps < 0 || o->ns_steps > 99))
    return grad__fail(ctx, GRAD_EVALUE, "optim.muon: ns_steps is %d, expected 0 to 99", o->ns_steps);
  if (rule == GRAD_RULE_MUON && (o->adjust_lr < 0 || o->adjust_lr >= GRAD_MUON_RATES))
    return grad__fail(ctx, GRAD_EVALUE, "optim.muon: adjust_lr is %d, expected a grad_muon_rate", o->adjust_lr);
  return GRAD_OK;
}

static bool keeps_largest(grad_rule rule, const grad_update_options *o) {
  return o->amsgrad && (rule == GRAD_RULE_ADAM || rule == GRAD_RULE_ADAMW || rule == GRAD_RULE_AMSGRAD);
}

/* Coefficients of the adam family: k[1] .. k[3] the moments', k[4] the correction of the second, k[5] eps. */
static void moments(const grad_update_options *o, int64_t step, double *k) {
  k[1] = 1 - o->beta1;
  k[2] = o->beta2;
  k[3] = 1 - o->beta2;
  k[4] = 1 / sqrt(1 - pow(o->beta2, (double)step));
  k[5] = o->eps;
}

static grad__update_kernel nadam(const grad_update_options *o, int64_t step, double *scalar, double *k) {
  double t = (double)step, now = o->beta1 * (1 - 0.5 * pow(0.96, t * o->momentum_decay));
  double next = o->beta1 * (1 - 0.5 * pow(0.96, (t + 1) * o->momentum_decay));
  double product = (step == 1 ? 1 : scalar[0]) * now; /* mu_product */
  scalar[0] = product;
  moments(o, step, k);
  k[0] = o->lr * (1 - now) / (1 - product);
  k[6] = o->lr * next / (1 - product * next);
  return GRAD__KERNEL_nadam;
}

static grad__update_kernel radam(const grad_update_options *o, int64_t step, double *k) {
  double t = (double)step, power = pow(o->beta2, t), longest = 2 / (1 - o->beta2) - 1;
  double length = longest - 2 * t * power / (1 - power);
  moments(o, step, k);
  k[0] = o->lr / (1 - pow(o->beta1, t));
  if (!(length > 5)) return GRAD__KERNEL_radam_plain;
  k[0] *= sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) * sqrt(1 - power);
  return GRAD__KERNEL_radam_rectified;
}

static grad__update_kernel rmsprop(const grad_update_options *o, double *k) {
  k[0] = o->lr, k[1] = o->alpha, k[2] = 1 - o->alpha, k[3] = o->eps, k[4] = o->momentum;
  if (o->centered) return o->momentum > 0 ? GRAD__KERNEL_rmsprop_both : GRAD__KERNEL_rmsprop_centered;
  return o->momentum > 0 ? GRAD__KERNEL_rmsprop_momentum : GRAD__KERNEL_rmsprop;
}

/* scalar[0], scalar[1]: eta and mu for this step, as torch keeps them. */
static grad__update_kernel asgd(const grad_update_options *o, int64_t step, double *scalar, double *k) {
  double eta = step == 1 ? o->lr : scalar[0], mu = step == 1 ? 1 : scalar[1], t = (double)step;
  k[0] = eta, k[1] = 1 - o->lambd * eta, k[2] = mu;
  scalar[0] = o->lr / pow(1 + o->lambd * o->lr * t, o->alpha);
  scalar[1] = 1 / fmax(1, t - o->t0);
  return GRAD__KERNEL_asgd;
}

static grad__update_kernel adam(grad_rule rule, const grad_update_options *o, int64_t step, double *k) {
  moments(o, step, k);
  k[0] = o->lr / (1 - pow(o->beta1, (double)step));
  return keeps_largest(rule, o) ? GRAD__KERNEL_amsgrad : GRAD__KERNEL_adam;
}

static grad__update_kernel sgd(const grad_update_options *o, int64_t step, double *k) {
  k[0] = o->lr, k[1] = o->momentum, k[2] = step == 1 ? 1 : 1 - o->dampening; /* the first buffer is the gradient */
  if (o->momentum == 0) return GRAD__KERNEL_sgd_plain;
  return o->nesterov ? GRAD__KERNEL_sgd_nesterov : GRAD__KERNEL_sgd_momentum;
}

static grad__update_kernel prepare(grad_rule rule, const grad_update_options *o, int64_t step, double *scalar,
                                   double *k) {
  switch (rule) {
  case GRAD_RULE_SGD:
    return sgd(o, step, k);
  case GRAD_RULE_NADAM:
    return nadam(o, step, scalar, k);
  case GRAD_RULE_RADAM:
    return radam(o, step, k);
  case GRAD_RULE_ADAMAX:
    moments(o, step, k), k[0] = o->lr / (1 - pow(o->beta1, (double)step));
    return GRAD__KERNEL_adamax;
  case GRAD_RULE_RMSPROP:
    return rmsprop(o, k);
  case GRAD_RULE_ADAGRAD:
    k[0] = o->lr / (1 + (double)(step - 1) * o->lr_decay), k[1] = o->eps;
    return GRAD__KERNEL_adagrad;
  case GRAD_RULE_ADADELTA:
    k[0] = o->lr, k[1] = o->rho, k[2] = 1 - o->rho, k[3] = o->eps;
    return GRAD__KERNEL_adadelta;
  case GRAD_RULE_RPROP:
    k[1] = o->eta_plus, k[2] = o->eta_minus, k[3] = o->step_min, k[4] = o->step_max;
    return GRAD__KERNEL_rprop;
  case GRAD_RULE_LION:
    k[0] = o->lr, k[1] = o->beta1, k[2] = 1 - o->beta1, k[3] = o->beta2, k[4] = 1 - o->beta2;
    return GRAD__KERNEL_lion;
  case GRAD_RULE_ASGD:
    return asgd(o, step, scalar, k);
  default:
    return adam(rule, o, step, k);
  }
}

/* --- the slots: those of the kernel that runs */

static const char *const *slot_names(grad_rule rule, const grad_update_options *o) {
#define LIST(...) __VA_ARGS__
#define RULE(name, slots, names, ...) [GRAD__KERNEL_##name] = {LIST names},
  static const char *const of_kernel[][GRAD_UPDATE_SLOTS_MAX + 1] = {
#include "optim/update_rules.inc"
  };
#undef RULE
#undef LIST
  static const char *const of_muon[] = {"momentum_buffer", NULL};
  double scalar[GRAD_UPDATE_SCALARS] = {0}, k[GRAD__KERNEL_COEFFICIENTS];
  return rule == GRAD_RULE_MUON ? of_muon : of_kernel[prepare(rule, o, 1, scalar, k)];
}

int grad_update_slots(grad_rule rule, const grad_update_options *options) {
  int count = 0;
  while (slot_names(rule, options)[count]) count++;
  return count;
}

const char *grad_update_slot_name(grad_rule rule, const grad_update_options *options, int slot) {
  return slot_names(rule, options)[slot];
}

/* --- a step */

static const grad__update_row *table(const grad_ctx *ctx) {
#if defined __x86_64__
  if (ctx->simd >= GRAD_SIMD_AVX512) return grad__update_avx512;
  if (ctx->simd >= GRAD_SIMD_AVX2) return grad__update_avx2;
#endif
  (void)ctx;
  return grad__update_baseline;
}

/* --- running: entries do not depend on each other, so that chunks of them may go to several threads. Nothing stops a
 * step on its way: parameters of which one half has moved on would be of no use. */

enum { CHUNK = 1 << 16 };

typedef struct pass {
  grad__update_fn run;
  const grad__update_scalars *scalars;
  const grad_update_target *target;
  int slots;
} pass;

static void run_chunk(void *ud, int64_t index, int worker) {
  const pass *p = ud;
  const grad_update_target *t = p->target;
  const int64_t first = index * CHUNK, n = t->n - first < CHUNK ? t->n - first : CHUNK;
  const size_t skip = (size_t)first * grad__dtype_size(t->dtype);
  void *slot[GRAD_UPDATE_SLOTS_MAX];
  (void)worker;
  for (int i = 0; i < p->slots; i++) slot[i] = (char *)t->slot[i] + skip;
  p->run(n, p->scalars, (char *)t->param + skip, (const char *)t->gradient + skip, slot);
}

grad_status grad_update(grad_ctx *ctx, grad_rule rule, const grad_update_options *options, int64_t step, double scale,
                        grad_update_target *target) {
  if (target->dtype != GRAD_F32 && target->dtype != GRAD_F64)
    return grad__fail(ctx, GRAD_EDTYPE, "optim.%s: parameters must be f32 or f64", names[rule]);
  if (step < 1)
    return grad__fail(ctx, GRAD_EVALUE, "optim.%s: step is %lld, expected 1 or more", names[rule], (long long)step);
  double decay = options->weight_decay;
  grad__update_scalars scalars = {.scale = options->maximize ? -scale : scale,
                                  .clip = options->clip_value,
                                  .coupled = options->decoupled ? 0 : decay,
                                  .shrink = options->decoupled ? 1 - options->lr * decay : 1};
  if (rule == GRAD_RULE_MUON) return grad__update_muon(ctx, options, step, &scalars, target);
  if (step == 1 && rule == GRAD_RULE_RPROP) grad__float_fill(target->dtype, target->slot[1], target->n, options->lr);
  if (step == 1 && rule == GRAD_RULE_ADAGRAD)
    grad__float_fill(target->dtype, target->slot[0], target->n, options->initial_accumulator);
  const grad__update_row *row = &table(ctx)[prepare(rule, options, step, target->scalar, scalars.k)];
  pass p = {.run = target->dtype == GRAD_F32 ? row->f32 : row->f64,
            .scalars = &scalars,
            .target = target,
            .slots = grad_update_slots(rule, options)};
  grad__pool_run(ctx, (target->n + CHUNK - 1) / CHUNK, run_chunk, &p);
  return GRAD_OK;
}

/* Adds the squares of the elements to eight sums in turn. */
#define ADD_SQUARES(x, n, lane)                                                                                        \
  do {                                                                                                                 \
    int64_t i = 0;                                                                                                     \
    for (; i + 8 <= (n); i += 8)                                                                                       \
      for (int l = 0; l < 8; l++) lane[l] += (double)(x)[i + l] * (double)(x)[i + l];                                  \
    for (; i < (n); i++) lane[i % 8] += (double)(x)[i] * (double)(x)[i];                                               \
  } while (0)

double grad_update_norm_squared(grad_dtype dtype, int64_t n, const void *gradient) {
  const float *f32 = gradient;
  const double *f64 = gradient;
  double lane[8] = {0};
  if (dtype == GRAD_F32)
    ADD_SQUARES(f32, n, lane);
  else
    ADD_SQUARES(f64, n, lane);
  return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

void grad_update_ema(grad_dtype dtype, int64_t n, double decay, const void *param, void *average) {
  const float rate = (float)(1 - decay);
  for (int64_t i = 0; dtype == GRAD_F32 && i < n; i++)
    ((float *)average)[i] += rate * (((const float *)param)[i] - ((float *)average)[i]);
  for (int64_t i = 0; dtype == GRAD_F64 && i < n; i++)
    ((double *)average)[i] += (1 - decay) * (((const double *)param)[i] - ((double *)average)[i]);
}

void grad_update_accumulate(grad_dtype dtype, int64_t n, double scale, const void *gradient, void *sum) {
  const float scale32 = (float)scale;
  for (int64_t i = 0; dtype == GRAD_F32 && i < n; i++) ((float *)sum)[i] += scale32 * ((const float *)gradient)[i];
  for (int64_t i = 0; dtype == GRAD_F64 && i < n; i++) ((double *)sum)[i] += scale * ((const double *)gradient)[i];
}
