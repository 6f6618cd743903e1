/* schedule.h: learning rates as pure functions of the step (0, 1, ...), with the meaning, defaults and option names of
 * torch.optim.lr_scheduler. A schedule maps a base rate to a rate, so schedules compose by application, one after the
 * other (torch's ChainedScheduler), or follow each other, each counting from its own start (SequentialLR). The plateau
 * rule alone depends on what was measured: it has a state.
 */
#ifndef GRAD_OPTIM_SCHEDULE_H
#define GRAD_OPTIM_SCHEDULE_H

#include <stdbool.h>

#include "include/grad.h"

#define GRAD_SCHEDULE_MAP(XX)                                                                                          \
  XX(CONSTANT, constant)                                                                                               \
  XX(STEP, step)                                                                                                       \
  XX(MULTISTEP, multistep)                                                                                             \
  XX(EXPONENTIAL, exponential)                                                                                         \
  XX(LINEAR, linear)                                                                                                   \
  XX(COSINE, cosine)                                                                                                   \
  XX(COSINE_RESTARTS, cosine_restarts)                                                                                 \
  XX(WARMUP, warmup)                                                                                                   \
  XX(ONE_CYCLE, one_cycle)                                                                                             \
  XX(CYCLIC, cyclic)                                                                                                   \
  XX(POLYNOMIAL, polynomial)                                                                                           \
  XX(PLATEAU, plateau)

typedef enum grad_schedule_kind {
#define XX(id, name) GRAD_SCHEDULE_##id,
  GRAD_SCHEDULE_MAP(XX)
#undef XX
      GRAD_SCHEDULE_COUNT
} grad_schedule_kind;

typedef enum grad_cycle { GRAD_CYCLE_TRIANGULAR, GRAD_CYCLE_TRIANGULAR2, GRAD_CYCLE_EXP_RANGE } grad_cycle;

/* Fields a kind does not know are ignored. Counts of steps are doubles so that they may be fractions where torch's may.
 */
typedef struct grad_schedule {
  grad_schedule_kind kind;
  double factor;             /* constant, plateau */
  double total_iters;        /* constant, linear, polynomial */
  double step_size, gamma;   /* step, multistep, exponential; gamma: cyclic with exp_range too */
  const int64_t *milestones; /* multistep, ascending; borrowed */
  int64_t milestone_count;
  double start_factor, end_factor; /* linear; start_factor: warmup */
  double steps;          /* warmup: step t uses start_factor + (1 - start_factor) (t + 1) / steps, at most 1 */
  double t_max, eta_min; /* cosine; eta_min: cosine_restarts */
  double t_0, t_mult;    /* cosine_restarts */
  double max_lr, total_steps, pct_start, div_factor, final_div_factor; /* one_cycle; max_lr: cyclic */
  bool linear_anneal, three_phase;                                     /* one_cycle */
  double base_lr, step_size_up, step_size_down;                        /* cyclic; step_size_down 0: step_size_up */
  grad_cycle mode;
  double power;                                      /* polynomial */
  double patience, threshold, cooldown, min_lr, eps; /* plateau */
  bool maximize, absolute;                           /* plateau: mode = "max", threshold_mode = "abs" */
} grad_schedule;

typedef struct grad_plateau {
  double rate, best, bad, cooldown;
} grad_plateau;

GRAD_API const char *grad_schedule_name(grad_schedule_kind kind);
GRAD_API grad_status grad_schedule_find(grad_ctx *ctx, const char *name, grad_schedule_kind *out);
GRAD_API void grad_schedule_defaults(grad_schedule_kind kind, grad_schedule *schedule);
/* grad_schedule_check: EVALUE for a missing or unusable option. */
GRAD_API grad_status grad_schedule_check(grad_ctx *ctx, const grad_schedule *schedule);

/* grad_schedule_rate: the rate at a step; for plateau, base. */
GRAD_API double grad_schedule_rate(const grad_schedule *schedule, double base, int64_t step);

/* The plateau rule: begun once, then told the metric after each epoch; state->rate is the rate from then on. */
GRAD_API void grad_plateau_begin(const grad_schedule *schedule, double base, grad_plateau *state);
GRAD_API void grad_plateau_step(const grad_schedule *schedule, double metric, grad_plateau *state);

#endif
