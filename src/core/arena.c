/* arena.c: bump allocation in chunks that double up to a bound. */
#include "core/arena.h"

#include <string.h>

struct grad_arena_chunk {
  grad_arena_chunk *older;
  size_t bytes; /* of the whole block */
};

enum { FIRST_CHUNK = 1 << 10, LAST_CHUNK = 1 << 20, ALIGN = 16 };

static size_t align_up(size_t bytes) { return (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1); }

void grad__arena_init(grad_arena *arena, grad_ctx *ctx) { *arena = (grad_arena){.ctx = ctx}; }

void grad__arena_clear(grad_arena *arena) {
  for (grad_arena_chunk *chunk = arena->chunk; chunk;) {
    grad_arena_chunk *const older = chunk->older;
    grad__free_aligned(arena->ctx, chunk, chunk->bytes);
    chunk = older;
  }
  grad__arena_init(arena, arena->ctx);
}

static void open_chunk(grad_arena *arena, grad_arena_chunk *chunk) {
  arena->chunk = chunk;
  arena->next = (char *)chunk + align_up(sizeof *chunk);
  arena->end = (char *)chunk + chunk->bytes;
}

void grad__arena_rewind(grad_arena *arena) {
  if (arena->chunk && !arena->chunk->older) {
    open_chunk(arena, arena->chunk);
  } else {
    grad__arena_clear(arena);
  }
}

static bool add_chunk(grad_arena *arena, size_t bytes) {
  const size_t header = align_up(sizeof(grad_arena_chunk));
  size_t size = arena->chunk ? arena->chunk->bytes * 2 : FIRST_CHUNK;
  if (size > LAST_CHUNK) size = LAST_CHUNK;
  if (size < bytes + header) size = bytes + header;
  grad_arena_chunk *const chunk = grad__alloc_aligned(arena->ctx, size);
  if (!chunk) return false;
  *chunk = (grad_arena_chunk){.older = arena->chunk, .bytes = size};
  open_chunk(arena, chunk);
  return true;
}

void *grad__arena_alloc(grad_arena *arena, size_t bytes) {
  if (bytes > SIZE_MAX / 2) {
    grad__fail(arena->ctx, GRAD_ENOMEM, "out of memory: %zu bytes were asked for", bytes);
    return NULL;
  }
  const size_t size = align_up(bytes ? bytes : 1);
  if ((size_t)(arena->end - arena->next) < size && !add_chunk(arena, size)) return NULL;
  char *const block = arena->next;
  arena->next = block + size;
  return block;
}

void *grad__arena_zeros(grad_arena *arena, size_t bytes) {
  void *const block = grad__arena_alloc(arena, bytes);
  if (block && bytes) memset(block, 0, bytes);
  return block;
}

void *grad__arena_copy(grad_arena *arena, const void *from, size_t bytes) {
  void *const to = grad__arena_alloc(arena, bytes);
  if (to && bytes) memcpy(to, from, bytes);
  return to;
}
