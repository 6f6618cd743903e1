/* minimizer.c: the life of a minimizer: checking the problem, choosing the method, one block of memory, the steps. */
#include "optim/minimizer.h"

const grad__method grad__method_auto = {.id = GRAD_METHOD_AUTO};

static const grad__method *const methods[] = {
#define XX(id, name, text) [GRAD_METHOD_##id] = &grad__method_##name,
    GRAD_METHOD_MAP(XX)
#undef XX
};

static const grad__method *method_row(grad_method id) {
  return id > GRAD_METHOD_AUTO && id < GRAD_METHOD_COUNT ? methods[id] : NULL;
}

void grad_minimize_defaults(grad_minimize_options *options) {
  *options = (grad_minimize_options){.name = "minimize",
                                     .tol = 1e-6,
                                     .constraint_tol = 1e-8,
                                     .target = -VEC_INF,
                                     .max_iter = 10000,
                                     .memory = 10,
                                     .f_scale = 1};
  options->inner = GRAD_METHOD_AUTO;
}

static bool has_bounds(const grad_problem *problem) {
  for (int64_t i = 0; i < problem->n; i++) {
    if (problem->lower && problem->lower[i] > -VEC_INF) return true;
    if (problem->upper && problem->upper[i] < VEC_INF) return true;
  }
  return false;
}

/* Dense second-order models pay while n^2 is small; past that, limited memory. */
static grad_method choose(const grad_problem *problem) {
  if (problem->equalities + problem->inequalities > 0) return problem->n <= 300 ? GRAD_METHOD_SQP : GRAD_METHOD_AUGLAG;
  if (problem->residual) return has_bounds(problem) ? GRAD_METHOD_TRF : GRAD_METHOD_LM;
  if (has_bounds(problem)) return GRAD_METHOD_LBFGSB;
  if (problem->hessian && problem->n <= 200) return GRAD_METHOD_TRUST_EXACT;
  return problem->n <= 100 ? GRAD_METHOD_BFGS : GRAD_METHOD_LBFGS;
}

static grad_status check_problem(grad_ctx *ctx, const char *name, const grad_problem *p, const double *x0) {
  if (p->n < 0) return grad__fail(ctx, GRAD_EVALUE, "%s: n is %lld, expected 0 or more", name, (long long)p->n);
  bool squares = p->residual && p->residual_jacobian && p->residuals >= 0;
  if (!p->f_gradient && !(p->f && p->gradient) && !squares)
    return grad__fail(ctx, GRAD_EVALUE,
                      "%s: expected the callback f_gradient, or f and gradient, or residual and residual_jacobian",
                      name);
  if (p->equalities < 0 || p->inequalities < 0)
    return grad__fail(ctx, GRAD_EVALUE, "%s: the numbers of constraints must be 0 or more", name);
  if (p->equalities + p->inequalities > 0 && !(p->constraints && p->jacobian))
    return grad__fail(ctx, GRAD_EVALUE, "%s: constraints need the callbacks constraints and jacobian", name);
  for (int64_t i = 0; i < p->n; i++) {
    double lower = p->lower ? p->lower[i] : -VEC_INF, upper = p->upper ? p->upper[i] : VEC_INF;
    if (!(lower <= upper) || lower == VEC_INF || upper == -VEC_INF)
      return grad__fail(ctx, GRAD_EVALUE, "%s: bound %lld: expected lower <= upper, got lower %g and upper %g", name,
                        (long long)i + 1, lower, upper);
    if (!isfinite(x0[i]))
      return grad__fail(ctx, GRAD_EVALUE, "%s: entry %lld of x0 is %g, expected a finite number", name,
                        (long long)i + 1, x0[i]);
  }
  return GRAD_OK;
}

