/* All public headers of 0.1.0 after the preprocessor. */
typedef struct lua_State lua_State;
typedef enum grad_status {
  GRAD_OK, GRAD_ENOMEM, GRAD_ELIMIT, GRAD_EINTERRUPT, GRAD_EVALUE, GRAD_ESHAPE, GRAD_EDTYPE, GRAD_EINDEX, GRAD_ESINGULAR, GRAD_ENOTPD, GRAD_ENONDIFF, GRAD_ENOCONV, GRAD_EUNSUPPORTED, GRAD_EIO, GRAD_EFORMAT, GRAD_ECALLBACK, GRAD_ESCRIPT, GRAD_EINTERNAL,
} grad_status;
typedef enum grad_dtype { GRAD_BOOL, GRAD_I64, GRAD_F32, GRAD_F64 } grad_dtype;
enum { GRAD_MAX_AXES = 8 };
typedef struct grad_ctx grad_ctx;
typedef void *(*grad_alloc_fn)(void *ud, void *block, size_t old_size, size_t new_size);
typedef int (*grad_interrupt_fn)(void *ud);
typedef struct grad_progress {
  const char *task;
  int64_t iteration;
  int64_t total;
  double f;
  double gradient_norm;
  double seconds;
} grad_progress;
typedef int (*grad_progress_fn)(void *ud, const grad_progress *progress);
typedef struct grad_config {
  size_t size;
  grad_alloc_fn alloc;
  void *alloc_ud;
  size_t byte_limit;
  grad_interrupt_fn interrupt;
  void *interrupt_ud;
  grad_progress_fn progress;
  void *progress_ud;
  int threads;
} grad_config;
 grad_status grad_ctx_new(const grad_config *config, grad_ctx **out);
 void grad_ctx_free(grad_ctx *ctx);
 void grad_ctx_set_threads(grad_ctx *ctx, int threads);
 const char *grad_message(const grad_ctx *ctx);
 const char *grad_status_name(grad_status status);
 const char *grad_status_text(grad_status status);
 const char *grad_version(void);
typedef struct grad_array grad_array;
 grad_status grad_array_new(grad_ctx *ctx, grad_dtype dtype, int ndim, const int64_t *shape, grad_array **out);
 grad_status grad_array_borrow(grad_ctx *ctx, void *data, grad_dtype dtype, int ndim, const int64_t *shape,
                                       const int64_t *strides, int readonly, void (*release)(void *ud, void *data),
                                       void *release_ud, grad_array **out);
 void grad_array_free(grad_array *array);
 void *grad_array_data(const grad_array *array);
 grad_dtype grad_array_dtype(const grad_array *array);
 int grad_array_ndim(const grad_array *array);
 const int64_t *grad_array_shape(const grad_array *array);
 const int64_t *grad_array_strides(const grad_array *array);
 int64_t grad_array_numel(const grad_array *array);
typedef struct grad_program grad_program;
typedef int32_t grad_id;
enum { GRAD_NONE = -1 };
 grad_status grad_program_new(grad_ctx *ctx, grad_program **out);
 void grad_program_free(grad_program *program);
 grad_status grad_program_check(const grad_program *program);
 grad_id grad_input(grad_program *p, grad_dtype dtype, int ndim, const int64_t *shape);
 grad_id grad_number(grad_program *p, double value);
 void grad_output(grad_program *p, grad_id value);
 grad_id grad_apply(grad_program *p, const char *name, int n, const grad_id *operands);
 grad_id grad_sum(grad_program *p, grad_id x, uint32_t axes, int keepdim);
 grad_id grad_mean(grad_program *p, grad_id x, uint32_t axes, int keepdim);
 grad_id grad_max(grad_program *p, grad_id x, uint32_t axes, int keepdim);
 grad_id grad_min(grad_program *p, grad_id x, uint32_t axes, int keepdim);
 grad_id grad_prod(grad_program *p, grad_id x, uint32_t axes, int keepdim);
 grad_id grad_logsumexp(grad_program *p, grad_id x, uint32_t axes, int keepdim);
 grad_id grad_softmax(grad_program *p, grad_id x, int axis);
 grad_id grad_matmul(grad_program *p, grad_id a, grad_id b);
 grad_id grad_reshape(grad_program *p, grad_id x, int ndim, const int64_t *shape);
 grad_id grad_broadcast_to(grad_program *p, grad_id x, int ndim, const int64_t *shape);
 grad_id grad_permute(grad_program *p, grad_id x, const int *axes);
 grad_id grad_slice(grad_program *p, grad_id x, const int64_t *start, const int64_t *count,
                            const int64_t *step);
 grad_id grad_concat(grad_program *p, int n, const grad_id *parts, int axis);
 grad_id grad_take(grad_program *p, grad_id x, grad_id positions, int axis);
 grad_id grad_convert(grad_program *p, grad_id x, grad_dtype dtype);
