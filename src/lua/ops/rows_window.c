/* rows_window.c: convolution and pooling. */
#include "lua/call.h"
#include "ops/compose.h"

/* A number for all axes or a list with one for each; pushes nothing. */
static void read_each(grad_call *c, int index, const char *what, int n, int64_t least, int64_t out[2]) {
  if (lua_isnil(c->L, index)) return;
  if (lua_istable(c->L, index)) {
    if (grad__arg_integers(c->L, index, what, n, out) != n) grad__lua_error(c->L, "%s needs %d entries", what, n);
  } else {
    out[0] = out[1] = grad__arg_integer(c->L, index, what);
  }
  for (int i = 0; i < n; i++)
    if (out[i] < least)
      grad__lua_error(c->L, "%s must be at least %lld, got %lld", what, (long long)least, (long long)out[i]);
}

static void option_each(grad_call *c, const char *name, int n, int64_t least, int64_t out[2]) {
  grad__option_push(c->L, c->options, name);
  read_each(c, lua_gettop(c->L), name, n, least, out);
  lua_pop(c->L, 1);
}

/* One number an output channel (axis 2), added to every place. */
static grad_id add_bias(grad_call *c, grad_id y, int axes) {
  if (grad__option_push(c->L, c->options, "bias") == LUA_TNIL) return y;
  int64_t shape[3] = {0, 1, 1};
  grad_id bias = grad__call_tensor(c, lua_gettop(c->L), "bias");
  const grad_type *type = grad__call_type(c, bias);
  const int64_t channels = grad__call_type(c, y)->shape[1];
  if (type->ndim != 1 || type->shape[0] != channels) {
    grad__lua_error(c->L, "bias must be a vector, one entry for each of the %lld output channels, got shape %s",
                    (long long)channels, grad__shape_text(type->ndim, type->shape).chars);
  }
  shape[0] = type->shape[0];
  return grad__add(c->p, y, grad__reshape(c->p, bias, 1 + axes, shape));
}

static void convolve(grad_call *c, int axes, grad_id (*f)(grad_program *, grad_id, grad_id, const grad_conv *)) {
  grad_conv conv = {
      .stride = {1, 1}, .dilation = {1, 1}, .groups = grad__option_integer(c->L, c->options, "groups", 1)};
  option_each(c, "stride", axes, 1, conv.stride);
  option_each(c, "padding", axes, 0, conv.padding);
  option_each(c, "dilation", axes, 1, conv.dilation);
  grad_id x = grad__call_tensor(c, 1, "the input"), w = grad__call_tensor(c, 2, "the weights");
  grad_id y = f(c->p, x, w, &conv);
  grad__call_return(c, y == GRAD_NONE ? y : add_bias(c, y, axes));
}

static void build_conv1d(grad_call *c) { convolve(c, 1, grad__conv1d); }
static void build_conv2d(grad_call *c) { convolve(c, 2, grad__conv2d); }

static void pool(grad_call *c, grad_id (*f)(grad_program *, grad_id, const grad_pool2d *)) {
  grad_pool2d p = {0};
  grad_id x = grad__call_tensor(c, 1, "the input");
  if (lua_isnil(c->L, 2)) grad__arg_error(c->L, 2, "the window", "a number or a pair");
  read_each(c, 2, "the window", 2, 1, p.kernel);
  p.stride[0] = p.kernel[0], p.stride[1] = p.kernel[1];
  option_each(c, "stride", 2, 1, p.stride);
  option_each(c, "padding", 2, 0, p.padding);
  grad__call_return(c, f(c->p, x, &p));
}

static void build_max_pool2d(grad_call *c) { pool(c, grad__max_pool2d); }
static void build_avg_pool2d(grad_call *c) { pool(c, grad__avg_pool2d); }

#define CONV "x, w [, {stride = 1, padding = 0, dilation = 1, groups = 1, bias}] -> tensor"
static const grad_fn rows[] = {
    GRAD_BUILDER(conv1d, CONV, "cross-correlation of signals N C L with weights O C/groups K"),
    GRAD_BUILDER(conv2d, CONV, "cross-correlation of images N C H W with weights O C/groups KH KW"),
    GRAD_BUILDER(max_pool2d, "x, k [, {stride = k, padding = 0}] -> tensor",
                 "largest value in windows of the last two axes"),
    GRAD_BUILDER(avg_pool2d, "x, k [, {stride = k, padding = 0}] -> tensor", "mean over windows of the last two axes"),
    GRAD_FN_END,
};

void grad__open_rows_window(lua_State *L) { grad__lua_register(L, rows); }
