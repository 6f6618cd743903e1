/* op_conv.c: convolution of images (cross-correlation, as networks use it), and its two transposes.
 *
 * x: N C H W   w: O C/groups KH KW   y: N O TH TW     one linear form in each:  sum of x[n, c, h, w] w[o, c, kh, kw]
 * y[n, o, t, u] over all window elements. The three ops leave one factor out each, and so compute its cotangent:
 *
 *   conv         x, w -> y        params  window (window.h), groups, 0, 0
 *   conv_input   y, w -> x                window, groups, H, W
 *   conv_weight  x, y -> w                window, groups, KH, KW
 *
 * so that the transpose of any of them is another of them, to every order. Each is one matrix product an image and
 * group, on the windows unfolded into columns (Chellapilla, Puri, Simard 2006). */
#include <string.h>

#include "linalg/blas.h"
#include "ops/compose.h"
#include "ops/structured.h"
#include "ops/window.h"

typedef enum role { X, W, Y } role;

/* Which factors an op reads, in order, and which it leaves out. */
typedef struct roles {
  role in[2], out;
} roles;

static roles roles_of(const grad_op *op) {
  if (op == &grad__op_conv) return (roles){{X, W}, Y};
  if (op == &grad__op_conv_input) return (roles){{Y, W}, X};
  return (roles){{X, Y}, W};
}

static const grad_op *op_without(role r) {
  return r == Y ? &grad__op_conv : r == X ? &grad__op_conv_input : &grad__op_conv_weight;
}

enum { GROUPS = GRAD_WINDOW_PARAMS, EXTENTS, NPARAMS = EXTENTS + 2 };

/* --- inference */

static grad_status infer_operands(grad_infer *a) {
  for (int i = 0; i < 2; i++) {
    const grad_type *t = &a->in[i];
    if (t->ndim != 4)
      return grad__fail(a->ctx, GRAD_ESHAPE, "%s: expected images N C H W and weights O C/groups KH KW, got %s",
                        a->op->name, grad__type_text(t).chars);
    if (!grad__dtype_is_float(t->dtype) || t->dtype != a->in[0].dtype)
      return grad__fail(a->ctx, GRAD_EDTYPE, "%s: both operands must be f64, or both f32; got %s", a->op->name,
                        grad__type_text(t).chars);
  }
  return GRAD_OK;
}

static grad_status channel_fail(grad_infer *a, const int64_t *groups) {
  return grad__fail(a->ctx, GRAD_ESHAPE, "%s: shapes %s and %s do not fit with %lld groups", a->op->name,
                    grad__shape_text(4, a->in[0].shape).chars, grad__shape_text(4, a->in[1].shape).chars,
                    (long long)*groups);
}

/* Are channels on axis 1 of x, and outputs on axis 0 of w, the groups' share of each? Both have `ndim` axes. */
static grad_status check_channels(grad_ctx *ctx, int ndim, const int64_t *x, const int64_t *w, int64_t groups) {
  if (groups < 1) return grad__fail(ctx, GRAD_EVALUE, "conv: groups must be at least 1, got %lld", (long long)groups);
  if (x[1] % groups == 0 && x[1] / groups == w[1] && w[0] % groups == 0) return GRAD_OK;
  return grad__fail(ctx, GRAD_ESHAPE,
                    "conv: an input of shape %s has %lld channels, but a weight of shape %s takes %lld in each of its "
                    "groups (%lld, which must divide its %lld outputs)",
                    grad__shape_text(ndim, x).chars, (long long)x[1], grad__shape_text(ndim, w).chars, (long long)w[1],
                    (long long)groups, (long long)w[0]);
}

static grad_status conv_infer(grad_infer *a) {
  grad_status status = infer_operands(a);
  if (status != GRAD_OK) return status;
  const int64_t *x = a->in[0].shape, *w = a->in[1].shape, groups = a->params[GROUPS];
  grad_window window = grad__window_of(a->params);
  status = check_channels(a->ctx, 4, x, w, groups);
  if (status != GRAD_OK) return status;
  status = grad__window_fit(a->ctx, "conv", &window, x + 2);
  if (status != GRAD_OK) return status;
  return grad__infer_out(a, 0, a->in[0].dtype, 4, (const int64_t[]){x[0], w[0], window.out[0], window.out[1]});
}

