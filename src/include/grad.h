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

#if defined GRAD_API /* given on the command line: empty, for a parser that knows C only */
#elif defined _WIN32
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
  XX(ESCRIPT, "the script raised an error")                       \
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

/* How far a run is: minimizing, least squares, roots; an iteration has ended. */
typedef struct grad_progress {
  const char *task; /* the method, "lbfgs" or "hybrid", or the label of a loop */
  int64_t iteration;
  int64_t total;        /* 0: not known */
  double f;             /* a root's: the largest |F_i|; NaN: there is none */
  double gradient_norm; /* the largest entry; NaN: there is none */
  double seconds;       /* since the run began */
} grad_progress;

/* Not 0 ends the run there: a result with the best point so far, not an error. Called from the context's own thread. */
typedef int (*grad_progress_fn)(void *ud, const grad_progress *progress);

typedef struct grad_config {
  size_t size;         /* sizeof(grad_config), so that later versions can add fields; 0: those of version 0.1 */
  grad_alloc_fn alloc; /* NULL: the C library's */
  void *alloc_ud;
  size_t byte_limit; /* 0: none. Up to 256 MB of large blocks that were freed are kept for reuse, within this limit */
  grad_interrupt_fn interrupt;
  void *interrupt_ud;
  grad_progress_fn progress; /* NULL: nobody is told */
  void *progress_ud;
  int threads; /* workers for large operations, the caller included; 0: GRADLUA_THREADS, else 1 */
} grad_config;

/* grad_ctx_new: a context. config NULL: all defaults. Errors: ENOMEM (also when the limit is too small to begin). */
GRAD_API grad_status grad_ctx_new(const grad_config *config, grad_ctx **out);

/* grad_ctx_free: everything made in the context must have been freed before. */
GRAD_API void grad_ctx_free(grad_ctx *ctx);

/* grad_ctx_set_threads: how many threads large operations use from now on, the caller included: 1 to 64, the nearest
 * of them is taken. Results are bit-equal for any number. Not while something runs in ctx. */
GRAD_API void grad_ctx_set_threads(grad_ctx *ctx, int threads);

/* grad_message: the sentence for the last failure in ctx; empty when there was none. Valid until the next call. */
GRAD_API const char *grad_message(const grad_ctx *ctx);

/* grad_status_name: "ESHAPE" and so on; grad_status_text: the default sentence. Never NULL. */
GRAD_API const char *grad_status_name(grad_status status);
GRAD_API const char *grad_status_text(grad_status status);

/* grad_version: the version of the library that runs, as GRAD_VERSION_STRING is that of the header compiled against. */
GRAD_API const char *grad_version(void);

/* --- arrays: strided views on memory. Extents and strides count elements; axes count from 0. */

typedef struct grad_array grad_array;

/* grad_array_new: row-major, filled with zeros. Errors: ESHAPE (more than GRAD_MAX_AXES axes, a negative extent, a size
 * that overflows), ENOMEM, ELIMIT. */
GRAD_API grad_status grad_array_new(grad_ctx *ctx, grad_dtype dtype, int ndim, const int64_t *shape, grad_array **out);

/* grad_array_borrow: the caller's memory, which is not copied. strides NULL: row-major. `release` (may be NULL) is called
 * with release_ud and data when the last user of the memory is gone: maybe later than grad_array_free; never when this
 * call fails. Errors: as grad_array_new. */
GRAD_API grad_status grad_array_borrow(grad_ctx *ctx, void *data, grad_dtype dtype, int ndim, const int64_t *shape,
                                       const int64_t *strides, int readonly, void (*release)(void *ud, void *data),
                                       void *release_ud, grad_array **out);
GRAD_API void grad_array_free(grad_array *array);

GRAD_API void *grad_array_data(const grad_array *array); /* of element (0, ..., 0) */
GRAD_API grad_dtype grad_array_dtype(const grad_array *array);
GRAD_API int grad_array_ndim(const grad_array *array);
GRAD_API const int64_t *grad_array_shape(const grad_array *array);   /* ndim extents, valid as long as array */
GRAD_API const int64_t *grad_array_strides(const grad_array *array); /* in elements */
GRAD_API int64_t grad_array_numel(const grad_array *array);

