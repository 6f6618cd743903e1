/* transforms_test.c: every op, and random programs of tens of them, through every transform: jvp against differences,
 * <J v, w> = <v, J' w>, both again for the programs of jvp and of vjp (so jvp of vjp and the rest), vmap of each of
 * these against a loop, plans against the direct evaluator, entries that are not zero against the pattern.
 *
 *   transforms_test                  what CI runs: each op by itself, then some programs, always the same
 *   transforms_test SECONDS [SEED]   programs from fresh seeds for that long; the first that fails is shown, cut down
 */
#include <time.h>

#include "check_rules.h"
#include "random_program.h"

enum { ALONE = 6, PROGRAMS = 60, LARGEST = 90 };

/* --- which ops have been met */

static void note_ops(const grad_program *p, bool *met) {
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    for (int k = 0; k < grad__op_count(); k++) met[k] = met[k] || grad__op_at(k) == ins->op;
    for (int32_t k = 0; k < ins->nsubs; k++) note_ops(ins->subs[k], met);
  }
}

/* --- one program */

typedef struct subject {
  grad_ctx *ctx;
  double slack;
  uint64_t state; /* of the numbers that fill inputs */
  bool *met;      /* by number of the op; or NULL */
} subject;

static void check_plan(subject *s, const char *name, grad_program *p) {
  check_arrays in = {0}, want = {0}, got = {.n = p->noutputs};
  const grad_array *args[CHECK_MOST];
  grad_plan *plan = NULL;
  rules_inputs(s->ctx, p, &in, &s->state);
  for (int32_t i = 0; i < in.n; i++) args[i] = &in.a[i];
  bool good = rules_run(p, &in, &want) && check(grad__plan_new(p, &plan) == GRAD_OK) &&
              check(grad__plan_run(plan, args, rules_scalars, got.a) == GRAD_OK);
  for (int32_t i = 0; good && i < p->noutputs; i++)
    good = check(check_same_array(&got.a[i], &want.a[i], rules_batch * s->slack));
  if (!good) fprintf(stderr, "  in the plan of %s\n", name);
  check_release(&in);
  check_release(&want);
  check_release(&got);
  grad__plan_free(plan);
}

/* Some of the inputs batched; the first always. */
static void check_batch(subject *s, const char *name, grad_program *p) {
  bool batched[RULES_MOST];
  for (int32_t i = 0; i < p->ninputs; i++) batched[i] = i == 0 || check_uniform(&s->state) < 0.5;
  rules_vmap(s->ctx, name, p, batched, s->slack, &s->state);
}

static void check_runs(subject *s, const char *name, grad_program *p) {
  if (s->met) note_ops(p, s->met);
  check_batch(s, name, p);
  check_plan(s, name, p);
}

static grad_status transpose_twice(const grad_program *linear, int32_t nresiduals, grad_program **out) {
  grad_program *back = NULL;
  const size_t most = (size_t)linear->ninputs + (size_t)linear->noutputs;
  bool *is_tangent = calloc(most + 1, sizeof *is_tangent);
  for (size_t i = (size_t)nresiduals; is_tangent && i < most; i++) is_tangent[i] = true;
  grad_status status = is_tangent ? grad__ad_transpose(linear, is_tangent, &back) : GRAD_ENOMEM;
  if (!status) status = grad__ad_transpose(back, is_tangent, out);
  grad__program_release(back);
  free(is_tangent);
  return status;
}

