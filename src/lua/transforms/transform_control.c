/* transform_control.c: recording the instructions with nested programs, from bodies (body.h) and lists of leaves. Each
 * function gives the list of the results' leaves. Called by lua/gradlua/control.lua, which checks what it passes. */
#include "ad/control.h"

#include <string.h>

#include "lua/transforms/body.h"
#include "lua/modules.h"
#include "lua/ops/random.h"

/* Ids of the values of several lists, one after the other; `types` are those of the inputs of the nested programs. */
typedef struct operands {
  grad_call *c;
  grad_id *ids;
  grad_type *types;
  int32_t *at; /* room for one entry an operand, for grad__program_wrap */
  int32_t n;
} operands;

/* Begins a call whose arguments from `first` to `last` are lists of values. */
static operands begin(lua_State *L, int first, int last) {
  lua_Unsigned n = 0;
  for (int i = first; i <= last; i++) n += lua_rawlen(L, i);
  operands o = {.c = grad__call_begin(L)};
  o.ids = lua_newuserdatauv(L, (n + 1) * (sizeof *o.ids + sizeof *o.at), 0);
  o.types = lua_newuserdatauv(L, (2 * n + 1) * sizeof *o.types, 0);
  o.at = o.ids + n + 1;
  for (int i = first; i <= last; i++)
    for (lua_Integer k = 1; k <= (lua_Integer)lua_rawlen(L, i); k++) {
      lua_rawgeti(L, i, k); /* stays, so that its memory does until the program has run */
      luaL_checkstack(L, 8, "too many values");
      const bool tensor = grad__tensor_to(L, -1) != NULL;
      o.ids[o.n++] = tensor ? grad__call_capture(o.c, lua_gettop(L)) : grad__call_value(o.c, lua_gettop(L), "a value");
    }
  for (int32_t i = 0; i < o.n; i++) {
    if (o.ids[i] == GRAD_NONE) grad__lua_check(L, o.c->p->status);
    o.types[i] = *grad__call_type(o.c, o.ids[i]);
  }
  return o;
}

static int32_t count(lua_State *L, int list) { return (int32_t)lua_rawlen(L, list); }

static int finish(operands *o, int32_t n, const grad_id *out) {
  for (int32_t k = 0; k < n; k++) grad__call_return(o->c, out[k]);
  o->c->list = true;
  return grad__call_finish(o->c);
}

/* Does the plain function give a number as leaf k of its results? */
static bool gives_number(lua_State *L, int body, int32_t k) {
  lua_getiuservalue(L, body, GRAD_BODY_NUMBERS);
  lua_rawgeti(L, -1, k + 1);
  const bool number = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return number;
}

/* The first n leaves of the list on top are numbers where the body at stack index `body` gives numbers, and so does the
 * one at `other` (0: none), and the leaf in the list at `init` (0: none) is one. */
static int weaken(lua_State *L, int32_t n, int body, int other, int init) {
  for (int32_t k = 0; k < n; k++) {
    bool number = gives_number(L, body, k) && (!other || gives_number(L, other, k));
    if (init) {
      lua_rawgeti(L, init, k + 1);
      number = number && grad__trace_is_number(L, -1);
      lua_pop(L, 1);
    }
    lua_rawgeti(L, -1, k + 1);
    grad_tensor *x = grad__tensor_to(L, -1);
    if (grad__tensor_is_traced(x)) {
      x->weak = number;
    } else if (number) {
      grad__tensor_push_element(L, &x->array, NULL);
      lua_rawseti(L, -3, k + 1);
    }
    lua_pop(L, 1);
  }
  return 1;
}

/* --- generators that nested programs draw from */

/* Each once, with the most that a program draws from it. */
typedef struct streams {
  int n;
  grad_drawn at[GRAD_MOST_DRAWN];
} streams;

static int find_stream(const streams *s, const grad_generator *g) {
  int i = 0;
  while (i < s->n && s->at[i].generator != g) i++;
  return i;
}

/* Adds the generators of the body at stack index `body`; their states go to the end of the list at `list`. */
static void add_streams(lua_State *L, streams *s, int body, int list,
                        void (*push)(lua_State *L, grad_generator *g, int index)) {
  const grad_body *b = grad__body_check(L, body);
  lua_getiuservalue(L, body, GRAD_BODY_GENERATORS);
  for (int k = 0; k < b->ndrawn; k++) {
    const int i = find_stream(s, b->drawn[k].generator);
    if (i < s->n) {
      if (s->at[i].blocks < b->drawn[k].blocks) s->at[i].blocks = b->drawn[k].blocks;
      continue;
    }
    if (s->n == GRAD_MOST_DRAWN) grad__lua_error(L, "a staged function can use at most %d generators", s->n);
    lua_rawgeti(L, -1, k + 1);
    push(L, b->drawn[k].generator, lua_toboolean(L, -1) ? lua_gettop(L) : 0);
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
    lua_pop(L, 1);
    s->at[s->n++] = b->drawn[k];
  }
  lua_pop(L, 1);
}

