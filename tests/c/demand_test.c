/* demand_test.c: computing only the elements that are wanted: that each op's rule computes no more than it says, that
 * what must stay whole does, and that the elements are the same: in random programs over the whole registry, in loops
 * whose boxes grow, and through derivatives and batching. */
#include "ad/loop.h"
#include "check_compare.h"
#include "check_rules.h"
#include "ops/demand.h"
#include "random_program.h"

enum { RANDOM_PROGRAMS = 150 };

/* --- parts of the outputs */

typedef struct parts {
  grad_range ranges[CHECK_MOST][GRAD_MAX_AXES];
  const grad_range *box[CHECK_MOST];
} parts;

/* The program that computes the boxes of p's outputs; no value is too small to be cut. */
static grad_program *part_of(const grad_program *p, const parts *boxes) {
  grad_range whole[CHECK_MOST][GRAD_MAX_AXES];
  const grad_range *in[CHECK_MOST];
  grad_program *q = NULL;
  grad_demand d;
  for (int32_t i = 0; i < p->ninputs; i++) {
    grad__box_whole(grad__type(p, p->inputs[i]), whole[i]);
    in[i] = whole[i];
  }
  bool good = check(grad__demand_start(&d, p, 0) == GRAD_OK);
  for (int32_t k = 0; good && k < p->noutputs; k++) grad__demand_want(&d, p->outputs[k], boxes->box[k]);
  good =
      good && check(grad__demand_find(&d) == GRAD_OK) && check(grad__demand_build(&d, in, boxes->box, &q) == GRAD_OK);
  if (!good) fprintf(stderr, "  %s\n", grad_message(p->ctx));
  grad__demand_end(&d);
  check(!q || grad__verify(q) == GRAD_OK);
  return q;
}

/* A box, often of one position an axis, now and then empty. */
static void random_box(random_source *r, const grad_type *t, grad_range *box) {
  for (int i = 0; i < t->ndim; i++) {
    const int n = (int)t->shape[i], from = n ? random_below(r, n) : 0;
    const int most = n - from, size = random_below(r, 2) ? 1 : random_below(r, most + 1);
    box[i] = (grad_range){from, from + (size < most ? size : most)};
  }
}

static void random_parts(random_source *r, const grad_program *p, parts *boxes) {
  for (int32_t k = 0; k < p->noutputs; k++) {
    random_box(r, grad__type(p, p->outputs[k]), boxes->ranges[k]);
    boxes->box[k] = boxes->ranges[k];
  }
}

/* p with its outputs cut. */
static grad_program *sliced(const grad_program *p, const parts *boxes) {
  grad_program *q = NULL;
  grad_id made[CHECK_MOST];
  if (!check(grad__program_like(p, &q) == GRAD_OK)) return NULL;
  q->nscalars = 0;
  grad__inline(q, p, q->inputs, NULL, made, NULL);
  for (int32_t k = 0; k < p->noutputs; k++) {
    grad_range whole[GRAD_MAX_AXES];
    grad__box_whole(grad__type(p, p->outputs[k]), whole);
    grad__program_output(q, grad__crop_between(q, made[k], whole, boxes->box[k]));
  }
  check(q->status == GRAD_OK);
  return q;
}

/* --- what is computed */

/* Elements that the instructions make, views apart; those in a loop once. */
static int64_t elements(const grad_program *p) {
  int64_t n = 0;
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    for (int32_t k = 0; k < ins->nsubs; k++) n += elements(ins->subs[k]);
    if (ins->op->flags & (GRAD_OP_VIEW | GRAD_OP_CONTROL)) continue;
    for (int32_t k = 0; k < ins->nout; k++) n += grad__type_numel(grad__type(p, ins->out + k));
  }
  return n;
}

/* --- the same elements */

static bool same_runs(grad_ctx *ctx, grad_program *p, grad_program *q, double tolerance, uint64_t seed) {
  check_arrays in = {0}, want = {0}, got = {0};
  rules_inputs(ctx, p, &in, &seed);
  bool good = check(p->noutputs == q->noutputs) && rules_run(p, &in, &want) && rules_run(q, &in, &got);
  for (int32_t k = 0; good && k < p->noutputs; k++) good = check(check_same_array(&got.a[k], &want.a[k], tolerance));
  check_release(&in);
  check_release(&want);
  check_release(&got);
  return good;
}

