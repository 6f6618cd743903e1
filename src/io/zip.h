/* zip.h: zip archives in memory (stored and deflated members, zip64), and writing stored ones. */
#ifndef GRAD_IO_ZIP_H
#define GRAD_IO_ZIP_H

#include "io/bytes.h"

typedef struct grad_zip_directory {
  uint64_t at, end, left; /* in the archive; members still to come */
} grad_zip_directory;

typedef struct grad_zip_entry {
  const char *name; /* in the archive; not NUL-terminated */
  size_t name_size;
  int method;
  uint32_t crc;
  uint64_t header, packed, size; /* local header's place, packed and unpacked bytes */
  int64_t data;                  /* place of the packed bytes, for messages; set by open */
} grad_zip_entry;

grad_status grad__zip_start(const char *name, const grad_bytes *archive, grad_zip_directory *out);
grad_status grad__zip_next(const char *name, const grad_bytes *archive, grad_zip_directory *directory,
                           grad_zip_entry *out);
/* The member's bytes, entry->size of them, checksum verified: in the archive when stored, else in `unpacked`. */
grad_status grad__zip_open(const char *name, const grad_bytes *archive, grad_zip_entry *entry, grad_bytes *unpacked,
                           const unsigned char **data);

typedef struct grad_zip_writer {
  grad_ctx *ctx;
  const grad_sink *sink;
  grad_bytes directory; /* grows with each member; the caller clears it */
  uint64_t at;
  unsigned count;
} grad_zip_writer;

typedef struct grad_zip_part {
  const void *data;
  size_t size;
} grad_zip_part;

/* Adds a member of two parts, its name given in two as well. */
grad_status grad__zip_add(grad_zip_writer *writer, const char *name, const char *suffix, const grad_zip_part parts[2]);
grad_status grad__zip_finish(grad_zip_writer *writer);

#endif
