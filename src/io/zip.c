/* zip.c: PKWARE's APPNOTE 6.3, as much of it as .npz files use. Nothing is believed before it is seen to lie inside the
 * archive. */
#include "io/zip.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

enum { LOCAL = 30, CENTRAL = 46, END = 22, END64 = 56, LOCATOR = 20, STORED = 0, DEFLATED = 8 };
static const uint32_t local_mark = 0x04034b50, central_mark = 0x02014b50, end_mark = 0x06054b50,
                      end64_mark = 0x06064b50, locator_mark = 0x07064b50;

/* `size` bytes at `at` with that mark in front; NULL when they are not all there. */
static const unsigned char *record(const grad_bytes *archive, uint64_t at, size_t size, uint32_t mark) {
  if (at > archive->size || archive->size - at < size) return NULL;
  return grad__little(archive->data + at, 4) == mark ? archive->data + at : NULL;
}

grad_status grad__zip_start(const char *name, const grad_bytes *archive, grad_zip_directory *out) {
  const size_t most = END + 0xffff; /* a comment may follow the end record */
  const size_t lowest = archive->size > most ? archive->size - most : 0;
  const unsigned char *end = NULL;
  uint64_t at = archive->size >= END ? archive->size - END + 1 : 0;
  while (!end && at > lowest) end = record(archive, --at, END, end_mark);
  if (!end) return grad__bad_data(archive->ctx, name, (int64_t)archive->size, "no zip archive ends here");
  uint64_t count = grad__little(end + 10, 2), size = grad__little(end + 12, 4), start = grad__little(end + 16, 4);
  const unsigned char *const locator = at >= LOCATOR ? record(archive, at - LOCATOR, LOCATOR, locator_mark) : NULL;
  const unsigned char *const end64 = locator ? record(archive, grad__little(locator + 8, 8), END64, end64_mark) : NULL;
  if (end64) {
    count = grad__little(end64 + 32, 8);
    size = grad__little(end64 + 40, 8);
    start = grad__little(end64 + 48, 8);
  }
  if (start > at || size > at - start || count > size / CENTRAL) {
    return grad__bad_data(archive->ctx, name, (int64_t)at, "the zip directory does not fit into the file");
  }
  *out = (grad_zip_directory){.at = start, .end = start + size, .left = count};
  return GRAD_OK;
}

/* Fields of 32 bits that are all ones have their value in the zip64 part of the extra field, in this order. */
static bool read_zip64(const unsigned char *extra, size_t size, grad_zip_entry *entry) {
  uint64_t *const fields[] = {&entry->size, &entry->packed, &entry->header};
  while (size >= 4) {
    const size_t id = (size_t)grad__little(extra, 2), length = (size_t)grad__little(extra + 2, 2);
    if (length > size - 4) return false;
    for (size_t i = 0, at = 4; id == 1 && i < 3; i++) {
      if (*fields[i] != UINT32_MAX) continue;
      if (at + 8 > 4 + length) return false;
      *fields[i] = grad__little(extra + at, 8);
      at += 8;
    }
    extra += 4 + length;
    size -= 4 + length;
  }
  return true;
}

grad_status grad__zip_next(const char *name, const grad_bytes *archive, grad_zip_directory *directory,
                           grad_zip_entry *out) {
  const unsigned char *const at = record(archive, directory->at, CENTRAL, central_mark);
  const uint64_t left = directory->end - directory->at;
  if (!at || left < CENTRAL) {
    return grad__bad_data(archive->ctx, name, (int64_t)directory->at, "a zip directory entry expected");
  }
  const size_t name_size = (size_t)grad__little(at + 28, 2), extra = (size_t)grad__little(at + 30, 2);
  const uint64_t whole = CENTRAL + name_size + extra + grad__little(at + 32, 2);
  *out = (grad_zip_entry){.name = (const char *)at + CENTRAL,
                          .name_size = name_size,
                          .method = (int)grad__little(at + 10, 2),
                          .crc = (uint32_t)grad__little(at + 16, 4),
                          .packed = grad__little(at + 20, 4),
                          .size = grad__little(at + 24, 4),
                          .header = grad__little(at + 42, 4)};
  if (whole > left || !read_zip64(at + CENTRAL + name_size, extra, out)) {
    return grad__bad_data(archive->ctx, name, (int64_t)directory->at, "the zip directory entry is cut off");
  }
  if (grad__little(at + 8, 2) & 1) {
    return grad__bad_data(archive->ctx, name, (int64_t)directory->at, "the zip member is encrypted");
  }
  directory->at += whole;
  directory->left--;
  return GRAD_OK;
}

