/* safetensors_write.c: the header, then every tensor's elements one after another. */
#include "io/elements.h"
#include "io/json.h"
#include "io/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t byte_size(const grad_array *a) { return grad__array_numel(a) * (int64_t)grad__dtype_size(a->dtype); }

static grad_status append(grad_bytes *out, const char *text) {
  const size_t size = strlen(text);
  const grad_status status = grad__bytes_reserve(out, size);
  if (status) return status;
  memcpy(out->data + out->size, text, size);
  out->size += size;
  return GRAD_OK;
}

static grad_status append_tensor(grad_bytes *out, const grad_named_array *item, int64_t begin) {
  static const grad_element elements[] = {[GRAD_BOOL] = GRAD_ELEMENT_BOOL,
                                          [GRAD_I64] = GRAD_ELEMENT_I64,
                                          [GRAD_F32] = GRAD_ELEMENT_F32,
                                          [GRAD_F64] = GRAD_ELEMENT_F64};
  char text[400];
  const grad_array *const a = &item->array;
  grad_status status = grad__json_quote(out, item->name, item->name_size);
  if (status) return status;
  int at = sprintf(text, ":{\"dtype\":\"%s\",\"shape\":[", grad__element_name(elements[a->dtype]));
  for (int i = 0; i < a->ndim; i++) at += sprintf(text + at, "%s%" PRId64, i ? "," : "", a->shape[i]);
  sprintf(text + at, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", begin, begin + byte_size(a));
  return append(out, text);
}

static grad_status append_metadata(grad_bytes *out, const grad_text_pair *pairs, int64_t count) {
  grad_status status = append(out, "\"__metadata__\":{");
  for (int64_t i = 0; i < count && !status; i++) {
    if (i > 0) status = append(out, ",");
    if (!status) status = grad__json_quote(out, pairs[i].key, strlen(pairs[i].key));
    if (!status) status = append(out, ":");
    if (!status) status = grad__json_quote(out, pairs[i].value, strlen(pairs[i].value));
  }
  return status ? status : append(out, "}");
}

/* Padded with spaces so that elements begin at a multiple of 8. */
static grad_status build_header(grad_bytes *out, const grad_named_list *tensors, const grad_text_pair *metadata,
                                int64_t nmetadata) {
  int64_t begin = 0;
  grad_status status = append(out, "{");
  if (!status && nmetadata > 0) status = append_metadata(out, metadata, nmetadata);
  for (int64_t i = 0; i < tensors->count && !status; i++) {
    if (i > 0 || nmetadata > 0) status = append(out, ",");
    if (!status) status = append_tensor(out, &tensors->items[i], begin);
    begin += byte_size(&tensors->items[i].array);
  }
  if (!status) status = append(out, "}");
  while (!status && out->size % 8 != 0) status = append(out, " ");
  return status;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static grad_status check_names(grad_ctx *ctx, const grad_named_list *tensors) {
  const size_t n = (size_t)tensors->count;
  const char **const sorted = grad__alloc(ctx, n * sizeof *sorted);
  if (!sorted) return n > 0 ? ctx->status : GRAD_OK;
  for (size_t i = 0; i < n; i++) sorted[i] = tensors->items[i].name;
  qsort(sorted, n, sizeof *sorted, compare_names);
  grad_status status = GRAD_OK;
  for (size_t i = 0; i < n && !status; i++) {
    if (strlen(sorted[i]) == 0 || strcmp(sorted[i], "__metadata__") == 0) {
      status = grad__fail(ctx, GRAD_EVALUE, "save: a tensor cannot have the name \"%s\"", sorted[i]);
    } else if (i > 0 && strcmp(sorted[i - 1], sorted[i]) == 0) {
      status = grad__fail(ctx, GRAD_EVALUE, "save: the name %s occurs twice", sorted[i]);
    }
  }
  grad__free(ctx, (void *)sorted, n * sizeof *sorted);
  return status;
}

static grad_status write_elements(grad_ctx *ctx, const grad_sink *sink, const grad_array *a) {
  if (byte_size(a) == 0) return GRAD_OK;
  if (grad__array_is_contiguous(a)) return sink->write(sink->ud, ctx, a->data, (size_t)byte_size(a));
  grad_array packed;
  grad_status status = grad__array_new(ctx, a->dtype, a->ndim, a->shape, &packed);
  if (status) return status;
  grad__array_copy(&packed, a);
  status = sink->write(sink->ud, ctx, packed.data, (size_t)byte_size(a));
  grad__array_release(&packed);
  return status;
}

grad_status grad__safetensors_write(grad_ctx *ctx, const grad_sink *sink, const grad_named_list *tensors,
                                    const grad_text_pair *metadata, int64_t nmetadata) {
  grad_bytes header = {.ctx = ctx};
  grad_status status = check_names(ctx, tensors);
  if (!status) status = build_header(&header, tensors, metadata, nmetadata);
  const uint64_t size = header.size; /* written as it lies in memory: little-endian, see source.c */
  if (!status) status = sink->write(sink->ud, ctx, &size, sizeof size);
  if (!status) status = sink->write(sink->ud, ctx, header.data, header.size);
  for (int64_t i = 0; i < tensors->count && !status; i++) {
    status = write_elements(ctx, sink, &tensors->items[i].array);
    if (!status) status = grad__interrupted(ctx);
  }
  grad__bytes_clear(&header);
  return status;
}
