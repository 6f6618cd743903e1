/* ctx.c: making and freeing a context, recording failures, polling for interrupts. */
#include "core/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *libc_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
  (void)ud;
  (void)old_size;
  if (new_size == 0) {
    free(block);
    return NULL;
  }
  return realloc(block, new_size);
}

static int thread_count(int asked) {
  if (asked <= 0) {
    const char *env = getenv("GRADLUA_THREADS");
    const long n = env ? strtol(env, NULL, 10) : 1;
    asked = n > GRAD_POOL_MAX ? GRAD_POOL_MAX : (int)n;
  }
  if (asked < 1) return 1;
  return asked > GRAD_POOL_MAX ? GRAD_POOL_MAX : asked;
}

void grad__config_read(void *to, size_t size, const void *from, size_t given, size_t first) {
  if (given == 0) given = first;
  memset(to, 0, size);
  memcpy(to, from, given < size ? given : size);
}

grad_status grad_ctx_new(const grad_config *config, grad_ctx **out) {
  static const size_t first_size = offsetof(grad_config, threads) + sizeof(int);
  grad_config given = {0};
  if (config) grad__config_read(&given, sizeof given, config, config->size, first_size);
  const grad_alloc_fn alloc = given.alloc ? given.alloc : libc_alloc;
  if (given.byte_limit && given.byte_limit < sizeof(grad_ctx)) return GRAD_ENOMEM;

  grad_ctx *const ctx = alloc(given.alloc_ud, NULL, 0, sizeof *ctx);
  if (!ctx) return GRAD_ENOMEM;
  *ctx = (grad_ctx){.alloc = alloc,
                    .alloc_ud = given.alloc_ud,
                    .limit = given.byte_limit,
                    .interrupt = given.interrupt,
                    .interrupt_ud = given.interrupt_ud,
                    .progress = given.progress,
                    .progress_ud = given.progress_ud,
                    .simd = grad__simd_detect(),
                    .interpret = getenv("GRADLUA_INTERPRET") != NULL,
                    .threads = thread_count(given.threads),
                    .most_threads = GRAD_POOL_MAX};
  *out = ctx;
  return GRAD_OK;
}

void grad_ctx_free(grad_ctx *ctx) {
  if (!ctx) return;
  if (ctx->pool && ctx->pool_free) ctx->pool_free(ctx->pool);
  grad__drop_kept_blocks(ctx);
  ctx->alloc(ctx->alloc_ud, ctx, sizeof *ctx, 0);
}

const char *grad_message(const grad_ctx *ctx) { return ctx->message; }

grad_status grad__fail(grad_ctx *ctx, grad_status status, const char *format, ...) {
  char text[sizeof ctx->message]; /* an argument may be the message recorded before */
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  memcpy(ctx->message, text, strlen(text) + 1);
  ctx->status = status;
  return status;
}

grad_status grad__interrupted(grad_ctx *ctx) {
  if (!ctx->interrupt || !ctx->interrupt(ctx->interrupt_ud)) return GRAD_OK;
  return grad__fail(ctx, GRAD_EINTERRUPT, "interrupted");
}