static grad_status rules_vjp(const grad_program *p, grad_program **out) {
  bool wrt[RULES_MOST];
  rules_wrt(p, wrt);
  return grad__ad_vjp(p, wrt, p->noutputs, out);
}

static grad_status rules_jvp(const grad_program *p, grad_program **out) {
  bool wrt[RULES_MOST];
  rules_wrt(p, wrt);
  return grad__ad_jvp(p, wrt, out);
}

/* Values, first derivatives both ways, second ones, batches. */
static bool same_everything(grad_ctx *ctx, grad_program *p, grad_program *q, double tolerance, uint64_t seed) {
  static const transform list[] = {rules_jvp, rules_vjp, do_some_vmap};
  bool good = same_runs(ctx, p, q, 0 * tolerance, seed);
  for (int i = 0; i < 3 && good; i++) {
    grad_program *p1 = NULL, *q1 = NULL, *p2 = NULL, *q2 = NULL;
    good = check(list[i](p, &p1) == GRAD_OK) && check(list[i](q, &q1) == GRAD_OK) &&
           same_runs(ctx, p1, q1, tolerance, seed + 1);
    if (good && i < 2) {
      good = check(list[1 - i](p1, &p2) == GRAD_OK) && check(list[1 - i](q1, &q2) == GRAD_OK) &&
             same_runs(ctx, p2, q2, tolerance, seed + 2);
    }
    grad__program_release(p1), grad__program_release(q1);
    grad__program_release(p2), grad__program_release(q2);
  }
  return good;
}

/* --- each op: how many elements are computed for one element in the middle of its result */

enum { ROWS = 40, COLUMNS = 50, DEPTH = 30 };

typedef struct operands {
  grad_id a, b, w, v, index, state; /* 40 x 50 twice, 50 x 30, 50, 3 positions, of a generator */
} operands;

static const int64_t matrix[2] = {ROWS, COLUMNS}, line[1] = {ROWS * COLUMNS};
static const int64_t backward[3][2] = {{ROWS - 1, 35}, {20, 3}, {-1, 5}}, full[2] = {2 * ROWS + 3, 3 * COLUMNS + 4};
static const int64_t corner[2] = {3, 4}, steps[2] = {2, 3}, three[3] = {3, ROWS, COLUMNS};
static const int64_t cube[3] = {8, 5, COLUMNS}, wide[2] = {8, 5 * COLUMNS}, inserted_axis[3] = {ROWS, 1, COLUMNS};
static const int turn[3] = {1, 2, 0};

#define EXP_OF(p, x) grad__op1(p, &grad__op_exp, x)
#define EXP(x) EXP_OF(p, x)
#define CASE(name, expression)                                                                                         \
  static grad_id name(grad_program *p, const operands *o) { return expression; }