static grad_status check_pattern(grad_ctx *ctx, const char *name, const grad_problem *p) {
  const int64_t *starts = p->jacobian_starts, *columns = p->jacobian_columns;
  if (!starts || !p->residual) return GRAD_OK;
  bool fits = columns && starts[0] == 0;
  for (int64_t i = 0; fits && i < p->residuals; i++)
    fits = starts[i] <= starts[i + 1] && starts[i + 1] - starts[i] <= p->n;
  for (int64_t i = 0; fits && i < p->residuals; i++)
    for (int64_t e = starts[i]; fits && e < starts[i + 1]; e++)
      fits = columns[e] >= (e > starts[i] ? columns[e - 1] + 1 : 0) && columns[e] < p->n;
  if (fits) return GRAD_OK;
  return grad__fail(ctx, GRAD_EVALUE,
                    "%s: the Jacobian's pattern does not have ascending columns from 0 to %lld in each row", name,
                    (long long)p->n - 1);
}

static grad_status check_options(grad_ctx *ctx, const char *name, const grad_minimize_options *o) {
  if (!(o->tol >= 0) || !(o->f_tol >= 0) || !(o->x_tol >= 0) || !(o->constraint_tol >= 0))
    return grad__fail(ctx, GRAD_EVALUE,
                      "%s: tolerances must be 0 or more; got tol %g, f_tol %g, x_tol %g, constraint_tol %g", name,
                      o->tol, o->f_tol, o->x_tol, o->constraint_tol);
  if (o->max_iter < 0 || o->max_eval < 0 || !(o->max_seconds >= 0))
    return grad__fail(ctx, GRAD_EVALUE, "%s: the limits max_iter, max_eval and max_seconds must be 0 or more", name);
  if (!(o->f_scale > 0))
    return grad__fail(ctx, GRAD_EVALUE, "%s: f_scale is %g, expected more than 0", name, o->f_scale);
  if (o->memory < 1)
    return grad__fail(ctx, GRAD_EVALUE, "%s: memory is %lld, expected 1 or more", name, (long long)o->memory);
  if (!(o->initial_step >= 0) || !(o->learning_rate >= 0) || !(o->penalty >= 0) || isnan(o->target))
    return grad__fail(ctx, GRAD_EVALUE,
                      "%s: initial_step, learning_rate and penalty must be 0 or more, target a number", name);
  return GRAD_OK;
}

static grad_status check_method(grad_ctx *ctx, const char *name, const grad_problem *p, const grad__method *row,
                                grad_method id) {
  if (!row) return grad__fail(ctx, GRAD_EVALUE, "%s: method %d is not one of grad_method", name, (int)id);
  if (p->equalities + p->inequalities > 0 && !(row->traits & GRAD__TAKES_CONSTRAINTS))
    return grad__fail(ctx, GRAD_EVALUE, "%s: method %s takes no constraints: use auglag or sqp", name,
                      grad_method_name(id));
  if (!p->residual && (row->traits & GRAD__TAKES_RESIDUALS))
    return grad__fail(ctx, GRAD_EVALUE,
                      "%s: method %s is for sums of squares: it needs the callbacks residual and residual_jacobian",
                      name, grad_method_name(id));
  if (has_bounds(p) && !(row->traits & GRAD__TAKES_BOUNDS))
    return grad__fail(ctx, GRAD_EVALUE, "%s: method %s takes no bounds: use %s", name, grad_method_name(id),
                      p->residual ? "trf" : "lbfgsb, trust_ncg, auglag or sqp");
  return GRAD_OK;
}

int64_t grad__minimizer_product(int64_t a, int64_t b) {
  int64_t product;
  return grad__mul_i64(a, b, &product) ? product : -1;
}

void grad__minimizer_array(grad_minimizer *m, const char *name, int64_t count, bool saved) {
  if (count < 0 || m->array_count == GRAD__ARRAYS_MAX) {
    m->overflow = true;
    return;
  }
  m->arrays[m->array_count++] = (grad__array){.name = name, .count = count, .saved = saved};
}

