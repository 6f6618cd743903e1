/* arena.h: bump allocation; everything in it is freed together. Pointers stay valid until then. */
#ifndef GRAD_CORE_ARENA_H
#define GRAD_CORE_ARENA_H

#include "core/ctx.h"

typedef struct grad_arena_chunk grad_arena_chunk;

typedef struct grad_arena {
  grad_ctx *ctx;
  grad_arena_chunk *chunk; /* newest; the chain holds the rest */
  char *next, *end;
} grad_arena;

void grad__arena_init(grad_arena *arena, grad_ctx *ctx);
void grad__arena_clear(grad_arena *arena);
void grad__arena_rewind(grad_arena *arena); /* the same, but its memory is used again where it is a single chunk */

/* 16-byte aligned; NULL on failure, error recorded in the context. */
void *grad__arena_alloc(grad_arena *arena, size_t bytes);
void *grad__arena_zeros(grad_arena *arena, size_t bytes); /* all bytes 0 */
void *grad__arena_copy(grad_arena *arena, const void *from, size_t bytes);

#endif