/* The generators have drawn that so many times. */
static void move_streams(lua_State *L, const streams *s, int64_t times) {
  for (int i = 0; i < s->n; i++) grad__generator_move(L, s->at[i].generator, times * s->at[i].blocks);
}

static grad_id *results(lua_State *L, int32_t n) { return lua_newuserdatauv(L, ((size_t)n + 1) * sizeof(grad_id), 0); }

/* Where the inputs of a body stand among those of its instruction: the leaves, those from number `nfirst` on apart
 * (rows of a scan); what it captured; the states of generators, in the order of the streams. */
typedef struct places {
  int32_t leaves, nfirst, rows, captured, states;
} places;

/* Pushes the box of the body's program with inputs of n types. */
static grad_program *wrapped(lua_State *L, const grad_body *b, int32_t n, const grad_type *types, int32_t *at,
                             places to, const streams *s) {
  grad_program **box = grad__program_box(L);
  for (int32_t i = 0; i < b->p->ninputs; i++) {
    const int k = grad__body_generator(b, i);
    if (i < b->nleaves)
      at[i] = i < to.nfirst ? to.leaves + i : to.rows + i - to.nfirst;
    else
      at[i] = k < 0 ? to.captured++ : to.states + find_stream(s, b->drawn[k].generator);
  }
  grad__lua_check(L, grad__program_wrap(b->p, n, types, at, box));
  return *box;
}

/* The same for a body whose leaves come first and that draws nothing in it. */
static grad_program *wrapped_call(lua_State *L, const grad_body *b, const operands *o, int32_t captured) {
  const places to = {.nfirst = b->nleaves, .captured = captured};
  return wrapped(L, b, o->n, o->types, o->at, to, &(streams){0});
}

/* cond(predicate, yes, no, leaves, captured by yes, captured by no) */
static int emit_cond(lua_State *L) {
  const grad_body *yes = grad__body_check(L, 2), *no = grad__body_check(L, 3);
  const int32_t leaves = count(L, 4), first = count(L, 5), second = count(L, 6);
  streams s = {0};
  lua_newtable(L);
  for (int body = 2; body <= 3; body++) add_streams(L, &s, body, 7, grad__generator_push_state);
  operands o = begin(L, 4, 7);
  grad_id predicate = grad__call_value(o.c, 1, "the predicate");
  places to = {.nfirst = leaves, .captured = leaves, .states = leaves + first + second};
  grad_program *a = wrapped(L, yes, o.n, o.types, o.at, to, &s);
  to.captured += first;
  grad_program *b = wrapped(L, no, o.n, o.types, o.at, to, &s);
  grad_id *out = results(L, a->noutputs);
  grad__cond(o.c->p, predicate, a, b, o.n, o.ids, out);
  finish(&o, a->noutputs, out);
  move_streams(L, &s, 1);
  return weaken(L, a->noutputs, 2, 3, 0);
}

/* The types of a loop's body: consts, carry (its leaves, then the states of generators), rows. */
static const grad_type *loop_types(const operands *o, const grad_body *b, int32_t nconsts, int32_t nleaves,
                                   int nstates) {
  grad_type *types = o->types + o->n, *to = types;
  const int32_t first = o->n - nconsts;
  for (int32_t i = 0; i < nconsts; i++) *to++ = o->types[first + i];
  for (int32_t i = 0; i < b->nleaves; i++) {
    for (int k = 0; i == nleaves && k < nstates; k++) *to++ = o->types[nleaves + k];
    *to++ = *grad__type(b->p, b->p->inputs[i]);
  }
  for (int k = 0; nleaves == b->nleaves && k < nstates; k++) *to++ = o->types[nleaves + k];
  return types;
}

/* Leaves out the last states of generators, which are n ids behind the state of the loop. */
static void drop_states(grad_id *out, int32_t nleaves, int n, int32_t total) {
  for (int32_t k = nleaves + n; k < total; k++) out[k - n] = out[k];
}

/* scan(body, init, xs, captured, length, reverse, every): every < 0: no checkpoints. The states of the generators that
 * the body draws from are appended to init. */
