/* api_fuzz.c: random sequences of calls of grad.h (libFuzzer): the bytes are the calls and their arguments, usable and
 * not. Beyond what the sanitizers see: a failure has a message and writes no result, and all memory comes back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ctx.h"
#include "program/program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLOTS = 4, IDS = 12, MOST_CALLS = 96, POLLS = 20000, LIMIT = 32 << 20 };

/* What a sequence of calls has made so far. */
typedef struct host {
  const uint8_t *at, *end;
  grad_ctx *ctx;
  grad_array *arrays[SLOTS];
  grad_program *programs[SLOTS];
  grad_id ids[SLOTS][IDS]; /* values of programs[i], the newest replacing the oldest */
  int nids[SLOTS];
  grad_function *functions[SLOTS];
  int polls;
  size_t bytes;
} host;

static void require(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "api_fuzz: %s\n", what);
  abort();
}

static int byte(host *h) { return h->at < h->end ? *h->at++ : 0; }

static void *counted(void *ud, void *block, size_t old_size, size_t new_size) {
  host *h = ud;
  void *moved = new_size > 0 ? realloc(block, new_size) : NULL;
  if (new_size == 0) free(block);
  if (moved || new_size == 0) h->bytes += new_size - old_size;
  return moved;
}

static int interrupt(void *ud) { return ++((host *)ud)->polls > POLLS; }

/* A failure has a message and leaves its result as it was. */
static void check_result(const host *h, grad_status status, const void *result) {
  require((status == GRAD_OK) == (result != NULL), "a result without success, or success without a result");
  require(status == GRAD_OK || grad_message(h->ctx)[0], "a failure without a message");
}

static int read_shape(host *h, int64_t *shape) {
  static const int64_t extents[] = {1, 2, 3, 4, 3, 2, 0, 5, 17, 300, -1, (int64_t)1 << 40, INT64_MAX, INT64_MIN};
  const int count = sizeof extents / sizeof *extents, kind = byte(h);
  const int ndim = kind < 240 ? kind % 4 : kind < 250 ? kind - 240 : kind - 252;
  for (int i = 0; i < ndim && i < 16; i++) {
    const int e = byte(h);
    shape[i] = extents[e < 224 ? e % 10 : e % count];
  }
  return ndim;
}

static grad_dtype read_dtype(host *h) {
  const int kind = byte(h);
  return (grad_dtype)(kind < 128 ? GRAD_F64 : kind < 250 ? kind % 4 : kind);
}

/* --- arrays */

static void put_array(host *h, grad_array *array) {
  const int slot = byte(h) % SLOTS;
  grad_array_free(h->arrays[slot]);
  h->arrays[slot] = array;
}

static void new_array(host *h) {
  int64_t shape[16];
  const grad_dtype dtype = read_dtype(h);
  const int ndim = read_shape(h, shape);
  grad_array *array = NULL;
  const grad_status status = grad_array_new(h->ctx, dtype, ndim, shape, &array);
  check_result(h, status, array);
  put_array(h, array);
}

/* Views of memory that is large enough for any strides chosen here. */
static void borrow_array(host *h) {
  static double memory[64];
  int64_t shape[2], strides[2];
  const int ndim = byte(h) % 3;
  for (int i = 0; i < ndim; i++) {
    shape[i] = byte(h) % 6;
    strides[i] = byte(h) % 6;
  }
  grad_array *array = NULL;
  const grad_status status =
      grad_array_borrow(h->ctx, memory, GRAD_F64, ndim, shape, strides, byte(h) % 2, NULL, NULL, &array);
  check_result(h, status, array);
  put_array(h, array);
}

/* Floats anywhere, positions small. */
static void fill_array(host *h) {
  const grad_array *array = h->arrays[byte(h) % SLOTS];
  const int value = byte(h);
  if (!array || grad_array_dtype(array) == GRAD_BOOL) return;
  const int64_t *strides = grad_array_strides(array), *shape = grad_array_shape(array);
  int64_t expected = 1;
  for (int i = grad_array_ndim(array) - 1; i >= 0; expected *= shape[i--])
    if (strides[i] != expected) return;
  for (int64_t i = 0; i < grad_array_numel(array) && i < 100000; i++) {
    if (grad_array_dtype(array) == GRAD_F64) ((double *)grad_array_data(array))[i] = value - 100 + (double)i / 8;
    if (grad_array_dtype(array) == GRAD_F32) ((float *)grad_array_data(array))[i] = (float)(value - 100);
    if (grad_array_dtype(array) == GRAD_I64) ((int64_t *)grad_array_data(array))[i] = value % 8 - 2;
  }
}

