/* source.c: files and memory as sources; lists of named arrays. */
#include "io/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the formats are little-endian; so must the machine be");

typedef struct open_file {
  grad_ctx *ctx;
  FILE *file;
  const char *path;
} open_file;

static grad_status read_file(void *ud, grad_ctx *ctx, void *buffer, size_t size, size_t *got) {
  const open_file *const f = ud;
  *got = fread(buffer, 1, size, f->file);
  if (*got > 0 || !ferror(f->file)) return GRAD_OK;
  return grad__fail(ctx, GRAD_EIO, "cannot read %s: %s", f->path, strerror(errno));
}

static void close_file(void *ud) {
  open_file *const f = ud;
  fclose(f->file);
  grad__free(f->ctx, f, sizeof *f);
}

grad_status grad__source_open(grad_ctx *ctx, const char *path, grad_source *out) {
  if (ctx->files) return ctx->files->open_source(ctx->files->ud, ctx, path, out);
  open_file *const f = grad__alloc(ctx, sizeof *f);
  if (!f) return ctx->status;
  *f = (open_file){.ctx = ctx, .file = fopen(path, "rb"), .path = path};
  struct stat info;
  const bool found = f->file && fstat(fileno(f->file), &info) == 0;
  const int reason = found && S_ISDIR(info.st_mode) ? EISDIR : errno;
  if (!found || S_ISDIR(info.st_mode)) {
    if (f->file) fclose(f->file);
    grad__free(ctx, f, sizeof *f);
    return grad__fail(ctx, GRAD_EIO, "cannot open %s: %s", path, strerror(reason));
  }
  setvbuf(f->file, NULL, _IONBF, 0); /* readers ask for large pieces */
  *out = (grad_source){.read = read_file,
                       .close = close_file,
                       .ud = f,
                       .name = path,
                       .size = S_ISREG(info.st_mode) ? (int64_t)info.st_size : -1};
  return GRAD_OK;
}

void grad__source_close(grad_source *source) {
  if (source->close) source->close(source->ud);
  *source = (grad_source){0};
}

static grad_status read_memory(void *ud, grad_ctx *ctx, void *buffer, size_t size, size_t *got) {
  (void)ctx;
  grad_memory *const m = ud;
  *got = m->size - m->at < size ? m->size - m->at : size;
  if (*got > 0) memcpy(buffer, m->data + m->at, *got);
  m->at += *got;
  return GRAD_OK;
}

void grad__source_memory(grad_memory *memory, const char *name, grad_source *out) {
  *out = (grad_source){.read = read_memory, .ud = memory, .name = name, .size = (int64_t)(memory->size - memory->at)};
}

static grad_status grow_list(grad_named_list *list) {
  if (list->count < list->cap) return GRAD_OK;
  const int64_t cap = list->cap ? list->cap * 2 : 8;
  grad_named_array *const items =
      grad__realloc(list->ctx, list->items, (size_t)list->cap * sizeof *items, (size_t)cap * sizeof *items);
  if (!items) return list->ctx->status;
  list->items = items;
  list->cap = cap;
  return GRAD_OK;
}

grad_status grad__named_add(grad_named_list *list, const char *name, size_t name_size, const grad_array *array) {
  const grad_status status = grow_list(list);
  if (status) return status;
  char *const copy = grad__alloc(list->ctx, name_size + 1);
  if (!copy) return list->ctx->status;
  memcpy(copy, name, name_size);
  copy[name_size] = '\0';
  list->items[list->count++] = (grad_named_array){.name = copy, .name_size = name_size, .array = *array};
  return GRAD_OK;
}

void grad__named_clear(grad_named_list *list) {
  if (!list->ctx) return;
  for (int64_t i = 0; i < list->count; i++) {
    grad__free(list->ctx, list->items[i].name, list->items[i].name_size + 1);
    grad__array_release(&list->items[i].array);
  }
  grad__free(list->ctx, list->items, (size_t)list->cap * sizeof *list->items);
  *list = (grad_named_list){.ctx = list->ctx};
}