/* y, w -> x: the extents of x are given, and must make windows of y's extents. */
static grad_status conv_input_infer(grad_infer *a) {
  grad_status status = infer_operands(a);
  if (status != GRAD_OK) return status;
  const int64_t *y = a->in[0].shape, *w = a->in[1].shape, groups = a->params[GROUPS];
  grad_window window = grad__window_of(a->params);
  status = grad__window_fit(a->ctx, "conv_input", &window, a->params + EXTENTS);
  if (status != GRAD_OK) return status;
  if (groups < 1 || y[1] != w[0] || w[0] % groups || y[2] != window.out[0] || y[3] != window.out[1])
    return channel_fail(a, &groups);
  int64_t channels;
  if (!grad__mul_i64(w[1], groups, &channels)) return channel_fail(a, &groups);
  return grad__infer_out(a, 0, a->in[0].dtype, 4,
                         (const int64_t[]){y[0], channels, a->params[EXTENTS], a->params[EXTENTS + 1]});
}

static grad_status conv_weight_infer(grad_infer *a) {
  grad_status status = infer_operands(a);
  if (status != GRAD_OK) return status;
  const int64_t *x = a->in[0].shape, *y = a->in[1].shape, groups = a->params[GROUPS];
  grad_window window = grad__window_of(a->params);
  status = grad__window_fit(a->ctx, "conv_weight", &window, x + 2);
  if (status != GRAD_OK) return status;
  if (groups < 1 || x[0] != y[0] || x[1] % groups || y[1] % groups || y[2] != window.out[0] || y[3] != window.out[1])
    return channel_fail(a, &groups);
  return grad__infer_out(a, 0, a->in[0].dtype, 4,
                         (const int64_t[]){y[1], x[1] / groups, window.kernel[0], window.kernel[1]});
}

/* --- evaluation */

typedef struct layer {
  grad_ctx *ctx;
  grad_dtype dtype;
  size_t size; /* of an element */
  grad_window window;
  const grad_array *x, *w, *y;
  int64_t groups, channels, outputs; /* of one group */
  int64_t depth, places;             /* rows and columns of the unfolded windows */
  char *cols, *room_w, *room_y;      /* scratch: the columns, and factors whose strides BLAS cannot read */
} layer;

static layer layer_of(const grad_eval *a) {
  const roles r = roles_of(a->ins->op);
  const grad_array *array[3];
  array[r.in[0]] = a->in[0];
  array[r.in[1]] = a->in[1];
  array[r.out] = a->out[0];
  layer l = {.ctx = a->ctx, .dtype = a->in[0]->dtype, .x = array[X], .w = array[W], .y = array[Y]};
  l.size = grad__dtype_size(l.dtype);
  l.window = grad__window_of(a->ins->params);
  memcpy(l.window.in, l.x->shape + 2, sizeof l.window.in);
  memcpy(l.window.out, l.y->shape + 2, sizeof l.window.out);
  l.groups = a->ins->params[GROUPS];
  l.channels = l.w->shape[1];
  l.outputs = l.w->shape[0] / l.groups;
  l.depth = l.channels * l.window.kernel[0] * l.window.kernel[1];
  l.places = l.window.out[0] * l.window.out[1];
  l.cols = a->scratch;
  l.room_w = l.cols + (size_t)(l.depth * l.places) * l.size;
  l.room_y = l.room_w + (size_t)(l.outputs * l.depth) * l.size;
  return l;
}

static int64_t conv_scratch(const grad_program *p, const grad_instr *ins) {
  const roles r = roles_of(ins->op);
  const int64_t *shape[3];
  shape[r.in[0]] = grad__type(p, ins->in[0])->shape;
  shape[r.in[1]] = grad__type(p, ins->in[1])->shape;
  shape[r.out] = grad__type(p, ins->out)->shape;
  const int64_t depth = shape[W][1] * ins->params[0] * ins->params[1], places = shape[Y][2] * shape[Y][3];
  const int64_t outputs = shape[W][0] / ins->params[GROUPS];
  return (depth * places + outputs * (depth + places)) * (int64_t)grad__dtype_size(grad__type(p, ins->out)->dtype);
}