typedef struct grad_host_type {
  grad_dtype dtype;
  int ndim;
  int64_t shape[GRAD_MAX_AXES];
} grad_host_type;
typedef struct grad_host_op {
  size_t size;
  const char *name;
  int nin, nout;
  void *user;
  grad_status (*infer)(void *user, const grad_host_type *in, grad_host_type *out);
  grad_status (*eval)(void *user, const grad_array *const *in, grad_array *const *out);
  grad_status (*jvp)(void *user, const grad_array *const *in, grad_array *const *out);
  grad_status (*vjp)(void *user, const grad_array *const *in, grad_array *const *out);
} grad_host_op;
enum { GRAD_HOST_MOST = 16 };
 void grad_host_call(grad_program *p, const grad_host_op *op, const grad_id *args, grad_id *results);
 grad_status grad_gradient(const grad_program *p, const uint8_t *wrt, grad_program **out);
 grad_status grad_jvp_of(const grad_program *p, const uint8_t *wrt, grad_program **out);
 grad_status grad_vjp_of(const grad_program *p, const uint8_t *wrt, grad_program **out);
 grad_status grad_hvp_of(const grad_program *p, const uint8_t *wrt, grad_program **out);
 grad_status grad_jacobian_of(const grad_program *p, const uint8_t *wrt, grad_program **out);
 grad_status grad_hessian_of(const grad_program *p, const uint8_t *wrt, grad_program **out);
 grad_status grad_vmap_of(const grad_program *p, int64_t size, const uint8_t *batched, grad_program **out);
typedef struct grad_function grad_function;
 grad_status grad_compile(grad_program *p, grad_function **out);
 void grad_function_free(grad_function *function);
 int grad_function_inputs(const grad_function *function);
 int grad_function_outputs(const grad_function *function);
 grad_status grad_run(grad_function *function, const grad_array *const *in, grad_array *const *out);
 grad_status grad_run_raw(grad_function *function, const void *const *in, void *const *out);
typedef grad_status (*grad_operator)(void *user, const double *x, double *out);
typedef struct grad_krylov_options {
  double rtol, atol;
  int64_t max_iter;
  int64_t restart;
} grad_krylov_options;
typedef struct grad_krylov_result {
  int64_t iterations;
  double residual;
  bool converged;
  bool indefinite;
} grad_krylov_result;
 grad_status grad_krylov_cg(grad_ctx *ctx, int64_t n, grad_operator a, void *user, const double *b, double *x,
                                    const grad_krylov_options *options, grad_krylov_result *result);
 grad_status grad_krylov_minres(grad_ctx *ctx, int64_t n, grad_operator a, void *user, const double *b,
                                        double *x, const grad_krylov_options *options, grad_krylov_result *result);
 grad_status grad_krylov_gmres(grad_ctx *ctx, int64_t n, grad_operator a, void *user, const double *b,
                                       double *x, const grad_krylov_options *options, grad_krylov_result *result);
