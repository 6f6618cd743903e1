/* registry.c: the list of all ops. */
#include <string.h>

#include "ops/ops.h"

static const grad_op *const all_ops[] = {
#define OP1(name, ...) &grad__op_##name,
#define OP2(name, ...) &grad__op_##name,
#define OP3(name, ...) &grad__op_##name,
#define STRUCTURED(name) &grad__op_##name,
#include "ops/ops.def"
#include "ops/structured.def"
#undef OP1
#undef OP2
#undef OP3
#undef STRUCTURED
};

int grad__op_count(void) { return (int)(sizeof all_ops / sizeof *all_ops); }

const grad_op *grad__op_at(int i) { return all_ops[i]; }

const grad_op *grad__op_find(const char *name) {
  for (int i = 0; i < grad__op_count(); i++) {
    if (strcmp(all_ops[i]->name, name) == 0) return all_ops[i];
  }
  return NULL;
}
