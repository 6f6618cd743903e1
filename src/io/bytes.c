/* bytes.c: reading a source to its end, with zlib for packed ones. zlib's own memory comes from the context. */
#include "io/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { PIECE = 1 << 16, TRUSTED_SIZE = 1 << 26 };

grad_status grad__bad_data(grad_ctx *ctx, const char *name, int64_t offset, const char *format, ...) {
  char text[400];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return grad__fail(ctx, GRAD_EFORMAT, "%s, byte %" PRId64 ": %s", name, offset, text);
}

grad_status grad__bytes_reserve(grad_bytes *bytes, size_t more) {
  if (more <= bytes->cap - bytes->size) return GRAD_OK;
  size_t cap = bytes->cap > SIZE_MAX / 4 ? SIZE_MAX : bytes->cap * 2;
  if (more > SIZE_MAX - bytes->size) return grad__fail(bytes->ctx, GRAD_ENOMEM, "out of memory");
  if (cap < bytes->size + more) cap = bytes->size + more;
  unsigned char *const data = grad__realloc(bytes->ctx, bytes->data, bytes->cap, cap);
  if (!data) return bytes->ctx->status;
  bytes->data = data;
  bytes->cap = cap;
  return GRAD_OK;
}

void grad__bytes_clear(grad_bytes *bytes) {
  if (bytes->ctx) grad__free(bytes->ctx, bytes->data, bytes->cap);
  *bytes = (grad_bytes){.ctx = bytes->ctx};
}

static grad_status read_plain(const grad_source *source, grad_bytes *out) {
  const int64_t hint = source->size < TRUSTED_SIZE ? source->size : TRUSTED_SIZE;
  grad_status status = grad__bytes_reserve(out, hint > 0 ? (size_t)hint + 1 : PIECE);
  for (size_t got = 1; !status && got > 0;) {
    status = grad__bytes_reserve(out, 1);
    if (!status) status = source->read(source->ud, out->ctx, out->data + out->size, out->cap - out->size, &got);
    if (!status) out->size += got;
    if (!status) status = grad__interrupted(out->ctx);
  }
  return status;
}

enum { SIZE_HEADER = 16 };

static void *zlib_alloc(void *ctx, unsigned items, unsigned size) {
  const size_t bytes = (size_t)items * size + SIZE_HEADER;
  unsigned char *const block = grad__alloc(ctx, bytes);
  if (!block) return NULL;
  memcpy(block, &bytes, sizeof bytes);
  return block + SIZE_HEADER;
}

static void zlib_free(void *ctx, void *address) {
  unsigned char *const block = (unsigned char *)address - SIZE_HEADER;
  size_t bytes;
  memcpy(&bytes, block, sizeof bytes);
  grad__free(ctx, block, bytes);
}

static grad_status inflate_failed(const z_stream *z, grad_ctx *ctx, const char *name, int64_t offset, int code) {
  if (code == Z_MEM_ERROR) return ctx->status == GRAD_ELIMIT ? GRAD_ELIMIT : GRAD_ENOMEM;
  if (code == Z_BUF_ERROR) return grad__bad_data(ctx, name, offset, "the packed data ends too early");
  return grad__bad_data(ctx, name, offset, "the packed data is damaged (%s)", z->msg ? z->msg : "wrong kind of data");
}

/* Unpacks into out, at most `most` bytes. With `members` the data is one gz member after another. */
static grad_status unpack(grad_bytes *out, const char *name, int64_t offset, const unsigned char *data, size_t size,
                          size_t most, bool members) {
  z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free, .opaque = out->ctx};
  size_t at = 0;
  const size_t first = out->size;
  int code = inflateInit2(&z, members ? 15 + 16 : -15);
  if (code != Z_OK) return inflate_failed(&z, out->ctx, name, offset, code);
  grad_status status = GRAD_OK;
  while (!status) {
    status = grad__bytes_reserve(out, PIECE);
    if (status) break;
    const size_t give = size - at < PIECE ? size - at : PIECE, room = out->cap - out->size;
    z.next_in = (Bytef *)(uintptr_t)(data + at);
    z.avail_in = (uInt)give;
    z.next_out = out->data + out->size;
    z.avail_out = (uInt)(room < (1U << 30) ? room : 1U << 30);
    const uInt space = z.avail_out;
    code = inflate(&z, Z_NO_FLUSH);
    at += give - z.avail_in;
    out->size += space - z.avail_out;
    if (out->size - first > most) {
      status =
          grad__bad_data(out->ctx, name, offset + (int64_t)at, "more unpacked data than the %zu bytes stated", most);
    } else if (code == Z_STREAM_END) {
      if (!members || at == size || data[at] != 0x1f) break; /* zeros may pad a gz file */
      code = inflateReset(&z);
    } else if (code != Z_OK) {
      status = inflate_failed(&z, out->ctx, name, offset + (int64_t)at, code);
    } else {
      status = grad__interrupted(out->ctx);
    }
  }
  inflateEnd(&z);
  return status;
}

grad_status grad__bytes_inflate(grad_bytes *out, const char *name, int64_t offset, const unsigned char *data,
                                size_t size, size_t most) {
  return unpack(out, name, offset, data, size, most, false);
}

grad_status grad__bytes_read(grad_ctx *ctx, const grad_source *source, grad_bytes *out) {
  grad_bytes raw = {.ctx = ctx}, unpacked = {.ctx = ctx};
  grad_status status = read_plain(source, &raw);
  const bool packed = !status && raw.size >= 2 && raw.data[0] == 0x1f && raw.data[1] == 0x8b;
  if (packed) status = unpack(&unpacked, source->name, 0, raw.data, raw.size, SIZE_MAX, true);
  if (packed || status) grad__bytes_clear(&raw);
  if (status) {
    grad__bytes_clear(&unpacked);
    return status;
  }
  *out = packed ? unpacked : raw;
  return GRAD_OK;
}