typedef enum grad_method {
  GRAD_METHOD_AUTO, GRAD_METHOD_GD, GRAD_METHOD_NESTEROV, GRAD_METHOD_CG, GRAD_METHOD_BFGS, GRAD_METHOD_LBFGS, GRAD_METHOD_LBFGSB, GRAD_METHOD_NEWTON, GRAD_METHOD_NEWTON_CG, GRAD_METHOD_TRUST_NCG, GRAD_METHOD_TRUST_EXACT, GRAD_METHOD_DOGLEG, GRAD_METHOD_AUGLAG, GRAD_METHOD_SQP, GRAD_METHOD_LM, GRAD_METHOD_TRF, GRAD_METHOD_GN,
      GRAD_METHOD_COUNT
} grad_method;
typedef enum grad_stop {
  GRAD_STOP_RUNNING, GRAD_STOP_GRADIENT, GRAD_STOP_F_CHANGE, GRAD_STOP_X_CHANGE, GRAD_STOP_TARGET, GRAD_STOP_PRECISION, GRAD_STOP_ITERATIONS, GRAD_STOP_EVALUATIONS, GRAD_STOP_TIME, GRAD_STOP_USER, GRAD_STOP_FAILED,
} grad_stop;
typedef enum grad_failure {
  GRAD_FAILURE_NONE, GRAD_FAILURE_NOT_FINITE, GRAD_FAILURE_REGION, GRAD_FAILURE_LINE_SEARCH, GRAD_FAILURE_INCONSISTENT, GRAD_FAILURE_UNBOUNDED, GRAD_FAILURE_INFEASIBLE, GRAD_FAILURE_SINGULAR,
} grad_failure;
typedef enum grad_line_search {
  GRAD_LINE_AUTO,
  GRAD_LINE_ARMIJO,
  GRAD_LINE_WOLFE,
  GRAD_LINE_HAGER_ZHANG,
} grad_line_search;
typedef enum grad_cg_update { GRAD_CG_PR_PLUS, GRAD_CG_FR, GRAD_CG_HS } grad_cg_update;
typedef enum grad_loss {
  GRAD_LOSS_LINEAR, GRAD_LOSS_HUBER, GRAD_LOSS_SOFT_L1, GRAD_LOSS_CAUCHY, GRAD_LOSS_ARCTAN,
} grad_loss;
typedef struct grad_problem {
  int64_t n;
  void *user;
  grad_status (*f)(void *user, const double *x, double *f);
  grad_status (*gradient)(void *user, const double *x, double *gradient);
  grad_status (*f_gradient)(void *user, const double *x, double *f, double *gradient);
  grad_status (*hvp)(void *user, const double *x, const double *v, double *product);
  grad_status (*hessian)(void *user, const double *x, double *hessian);
  int64_t residuals;
  grad_status (*residual)(void *user, const double *x, double *r);
  grad_status (*residual_jacobian)(void *user, const double *x, double *jacobian);
  const int64_t *jacobian_starts, *jacobian_columns;
  const double *lower, *upper;
  int64_t equalities, inequalities;
  grad_status (*constraints)(void *user, const double *x, double *c);
  grad_status (*jacobian)(void *user, const double *x, double *jacobian);
} grad_problem;
typedef struct grad_counts {
  int64_t f, g, hv, jac;
} grad_counts;
typedef struct grad_step_info {
  int64_t iteration;
  double f;
  double
      gradient_norm;
  double violation;
  double step;
  double radius;
  double seconds;
  grad_counts evaluations;
  const double *x;
} grad_step_info;
typedef struct grad_minimize_options {
  const char *name;
  grad_method method;
  double tol;
  double constraint_tol;
  double f_tol, x_tol;
  double target;
  int64_t max_iter;
  int64_t max_eval;
  double max_seconds;
  grad_line_search line_search;
  grad_cg_update cg_update;
  int64_t memory;
  double initial_step;
  double learning_rate;
  double penalty;
  grad_loss loss;
  double f_scale;
  bool geodesic;
  grad_method inner;
  bool skip_gradient_test;
  bool (*on_step)(void *user, const grad_step_info *info);
  void *on_step_user;
} grad_minimize_options;
typedef struct grad_minimize_result {
  const double *x, *gradient;
  const double *multipliers;
  double f, gradient_norm, violation;
  grad_stop stop;
  grad_failure failure;
  bool converged;
  grad_method method;
  int64_t iterations;
  grad_counts evaluations;
  double seconds;
  char message[320];
} grad_minimize_result;
typedef struct grad_minimizer grad_minimizer;
typedef struct grad_state_array {
  const char *name;
  double *data;
  int64_t count;
} grad_state_array;
 void grad_minimize_defaults(grad_minimize_options *options);
 grad_status grad_minimizer_new(grad_ctx *ctx, const grad_problem *problem,
                                        const grad_minimize_options *options, const double *x0, grad_minimizer **out);
 void grad_minimizer_free(grad_minimizer *minimizer);
 grad_status grad_minimizer_step(grad_minimizer *minimizer, bool *running);
 grad_status grad_minimizer_run(grad_minimizer *minimizer);
 void grad_minimizer_result(const grad_minimizer *minimizer, grad_minimize_result *result);
 grad_status grad_minimize(grad_ctx *ctx, const grad_problem *problem, const grad_minimize_options *options,
                                   double *x, grad_minimize_result *result);
 grad_state_array grad_minimizer_state(const grad_minimizer *minimizer, int64_t i);
 grad_status grad_minimizer_load(grad_minimizer *minimizer, const char *name, const double *data,
                                         int64_t count);
 size_t grad_minimizer_bytes(const grad_minimizer *minimizer);
 const char *grad_method_name(grad_method method);
 const char *grad_method_text(grad_method method);
 grad_status grad_method_find(grad_ctx *ctx, const char *name, grad_method *out);
 const char *grad_stop_name(grad_stop stop);
 const char *grad_failure_name(grad_failure failure);
