/* version.c: what `gradlua -v` says: the versions and the machine that it runs on. */
#include "cli/cli.h"

#include "core/ctx.h"
#include "linalg/blas.h"

void cli_version_push(lua_State *L) {
  grad_blas_info blas = {.core = "not found"};
  grad_ctx *ctx;
  if (grad_ctx_new(NULL, &ctx) == GRAD_OK) {
    grad__blas_info(ctx, &blas);
    grad_ctx_free(ctx);
  }
  lua_pushfstring(L, "gradlua %s  %s  BLAS %s  SIMD %s", grad_version(), LUA_RELEASE, blas.core,
                  grad__simd_name(grad__simd_detect()));
}