/* The same tangents from a jvp, from the linear program after the primal one, and from that transposed twice. */
static void check_linearize(subject *s, const char *name, grad_program *p) {
  bool wrt[RULES_MOST];
  grad_program *j = NULL, *primal = NULL, *linear = NULL, *again = NULL;
  check_arrays in = {0}, want = {0}, left = {0}, args = {0};
  rules_wrt(p, wrt);
  bool good = check(grad__ad_jvp(p, wrt, &j) == GRAD_OK) &&
              check(grad__ad_linearize(p, wrt, p->noutputs, &primal, &linear) == GRAD_OK) &&
              check(transpose_twice(linear, primal->noutputs - p->noutputs, &again) == GRAD_OK);
  if (good && s->met) note_ops(linear, s->met);
  if (good && primal->noutputs <= CHECK_MOST) {
    rules_inputs(s->ctx, j, &in, &s->state);
    good = rules_run(j, &in, &want);
    in.n = p->ninputs;
    good = good && rules_run(primal, &in, &left);
    in.n = j->ninputs;
    for (int32_t i = p->noutputs; i < left.n; i++) args.a[args.n++] = left.a[i];
    for (int32_t i = p->ninputs; i < in.n && args.n < CHECK_MOST; i++) args.a[args.n++] = in.a[i];
    for (int which = 0; good && which < 2 && args.n == linear->ninputs; which++) {
      check_arrays got = {0};
      good = rules_run(which ? again : linear, &args, &got);
      for (int32_t i = 0; good && i < got.n; i++)
        good = check(check_same_array(&got.a[i], &want.a[p->noutputs + i], rules_batch * s->slack));
      check_release(&got);
    }
  }
  if (!good) fprintf(stderr, "  in the linearization of %s: %s\n", name, grad_message(s->ctx));
  check_release(&in), check_release(&want), check_release(&left);
  grad__program_release(j);
  grad__program_release(primal);
  grad__program_release(linear);
  grad__program_release(again);
}

typedef grad_status (*transform)(const grad_program *p, grad_program **out);

static grad_status do_jvp(const grad_program *p, grad_program **out) {
  bool wrt[RULES_MOST];
  rules_wrt(p, wrt);
  return grad__ad_jvp(p, wrt, out);
}

static grad_status do_vjp(const grad_program *p, grad_program **out) {
  bool wrt[RULES_MOST];
  rules_wrt(p, wrt);
  return grad__ad_vjp(p, wrt, p->noutputs, out);
}

static grad_status do_vmap(const grad_program *p, grad_program **out) {
  bool batched[RULES_MOST];
  for (int32_t i = 0; i < p->ninputs; i++) batched[i] = i % 2 == 0;
  return grad__ad_vmap(p, 2, batched, NULL, out);
}

/* p through all checks, its transforms through them in turn: 0 runs it, 1 derives it, 2 derives its derivatives. */
static void check_program(subject *s, const char *name, grad_program *p, int order) {
  static const struct {
    const char *name;
    transform run;
  } transforms[] = {{"jvp", do_jvp}, {"vjp", do_vjp}, {"vmap", do_vmap}};
  check_runs(s, name, p);
  if (order < 1) return;
  rules_derivative(s->ctx, name, p, s->slack, &s->state);
  if (order < 2) return;
  check_linearize(s, name, p);
  const int before = check_failed;
  rules_sparsity(s->ctx, name, p, false, &s->state);
  if (check_failed > before) fprintf(stderr, "  in the pattern of %s\n", name);
  for (int i = 0; i < 3; i++) {
    grad_program *q = NULL;
    char text[96];
    snprintf(text, sizeof text, "%s of %s", transforms[i].name, name);
    if (check(transforms[i].run(p, &q) == GRAD_OK) && check(grad__verify(q) == GRAD_OK)) {
      check_program(s, text, q, order - 1);
    } else {
      fprintf(stderr, "  %s: %s\n", text, grad_message(s->ctx));
    }
    grad__program_release(q);
  }
}

/* --- each op by itself */

static grad_program *entry_program(grad_ctx *ctx, const random_entry *e, uint64_t seed) {
  static const int64_t shape[] = {3, 2};
  random_source r = {seed};
  grad_program *p = check_new(ctx);
  random_builder b = {.r = &r, .p = p, .dtype = GRAD_F64, .depth = 1};
  random_keep(&b, grad__program_input(p, GRAD_F64, 2, shape));
  random_keep(&b, grad__program_input(p, GRAD_F64, 1, shape));
  b.state = grad__program_input(p, GRAD_I64, 1, shape + 1);
  p->nscalars = 2;
  grad__program_output(p, e->make(&b));
  return p;
}

