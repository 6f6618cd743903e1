/* file_sink.c: writing a file so that it appears whole or not at all. */
#include "io/source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUFFIX_ROOM = 64 };

typedef struct open_file {
  int fd;
  size_t size; /* of this block */
  char *temporary;
  char path[]; /* then the temporary's name */
} open_file;

static grad_status failed(grad_ctx *ctx, const char *path, int reason) {
  return grad__fail(ctx, GRAD_EIO, "cannot write %s: %s", path, strerror(reason));
}

static grad_status write_file(void *ud, grad_ctx *ctx, const void *data, size_t size) {
  const open_file *const file = ud;
  const char *at = data;
  while (size > 0) {
    const size_t piece = size < (1U << 30) ? size : 1U << 30;
    const ssize_t done = write(file->fd, at, piece);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return failed(ctx, file->path, done ? errno : ENOSPC);
    at += done;
    size -= (size_t)done;
  }
  return GRAD_OK;
}

/* The temporary has the old file's permissions, or those that any new file gets. */
static int create_temporary(const open_file *file) {
  struct stat old;
  const bool exists = stat(file->path, &old) == 0;
  for (int attempt = 0; attempt < 100; attempt++) {
    snprintf(file->temporary, strlen(file->path) + SUFFIX_ROOM, "%s.%ld-%d.tmp", file->path, (long)getpid(), attempt);
    const int fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 && exists) (void)!fchmod(fd, old.st_mode & 07777);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

/* The rename lasts through a crash once the folder is on disk; failing at that is no reason to report a failure. */
static void sync_folder(const char *path) {
  char folder[PATH_MAX];
  const char *const slash = strrchr(path, '/');
  const size_t size = slash ? (size_t)(slash - path) + (slash == path) : 1;
  memcpy(folder, slash ? path : ".", size);
  folder[size] = '\0';
  const int fd = open(folder, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!fsync(fd);
  close(fd);
}

/* 0, or the reason why the file did not take its place. */
static int put_in_place(const open_file *file) {
  int reason = fsync(file->fd) == 0 ? 0 : errno;
  if (close(file->fd) != 0 && !reason) reason = errno;
  if (!reason && rename(file->temporary, file->path) != 0) reason = errno;
  if (reason)
    unlink(file->temporary);
  else
    sync_folder(file->path);
  return reason;
}

static grad_status close_file(void *ud, grad_ctx *ctx, bool keep) {
  open_file *const file = ud;
  int reason = 0;
  if (keep) {
    reason = put_in_place(file);
  } else {
    close(file->fd);
    unlink(file->temporary);
  }
  const grad_status status = reason ? failed(ctx, file->path, reason) : GRAD_OK;
  grad__free(ctx, file, file->size);
  return status;
}

grad_status grad__file_sink_open(grad_ctx *ctx, const char *path, grad_file_sink *out) {
  if (ctx->files) return ctx->files->open_sink(ctx->files->ud, ctx, path, out);
  char target[PATH_MAX]; /* a link stays a link: what it points at is replaced */
  struct stat info;
  if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
    return grad__fail(ctx, GRAD_EIO, "cannot write %s: it is not an ordinary file", path);
  }
  if (!realpath(path, target)) {
    if (strlen(path) >= sizeof target) return grad__fail(ctx, GRAD_EIO, "cannot write %s: the path is too long", path);
    memcpy(target, path, strlen(path) + 1);
  }
  const size_t length = strlen(target), size = sizeof(open_file) + 2 * (length + 1) + SUFFIX_ROOM;
  open_file *const file = grad__alloc(ctx, size);
  if (!file) return ctx->status;
  *file = (open_file){.size = size, .temporary = file->path + length + 1};
  memcpy(file->path, target, length + 1);
  file->fd = create_temporary(file);
  if (file->fd < 0) {
    const int reason = errno;
    grad__free(ctx, file, size);
    return failed(ctx, path, reason);
  }
  *out =
      (grad_file_sink){.sink = {.write = write_file, .ud = file, .name = file->path}, .close = close_file, .ctx = ctx};
  return GRAD_OK;
}

static grad_status end(grad_file_sink *file, bool keep) {
  const grad_file_sink ended = *file;
  *file = (grad_file_sink){0};
  return ended.close ? ended.close(ended.sink.ud, ended.ctx, keep) : GRAD_OK;
}

grad_status grad__file_sink_commit(grad_file_sink *file) { return end(file, true); }
void grad__file_sink_abort(grad_file_sink *file) { end(file, false); }