/* --- programs */

static void put_program(host *h, grad_program *program) {
  const int slot = byte(h) % SLOTS;
  grad_program_free(h->programs[slot]);
  h->programs[slot] = program;
  h->nids[slot] = 0;
}

static void new_program(host *h) {
  grad_program *program = NULL;
  const grad_status status = grad_program_new(h->ctx, &program);
  check_result(h, status, program);
  put_program(h, program);
}

/* A value of the program, mostly. */
static grad_id read_id(host *h, int slot) {
  const int kind = byte(h), count = h->nids[slot] < IDS ? h->nids[slot] : IDS;
  if (kind >= 252) return kind - 254;
  return count > 0 ? h->ids[slot][kind % count] : GRAD_NONE;
}

static void put_id(host *h, int slot, grad_id id) {
  if (id == GRAD_NONE) return;
  require(grad_program_check(h->programs[slot]) == GRAD_OK, "a value of a program that failed");
  h->ids[slot][h->nids[slot]++ % IDS] = id;
}

static grad_id apply(host *h, grad_program *p, int slot) {
  static const char *const names[] = {"add", "mul",   "sub",  "div",  "sin",   "exp",    "log",     "where",
                                      "lt",  "tanh",  "sqrt", "pow",  "atan2", "lgamma", "maximum", "abs",
                                      "",    "floor", "and",  "sign", "erf",   "mod",    "no_such", "neg"};
  const char *name = names[byte(h) % (int)(sizeof names / sizeof *names)];
  grad_id operands[3];
  const int n = byte(h) % 4;
  for (int i = 0; i < n; i++) operands[i] = read_id(h, slot);
  return grad_apply(p, name, n, operands);
}

static grad_id reduce(host *h, grad_program *p, int slot) {
  static grad_id (*const reductions[])(grad_program *, grad_id, uint32_t, int) = {grad_sum, grad_mean, grad_max,
                                                                                  grad_min, grad_prod, grad_logsumexp};
  const int which = byte(h) % (int)(sizeof reductions / sizeof *reductions), axes = byte(h);
  return reductions[which](p, read_id(h, slot), axes < 200 ? (uint32_t)axes % 4 : (uint32_t)axes << 24, byte(h) % 2);
}

static grad_id slice(host *h, grad_program *p, int slot) {
  int64_t start[GRAD_MAX_AXES], count[GRAD_MAX_AXES], step[GRAD_MAX_AXES];
  for (int i = 0; i < GRAD_MAX_AXES; i++) {
    start[i] = byte(h) % 5 - (byte(h) == 255);
    count[i] = byte(h) == 255 ? INT64_MAX : byte(h) % 4;
    step[i] = byte(h) % 4 - 1;
  }
  return grad_slice(p, read_id(h, slot), start, count, step);
}

static grad_id permute(host *h, grad_program *p, int slot) {
  int axes[GRAD_MAX_AXES];
  for (int i = 0; i < GRAD_MAX_AXES; i++) axes[i] = byte(h) < 250 ? byte(h) % 3 : byte(h) - 100;
  return grad_permute(p, read_id(h, slot), axes);
}

static grad_id concat(host *h, grad_program *p, int slot) {
  grad_id parts[4];
  const int n = byte(h) % 5;
  for (int i = 0; i < n; i++) parts[i] = read_id(h, slot);
  return grad_concat(p, n, parts, byte(h) % 4 - 1);
}

static grad_status host_infer(void *user, const grad_host_type *in, grad_host_type *out) {
  (void)user;
  if (in[0].dtype != GRAD_F64) return GRAD_EDTYPE;
  out[0] = in[0];
  return GRAD_OK;
}

