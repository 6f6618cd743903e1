/* pool.h: the worker threads of a context. A job is cut into chunks whose bounds do not depend on how many threads
 * there are, so results are bit-equal for any number. Nobody spins: who has nothing to do sleeps on a condition, so a
 * busy machine costs a late wake-up and never a time slice.
 */
#ifndef GRAD_CORE_POOL_H
#define GRAD_CORE_POOL_H

#include "core/ctx.h"

/* worker: 0 is the caller, below ctx->threads; it names scratch memory, and nothing that shows in a result. */
typedef void (*grad_pool_fn)(void *ud, int64_t chunk, int worker);

/* Runs fn for every chunk in [0, nchunks), on the caller and the pool's threads; returns when all are done. With one
 * thread, one chunk, or when no thread could be started, the caller does it all. Never fails. Called from the context's
 * own thread, and not from inside fn. */
void grad__pool_run(grad_ctx *ctx, int64_t nchunks, grad_pool_fn fn, void *ud);

enum { GRAD_POOL_MAX = 64 };

#endif