/* --- programs: expressions over arrays, written once, differentiated and run many times.
 *
 * Builders take and give value ids. A failure gives GRAD_NONE, which everything passes on, and is reported once, by
 * grad_program_check or by whatever takes the program next. */

typedef struct grad_program grad_program;
typedef int32_t grad_id;
enum { GRAD_NONE = -1 };

/* grad_program_new, grad_program_free: an empty program, and its end. grad_program_check: the first failure that building
 * met, GRAD_OK when there was none. */
GRAD_API grad_status grad_program_new(grad_ctx *ctx, grad_program **out);
GRAD_API void grad_program_free(grad_program *program);
GRAD_API grad_status grad_program_check(const grad_program *program);

GRAD_API grad_id grad_input(grad_program *p, grad_dtype dtype, int ndim, const int64_t *shape);
GRAD_API grad_id grad_number(grad_program *p, double value); /* an f64 constant of no axes */
GRAD_API void grad_output(grad_program *p, grad_id value);

/* grad_apply: an elementwise function by name ("add", "mul", "sin", "where", ...: docs/api.md lists them), operands
 * broadcast as NumPy does. EVALUE for a name that does not exist or a wrong number of operands. */
GRAD_API grad_id grad_apply(grad_program *p, const char *name, int n, const grad_id *operands);

/* axes: bit i for axis i; 0 means all. keepdim leaves extent 1. */
GRAD_API grad_id grad_sum(grad_program *p, grad_id x, uint32_t axes, int keepdim);
GRAD_API grad_id grad_mean(grad_program *p, grad_id x, uint32_t axes, int keepdim);
GRAD_API grad_id grad_max(grad_program *p, grad_id x, uint32_t axes, int keepdim);
GRAD_API grad_id grad_min(grad_program *p, grad_id x, uint32_t axes, int keepdim);
GRAD_API grad_id grad_prod(grad_program *p, grad_id x, uint32_t axes, int keepdim);
GRAD_API grad_id grad_logsumexp(grad_program *p, grad_id x, uint32_t axes, int keepdim);
GRAD_API grad_id grad_softmax(grad_program *p, grad_id x, int axis);

/* NumPy's matmul: matrices over leading axes that broadcast; vectors on either side. */
GRAD_API grad_id grad_matmul(grad_program *p, grad_id a, grad_id b);
GRAD_API grad_id grad_reshape(grad_program *p, grad_id x, int ndim, const int64_t *shape);
GRAD_API grad_id grad_broadcast_to(grad_program *p, grad_id x, int ndim, const int64_t *shape);
GRAD_API grad_id grad_permute(grad_program *p, grad_id x, const int *axes); /* one for each axis of x */
/* start, count and step for each axis of x; steps may be negative. */
GRAD_API grad_id grad_slice(grad_program *p, grad_id x, const int64_t *start, const int64_t *count,
                            const int64_t *step);
GRAD_API grad_id grad_concat(grad_program *p, int n, const grad_id *parts, int axis);
GRAD_API grad_id grad_take(grad_program *p, grad_id x, grad_id positions, int axis); /* i64 positions, from 0 */
GRAD_API grad_id grad_convert(grad_program *p, grad_id x, grad_dtype dtype);

/* --- operations of the host: C functions used like any other operation, with derivative rules of their own */

/* Types of arguments and results. */
typedef struct grad_host_type {
  grad_dtype dtype;
  int ndim;
  int64_t shape[GRAD_MAX_AXES];
} grad_host_type;

/* Arrays are row-major; outputs are there to be filled, inputs only to be read. A status other than GRAD_OK fails what
 * called. Callbacks run on the context's own thread. `user` is passed through. */
