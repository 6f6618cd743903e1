/* save_killed_test.c: a process that is killed with SIGKILL at a random moment while it saves, a hundred times for
 * every format: the file that is found is the old or the new one, always whole.
 */
#include "check_ctx.h"
#include "core/ctx.h"
#include "io/npy.h"
#include "io/safetensors.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES = 100, ENTRIES = 20000, LONGEST = 4000 };

typedef struct format {
  const char *name;
  grad_status (*write)(grad_ctx *ctx, const grad_sink *sink, const grad_named_list *list);
  grad_status (*read)(grad_ctx *ctx, const grad_source *source, grad_named_list *list);
} format;

static grad_status write_safetensors(grad_ctx *ctx, const grad_sink *sink, const grad_named_list *list) {
  return grad__safetensors_write(ctx, sink, list, NULL, 0);
}

static grad_status read_safetensors(grad_ctx *ctx, const grad_source *source, grad_named_list *list) {
  grad_safetensors file = {0};
  const grad_status status = grad__safetensors_read(ctx, source, &file);
  if (status) return status;
  *list = file.tensors;
  file.tensors = (grad_named_list){.ctx = ctx};
  grad__safetensors_clear(&file);
  return GRAD_OK;
}

static grad_status write_npy(grad_ctx *ctx, const grad_sink *sink, const grad_named_list *list) {
  return grad__npy_write(ctx, sink, &list->items[0].array);
}

static grad_status read_npy(grad_ctx *ctx, const grad_source *source, grad_named_list *list) {
  grad_array array;
  grad_status status = grad__npy_read(ctx, source, &array);
  if (!status) status = grad__named_add(list, "x", 1, &array);
  return status;
}

static const format formats[] = {{"safetensors", write_safetensors, read_safetensors},
                                 {"npy", write_npy, read_npy},
                                 {"npz", grad__npz_write, grad__npz_read}};

static grad_status save(grad_ctx *ctx, const format *f, const char *path, const grad_named_list *list) {
  grad_file_sink file;
  grad_status status = grad__file_sink_open(ctx, path, &file);
  if (status) return status;
  status = f->write(ctx, &file.sink, list);
  if (!status) return grad__file_sink_commit(&file);
  grad__file_sink_abort(&file);
  return status;
}

/* Two arrays of one value each: a mixture of two savings would show. */
static void make_list(grad_ctx *ctx, double value, grad_named_list *list) {
  const int64_t shape[] = {ENTRIES};
  *list = (grad_named_list){.ctx = ctx};
  for (int i = 0; i < 2; i++) {
    grad_array array;
    if (!check(grad__array_new(ctx, GRAD_F64, 1, shape, &array) == GRAD_OK)) return;
    grad__array_fill(&array, value);
    check(grad__named_add(list, i ? "y" : "x", 1, &array) == GRAD_OK);
  }
}

/* The value that the file holds everywhere; 0 when it is not whole. */
static double value_of(grad_ctx *ctx, const format *f, const char *path) {
  grad_named_list list = {.ctx = ctx};
  grad_source source;
  double value = 0;
  if (grad__source_open(ctx, path, &source) != GRAD_OK) return 0;
  if (f->read(ctx, &source, &list) == GRAD_OK && list.count > 0) {
    value = *(const double *)list.items[0].array.data;
    for (int64_t i = 0; i < list.count; i++) {
      const double *at = list.items[i].array.data;
      bool same = grad__array_numel(&list.items[i].array) == ENTRIES;
      for (int64_t k = 0; same && k < ENTRIES; k++) same = at[k] == value;
      if (!same) value = 0;
    }
  } else {
    fprintf(stderr, "%s: %s\n", path, grad_message(ctx));
  }
  grad__named_clear(&list);
  grad__source_close(&source);
  return value;
}

static void save_for_ever(grad_ctx *ctx, const format *f, const char *path, const grad_named_list *lists) {
  for (int i = 0;; i++) save(ctx, f, path, &lists[i % 2]);
}

/* Removes what a killed process left behind; true when there was something. */
static bool sweep(const char *folder, const char *keep) {
  DIR *listing = opendir(folder);
  bool found = false;
  if (!listing) return false;
  for (const struct dirent *entry; (entry = readdir(listing));) {
    char path[512];
    if (entry->d_name[0] == '.' || (keep && strcmp(entry->d_name, keep) == 0)) continue;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    unlink(path);
    found = true;
  }
  closedir(listing);
  return found;
}

static void test_format(grad_ctx *ctx, const format *f) {
  char folder[] = "/tmp/gradlua_killed_XXXXXX", path[64];
  grad_named_list lists[2];
  int amid = 0;
  make_list(ctx, 1, &lists[0]);
  make_list(ctx, 2, &lists[1]);
  if (!check(mkdtemp(folder) != NULL)) return;
  snprintf(path, sizeof path, "%s/file", folder);
  check(save(ctx, f, path, &lists[0]) == GRAD_OK);
  for (int i = 0; i < TRIES; i++) {
    const pid_t child = fork();
    if (child == 0) save_for_ever(ctx, f, path, lists);
    usleep((useconds_t)(rand() % LONGEST));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    const double value = value_of(ctx, f, path);
    if (!check(value == 1 || value == 2)) fprintf(stderr, "  %s, try %d\n", f->name, i);
    if (sweep(folder, "file")) amid++;
  }
  check(amid > TRIES / 10); /* else nobody was killed in the middle */
  sweep(folder, NULL);
  check(rmdir(folder) == 0);
  grad__named_clear(&lists[0]);
  grad__named_clear(&lists[1]);
}

int main(void) {
  grad_ctx *ctx = check_open();
  srand((unsigned)getpid());
  for (int i = 0; i < (int)(sizeof formats / sizeof *formats); i++) test_format(ctx, &formats[i]);
  check_close(ctx);
  return check_done();
}