static void declare_arrays(grad_minimizer *m) {
  bool keeps_best = !(m->method->traits & GRAD__MONOTONE);
  grad__minimizer_array(m, "progress", GRAD__PROGRESS_COUNT, true);
  grad__minimizer_array(m, "x", m->n, true);
  grad__minimizer_array(m, "gradient", m->n, true);
  grad__minimizer_array(m, "trial_x", m->n, false);
  grad__minimizer_array(m, "trial_gradient", m->n, false);
  grad__minimizer_array(m, "best_x", keeps_best ? m->n : 0, true);
  grad__minimizer_array(m, "best_gradient", keeps_best ? m->n : 0, true);
  const int64_t rows = m->problem.residual ? m->problem.residuals : 0;
  const int64_t entries = m->sparse ? m->problem.jacobian_starts[rows] : grad__minimizer_product(rows, m->n);
  grad__minimizer_array(m, "residual", rows, true);
  grad__minimizer_array(m, "trial_residual", rows, false);
  grad__minimizer_array(m, "residual_jacobian", entries, true);
  grad__minimizer_array(m, "columns", m->problem.residual ? m->n : 0, false);
  m->method->layout(m);
  grad__minimizer_array(m, "multipliers", m->constraints, true);
}

/* One block: the arrays, each begun on a multiple of eight doubles, then the bounds. */
static grad_status allocate(grad_minimizer *m) {
  int64_t total = 0, bytes = 0;
  bool fits = !m->overflow;
  for (int i = 0; fits && i < m->array_count; i++)
    fits = grad__add_i64(total, m->arrays[i].count, &total) &&
           grad__add_i64(total, 7 - (m->arrays[i].count + 7) % 8, &total);
  fits = fits && grad__add_i64(total, m->n, &total) && grad__add_i64(total, m->n, &total);
  fits = fits && grad__mul_i64(total, sizeof(double), &bytes);
  if (!fits)
    return grad__fail(m->ctx, GRAD_EVALUE, "%s: n = %lld is too large for method %s", m->options.name, (long long)m->n,
                      grad_method_name(m->method->id));
  m->block = grad__alloc_aligned(m->ctx, (size_t)bytes);
  if (!m->block) return GRAD_ENOMEM;
  m->block_bytes = (size_t)bytes;
  memset(m->block, 0, (size_t)bytes);
  double *next = m->block;
  for (int i = 0; i < m->array_count; i++) {
    m->arrays[i].data = next;
    next += (m->arrays[i].count + 7) / 8 * 8;
  }
  for (int64_t i = 0; i < m->n; i++) {
    next[i] = m->problem.lower ? m->problem.lower[i] : -VEC_INF;
    next[m->n + i] = m->problem.upper ? m->problem.upper[i] : VEC_INF;
  }
  m->problem.lower = next;
  m->problem.upper = next + m->n;
  return GRAD_OK;
}

static grad_status copy_pattern(grad_minimizer *m) {
  grad_problem *p = &m->problem;
  if (!p->residual || !p->jacobian_starts) {
    p->jacobian_starts = NULL;
    return GRAD_OK;
  }
  const int64_t rows = p->residuals, entries = p->jacobian_starts[rows];
  m->pattern_count = rows + 1 + entries;
  m->pattern = grad__alloc(m->ctx, (size_t)m->pattern_count * sizeof *m->pattern);
  if (!m->pattern) return GRAD_ENOMEM;
  memcpy(m->pattern, p->jacobian_starts, (size_t)(rows + 1) * sizeof *m->pattern);
  if (entries > 0) memcpy(m->pattern + rows + 1, p->jacobian_columns, (size_t)entries * sizeof *m->pattern);
  p->jacobian_starts = m->pattern;
  p->jacobian_columns = m->pattern + rows + 1;
  return grad__sparse_qr_new(m->ctx, rows, m->n, p->jacobian_starts, p->jacobian_columns, &m->sparse);
}

static void name_arrays(grad_minimizer *m) {
  m->progress = (grad__progress *)m->arrays[ARRAY_PROGRESS].data;
  m->x = m->arrays[ARRAY_X].data;
  m->g = m->arrays[ARRAY_G].data;
  m->trial_x = m->arrays[ARRAY_TRIAL_X].data;
  m->trial_g = m->arrays[ARRAY_TRIAL_G].data;
  m->multipliers = m->constraints > 0 ? m->arrays[m->array_count - 1].data : NULL;
}

