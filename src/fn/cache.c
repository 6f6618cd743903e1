/* cache.c: derived programs and their plans, found by structure; least recently used ones go first. */
#include "fn/cache.h"

#include <string.h>

#include "ad/loop.h"

/* --- recipes */

/* Derives the one or two programs. parts[1] is NULL where there is one. *mode is set for a Jacobian. */
static grad_status derive(grad_program *p, const grad_recipe *recipe, grad_program *parts[2],
                          grad_jacobian_mode *mode) {
  parts[0] = parts[1] = NULL;
  switch (recipe->kind) {
  case GRAD_RECIPE_RUN:
    if (p->status) return p->status;
    grad__program_retain(p);
    parts[0] = p;
    return GRAD_OK;
  case GRAD_RECIPE_GRAD:
    return grad__ad_grad(p, recipe->wrt, &parts[0]);
  case GRAD_RECIPE_JVP:
    return grad__ad_jvp(p, recipe->wrt, &parts[0]);
  case GRAD_RECIPE_VJP:
    return grad__ad_vjp(p, recipe->wrt, recipe->count, &parts[0]);
  case GRAD_RECIPE_LINEARIZE:
    return grad__ad_linearize(p, recipe->wrt, recipe->count, &parts[0], &parts[1]);
  case GRAD_RECIPE_PULLBACK:
    return grad__fn_vjp(p, recipe->wrt, recipe->count, &parts[0], &parts[1]);
  case GRAD_RECIPE_JACOBIAN:
    return grad__fn_jacobian(p, recipe->wrt, recipe->of, recipe->mode, &parts[0], mode);
  case GRAD_RECIPE_HESSIAN:
    return grad__fn_hessian(p, recipe->wrt, &parts[0]);
  case GRAD_RECIPE_HESSIAN_DIAG:
    return grad__fn_hessian_diag(p, recipe->wrt, &parts[0]);
  case GRAD_RECIPE_HVP:
    return grad__fn_hvp(p, recipe->wrt, &parts[0]);
  case GRAD_RECIPE_VMAP:
    return grad__ad_vmap(p, recipe->size, recipe->wrt, NULL, &parts[0]);
  }
  return grad__fail(p->ctx, GRAD_EINTERNAL, "unknown recipe %d", (int)recipe->kind);
}

/* --- entries */

struct grad_cached {
  grad_ctx *ctx;
  grad_cache *cache; /* NULL once dropped */
  int64_t refs;
  uint64_t hash;
  grad_program *key;
  grad_recipe recipe; /* its flags lie behind this struct */
  size_t size;        /* of this block */
  grad_jacobian_mode mode;
  struct {
    grad_program *program;
    grad_plan *plan;
    uint64_t runs;
    bool running;
  } part[2];
  int64_t bytes;
  grad_cached *chain;         /* next with the same bucket */
  grad_cached *newer, *older; /* by use */
};

struct grad_cache {
  grad_ctx *ctx;
  int64_t max_entries, max_bytes;
  grad_cached **buckets;
  int64_t nbuckets; /* a power of two */
  grad_cached *newest, *oldest;
  grad_cache_stats stats;
};

static int64_t program_bytes(const grad_program *p) {
  const int64_t each_instr = sizeof(grad_instr) + 4 * sizeof(int64_t);
  return p->instrs_cap * each_instr + p->values_cap * (int64_t)(sizeof(grad_type) + sizeof(int32_t)) +
         p->table_cap * (int64_t)sizeof(uint64_t);
}

static bool same_flags(const bool *a, const bool *b, int32_t n) {
  return a == b || (a && b && memcmp(a, b, (size_t)n * sizeof *a) == 0);
}

static bool same_recipe(const grad_recipe *a, const grad_recipe *b, const grad_program *p) {
  return a->kind == b->kind && a->count == b->count && a->mode == b->mode && a->size == b->size &&
         same_flags(a->wrt, b->wrt, p->ninputs) && same_flags(a->of, b->of, p->noutputs);
}

static uint64_t recipe_hash(const grad_program *p, const grad_recipe *r) {
  uint64_t hash = grad__hash_mix(grad__program_hash(p), (uint64_t)r->kind << 32 | (uint64_t)r->mode);
  hash = grad__hash_mix(grad__hash_mix(hash, (uint64_t)r->count), (uint64_t)r->size);
  for (int32_t i = 0; r->wrt && i < p->ninputs; i++) hash = grad__hash_mix(hash, r->wrt[i]);
  for (int32_t i = 0; r->of && i < p->noutputs; i++) hash = grad__hash_mix(hash, r->of[i]);
  return hash;
}