typedef struct grad_fit {
  double variance;
  int64_t rank;
} grad_fit;
 grad_status grad_least_squares_fit(grad_minimizer *minimizer, double *covariance, double *errors,
                                            grad_fit *fit);
 const char *grad_loss_name(grad_loss loss);
typedef enum grad_root_method {
  GRAD_ROOT_AUTO,
  GRAD_ROOT_NEWTON,
  GRAD_ROOT_HYBRID,
  GRAD_ROOT_BROYDEN,
  GRAD_ROOT_ANDERSON
} grad_root_method;
typedef struct grad_root_problem {
  int64_t n;
  void *user;
  grad_status (*f)(void *user, const double *x, double *f);
  grad_status (*jacobian)(void *user, const double *x, double *jacobian);
} grad_root_problem;
typedef struct grad_root_options {
  grad_root_method method;
  double tol;
  double x_tol;
  int64_t max_iter;
  double max_seconds;
  int64_t memory;
  double damping;
  bool (*on_step)(void *user, const grad_step_info *info);
  void *on_step_user;
} grad_root_options;
typedef struct grad_root_result {
  double residual;
  grad_stop stop;
  grad_failure failure;
  bool converged;
  grad_root_method method;
  int64_t iterations;
  grad_counts evaluations;
  char message[240];
} grad_root_result;
 void grad_root_defaults(grad_root_options *options);
 grad_status grad_root(grad_ctx *ctx, const grad_root_problem *problem, const grad_root_options *options,
                               double *x, grad_root_result *result);
 grad_status grad_fixed_point(grad_ctx *ctx, const grad_root_problem *problem, const grad_root_options *options,
                                      double *x, grad_root_result *result);
 const char *grad_root_method_name(grad_root_method method);