static void test_entries(grad_ctx *ctx) {
  for (int i = 0; i < RANDOM_ENTRIES; i++) {
    const random_entry *e = &random_entries[i];
    bool met[256] = {false};
    subject s = {.ctx = ctx, .slack = 10, .state = 1, .met = met};
    for (uint64_t seed = 0; seed < ALONE; seed++) {
      const int before = check_failed;
      grad_program *p = entry_program(ctx, e, seed);
      if (p && check(p->status == GRAD_OK)) {
        check_program(&s, e->op, p, e->order);
      }
      if (check_failed > before) fprintf(stderr, "  entry %s, seed %d: %s\n", e->op, (int)seed, grad_message(ctx));
      grad__program_release(p);
    }
    bool found = false;
    for (int k = 0; k < grad__op_count(); k++) found = found || (met[k] && strcmp(grad__op_at(k)->name, e->op) == 0);
    if (!check(found)) fprintf(stderr, "  op %s does not occur in what its entry makes\n", e->op);
  }
}

/* An op without an entry takes part in nothing above. */
static void test_registry(void) {
  for (int k = 0; k < grad__op_count(); k++) {
    const grad_op *op = grad__op_at(k);
    bool found = op->flags & GRAD_OP_ELEMENTWISE;
    for (int i = 0; i < RANDOM_ENTRIES; i++) found = found || strcmp(random_entries[i].op, op->name) == 0;
    if (!check(found)) fprintf(stderr, "  op %s has no entry in random_entries.h\n", op->name);
  }
}

/* --- random programs */

static int failures_of(grad_ctx *ctx, uint64_t seed, int ninstrs, bool show) {
  const random_options o = {.smooth = true,
                            .ninputs = 3,
                            .ninstrs = ninstrs,
                            .noutputs = 2,
                            .rows = 1 + (int64_t)(seed / 7 % 5),
                            .columns = 1 + (int64_t)(seed % 4),
                            .dtype = GRAD_F64,
                            .depth = 2};
  const int before = check_failed;
  grad_program *p = random_program(ctx, seed, &o);
  if (p && p->status == GRAD_OK) {
    subject s = {.ctx = ctx, .slack = 1e3, .state = seed};
    char name[64];
    snprintf(name, sizeof name, "program %llu", (unsigned long long)seed);
    if (show) {
      grad_text text = {.ctx = ctx};
      if (grad__program_print(p, &text) == GRAD_OK) fprintf(stderr, "%s", text.data);
      grad__text_clear(&text);
    } else {
      check_program(&s, name, p, 2);
    }
  }
  grad__program_release(p);
  return check_failed - before;
}

static void test_programs(grad_ctx *ctx) {
  for (uint64_t seed = 0; seed < PROGRAMS; seed++) failures_of(ctx, seed, 10 + (int)seed * 13 % LARGEST, false);
}

/* The same seed with fewer instructions is the same program cut short. */
static void cut_down(grad_ctx *ctx, uint64_t seed, int ninstrs) {
  int smallest = 1;
  while (smallest < ninstrs && !failures_of(ctx, seed, smallest, false)) smallest++;
  fprintf(stderr, "seed %llu fails from %d instructions on:\n", (unsigned long long)seed, smallest);
  failures_of(ctx, seed, smallest, true);
}

static void fuzz(grad_ctx *ctx, double seconds, uint64_t seed) {
  const time_t start = time(NULL);
  int programs = 0;
  for (; difftime(time(NULL), start) < seconds; programs++, seed++) {
    const int ninstrs = 10 + (int)(seed % LARGEST);
    if (!failures_of(ctx, seed, ninstrs, false)) continue;
    cut_down(ctx, seed, ninstrs);
    return;
  }
  printf("%d programs, the last from seed %llu\n", programs, (unsigned long long)seed - 1);
}

int main(int argc, char **argv) {
  grad_ctx *ctx = check_open();
  if (argc > 1) {
    fuzz(ctx, atof(argv[1]), argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 1000);
  } else {
    test_registry();
    test_entries(ctx);
    test_programs(ctx);
  }
  grad_ctx_free(ctx);
  return check_done();
}
