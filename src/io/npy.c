/* npy.c: NumPy arrays, alone and in zip archives. */
#include "io/npy.h"
#include "io/bytes.h"
#include "io/npy_header.h"
#include "io/zip.h"

#include <string.h>

/* data[0..size) is a whole .npy file that begins at `offset` of the source. */
static grad_status parse(grad_ctx *ctx, const char *name, int64_t offset, const unsigned char *data, size_t size,
                         grad_array *out) {
  grad_npy_header header;
  int64_t numel;
  grad_status status = grad__npy_header_read(ctx, name, offset, data, size, &header);
  if (status) return status;
  const size_t held = size - header.size, element_size = grad__element_size(header.element);
  if (!grad__shape_numel(header.ndim, header.shape, &numel) || (uint64_t)numel * element_size != held) {
    return grad__bad_data(ctx, name, offset + (int64_t)header.size,
                          "elements of shape %s (%zu bytes each) expected, %zu bytes found",
                          grad__shape_text(header.ndim, header.shape).chars, element_size, held);
  }
  int64_t shape[GRAD_MAX_AXES]; /* as the elements lie in the file */
  int reversed[GRAD_MAX_AXES];
  for (int i = 0; i < header.ndim; i++) {
    reversed[i] = header.ndim - 1 - i;
    shape[i] = header.shape[header.fortran ? reversed[i] : i];
  }
  grad_array read = {0}, turned, array = {0};
  status = grad__array_new(ctx, grad__element_dtype(header.element), header.ndim, shape, &read);
  if (status) return status;
  if (!grad__elements_convert(header.element, header.big, numel, data + header.size, read.data)) {
    status = grad__fail(ctx, GRAD_EDTYPE, "%s: an unsigned number above 2^63 - 1 does not fit i64", name);
  }
  if (!status && header.fortran && header.ndim > 1) {
    status = grad__array_new(ctx, read.dtype, header.ndim, header.shape, &array);
    grad__view_permute(&read, reversed, &turned);
    if (!status) grad__array_copy(&array, &turned);
    grad__array_release(&read);
    read = array;
  }
  if (status) {
    grad__array_release(&read);
    return status;
  }
  *out = read;
  return GRAD_OK;
}

grad_status grad__npy_read(grad_ctx *ctx, const grad_source *source, grad_array *out) {
  grad_bytes bytes;
  grad_status status = grad__bytes_read(ctx, source, &bytes);
  if (status) return status;
  status = parse(ctx, source->name, 0, bytes.data, bytes.size, out);
  grad__bytes_clear(&bytes);
  return status;
}

static grad_status read_member(grad_ctx *ctx, const char *name, const grad_bytes *archive, grad_zip_entry *entry,
                               grad_named_list *list) {
  grad_bytes unpacked = {.ctx = ctx};
  const unsigned char *data;
  grad_array array;
  grad_status status = grad__zip_open(name, archive, entry, &unpacked, &data);
  if (!status) status = parse(ctx, name, entry->data, data, entry->size, &array);
  grad__bytes_clear(&unpacked);
  if (status) return status;
  const bool suffix = entry->name_size > 4 && memcmp(entry->name + entry->name_size - 4, ".npy", 4) == 0;
  status = grad__named_add(list, entry->name, entry->name_size - (suffix ? 4 : 0), &array);
  if (status) grad__array_release(&array);
  return status;
}

grad_status grad__npz_read(grad_ctx *ctx, const grad_source *source, grad_named_list *out) {
  grad_bytes archive;
  grad_zip_directory directory = {0};
  grad_named_list list = {.ctx = ctx};
  grad_status status = grad__bytes_read(ctx, source, &archive);
  if (status) return status;
  status = grad__zip_start(source->name, &archive, &directory);
  while (!status && directory.left > 0) {
    grad_zip_entry entry;
    status = grad__zip_next(source->name, &archive, &directory, &entry);
    if (!status) status = read_member(ctx, source->name, &archive, &entry, &list);
  }
  grad__bytes_clear(&archive);
  if (status) {
    grad__named_clear(&list);
    return status;
  }
  *out = list;
  return GRAD_OK;
}

/* The array itself when it is row-major, else a row-major copy; release what comes out. */
static grad_status row_major(grad_ctx *ctx, const grad_array *array, grad_array *out) {
  if (grad__array_is_contiguous(array)) {
    *out = *array;
    grad__array_retain(out);
    return GRAD_OK;
  }
  const grad_status status = grad__array_new(ctx, array->dtype, array->ndim, array->shape, out);
  if (!status) grad__array_copy(out, array);
  return status;
}

grad_status grad__npy_write(grad_ctx *ctx, const grad_sink *sink, const grad_array *array) {
  char header[GRAD_NPY_HEADER_MAX];
  grad_array packed;
  grad_status status = row_major(ctx, array, &packed);
  if (status) return status;
  status = sink->write(sink->ud, ctx, header, grad__npy_header_write(&packed, header));
  const size_t bytes = (size_t)grad__array_numel(&packed) * grad__dtype_size(packed.dtype);
  if (!status && bytes > 0) status = sink->write(sink->ud, ctx, packed.data, bytes);
  grad__array_release(&packed);
  return status;
}

grad_status grad__npz_write(grad_ctx *ctx, const grad_sink *sink, const grad_named_list *list) {
  grad_zip_writer writer = {.ctx = ctx, .sink = sink, .directory = {.ctx = ctx}};
  grad_status status = GRAD_OK;
  for (int64_t i = 0; i < list->count && !status; i++) {
    char header[GRAD_NPY_HEADER_MAX];
    grad_array packed;
    status = row_major(ctx, &list->items[i].array, &packed);
    if (status) break;
    const grad_zip_part parts[2] = {{header, grad__npy_header_write(&packed, header)},
                                    {packed.data, (size_t)grad__array_numel(&packed) * grad__dtype_size(packed.dtype)}};
    status = grad__zip_add(&writer, list->items[i].name, ".npy", parts);
    grad__array_release(&packed);
  }
  if (!status) status = grad__zip_finish(&writer);
  grad__bytes_clear(&writer.directory);
  return status;
}
