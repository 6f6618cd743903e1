/* readers_fuzz.c: the readers of data files on arbitrary bytes (libFuzzer). The first byte picks the format, the second
 * says whether the size is known beforehand. Beyond what the sanitizers see: a refusal has a message, nothing stays
 * allocated, memory stays within a fixed multiple of the input, and what was read can be written and read again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/bytes.h"
#include "io/csv.h"
#include "io/idx.h"
#include "io/npy.h"
#include "io/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "readers_fuzz: %s\n", what);
  abort();
}

static grad_status keep(void *ud, grad_ctx *ctx, const void *data, size_t size) {
  (void)ctx;
  grad_bytes *const kept = ud;
  const grad_status status = grad__bytes_reserve(kept, size);
  if (status) return status;
  memcpy(kept->data + kept->size, data, size);
  kept->size += size;
  return GRAD_OK;
}

static grad_status csv(grad_ctx *ctx, const grad_source *source) {
  grad_csv table;
  const grad_status status = grad__csv_read(ctx, source, &(grad_csv_options){.header = -1, .dtype = GRAD_F64}, &table);
  if (!status) grad__csv_clear(&table);
  return status;
}

static grad_status idx(grad_ctx *ctx, const grad_source *source) {
  grad_array a = {0};
  const grad_status status = grad__idx_read(ctx, source, GRAD_F32, &a);
  grad__array_release(&a);
  return status;
}

static grad_status npy(grad_ctx *ctx, const grad_source *source) {
  grad_array a = {0}, again = {0};
  grad_bytes kept = {.ctx = ctx};
  grad_status status = grad__npy_read(ctx, source, &a);
  if (!status) {
    const grad_sink sink = {.write = keep, .ud = &kept, .name = "again"};
    require(grad__npy_write(ctx, &sink, &a) == GRAD_OK, "what was read cannot be written");
    grad_memory memory = {.data = kept.data, .size = kept.size};
    grad_source written;
    grad__source_memory(&memory, "again", &written);
    require(grad__npy_read(ctx, &written, &again) == GRAD_OK, "what was written cannot be read");
    require(grad__shape_equal(a.ndim, a.shape, again.ndim, again.shape) && a.dtype == again.dtype,
            "another array came");
  }
  grad__array_release(&a);
  grad__array_release(&again);
  grad__bytes_clear(&kept);
  return status;
}

static grad_status npz(grad_ctx *ctx, const grad_source *source) {
  grad_named_list list = {.ctx = ctx};
  const grad_status status = grad__npz_read(ctx, source, &list);
  grad__named_clear(&list);
  return status;
}

static grad_status safetensors(grad_ctx *ctx, const grad_source *source) {
  grad_safetensors file = {0}, again = {0};
  grad_bytes kept = {.ctx = ctx};
  const grad_status status = grad__safetensors_read(ctx, source, &file);
  if (status) return status;
  const grad_sink sink = {.write = keep, .ud = &kept, .name = "again"};
  const grad_status wrote = grad__safetensors_write(ctx, &sink, &file.tensors, file.metadata, file.nmetadata);
  require(wrote == GRAD_OK || wrote == GRAD_EVALUE, "what was read cannot be written"); /* an empty name is refused */
  if (!wrote) {
    grad_memory memory = {.data = kept.data, .size = kept.size};
    grad_source written;
    grad__source_memory(&memory, "again", &written);
    require(grad__safetensors_read(ctx, &written, &again) == GRAD_OK, "what was written cannot be read");
    require(again.tensors.count == file.tensors.count && again.nmetadata == file.nmetadata, "another file came");
    grad__safetensors_clear(&again);
  }
  grad__safetensors_clear(&file);
  grad__bytes_clear(&kept);
  return GRAD_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static grad_status (*const readers[])(grad_ctx *, const grad_source *) = {csv, idx, npy, npz, safetensors};
  enum { NREADERS = sizeof readers / sizeof *readers, LIMIT = 64 << 20 };
  grad_ctx *ctx;
  if (size < 2 || grad_ctx_new(&(grad_config){.byte_limit = LIMIT}, &ctx) != GRAD_OK) return 0;
  grad_memory memory = {.data = data + 2, .size = size - 2};
  grad_source source;
  grad__source_memory(&memory, "fuzz", &source);
  if (data[1] % 2) source.size = -1;
  const grad_status status = readers[data[0] % NREADERS](ctx, &source);
  require(status == GRAD_OK || grad_message(ctx)[0], "a refusal without a message");
  require(ctx->used == 0, "memory stayed allocated");
  grad_ctx_free(ctx);
  return 0;
}
