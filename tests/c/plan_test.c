/* Plans of chosen programs (plan_random_test has random ones): threads, instruction sets, rows, no allocation, aliases,
 * parts of a concat, interrupts, donated inputs. */
#include "check_plan.h"
#include "check_program.h"

/* Elementwise over rows, with reductions of every mode, large enough for many chunks. */
static grad_program *chunked_program(grad_ctx *ctx, int64_t rows, int64_t columns, grad_dtype dtype) {
  grad_program *p = check_new(ctx);
  grad_id x = grad__program_input(p, dtype, 2, (const int64_t[]){rows, columns});
  grad_id b = grad__program_input(p, dtype, 1, (const int64_t[]){columns});
  grad_id c = grad__program_input(p, dtype, 2, (const int64_t[]){rows, 1});
  grad_id y = grad__mul(p, grad__op1(p, &grad__op_tanh, grad__add(p, x, b)), c);
  grad__program_output(p, y);
  for (uint32_t axes = 1; axes < 4; axes++) grad__program_output(p, grad__sum(p, y, axes, false));
  grad__program_output(p, grad__max(p, y, 1, false));
  grad__program_output(p,
                       grad__sum(p, grad__op1(p, &grad__op_exp, grad__permute(p, y, (const int[]){1, 0})), 3, false));
  return p;
}

static void run_with(grad_ctx *ctx, grad_program *p, int threads, grad_simd simd, grad_array *out) {
  random_source r = {99};
  grad_array in[MOST] = {0};
  const grad_array *inputs[MOST];
  grad_plan *plan = NULL;
  const grad_simd best = ctx->simd;
  ctx->simd = simd;
  grad_ctx_set_threads(ctx, threads);
  for (int i = 0; i < p->ninputs; i++) {
    check(random_array(ctx, &r, grad__type(p, p->inputs[i]), false, &in[i]));
    inputs[i] = &in[i];
  }
  check(grad__plan_new(p, &plan) == GRAD_OK && grad__plan_run(plan, inputs, NULL, out) == GRAD_OK);
  ctx->simd = best;
  grad__plan_free(plan);
  release_all(in, MOST);
}

static void test_threads(grad_ctx *ctx) {
  static const int64_t shapes[][2] = {{70000, 1},  {20000, 3}, {9000, 30},  {701, 300},
                                      {3, 100001}, {257, 512}, {60, 20001}, {40, 60000}};
  static const int counts[] = {2, 8};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    grad_program *p = chunked_program(ctx, shapes[i][0], shapes[i][1], i % 2 ? GRAD_F32 : GRAD_F64);
    grad_array one[MOST] = {0};
    run_with(ctx, p, 1, ctx->simd, one);
    for (int k = 0; k < 2; k++) {
      grad_array many[MOST] = {0};
      run_with(ctx, p, counts[k], ctx->simd, many);
      for (int o = 0; o < p->noutputs; o++) check(same_bits(&one[o], &many[o]));
      release_all(many, MOST);
    }
    release_all(one, MOST);
    grad__program_release(p);
  }
  grad_ctx_set_threads(ctx, 1);
}

/* Softmax, log of its sum, layer norm, and sums over rows and columns of them. */
static grad_program *row_program(grad_ctx *ctx, int64_t rows, int64_t columns, grad_dtype dtype) {
  grad_program *p = check_new(ctx);
  grad_id x = grad__program_input(p, dtype, 2, (const int64_t[]){rows, columns});
  grad_id w = grad__program_input(p, dtype, 1, (const int64_t[]){columns});
  grad_id e = grad__op1(p, &grad__op_exp, grad__sub(p, x, grad__max(p, x, 2, true)));
  grad_id sum = grad__sum(p, e, 2, true), soft = grad__div(p, e, sum);
  grad__program_output(p, soft);
  grad__program_output(p, grad__op1(p, &grad__op_log, sum));
  grad_id mean = grad__mul(p, grad__sum(p, soft, 2, true), grad__lit(p, 1 / (double)columns, sum));
  grad_id centred = grad__sub(p, soft, mean), square = grad__mul(p, centred, centred);
  grad_id scale = grad__op1(p, &grad__op_rsqrt, grad__add(p, grad__sum(p, square, 2, true), grad__lit(p, 1e-3, sum)));
  grad_id y = grad__mul(p, grad__mul(p, centred, scale), w);
  grad__program_output(p, grad__sum(p, y, 1, false));
  grad__program_output(p, grad__sum(p, grad__mul(p, y, x), 3, false));
  grad__program_output(p, grad__max(p, grad__mul(p, y, scale), 2, false));
  return p;
}

