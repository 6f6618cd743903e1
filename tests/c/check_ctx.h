/* check_ctx.h: the context of a test. */
#ifndef CHECK_CTX_H
#define CHECK_CTX_H

#include <stdlib.h>

#include "check.h"
#include "core/ctx.h"

/* No test goes on without one. */
static inline grad_ctx *check_open(void) {
  grad_ctx *ctx = NULL;
  if (grad_ctx_new(NULL, &ctx) == GRAD_OK) return ctx;
  fprintf(stderr, "no context\n");
  exit(1);
}

/* Nothing of it may be in use any more. */
static inline void check_close(grad_ctx *ctx) {
  check(ctx->used == 0);
  grad_ctx_free(ctx);
}

#endif