typedef struct grad_host_op {
  size_t size; /* sizeof(grad_host_op) */
  const char *name;
  int nin, nout; /* at most GRAD_HOST_MOST each */
  void *user;
  /* Types of the results; a status refuses the arguments. */
  grad_status (*infer)(void *user, const grad_host_type *in, grad_host_type *out);
  grad_status (*eval)(void *user, const grad_array *const *in, grad_array *const *out);
  /* in: the arguments, then a tangent for each float argument; out: a tangent for each float result. NULL: no rule. */
  grad_status (*jvp)(void *user, const grad_array *const *in, grad_array *const *out);
  /* in: the arguments, then a cotangent for each float result; out: a cotangent for each float argument. NULL: no rule. */
  grad_status (*vjp)(void *user, const grad_array *const *in, grad_array *const *out);
} grad_host_op;
enum { GRAD_HOST_MOST = 16 };

/* grad_host_call: applies op, which must stay where it is as long as programs and functions that use it live. results: nout
 * ids. A derivative that needs a rule that is missing fails with EUNSUPPORTED, where it is asked for; it is never taken as
 * zero. Derivatives of the rules themselves (second order) are not known. Under vmap op is called for each example.
 * Errors stick in the program: EVALUE for an op that is not complete. */
GRAD_API void grad_host_call(grad_program *p, const grad_host_op *op, const grad_id *args, grad_id *results);

/* --- derivatives: each makes a new program, which can be differentiated in turn. `wrt` has a flag for each input of p
 * (NULL: every input of float type). The program given is left as it is. Errors: EDTYPE for a flagged input that is not
 * float, ESHAPE where a number is needed and the first output is an array. */

/* p's outputs, then the gradient of the first, a number, in each wrt input. */
GRAD_API grad_status grad_gradient(const grad_program *p, const uint8_t *wrt, grad_program **out);
/* Further inputs: a tangent for each wrt input; further outputs: a tangent for each float output. */
GRAD_API grad_status grad_jvp_of(const grad_program *p, const uint8_t *wrt, grad_program **out);
/* Further inputs: a cotangent for each float output; further outputs: a cotangent for each wrt input. */
GRAD_API grad_status grad_vjp_of(const grad_program *p, const uint8_t *wrt, grad_program **out);
/* Further inputs: v for each wrt input; further outputs: the product of the Hessian with v. */
GRAD_API grad_status grad_hvp_of(const grad_program *p, const uint8_t *wrt, grad_program **out);
/* Further outputs: for each float output, for each wrt input, a block of the output's shape followed by the input's. */
GRAD_API grad_status grad_jacobian_of(const grad_program *p, const uint8_t *wrt, grad_program **out);
/* Further outputs: for each pair of wrt inputs the block of second derivatives of the first output. */
GRAD_API grad_status grad_hessian_of(const grad_program *p, const uint8_t *wrt, grad_program **out);
/* Inputs with batched[i] (NULL: all) get a leading axis of extent size, and so does every output. */
GRAD_API grad_status grad_vmap_of(const grad_program *p, int64_t size, const uint8_t *batched, grad_program **out);

/* --- running */

typedef struct grad_function grad_function;

/* grad_compile: plans a program. The function keeps what it needs: p may be freed. */
GRAD_API grad_status grad_compile(grad_program *p, grad_function **out);
GRAD_API void grad_function_free(grad_function *function);
GRAD_API int grad_function_inputs(const grad_function *function);
GRAD_API int grad_function_outputs(const grad_function *function);

/* grad_run: in: an array for each input, of its dtype and shape, any strides. out: for each output a row-major array of its
 * dtype and shape, which is filled. Nothing is allocated from the second run on. Errors: EDTYPE, ESHAPE, EVALUE (a
 * read-only output), EINTERRUPT, and what the operations give. */
GRAD_API grad_status grad_run(grad_function *function, const grad_array *const *in, grad_array *const *out);

/* grad_run_raw: the same on bare row-major memory of the right types and sizes, unchecked: the fastest call. */
GRAD_API grad_status grad_run_raw(grad_function *function, const void *const *in, void *const *out);

#ifdef __cplusplus
}
#endif

#endif
