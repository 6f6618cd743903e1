/* cache.h: the plan cache. Transforms retrace at every call; what is derived from a trace (the transformed program, its
 * plan) is kept under the trace's structure, so that a second call with an equal trace pays only for tracing.
 *
 * An entry is found by the program's hash, checked for structural equality, and by the recipe. The first run of an
 * entry is direct, unless arrays or loops are so long that planning pays at once. The least recently used entries go
 * when a bound is passed.
 */
#ifndef GRAD_FN_CACHE_H
#define GRAD_FN_CACHE_H

#include "exec/exec.h"
#include "fn/fn.h"

typedef enum grad_recipe_kind {
  GRAD_RECIPE_RUN,          /* the program itself; wrt tells the donated inputs: see grad__plan_new_donating */
  GRAD_RECIPE_GRAD,         /* grad__ad_grad; wrt */
  GRAD_RECIPE_JVP,          /* grad__ad_jvp; wrt */
  GRAD_RECIPE_VJP,          /* grad__ad_vjp; wrt, count cotangents */
  GRAD_RECIPE_LINEARIZE,    /* grad__ad_linearize; wrt, count outputs. Parts: 0 primal, 1 linear */
  GRAD_RECIPE_PULLBACK,     /* grad__fn_vjp; wrt, count cotangents. Parts: 0 primal, 1 pullback */
  GRAD_RECIPE_JACOBIAN,     /* grad__fn_jacobian; wrt, of, mode */
  GRAD_RECIPE_HESSIAN,      /* wrt */
  GRAD_RECIPE_HESSIAN_DIAG, /* wrt */
  GRAD_RECIPE_HVP,          /* wrt */
  GRAD_RECIPE_VMAP          /* grad__ad_vmap, all outputs batched; wrt tells the batched inputs, size the extent */
} grad_recipe_kind;

/* What to derive from a program. The arrays have a flag for each input (wrt) and output (of). */
typedef struct grad_recipe {
  grad_recipe_kind kind;
  const bool *wrt, *of;
  int count;
  grad_jacobian_mode mode;
  int64_t size;
} grad_recipe;

typedef struct grad_cache grad_cache;
typedef struct grad_cached grad_cached;

typedef struct grad_cache_stats {
  uint64_t hits, misses, evictions, plans;
  int64_t entries, bytes;
} grad_cache_stats;

/* At most `entries` entries and about `bytes` bytes (programs and workspaces); 0: 1,024 entries, 256 MiB. */
grad_status grad__cache_new(grad_ctx *ctx, int64_t entries, int64_t bytes, grad_cache **out);
void grad__cache_free(grad_cache *cache);
void grad__cache_stats(const grad_cache *cache, grad_cache_stats *out);

/* grad__cache_get: the entry for p under the recipe, derived when there is none. The cache may keep p: it must not
 * change from now on. *out has one reference, given back by grad__cached_release: it stays usable when the cache drops
 * it. */
grad_status grad__cache_get(grad_cache *cache, grad_program *p, const grad_recipe *recipe, grad_cached **out);
void grad__cached_release(grad_cached *entry); /* NULL is fine */

/* The derived program (no new reference), for inlining into an outer trace; NULL when there is no such part. */
grad_program *grad__cached_program(const grad_cached *entry, int part);
/* Its plan, NULL before the second run. */
const grad_plan *grad__cached_plan(const grad_cached *entry, int part);
/* The mode that a Jacobian took. */
grad_jacobian_mode grad__cached_mode(const grad_cached *entry);

/* grad__cached_run: as grad__direct_run. May be called again while it runs (from a host callback). */
grad_status grad__cached_run(grad_cached *entry, int part, const grad_array *const *in, const double *scalars,
                             grad_array *out);

/* grad__cache_run: get, run part 0, release. */
grad_status grad__cache_run(grad_cache *cache, grad_program *p, const grad_recipe *recipe, const grad_array *const *in,
                            const double *scalars, grad_array *out);

#endif
