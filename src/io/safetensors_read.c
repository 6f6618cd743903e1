/* safetensors_read.c: the header is parsed and checked as a whole before any element is read. */
#include "io/safetensors.h"
#include "io/elements.h"
#include "io/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 100 * 1000 * 1000 }; /* as the format's own implementation has it */

typedef struct entry {
  const char *name;
  size_t name_size;
  grad_element element;
  int ndim;
  int64_t shape[GRAD_MAX_AXES];
  int64_t begin, end; /* of its bytes, counted from the end of the header */
  grad_array *array;
} entry;

typedef struct entries {
  entry *items;
  int64_t count, cap;
} entries;

typedef struct reader {
  grad_ctx *ctx;
  const grad_source *source;
  int64_t at; /* bytes read so far */
  grad_json json;
  grad_arena *arena;
  entries entries;
  grad_safetensors *out;
} reader;

static grad_status read_exact(reader *r, void *buffer, size_t size) {
  char *to = buffer;
  while (size > 0) {
    size_t got;
    grad_status status = r->source->read(r->source->ud, r->ctx, to, size, &got);
    if (!status && got == 0) {
      status = grad__bad_data(r->ctx, r->source->name, r->at, "the file ends, but %zu bytes more are expected", size);
    }
    if (!status) status = grad__interrupted(r->ctx);
    if (status) return status;
    to += got;
    size -= got;
    r->at += (int64_t)got;
  }
  return GRAD_OK;
}

/* --- the header */

static grad_status parse_numbers(grad_json *json, int most, int64_t *out, int *count) {
  if (!grad__json_take(json, '[')) return grad__json_expected(json, "[");
  *count = 0;
  while (!grad__json_take(json, ']')) {
    if (*count > 0 && !grad__json_take(json, ',')) return grad__json_expected(json, "a comma or ]");
    if (*count == most) return grad__json_expected(json, most == 2 ? "two offsets" : "at most 8 extents");
    const grad_status status = grad__json_natural(json, &out[(*count)++]);
    if (status) return status;
  }
  return GRAD_OK;
}

static grad_status parse_field(reader *r, entry *e, unsigned *seen) {
  const char *key, *text;
  size_t key_size, size;
  grad_status status = grad__json_string(&r->json, r->arena, &key, &key_size);
  if (status) return status;
  if (!grad__json_take(&r->json, ':')) return grad__json_expected(&r->json, "a colon");
  if (strcmp(key, "dtype") == 0) {
    *seen |= 1;
    status = grad__json_string(&r->json, r->arena, &text, &size);
    if (status || grad__element_from_name(text, size, &e->element)) return status;
    return grad__fail(r->ctx, GRAD_EDTYPE, "%s: tensor %s has the dtype %s, which is not supported", r->source->name,
                      e->name, text);
  }
  if (strcmp(key, "shape") == 0) {
    *seen |= 2;
    return parse_numbers(&r->json, GRAD_MAX_AXES, e->shape, &e->ndim);
  }
  if (strcmp(key, "data_offsets") == 0) {
    *seen |= 4;
    int64_t offsets[2] = {0, 0};
    int count;
    status = parse_numbers(&r->json, 2, offsets, &count);
    e->begin = offsets[0];
    e->end = offsets[1];
    return !status && count != 2 ? grad__json_expected(&r->json, "two offsets") : status;
  }
  return grad__json_expected(&r->json, "only dtype, shape and data_offsets");
}

static grad_status parse_tensor(reader *r, entry *e) {
  unsigned seen = 0;
  int64_t numel;
  if (!grad__json_take(&r->json, '{')) return grad__json_expected(&r->json, "{");
  for (bool first = true; !grad__json_take(&r->json, '}'); first = false) {
    if (!first && !grad__json_take(&r->json, ',')) return grad__json_expected(&r->json, "a comma or }");
    const grad_status status = parse_field(r, e, &seen);
    if (status) return status;
  }
  if (seen != 7) return grad__json_expected(&r->json, "dtype, shape and data_offsets of a tensor");
  const bool counted = grad__shape_numel(e->ndim, e->shape, &numel);
  if (counted && e->end >= e->begin && e->end - e->begin == numel * (int64_t)grad__element_size(e->element))
    return GRAD_OK;
  return grad__bad_data(r->ctx, r->source->name, r->json.offset + (r->json.at - r->json.begin),
                        "tensor %s of shape %s (%s) does not fit its data_offsets %" PRId64 " to %" PRId64, e->name,
                        grad__shape_text(e->ndim, e->shape).chars, grad__element_name(e->element), e->begin, e->end);
}

