/* npy_header.h: the text at the start of a .npy file: a Python dict that says what follows. */
#ifndef GRAD_IO_NPY_HEADER_H
#define GRAD_IO_NPY_HEADER_H

#include "io/elements.h"

typedef struct grad_npy_header {
  grad_element element;
  bool big, fortran; /* byte order, and first index fastest */
  int ndim;
  int64_t shape[GRAD_MAX_AXES];
  size_t size; /* of magic, length and text: where the elements begin */
} grad_npy_header;

/* data[0..size) is the whole file, `offset` where it lies in the source `name` (both for messages). */
grad_status grad__npy_header_read(grad_ctx *ctx, const char *name, int64_t offset, const unsigned char *data,
                                  size_t size, grad_npy_header *out);

enum { GRAD_NPY_HEADER_MAX = 384 };
/* Writes magic, length and text, padded to 64 bytes; returns its size, at most GRAD_NPY_HEADER_MAX. */
size_t grad__npy_header_write(const grad_array *array, char *out);

#endif
