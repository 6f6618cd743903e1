/* rows_random.c: generators and draws. A generator is two integers, a key and a counter of blocks; a draw is a pure
 * function of both, and moves the counter on.
 *
 * Draws run at once, except inside gl.jit, gl.vmap and the bodies of staged loops: there they are recorded, with the
 * generator's state as an input, so that each call of the staged function, each example, and each step, draws numbers
 * of its own. */
#include <math.h>
#include <string.h>

#include "lua/call.h"
#include "core/rng.h"
#include "lua/ops/random.h"
#include "lua/trace.h"
#include "ops/compose.h"

static const char name[] = "gradlua.generator";

grad_generator *grad__generator_default(lua_State *L) { return &grad__lua(L)->generator; }

static grad_generator *to_generator(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TUSERDATA ? luaL_testudata(L, index, name) : NULL;
}

/* Pushes the i64 tensor {key, counter}. */
static void push_pair(lua_State *L, uint64_t key, uint64_t counter) {
  const int64_t two = 2;
  int64_t *at = grad__tensor_new(L, GRAD_I64, 1, &two)->data;
  at[0] = (int64_t)key, at[1] = (int64_t)counter;
}

/* --- draws */

/* A draw reads its arguments from `first` on: the generator may stand before them. */
typedef struct draw {
  lua_State *L;
  grad_call *c;
  grad_generator *generator;
  int first;
  grad_id state;
  int64_t offset; /* blocks that the program drew before */
} draw;

static void begin(lua_State *L, draw *d) {
  d->L = L;
  d->generator = to_generator(L, 1);
  d->first = d->generator ? 2 : 1;
  if (!d->generator) d->generator = grad__generator_default(L);
  grad_trace *t = grad__trace_drawing(L, d->generator);
  d->c = t ? grad__call_begin_in(L, t) : grad__call_begin(L);
  if (t) {
    d->state = grad__trace_generator(L, t, d->generator, d->first == 2 ? 1 : 0, &d->offset);
    return;
  }
  push_pair(L, d->generator->key, d->generator->counter);
  d->state = grad__call_capture(d->c, lua_gettop(L));
  d->offset = 0;
}

static void move(grad_trace *t, grad_generator *g, int64_t blocks) {
  if (t)
    grad__trace_draw(t, g, blocks);
  else
    g->counter += (uint64_t)blocks;
}

/* The generator moves on by what a draw of numel elements used. */
static void advance(draw *d, const grad_op *op, int64_t numel) {
  move(d->c->trace, d->generator, grad__random_blocks(op, numel));
}

static void draw_shape(const draw *d, int first, grad_shape *shape) {
  int last = d->c->nargs;
  if (last == first && lua_istable(d->L, first) && !d->c->options) grad__options_at(d->L, first);
  grad__arg_shape(d->L, first, last, false, shape);
}

static int64_t numel_of(lua_State *L, const grad_shape *shape) {
  int64_t n;
  if (!grad__shape_numel(shape->ndim, shape->at, &n)) grad__lua_error(L, "the shape has too many elements");
  return n;
}

/* The dtype may stand in the shape's own table: randn{2, 3, dtype = "f32"}. */
static grad_dtype draw_dtype(const draw *d) {
  int options = d->c->options;
  if (!options && lua_istable(d->L, d->first)) options = d->first;
  grad_dtype dtype = grad__option_dtype(d->L, options, GRAD_F64);
  if (!grad__dtype_is_float(dtype)) grad__lua_error(d->L, "dtype must be \"f64\" or \"f32\"");
  return dtype;
}

static int finish(draw *d, grad_id id) {
  grad__call_return(d->c, id);
  return grad__call_finish(d->c);
}

typedef grad_id (*real_draw)(grad_program *, grad_id, int64_t, grad_dtype, int, const int64_t *);

static int draw_reals(lua_State *L, real_draw build, const grad_op *op) {
  draw d;
  grad_shape s;
  begin(L, &d);
  draw_shape(&d, d.first, &s);
  grad_id x = build(d.c->p, d.state, d.offset, draw_dtype(&d), s.ndim, s.at);
  advance(&d, op, numel_of(L, &s));
  return finish(&d, x);
}