static grad_status parse_metadata(reader *r) {
  int64_t cap = 0;
  if (!grad__json_take(&r->json, '{')) return grad__json_expected(&r->json, "{");
  while (!grad__json_take(&r->json, '}')) {
    size_t size;
    if (r->out->nmetadata > 0 && !grad__json_take(&r->json, ',')) return grad__json_expected(&r->json, "a comma or }");
    if (r->out->nmetadata == cap) {
      cap = cap ? cap * 2 : 16;
      grad_text_pair *const pairs = grad__arena_alloc(&r->out->arena, (size_t)cap * sizeof *pairs);
      if (!pairs) return r->ctx->status;
      if (r->out->metadata) memcpy(pairs, r->out->metadata, (size_t)r->out->nmetadata * sizeof *pairs);
      r->out->metadata = pairs;
    }
    grad_text_pair *const pair = &r->out->metadata[r->out->nmetadata];
    grad_status status = grad__json_string(&r->json, &r->out->arena, &pair->key, &size);
    if (status) return status;
    if (!grad__json_take(&r->json, ':')) return grad__json_expected(&r->json, "a colon");
    status = grad__json_string(&r->json, &r->out->arena, &pair->value, &size);
    if (status) return status;
    r->out->nmetadata++;
  }
  return GRAD_OK;
}

/* A new entry, zeroed; NULL when out of memory. */
static entry *add_entry(reader *r) {
  if (r->entries.count == r->entries.cap) {
    const int64_t cap = r->entries.cap ? r->entries.cap * 2 : 16;
    entry *const items =
        grad__realloc(r->ctx, r->entries.items, (size_t)r->entries.cap * sizeof *items, (size_t)cap * sizeof *items);
    if (!items) return NULL;
    r->entries.items = items;
    r->entries.cap = cap;
  }
  entry *const e = &r->entries.items[r->entries.count++];
  *e = (entry){0};
  return e;
}

static grad_status parse_header(reader *r) {
  bool metadata = false;
  if (!grad__json_take(&r->json, '{')) return grad__json_expected(&r->json, "{");
  for (bool first = true; !grad__json_take(&r->json, '}'); first = false) {
    const char *name;
    size_t size;
    if (!first && !grad__json_take(&r->json, ',')) return grad__json_expected(&r->json, "a comma or }");
    grad_status status = grad__json_string(&r->json, r->arena, &name, &size);
    if (status) return status;
    if (!grad__json_take(&r->json, ':')) return grad__json_expected(&r->json, "a colon");
    if (strcmp(name, "__metadata__") == 0) {
      if (metadata) return grad__json_expected(&r->json, "__metadata__ only once");
      metadata = true;
      status = parse_metadata(r);
    } else {
      entry *const e = add_entry(r);
      if (!e) return r->ctx->status;
      e->name = name;
      e->name_size = size;
      status = parse_tensor(r, e);
    }
    if (status) return status;
  }
  grad__json_skip(&r->json); /* spaces pad the header */
  return r->json.at == r->json.end ? GRAD_OK : grad__json_expected(&r->json, "nothing more");
}

/* --- checks across tensors, which are sorted by their place for it */

static int compare_places(const void *a, const void *b) {
  const entry *const x = *(entry *const *)a, *const y = *(entry *const *)b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  return (x->end > y->end) - (x->end < y->end);
}

static int compare_names(const void *a, const void *b) {
  return strcmp((*(entry *const *)a)->name, (*(entry *const *)b)->name);
}

static grad_status check_layout(const reader *r, entry **sorted, int64_t data_size) {
  int64_t next = 0;
  const int64_t n = r->entries.count;
  if (n > 0) qsort(sorted, (size_t)n, sizeof *sorted, compare_names);
  for (int64_t i = 1; i < n; i++) {
    if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
      return grad__bad_data(r->ctx, r->source->name, 8, "tensor %s occurs twice", sorted[i]->name);
    }
  }
  if (n > 0) qsort(sorted, (size_t)n, sizeof *sorted, compare_places);
  for (int64_t i = 0; i < n; i++) {
    if (sorted[i]->begin != next) {
      return grad__bad_data(r->ctx, r->source->name, 8,
                            "tensor %s begins at %" PRId64 ", where %" PRId64 " is expected (gap or overlap)",
                            sorted[i]->name, sorted[i]->begin, next);
    }
    next = sorted[i]->end;
  }
  if (next == data_size) return GRAD_OK;
  return grad__bad_data(r->ctx, r->source->name, r->at,
                        "the tensors have %" PRId64 " bytes, but %" PRId64 " follow the header", next, data_size);
}

/* --- elements */