CASE(elementwise, grad__add(p, EXP(o->a), grad__neg(p, o->b)))
CASE(converted, grad__convert(p, EXP(o->a), GRAD_F32))
CASE(constant, grad__mul(p, EXP(o->a), grad__lit(p, 3, o->a)))
CASE(stopped, grad__stop_gradient(p, EXP(o->a)))
CASE(spread, grad__broadcast(p, EXP(o->v), 2, matrix))
CASE(turned, grad__permute(p, grad__broadcast(p, EXP(o->a), 3, three), turn))
CASE(split, grad__reshape(p, EXP(o->a), 3, cube))
CASE(regrouped, grad__reshape(p, EXP(o->a), 2, wide))
CASE(inserted, grad__reshape(p, EXP(o->a), 3, inserted_axis))
CASE(flat, grad__reshape(p, EXP(o->a), 1, line))
CASE(backwards, grad__slice(p, EXP(o->a), backward[0], backward[1], backward[2]))
CASE(placed, grad__unslice(p, EXP(o->a), 2, full, corner, steps))
CASE(padded, grad__pad(p, EXP(o->a), corner, corner, 2))
CASE(pieces, grad__concat(p, 3, (const grad_id[]){o->b, EXP(o->a), EXP(o->b)}, 0))
CASE(row_sums, grad__sum(p, EXP(o->a), 2, false))
CASE(row_products, grad__reduce(p, &grad__op_prod, EXP(o->a), 2, false))
CASE(column_largest, grad__max(p, EXP(o->a), 1, false))
CASE(row_place, grad__arg_extremum(p, &grad__op_argmax, EXP(o->a), 1))
CASE(product, grad__matmul(p, EXP(o->a), EXP(o->w), false, false))
CASE(product_left, grad__matmul(p, EXP(o->a), EXP(o->b), true, false))
CASE(product_right, grad__matmul(p, EXP(o->a), EXP(o->b), false, true))
CASE(running, grad__cumsum(p, EXP(o->a), 1))
CASE(running_product, grad__cumprod(p, EXP(o->a), 1))
CASE(sorted, grad__sort(p, EXP(o->a), 1, false, NULL))
CASE(middle, grad__median(p, EXP(o->a), 2, false))
CASE(drawn, grad__mul(p, o->a, grad__random_normal(p, o->state, 0, GRAD_F64, 2, matrix)))
#define SEVEN grad__full(p, 7, GRAD_I64, 2, matrix)
CASE(gathered, grad__emit(p, &grad__op_gather, 2, (const grad_id[]){EXP(o->a), o->index}, 2, (const int64_t[]){0, 0}))
CASE(divided, grad__op2(p, &grad__op_mod, grad__convert(p, o->a, GRAD_I64), SEVEN))

static const struct {
  const char *name;
  grad_id (*build)(grad_program *p, const operands *o);
  int64_t computed;
} op_cases[] = {{"elementwise", elementwise, 3},
                {"convert", converted, 2},
                {"full", constant, 3},
                {"stop_gradient", stopped, 1},
                {"broadcast", spread, 1},
                {"permute", turned, 1},
                {"reshape, an axis split", split, 5},
                {"reshape, axes regrouped", regrouped, 250},
                {"reshape, an axis inserted", inserted, 1},
                {"reshape, axes joined", flat, 50},
                {"slice with negative steps", backwards, 1},
                {"unslice", placed, 1},
                {"pad", padded, 1},
                {"concat", pieces, 1},
                {"sum", row_sums, 51},
                {"prod", row_products, 51},
                {"max", column_largest, 41},
                {"argmax", row_place, 51},
                {"matmul", product, 101},
                {"matmul, first factor transposed", product_left, 81},
                {"matmul, second factor transposed", product_right, 101},
                {"cumsum", running, 100},
                {"cumprod", running_product, 100},
                {"sort", sorted, 150},
                {"kth, twice", middle, 56},
                {"a draw keeps its numbers", drawn, 2001},
                {"gather may fail", gathered, 2150},
                {"division by zero may fail", divided, 6000}};

static operands add_operands(grad_program *p, grad_dtype dtype) {
  operands o = {.a = grad__program_input(p, dtype, 2, matrix), .b = grad__program_input(p, dtype, 2, matrix)};
  o.w = grad__program_input(p, dtype, 2, (const int64_t[]){COLUMNS, DEPTH});
  o.v = grad__program_input(p, dtype, 1, matrix + 1);
  o.index = grad__program_input(p, GRAD_I64, 1, (const int64_t[]){3});
  o.state = grad__program_input(p, GRAD_I64, 1, (const int64_t[]){2});
  return o;
}

/* One position of each axis: in the middle, at the end. */
static void one_element(const grad_program *p, bool last, parts *boxes) {
  const grad_type *t = grad__type(p, p->outputs[0]);
  for (int i = 0; i < t->ndim; i++) {
    const int64_t at = last ? t->shape[i] - 1 : t->shape[i] / 2;
    boxes->ranges[0][i] = (grad_range){at, at + 1};
  }
  boxes->box[0] = boxes->ranges[0];
}