static int rand_uniform(lua_State *L) { return draw_reals(L, grad__random_uniform, &grad__op_random_uniform); }
static int rand_normal(lua_State *L) { return draw_reals(L, grad__random_normal, &grad__op_random_normal); }

/* lo, hi, shape: both ends included */
static int rand_int(lua_State *L) {
  draw d;
  grad_shape s;
  begin(L, &d);
  int64_t low = grad__arg_integer(L, d.first, "the lower end"),
          high = grad__arg_integer(L, d.first + 1, "the upper end");
  if (low > high) grad__lua_error(L, "the range %lld .. %lld is empty", (long long)low, (long long)high);
  draw_shape(&d, d.first + 2, &s);
  grad_id x = grad__random_integers(d.c->p, d.state, d.offset, low, high, s.ndim, s.at);
  advance(&d, &grad__op_random_integers, numel_of(L, &s));
  return finish(&d, x);
}

static grad_id permutation(draw *d, int64_t n) {
  if (n < 0) grad__lua_error(d->L, "n must not be negative, got %lld", (long long)n);
  grad_id x = grad__random_permutation(d->c->p, d->state, d->offset, n);
  advance(d, &grad__op_random_permutation, n);
  return x;
}

static int rand_perm(lua_State *L) {
  draw d;
  begin(L, &d);
  grad_id x = permutation(&d, grad__arg_integer(L, d.first, "n"));
  return finish(&d, grad__add(d.c->p, x, grad__full(d.c->p, 1, GRAD_I64, 0, NULL)));
}

/* p, shape: 1 with probability p, else 0; a tensor p gives each its own */
static int bernoulli(lua_State *L) {
  draw d;
  grad_shape s;
  begin(L, &d);
  const grad_tensor *each = grad__tensor_to(L, d.first);
  if (each && d.c->nargs <= d.first) {
    s.ndim = each->array.ndim;
    memcpy(s.at, each->array.shape, sizeof s.at);
  } else {
    draw_shape(&d, d.first + 1, &s);
  }
  if (!each) {
    double p = grad__arg_number(L, d.first, "p");
    if (!(p >= 0 && p <= 1)) grad__lua_error(L, "p = %g is no probability", p);
  }
  grad_dtype dtype = grad__option_dtype(L, d.c->options, GRAD_F64);
  grad_id u = grad__random_uniform(d.c->p, d.state, d.offset, GRAD_F64, s.ndim, s.at);
  advance(&d, &grad__op_random_uniform, numel_of(L, &s));
  grad_id hit = grad__op2(d.c->p, &grad__op_lt, u, grad__call_value(d.c, d.first, "p"));
  return finish(&d, grad__convert(d.c->p, hit, dtype));
}

/* x, n: n rows of x (or numbers from 1 .. x) drawn at random */
static int choice(lua_State *L) {
  draw d;
  begin(L, &d);
  const grad_tensor *x = grad__tensor_to(L, d.first);
  int64_t extent = x ? (x->array.ndim ? x->array.shape[0] : 0) : grad__arg_integer(L, d.first, "the first argument");
  int64_t n = grad__arg_integer_or(L, d.first + 1, "the number of draws", 1), zero = 0, one = 1;
  bool replace = grad__option_boolean(L, d.c->options, "replace", true);
  if (extent < 1) grad__lua_error(L, "there is nothing to choose from");
  if (n < 0) grad__lua_error(L, "the number of draws must not be negative, got %lld", (long long)n);
  if (!replace && n > extent)
    grad__lua_error(L, "cannot draw %lld of %lld without replacement", (long long)n, (long long)extent);
  grad_id at;
  if (replace) {
    at = grad__random_integers(d.c->p, d.state, d.offset, 0, extent - 1, 1, &n);
    advance(&d, &grad__op_random_integers, n);
  } else {
    at = grad__slice(d.c->p, permutation(&d, extent), &zero, &n, &one);
  }
  if (x) return finish(&d, grad__take(d.c->p, grad__call_capture(d.c, d.first), at, 0));
  return finish(&d, grad__add(d.c->p, at, grad__full(d.c->p, 1, GRAD_I64, 0, NULL)));
}