static grad_status host_eval(void *user, const grad_array *const *in, grad_array *const *out) {
  (void)user;
  const double *x = grad_array_data(in[0]);
  double *y = grad_array_data(out[0]);
  for (int64_t i = 0; i < grad_array_numel(out[0]); i++) y[i] = x[i] * 3;
  return GRAD_OK;
}

static grad_status host_rule(void *user, const grad_array *const *in, grad_array *const *out) {
  return host_eval(user, in + 1, out);
}

static grad_id call_host(host *h, grad_program *p, int slot) {
  static const grad_host_op ops[] = {
      {sizeof ops[0], "triple", 1, 1, NULL, host_infer, host_eval, host_rule, host_rule},
      {sizeof ops[0], "reverse_only", 1, 1, NULL, host_infer, host_eval, NULL, host_rule},
      {sizeof ops[0], "no_rule", 1, 1, NULL, host_infer, host_eval, NULL, NULL},
      {sizeof ops[0], "no_value", 1, 1, NULL, host_infer, NULL, NULL, NULL},
      {0, "no_size", 1, 1, NULL, host_infer, host_eval, NULL, NULL},
  };
  const grad_id arg = read_id(h, slot);
  grad_id result;
  grad_host_call(p, &ops[byte(h) % 5], &arg, &result);
  return result;
}

static grad_id reshape(host *h, grad_program *p, int slot) {
  int64_t shape[16];
  const grad_id x = read_id(h, slot);
  const int ndim = read_shape(h, shape);
  return byte(h) % 2 ? grad_reshape(p, x, ndim, shape) : grad_broadcast_to(p, x, ndim, shape);
}

static grad_id input(host *h, grad_program *p, int slot) {
  (void)slot;
  int64_t shape[16];
  const grad_dtype dtype = read_dtype(h);
  return grad_input(p, dtype, read_shape(h, shape), shape);
}

static grad_id number(host *h, grad_program *p, int slot) {
  (void)slot;
  return grad_number(p, (byte(h) - 128) / 4.0);
}

static grad_id softmax(host *h, grad_program *p, int slot) {
  return grad_softmax(p, read_id(h, slot), byte(h) % 5 - 1);
}
static grad_id matmul(host *h, grad_program *p, int slot) {
  const grad_id a = read_id(h, slot);
  return grad_matmul(p, a, read_id(h, slot));
}
static grad_id take(host *h, grad_program *p, int slot) {
  const grad_id x = read_id(h, slot);
  return grad_take(p, x, read_id(h, slot), byte(h) % 4 - 1);
}
static grad_id convert(host *h, grad_program *p, int slot) { return grad_convert(p, read_id(h, slot), read_dtype(h)); }

static void build(host *h) {
  static grad_id (*const builders[])(host *, grad_program *, int) = {input,   apply,  apply,     reduce,  slice,
                                                                     permute, concat, call_host, reshape, number,
                                                                     softmax, matmul, take,      convert, input};
  const int slot = byte(h) % SLOTS, which = byte(h) % (int)(sizeof builders / sizeof *builders);
  if (h->programs[slot]) put_id(h, slot, builders[which](h, h->programs[slot], slot));
}

static void output(host *h) {
  const int slot = byte(h) % SLOTS;
  if (h->programs[slot]) grad_output(h->programs[slot], read_id(h, slot));
}

static void derive(host *h) {
  static grad_status (*const derivatives[])(const grad_program *, const uint8_t *, grad_program **) = {
      grad_gradient, grad_jvp_of, grad_vjp_of, grad_hvp_of, grad_jacobian_of, grad_hessian_of};
  const grad_program *p = h->programs[byte(h) % SLOTS];
  uint8_t wrt[256];
  memset(wrt, byte(h) % 2, sizeof wrt);
  wrt[0] = (uint8_t)(byte(h) % 2);
  const uint8_t *flags = byte(h) % 2 ? wrt : NULL;
  grad_program *made = NULL;
  if (!p || p->ninputs > (int)sizeof wrt) return;
  const int which = byte(h) % 7;
  const grad_status status =
      which < 6 ? derivatives[which](p, flags, &made) : grad_vmap_of(p, byte(h) % 5 - 1, flags, &made);
  check_result(h, status, made);
  put_program(h, made);
}

