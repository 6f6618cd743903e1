/* blocks.c: the allocator of the command's Lua state. Small tensors and the values of traces are blocks of a few
 * hundred bytes that the collector frees by the thousand; malloc merges what is free and cuts it again, which took a
 * fifth of the time of recording operations on numbers. Here blocks up to MOST bytes come from lists, one a size, that
 * are fed from slabs and keep what they got; larger ones are malloc's. A host gives its own allocator instead. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#if defined __SANITIZE_ADDRESS__
enum { MOST = 0 }; /* the sanitizer watches malloc's blocks */
#else
enum { MOST = 512 };
#endif
enum { STEP = 16, SLAB = 64 << 10 };

typedef union block {
  union block *next;
  max_align_t align;
} block;

struct cli_blocks {
  block *free[MOST / STEP + 1]; /* by size in steps */
  char *at, *end;               /* what is left of the newest slab */
  block *slabs;
};

cli_blocks *cli_blocks_new(void) { return calloc(1, sizeof(cli_blocks)); }

void cli_blocks_free(cli_blocks *b) {
  while (b->slabs) {
    block *slab = b->slabs;
    b->slabs = slab->next;
    free(slab);
  }
  free(b);
}

static size_t steps_of(size_t size) { return (size + STEP - 1) / STEP; }

static void *cut(cli_blocks *b, size_t size) {
  if ((size_t)(b->end - b->at) < size) {
    block *slab = malloc(SLAB);
    if (!slab) return NULL;
    slab->next = b->slabs;
    b->slabs = slab;
    b->at = (char *)(slab + 1);
    b->end = (char *)slab + SLAB;
  }
  char *piece = b->at;
  b->at += size;
  return piece;
}

static void *take(cli_blocks *b, size_t size) {
  if (size > MOST) return malloc(size);
  const size_t steps = steps_of(size);
  block *first = b->free[steps];
  if (!first) return cut(b, steps * STEP);
  b->free[steps] = first->next;
  return first;
}

static void give(cli_blocks *b, void *old, size_t size) {
  if (size > MOST) {
    free(old);
    return;
  }
  block *first = old;
  first->next = b->free[steps_of(size)];
  b->free[steps_of(size)] = first;
}

/* Shrinking does not fail, as Lua demands: without memory for a smaller block the larger one stays. */
void *cli_blocks_alloc(void *ud, void *old, size_t old_size, size_t size) {
  cli_blocks *b = ud;
  if (!old) return size ? take(b, size) : NULL;
  if (size == 0) {
    give(b, old, old_size);
    return NULL;
  }
  if (old_size > MOST && size > MOST) return realloc(old, size);
  if (size <= MOST && old_size <= MOST && steps_of(size) == steps_of(old_size)) return old;
  void *moved = take(b, size);
  if (!moved) return size < old_size ? old : NULL;
  memcpy(moved, old, size < old_size ? size : old_size);
  give(b, old, old_size);
  return moved;
}
