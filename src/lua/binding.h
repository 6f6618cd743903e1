/* binding.h: the binding's internal interface: state, errors, arguments, options, tensors, registration.
 *
 * Every C function of the binding is a closure registered by grad__lua_register: upvalue 1 is the state (grad_lua),
 * upvalue 2 its row (grad_fn). Helpers that take L may be called from such a function (or its continuations) only.
 * Helpers raise Lua errors; whoever calls them holds no resource that is not owned by a userdata on the stack.
 */
#ifndef GRAD_LUA_BINDING_H
#define GRAD_LUA_BINDING_H

#include <lauxlib.h>
#include <lua.h>

#include "array/array.h"
#include "core/arena.h"
#include "include/gradlua.h"
#include "program/program.h"

typedef struct grad_trace grad_trace;
typedef struct grad_call grad_call; /* call.h */

/* One row is all there is to say about a Lua function: from it come gl.NAME, x:NAME(), its name in errors, the options
 * it knows, the reference, `?` and the stubs. Option names are read from the braces of the signature. */
typedef struct grad_fn {
  const char *name;
  const char *signature;       /* "x [, axis] [, {keepdim = false}] -> tensor" */
  const char *doc;             /* one line */
  lua_CFunction call;          /* a plain C function, or */
  void (*build)(grad_call *c); /* a builder: one implementation for eager and traced (call.h) */
  bool method;                 /* the first argument is a tensor: also x:NAME() */
  bool views;                  /* results may share memory with the arguments, as reshape's do */
  bool plain;                  /* of plain numbers it gives a plain number */
} grad_fn;
/* A row with a C function; METHOD: also x:NAME(). A row with the builder build_NAME, a method too; PLAIN: which of
 * plain numbers gives a plain number. */
#define GRAD_FUNCTION(NAME, CALL, SIGNATURE, DOC)                                                                      \
  { .name = NAME, .signature = SIGNATURE, .doc = DOC, .call = CALL }
#define GRAD_METHOD(NAME, CALL, SIGNATURE, DOC)                                                                        \
  { .name = NAME, .signature = SIGNATURE, .doc = DOC, .call = CALL, .method = true }
