/* check_alloc.h: an allocator that fails at the n-th request, and a loop that tries every n: the task must then give
 * ENOMEM, and free all it had. New memory is full of rubbish, and so is freed memory; a block that grows always moves.
 */
#ifndef CHECK_ALLOC_H
#define CHECK_ALLOC_H

#include <stdint.h>
#include <stdlib.h>

#include "check_ctx.h"

typedef struct check_alloc {
  int64_t calls, fail_at; /* 0: never */
  int64_t bytes;          /* in use, counted apart from the context's own accounting */
} check_alloc;

static inline void check_alloc_free(void *block, size_t size) {
  if (block && size > 0) memset(block, 0xdd, size);
  free(block);
}

static inline void *check_alloc_run(void *ud, void *block, size_t old_size, size_t new_size) {
  check_alloc *const a = ud;
  if (new_size == 0) {
    a->bytes -= (int64_t)old_size;
    check_alloc_free(block, old_size);
    return NULL;
  }
  if (++a->calls == a->fail_at) return NULL;
  unsigned char *const moved = malloc(new_size);
  if (!moved) return NULL;
  const size_t kept = old_size < new_size ? old_size : new_size;
  memset(moved + kept, 0xaa, new_size - kept);
  if (kept > 0) memcpy(moved, block, kept);
  check_alloc_free(block, old_size);
  a->bytes += (int64_t)new_size - (int64_t)old_size;
  return moved;
}

/* Makes what it needs in ctx, frees all of it, and returns the first failure. */
typedef grad_status (*check_task)(grad_ctx *ctx, void *ud);

static inline void check_failing_alloc(const char *name, check_task task, void *ud) {
  enum { MOST = 10000 };
  for (int64_t n = 1; n < MOST; n++) {
    check_alloc a = {0};
    grad_ctx *ctx = NULL;
    if (!check(grad_ctx_new(&(grad_config){.alloc = check_alloc_run, .alloc_ud = &a, .threads = 1}, &ctx) == GRAD_OK))
      return;
    const int64_t begun = a.calls;
    a.fail_at = begun + n;
    const grad_status status = task(ctx, ud);
    const bool failed = a.calls >= a.fail_at;
    bool good = check(ctx->used == 0) && check(status == (failed ? GRAD_ENOMEM : GRAD_OK));
    if (status) good = check(grad_message(ctx)[0] != '\0') && good;
    if (!good)
      fprintf(stderr, "  %s, request %d: status %s, %zu bytes left: %s\n", name, (int)n, grad_status_name(status),
              ctx->used, grad_message(ctx));
    grad_ctx_free(ctx);
    good = check(a.bytes == 0) && good;
    if (!failed || !good) return;
  }
  check_never("the task ends within the tried number of requests");
}

#endif
