/* stream.h: reading a strided array in row-major order as contiguous blocks. */
#ifndef GRAD_OPS_STREAM_H
#define GRAD_OPS_STREAM_H

#include "array/array.h"

/* A place in an array. Axes of extent 1 are dropped and the others merged where strides allow. */
typedef struct grad_stream {
  const char *at; /* the current element */
  int64_t size;   /* bytes of an element */
  int64_t filled; /* a single repeated element: how many copies the buffer holds already; else -1 */
  int ndim;
  int64_t shape[GRAD_MAX_AXES], strides[GRAD_MAX_AXES], index[GRAD_MAX_AXES]; /* strides in bytes */
} grad_stream;

/* Starts at element `first` in row-major order. */
void grad__stream_start(grad_stream *s, const grad_array *a, int64_t first);

/* The next n elements: in place when they lie one after the other, else gathered into the buffer, which must stay the
 * same for all calls on a stream and hold n elements. */
const void *grad__stream_next(grad_stream *s, int64_t n, void *buffer);

#endif