static double conv_flops(const grad_program *p, const grad_instr *ins) {
  const roles r = roles_of(ins->op);
  const grad_type *t[3];
  t[r.in[0]] = grad__type(p, ins->in[0]);
  t[r.in[1]] = grad__type(p, ins->in[1]);
  t[r.out] = grad__type(p, ins->out);
  return 2 * (double)grad__type_numel(t[Y]) * (double)(t[W]->shape[1] * t[W]->shape[2] * t[W]->shape[3]);
}

/* Is the kernel a single element that takes every place as it is? Then the columns are the image itself. */
static bool is_pointwise(const layer *l) {
  const grad_window *w = &l->window;
  for (int i = 0; i < 2; i++)
    if (w->kernel[i] != 1 || w->stride[i] != 1 || w->padding[i] != 0) return false;
  return true;
}

/* A piece of the first two axes: where it lies when that is contiguous, else copied to `room`. */
static const void *block_of(const grad_array *a, int64_t first, int64_t nfirst, int64_t second, int64_t nsecond,
                            void *room) {
  grad_array view, part;
  grad__view_slice(a, 0, first, nfirst, 1, &part);
  grad__view_slice(&part, 1, second, nsecond, 1, &view);
  if (grad__array_is_contiguous(&view)) return view.data;
  grad_array copy;
  grad__array_wrap(&copy, room, a->dtype, 4, view.shape);
  grad__array_copy(&copy, &view);
  return room;
}

/* The windows of one image's group as columns: depth x places. */
static const void *columns_of(const layer *l, int64_t image, int64_t group) {
  if (is_pointwise(l)) return block_of(l->x, image, 1, group * l->channels, l->channels, l->cols);
  const int64_t rows = l->window.kernel[0] * l->window.kernel[1], *strides = l->x->strides;
  for (int64_t c = 0; c < l->channels; c++) {
    const int64_t at = image * strides[0] + (group * l->channels + c) * strides[1];
    grad__window_unfold(&l->window, l->dtype, (const char *)l->x->data + at * (int64_t)l->size, strides + 2,
                        l->cols + (size_t)(c * rows * l->places) * l->size);
  }
  return l->cols;
}

/* Where one image's group begins in an output that is row-major. */
static void *place_of(const layer *l, const grad_array *a, int64_t image, int64_t channel) {
  return (char *)a->data + (size_t)(image * a->strides[0] + channel * a->strides[1]) * l->size;
}

static grad_status conv_group(const layer *l, int64_t image, int64_t group) {
  const void *w = block_of(l->w, group * l->outputs, l->outputs, 0, l->channels, l->room_w);
  return grad__gemm(l->ctx, l->dtype, false, false, l->outputs, l->places, l->depth, 1, w, l->depth,
                    columns_of(l, image, group), l->places, 0, place_of(l, l->y, image, group * l->outputs), l->places);
}

static grad_status conv_input_group(const layer *l, int64_t image, int64_t group) {
  void *x = place_of(l, l->x, image, group * l->channels);
  const bool direct = is_pointwise(l);
  void *cols = direct ? x : l->cols;
  const void *w = block_of(l->w, group * l->outputs, l->outputs, 0, l->channels, l->room_w);
  const void *y = block_of(l->y, image, 1, group * l->outputs, l->outputs, l->room_y);
  const grad_status status = grad__gemm(l->ctx, l->dtype, true, false, l->depth, l->places, l->outputs, 1, w, l->depth,
                                        y, l->places, 0, cols, l->places);
  if (status != GRAD_OK || direct) return status;
  const int64_t rows = l->window.kernel[0] * l->window.kernel[1], plane = l->window.in[0] * l->window.in[1];
  memset(x, 0, (size_t)(l->channels * plane) * l->size);
  for (int64_t c = 0; c < l->channels; c++)
    grad__window_fold(&l->window, l->dtype, l->cols + (size_t)(c * rows * l->places) * l->size,
                      (char *)x + (size_t)(c * plane) * l->size);
  return GRAD_OK;
}

