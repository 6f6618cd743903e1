/* blas_library.c: loads OpenBLAS with dlopen on first use, so that starting up costs nothing and so that its kernels
 * can be chosen first: OpenBLAS 0.3.21 takes its Haswell kernels on some AVX-512 machines, 2.5 times slower than
 * SkylakeX.
 *
 * A loaded shared library belongs to the process, not to a context. The handle kept here, and the tables of functions
 * in blas.c and lapack.c, are the one exception to the rule that the core keeps no globals; they are written once,
 * under pthread_once, and only read after that.
 */
#include "linalg/blas_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void *handle;

#if defined __APPLE__
static const char *const names[] = {"libopenblas.dylib", "/opt/homebrew/opt/openblas/lib/libopenblas.dylib",
                                    "/usr/local/opt/openblas/lib/libopenblas.dylib"};
#else
static const char *const names[] = {"libopenblas.so.0", "libopenblas.so"};
#endif
enum { NNAMES = sizeof names / sizeof *names };

/* Sets an environment variable unless the user did; true when it has to be unset again. */
static bool set_unless_set(const char *name, const char *value) {
  return value && !getenv(name) && setenv(name, value, 0) == 0;
}

static void *open_library(void) {
  const char *const wish = getenv("GRADLUA_BLAS");
  if (wish) return dlopen(wish, RTLD_LAZY | RTLD_LOCAL);
  for (int i = 0; i < NNAMES; i++) {
    void *const found = dlopen(names[i], RTLD_LAZY | RTLD_LOCAL);
    if (found) return found;
  }
  return NULL;
}

/* The library reads its environment once, while it is being loaded; a thread of the host that reads or writes the
 * environment at that moment would race with this. */
static void load(void) {
  static const char *const cores[] = {[GRAD_SIMD_AVX2] = "Haswell", [GRAD_SIMD_AVX512] = "SkylakeX"};
  for (int i = 0; i < NNAMES; i++) {
    handle = dlopen(names[i], RTLD_LAZY | RTLD_NOLOAD);
    if (handle) return;
  }
  const bool core_set = set_unless_set("OPENBLAS_CORETYPE", cores[grad__simd_detect()]);
  const bool threads_set = set_unless_set("OPENBLAS_NUM_THREADS", "1");
  handle = open_library();
  if (core_set) unsetenv("OPENBLAS_CORETYPE");
  if (threads_set) unsetenv("OPENBLAS_NUM_THREADS");
}

grad_status grad__blas_library_load(grad_ctx *ctx) {
  pthread_once(&once, load);
  if (handle) return GRAD_OK;
  return grad__fail(ctx, GRAD_EUNSUPPORTED,
                    "OpenBLAS was not found, and products of larger matrices and factorizations need it: install it "
                    "(Debian: libopenblas0, Fedora: openblas, macOS: brew install openblas), or name its file in the "
                    "environment variable GRADLUA_BLAS");
}

grad_symbol grad__blas_library_symbol(const char *name) {
  union {
    void *object;
    grad_symbol function;
  } symbol = {.object = handle ? dlsym(handle, name) : NULL};
  return symbol.function;
}