static void test_ops(grad_ctx *ctx, grad_dtype dtype) {
  for (size_t i = 0; i < sizeof op_cases / sizeof *op_cases; i++) {
    grad_program *p = check_new(ctx);
    const operands o = add_operands(p, dtype);
    grad__program_output(p, op_cases[i].build(p, &o));
    for (int last = 0; last < 2 && check(p->status == GRAD_OK); last++) {
      parts boxes;
      one_element(p, last, &boxes);
      grad_program *want = sliced(p, &boxes), *got = part_of(p, &boxes);
      if (!check(want && got && same_runs(ctx, want, got, dtype == GRAD_F32 ? 1e-5 : 1e-13, i)) ||
          (!last && dtype == GRAD_F64 && !check(elements(got) == op_cases[i].computed)))
        fprintf(stderr, "  %s: %lld elements\n", op_cases[i].name, got ? (long long)elements(got) : -1);
      grad__program_release(want), grad__program_release(got);
    }
    if (p->status) fprintf(stderr, "  %s: %s\n", op_cases[i].name, grad_message(ctx));
    grad__program_release(p);
  }
}

/* --- loops: consts x; carry y, z; rows r -> y' by the case, z + y, y' r */

enum { N = 60, LENGTH = 3 };
static const int64_t vector[1] = {N};

typedef grad_id (*step_fn)(grad_program *p, grad_id x, grad_id y);

/* y[i - by], with ones where there is none. */
static grad_id shifted(grad_program *p, grad_id y, int64_t by) {
  const int64_t n = by < 0 ? -by : by, left = N - n;
  const grad_id rest = grad__slice(p, y, (const int64_t[]){by < 0 ? n : 0}, &left, (const int64_t[]){1});
  const grad_id ones = grad__full(p, 1, grad__type(p, y)->dtype, 1, &n);
  return grad__concat(p, 2, by < 0 ? (const grad_id[]){rest, ones} : (const grad_id[]){ones, rest}, 0);
}

static grad_program *loop_body(grad_ctx *ctx, step_fn step, grad_dtype dtype) {
  grad_program *q = check_new(ctx);
  grad_id in[4];
  for (int i = 0; i < 4; i++) in[i] = grad__program_input(q, dtype, 1, vector);
  const grad_id next = step(q, in[0], in[1]);
  return finished(q, 3, (const grad_id[]){next, grad__add(q, in[2], in[1]), grad__mul(q, next, in[3])});
}

static grad_id to_right(grad_program *p, grad_id x, grad_id y) { return grad__mul(p, x, shifted(p, y, 1)); }
static grad_id to_left(grad_program *p, grad_id x, grad_id y) { return grad__mul(p, x, shifted(p, y, -1)); }
static grad_id both_ways(grad_program *p, grad_id x, grad_id y) {
  return grad__add(p, to_right(p, x, y), grad__op1(p, &grad__op_tanh, shifted(p, y, -1)));
}
static grad_id in_place(grad_program *p, grad_id x, grad_id y) {
  return grad__mul(p, x, grad__op1(p, &grad__op_sin, y));
}
static grad_id mirrored(grad_program *p, grad_id x, grad_id y) { return grad__mul(p, x, grad__flip(p, y, 1)); }
static grad_id by_mean(grad_program *p, grad_id x, grad_id y) {
  return grad__mul(p, x, grad__broadcast(p, grad__mean(p, y, 1, false), 1, vector));
}
/* Where zeros stand for what is not computed, this is infinite, and so is its slope. */
static grad_id through_log(grad_program *p, grad_id x, grad_id y) {
  return grad__mul(p, x, grad__op1(p, &grad__op_log, grad__op1(p, &grad__op_square, shifted(p, y, 1))));
}
/* The same, and the infinite values are then multiplied by a matrix: rows of y' are those of y times x, one down. */
static grad_id by_matrix(grad_program *p, grad_id x, grad_id y) {
  const int64_t rows_of_y[2] = {N / 5, 5}, start[2] = {0, 0}, count[2] = {5, 5}, step[2] = {1, 1};
  const grad_id w = grad__slice(p, grad__reshape(p, x, 2, rows_of_y), start, count, step);
  const grad_id logs = grad__op1(p, &grad__op_log, grad__op1(p, &grad__op_square, shifted(p, y, 5)));
  return grad__reshape(p, grad__matmul(p, grad__reshape(p, logs, 2, rows_of_y), w, false, false), 1, vector);
}
static grad_id may_fail(grad_program *p, grad_id x, grad_id y) {
  const grad_id place = grad__full(p, 3, GRAD_I64, 1, (const int64_t[]){1});
  return grad__mul(p, x, grad__add(p, y, grad__gather(p, y, 0, place)));
}

