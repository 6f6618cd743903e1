/* dtype.c: element types: sizes, names, promotion. */
#include "array/array.h"

#include <string.h>

static const struct {
  const char *name;
  size_t size;
} dtypes[] = {[GRAD_BOOL] = {"bool", 1}, [GRAD_I64] = {"i64", 8}, [GRAD_F32] = {"f32", 4}, [GRAD_F64] = {"f64", 8}};

size_t grad__dtype_size(grad_dtype dtype) { return dtypes[dtype].size; }

const char *grad__dtype_name(grad_dtype dtype) { return dtypes[dtype].name; }

bool grad__dtype_from_name(const char *name, grad_dtype *out) {
  for (int i = GRAD_BOOL; i <= GRAD_F64; i++) {
    if (strcmp(name, dtypes[i].name) != 0) continue;
    *out = (grad_dtype)i;
    return true;
  }
  return false;
}

grad_dtype grad__dtype_promote(grad_dtype a, grad_dtype b) { return a > b ? a : b; }