static void compare_row_program(grad_ctx *ctx, grad_program *p, double tolerance) {
  grad_array one[MOST] = {0}, want[MOST] = {0}, in[2] = {{0}};
  const grad_array *inputs[] = {&in[0], &in[1]};
  random_source r = {99};
  run_with(ctx, p, 1, ctx->simd, one);
  for (int i = 0; i < 2; i++) check(random_array(ctx, &r, grad__type(p, p->inputs[i]), false, &in[i]));
  check(grad__direct_run(p, inputs, NULL, want) == GRAD_OK);
  for (int o = 0; o < p->noutputs; o++) check(check_same_array(&want[o], &one[o], 2 * tolerance));
  for (int threads = 2; threads <= 8; threads *= 4) {
    grad_array many[MOST] = {0};
    run_with(ctx, p, threads, ctx->simd, many);
    for (int o = 0; o < p->noutputs; o++) check(same_bits(&one[o], &many[o]));
    release_all(many, MOST);
  }
  release_all(one, MOST);
  release_all(want, MOST);
  release_all(in, 2);
}

static void test_rows(grad_ctx *ctx) {
  static const int64_t shapes[][2] = {{70, 100}, {300, 33}, {5, 3000},  {1, 5000},
                                      {5000, 1}, {2000, 3}, {900, 256}, {333, 257}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    grad_program *p = row_program(ctx, shapes[i][0], shapes[i][1], i % 2 ? GRAD_F32 : GRAD_F64);
    compare_row_program(ctx, p, i % 2 ? 1e-4 : 1e-12);
    grad__program_release(p);
  }
  grad_ctx_set_threads(ctx, 1);
  grad_program *p = row_program(ctx, 512, 512, GRAD_F64);
  grad_plan *plan = NULL;
  grad_plan_info info;
  check(grad__plan_new(p, &plan) == GRAD_OK);
  grad__plan_info(plan, &info);
  check(info.steps == 1); /* one pass over the rows */
  grad__plan_free(plan);
  grad__program_release(p);
}

static void test_instruction_sets(grad_ctx *ctx) {
  for (int simd = GRAD_SIMD_BASELINE; simd < (int)ctx->simd; simd++) {
    for (int k = 0; k < 2; k++) {
      grad_program *p = chunked_program(ctx, 77, 300 + k, k ? GRAD_F32 : GRAD_F64);
      grad_array best[MOST] = {0}, got[MOST] = {0};
      run_with(ctx, p, 1, ctx->simd, best);
      run_with(ctx, p, 1, (grad_simd)simd, got);
      for (int o = 0; o < p->noutputs; o++) check(check_same_array(&best[o], &got[o], k ? 2e-5 : 2e-13));
      release_all(best, MOST);
      release_all(got, MOST);
      grad__program_release(p);
    }
  }
}

/* The second run, with memory for the outputs, asks the allocator for nothing; changed numbers make no new plan. */
static void test_no_allocation(grad_ctx *ctx) {
  const random_options o = {
      .ninputs = 4, .ninstrs = 60, .noutputs = 4, .rows = 40, .columns = 60, .smooth = true, .dtype = GRAD_F64};
  for (uint64_t seed = 0; seed < 20; seed++) {
    fixture f;
    grad_array out[MOST] = {0}, want[MOST] = {0};
    grad_plan *plan = NULL;
    if (fixture_open(&f, ctx, seed, &o, false) && check(grad__plan_new(f.p, &plan) == GRAD_OK) &&
        check(grad__plan_run(plan, f.inputs, f.scalars, out) == GRAD_OK)) {
      const uint64_t before = ctx->allocations;
      f.scalars[0] = -0.125;
      check(grad__plan_run(plan, f.inputs, f.scalars, out) == GRAD_OK);
      check(ctx->allocations == before);
      check(grad__direct_run(f.p, f.inputs, f.scalars, want) == GRAD_OK);
      for (int k = 0; k < f.p->noutputs; k++) check(check_same_array(&out[k], &want[k], 2e-9));
      grad_plan_info info;
      grad__plan_info(plan, &info);
      check(info.runs == 2 && info.peak >= info.workspace && info.steps >= info.fused);
    }
    grad__plan_free(plan);
    release_all(out, MOST);
    release_all(want, MOST);
    fixture_close(&f);
  }
}

