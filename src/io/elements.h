/* elements.h: element types of files, which have more of them than arrays have. */
#ifndef GRAD_IO_ELEMENTS_H
#define GRAD_IO_ELEMENTS_H

#include "array/array.h"

/* name, bytes, the dtype of arrays that hold it */
#define GRAD_ELEMENT_MAP(XX)                                                                                           \
  XX(BOOL, 1, BOOL)                                                                                                    \
  XX(U8, 1, I64)                                                                                                       \
  XX(I8, 1, I64)                                                                                                       \
  XX(U16, 2, I64)                                                                                                      \
  XX(I16, 2, I64)                                                                                                      \
  XX(U32, 4, I64)                                                                                                      \
  XX(I32, 4, I64)                                                                                                      \
  XX(U64, 8, I64)                                                                                                      \
  XX(I64, 8, I64)                                                                                                      \
  XX(F16, 2, F32)                                                                                                      \
  XX(BF16, 2, F32)                                                                                                     \
  XX(F32, 4, F32)                                                                                                      \
  XX(F64, 8, F64)

typedef enum grad_element {
#define XX(name, bytes, dtype) GRAD_ELEMENT_##name,
  GRAD_ELEMENT_MAP(XX)
#undef XX
} grad_element;

size_t grad__element_size(grad_element element);
const char *grad__element_name(grad_element element); /* "F16", as safetensors has it */
bool grad__element_from_name(const char *name, size_t size, grad_element *out);
grad_dtype grad__element_dtype(grad_element element); /* of the arrays that hold it */

/* Converts n packed elements to the array dtype. `big`: the bytes are big-endian. False when an unsigned number does
 * not fit i64 (the rest is converted). */
bool grad__elements_convert(grad_element element, bool big, int64_t n, const void *from, void *to);

#endif