static grad_program *nested_body(grad_ctx *ctx, grad_dtype dtype) {
  grad_program *q = check_new(ctx);
  const grad_id x = grad__program_input(q, dtype, 1, vector), y = grad__program_input(q, dtype, 1, vector);
  return finished(q, 1, (const grad_id[]){to_right(q, x, y)});
}
static grad_id in_loop(grad_program *p, grad_id x, grad_id y) {
  grad_program *body = nested_body(p->ctx, grad__type(p, y)->dtype);
  const grad_loop loop = {.body = body, .nconsts = 1, .ncarry = 1, .consts = &x, .init = &y, .length = 2};
  grad__scan(p, &loop, &y);
  grad__program_release(body);
  return y;
}
static grad_id in_checkpoint(grad_program *p, grad_id x, grad_id y) {
  grad_program *body = nested_body(p->ctx, grad__type(p, y)->dtype);
  const grad_id args[] = {x, y};
  grad__checkpoint(p, body, 2, args, &y);
  grad__program_release(body);
  return y;
}
static grad_id in_branches(grad_program *p, grad_id x, grad_id y) {
  grad_program *yes = nested_body(p->ctx, grad__type(p, y)->dtype), *no = check_new(p->ctx);
  for (int i = 0; i < 2; i++) grad__program_input_like(no, grad__type(yes, yes->inputs[i]));
  grad__program_output(no, to_left(no, no->inputs[0], no->inputs[1]));
  const grad_id args[] = {x, y}, mean = grad__mean(p, x, 1, false);
  grad__cond(p, grad__op2(p, &grad__op_gt, mean, grad__lit(p, 0, mean)), yes, no, 2, args, &y);
  grad__program_release(yes), grad__program_release(no);
  return y;
}

typedef struct loop_case {
  const char *name;
  step_fn step;
  int64_t length;
  grad_range y, row, of_row;     /* what is wanted of the last y, and of the ys */
  int64_t carry, carries, steps; /* what the loop then has: elements of y, arrays, steps */
  bool reverse;
} loop_case;