/* Adds up over the images, in their order. */
static grad_status conv_weight_group(const layer *l, int64_t image, int64_t group) {
  const void *y = block_of(l->y, image, 1, group * l->outputs, l->outputs, l->room_y);
  void *w = (char *)l->w->data + (size_t)(group * l->outputs * l->w->strides[0]) * l->size;
  return grad__gemm(l->ctx, l->dtype, false, true, l->outputs, l->depth, l->places, 1, y, l->places,
                    columns_of(l, image, group), l->places, image > 0, w, l->depth);
}

static grad_status each_group(const grad_eval *a, grad_status (*run)(const layer *l, int64_t image, int64_t group)) {
  const layer l = layer_of(a);
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  if (grad__array_numel(l.x) == 0 || grad__array_numel(l.w) == 0 || grad__array_numel(l.y) == 0) {
    grad__array_fill(a->out[0], 0);
    return GRAD_OK;
  }
  for (int64_t image = 0; image < l.x->shape[0]; image++)
    for (int64_t group = 0; group < l.groups; group++) {
      grad_status status = grad__interrupted(a->ctx);
      if (status == GRAD_OK) status = run(&l, image, group);
      if (status != GRAD_OK) return status;
    }
  return GRAD_OK;
}

static grad_status conv_eval(const grad_eval *a) { return each_group(a, conv_group); }
static grad_status conv_input_eval(const grad_eval *a) { return each_group(a, conv_input_group); }
static grad_status conv_weight_eval(const grad_eval *a) { return each_group(a, conv_weight_group); }

/* --- dependence: an element of the factor left out, on those of the two others in the same terms of the sum */

/* A term: image, output channel, channel within its group, kernel element, window. */
typedef struct place {
  int64_t n, o, c, k[2], t[2];
} place;

/* Adds the elements of the two inputs that meet in a term; nothing when it reaches outside the image. */
static grad_status add_term(grad_sparsity *a, const roles *r, const int64_t *const *shape, const grad_window *w,
                            const place *at) {
  const int64_t outputs = shape[W][0] / a->ins->params[GROUPS], channel = at->o / outputs * shape[W][1] + at->c;
  int64_t pixel[2];
  for (int i = 0; i < 2; i++) {
    pixel[i] = at->t[i] * w->stride[i] - w->padding[i] + at->k[i] * w->dilation[i];
    if (pixel[i] < 0 || pixel[i] >= shape[X][2 + i]) return GRAD_OK;
  }
  const int64_t element[] = {
      [X] = ((at->n * shape[X][1] + channel) * shape[X][2] + pixel[0]) * shape[X][3] + pixel[1],
      [W] = ((at->o * shape[W][1] + at->c) * shape[W][2] + at->k[0]) * shape[W][3] + at->k[1],
      [Y] = ((at->n * shape[Y][1] + at->o) * shape[Y][2] + at->t[0]) * shape[Y][3] + at->t[1],
  };
  const grad_status status = a->add(a, 0, element[r->in[0]]);
  return status == GRAD_OK ? a->add(a, 1, element[r->in[1]]) : status;
}

static grad_status output_dependence(grad_sparsity *a, const roles *r, const int64_t *const *shape,
                                     const grad_window *w, const int64_t *index) {
  grad_status status = GRAD_OK;
  place at = {.n = index[0], .o = index[1], .t = {index[2], index[3]}};
  for (at.c = 0; at.c < shape[W][1]; at.c++)
    for (at.k[0] = 0; at.k[0] < w->kernel[0]; at.k[0]++)
      for (at.k[1] = 0; at.k[1] < w->kernel[1] && status == GRAD_OK; at.k[1]++) status = add_term(a, r, shape, w, &at);
  return status;
}

static grad_status input_dependence(grad_sparsity *a, const roles *r, const int64_t *const *shape, const grad_window *w,
                                    const int64_t *index) {
  const int64_t outputs = shape[W][0] / a->ins->params[GROUPS], first = index[1] / shape[W][1] * outputs;
  grad_status status = GRAD_OK;
  place at = {.n = index[0], .c = index[1] % shape[W][1]};
  for (at.o = first; at.o < first + outputs; at.o++)
    for (at.k[0] = 0; at.k[0] < w->kernel[0]; at.k[0]++)
      for (at.k[1] = 0; at.k[1] < w->kernel[1] && status == GRAD_OK; at.k[1]++) {
        for (int i = 0; i < 2; i++) at.t[i] = grad__window_holding(w, i, at.k[i], index[2 + i]);
        if (at.t[0] >= 0 && at.t[1] >= 0) status = add_term(a, r, shape, w, &at);
      }
  return status;
}

