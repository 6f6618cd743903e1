/* version.c: what `gradlua -v` says: the versions and the machine that it runs on. */
#include "cli/cli.h"

#include "core/ctx.h"
#include "linalg/blas.h"

void cli_version_push(lua_State *L) {
  lua_pushfstring(L, "gradlua %s  %s  BLAS %s  SIMD %s", grad_version(), LUA_RELEASE, grad__blas_core(),
                  grad__simd_name(grad__simd_detect()));
}
