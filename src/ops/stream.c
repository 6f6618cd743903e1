/* stream.c: gathering of strided arrays into blocks; see stream.h. */
#include "ops/stream.h"

#include <string.h>

static void add_axis(grad_stream *s, int64_t extent, int64_t stride) {
  if (extent == 1) return;
  const int last = s->ndim - 1;
  if (last >= 0 && s->strides[last] == extent * stride) {
    s->shape[last] *= extent;
    s->strides[last] = stride;
  } else {
    s->shape[s->ndim] = extent;
    s->strides[s->ndim++] = stride;
  }
}

void grad__stream_start(grad_stream *s, const grad_array *a, int64_t first) {
  s->size = (int64_t)grad__dtype_size(a->dtype);
  s->at = a->data;
  s->ndim = 0;
  for (int i = 0; i < a->ndim; i++) add_axis(s, a->shape[i], a->strides[i] * s->size);
  const bool repeats = s->ndim == 0 || (s->ndim == 1 && s->strides[0] == 0);
  s->filled = repeats ? 0 : -1;
  for (int i = s->ndim - 1; i >= 0 && s->shape[i] > 0; i--) {
    s->index[i] = first % s->shape[i];
    first /= s->shape[i];
    s->at += s->index[i] * s->strides[i];
  }
}

/* n elements `stride` bytes apart. */
static void gather(char *to, const char *from, int64_t n, int64_t size, int64_t stride) {
  if (stride == size) {
    memcpy(to, from, (size_t)(n * size));
  } else if (size == 8) {
    for (int64_t i = 0; i < n; i++) memcpy(to + i * 8, from + i * stride, 8);
  } else if (size == 4) {
    for (int64_t i = 0; i < n; i++) memcpy(to + i * 4, from + i * stride, 4);
  } else {
    for (int64_t i = 0; i < n; i++) to[i] = from[i * stride];
  }
}

/* Moves n elements on; n does not go beyond the end of the innermost run. */
static void advance(grad_stream *s, int64_t n) {
  int axis = s->ndim - 1;
  s->index[axis] += n;
  s->at += n * s->strides[axis];
  for (; axis > 0 && s->index[axis] == s->shape[axis]; axis--) {
    s->at += s->strides[axis - 1] - s->shape[axis] * s->strides[axis];
    s->index[axis] = 0;
    s->index[axis - 1]++;
  }
}

const void *grad__stream_next(grad_stream *s, int64_t n, void *buffer) {
  if (s->filled >= 0) {
    if (s->filled < n) gather(buffer, s->at, n, s->size, 0);
    if (s->filled < n) s->filled = n;
    return buffer;
  }
  const int inner = s->ndim - 1;
  if (s->strides[inner] == s->size && s->shape[inner] - s->index[inner] >= n) {
    const void *in_place = s->at;
    advance(s, n);
    return in_place;
  }
  for (int64_t done = 0; done < n;) {
    const int64_t rest = s->shape[inner] - s->index[inner], run = rest < n - done ? rest : n - done;
    gather((char *)buffer + done * s->size, s->at, run, s->size, s->strides[inner]);
    done += run;
    advance(s, run);
  }
  return buffer;
}