#define GRAD_BUILDER(NAME, SIGNATURE, DOC)                                                                             \
  { .name = #NAME, .signature = SIGNATURE, .doc = DOC, .build = build_##NAME, .method = true }
#define GRAD_PLAIN_BUILDER(NAME, SIGNATURE, DOC)                                                                       \
  { .name = #NAME, .signature = SIGNATURE, .doc = DOC, .build = build_##NAME, .method = true, .plain = true }
#define GRAD_FN_END                                                                                                    \
  { 0 }

/* A random stream: the next draw uses block `counter` of Philox with `key` (core/rng.h). */
typedef struct grad_generator {
  uint64_t key, counter;
  uint64_t born; /* how many traces had been begun when it was made */
} grad_generator;

/* --- state.c: what one Lua state has of us; freed after every tensor, since it is the first userdata made. */
typedef struct grad_lua {
  grad_ctx *ctx;
  bool opened; /* all of the module is there */
  bool closed; /* nothing can be asked for any more: what a finalizer made now would never be given back */
  const void *meta_light, *meta_owner; /* identities of the two metatables of tensors */
  const void *meta_donated;            /* of what was one; NULL: nothing was ever donated */
  int ref_light, ref_owner, ref_donated, ref_methods, ref_module, ref_internal;
  size_t uncharged;         /* bytes of storage made since the collector was last told */
  bool debug;               /* gl.debug: values are checked, every instruction knows its line */
  volatile int interrupted; /* set by gradlua_interrupt_flag's user, polled by the core */
  uint64_t serial;          /* of the newest trace ever made */
  grad_trace **traces;      /* live traces by slot; NULL: free slot */
  int32_t ntraces;
  int live_traces, persistent_traces, lazy_traces;
  grad_generator generator; /* the default one */
  struct grad_cache *cache; /* of derived programs and plans; made on first use */
  grad_arena arena;         /* rows made from the registry of ops */
} grad_lua;

/* Raises where the state is closed: a host ends it, or a finalizer that was set before the module was loaded runs after
 * ours. */
static inline grad_lua *grad__lua(lua_State *L) {
  grad_lua *g = lua_touserdata(L, lua_upvalueindex(1));
  if (g->closed) luaL_error(L, "gradlua is closed");
  return g;
}
static inline const grad_fn *grad__lua_fn(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(2)); }
static inline grad_ctx *grad__lua_ctx(lua_State *L) { return grad__lua(L)->ctx; }

/* The plan cache, made on first use. */
struct grad_cache *grad__lua_cache(lua_State *L);

/* What Lua code asks for from now on is refused; called before lua_close by whoever owns the state. */
void grad__lua_close(lua_State *L);

/* Adds rows (ended by GRAD_FN_END) to the table on top of the stack, and, for methods, to the tensors' methods. */
void grad__lua_register(lua_State *L, const grad_fn *rows);
void grad__lua_register_row(lua_State *L, const grad_fn *row);
/* Pushes a closure with the state and `row` as its first upvalues and the `extra` values on top of the stack after. */
void grad__lua_push_function(lua_State *L, lua_CFunction f, const grad_fn *row, int extra);
/* call.c: the C function of every row that has a builder. */
int grad__call_row(lua_State *L);
/* arity.c: pushes the function of a row, which refuses more arguments than its signature names; of_object: besides the
 * object itself, of whose class it is a method. */
void grad__lua_push_row(lua_State *L, const grad_fn *row, bool of_object);
/* Makes a metatable named `name` in the registry and leaves it on the stack. Rows named "__..." are its events; the
 * others are methods, in its field "__index" (in "methods" when there is a row "__index"). With a row "__gc" the
 * metatable is hidden from Lua: nobody else may call that. */
void grad__lua_metatable(lua_State *L, const char *name, const grad_fn *rows);
/* Pushes a zeroed userdata that owns C memory which a Lua error could lose: `gc` gives it back. `name` is that of its
 * metatable in the registry; all calls for a name give the same `gc`. */
void *grad__lua_owner_push(lua_State *L, const char *name, size_t bytes, int nuservalues, lua_CFunction gc);
/* The growing array `block`, whose room is *cap elements of `size` bytes, with room for at least `needed`, what is new
 * being zero; raises when there is no memory, and leaves it as it was. */
void *grad__lua_grow(lua_State *L, grad_ctx *ctx, void *block, int32_t needed, int32_t *cap, size_t size);
/* Tells Lua's collector of `bytes` of C memory that garbage may hold; may run a step of the collector. */
void grad__lua_charge(lua_State *L, size_t bytes);

/* Each file that registers functions has one opener, grad__open_FILE, with a line OPENER(FILE) in openers.def; luaopen
 * calls it with the module table on top. */
#define OPENER(name) void grad__open_##name(lua_State *L);
#include "lua/openers.def"
#undef OPENER

/* --- error.c */
/* Raises "file:line: NAME: message" at the user's line: the innermost Lua frame that is not of our own Lua modules. */
#if defined __GNUC__
__attribute__((format(printf, 2, 3), noreturn))
#endif
void grad__lua_error(lua_State *L, const char *format, ...);
/* Raises when status is not GRAD_OK, with the context's message. */
void grad__lua_check(lua_State *L, grad_status status);
/* Fills source, short_src and currentline of the user's frame; false when there is none. */
bool grad__lua_user_frame(lua_State *L, lua_Debug *ar);
/* Is the chunk one of our own Lua modules? */
bool grad__lua_is_own_source(const char *source);
/* Pushes "file:line" of the user ("" when there is none). */
void grad__lua_push_where(lua_State *L);

/* --- args.c: arguments. `what` is the argument's name in messages. Axes and indices are Lua's (from 1, negative from
 * the end) outside and C's (from 0) inside. */
typedef struct grad_shape {
  int ndim;
  int64_t at[GRAD_MAX_AXES];
} grad_shape;

#if defined __GNUC__
__attribute__((noreturn))
#endif
void grad__arg_error(lua_State *L, int arg, const char *what, const char *expected);
void *grad__arg_self(lua_State *L, const char *metatable, const char *expected); /* the userdata whose method it is */
int64_t grad__arg_integer(lua_State *L, int arg, const char *what);
int64_t grad__arg_integer_or(lua_State *L, int arg, const char *what, int64_t otherwise);
double grad__arg_number(lua_State *L, int arg, const char *what);
/* Raises when elements of `dtype` cannot be `value`: i64 and a fraction, NaN, Inf, or more than 64 bits. */
void grad__check_fits(lua_State *L, double value, grad_dtype dtype);
/* The number or boolean at stack `index` as doubles whose sum it is as an element of `dtype`: two of them for an i64
 * that no double holds, else one. Returns how many. */
int grad__number_parts(lua_State *L, int index, grad_dtype dtype, double part[2]);
/* Pushes the number, boolean or 0-d tensor at `arg` as a 0-d tensor of `dtype`; raises when it does not fit. */
const grad_array *grad__arg_element(lua_State *L, int arg, const char *what, grad_dtype dtype);
bool grad__arg_boolean_or(lua_State *L, int arg, const char *what, bool otherwise);
int grad__arg_axis(lua_State *L, int arg, const char *what, int ndim);
int grad__arg_axis_or(lua_State *L, int arg, const char *what, int ndim, int otherwise);
/* A number or a list as a bit mask; nil gives all axes. */
uint32_t grad__arg_axes(lua_State *L, int arg, const char *what, int ndim);
/* The axis that a Lua number names among `ndim`; raises when there is none. */
int grad__axis_check(lua_State *L, lua_Integer axis, const char *what, int ndim);
/* Shape given as integers from `first` to `last`, or as one list at `first`. -1 is passed on when `infer`. */
void grad__arg_shape(lua_State *L, int first, int last, bool infer, grad_shape *out);
/* A list of integers; returns their number, at most `max`. */
int grad__arg_integers(lua_State *L, int arg, const char *what, int max, int64_t *out);
grad_dtype grad__arg_dtype(lua_State *L, int arg, const char *what);

/* Options: the trailing table with string keys. grad__options checks every name against the running row's signature
 * (raising with the nearest known name) and returns its stack index, or 0 when the last argument is no such table. */
int grad__options(lua_State *L);
/* The same for a table that is known to be options at `index` (nil or none: 0). */
int grad__options_at(lua_State *L, int index);
/* Options that a closure keeps: push the table at `options` (nil for 0) to be upvalue `up`, where the closure has it.
 */
static inline void grad__options_push(lua_State *L, int options) {
  if (options)
    lua_pushvalue(L, options);
  else
    lua_pushnil(L);
}
static inline int grad__options_kept(lua_State *L, int up) {
  return lua_istable(L, lua_upvalueindex(up)) ? lua_upvalueindex(up) : 0;
}
/* Getters; `options` 0 or a missing name gives the default. They leave the stack as it was. */
bool grad__option_boolean(lua_State *L, int options, const char *name, bool otherwise);
double grad__option_number(lua_State *L, int options, const char *name, double otherwise);
int64_t grad__option_integer(lua_State *L, int options, const char *name, int64_t otherwise);
grad_dtype grad__option_dtype(lua_State *L, int options, grad_dtype otherwise);
/* One of the names (NULL ends them); returns its position. */
int grad__option_choice(lua_State *L, int options, const char *name, const char *const *names, int otherwise);
/* Pushes the option (nil when missing) and returns its Lua type. */
int grad__option_push(lua_State *L, int options, const char *name);
/* The one of `names` (count of them) nearest to `name` by edit distance, NULL when none is near. */
const char *grad__nearest(const char *name, const char *const *names, int count);

/* --- results: set a field of the table on top. */
static inline void grad__set_number(lua_State *L, const char *name, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}
static inline void grad__set_integer(lua_State *L, const char *name, int64_t value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}
static inline void grad__set_boolean(lua_State *L, const char *name, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}
static inline void grad__set_text(lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

/* --- tensor.c: one userdata type for users, concrete or traced.
 * Concrete: payloads up to GRAD_INLINE bytes lie in the userdata itself; larger ones in a grad_storage. A view keeps
 * the userdata that holds its payload alive by a user value, or holds a reference to the storage. Traced: `array` has
 * dtype and shape and no data; the value is `id` in the program of the live trace `serial`. */
enum { GRAD_INLINE = 2048 };
typedef struct grad_tensor {
  grad_array array;
  uint64_t serial; /* 0: concrete */
  int32_t slot;    /* of the trace in grad_lua.traces; of a tensor that was given away: the donor */
  grad_id id;      /* concrete: how many traces had been begun when the tensor, or what it is a view of, was made */
  bool weak;       /* traced, and made of plain numbers only: it takes the dtype of the tensors it meets, as they do */
  bool argument;   /* traced, and an argument as it was handed in, not something made of it that has the same id */
} grad_tensor;

static inline bool grad__tensor_is_traced(const grad_tensor *t) { return t->serial != 0; }
static inline bool grad__tensor_is_weak(const grad_tensor *t) { return t->serial != 0 && t->weak; }
/* NULL when the value is no tensor. Raises for one that was given away. */
grad_tensor *grad__tensor_to(lua_State *L, int index);
grad_tensor *grad__tensor_in(const grad_lua *g, lua_State *L, int index); /* for who has the state at hand */
grad_tensor *grad__tensor_check(lua_State *L, int arg, const char *what);
/* A concrete tensor; a traced one raises and says so. */
grad_tensor *grad__tensor_check_concrete(lua_State *L, int arg, const char *what);
/* A concrete tensor that is about to be changed in place: live traces that captured it keep the old value. */
grad_tensor *grad__tensor_check_writable(lua_State *L, int arg, const char *what);
/* Pushes a new row-major tensor, uninitialised. Raises ENOMEM, ELIMIT, ESHAPE. */
grad_array *grad__tensor_new(lua_State *L, grad_dtype dtype, int ndim, const int64_t *shape);
/* Pushes a tensor with an empty header, for a core function that makes the array: it fills `array` with one reference
 * to a storage (or leaves it empty on failure). Then grad__tensor_made tells the collector how much there is. */
grad_array *grad__tensor_push_empty(lua_State *L);
void grad__tensor_made(lua_State *L, const grad_array *array);
/* Pushes a tensor for `view`, a header on the memory of the tensor at `owner`. */
void grad__tensor_push_view(lua_State *L, int owner, const grad_array *view);
/* Pushes a row-major copy of `array`, converted. */
grad_array *grad__tensor_push_copy(lua_State *L, const grad_array *array, grad_dtype dtype);
/* A new plain value: pushes a 0-d f64 tensor. */
void grad__tensor_push_number(lua_State *L, double value);
/* Pushes a Lua number, or boolean, from element `index`. */
void grad__tensor_push_element(lua_State *L, const grad_array *array, const int64_t *index);
/* May the two share an element's memory? (By their outer bounds.) */
bool grad__array_overlap(const grad_array *a, const grad_array *b);
/* donated.c: tensors that were given away. A donor stands for the user's line that takes them. */
int32_t grad__donor_add(lua_State *L);
/* The concrete tensor at `index` loses its memory, and is none any more. Raises nothing. */
void grad__tensor_give_away(lua_State *L, int index, int32_t donor);
bool grad__tensor_is_donated(lua_State *L, int index);
#if defined __GNUC__
__attribute__((noreturn))
#endif
void grad__tensor_raise_donated(lua_State *L, const grad_tensor *x);
/* Makes row->call the metamethod `event` of tensors. */
void grad__tensor_metamethod(lua_State *L, const char *event, const grad_fn *row);
/* "f64 2 x 3" for messages. */
grad_words grad__tensor_text(const grad_tensor *t);

#endif