grad_status grad_minimizer_new(grad_ctx *ctx, const grad_problem *problem, const grad_minimize_options *options,
                               const double *x0, grad_minimizer **out) {
  const char *name = options->name ? options->name : "minimize";
  grad_status status = check_problem(ctx, name, problem, x0);
  if (status == GRAD_OK) status = check_pattern(ctx, name, problem);
  if (status == GRAD_OK) status = check_options(ctx, name, options);
  if (status != GRAD_OK) return status;
  grad_method id = options->method == GRAD_METHOD_AUTO ? choose(problem) : options->method;
  const grad__method *row = method_row(id);
  status = check_method(ctx, name, problem, row, id);
  if (status != GRAD_OK) return status;

  grad_minimizer *m = grad__alloc(ctx, sizeof *m);
  if (!m) return GRAD_ENOMEM;
  *m = (grad_minimizer){.ctx = ctx, .method = row, .problem = *problem, .options = *options, .n = problem->n};
  m->options.name = name;
  m->constraints = problem->equalities + problem->inequalities;
  bool bounded = has_bounds(problem);
  status = copy_pattern(m);
  if (status == GRAD_OK) {
    declare_arrays(m);
    status = allocate(m);
  }
  if (status != GRAD_OK) {
    grad_minimizer_free(m);
    return status;
  }
  name_arrays(m);
  for (int64_t i = 0; i < m->n; i++) m->x[i] = vec_clamp(x0[i], m->problem.lower[i], m->problem.upper[i]);
  if (!bounded) m->problem.lower = m->problem.upper = NULL;
  if (row->prepare && (status = row->prepare(m)) != GRAD_OK) {
    grad_minimizer_free(m);
    return status;
  }
  *out = m;
  return GRAD_OK;
}

void grad__minimizer_restart(grad_minimizer *m, const double *x, double tol) {
  for (int i = 0; i < m->array_count; i++) vec_fill(m->arrays[i].count, 0, m->arrays[i].data);
  vec_copy(m->n, x, m->x);
  m->options.tol = tol;
}

void grad_minimizer_free(grad_minimizer *m) {
  if (!m) return;
  grad_minimizer_free(m->inner);
  grad__sparse_qr_free(m->sparse);
  grad__free(m->ctx, m->pattern, (size_t)m->pattern_count * sizeof *m->pattern);
  grad__free_aligned(m->ctx, m->block, m->block_bytes);
  grad__free(m->ctx, m, sizeof *m);
}

/* Evaluates x0: iteration 0. */
static grad_status start(grad_minimizer *m) {
  grad__progress *p = m->progress;
  double f = 0;
  grad_status status = grad__minimizer_f_gradient(m, m->x, &f, m->g);
  if (status != GRAD_OK) return status;
  p->f = p->prior_f = f;
  p->gradient_norm = isfinite(f) ? grad__minimizer_norm(m, m->x, m->g) : VEC_NAN;
  if (isfinite(f) && m->method->begin) {
    status = m->method->begin(m);
    if (status != GRAD_OK) return status;
  }
  p->started = 1;
  p->best_f = p->f;
  p->best_norm = p->gradient_norm;
  if (m->arrays[ARRAY_BEST_X].count > 0) {
    vec_copy(m->n, m->x, m->arrays[ARRAY_BEST_X].data);
    vec_copy(m->n, m->g, m->arrays[ARRAY_BEST_G].data);
  }
  if (!isfinite(f)) return grad__minimizer_fail(m, GRAD_FAILURE_NOT_FINITE, NULL);
  if ((grad_stop)p->stop == GRAD_STOP_RUNNING) grad__stop_test(m);
  return GRAD_OK;
}

static bool ended_well(grad_stop stop) {
  return stop >= GRAD_STOP_GRADIENT && stop <= GRAD_STOP_PRECISION && stop != GRAD_STOP_TARGET;
}

