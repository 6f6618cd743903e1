/* grad.h: the public C interface of gradlua's numerical core. It knows no Lua.
 *
 * A context (grad_ctx) owns everything: allocator, byte limit, interrupt, worker pool, last error. Nothing is shared
 * between contexts, so each thread may have its own; one context is used by one thread at a time.
 *
 * Functions return a status; results go to the last parameters and are written only on GRAD_OK. The message that
 * explains a failure is read with grad_message(). `*_free(NULL)` does nothing.
 */
#ifndef GRAD_H
#define GRAD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GRAD_VERSION_MAJOR 0
#define GRAD_VERSION_MINOR 1
#define GRAD_VERSION_PATCH 0
#define GRAD_VERSION_STRING "0.1.0"

#if defined _WIN32
#define GRAD_API
#else
#define GRAD_API __attribute__((visibility("default")))
#endif

/* name, what it means; the one list of statuses: the enum, the names and the default messages all come from it */
#define GRAD_STATUS_MAP(XX)                                       \
  XX(OK, "ok")                                                    \
  XX(ENOMEM, "out of memory")                                     \
  XX(ELIMIT, "the context's byte limit is reached")               \
  XX(EINTERRUPT, "interrupted")                                   \
  XX(EVALUE, "invalid value")                                     \
  XX(ESHAPE, "shapes do not fit")                                 \
  XX(EDTYPE, "dtype does not fit")                                \
  XX(EINDEX, "index out of range")                                \
  XX(ESINGULAR, "matrix is singular")                             \
  XX(ENOTPD, "matrix is not positive definite")                   \
  XX(ENONDIFF, "not differentiable here")                         \
  XX(ENOCONV, "an inner iteration did not converge")              \
  XX(EUNSUPPORTED, "not supported")                               \
  XX(EIO, "input or output failed")                               \
  XX(EFORMAT, "malformed data")                                   \
  XX(ECALLBACK, "a callback failed")                              \
  XX(EINTERNAL, "internal error: please report it")

typedef enum grad_status {
#define XX(name, text) GRAD_##name,
  GRAD_STATUS_MAP(XX)
#undef XX
} grad_status;

/* f64 is the default everywhere; bool is one byte, 0 or 1 */
typedef enum grad_dtype { GRAD_BOOL, GRAD_I64, GRAD_F32, GRAD_F64 } grad_dtype;

enum { GRAD_MAX_AXES = 8 };

typedef struct grad_ctx grad_ctx;

/* Reallocates as Lua's allocator does: size 0 frees; NULL on failure. old_size is the size asked for before, 0 for a
 * new block. Called from the context's own thread only. */
typedef void *(*grad_alloc_fn)(void *ud, void *block, size_t old_size, size_t new_size);

/* Polled between instructions and inside long loops, maybe from worker threads; true stops with GRAD_EINTERRUPT. */
typedef int (*grad_interrupt_fn)(void *ud);

typedef struct grad_config {
  grad_alloc_fn alloc; /* NULL: the C library's */
  void *alloc_ud;
  size_t byte_limit; /* 0: none */
  grad_interrupt_fn interrupt;
  void *interrupt_ud;
  int threads; /* workers for large operations, the caller included; 0: GRADLUA_THREADS, else 1 */
} grad_config;

/* grad_ctx_new: a context. config NULL: all defaults. Errors: ENOMEM (also when the limit is too small to begin). */
GRAD_API grad_status grad_ctx_new(const grad_config *config, grad_ctx **out);

/* grad_ctx_free: everything made in the context must have been freed before. */
GRAD_API void grad_ctx_free(grad_ctx *ctx);

/* grad_ctx_set_threads: how many threads large operations use from now on, the caller included; at least 1. Results are
 * bit-equal for any number. Not while something runs in ctx. */
GRAD_API void grad_ctx_set_threads(grad_ctx *ctx, int threads);

/* grad_message: the sentence for the last failure in ctx; empty when there was none. Valid until the next call. */
GRAD_API const char *grad_message(const grad_ctx *ctx);

/* grad_status_name: "ESHAPE" and so on; grad_status_text: the default sentence. Never NULL. */
GRAD_API const char *grad_status_name(grad_status status);
GRAD_API const char *grad_status_text(grad_status status);

/* grad_version: the version of the library that runs, as GRAD_VERSION_STRING is that of the header compiled against. */
GRAD_API const char *grad_version(void);

#ifdef __cplusplus
}
#endif

#endif
