/* ctx.h: the context: allocator with accounting, last error, interrupt. The lowest layer; includes nothing above. */
#ifndef GRAD_CORE_CTX_H
#define GRAD_CORE_CTX_H

#include <stdarg.h>
#include <stdbool.h>

#include "include/grad.h"

/* Which kernels this CPU runs best. Order matters: a higher level contains the lower ones. */
typedef enum grad_simd { GRAD_SIMD_BASELINE, GRAD_SIMD_AVX2, GRAD_SIMD_AVX512 } grad_simd;

typedef struct grad_pool grad_pool; /* worker threads, made by pool.c on first use */

/* Large blocks that were freed, for the next ones of the same size: see alloc.c. */
enum { GRAD_KEPT_BLOCKS = 16 };
typedef struct grad_kept_block {
  void *block;
  size_t bytes;
} grad_kept_block;

struct grad_ctx {
  grad_alloc_fn alloc;
  void *alloc_ud;
  int nkept;
  grad_kept_block kept[GRAD_KEPT_BLOCKS]; /* the oldest first */
  size_t kept_bytes;                      /* not in use, but within the limit */
  size_t limit;                           /* 0: none */
  size_t used, peak;
  uint64_t allocations; /* how many blocks were ever asked for; tests read it to see that a plan allocates nothing */
  grad_interrupt_fn interrupt;
  void *interrupt_ud;
  grad_progress_fn progress;
  void *progress_ud;
  const struct grad_file_system *files; /* of io/source.h; NULL: the system's files */
  int calls_out; /* calls of the host's or Lua's functions that the core waits for: what it works on must stay */
  grad_simd simd;
  bool interpret;            /* run fused loops without machine code: GRADLUA_INTERPRET is set, or a test compares */
  int threads, most_threads; /* what grad_ctx_set_threads takes at most */
  grad_pool *pool;
  void (*pool_free)(grad_pool *); /* of pool.c, once there is a pool */
  grad_status status;             /* of the last failure */
  char message[1024];
};

/* grad__fail: records the message (printf) and returns status, so that `return grad__fail(...)` reads as a sentence.
 * Messages are for the person who called: name the operation, what was expected, what came, both shapes. */
#if defined __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
grad_status
grad__fail(grad_ctx *ctx, grad_status status, const char *format, ...);

/* Memory. Sizes are handed back on free, so blocks carry no header. NULL on failure, with the error recorded.
 * grad__alloc of 0 bytes gives NULL and no error. Blocks of 64 bytes and more are 64-byte aligned when asked through
 * grad__alloc_aligned (freed with grad__free_aligned). */
void *grad__alloc(grad_ctx *ctx, size_t bytes);
void *grad__realloc(grad_ctx *ctx, void *block, size_t old_bytes, size_t new_bytes);
void grad__free(grad_ctx *ctx, void *block, size_t bytes);
void *grad__alloc_aligned(grad_ctx *ctx, size_t bytes);
void grad__free_aligned(grad_ctx *ctx, void *block, size_t bytes);
/* Hands the large blocks that are kept for reuse back to the system. */
void grad__drop_kept_blocks(grad_ctx *ctx);

/* grad__interrupted: GRAD_OK, or GRAD_EINTERRUPT recorded. Cheap enough for every instruction. */
grad_status grad__interrupted(grad_ctx *ctx);

/* grad__config_read: copies a configuration of `given` bytes, the size it says it has (0: `first`, its size in version
 * 0.1), to one of `size` bytes: what only one of them has is left out or zero. */
void grad__config_read(void *to, size_t size, const void *from, size_t given, size_t first);

grad_simd grad__simd_detect(void);
const char *grad__simd_name(grad_simd simd);

/* Checked size arithmetic: false on overflow, *out untouched then. */
bool grad__mul_i64(int64_t a, int64_t b, int64_t *out);
bool grad__add_i64(int64_t a, int64_t b, int64_t *out);

#endif