/* --- running */

enum { MOST_ARRAYS = 48 };

/* An array for each value; false when memory does not allow it. */
static bool make_arrays(host *h, const grad_program *p, int n, const grad_id *values, grad_array **out) {
  for (int i = 0; i < n; i++) {
    const grad_type *t = grad__type(p, values[i]);
    if (grad_array_new(h->ctx, t->dtype, t->ndim, t->shape, &out[i]) != GRAD_OK) return false;
  }
  return true;
}

/* Runs p's function twice on arrays of the right types; both runs must end alike. */
static void run_fitting(host *h, grad_function *f, const grad_program *p) {
  if (p->ninputs > MOST_ARRAYS || p->noutputs > MOST_ARRAYS) return;
  grad_array *in[MOST_ARRAYS] = {NULL}, *out[MOST_ARRAYS] = {NULL};
  if (make_arrays(h, p, p->ninputs, p->inputs, in) && make_arrays(h, p, p->noutputs, p->outputs, out)) {
    const grad_status first = grad_run(f, (const grad_array *const *)in, out);
    const grad_status second = grad_run(f, (const grad_array *const *)in, out);
    require(first == second || second == GRAD_EINTERRUPT || first == GRAD_ELIMIT, "two runs of one function differ");
    require(first == GRAD_OK || grad_message(h->ctx)[0], "a failure without a message");
  }
  for (int i = 0; i < MOST_ARRAYS; i++) {
    grad_array_free(in[i]);
    grad_array_free(out[i]);
  }
}

static void compile(host *h) {
  grad_program *p = h->programs[byte(h) % SLOTS];
  const int slot = byte(h) % SLOTS;
  if (!p) return;
  grad_function *function = NULL;
  const grad_status status = grad_compile(p, &function);
  check_result(h, status, function);
  if (function) run_fitting(h, function, p);
  grad_function_free(h->functions[slot]);
  h->functions[slot] = function;
}

/* With whatever arrays there are: most calls are refused, some run. */
static void run(host *h) {
  grad_function *f = h->functions[byte(h) % SLOTS];
  const grad_array *in[MOST_ARRAYS];
  grad_array *out[MOST_ARRAYS];
  if (!f || grad_function_inputs(f) > MOST_ARRAYS || grad_function_outputs(f) > MOST_ARRAYS) return;
  for (int i = 0; i < grad_function_inputs(f); i++)
    if (!(in[i] = h->arrays[byte(h) % SLOTS])) return;
  for (int i = 0; i < grad_function_outputs(f); i++)
    if (!(out[i] = h->arrays[byte(h) % SLOTS])) return;
  const grad_status status = grad_run(f, in, out);
  require(status == GRAD_OK || grad_message(h->ctx)[0], "a failure without a message");
}

static void set_threads(host *h) { grad_ctx_set_threads(h->ctx, byte(h) % 4 - 1); }

static void close(host *h) {
  for (int i = 0; i < SLOTS; i++) {
    grad_function_free(h->functions[i]);
    grad_program_free(h->programs[i]);
    grad_array_free(h->arrays[i]);
  }
  grad_ctx_free(h->ctx);
  require(h->bytes == 0, "memory stayed allocated");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static void (*const calls[])(host *) = {build, build,   build,  build,        build,       output,
                                          run,   compile, derive, new_array,    new_program, fill_array,
                                          build, build,   build,  borrow_array, set_threads};
  host h = {.at = data, .end = data + size};
  const grad_config config = {
      .alloc = counted, .alloc_ud = &h, .byte_limit = LIMIT, .interrupt = interrupt, .interrupt_ud = &h};
  if (grad_ctx_new(&config, &h.ctx) != GRAD_OK) return 0;
  require(grad_program_new(h.ctx, &h.programs[0]) == GRAD_OK, "a context without room for a program");
  for (int i = 0; i < MOST_CALLS && h.at < h.end; i++) calls[byte(&h) % (int)(sizeof calls / sizeof *calls)](&h);
  close(&h);
  return 0;
}
