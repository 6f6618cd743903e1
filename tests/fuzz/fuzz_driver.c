/* fuzz_driver.c: runs a fuzz target where there is no libFuzzer, as a test of bounded time: every file of the corpus
 * first, then random changes of them and random bytes.
 *   TARGET seconds corpus [seed] */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_FILES = 1024, MOST_BYTES = 4096 };

typedef struct input {
  uint8_t *data;
  size_t size;
} input;

static input inputs[MOST_FILES];
static int ninputs;
static uint64_t state = 1;

/* splitmix64 */
static uint64_t draw(void) {
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void add_file(const char *folder, const char *name) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  if (!file) return;
  input *in = &inputs[ninputs++];
  in->data = malloc(MOST_BYTES);
  in->size = in->data ? fread(in->data, 1, MOST_BYTES, file) : 0;
  fclose(file);
}

static void read_corpus(const char *folder) {
  DIR *listing = opendir(folder);
  if (!listing) return;
  for (const struct dirent *entry; ninputs < MOST_FILES && (entry = readdir(listing));) {
    if (entry->d_name[0] != '.') add_file(folder, entry->d_name);
  }
  closedir(listing);
}

/* An input of the corpus with a few bytes changed, or cut; or nothing but random bytes. */
static size_t mutate(uint8_t *out) {
  size_t size = draw() % 256;
  if (ninputs > 0 && draw() % 4 > 0) {
    const input *in = &inputs[draw() % (uint64_t)ninputs];
    size = in->size;
    if (size > 0) memcpy(out, in->data, size);
    if (size > 0 && draw() % 4 == 0) size = draw() % size;
    for (uint64_t n = draw() % 8; size > 0 && n > 0; n--) out[draw() % size] = (uint8_t)draw();
    return size;
  }
  for (size_t i = 0; i < size; i++) out[i] = (uint8_t)draw();
  return size;
}

/* Runs a copy of just these bytes, so that reading past them is seen. */
static void run(const uint8_t *data, size_t size) {
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy) return;
  if (size > 0) memcpy(copy, data, size);
  LLVMFuzzerTestOneInput(copy, size);
  free(copy);
}

int main(int argc, char **argv) {
  const double end = now() + (argc > 1 ? atof(argv[1]) : 1);
  if (argc > 2) read_corpus(argv[2]);
  if (argc > 3) state = strtoull(argv[3], NULL, 10);
  int count = 0;
  static uint8_t bytes[MOST_BYTES];
  for (; count < ninputs; count++) run(inputs[count].data, inputs[count].size);
  for (; now() < end; count++) run(bytes, mutate(bytes));
  for (int i = 0; i < ninputs; i++) free(inputs[i].data);
  printf("%d passed, 0 failed\n", count);
  return count == 0;
}