static const loop_case loop_cases[] = {
    {"a box that grows to the left", to_right, LENGTH, {50, 51}, {0, 0}, {0, 0}, 4, 1, 3, false},
    {"a box that grows to the right", to_left, LENGTH, {5, 6}, {0, 0}, {0, 0}, 4, 1, 3, false},
    {"a box that grows both ways", both_ways, LENGTH, {30, 32}, {0, 0}, {0, 0}, 8, 1, 3, false},
    {"a box that does not grow", in_place, 1000, {59, 60}, {0, 0}, {0, 0}, 1, 1, 1000, false},
    {"a box that grows to the end", to_right, 40, {5, 6}, {0, 0}, {0, 0}, 6, 1, 40, false},
    {"a box that grows over half", to_right, 40, {50, 51}, {0, 0}, {0, 0}, N, 1, 40, false},
    {"one step", to_right, 1, {50, 51}, {0, 0}, {0, 0}, 2, 1, 1, false},
    {"no step", to_right, 0, {50, 51}, {0, 0}, {0, 0}, N, 1, 0, false},
    {"negative steps, near the middle", mirrored, LENGTH, {31, 32}, {0, 0}, {0, 0}, 4, 1, 3, false},
    {"negative steps, far from the middle", mirrored, LENGTH, {50, 51}, {0, 0}, {0, 0}, N, 1, 3, false},
    {"a mean needs all", by_mean, LENGTH, {50, 51}, {0, 0}, {0, 0}, N, 1, 3, false},
    {"infinite where zeros stand", through_log, LENGTH, {50, 51}, {0, 0}, {0, 0}, 4, 1, 3, false},
    {"products of infinities, to the first row", by_matrix, LENGTH, {10, 15}, {0, 0}, {0, 0}, 15, 1, 3, false},
    {"products of infinities, far from it", by_matrix, LENGTH, {50, 51}, {0, 0}, {0, 0}, N, 1, 3, false},
    {"a step that may fail", may_fail, LENGTH, {50, 51}, {0, 0}, {0, 0}, N, 2, 3, false},
    {"rows of what each step gives", in_place, 6, {0, 0}, {2, 4}, {0, N}, N, 1, 4, false},
    {"some elements of one row", to_right, 6, {0, 0}, {1, 2}, {50, 51}, 2, 1, 2, false},
    {"from the last row to the first", in_place, 6, {0, 0}, {4, 5}, {7, 9}, 2, 1, 2, true},
    {"the last state and a row", in_place, 6, {3, 4}, {1, 2}, {7, 9}, 6, 1, 6, false},
    {"a loop in a loop", in_loop, LENGTH, {50, 51}, {0, 0}, {0, 0}, N, 1, 3, false},
    {"a loop in a loop, from the end", in_loop, LENGTH, {5, 6}, {0, 0}, {0, 0}, 6, 1, 3, false},
    {"a checkpoint in a loop", in_checkpoint, LENGTH, {5, 6}, {0, 0}, {0, 0}, 6, 1, 3, false},
    {"branches in a loop", in_branches, LENGTH, {50, 60}, {0, 0}, {0, 0}, N, 1, 3, false},
};

static grad_program *with_loop(grad_ctx *ctx, const loop_case *c, grad_dtype dtype) {
  grad_program *p = check_new(ctx), *body = loop_body(ctx, c->step, dtype);
  grad_id in[4], out[3];
  for (int i = 0; i < 3; i++) in[i] = grad__program_input(p, dtype, 1, vector);
  in[3] = grad__program_input(p, dtype, 2, (const int64_t[]){c->length, N});
  const grad_loop loop = {.body = body,
                          .nconsts = 1,
                          .ncarry = 2,
                          .nxs = 1,
                          .consts = in,
                          .init = in + 1,
                          .xs = in + 3,
                          .length = c->length,
                          .reverse = c->reverse};
  grad__scan(p, &loop, out);
  grad__program_release(body);
  return finished(p, 3, out);
}

static const grad_instr *first_loop(const grad_program *p) {
  for (int32_t i = 0; i < p->ninstrs; i++)
    if (p->instrs[i].op == &grad__op_scan || p->instrs[i].op == &grad__op_while) return &p->instrs[i];
  return NULL;
}

static void check_loop(const loop_case *c, const grad_program *p) {
  const grad_instr *ins = first_loop(p);
  if (!check(ins)) return;
  const grad_loop_view v = grad__loop_view(ins);
  bool good = check(v.ncarry == c->carries) && check(v.test || v.length == c->steps) &&
              check(grad__type_numel(grad__type(v.body, v.body->inputs[v.nconsts])) == c->carry);
  if (!good)
    fprintf(stderr, "  %d arrays, %lld steps, %lld elements\n", v.ncarry, (long long)v.length,
            (long long)grad__type_numel(grad__type(v.body, v.body->inputs[v.nconsts])));
}

static void test_loops(grad_ctx *ctx, grad_dtype dtype) {
  for (size_t i = 0; i < sizeof loop_cases / sizeof *loop_cases; i++) {
    const loop_case *c = &loop_cases[i];
    grad_program *p = with_loop(ctx, c, dtype);
    const parts boxes = {.ranges = {{c->y}, {{0, 0}}, {c->row, c->of_row}},
                         .box = {boxes.ranges[0], boxes.ranges[1], boxes.ranges[2]}};
    grad_program *want = sliced(p, &boxes), *got = part_of(p, &boxes);
    if (got) check_loop(c, got);
    if (!got || !same_everything(ctx, want, got, dtype == GRAD_F32 ? 1e-4 : 1e-10, i))
      fprintf(stderr, "  in %s\n", c->name);
    grad__program_release(p), grad__program_release(want), grad__program_release(got);
  }
}