/* Outputs that are inputs, views of them, constants, numbers, or one another. */
static void test_aliases(grad_ctx *ctx) {
  grad_program *p = NULL;
  grad_plan *plan = NULL;
  p = check_new(ctx);
  const int64_t shape[2] = {2, 3};
  grad_id x = grad__program_input(p, GRAD_F64, 2, shape), y = grad__add(p, x, x);
  p->nscalars = 1;
  const grad_id outputs[] = {x,
                             grad__permute(p, x, (const int[]){1, 0}),
                             y,
                             y,
                             grad__reshape(p, y, 1, (const int64_t[]){6}),
                             grad__full(p, 7, GRAD_F64, 2, shape),
                             grad__scalar(p, GRAD_F64, 0)};
  const double want[] = {3, 3, 6, 6, 6, 7, 1.5};
  enum { COUNT = sizeof outputs / sizeof *outputs };
  for (int k = 0; k < COUNT; k++) grad__program_output(p, outputs[k]);
  double data[6] = {1, 2, 3, 4, 5, 6}, number = 1.5;
  grad_array in, out[COUNT] = {{0}};
  grad__array_wrap(&in, data, GRAD_F64, 2, shape);
  check(grad__plan_new(p, &plan) == GRAD_OK);
  for (int run = 0; run < 2; run++) {
    check(grad__plan_run(plan, (const grad_array *[]){&in}, &number, out) == GRAD_OK);
    for (int k = 0; k < COUNT; k++) {
      const int64_t at = k == 1 ? 4 : 2; /* where 3 is after the transpose */
      check(out[k].data != (void *)data && ((double *)out[k].data)[k == 6 ? 0 : at] == want[k]);
    }
  }
  release_all(out, COUNT);
  grad__plan_free(plan);
  grad__program_release(p);
}

/* Parts of a concat along the first axis are made in its memory; one is read after the whole for the last time, one is
 * in two of them, one is an output, one is a view. */
static void test_parts(grad_ctx *ctx) {
  enum { N = 64, BYTES = N * N * 8 };
  grad_program *p = NULL;
  grad_plan *plan = NULL;
  p = check_new(ctx);
  const int64_t shape[2] = {N, N};
  const grad_id x = grad__program_input(p, GRAD_F64, 2, shape);
  const grad_id a = grad__op1(p, &grad__op_exp, x), b = grad__op1(p, &grad__op_sin, x);
  const grad_id c = grad__op1(p, &grad__op_cos, x), d = grad__permute(p, c, (const int[]){1, 0});
  const grad_id one = grad__concat(p, 4, (const grad_id[]){a, b, c, d}, 0);
  const grad_id product = grad__matmul(p, one, x, false, false);
  const grad_id two = grad__concat(p, 2, (const grad_id[]){b, product}, 0);
  grad__program_output(p, grad__matmul(p, grad__add(p, a, x), grad__matmul(p, two, x, false, false), false, true));
  grad__program_output(p, c);
  grad_array in, got[2] = {{0}}, want[2] = {{0}};
  random_source r = {3};
  check(random_array(ctx, &r, grad__type(p, x), false, &in));
  const grad_array *inputs[] = {&in};
  check(grad__plan_new(p, &plan) == GRAD_OK && grad__plan_run(plan, inputs, NULL, got) == GRAD_OK);
  check(grad__direct_run(p, inputs, NULL, want) == GRAD_OK);
  for (int k = 0; k < 2; k++) check(check_same_array(&got[k], &want[k], 2e-12));
  grad_plan_info info;
  grad__plan_info(plan, &info);
  check(info.workspace < 22 * BYTES); /* what parts of their own take */
  release_all(got, 2);
  release_all(want, 2);
  grad__array_release(&in);
  grad__plan_free(plan);
  grad__program_release(p);
}

