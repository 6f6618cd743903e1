/* machine_code.h: bytes of instructions, and memory they can run in. Memory is writable while it is filled and
 * executable afterwards, never both.
 */
#ifndef GRAD_EXEC_MACHINE_CODE_H
#define GRAD_EXEC_MACHINE_CODE_H

#include "core/ctx.h"

typedef struct grad_code {
  grad_ctx *ctx;
  uint8_t *bytes; /* being assembled */
  int64_t size, cap;
  bool failed;   /* out of memory: what is added is dropped */
  void *memory;  /* executable, once mapped */
  size_t mapped; /* its bytes */
} grad_code;

void grad__code_add(grad_code *c, int64_t n, const void *bytes);
/* Makes what was added executable and forgets the bytes; false (and nothing kept) when the system does not allow it. */
bool grad__code_map(grad_code *c);
void grad__code_free(grad_code *c);

#endif
