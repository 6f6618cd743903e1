/* alloc.c: the context's allocator: the host's function with accounting and a byte limit. */
#include "core/ctx.h"

#include <stdint.h>
#if defined __linux__
#include <sys/mman.h>
#endif

enum { ALIGNMENT = 64 };

/* An aligned block has the address that the allocator gave just before it. */
static const size_t aligned_extra = ALIGNMENT + sizeof(void *);

void *grad__realloc(grad_ctx *ctx, void *block, size_t old_bytes, size_t new_bytes) {
  if (new_bytes == 0) {
    grad__free(ctx, block, old_bytes);
    return NULL;
  }
  if (new_bytes > old_bytes && ctx->limit && new_bytes - old_bytes > ctx->limit - ctx->used) {
    grad__fail(ctx, GRAD_ELIMIT, "%zu bytes more would pass the limit of %zu bytes (%zu in use)", new_bytes - old_bytes,
               ctx->limit, ctx->used);
    return NULL;
  }
  ctx->allocations++;
  void *const moved = ctx->alloc(ctx->alloc_ud, block, old_bytes, new_bytes);
  if (!moved) {
    grad__fail(ctx, GRAD_ENOMEM, "out of memory: %zu bytes were asked for (%zu in use)", new_bytes, ctx->used);
    return NULL;
  }
  ctx->used += new_bytes - old_bytes;
  if (ctx->used > ctx->peak) ctx->peak = ctx->used;
  return moved;
}

void *grad__alloc(grad_ctx *ctx, size_t bytes) { return grad__realloc(ctx, NULL, 0, bytes); }

void grad__free(grad_ctx *ctx, void *block, size_t bytes) {
  if (!block) return;
  ctx->alloc(ctx->alloc_ud, block, bytes, 0);
  ctx->used -= bytes;
}

/* Large blocks ask the kernel for large pages: the first touch of an array of 100 MB otherwise costs 25,000 page
 * faults, more time than many a pass over it. As NumPy does; what the kernel makes of it is its own affair. */
static void prefer_large_pages(char *block, size_t bytes) {
#if defined __linux__ && defined MADV_HUGEPAGE
  enum { LARGE = 4 << 20, PAGE = 4096 };
  if (bytes < LARGE) return;
  const size_t before = (PAGE - (uintptr_t)block % PAGE) % PAGE;
  madvise(block + before, (bytes - before) / PAGE * PAGE, MADV_HUGEPAGE);
#else
  (void)block;
  (void)bytes;
#endif
}

void *grad__alloc_aligned(grad_ctx *ctx, size_t bytes) {
  if (bytes == 0) return NULL;
  if (bytes > SIZE_MAX - aligned_extra) {
    grad__fail(ctx, GRAD_ENOMEM, "out of memory: %zu bytes were asked for", bytes);
    return NULL;
  }
  char *const raw = grad__alloc(ctx, bytes + aligned_extra);
  if (!raw) return NULL;
  const size_t past = ((uintptr_t)raw + aligned_extra) % ALIGNMENT;
  void **const block = (void **)(void *)(raw + aligned_extra - past);
  block[-1] = raw;
  prefer_large_pages((char *)block, bytes);
  return block;
}

void grad__free_aligned(grad_ctx *ctx, void *block, size_t bytes) {
  if (block) grad__free(ctx, ((void **)block)[-1], bytes + aligned_extra);
}
