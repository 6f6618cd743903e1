/* pool.c: worker threads (see pool.h). The mutex guards everything but the chunk counter, which is claimed from without
 * a lock. A job lives on its caller's stack: the caller leaves only when no worker is inside it.
 */
#include "core/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

typedef struct job {
  grad_pool_fn fn;
  void *ud;
  int64_t nchunks;
  _Atomic int64_t next;
  int active; /* workers inside the job */
} job;

typedef struct worker {
  grad_pool *pool;
  pthread_t thread;
  int index;
} worker;

struct grad_pool {
  grad_ctx *ctx;
  pthread_mutex_t mutex;
  pthread_cond_t wake, idle;
  job *job; /* NULL: nothing to do */
  bool stop;
  double debt; /* seconds lost by waiting for workers, less what they saved and what was paid back; see share */
  int nworkers;
  worker workers[GRAD_POOL_MAX];
};

/* Returns how many chunks it did. */
static int64_t work_on(job *j, int index) {
  for (int64_t done = 0;; done++) {
    int64_t chunk = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
    if (chunk >= j->nchunks) return done;
    j->fn(j->ud, chunk, index);
  }
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool has_chunks(job *j) { return j && atomic_load_explicit(&j->next, memory_order_relaxed) < j->nchunks; }

static void *worker_main(void *arg) {
  const worker *self = arg;
  grad_pool *pool = self->pool;
  pthread_mutex_lock(&pool->mutex);
  while (!pool->stop) {
    job *j = pool->job;
    if (!has_chunks(j)) {
      pthread_cond_wait(&pool->wake, &pool->mutex);
      continue;
    }
    j->active++;
    pthread_mutex_unlock(&pool->mutex);
    work_on(j, self->index);
    pthread_mutex_lock(&pool->mutex);
    if (--j->active == 0) pthread_cond_signal(&pool->idle);
  }
  pthread_mutex_unlock(&pool->mutex);
  return NULL;
}

static void pool_free(grad_pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  pool->stop = true;
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
  for (int i = 0; i < pool->nworkers; i++) pthread_join(pool->workers[i].thread, NULL);
  pthread_cond_destroy(&pool->idle);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
  grad__free(pool->ctx, pool, sizeof *pool);
}

/* Workers take no signals: a host's handlers run where the host expects them. */
static void start_workers(grad_pool *pool, int count) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int i = 0; i < count; i++) {
    worker *w = &pool->workers[i];
    w->pool = pool;
    w->index = i + 1;
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0) break;
    pool->nworkers++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* NULL when there is no memory for it: the caller then works alone, which is slower and never wrong. */
static grad_pool *pool_of(grad_ctx *ctx) {
  if (ctx->pool) return ctx->pool;
  grad_pool *pool = grad__alloc(ctx, sizeof *pool);
  if (!pool) return NULL;
  *pool = (grad_pool){.ctx = ctx};
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->idle, NULL);
  start_workers(pool, ctx->threads - 1);
  ctx->pool = pool;
  ctx->pool_free = pool_free;
  return pool;
}

/* On a busy machine a worker may lose the processor in the middle of a chunk, and the caller then waits for a whole
 * time slice of somebody else. What such waits cost is kept as a debt, and while there is one the caller works alone,
 * which pays it back slowly: sharing loses a small part of the time at most, however busy the machine is. */
static const double credit = 2e-3, repayment = 1.0 / 16; /* seconds; part of the time worked alone */

static void share(grad_pool *pool, job *j) {
  const double asked = now();
  pthread_mutex_lock(&pool->mutex);
  pool->job = j;
  for (int i = 0; i < pool->nworkers && i < j->nchunks - 1; i++) pthread_cond_signal(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
  const double begun = now();
  const int64_t mine = work_on(j, 0);
  const double done = now();
  pthread_mutex_lock(&pool->mutex);
  pool->job = NULL;
  while (j->active > 0) pthread_cond_wait(&pool->idle, &pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
  const double lost = begun - asked + now() - done;
  const double saved = (done - begun) * (double)(j->nchunks - mine) / (double)(mine > 0 ? mine : 1);
  pool->debt += lost - saved;
  if (pool->debt < -credit) pool->debt = -credit;
}

void grad__pool_run(grad_ctx *ctx, int64_t nchunks, grad_pool_fn fn, void *ud) {
  job j = {.fn = fn, .ud = ud, .nchunks = nchunks};
  grad_pool *pool = ctx->threads > 1 && nchunks > 1 ? pool_of(ctx) : NULL;
  if (!pool || pool->nworkers == 0) {
    work_on(&j, 0);
  } else if (pool->debt > 0) {
    const double begun = now();
    work_on(&j, 0);
    pool->debt -= repayment * (now() - begun);
  } else {
    share(pool, &j);
  }
}

void grad_ctx_set_threads(grad_ctx *ctx, int threads) {
  if (threads < 1) threads = 1;
  if (threads > ctx->most_threads) threads = ctx->most_threads;
  if (threads == ctx->threads) return;
  if (ctx->pool) pool_free(ctx->pool);
  ctx->pool = NULL;
  ctx->threads = threads;
}