/* --- while: y, step for step, until a count is reached; or until y has become small */

static grad_program *while_body(grad_ctx *ctx, step_fn step) {
  grad_program *q = check_new(ctx);
  const grad_id x = grad__program_input(q, GRAD_F64, 1, vector), i = grad__program_input(q, GRAD_F64, 0, NULL);
  const grad_id y = grad__program_input(q, GRAD_F64, 1, vector);
  return finished(q, 2, (const grad_id[]){grad__add(q, i, grad__lit(q, 1, i)), step(q, x, y)});
}

static grad_program *while_test(grad_ctx *ctx, bool by_size) {
  grad_program *q = check_new(ctx);
  grad__program_input(q, GRAD_F64, 1, vector);
  const grad_id i = grad__program_input(q, GRAD_F64, 0, NULL), y = grad__program_input(q, GRAD_F64, 1, vector);
  const grad_id early = grad__op2(q, &grad__op_lt, i, grad__lit(q, 4, i));
  const grad_id largest = grad__max(q, grad__op1(q, &grad__op_abs, y), 1, false);
  const grad_id large = grad__op2(q, &grad__op_gt, largest, grad__lit(q, 0.01, largest));
  return finished(q, 1, (const grad_id[]){by_size ? grad__op2(q, &grad__op_and, early, large) : early});
}

static void test_while(grad_ctx *ctx, const char *name, step_fn step, bool by_size, grad_range wanted, int64_t carry) {
  grad_program *p = check_new(ctx), *body = while_body(ctx, step), *test = while_test(ctx, by_size);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, vector), y = grad__program_input(p, GRAD_F64, 1, vector);
  const grad_id init[] = {grad__full(p, 0, GRAD_F64, 0, NULL), y};
  const grad_loop loop = {.body = body, .nconsts = 1, .ncarry = 2, .consts = &x, .init = init};
  grad_id out[2];
  grad__while_loop(p, test, &loop, out);
  finished(p, 1, out + 1);
  const parts boxes = {.ranges = {{wanted}}, .box = {boxes.ranges[0]}};
  grad_program *want = sliced(p, &boxes), *got = part_of(p, &boxes);
  const grad_instr *ins = got ? first_loop(got) : NULL;
  bool good = check(ins) && same_everything(ctx, want, got, 1e-10, 5);
  if (good) {
    const grad_loop_view v = grad__loop_view(ins);
    good = check(grad__type_numel(grad__type(v.body, v.body->inputs[v.nconsts + 1])) == carry);
  }
  if (!good) fprintf(stderr, "  in a while loop, %s\n", name);
  grad__program_release(p), grad__program_release(want), grad__program_release(got);
  grad__program_release(body), grad__program_release(test);
}

/* --- the pass */

/* The last of 400 numbers: the sum of y's row, of a loop over y. */
static grad_program *last_of_loop(grad_ctx *ctx, bool cut) {
  enum { LARGE = 400 };
  const int64_t large[1] = {LARGE}, start = LARGE - 1, rest = LARGE - 1, one = 1;
  grad_program *p = NULL, *q = NULL;
  grad_id y = GRAD_NONE;
  if (grad__program_new(ctx, &p) || grad__program_new(ctx, &q)) {
    grad__program_release(p);
    return NULL;
  }
  const grad_id init = grad__full(p, 1, GRAD_F64, 1, large);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, large); /* an input that is not the first value */
  const grad_id factor = grad__program_input(q, GRAD_F64, 1, large), state = grad__program_input(q, GRAD_F64, 1, large);
  const grad_id before = grad__slice(q, state, (const int64_t[]){0}, &rest, &one);
  const grad_id parts_of[] = {grad__full(q, 1, GRAD_F64, 1, &one), before};
  grad__program_output(q, grad__op1(q, &grad__op_sin, grad__mul(q, factor, grad__concat(q, 2, parts_of, 0))));
  const grad_loop loop = {.body = q, .nconsts = 1, .ncarry = 1, .consts = &x, .init = &init, .length = 5};
  if (!q->status) grad__scan(p, &loop, &y);
  grad__program_try(p, q->status);
  grad__program_release(q);
  if (cut) y = grad__slice(p, y, &start, &one, &one);
  grad__program_output(p, grad__sum(p, y, 1, false));
  return p;
}

