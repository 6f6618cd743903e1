/* ctx.c: making and freeing a context, recording failures, polling for interrupts. */
#include "core/ctx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 256 };

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
    asked = n > MAX_THREADS ? MAX_THREADS : (int)n;
  }
  if (asked < 1) return 1;
  return asked > MAX_THREADS ? MAX_THREADS : asked;
}

grad_status grad_ctx_new(const grad_config *config, grad_ctx **out) {
  const grad_config none = {0};
  if (!config) config = &none;
  const grad_alloc_fn alloc = config->alloc ? config->alloc : libc_alloc;
  if (config->byte_limit && config->byte_limit < sizeof(grad_ctx)) return GRAD_ENOMEM;

  grad_ctx *const ctx = alloc(config->alloc_ud, NULL, 0, sizeof *ctx);
  if (!ctx) return GRAD_ENOMEM;
  *ctx = (grad_ctx){.alloc = alloc,
                    .alloc_ud = config->alloc_ud,
                    .limit = config->byte_limit,
                    .interrupt = config->interrupt,
                    .interrupt_ud = config->interrupt_ud,
                    .simd = grad__simd_detect(),
                    .interpret = getenv("GRADLUA_INTERPRET") != NULL,
                    .threads = thread_count(config->threads)};
  *out = ctx;
  return GRAD_OK;
}

void grad_ctx_free(grad_ctx *ctx) {
  if (!ctx) return;
  if (ctx->pool && ctx->pool_free) ctx->pool_free(ctx->pool);
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