static grad_status weight_dependence(grad_sparsity *a, const roles *r, const int64_t *const *shape,
                                     const grad_window *w, const int64_t *index) {
  grad_status status = GRAD_OK;
  place at = {.o = index[0], .c = index[1], .k = {index[2], index[3]}};
  for (at.n = 0; at.n < shape[X][0]; at.n++)
    for (at.t[0] = 0; at.t[0] < w->out[0]; at.t[0]++)
      for (at.t[1] = 0; at.t[1] < w->out[1] && status == GRAD_OK; at.t[1]++) status = add_term(a, r, shape, w, &at);
  return status;
}

static grad_status conv_dependence(grad_sparsity *a) {
  const roles r = roles_of(a->ins->op);
  const int64_t *shape[3];
  shape[r.in[0]] = grad__type(a->p, a->ins->in[0])->shape;
  shape[r.in[1]] = grad__type(a->p, a->ins->in[1])->shape;
  shape[r.out] = grad__type(a->p, a->ins->out)->shape;
  grad_window w = grad__window_of(a->ins->params);
  const grad_status status = grad__window_fit(a->p->ctx, "conv", &w, shape[X] + 2);
  if (status != GRAD_OK) return status;
  int64_t index[4], rest = a->element;
  for (int i = 3; i >= 0; i--) {
    index[i] = rest % shape[r.out][i];
    rest /= shape[r.out][i];
  }
  if (r.out == Y) return output_dependence(a, &r, shape, &w, index);
  return r.out == X ? input_dependence(a, &r, shape, &w, index) : weight_dependence(a, &r, shape, &w, index);
}

/* --- rules, one of each for all three ops */

/* The op that leaves out factor r, on the other two; extents: those of r's last two axes. */
static grad_id emit_without(grad_program *p, role r, const grad_id *factor, const int64_t *from, int64_t groups,
                            const int64_t *extents) {
  int64_t params[NPARAMS] = {0};
  memcpy(params, from, GROUPS * sizeof *params);
  params[GROUPS] = groups;
  if (r != Y) memcpy(params + EXTENTS, extents, 2 * sizeof *extents);
  const grad_op *op = op_without(r);
  const roles in = roles_of(op);
  return grad__emit2(p, op, factor[in.in[0]], factor[in.in[1]], NPARAMS, params);
}

static void conv_jvp(grad_jvp *a) {
  const int64_t *params = a->ins->params;
  const grad_op *op = a->ins->op;
  a->dy[0] = grad__add_tangents(a->p, grad__emit2(a->p, op, a->dx[0], a->x[1], NPARAMS, params),
                                grad__emit2(a->p, op, a->x[0], a->dx[1], NPARAMS, params));
}

static void conv_transpose(grad_transpose *a) {
  const roles r = roles_of(a->ins->op);
  const int k = a->linear[0] ? 0 : 1;
  grad_id factor[3];
  factor[r.out] = a->cy[0];
  factor[r.in[!k]] = a->x[!k];
  a->cx[k] = emit_without(a->p, r.in[k], factor, a->ins->params, a->ins->params[GROUPS], a->xt[k].shape + 2);
}

/* Merges axis `axis` + 1 of a batched value with its batch axis, which is first: B N ... to (B N) ... or N (B C) ... */
static grad_id merge_batch(grad_program *p, grad_id v, int axis) {
  if (v == GRAD_NONE) return v;
  if (axis == 1) v = grad__swap_axes(p, v, 0, 1);
  const int64_t *t = grad__shape(p, v);
  const int64_t first[] = {t[0] * t[1], t[2], t[3], t[4]}, second[] = {t[0], t[1] * t[2], t[3], t[4]};
  return grad__reshape(p, v, 4, axis == 0 ? first : second);
}

static grad_id split_batch(grad_program *p, grad_id v, int axis, int64_t size) {
  if (v == GRAD_NONE) return v;
  const int64_t *t = grad__shape(p, v);
  const int64_t first[] = {size, size ? t[0] / size : 0, t[1], t[2], t[3]};
  const int64_t second[] = {t[0], size, size ? t[1] / size : 0, t[2], t[3]};
  v = grad__reshape(p, v, 5, axis == 0 ? first : second);
  return axis == 1 ? grad__swap_axes(p, v, 0, 1) : v;
}