static grad_cached *entry_new(grad_program *p, const grad_recipe *recipe, uint64_t hash) {
  const size_t nwrt = recipe->wrt ? (size_t)p->ninputs : 0, nof = recipe->of ? (size_t)p->noutputs : 0;
  const size_t size = sizeof(grad_cached) + nwrt + nof;
  grad_cached *e = grad__alloc(p->ctx, size);
  if (!e) return NULL;
  *e = (grad_cached){.ctx = p->ctx, .refs = 1, .hash = hash, .key = p, .recipe = *recipe, .size = size};
  bool *flags = (bool *)(e + 1);
  if (recipe->wrt) e->recipe.wrt = memcpy(flags, recipe->wrt, nwrt);
  if (recipe->of) e->recipe.of = memcpy(flags + nwrt, recipe->of, nof);
  grad__program_retain(p);
  return e;
}

void grad__cached_release(grad_cached *entry) {
  if (!entry || --entry->refs > 0) return;
  for (int k = 0; k < 2; k++) {
    grad__plan_free(entry->part[k].plan);
    grad__program_release(entry->part[k].program);
  }
  grad__program_release(entry->key);
  grad__free(entry->ctx, entry, entry->size);
}

grad_program *grad__cached_program(const grad_cached *entry, int part) { return entry->part[part].program; }
const grad_plan *grad__cached_plan(const grad_cached *entry, int part) { return entry->part[part].plan; }
grad_jacobian_mode grad__cached_mode(const grad_cached *entry) { return entry->mode; }

/* --- the cache */

grad_status grad__cache_new(grad_ctx *ctx, int64_t entries, int64_t bytes, grad_cache **out) {
  grad_cache *c = grad__alloc(ctx, sizeof *c);
  if (!c) return ctx->status;
  *c = (grad_cache){.ctx = ctx,
                    .max_entries = entries ? entries : 1024,
                    .max_bytes = bytes ? bytes : INT64_C(256) << 20,
                    .nbuckets = 256};
  c->buckets = grad__alloc(ctx, (size_t)c->nbuckets * sizeof *c->buckets);
  if (!c->buckets) {
    grad__free(ctx, c, sizeof *c);
    return ctx->status;
  }
  memset(c->buckets, 0, (size_t)c->nbuckets * sizeof *c->buckets);
  *out = c;
  return GRAD_OK;
}

static grad_cached **bucket(grad_cache *c, uint64_t hash) {
  return &c->buckets[hash >> 32 & (uint64_t)(c->nbuckets - 1)];
}

static void unlink_use(grad_cache *c, grad_cached *e) {
  *(e->newer ? &e->newer->older : &c->newest) = e->older;
  *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_newest(grad_cache *c, grad_cached *e) {
  e->newer = NULL;
  e->older = c->newest;
  *(c->newest ? &c->newest->newer : &c->oldest) = e;
  c->newest = e;
}

static void drop(grad_cache *c, grad_cached *e) {
  grad_cached **at = bucket(c, e->hash);
  while (*at != e) at = &(*at)->chain;
  *at = e->chain;
  unlink_use(c, e);
  c->stats.entries--;
  c->stats.bytes -= e->bytes;
  e->cache = NULL;
  grad__cached_release(e);
}

static void clear(grad_cache *cache) {
  while (cache->oldest) drop(cache, cache->oldest);
}

void grad__cache_free(grad_cache *cache) {
  if (!cache) return;
  clear(cache);
  grad__free(cache->ctx, cache->buckets, (size_t)cache->nbuckets * sizeof *cache->buckets);
  grad__free(cache->ctx, cache, sizeof *cache);
}

void grad__cache_stats(const grad_cache *cache, grad_cache_stats *out) { *out = cache->stats; }

/* The newest entry stays, whatever its size: it is about to run. */
static void keep_bounds(grad_cache *c) {
  while (c->oldest != c->newest && (c->stats.entries > c->max_entries || c->stats.bytes > c->max_bytes)) {
    drop(c, c->oldest);
    c->stats.evictions++;
  }
}

static void charge(grad_cached *e, int64_t bytes) {
  e->bytes += bytes;
  if (!e->cache) return;
  e->cache->stats.bytes += bytes;
  keep_bounds(e->cache);
}

static grad_cached *find(grad_cache *c, const grad_program *p, const grad_recipe *recipe, uint64_t hash) {
  for (grad_cached *e = *bucket(c, hash); e; e = e->chain) {
    if (e->hash == hash && same_recipe(&e->recipe, recipe, p) && grad__program_equal(e->key, p)) return e;
  }
  return NULL;
}

/* Twice the buckets when chains get long; without memory the chains stay long. */
static void spread(grad_cache *c) {
  if (c->stats.entries <= c->nbuckets) return;
  const int64_t n = 2 * c->nbuckets;
  grad_cached **buckets = grad__alloc(c->ctx, (size_t)n * sizeof *buckets);
  if (!buckets) return;
  memset(buckets, 0, (size_t)n * sizeof *buckets);
  grad__free(c->ctx, c->buckets, (size_t)c->nbuckets * sizeof *c->buckets);
  c->buckets = buckets;
  c->nbuckets = n;
  for (grad_cached *e = c->oldest; e; e = e->newer) {
    grad_cached **at = bucket(c, e->hash);
    e->chain = *at;
    *at = e;
  }
}

static grad_status add(grad_cache *c, grad_program *p, const grad_recipe *recipe, uint64_t hash, grad_cached **out) {
  grad_cached *e = entry_new(p, recipe, hash);
  if (!e) return c->ctx->status;
  grad_program *parts[2];
  grad_status status = derive(p, recipe, parts, &e->mode);
  e->part[0].program = parts[0];
  e->part[1].program = parts[1];
  if (status) {
    grad__cached_release(e);
    return status;
  }
  grad_cached **at = bucket(c, hash);
  e->chain = *at;
  *at = e;
  e->cache = c;
  link_newest(c, e);
  c->stats.entries++;
  spread(c);
  int64_t bytes = (int64_t)e->size + program_bytes(p);
  for (int k = 0; k < 2; k++) bytes += parts[k] && parts[k] != p ? program_bytes(parts[k]) : 0;
  charge(e, bytes);
  *out = e;
  return GRAD_OK;
}

grad_status grad__cache_get(grad_cache *cache, grad_program *p, const grad_recipe *recipe, grad_cached **out) {
  if (p->status) return p->status;
  const uint64_t hash = recipe_hash(p, recipe);
  grad_cached *e = find(cache, p, recipe, hash);
  if (e) {
    cache->stats.hits++;
    unlink_use(cache, e);
    link_newest(cache, e);
  } else {
    cache->stats.misses++;
    grad_status status = add(cache, p, recipe, hash, &e);
    if (status) return status;
  }
  e->refs++;
  *out = e;
  return GRAD_OK;
}

/* How often the programs nested in an instruction run. A while loop does not tell: some tens. */
static double nested_runs(const grad_instr *ins) {
  enum { STEPS_OF_A_WHILE = 32 };
  if (ins->op == &grad__op_while) return STEPS_OF_A_WHILE;
  if (ins->op != &grad__op_scan) return 1;
  const int64_t length = grad__loop_view(ins).length;
  return length == GRAD_DYNAMIC ? STEPS_OF_A_WHILE : (double)length;
}

/* The elements that an instruction goes over: a reduction reads more than it makes, a slice only what it takes. */
static int64_t elements_of(const grad_program *p, const grad_instr *ins) {
  const int64_t made = ins->nout > 0 ? grad__type_numel(grad__type(p, ins->out)) : 0;
  const int64_t read = ins->nin > 0 && !grad__instr_moves(ins) ? grad__type_numel(grad__type(p, ins->in[0])) : 0;
  return made > read ? made : read > 0 ? read : 0;
}

/* What the direct evaluator takes for a program, in units of planning one instruction; *planning: what its plans take.
 */
static double direct_work(const grad_program *p, double *planning) {
  const double each = 0.1, elements_per_unit = 4096;
  double work = 0;
  *planning += p->ninstrs;
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    work += each + (double)elements_of(p, ins) / elements_per_unit;
    for (int32_t k = 0; k < ins->nsubs; k++) work += nested_runs(ins) * direct_work(ins->subs[k], planning);
  }
  return work;
}

