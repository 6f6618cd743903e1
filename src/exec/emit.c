/* emit.c: which regions get machine code; see emit.h. */
#include "exec/emit.h"

enum {
  LEAST_ELEMENTS = 4, /* below, a vector is hardly ever full; a short row gains most, as what a kernel has stored under
                         a mask the next one cannot load before it has reached the cache */
  LEAST_STRETCH = 2   /* micros: one alone is what a kernel is */
};

#if defined __x86_64__ && defined __unix__

#include "exec/x86_packed.h"

static bool emits(const grad_ctx *ctx) { return ctx->simd >= GRAD_SIMD_AVX2 && !ctx->interpret; }

bool grad__emits(const grad_ctx *ctx, const grad_micro *micro) {
  const bool known = micro->dtype == GRAD_BOOL || grad__dtype_is_float((grad_dtype)micro->dtype);
  return emits(ctx) && known && micro->kind == GRAD_MICRO_KERNEL &&
         grad__x86_packed_knows(ctx->simd >= GRAD_SIMD_AVX512, micro->op);
}

/* The micros once more, with stretches of them replaced by code at an offset. */
static grad_status emit_region(grad_planner *pl, grad_code *code, grad_region *g) {
  grad_emitter *e = grad__emitter_new(pl, code, g);
  grad_micro *coded = grad__plan_alloc(pl, (size_t)g->nmicros, sizeof *coded);
  if (!e || !coded) return pl->ctx->status;
  int32_t count = 0;
  bool any = false;
  for (int32_t m = 0; m < g->nmicros;) {
    int64_t at = 0;
    const int32_t end = grad__emit_stretch(e, m, &at);
    if (end - m < LEAST_STRETCH) {
      grad__emit_not(e, m);
      coded[count++] = g->micros[m++];
      continue;
    }
    coded[count++] = (grad_micro){.kind = GRAD_MICRO_CODE, .do_.offset = at};
    m = end;
    any = true;
  }
  if (any) grad__emitter_finish(e);
  if (any) g->coded = coded;
  g->ncoded = count;
  return GRAD_OK;
}

/* Offsets become addresses; without executable memory the region is interpreted. */
static void finish_region(grad_region *g, const grad_code *code, bool runs) {
  if (!runs) {
    g->coded = NULL;
    for (int32_t i = 0; i < g->nfills; i++) g->fills[i].do_.load->most = 0;
  }
  for (int32_t m = 0; g->coded && m < g->ncoded; m++) {
    grad_micro *micro = &g->coded[m];
    if (micro->kind == GRAD_MICRO_CODE)
      micro->do_.code = (grad_code_fn)(uintptr_t)((char *)code->memory + micro->do_.offset);
  }
}

grad_status grad__emit_plan(grad_planner *pl) {
  grad_plan *plan = pl->plan;
  grad_code *code = &plan->code;
  for (int32_t s = 0; s < plan->nsteps && emits(pl->ctx); s++) {
    const grad_fused_loop *loop = plan->steps[s].loop;
    for (int32_t k = 0; loop && k < loop->nregions; k++) {
      if (loop->regions[k]->n < LEAST_ELEMENTS) continue;
      const grad_status status = emit_region(pl, code, loop->regions[k]);
      if (status != GRAD_OK) return status;
    }
  }
  if (code->failed) return pl->ctx->status;
  const bool runs = grad__code_map(code);
  for (int32_t s = 0; s < plan->nsteps; s++) {
    const grad_fused_loop *loop = plan->steps[s].loop;
    for (int32_t k = 0; loop && k < loop->nregions; k++) finish_region(loop->regions[k], code, runs);
  }
  return GRAD_OK;
}

#else

bool grad__emits(const grad_ctx *ctx, const grad_micro *micro) { return (void)ctx, (void)micro, false; }

grad_status grad__emit_plan(grad_planner *pl) { return (void)pl, GRAD_OK; }

#endif