/* Images of one weight are more images. Where each example has its own weight, examples are groups of channels: images
 * N (B C) H W, weights (B O) C/groups KH KW. */
static void conv_batch(grad_batch *a) {
  const roles r = roles_of(a->ins->op);
  const bool own_weight = r.out == W || a->batched[r.in[0] == W ? 0 : 1];
  grad_id factor[3] = {GRAD_NONE, GRAD_NONE, GRAD_NONE};
  for (int i = 0; i < 2; i++) {
    const bool merges = own_weight || r.in[i] != W;
    const int axis = own_weight && r.in[i] != W;
    factor[r.in[i]] = merges ? merge_batch(a->p, grad__batched_input(a, i), axis) : a->x[i];
  }
  const int64_t groups = a->ins->params[GROUPS] * (own_weight ? a->size : 1);
  const grad_id y = emit_without(a->p, r.out, factor, a->ins->params, groups, a->yt[0].shape + 2);
  a->y[0] = split_batch(a->p, y, own_weight && r.out != W, a->size);
}

#define CONV(NAME)                                                                                                     \
  const grad_op grad__op_##NAME = {                                                                                    \
      .name = #NAME,                                                                                                   \
      .nin = 2,                                                                                                        \
      .nout = 1,                                                                                                       \
      .sparsity = GRAD_SPARSITY_CUSTOM,                                                                                \
      .dependence = conv_dependence,                                                                                   \
      .infer = NAME##_infer,                                                                                           \
      .eval = NAME##_eval,                                                                                             \
      .scratch = conv_scratch,                                                                                         \
      .jvp = conv_jvp,                                                                                                 \
      .transpose = conv_transpose,                                                                                     \
      .batch = conv_batch,                                                                                             \
      .flops = conv_flops,                                                                                             \
  };
CONV(conv)
CONV(conv_input)
CONV(conv_weight)

/* --- builders */

grad_id grad__conv2d(grad_program *p, grad_id x, grad_id w, const grad_conv *c) {
  if (x == GRAD_NONE || w == GRAD_NONE) return GRAD_NONE;
  const grad_dtype dtype =
      grad__operand_dtype(&grad__op_div, grad__dtype_promote(grad__type(p, x)->dtype, grad__type(p, w)->dtype));
  int64_t params[NPARAMS] = {0};
  grad_window window = {.kernel = {1, 1}};
  for (int i = 0; i < 2; i++) {
    if (grad__ndim(p, w) == 4) window.kernel[i] = grad__extent(p, w, 2 + i);
    window.stride[i] = c->stride[i];
    window.padding[i] = c->padding[i];
    window.dilation[i] = c->dilation[i];
  }
  grad__window_params(&window, params);
  params[GROUPS] = c->groups;
  return grad__emit2(p, &grad__op_conv, grad__convert(p, x, dtype), grad__convert(p, w, dtype), NPARAMS, params);
}

/* A signal is an image with one row. */
grad_id grad__conv1d(grad_program *p, grad_id x, grad_id w, const grad_conv *c) {
  if (x == GRAD_NONE || w == GRAD_NONE) return GRAD_NONE;
  const grad_type *image = grad__type(p, x), *weight = grad__type(p, w);
  if (image->ndim != 3 || weight->ndim != 3)
    return grad__program_fail(p, GRAD_ESHAPE, "conv1d: expected signals N C L and weights O C/groups K, got %s and %s",
                              grad__shape_text(image->ndim, image->shape).chars,
                              grad__shape_text(weight->ndim, weight->shape).chars);
  if (!grad__program_try(p, check_channels(p->ctx, 3, image->shape, weight->shape, c->groups))) return GRAD_NONE;
  const grad_conv flat = {
      .stride = {1, c->stride[0]}, .padding = {0, c->padding[0]}, .dilation = {1, c->dilation[0]}, .groups = c->groups};
  return grad__drop_axis(p, grad__conv2d(p, grad__insert_axis(p, x, 2), grad__insert_axis(p, w, 2), &flat), 2);
}