/* What is as large as the whole, and ends with it, does not overwrite a part that is read in rows of its own. */
static void test_part_repeated(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  const int64_t shape[2] = {1, 3000}, both[2] = {2, 3000};
  const grad_id x = grad__program_input(p, GRAD_F64, 2, shape), y = grad__program_input(p, GRAD_F64, 2, shape);
  const grad_id a = grad__cumsum(p, x, 1), b = grad__cumsum(p, y, 1);
  const grad_id whole = grad__concat(p, 2, (const grad_id[]){a, b}, 0);
  const grad_id product = grad__mul(p, whole, grad__broadcast(p, a, 2, both));
  grad__program_output(p, grad__cumsum(p, product, 1));
  compare_row_program(ctx, p, 1e-12);
  grad_ctx_set_threads(ctx, 1);
  grad__program_release(p);
}

static int stop_now(void *ud) { return *(int *)ud; }

static void test_interrupt(void) {
  grad_ctx *ctx;
  int stop = 0;
  if (!check(grad_ctx_new(&(grad_config){.interrupt = stop_now, .interrupt_ud = &stop}, &ctx) == GRAD_OK)) return;
  grad_program *p = chunked_program(ctx, 100, 1000, GRAD_F64);
  grad_array out[MOST] = {0}, in[3];
  const grad_array *inputs[3] = {&in[0], &in[1], &in[2]};
  random_source r = {1};
  grad_plan *plan = NULL;
  for (int i = 0; i < 3; i++) check(random_array(ctx, &r, grad__type(p, p->inputs[i]), false, &in[i]));
  check(grad__plan_new(p, &plan) == GRAD_OK);
  stop = 1;
  check(grad__plan_run(plan, inputs, NULL, out) == GRAD_EINTERRUPT && !out[0].data);
  check(grad__direct_run(p, inputs, NULL, out) == GRAD_EINTERRUPT && !out[0].data);
  stop = 0;
  check(grad__plan_run(plan, inputs, NULL, out) == GRAD_OK);
  release_all(out, MOST);
  release_all(in, 3);
  grad__plan_free(plan);
  grad__program_release(p);
  check_close(ctx);
}

/* --- results in the memory of donated inputs */

/* Gives outputs the memory of inputs as the plan allows; the others stay as they are. Returns how many. */
static int reuse_inputs(const grad_plan *plan, const grad_program *p, const grad_array *in, grad_array *out) {
  int count = 0;
  for (int k = 0; k < p->noutputs; k++) {
    const int32_t input = grad__plan_reuses(plan, k);
    if (input < 0) continue;
    const grad_type *t = grad__type(p, p->outputs[k]);
    grad__array_wrap(&out[k], in[input].data, t->dtype, t->ndim, t->shape);
    out[k].storage = in[input].storage;
    grad__array_retain(&out[k]);
    count++;
  }
  return count;
}

static int compare_with_reusing(uint64_t seed, const random_options *o, grad_ctx *ctx) {
  fixture f;
  grad_array want[MOST] = {0}, got[MOST] = {0};
  bool donated[MOST];
  grad_plan *plan = NULL;
  int count = 0;
  for (int i = 0; i < MOST; i++) donated[i] = true;
  if (fixture_open(&f, ctx, seed, o, false) && check(grad__plan_new_donating(f.p, donated, &plan) == GRAD_OK) &&
      check(grad__plan_run(plan, f.inputs, f.scalars, want) == GRAD_OK)) {
    count = reuse_inputs(plan, f.p, f.in, got);
    check(grad__plan_run(plan, f.inputs, f.scalars, got) == GRAD_OK);
    for (int k = 0; k < f.p->noutputs; k++) {
      if (!check(same_bits(&want[k], &got[k]))) report(&f, seed, k);
    }
  }
  release_all(want, MOST);
  release_all(got, MOST);
  grad__plan_free(plan);
  fixture_close(&f);
  return count;
}

