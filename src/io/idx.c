/* idx.c: the IDX format: two zero bytes, element type, number of axes, big-endian extents, big-endian elements. */
#include "io/idx.h"
#include "io/bytes.h"
#include "io/elements.h"

#include <inttypes.h>

static bool element_of(unsigned char code, grad_element *out) {
  static const struct {
    unsigned char code;
    grad_element element;
  } codes[] = {{0x08, GRAD_ELEMENT_U8},  {0x09, GRAD_ELEMENT_I8},  {0x0B, GRAD_ELEMENT_I16},
               {0x0C, GRAD_ELEMENT_I32}, {0x0D, GRAD_ELEMENT_F32}, {0x0E, GRAD_ELEMENT_F64}};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    if (codes[i].code == code) *out = codes[i].element;
    if (codes[i].code == code) return true;
  }
  return false;
}

/* Converts at once when the natural dtype is wanted, else through a piece of it. */
static grad_status fill(grad_ctx *ctx, grad_element element, const unsigned char *from, grad_array *out) {
  enum { PIECE = 4096 };
  union {
    double f64[PIECE];
    int64_t i64[PIECE];
  } piece;
  const size_t size = grad__element_size(element);
  const int64_t n = grad__array_numel(out);
  grad_array flat, source;
  grad__view_reshape(out, 1, &n, &flat);
  for (int64_t at = 0; at < n; at += PIECE) {
    const int64_t count = n - at < PIECE ? n - at : PIECE;
    grad_array part;
    grad__view_slice(&flat, 0, at, count, 1, &part);
    grad__elements_convert(element, true, count, from + (size_t)at * size, &piece);
    grad__array_wrap(&source, &piece, grad__element_dtype(element), 1, &count);
    grad__array_copy(&part, &source);
  }
  return grad__interrupted(ctx);
}

static grad_status parse(grad_ctx *ctx, const char *name, const grad_bytes *bytes, int dtype, grad_array *out) {
  grad_element element;
  int64_t shape[GRAD_MAX_AXES], numel;
  if (bytes->size < 4) return grad__bad_data(ctx, name, (int64_t)bytes->size, "an IDX file has at least 4 bytes");
  if (bytes->data[0] || bytes->data[1]) return grad__bad_data(ctx, name, 0, "an IDX file starts with two zero bytes");
  if (!element_of(bytes->data[2], &element)) {
    return grad__bad_data(ctx, name, 2, "0x%02x is no element type of IDX", bytes->data[2]);
  }
  const int ndim = bytes->data[3];
  const size_t header = 4 + 4 * (size_t)ndim;
  if (ndim > GRAD_MAX_AXES) {
    return grad__bad_data(ctx, name, 3, "%d axes, but %d are the most an array has", ndim, GRAD_MAX_AXES);
  }
  if (bytes->size < header) return grad__bad_data(ctx, name, (int64_t)bytes->size, "the header has %zu bytes", header);
  for (int i = 0; i < ndim; i++) {
    const unsigned char *const at = bytes->data + 4 + 4 * i;
    shape[i] = (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
  }
  const size_t held = bytes->size - header;
  if (!grad__shape_numel(ndim, shape, &numel) || (uint64_t)numel * grad__element_size(element) != held) {
    return grad__bad_data(ctx, name, (int64_t)header, "elements of shape %s (%zu bytes each) expected, %zu bytes found",
                          grad__shape_text(ndim, shape).chars, grad__element_size(element), held);
  }
  const grad_dtype wanted = dtype < 0 ? grad__element_dtype(element) : (grad_dtype)dtype;
  grad_status status = grad__array_new(ctx, wanted, ndim, shape, out);
  if (!status) status = fill(ctx, element, bytes->data + header, out);
  if (status) grad__array_release(out);
  return status;
}

grad_status grad__idx_read(grad_ctx *ctx, const grad_source *source, int dtype, grad_array *out) {
  grad_bytes bytes;
  grad_array array = {0};
  grad_status status = grad__bytes_read(ctx, source, &bytes);
  if (status) return status;
  status = parse(ctx, source->name, &bytes, dtype, &array);
  grad__bytes_clear(&bytes);
  if (!status) *out = array;
  return status;
}
