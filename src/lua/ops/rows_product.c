/* rows_product.c: products, diagonals and triangles, gathering by positions. */
#include "lua/call.h"
#include "ops/compose.h"

typedef grad_id (*binary)(grad_program *, grad_id, grad_id);

static void product(grad_call *c, binary f) {
  grad_id a = grad__call_tensor(c, 1, "the first factor"), b = grad__call_tensor(c, 2, "the second factor");
  grad__call_return(c, f(c->p, a, b));
}

static void build_matmul(grad_call *c) { product(c, grad__matmul_any); }
static void build_dot(grad_call *c) { product(c, grad__vecdot); }
static void build_outer(grad_call *c) { product(c, grad__outer); }
static void build_bmm(grad_call *c) { product(c, grad__bmm); }
static void build_kron(grad_call *c) { product(c, grad__kron); }

static void build_einsum(grad_call *c) {
  grad_id operands[32];
  int n = 0;
  if (lua_type(c->L, 1) != LUA_TSTRING)
    grad__arg_error(c->L, 1, "the first argument", "a string such as \"ij,jk->ik\"");
  for (int i = 2; i <= c->nargs; i++) {
    if (n == 32) grad__lua_error(c->L, "at most 32 operands are possible");
    operands[n++] = grad__call_tensor(c, i, "an operand");
  }
  grad__call_return(c, grad__einsum(c->p, lua_tostring(c->L, 1), n, operands));
}

static int64_t diagonal_number(const grad_call *c) { return grad__arg_integer_or(c->L, 2, "the diagonal", 0); }

static void build_trace(grad_call *c) {
  grad__call_return(c, grad__trace(c->p, grad__call_tensor(c, 1, "the matrix")));
}
static void build_tril(grad_call *c) {
  grad__call_return(c, grad__tril(c->p, grad__call_tensor(c, 1, "the matrix"), diagonal_number(c)));
}
static void build_triu(grad_call *c) {
  grad__call_return(c, grad__triu(c->p, grad__call_tensor(c, 1, "the matrix"), diagonal_number(c)));
}

static void build_diag(grad_call *c) {
  grad_id x = grad__call_tensor(c, 1, "x");
  bool vector = grad__call_type(c, x)->ndim == 1;
  grad__call_return(c, vector ? grad__diag_matrix(c->p, x, diagonal_number(c))
                              : grad__diagonal(c->p, x, diagonal_number(c)));
}

/* --- positions, from 1 */

static void build_gather(grad_call *c) {
  grad_id x = grad__call_tensor(c, 1, "x");
  int axis = grad__arg_axis(c->L, 2, "axis", grad__call_type(c, x)->ndim);
  grad_id index = grad__call_tensor(c, 3, "the positions");
  grad__call_return(c, grad__gather(c->p, x, axis, grad__positions(c->p, index, grad__call_type(c, x)->shape[axis])));
}

static void build_scatter_add(grad_call *c) {
  grad_id x = grad__call_tensor(c, 1, "x");
  int axis = grad__arg_axis(c->L, 2, "axis", grad__call_type(c, x)->ndim);
  grad_id index = grad__call_tensor(c, 3, "the positions"), source = grad__call_value_like(c, 4, "the source", x);
  index = grad__positions(c->p, index, grad__call_type(c, x)->shape[axis]);
  if (index != GRAD_NONE && grad__call_type(c, source)->ndim == 0)
    source = grad__broadcast(c->p, source, grad__call_type(c, index)->ndim, grad__call_type(c, index)->shape);
  source = grad__convert(c->p, source, grad__call_type(c, x)->dtype);
  grad__call_return(c, grad__scatter_add(c->p, x, axis, index, source));
}

static void build_embedding(grad_call *c) {
  grad_id table = grad__call_tensor(c, 1, "the table"), index = grad__call_tensor(c, 2, "the positions");
  if (grad__call_type(c, table)->ndim == 0) grad__lua_error(c->L, "the table needs an axis of rows, got a 0-d tensor");
  grad__call_return(c, grad__take(c->p, table, grad__positions(c->p, index, grad__call_type(c, table)->shape[0]), 0));
}

static void build_one_hot(grad_call *c) {
  grad_id index = grad__call_tensor(c, 1, "the positions");
  int64_t n = grad__arg_integer(c->L, 2, "the number of classes");
  if (n < 1) grad__lua_error(c->L, "the number of classes must be at least 1, got %lld", (long long)n);
  grad_dtype dtype = grad__option_dtype(c->L, c->options, GRAD_F64);
  grad__call_return(c, grad__one_hot(c->p, grad__labels(c->p, index, n), n, dtype));
}

static const grad_fn rows[] = {
    GRAD_BUILDER(matmul, "a, b -> tensor",
                 "matrix product over the last two axes; vectors allowed, leading axes broadcast"),
    {.name = "mm", .signature = "a, b -> tensor", .doc = "matmul", .build = build_matmul, .method = true},
    GRAD_BUILDER(dot, "a, b -> tensor", "inner product of two vectors"),
    GRAD_BUILDER(outer, "a, b -> tensor", "outer product of two vectors"),
    GRAD_BUILDER(bmm, "a, b -> tensor", "matrix products of two batches"),
    GRAD_BUILDER(kron, "a, b -> tensor", "Kronecker product"),
    {.name = "einsum",
     .signature = "spec, tensors... -> tensor",
     .doc = "sum of products over letters: \"ij,jk->ik\" is the matrix product",
     .build = build_einsum},
    GRAD_BUILDER(trace, "x -> tensor", "sum of the diagonal of the last two axes"),
    GRAD_BUILDER(tril, "x [, k = 0] -> tensor", "the lower triangle, up to diagonal k, zeros elsewhere"),
    GRAD_BUILDER(triu, "x [, k = 0] -> tensor", "the upper triangle, from diagonal k, zeros elsewhere"),
    GRAD_BUILDER(diag, "x [, k = 0] -> tensor", "a vector as diagonal k of a matrix; of more axes, that diagonal"),
    GRAD_BUILDER(gather, "x, axis, positions -> tensor", "y[i][j] = x[positions[i][j]][j] for axis 1"),
    GRAD_BUILDER(scatter_add, "x, axis, positions, source -> tensor",
                 "a copy of x with x[positions[i][j]][j] increased by source[i][j] for axis 1"),
    GRAD_BUILDER(embedding, "table, positions -> tensor", "the rows of a table at positions"),
    GRAD_BUILDER(one_hot, "positions, n [, {dtype = \"f64\"}] -> tensor",
                 "1 at the position along a new last axis, 0 elsewhere"),
    GRAD_FN_END,
};

void grad__open_rows_product(lua_State *L) { grad__lua_register(L, rows); }