static int emit_scan(lua_State *L) {
  const grad_body *b = grad__body_check(L, 1);
  const int64_t length = lua_tointeger(L, 5), every = lua_tointeger(L, 7);
  const bool reverse = lua_toboolean(L, 6);
  const int32_t nleaves = count(L, 2), nxs = count(L, 3), ncaptured = count(L, 4);
  streams s = {0};
  add_streams(L, &s, 1, 2, grad__generator_push_state);
  const int32_t ncarry = nleaves + s.n;
  operands o = begin(L, 2, 4);
  const grad_type *types = loop_types(&o, b, ncaptured, nleaves, s.n);
  const places to = {.leaves = ncaptured, .nfirst = nleaves, .states = ncaptured + nleaves, .rows = ncaptured + ncarry};
  const grad_loop loop = {.body = wrapped(L, b, o.n, types, o.at, to, &s),
                          .nconsts = ncaptured,
                          .ncarry = ncarry,
                          .nxs = nxs,
                          .consts = o.ids + ncarry + nxs,
                          .init = o.ids,
                          .xs = o.ids + ncarry,
                          .length = length,
                          .reverse = reverse};
  grad_id *out = results(L, loop.body->noutputs);
  if (every < 0)
    grad__scan(o.c->p, &loop, out);
  else
    grad__scan_checkpointed(o.c->p, &loop, every, out);
  drop_states(out, nleaves, s.n, loop.body->noutputs);
  finish(&o, loop.body->noutputs - s.n, out);
  move_streams(L, &s, length);
  return weaken(L, nleaves, 1, 0, 2);
}

/* while(test, body, init, captured by test, captured by body): init as for scan; since it is not known how much will be
 * drawn, the body draws from streams of its own. */
static int emit_while(lua_State *L) {
  const grad_body *test = grad__body_check(L, 1), *b = grad__body_check(L, 2);
  const int32_t nleaves = count(L, 3), first = count(L, 4), nconsts = first + count(L, 5);
  streams s = {0};
  add_streams(L, &s, 2, 3, grad__generator_push_stream);
  const int32_t ncarry = nleaves + s.n;
  operands o = begin(L, 3, 5);
  const grad_type *types = loop_types(&o, b, nconsts, nleaves, s.n);
  places to = {.leaves = nconsts, .nfirst = nleaves, .states = nconsts + nleaves};
  grad_program *proceed = wrapped(L, test, o.n, types, o.at, to, &s);
  to.captured = first;
  const grad_loop loop = {.body = wrapped(L, b, o.n, types, o.at, to, &s),
                          .nconsts = nconsts,
                          .ncarry = ncarry,
                          .consts = o.ids + ncarry,
                          .init = o.ids};
  grad_id *out = results(L, ncarry);
  grad__while_loop(o.c->p, proceed, &loop, out);
  finish(&o, nleaves, out);
  return weaken(L, nleaves, 2, 0, 3);
}

/* checkpoint(body, leaves, captured) */
static int emit_checkpoint(lua_State *L) {
  const grad_body *b = grad__body_check(L, 1);
  int32_t leaves = count(L, 2);
  operands o = begin(L, 2, 3);
  grad_program *p = wrapped_call(L, b, &o, leaves);
  grad_id *out = results(L, p->noutputs);
  grad__checkpoint(o.c->p, p, o.n, o.ids, out);
  finish(&o, p->noutputs, out);
  return weaken(L, p->noutputs, 1, 0, 0);
}

/* --- custom */

/* The types of a rule's inputs: all arguments, then one for each float among `like` (n types). */
static int32_t rule_types(const operands *o, int32_t n, const grad_type *like, grad_type *types) {
  int32_t count = o->n;
  memcpy(types, o->types, (size_t)o->n * sizeof *types);
  for (int32_t i = 0; i < n; i++)
    if (grad__dtype_is_float(like[i].dtype)) types[count++] = like[i];
  return count;
}

/* Pushes the box of a rule: its leaves are the primals (nprimals of them), then tangents or cotangents, which stand
 * behind all arguments; what it captured is at `captured`. */