grad_status grad__zip_open(const char *name, const grad_bytes *archive, grad_zip_entry *entry, grad_bytes *unpacked,
                           const unsigned char **data) {
  const unsigned char *const local = record(archive, entry->header, LOCAL, local_mark);
  if (!local) return grad__bad_data(archive->ctx, name, (int64_t)entry->header, "a zip member's header expected");
  const uint64_t start = entry->header + LOCAL + grad__little(local + 26, 2) + grad__little(local + 28, 2);
  if (start > archive->size || entry->packed > archive->size - start) {
    return grad__bad_data(archive->ctx, name, (int64_t)start, "the zip member's %" PRIu64 " bytes are not all there",
                          entry->packed);
  }
  entry->data = (int64_t)start;
  const unsigned char *bytes = archive->data + start;
  if (entry->method == DEFLATED) {
    const grad_status status =
        grad__bytes_inflate(unpacked, name, (int64_t)start, bytes, (size_t)entry->packed, (size_t)entry->size);
    if (status) return status;
    bytes = unpacked->data;
  } else if (entry->method != STORED) {
    return grad__fail(archive->ctx, GRAD_EUNSUPPORTED, "%s: zip compression method %d is not supported", name,
                      entry->method);
  }
  if ((entry->method == STORED ? entry->packed : unpacked->size) != entry->size) {
    return grad__bad_data(archive->ctx, name, (int64_t)start, "the zip member should have %" PRIu64 " bytes",
                          entry->size);
  }
  if (crc32_z(0, bytes, (size_t)entry->size) != entry->crc) {
    return grad__bad_data(archive->ctx, name, (int64_t)start, "the zip member is damaged: its checksum is wrong");
  }
  *data = bytes;
  return GRAD_OK;
}

static unsigned char *put(unsigned char *at, uint64_t x, int bytes) {
  for (int i = 0; i < bytes; i++) *at++ = (unsigned char)(x >> (8 * i));
  return at;
}

/* The fields that local and central headers share, from "version needed" on; names get the UTF-8 flag. */
static unsigned char *put_common(unsigned char *at, uint32_t crc, uint64_t size, size_t name_size) {
  const uint32_t version = 20, flags = 1 << 11, first_of_1980 = 1 << 21 | 1 << 16;
  at = put(at, version, 2);
  at = put(at, flags, 2);
  at = put(at, STORED, 2);
  at = put(at, first_of_1980, 4);
  at = put(at, crc, 4);
  at = put(at, size, 4);
  at = put(at, size, 4);
  at = put(at, name_size, 2);
  return put(at, 0, 2);
}

static grad_status emit(grad_zip_writer *writer, const void *data, size_t size) {
  writer->at += size;
  return size ? writer->sink->write(writer->sink->ud, writer->ctx, data, size) : GRAD_OK;
}

grad_status grad__zip_add(grad_zip_writer *writer, const char *name, const char *suffix, const grad_zip_part parts[2]) {
  const size_t name_size = strlen(name), suffix_size = strlen(suffix);
  const uint64_t size = (uint64_t)parts[0].size + parts[1].size, start = writer->at;
  if (name_size + suffix_size > 0xffff || writer->count >= 0xfffe || size > UINT32_MAX / 2 || start > UINT32_MAX / 2) {
    return grad__fail(writer->ctx, GRAD_EUNSUPPORTED, "%s: too large for a plain zip archive: save as safetensors",
                      writer->sink->name);
  }
  unsigned char local[LOCAL];
  uLong crc = 0;
  for (int i = 0; i < 2; i++) crc = parts[i].size ? crc32_z(crc, parts[i].data, parts[i].size) : crc;
  put_common(put(local, local_mark, 4), (uint32_t)crc, size, name_size + suffix_size);
  grad_status status = grad__bytes_reserve(&writer->directory, CENTRAL + name_size + suffix_size);
  if (!status) status = emit(writer, local, LOCAL);
  if (!status) status = emit(writer, name, name_size);
  if (!status) status = emit(writer, suffix, suffix_size);
  for (int i = 0; i < 2 && !status; i++) status = emit(writer, parts[i].data, parts[i].size);
  if (status) return status;
  unsigned char *at = writer->directory.data + writer->directory.size;
  at = put_common(put(put(at, central_mark, 4), 20, 2), (uint32_t)crc, size, name_size + suffix_size);
  at = put(put(put(at, 0, 6), 0, 4), start, 4); /* comment, disk, attributes; place of the local header */
  memcpy(at, name, name_size);
  memcpy(at + name_size, suffix, suffix_size);
  writer->directory.size += CENTRAL + name_size + suffix_size;
  writer->count++;
  return GRAD_OK;
}

grad_status grad__zip_finish(grad_zip_writer *writer) {
  unsigned char end[END];
  const uint64_t start = writer->at, size = writer->directory.size;
  grad_status status = emit(writer, writer->directory.data, writer->directory.size);
  unsigned char *at = put(put(end, end_mark, 4), 0, 4);
  at = put(put(at, writer->count, 2), writer->count, 2);
  put(put(put(at, size, 4), start, 4), 0, 2);
  return status ? status : emit(writer, end, END);
}
