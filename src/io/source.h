/* source.h: where readers get bytes from, and where writers put them. A host may give its own (files in an archive, a
 * network, a sandbox), a fuzzer gives memory.
 *
 * Readers never allocate what a header merely claims: they compare it with what the source holds, or grow as bytes
 * arrive. Malformed data is EFORMAT with the name of the source, the byte, and what was expected there.
 */
#ifndef GRAD_IO_SOURCE_H
#define GRAD_IO_SOURCE_H

#include "array/array.h"

typedef struct grad_source {
  /* Puts up to size bytes into buffer and their number into *got; 0 at the end. Fails by grad__fail. */
  grad_status (*read)(void *ud, grad_ctx *ctx, void *buffer, size_t size, size_t *got);
  void (*close)(void *ud); /* NULL: nothing to close */
  void *ud;
  const char *name; /* for messages: the path as a rule; outlives the source */
  int64_t size;     /* bytes in all; -1: not known */
} grad_source;

/* path must outlive the source. EIO with the system's reason, or what the context's own files say. */
grad_status grad__source_open(grad_ctx *ctx, const char *path, grad_source *out);
void grad__source_close(grad_source *source); /* a zeroed or closed source is fine */

typedef struct grad_memory {
  const unsigned char *data;
  size_t size, at;
} grad_memory;
/* A source that reads `memory`, which outlives it. */
void grad__source_memory(grad_memory *memory, const char *name, grad_source *out);

typedef struct grad_sink {
  grad_status (*write)(void *ud, grad_ctx *ctx, const void *data, size_t size); /* all of it, or a failure */
  void *ud;
  const char *name;
} grad_sink;

/* A file that appears whole or not at all: bytes go to a temporary file in the same folder, which takes the file's
 * place on commit (after fsync). Until then, and after any failure, an old file of that name stays as it is. path must
 * outlive the sink. */
typedef struct grad_file_sink {
  grad_sink sink;
  grad_status (*close)(void *ud, grad_ctx *ctx, bool keep); /* of sink.ud, which it frees; NULL: closed */
  grad_ctx *ctx;
} grad_file_sink;
grad_status grad__file_sink_open(grad_ctx *ctx, const char *path, grad_file_sink *out);
grad_status grad__file_sink_commit(grad_file_sink *file); /* closes it, whether it succeeds or not */
void grad__file_sink_abort(grad_file_sink *file);         /* removes the temporary; fine when closed */

/* Files that are not the system's: a host may lend its own, or refuse all (grad_ctx.files). */
typedef struct grad_file_system {
  void *ud;
  grad_status (*open_source)(void *ud, grad_ctx *ctx, const char *path, grad_source *out);
  grad_status (*open_sink)(void *ud, grad_ctx *ctx, const char *path, grad_file_sink *out);
} grad_file_system;

/* Arrays with names, in order: what npz and safetensors files hold. */
typedef struct grad_named_array {
  char *name; /* NUL-terminated */
  size_t name_size;
  grad_array array;
} grad_named_array;
typedef struct grad_named_list {
  grad_ctx *ctx;
  grad_named_array *items;
  int64_t count, cap;
} grad_named_list;
/* Takes over the array's reference when it succeeds. The list starts as {.ctx = ctx}. */
grad_status grad__named_add(grad_named_list *list, const char *name, size_t name_size, const grad_array *array);
void grad__named_clear(grad_named_list *list);

#endif