static grad_program *rule(lua_State *L, const grad_body *b, const operands *o, int32_t nprimals, int32_t nlike,
                          const grad_type *like, int32_t captured) {
  grad_type *types = lua_newuserdatauv(L, (size_t)(o->n + nlike + 1) * sizeof *types, 0);
  int32_t n = rule_types(o, nlike, like, types);
  int32_t *at = lua_newuserdatauv(L, (size_t)(b->nleaves + b->ncaptured + 1) * sizeof *at, 0);
  if (b->nleaves - nprimals > n - o->n) grad__lua_error(L, "a rule has more tangents than there are float values");
  for (int32_t i = 0; i < b->nleaves; i++) at[i] = i < nprimals ? i : o->n + i - nprimals;
  for (int32_t i = 0; i < b->ncaptured; i++) at[b->nleaves + i] = captured + i;
  grad_program **box = grad__program_box(L);
  grad__lua_check(L, grad__program_wrap(b->p, n, types, at, box));
  return *box;
}

/* What a function captured gets cotangent zero: a rule speaks of the arguments only. */
static void add_zero_cotangents(const operands *o, int32_t nleaves, grad_program *vjp) {
  for (int32_t i = nleaves; i < o->n; i++)
    if (grad__dtype_is_float(o->types[i].dtype)) grad__program_output(vjp, grad__zeros_of(vjp, &o->types[i]));
}

/* custom(f, jvp or nil, vjp or nil, leaves, captured by f, by jvp, by vjp) */
static int emit_custom(lua_State *L) {
  const grad_body *f = grad__body_check(L, 1);
  const grad_body *jvp = lua_isnil(L, 2) ? NULL : grad__body_check(L, 2);
  const grad_body *vjp = lua_isnil(L, 3) ? NULL : grad__body_check(L, 3);
  int32_t nleaves = count(L, 4), by_f = count(L, 5), by_jvp = count(L, 6);
  operands o = begin(L, 4, 7);
  grad_program *value = wrapped_call(L, f, &o, nleaves), *forward = NULL, *reverse = NULL;
  grad_type *out_types = lua_newuserdatauv(L, (size_t)(value->noutputs + 1) * sizeof *out_types, 0);
  for (int32_t k = 0; k < value->noutputs; k++) out_types[k] = *grad__type(value, value->outputs[k]);
  if (jvp) forward = rule(L, jvp, &o, nleaves, o.n, o.types, nleaves + by_f);
  if (vjp) {
    reverse = rule(L, vjp, &o, nleaves, value->noutputs, out_types, nleaves + by_f + by_jvp);
    add_zero_cotangents(&o, nleaves, reverse);
    grad__lua_check(L, reverse->status);
  }
  grad_id *out = results(L, value->noutputs);
  grad__custom(o.c->p, value, forward, reverse, o.n, o.ids, out);
  finish(&o, value->noutputs, out);
  return weaken(L, value->noutputs, 1, 0, 0);
}

/* implicit(residual, solution, leaves, captured [, tol, max_iter]): one tensor; leaves and captured are the further
 * arguments. With tol, the solution is where Newton's method starts. */
static int emit_implicit(lua_State *L) {
  const grad_body *b = grad__body_check(L, 1);
  const int32_t nleaves = count(L, 3);
  const bool solve = !lua_isnoneornil(L, 5);
  const double tol = luaL_optnumber(L, 5, 0);
  const int64_t most = luaL_optinteger(L, 6, 0);
  lua_settop(L, 4);
  operands o = begin(L, 3, 4);
  const grad_id x = grad__call_value(o.c, 2, "the solution");
  grad_type *types = lua_newuserdatauv(L, (size_t)(o.n + 1) * sizeof *types, 0);
  types[0] = *grad__call_type(o.c, x);
  for (int32_t i = 0; i < o.n; i++) types[i + 1] = o.types[i];
  int32_t *at = lua_newuserdatauv(L, (size_t)(o.n + 2) * sizeof *at, 0);
  const places to = {.nfirst = b->nleaves, .captured = 1 + nleaves};
  grad_program *residual = wrapped(L, b, o.n + 1, types, at, to, &(streams){0});
  const grad_id out = solve ? grad__newton(o.c->p, residual, x, o.n, o.ids, tol, most)
                            : grad__implicit(o.c->p, residual, x, o.n, o.ids);
  return finish(&o, 1, &out);
}

static const grad_fn rows[] = {
    {.name = "cond", .call = emit_cond},
    {.name = "scan", .call = emit_scan},
    {.name = "while_loop", .call = emit_while},
    {.name = "checkpoint", .call = emit_checkpoint},
    {.name = "custom", .call = emit_custom},
    {.name = "implicit", .call = emit_implicit},
    GRAD_FN_END,
};

void grad__open_transform_control(lua_State *L) {
  lua_newtable(L);
  grad__lua_register(L, rows);
  gradlua__modules_publish(L, "control");
}