/* --- generators */

/* Example i begins i * blocks after the generator's place. */
static void push_known_states(lua_State *L, grad_generator *g, int64_t blocks, int64_t size) {
  int64_t *at = grad__tensor_new(L, GRAD_I64, 2, (const int64_t[]){size, 2})->data;
  for (int64_t i = 0; i < size; i++) {
    at[2 * i] = (int64_t)g->key;
    at[2 * i + 1] = (int64_t)(g->counter + (uint64_t)(i * blocks));
  }
  g->counter += (uint64_t)(size * blocks);
}

void grad__generator_push_states(lua_State *L, const grad_trace *t, int k, int64_t size) {
  grad_generator *const g = t->drawn[k].generator;
  const int64_t blocks = t->drawn[k].blocks;
  grad_trace *outer = grad__trace_drawing(L, g);
  if (!outer) {
    push_known_states(L, g, blocks, size);
    return;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->captures);
  lua_rawgeti(L, -1, t->drawn[k].state);
  grad_program *p = outer->p;
  int64_t offset = 0;
  const grad_id state = grad__trace_generator(L, outer, g, lua_isnil(L, -1) ? 0 : lua_gettop(L), &offset);
  grad_id steps = grad__iota(p, GRAD_I64, 2, (const int64_t[]){size, 1}, 0);
  steps = grad__mul(p, steps, grad__full(p, (double)blocks, GRAD_I64, 0, NULL));
  steps = grad__add(p, steps, grad__full(p, (double)offset, GRAD_I64, 0, NULL));
  steps = grad__pad(p, steps, (const int64_t[]){0, 1}, (const int64_t[]){0, 0}, 0);
  grad__trace_draw(outer, g, size * blocks);
  grad__trace_push(L, outer, grad__add(p, steps, state));
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* --- states for nested programs */

void grad__generator_push_state(lua_State *L, grad_generator *g, int index) {
  grad_trace *t = grad__trace_drawing(L, g);
  if (!t) {
    push_pair(L, g->key, g->counter);
    return;
  }
  int64_t offset;
  const grad_id state = grad__trace_generator(L, t, g, index, &offset);
  grad__trace_push(L, t, grad__random_state_after(t->p, state, offset));
}

/* Its key is the integer that randint over all integers would draw. */
void grad__generator_push_stream(lua_State *L, grad_generator *g, int index) {
  grad_trace *t = grad__trace_drawing(L, g);
  if (t) {
    int64_t offset;
    const grad_id state = grad__trace_generator(L, t, g, index, &offset);
    grad__trace_push(L, t, grad__random_stream(t->p, state, offset));
  } else {
    uint32_t words[4];
    grad__rng_block(g->key, g->counter, words);
    push_pair(L, (UINT64_C(1) << 63) + ((uint64_t)words[0] << 32 | words[1]), 0);
  }
  move(t, g, 1);
}

void grad__generator_move(lua_State *L, grad_generator *g, int64_t blocks) {
  move(grad__trace_drawing(L, g), g, blocks);
}

/* --- generators as Lua sees them */

static int make_generator(lua_State *L) {
  int64_t seed = grad__arg_integer(L, 1, "the seed");
  grad_generator *g = lua_newuserdatauv(L, sizeof *g, 0);
  *g = (grad_generator){.key = (uint64_t)seed, .born = grad__lua(L)->serial};
  luaL_setmetatable(L, name);
  return 1;
}

static grad_generator *self(lua_State *L) {
  grad_generator *g = to_generator(L, 1);
  if (!g) grad__arg_error(L, 1, "the first argument", "a generator");
  return g;
}

/* Raises where a function that draws from the generator is recorded: what is done would happen only once. */
static grad_generator *unrecorded(lua_State *L, grad_generator *g) {
  const grad_trace *t = grad__trace_drawing(L, g);
  if (t)
    grad__lua_error(L,
                    "a generator from outside can only be drawn from inside gl.%s: this would happen once, while the "
                    "function is recorded",
                    t->staged_by);
  return g;
}

static int manual_seed(lua_State *L) {
  grad_generator *g = unrecorded(L, grad__generator_default(L));
  *g = (grad_generator){.key = (uint64_t)grad__arg_integer(L, 1, "the seed")};
  return 0;
}

static int reseed(lua_State *L) {
  grad_generator *g = unrecorded(L, self(L));
  g->key = (uint64_t)grad__arg_integer(L, 2, "the seed"), g->counter = 0;
  lua_settop(L, 1);
  return 1;
}

/* A generator whose stream has nothing to do with this one's, which moves on by a block. */
static int split(lua_State *L) {
  grad_generator *from = unrecorded(L, self(L)), *g = lua_newuserdatauv(L, sizeof *g, 0);
  uint32_t words[4];
  grad__rng_block(from->key, from->counter++, words);
  *g = (grad_generator){.key = (uint64_t)words[0] << 32 | words[1], .born = from->born};
  luaL_setmetatable(L, name);
  return 1;
}

static int get_state(lua_State *L) {
  const grad_generator *g = unrecorded(L, self(L));
  lua_createtable(L, 0, 2);
  grad__set_integer(L, "key", (int64_t)g->key);
  grad__set_integer(L, "counter", (int64_t)g->counter);
  return 1;
}

static int set_state(lua_State *L) {
  grad_generator *g = unrecorded(L, self(L));
  if (!lua_istable(L, 2)) grad__arg_error(L, 2, "the state", "a table that generator:state() gave");
  lua_getfield(L, 2, "key");
  lua_getfield(L, 2, "counter");
  g->key = (uint64_t)grad__arg_integer(L, -2, "key"), g->counter = (uint64_t)grad__arg_integer(L, -1, "counter");
  lua_settop(L, 1);
  return 1;
}

static int to_text(lua_State *L) {
  const grad_generator *g = self(L);
  lua_pushfstring(L, "generator (key %I, counter %I)", (LUAI_UACINT)g->key, (LUAI_UACINT)g->counter);
  return 1;
}

#define DRAWS                                                                                                          \
  GRAD_FUNCTION("rand", rand_uniform, "shape... [, {dtype = \"f64\"}] -> tensor", "uniform in [0, 1)"),                \
      GRAD_FUNCTION("randn", rand_normal, "shape... [, {dtype = \"f64\"}] -> tensor", "standard normal"),              \
      GRAD_FUNCTION("randint", rand_int, "lo, hi [, shape] -> i64 tensor", "integers lo .. hi, both included"),        \
      GRAD_FUNCTION("randperm", rand_perm, "n -> i64 tensor", "1 .. n in random order"),                               \
      GRAD_METHOD("bernoulli", bernoulli, "p [, shape] [, {dtype = \"f64\"}] -> tensor",                               \
                  "1 with probability p, else 0"),                                                                     \
      GRAD_METHOD("choice", choice, "x [, n = 1] [, {replace = true}] -> tensor",                                      \
                  "n rows of x, or numbers from 1 .. x, at random")

static const grad_fn rows[] = {
    DRAWS,
    GRAD_FUNCTION("manual_seed", manual_seed, "n", "seeds the generator that gl.rand and the others use"),
    GRAD_FUNCTION("generator", make_generator, "seed -> generator", "a generator of its own, with the same methods"),
    GRAD_FN_END,
};

static const grad_fn methods[] = {
    DRAWS,
    GRAD_FUNCTION("manual_seed", reseed, "n -> self", "starts again from a seed"),
    GRAD_FUNCTION("split", split, "-> generator", "a new generator with an independent stream"),
    GRAD_FUNCTION("state", get_state, "-> table", "where the stream stands"),
    GRAD_FUNCTION("set_state", set_state, "state -> self", "goes back to a state"),
    {.name = "__tostring", .call = to_text},
    GRAD_FN_END,
};

void grad__open_rows_random(lua_State *L) {
  grad__lua_register(L, rows);
  grad__lua_metatable(L, name, methods);
  lua_pop(L, 1);
}