/* A program over large arrays, or with a loop of many steps, is worth a plan at its first run. */
static bool has_much_work(const grad_program *p) {
  double planning = 0;
  return direct_work(p, &planning) > planning;
}

/* The plan is made for the second run, or when it pays at once. */
static grad_status make_plan(grad_cached *e, int part) {
  if (e->part[part].plan || (e->part[part].runs == 0 && !has_much_work(e->part[part].program))) return GRAD_OK;
  const bool *donated = e->recipe.kind == GRAD_RECIPE_RUN ? e->recipe.wrt : NULL;
  grad_status status = grad__plan_new_donating(e->part[part].program, donated, &e->part[part].plan);
  if (status) return status;
  grad_plan_info info;
  grad__plan_info(e->part[part].plan, &info);
  if (e->cache) e->cache->stats.plans++;
  charge(e, info.peak + info.instructions * (int64_t)sizeof(grad_instr));
  return GRAD_OK;
}

grad_status grad__cached_run(grad_cached *entry, int part, const grad_array *const *in, const double *scalars,
                             grad_array *out) {
  grad_cached *e = entry;
  if (!e->part[part].program) return grad__fail(e->ctx, GRAD_EINTERNAL, "this derivative has no part %d", part);
  e->refs++; /* a callback may clear the cache */
  grad_status status = make_plan(e, part);
  if (!status) {
    e->part[part].runs++;
    if (e->part[part].plan && !e->part[part].running) {
      e->part[part].running = true;
      status = grad__plan_run(e->part[part].plan, in, scalars, out);
      e->part[part].running = false;
    } else {
      status = grad__direct_run(e->part[part].program, in, scalars, out);
    }
  }
  grad__cached_release(e);
  return status;
}

grad_status grad__cache_run(grad_cache *cache, grad_program *p, const grad_recipe *recipe, const grad_array *const *in,
                            const double *scalars, grad_array *out) {
  grad_cached *entry;
  grad_status status = grad__cache_get(cache, p, recipe, &entry);
  if (status) return status;
  status = grad__cached_run(entry, 0, in, scalars, out);
  grad__cached_release(entry);
  return status;
}