typedef enum grad_rule {
  GRAD_RULE_SGD, GRAD_RULE_ADAM, GRAD_RULE_ADAMW, GRAD_RULE_AMSGRAD, GRAD_RULE_NADAM, GRAD_RULE_RADAM, GRAD_RULE_ADAMAX, GRAD_RULE_RMSPROP, GRAD_RULE_ADAGRAD, GRAD_RULE_ADADELTA, GRAD_RULE_RPROP, GRAD_RULE_LION, GRAD_RULE_ASGD, GRAD_RULE_MUON,
      GRAD_RULE_COUNT
} grad_rule;
enum { GRAD_UPDATE_SLOTS_MAX = 3, GRAD_UPDATE_SCALARS = 2 };
typedef enum grad_muon_rate {
  GRAD_MUON_ORIGINAL,
  GRAD_MUON_MATCH_RMS_ADAMW,
  GRAD_MUON_SPECTRAL_UNCLAMPED,
  GRAD_MUON_RATES
} grad_muon_rate;
typedef struct grad_update_options {
  double lr, weight_decay;
  bool decoupled;
  bool maximize;
  double clip_value;
  double momentum, dampening;
  bool nesterov;
  double beta1, beta2, eps;
  bool amsgrad;
  double momentum_decay;
  double alpha;
  bool centered;
  double rho;
  double lr_decay;
  double initial_accumulator;
  double eta_minus, eta_plus;
  double step_min, step_max;
  double lambd, t0;
  int ns_steps;
  double ns_a, ns_b, ns_c;
  int adjust_lr;
} grad_update_options;
typedef struct grad_update_target {
  grad_dtype dtype;
  int64_t n;
  int64_t rows;
  void *param;
  const void *gradient;
  void *slot[GRAD_UPDATE_SLOTS_MAX];
  double scalar[GRAD_UPDATE_SCALARS];
} grad_update_target;
 const char *grad_rule_name(grad_rule rule);
 const char *grad_rule_text(grad_rule rule);
 grad_status grad_rule_find(grad_ctx *ctx, const char *name, grad_rule *out);
 void grad_update_defaults(grad_rule rule, grad_update_options *options);
 grad_status grad_update_check(grad_ctx *ctx, grad_rule rule, const grad_update_options *options);
 int grad_update_slots(grad_rule rule, const grad_update_options *options);
 const char *grad_update_slot_name(grad_rule rule, const grad_update_options *options, int slot);
 grad_status grad_update(grad_ctx *ctx, grad_rule rule, const grad_update_options *options, int64_t step,
                                 double scale, grad_update_target *target);
 double grad_update_norm_squared(grad_dtype dtype, int64_t n, const void *gradient);
 void grad_update_ema(grad_dtype dtype, int64_t n, double decay, const void *param, void *average);
 void grad_update_accumulate(grad_dtype dtype, int64_t n, double scale, const void *gradient, void *sum);