static grad_status read_elements(reader *r, const entry *e) {
  enum { PIECE = 1 << 15 };
  unsigned char piece[PIECE];
  const size_t size = grad__element_size(e->element), bytes = (size_t)(e->end - e->begin);
  const grad_dtype dtype = grad__element_dtype(e->element);
  const bool as_is = e->element == GRAD_ELEMENT_F32 || e->element == GRAD_ELEMENT_F64 || e->element == GRAD_ELEMENT_I64;
  if (as_is) return read_exact(r, e->array->data, bytes);
  char *to = e->array->data;
  for (size_t at = 0; at < bytes;) {
    const size_t part = bytes - at < PIECE ? bytes - at : PIECE;
    const grad_status status = read_exact(r, piece, part);
    if (status) return status;
    if (!grad__elements_convert(e->element, false, (int64_t)(part / size), piece, to)) {
      return grad__fail(r->ctx, GRAD_EDTYPE,
                        "%s: tensor %s has an unsigned number above 2^63 - 1, which does not fit i64", r->source->name,
                        e->name);
    }
    to += part / size * grad__dtype_size(dtype);
    at += part;
  }
  return GRAD_OK;
}

static grad_status make_arrays(reader *r) {
  grad_named_list *const list = &r->out->tensors;
  for (int64_t i = 0; i < r->entries.count; i++) {
    entry *const e = &r->entries.items[i];
    grad_array array;
    grad_status status = grad__array_new(r->ctx, grad__element_dtype(e->element), e->ndim, e->shape, &array);
    if (status) return status;
    status = grad__named_add(list, e->name, e->name_size, &array);
    if (status) grad__array_release(&array);
    if (status) return status;
  }
  for (int64_t i = 0; i < r->entries.count; i++) r->entries.items[i].array = &list->items[i].array;
  return GRAD_OK;
}

static grad_status read_tensors(reader *r, int64_t data_size) {
  const int64_t n = r->entries.count;
  entry **const sorted = grad__alloc(r->ctx, (size_t)n * sizeof *sorted);
  if (!sorted && n > 0) return r->ctx->status;
  for (int64_t i = 0; i < n; i++) sorted[i] = &r->entries.items[i];
  grad_status status = check_layout(r, sorted, data_size);
  if (!status) status = make_arrays(r);
  for (int64_t i = 0; i < n && !status; i++) status = read_elements(r, sorted[i]);
  grad__free(r->ctx, sorted, (size_t)n * sizeof *sorted);
  return status;
}

static grad_status read_file(reader *r) {
  unsigned char length[8];
  grad_status status = read_exact(r, length, sizeof length);
  if (status) return status;
  const uint64_t size = grad__little(length, 8);
  if (size > HEADER_MAX || (int64_t)size > r->source->size - 8) {
    return grad__bad_data(r->ctx, r->source->name, 0, "a header of %" PRIu64 " bytes in a file of %" PRId64, size,
                          r->source->size);
  }
  char *const header = grad__arena_alloc(r->arena, (size_t)size);
  if (!header) return r->ctx->status;
  status = read_exact(r, header, (size_t)size);
  if (status) return status;
  r->json = (grad_json){
      .ctx = r->ctx, .name = r->source->name, .begin = header, .at = header, .end = header + size, .offset = 8};
  status = parse_header(r);
  return status ? status : read_tensors(r, r->source->size - 8 - (int64_t)size);
}

static grad_status read_sized(grad_ctx *ctx, const grad_source *source, grad_safetensors *out) {
  grad_arena arena;
  grad_safetensors file = {.tensors = {.ctx = ctx}};
  grad__arena_init(&arena, ctx);
  grad__arena_init(&file.arena, ctx);
  reader r = {.ctx = ctx, .source = source, .arena = &arena, .out = &file};
  const grad_status status = read_file(&r);
  grad__free(ctx, r.entries.items, (size_t)r.entries.cap * sizeof *r.entries.items);
  grad__arena_clear(&arena);
  if (status) {
    grad__safetensors_clear(&file);
    return status;
  }
  *out = file;
  return GRAD_OK;
}

grad_status grad__safetensors_read(grad_ctx *ctx, const grad_source *source, grad_safetensors *out) {
  if (source->size >= 0) return read_sized(ctx, source, out);
  grad_bytes bytes;
  grad_status status = grad__bytes_read(ctx, source, &bytes);
  if (status) return status;
  grad_memory memory = {.data = bytes.data, .size = bytes.size};
  grad_source whole;
  grad__source_memory(&memory, source->name, &whole);
  status = read_sized(ctx, &whole, out);
  grad__bytes_clear(&bytes);
  return status;
}

void grad__safetensors_clear(grad_safetensors *file) {
  grad__named_clear(&file->tensors);
  if (file->arena.ctx) grad__arena_clear(&file->arena);
  file->metadata = NULL;
  file->nmetadata = 0;
}
