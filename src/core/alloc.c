/* alloc.c: the context's allocator: the host's function with accounting and a byte limit. */
#include "core/ctx.h"

#include <stdint.h>
#include <string.h>
#if defined __linux__
#include <sys/mman.h>
#endif

enum { ALIGNMENT = 64, LARGE = 4 << 20 };

/* An aligned block has the address that the allocator gave just before it. */
static const size_t aligned_extra = ALIGNMENT + sizeof(void *);

/* --- large blocks are kept for reuse: clearing fresh pages costs more than most passes over an array. Measured: a
 * function that returns 100 MB every time takes 4.6 ms instead of 12 ms. Only a block of exactly the size asked for is
 * taken, and any other request for a large block first gives back all that are kept, so that they add nothing to the
 * peak of large ones. They count within the byte limit, and are given up before a request fails. */

#if defined __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined SANITIZED /* a kept block hides that somebody uses it after it was freed   \
                                                       */
static const size_t most_kept = 0;
#else
static const size_t most_kept = (size_t)256 << 20;
#endif

static void drop_oldest(grad_ctx *ctx) {
  ctx->alloc(ctx->alloc_ud, ctx->kept[0].block, ctx->kept[0].bytes, 0);
  ctx->kept_bytes -= ctx->kept[0].bytes;
  ctx->nkept--;
  memmove(&ctx->kept[0], &ctx->kept[1], (size_t)ctx->nkept * sizeof *ctx->kept);
}

void grad__drop_kept_blocks(grad_ctx *ctx) {
  while (ctx->nkept > 0) drop_oldest(ctx);
}

/* A kept block of that size, now in use; NULL: there is none. */
static void *take_kept(grad_ctx *ctx, size_t bytes) {
  for (int i = ctx->nkept - 1; i >= 0; i--) {
    if (ctx->kept[i].bytes != bytes) continue;
    void *const block = ctx->kept[i].block;
    ctx->nkept--;
    ctx->kept_bytes -= bytes;
    memmove(&ctx->kept[i], &ctx->kept[i + 1], (size_t)(ctx->nkept - i) * sizeof *ctx->kept);
    return block;
  }
  grad__drop_kept_blocks(ctx);
  return NULL;
}

static bool keep(grad_ctx *ctx, void *block, size_t bytes) {
  if (bytes < LARGE || bytes > most_kept) return false;
  while (ctx->nkept == GRAD_KEPT_BLOCKS || ctx->kept_bytes + bytes > most_kept) drop_oldest(ctx);
  ctx->kept[ctx->nkept++] = (grad_kept_block){block, bytes};
  ctx->kept_bytes += bytes;
  return true;
}

/* --- any block */

/* The allocator's answer; when it has no more, asked again without what is kept. */
static void *ask(grad_ctx *ctx, void *block, size_t old_bytes, size_t new_bytes) {
  void *const moved = ctx->alloc(ctx->alloc_ud, block, old_bytes, new_bytes);
  if (moved || ctx->nkept == 0) return moved;
  grad__drop_kept_blocks(ctx);
  return ctx->alloc(ctx->alloc_ud, block, old_bytes, new_bytes);
}

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
  const bool large = !block && new_bytes >= LARGE;
  void *moved = large ? take_kept(ctx, new_bytes) : NULL;
  if (ctx->limit && ctx->used + ctx->kept_bytes + new_bytes - old_bytes > ctx->limit) grad__drop_kept_blocks(ctx);
  if (!moved) moved = ask(ctx, block, old_bytes, new_bytes);
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
  ctx->used -= bytes;
  if (!keep(ctx, block, bytes)) ctx->alloc(ctx->alloc_ud, block, bytes, 0);
}

/* Large blocks ask the kernel for large pages: the first touch of an array of 100 MB otherwise costs 25,000 page
 * faults, more time than many a pass over it. As NumPy does; what the kernel makes of it is its own affair. */
static void prefer_large_pages(char *block, size_t bytes) {
#if defined __linux__ && defined MADV_HUGEPAGE
  enum { PAGE = 4096 };
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
