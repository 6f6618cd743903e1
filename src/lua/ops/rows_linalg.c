/* rows_linalg.c: linear algebra on the last two axes, batched over the leading ones. */
#include "lua/call.h"
#include "ops/linalg.h"

static grad_id matrix(grad_call *c) { return grad__call_tensor(c, 1, "the matrix"); }
static grad_id right_side(grad_call *c) { return grad__call_tensor(c, 2, "the right-hand side"); }

static void unary(grad_call *c, grad_id (*f)(grad_program *, grad_id)) { grad__call_return(c, f(c->p, matrix(c))); }

static void linear_system(grad_call *c, grad_id (*f)(grad_program *, grad_id, grad_id)) {
  grad_id a = matrix(c), b = right_side(c);
  grad__call_return(c, f(c->p, a, b));
}

static void pair(grad_call *c, void (*f)(grad_program *, grad_id, grad_id *, grad_id *)) {
  grad_id first, second;
  f(c->p, matrix(c), &first, &second);
  grad__call_return(c, first);
  grad__call_return(c, second);
}

static void build_inv(grad_call *c) { unary(c, grad__inv); }
static void build_cholesky(grad_call *c) { unary(c, grad__cholesky); }
static void build_det(grad_call *c) { unary(c, grad__det); }
static void build_logdet(grad_call *c) { unary(c, grad__logdet); }
static void build_matrix_exp(grad_call *c) { unary(c, grad__matrix_exp); }
static void build_solve(grad_call *c) { linear_system(c, grad__solve); }
static void build_lstsq(grad_call *c) { linear_system(c, grad__lstsq); }
static void build_cholesky_solve(grad_call *c) { linear_system(c, grad__cholesky_solve); }
static void build_slogdet(grad_call *c) { pair(c, grad__slogdet); }
static void build_qr(grad_call *c) { pair(c, grad__qr); }
static void build_eigh(grad_call *c) { pair(c, grad__eigh); }

static void build_triangular_solve(grad_call *c) {
  grad_id a = matrix(c), b = right_side(c);
  const bool upper = grad__option_boolean(c->L, c->options, "upper", false);
  grad__call_return(c, grad__triangular_solve(c->p, a, b, upper, false));
}

static void build_svd(grad_call *c) {
  grad_id u, s, vt;
  grad__svd(c->p, matrix(c), &u, &s, &vt);
  grad__call_return(c, u);
  grad__call_return(c, s);
  grad__call_return(c, vt);
}

static const grad_fn rows[] = {
    GRAD_BUILDER(solve, "a, b -> tensor",
                 "the x with a x = b, for a square matrix a; b holds columns, or is one vector"),
    GRAD_BUILDER(inv, "a -> tensor", "the inverse of a square matrix"),
    GRAD_BUILDER(det, "a -> tensor", "the determinant"),
    GRAD_BUILDER(logdet, "a -> tensor", "the logarithm of the determinant; NaN when that is negative"),
    GRAD_BUILDER(slogdet, "a -> sign, logabs", "the determinant's sign, and the logarithm of its magnitude"),
    GRAD_BUILDER(cholesky, "a -> tensor", "the lower factor l, l l' = a, of a symmetric positive definite matrix"),
    GRAD_BUILDER(cholesky_solve, "l, b -> tensor", "the x with l l' x = b, for a lower factor l of cholesky"),
    GRAD_BUILDER(triangular_solve, "a, b [, {upper = false}] -> tensor",
                 "the x with a x = b, for a triangular matrix a"),
    GRAD_BUILDER(lstsq, "a, b -> tensor", "the x that makes |a x - b| least, for a matrix a of full rank"),
    GRAD_BUILDER(qr, "a -> q, r", "orthonormal columns q and an upper triangular r with q r = a"),
    GRAD_BUILDER(svd, "a -> u, s, vt", "singular values s, largest first, and orthonormal u, vt with u diag(s) vt = a"),
    GRAD_BUILDER(eigh, "a -> values, vectors",
                 "eigenvalues, smallest first, and eigenvectors in columns, of a symmetric matrix"),
    GRAD_BUILDER(matrix_exp, "a -> tensor", "the exponential of a square matrix"),
    GRAD_FN_END,
};

void grad__open_rows_linalg(lua_State *L) { grad__lua_register(L, rows); }
