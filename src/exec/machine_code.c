/* machine_code.c: executable memory; see machine_code.h. */
#include "exec/machine_code.h"

#include <string.h>

#if defined __unix__
#include <sys/mman.h>
#include <unistd.h>
#endif

void grad__code_add(grad_code *c, int64_t n, const void *bytes) {
  if (c->failed) return;
  if (c->size + n > c->cap) {
    const int64_t cap = 2 * (c->size + n) + 1024;
    uint8_t *moved = grad__realloc(c->ctx, c->bytes, (size_t)c->cap, (size_t)cap);
    c->failed = !moved;
    if (c->failed) return;
    c->bytes = moved;
    c->cap = cap;
  }
  memcpy(c->bytes + c->size, bytes, (size_t)n);
  c->size += n;
}

static void forget_bytes(grad_code *c) {
  grad__free(c->ctx, c->bytes, (size_t)c->cap);
  c->bytes = NULL;
  c->size = c->cap = 0;
}

#if defined __unix__
static bool map_bytes(grad_code *c) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = ((size_t)c->size + page - 1) / page * page;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  memcpy(memory, c->bytes, (size_t)c->size);
  if (mprotect(memory, bytes, PROT_READ | PROT_EXEC) != 0) {
    munmap(memory, bytes);
    return false;
  }
  c->memory = memory;
  c->mapped = bytes;
  return true;
}

void grad__code_free(grad_code *c) {
  forget_bytes(c);
  if (c->memory) munmap(c->memory, c->mapped);
  c->memory = NULL;
}
#else
static bool map_bytes(grad_code *c) { return (void)c, false; }

void grad__code_free(grad_code *c) { forget_bytes(c); }
#endif

bool grad__code_map(grad_code *c) {
  const bool mapped = !c->failed && c->size > 0 && map_bytes(c);
  forget_bytes(c);
  return mapped;
}
