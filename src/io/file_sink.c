/* file_sink.c: writing a file so that it appears whole or not at all. */
#include "io/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static grad_status write_file(void *ud, grad_ctx *ctx, const void *data, size_t size) {
  const grad_file_sink *const file = ud;
  const char *at = data;
  while (size > 0) {
    const size_t piece = size < (1U << 30) ? size : 1U << 30;
    const ssize_t done = write(file->fd, at, piece);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) {
      return grad__fail(ctx, GRAD_EIO, "cannot write %s: %s", file->path, strerror(done ? errno : ENOSPC));
    }
    at += done;
    size -= (size_t)done;
  }
  return GRAD_OK;
}

enum { SUFFIX_ROOM = 64 };

/* Both names in one block. */
static size_t names_size(size_t path_size) { return 2 * (path_size + 1) + SUFFIX_ROOM; }

/* The temporary has the old file's permissions, or those that any new file gets. */
static int create_temporary(const grad_file_sink *file, size_t size) {
  struct stat old;
  const bool exists = stat(file->path, &old) == 0;
  for (int attempt = 0; attempt < 100; attempt++) {
    snprintf(file->temporary, size, "%s.%ld-%d.tmp", file->path, (long)getpid(), attempt);
    const int fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 && exists) (void)!fchmod(fd, old.st_mode & 07777);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

static void free_names(grad_file_sink *file) {
  grad__free(file->ctx, file->path, names_size(strlen(file->path)));
  file->path = file->temporary = NULL;
}

grad_status grad__file_sink_open(grad_ctx *ctx, const char *path, grad_file_sink *out) {
  char target[PATH_MAX]; /* a link stays a link: what it points at is replaced */
  struct stat info;
  if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
    return grad__fail(ctx, GRAD_EIO, "cannot write %s: it is not an ordinary file", path);
  }
  if (!realpath(path, target)) {
    if (strlen(path) >= sizeof target) return grad__fail(ctx, GRAD_EIO, "cannot write %s: the path is too long", path);
    memcpy(target, path, strlen(path) + 1);
  }
  const size_t size = strlen(target);
  *out = (grad_file_sink){.fd = -1, .ctx = ctx};
  out->path = grad__alloc(ctx, names_size(size));
  if (!out->path) return ctx->status;
  memcpy(out->path, target, size + 1);
  out->temporary = out->path + size + 1;
  out->fd = create_temporary(out, size + 1 + SUFFIX_ROOM);
  if (out->fd >= 0) {
    out->sink = (grad_sink){.write = write_file, .ud = out, .name = out->path};
    return GRAD_OK;
  }
  const int reason = errno;
  free_names(out);
  return grad__fail(ctx, GRAD_EIO, "cannot write %s: %s", path, strerror(reason));
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

grad_status grad__file_sink_commit(grad_file_sink *file) {
  int reason = fsync(file->fd) == 0 ? 0 : errno;
  if (close(file->fd) != 0 && !reason) reason = errno;
  file->fd = -1;
  if (!reason && rename(file->temporary, file->path) != 0) reason = errno;
  grad_status status = GRAD_OK;
  if (reason) {
    unlink(file->temporary);
    status = grad__fail(file->ctx, GRAD_EIO, "cannot write %s: %s", file->path, strerror(reason));
  } else {
    sync_folder(file->path);
  }
  free_names(file);
  return status;
}

void grad__file_sink_abort(grad_file_sink *file) {
  if (!file->path) return;
  if (file->fd >= 0) close(file->fd);
  file->fd = -1;
  unlink(file->temporary);
  free_names(file);
}