typedef enum grad_schedule_kind {
  GRAD_SCHEDULE_CONSTANT, GRAD_SCHEDULE_STEP, GRAD_SCHEDULE_MULTISTEP, GRAD_SCHEDULE_EXPONENTIAL, GRAD_SCHEDULE_LINEAR, GRAD_SCHEDULE_COSINE, GRAD_SCHEDULE_COSINE_RESTARTS, GRAD_SCHEDULE_WARMUP, GRAD_SCHEDULE_ONE_CYCLE, GRAD_SCHEDULE_CYCLIC, GRAD_SCHEDULE_POLYNOMIAL, GRAD_SCHEDULE_PLATEAU,
      GRAD_SCHEDULE_COUNT
} grad_schedule_kind;
typedef enum grad_cycle { GRAD_CYCLE_TRIANGULAR, GRAD_CYCLE_TRIANGULAR2, GRAD_CYCLE_EXP_RANGE } grad_cycle;
typedef struct grad_schedule {
  grad_schedule_kind kind;
  double factor;
  double total_iters;
  double step_size, gamma;
  const int64_t *milestones;
  int64_t milestone_count;
  double start_factor, end_factor;
  double steps;
  double t_max, eta_min;
  double t_0, t_mult;
  double max_lr, total_steps, pct_start, div_factor, final_div_factor;
  bool linear_anneal, three_phase;
  double base_lr, step_size_up, step_size_down;
  grad_cycle mode;
  double power;
  double patience, threshold, cooldown, min_lr, eps;
  bool maximize, absolute;
} grad_schedule;
typedef struct grad_plateau {
  double rate, best, bad, cooldown;
} grad_plateau;
 const char *grad_schedule_name(grad_schedule_kind kind);
 grad_status grad_schedule_find(grad_ctx *ctx, const char *name, grad_schedule_kind *out);
 void grad_schedule_defaults(grad_schedule_kind kind, grad_schedule *schedule);
 grad_status grad_schedule_check(grad_ctx *ctx, const grad_schedule *schedule);
 double grad_schedule_rate(const grad_schedule *schedule, double base, int64_t step);
 void grad_plateau_begin(const grad_schedule *schedule, double base, grad_plateau *state);
 void grad_plateau_step(const grad_schedule *schedule, double metric, grad_plateau *state);
 int luaopen_gradlua_core(lua_State *L);
 int luaopen_gradlua(lua_State *L);
 grad_ctx *gradlua_context(lua_State *L);
 volatile int *gradlua_interrupt_flag(lua_State *L);
typedef struct gradlua gradlua;
typedef enum gradlua_libraries { GRADLUA_LIBRARIES_SAFE, GRADLUA_LIBRARIES_ALL } gradlua_libraries;
typedef enum gradlua_files {
  GRADLUA_FILES_NONE,
  GRADLUA_FILES_ALL,
  GRADLUA_FILES_HOST
} gradlua_files;
typedef struct gradlua_file_calls {
  size_t size;
  void *user;
  grad_status (*open)(void *user, const char *path, int writing, void **file);
  grad_status (*read)(void *user, void *file, void *buffer, size_t size, size_t *got);
  grad_status (*write)(void *user, void *file, const void *data, size_t size);
  grad_status (*close)(void *user, void *file, int keep);
} gradlua_file_calls;
typedef struct gradlua_config {
  size_t size;
  grad_alloc_fn alloc;
  void *alloc_ud;
  size_t byte_limit;
  grad_interrupt_fn interrupt;
  void *interrupt_ud;
  grad_progress_fn progress;
  void *progress_ud;
  double max_seconds;
  int64_t max_instructions;
  int threads;
  gradlua_libraries libraries;
  gradlua_files files;
  const gradlua_file_calls *file_calls;
} gradlua_config;
 grad_status gradlua_new(const gradlua_config *config, gradlua **out);
 void gradlua_free(gradlua *g);
 lua_State *gradlua_state(gradlua *g);
 grad_ctx *gradlua_core(gradlua *g);
 const char *gradlua_message(const gradlua *g);
 size_t gradlua_bytes(const gradlua *g);
 void gradlua_stop(gradlua *g);
 grad_status gradlua_run(gradlua *g, const char *text, size_t size, const char *chunk, const char *name);
 grad_status gradlua_run_file(gradlua *g, const char *path, const char *name);
 grad_status gradlua_lend(gradlua *g, const char *name, const grad_array *array);
 grad_status gradlua_call(gradlua *g, const char *name, int nin, const grad_array *const *in, int nout,
                                  grad_array *const *out);
 grad_status gradlua_register(gradlua *g, const char *name, const grad_host_op *op);
typedef enum gradlua_derivative {
  GRADLUA_VALUE,
  GRADLUA_GRADIENT,
  GRADLUA_HVP,
  GRADLUA_JACOBIAN
} gradlua_derivative;
 grad_status gradlua_compile(gradlua *g, const char *name, gradlua_derivative derivative, int nin,
                                     const grad_array *const *like, const uint8_t *wrt, grad_function **out);