grad_status grad_minimizer_step(grad_minimizer *m, bool *running) {
  grad__progress *p = m->progress;
  *running = (grad_stop)p->stop == GRAD_STOP_RUNNING;
  if (!*running) return GRAD_OK;
  grad_status status = grad__interrupted(m->ctx);
  if (status != GRAD_OK) return status;
  double elapsed = p->seconds;
  m->began = grad__seconds() - elapsed;
  if (p->started == 0) {
    status = start(m);
  } else {
    status = m->method->step(m);
  }
  if (status == GRAD_OK && m->method->polish && ended_well((grad_stop)p->stop)) status = m->method->polish(m);
  p->seconds = grad__seconds() - m->began;
  *running = status != GRAD_OK || (grad_stop)p->stop == GRAD_STOP_RUNNING;
  return status;
}

grad_status grad_minimizer_run(grad_minimizer *m) {
  bool running = true;
  while (running) {
    grad_status status = grad_minimizer_step(m, &running);
    if (status != GRAD_OK) return status;
  }
  return GRAD_OK;
}

void grad_minimizer_result(const grad_minimizer *m, grad_minimize_result *result) {
  const grad__progress *p = m->progress;
  bool best = m->arrays[ARRAY_BEST_X].count > 0;
  *result = (grad_minimize_result){
      .x = best ? m->arrays[ARRAY_BEST_X].data : m->x,
      .gradient = best ? m->arrays[ARRAY_BEST_G].data : m->g,
      .multipliers = m->multipliers,
      .f = best ? p->best_f : p->f,
      .gradient_norm = best ? p->best_norm : p->gradient_norm,
      .violation = p->violation,
      .stop = (grad_stop)p->stop,
      .failure = (grad_failure)p->failure,
      .method = m->method->id,
      .iterations = (int64_t)p->iteration,
      .evaluations = {(int64_t)p->f_count, (int64_t)p->g_count, (int64_t)p->hv_count, (int64_t)p->jac_count},
      .seconds = p->seconds,
  };
  result->converged = result->gradient_norm <= m->options.tol && result->violation <= m->options.constraint_tol &&
                      p->started != 0 && result->stop != GRAD_STOP_FAILED;
  grad__stop_message(m, result->message, sizeof result->message);
}

grad_status grad_minimize(grad_ctx *ctx, const grad_problem *problem, const grad_minimize_options *options, double *x,
                          grad_minimize_result *result) {
  grad_minimizer *m = NULL;
  grad_minimize_result local;
  grad_status status = grad_minimizer_new(ctx, problem, options, x, &m);
  if (status != GRAD_OK) return status;
  status = grad_minimizer_run(m);
  grad_minimizer_result(m, &local);
  vec_copy(problem->n, local.x, x);
  local.x = local.gradient = local.multipliers = NULL;
  if (status == GRAD_OK && result) *result = local;
  grad_minimizer_free(m);
  return status;
}

grad_state_array grad_minimizer_state(const grad_minimizer *m, int64_t i) {
  for (int k = 0; k < m->array_count; k++) {
    if (!m->arrays[k].saved || m->arrays[k].count == 0) continue;
    if (i-- == 0) return (grad_state_array){m->arrays[k].name, m->arrays[k].data, m->arrays[k].count};
  }
  return (grad_state_array){0};
}

grad_status grad_minimizer_load(grad_minimizer *m, const char *name, const double *data, int64_t count) {
  for (int k = 0; k < m->array_count; k++) {
    grad__array *array = &m->arrays[k];
    if (!array->saved || strcmp(array->name, name) != 0) continue;
    if (array->count != count)
      return grad__fail(m->ctx, GRAD_EVALUE,
                        "minimizer: state '%s' has %lld entries, expected %lld: was it saved with the same options?",
                        name, (long long)count, (long long)array->count);
    vec_copy(count, data, array->data);
    return GRAD_OK;
  }
  return grad__fail(m->ctx, GRAD_EVALUE, "minimizer: method %s has no state named '%s'",
                    grad_method_name(m->method->id), name);
}

size_t grad_minimizer_bytes(const grad_minimizer *m) {
  size_t sparse = m->sparse ? grad__sparse_qr_bytes(m->sparse) + (size_t)m->pattern_count * sizeof *m->pattern : 0;
  return sizeof *m + m->block_bytes + sparse + (m->inner ? grad_minimizer_bytes(m->inner) : 0);
}
