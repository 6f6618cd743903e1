/* bytes.h: a whole source in memory, unpacked; what the readers of small formats work on. */
#ifndef GRAD_IO_BYTES_H
#define GRAD_IO_BYTES_H

#include "io/source.h"

typedef struct grad_bytes {
  grad_ctx *ctx;
  unsigned char *data;
  size_t size, cap;
} grad_bytes;

/* grad__bytes_read: all that the source gives, grown as it arrives; gz (any number of members) is unpacked. */
grad_status grad__bytes_read(grad_ctx *ctx, const grad_source *source, grad_bytes *out);
void grad__bytes_clear(grad_bytes *bytes);

/* grad__bytes_reserve: room for `more` bytes after size. */
grad_status grad__bytes_reserve(grad_bytes *bytes, size_t more);

/* grad__bytes_inflate: appends raw deflate data unpacked, at most `most` bytes. `name` and `offset` are for messages.
 */
grad_status grad__bytes_inflate(grad_bytes *out, const char *name, int64_t offset, const unsigned char *data,
                                size_t size, size_t most);

/* grad__bad_data: EFORMAT "name, byte N: ...". */
#if defined __GNUC__
__attribute__((format(printf, 4, 5)))
#endif
grad_status
grad__bad_data(grad_ctx *ctx, const char *name, int64_t offset, const char *format, ...);

static inline uint64_t grad__little(const unsigned char *at, int bytes) {
  uint64_t x = 0;
  for (int i = bytes - 1; i >= 0; i--) x = x << 8 | at[i];
  return x;
}

#endif