static void test_reuse_random(grad_ctx *ctx) {
  int count = 0;
  for (uint64_t seed = 0; seed < 400; seed++) {
    const random_options o = {.ninputs = 4,
                              .ninstrs = 4 + (int)(seed % 12),
                              .noutputs = 4,
                              .rows = 1 + (int64_t)(seed % 40),
                              .columns = 300,
                              .smooth = seed % 2,
                              .depth = 1,
                              .dtype = seed % 3 ? GRAD_F64 : GRAD_F32};
    count += compare_with_reusing(seed, &o, ctx);
  }
  check(count > 100);
}

/* A step with momentum: w' = w - m', m' = 0.9 m + x' (x w), for w and m of rows x columns; and the sum of x w. */
static grad_program *step_program(grad_ctx *ctx, int64_t rows, int64_t columns) {
  grad_program *p = check_new(ctx);
  const grad_id w = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){rows, columns});
  const grad_id m = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){rows, columns});
  const grad_id x = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){8, rows});
  const grad_id y = grad__matmul(p, x, w, false, false), g = grad__matmul(p, x, y, true, false);
  const grad_id buffer = grad__add(p, grad__mul(p, grad__full(p, 0.9, GRAD_F64, 0, NULL), m), g);
  grad__program_output(p, grad__sum(p, y, 3, false));
  grad__program_output(p, grad__sub(p, w, buffer));
  grad__program_output(p, buffer);
  return p;
}

/* Counts down to 0 from `left`, then stops. */
static int stop_later(void *ud) { return --*(int *)ud < 0; }

/* Wherever the run is stopped, the inputs are what they were; a run that is not stopped gives all results. */
static void test_reuse_stopped(void) {
  enum { ROWS = 300, COLUMNS = 400, FIRST = 3 };
  grad_ctx *ctx;
  int left = 1000;
  if (!check(grad_ctx_new(&(grad_config){.interrupt = stop_later, .interrupt_ud = &left}, &ctx) == GRAD_OK)) return;
  grad_program *p = step_program(ctx, ROWS, COLUMNS);
  grad_array in[FIRST], kept[FIRST] = {0}, want[FIRST] = {0};
  const grad_array *inputs[FIRST] = {&in[0], &in[1], &in[2]};
  const bool donated[FIRST] = {true, true, false};
  random_source r = {1};
  grad_plan *plan = NULL;
  for (int i = 0; i < FIRST; i++) {
    check(random_array(ctx, &r, grad__type(p, p->inputs[i]), false, &in[i]));
    check(grad__array_new(ctx, GRAD_F64, in[i].ndim, in[i].shape, &kept[i]) == GRAD_OK);
    grad__array_copy(&kept[i], &in[i]);
  }
  check(grad__plan_new_donating(p, donated, &plan) == GRAD_OK);
  check(grad__plan_reuses(plan, 0) == -1 && grad__plan_reuses(plan, 1) == 0 && grad__plan_reuses(plan, 2) == 1);
  check(grad__plan_run(plan, inputs, NULL, want) == GRAD_OK);
  grad_status status = GRAD_EINTERRUPT;
  int stops = 0;
  for (; status != GRAD_OK && stops < 100; stops++) {
    grad_array out[FIRST] = {0};
    check(reuse_inputs(plan, p, in, out) == 2);
    left = stops;
    status = grad__plan_run(plan, inputs, NULL, out);
    for (int i = 0; i < FIRST; i++)
      check(status == GRAD_OK ? same_bits(&out[i], &want[i]) : same_bits(&in[i], &kept[i]));
    release_all(out, FIRST);
  }
  check(stops > 2 && stops < 100);
  release_all(want, FIRST);
  release_all(kept, FIRST);
  release_all(in, FIRST);
  grad__plan_free(plan);
  grad__program_release(p);
  check_close(ctx);
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_threads(ctx);
  test_rows(ctx);
  test_instruction_sets(ctx);
  test_no_allocation(ctx);
  test_aliases(ctx);
  test_parts(ctx);
  test_part_repeated(ctx);
  test_reuse_random(ctx);
  grad_ctx_set_threads(ctx, 2);
  test_reuse_random(ctx);
  grad_ctx_set_threads(ctx, 1);
  check_close(ctx);
  test_interrupt();
  test_reuse_stopped();
  return check_done();
}