/* The state that the loop of the gradient stacks has the elements that the last one depends on. */
static void test_gradient(grad_ctx *ctx) {
  grad_program *p = last_of_loop(ctx, true), *g = NULL;
  if (check(p && grad__ad_grad(p, all, &g) == GRAD_OK)) {
    const grad_instr *ins = first_loop(g);
    if (check(ins)) check(grad__type_numel(grad__type(g, ins->out)) == 6);
  }
  grad__program_release(g);
  grad__program_release(p);
}

static void test_nothing_to_do(grad_ctx *ctx) {
  grad_program *p = last_of_loop(ctx, false), *q = check_new(ctx), *out = NULL;
  check(grad__demand(p, &out) == GRAD_OK && !out);
  const int64_t large[1] = {400}, start = 3, one = 1;
  const grad_id x = grad__program_input(q, GRAD_F64, 1, large);
  grad__program_output(q, EXP_OF(q, grad__slice(q, x, &start, &one, &one)));
  check(grad__demand(q, &out) == GRAD_OK && !out);
  grad__program_release(p), grad__program_release(q);
}

static grad_status task(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_program *p = last_of_loop(ctx, true), *g = NULL;
  if (!p) return ctx->status;
  grad_status status = grad__ad_grad(p, all, &g);
  grad__program_release(g);
  grad__program_release(p);
  return status;
}

/* --- random programs */

static void test_random(grad_ctx *ctx, bool smooth, grad_dtype dtype) {
  for (uint64_t seed = 1; seed <= RANDOM_PROGRAMS; seed++) {
    random_source r = {seed};
    const random_options o = {.smooth = smooth,
                              .ninputs = 4,
                              .ninstrs = smooth ? 12 : 40,
                              .noutputs = 3,
                              .rows = 5,
                              .columns = 7,
                              .dtype = dtype,
                              .depth = 2};
    grad_program *p = random_program(ctx, seed, &o);
    parts boxes;
    random_parts(&r, p, &boxes);
    grad_program *want = sliced(p, &boxes), *got = part_of(p, &boxes);
    bool good = want && got && check(elements(got) <= elements(p));
    if (good)
      good = smooth ? same_everything(ctx, want, got, dtype == GRAD_F32 ? 1e-4 : 1e-9, seed)
                    : same_runs(ctx, want, got, 0, seed);
    if (!good) fprintf(stderr, "  for seed %llu%s\n", (unsigned long long)seed, smooth ? ", smooth" : "");
    grad__program_release(p), grad__program_release(want), grad__program_release(got);
  }
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_ops(ctx, GRAD_F64);
  test_ops(ctx, GRAD_F32);
  test_loops(ctx, GRAD_F64);
  test_loops(ctx, GRAD_F32);
  test_random(ctx, false, GRAD_F64);
  test_random(ctx, true, GRAD_F64);
  test_random(ctx, true, GRAD_F32);
  test_while(ctx, "by a count", in_place, false, (grad_range){50, 51}, 1);
  test_while(ctx, "by a count, to the end", to_right, false, (grad_range){5, 6}, 6);
  test_while(ctx, "by a count, over half", to_right, false, (grad_range){50, 51}, N);
  test_while(ctx, "by the size of the state", in_place, true, (grad_range){50, 51}, N);
  test_gradient(ctx);
  test_nothing_to_do(ctx);
  check_close(ctx);
  check_failing_alloc("demand", task, NULL);
  return check_done();
}
