/* gemm_blocks.c: see gemm_blocks.h. The kernels exist for products of up to 100^3 multiply-adds, and for all ways of
 * transposing but a b': there a block of one factor is transposed into a buffer on the stack first.
 */
#include "linalg/gemm_blocks.h"

/* BLOCK^3 is within the library's limit. PANEL: of the inner extent, taken at a time. CACHED: elements of the result
 * and of one panel of both factors. For a b' the library has a kernel only for an inner extent from DEEP on, and one
 * that is good only for results smaller than WIDE. */
enum { BLOCK = 96, GRAIN = 16, PANEL = 1024, CACHED = 1 << 19, DEEP = 32, WIDE = 32 * 32 };

grad_blas_number grad__blas_number(grad_dtype dtype, double x) {
  grad_blas_number out;
  if (dtype == GRAD_F32) {
    out.f = (float)x;
  } else {
    out.d = x;
  }
  return out;
}

/* A row-major matrix is the transpose of the column-major one in the same memory: the factors change places. */
void grad__gemm_whole(const grad_gemm *p) {
  p->fn(p->tb ? "T" : "N", p->ta ? "T" : "N", &p->n, &p->m, &p->k, &p->alpha, p->b, &p->ldb, p->a, &p->lda, &p->beta,
        p->c, &p->ldc);
}

/* Does transposing a block cost less than it gains? */
static bool turns(const grad_gemm *p) { return p->tb && !p->ta && (p->k < DEEP || (int64_t)p->m * p->n >= WIDE); }

bool grad__gemm_blocks_fit(const grad_gemm *p) {
  const int64_t m = p->m, n = p->n, k = p->k, panel = k < PANEL ? k : PANEL;
  if (m * n + (m + n) * panel > CACHED) return false;
  return turns(p) || m * n * k > (int64_t)BLOCK * BLOCK * BLOCK;
}

/* Blocks of nearly one size. */
static int64_t block_of(int extent) {
  const int pieces = (extent + BLOCK - 1) / BLOCK, even = (extent + pieces - 1) / pieces;
  return (even + GRAIN - 1) / GRAIN * GRAIN;
}

#define TRANSPOSE(name, real)                                                                                          \
  static void name(int rows, int cols, const real *from, int ld, real *to) {                                           \
    enum { STRIP = 8 };                                                                                                \
    int i = 0;                                                                                                         \
    for (; i + STRIP <= rows; i += STRIP) {                                                                            \
      const real *const strip = from + (int64_t)i * ld;                                                                \
      for (int j = 0; j < cols; j++) {                                                                                 \
        for (int s = 0; s < STRIP; s++) to[j * rows + i + s] = strip[(int64_t)s * ld + j];                             \
      }                                                                                                                \
    }                                                                                                                  \
    for (; i < rows; i++) {                                                                                            \
      for (int j = 0; j < cols; j++) to[j * rows + i] = from[(int64_t)i * ld + j];                                     \
    }                                                                                                                  \
  }

TRANSPOSE(transpose_f32, float)
TRANSPOSE(transpose_f64, double)

typedef union buffer {
  float f[BLOCK * BLOCK];
  double d[BLOCK * BLOCK];
} buffer;

/* Transposes the first factor of a block, or else the second. */
static void turn_block(const grad_gemm *q, bool first, buffer *to) {
  const int rows = first ? q->m : q->n, ld = first ? q->lda : q->ldb;
  const void *const from = first ? q->a : q->b;
  if (q->dtype == GRAD_F32) {
    transpose_f32(rows, q->k, from, ld, to->f);
  } else {
    transpose_f64(rows, q->k, from, ld, to->d);
  }
}

static int within(int extent, int64_t first, int64_t block) {
  return extent - first < block ? (int)(extent - first) : (int)block;
}

grad_gemm grad__gemm_part(const grad_gemm *p, int64_t i, int64_t j, int64_t l, const int64_t *mnk) {
  const int64_t bytes = (int64_t)grad__dtype_size(p->dtype);
  grad_gemm q = *p;
  q.m = within(p->m, i, mnk[0]);
  q.n = within(p->n, j, mnk[1]);
  q.k = within(p->k, l, mnk[2]);
  q.a += (p->ta ? l * p->lda + i : i * p->lda + l) * bytes;
  q.b += (p->tb ? j * p->ldb + l : l * p->ldb + j) * bytes;
  q.c += (i * p->ldc + j) * bytes;
  if (l > 0) q.beta = grad__blas_number(p->dtype, 1);
  return q;
}

/* Multiplies with the first, or else the second factor read from its transpose in `turned`. */
static void multiply_turned(grad_gemm q, bool first, const buffer *turned) {
  if (first) {
    q.a = (const char *)turned;
    q.ta = true;
    q.lda = q.m;
  } else {
    q.b = (const char *)turned;
    q.tb = false;
    q.ldb = q.n;
  }
  grad__gemm_whole(&q);
}

/* The result's longer extent is the innermost loop, so that one block of the other side's factor serves a whole run of
 * products, transposed once. */
static void run_panel(const grad_gemm *p) {
  const int64_t block[3] = {block_of(p->m), block_of(p->n), block_of(p->k)};
  const bool down = p->m > p->n, turn = turns(p);
  const int outer = down ? p->n : p->m, inner = down ? p->m : p->n;
  buffer turned;
  for (int64_t o = 0; o < outer; o += block[down]) {
    for (int64_t l = 0; l < p->k; l += block[2]) {
      for (int64_t r = 0; r < inner; r += block[!down]) {
        const grad_gemm q = down ? grad__gemm_part(p, r, o, l, block) : grad__gemm_part(p, o, r, l, block);
        if (turn && r == 0) turn_block(&q, !down, &turned);
        if (turn) {
          multiply_turned(q, !down, &turned);
        } else {
          grad__gemm_whole(&q);
        }
      }
    }
  }
}

void grad__gemm_blocks(const grad_gemm *p) {
  for (int64_t l = 0; l < p->k; l += PANEL) {
    const grad_gemm panel = grad__gemm_part(p, 0, 0, l, (int64_t[]){p->m, p->n, PANEL});
    run_panel(&panel);
  }
}
