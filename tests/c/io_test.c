/* io_test.c: readers and writers: values, round trips, truncation at every byte, hostile headers, failing memory. */
#include "check_alloc.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "io/bytes.h"
#include "io/csv.h"
#include "io/idx.h"
#include "io/npy.h"
#include "io/number_text.h"
#include "io/safetensors.h"

static grad_ctx *ctx;

typedef struct text {
  const void *data;
  size_t size;
} text;
#define TEXT(literal) ((text){literal, sizeof(literal) - 1})

static double at(const grad_array *a, int64_t i, int64_t j) { return grad__array_get(a, (int64_t[]){i, j}); }

/* A sink that keeps what is written; fails once it holds `most` bytes. */
typedef struct kept {
  unsigned char data[1 << 16];
  size_t size, most;
} kept;

static grad_status keep(void *ud, grad_ctx *c, const void *data, size_t size) {
  kept *const k = ud;
  if (size > k->most - k->size) return grad__fail(c, GRAD_EIO, "the disk is full");
  memcpy(k->data + k->size, data, size);
  k->size += size;
  return GRAD_OK;
}

static grad_sink sink_to(kept *k) {
  *k = (kept){.most = sizeof k->data};
  return (grad_sink){.write = keep, .ud = k, .name = "memory"};
}

/* --- csv */

static grad_status read_csv(grad_ctx *c, text t, const grad_csv_options *options, grad_csv *out) {
  grad_memory memory = {.data = t.data, .size = t.size};
  grad_source source;
  grad__source_memory(&memory, "test.csv", &source);
  return grad__csv_read(c, &source, options, out);
}

static const grad_csv_options automatic = {.header = -1, .dtype = GRAD_F64};

static void test_csv_values(void) {
  grad_csv csv;
  const text t = TEXT("\xef\xbb\xbfx, y ,\"the, \"\"class\"\"\"\r\n1,2.5,red\r\n\r\n-3e2,,\"blue\"\r\nnan,+.5,red\n");
  check(read_csv(ctx, t, &automatic, &csv) == GRAD_OK);
  check(csv.values.shape[0] == 3 && csv.values.shape[1] == 3 && csv.ncolumns == 3);
  check_text(csv.columns[1].name, "y");
  check_text(csv.columns[2].name, "the, \"class\"");
  check(csv.columns[0].nlabels == 0 && csv.columns[2].nlabels == 2);
  check_text(csv.columns[2].labels[0], "blue");
  check_near(at(&csv.values, 0, 1), 2.5, 0);
  check_near(at(&csv.values, 1, 0), -300, 0);
  check(isnan(at(&csv.values, 1, 1)) && isnan(at(&csv.values, 2, 0)));
  check(at(&csv.values, 0, 2) == 2 && at(&csv.values, 1, 2) == 1 && at(&csv.values, 2, 2) == 2);
  grad__csv_clear(&csv);
  check(read_csv(ctx, TEXT("1 2  3\n 4\t5 6 \n"), &(grad_csv_options){.header = -1, .dtype = GRAD_F32}, &csv) ==
        GRAD_OK);
  check(csv.values.dtype == GRAD_F32 && csv.values.shape[0] == 2 && at(&csv.values, 1, 2) == 6);
  check(csv.columns[0].name == NULL);
  grad__csv_clear(&csv);
  check(read_csv(ctx, TEXT("3,2\n1;2\n3;4"), &(grad_csv_options){.skip = 1, .dtype = GRAD_F64}, &csv) == GRAD_OK);
  check(csv.values.shape[0] == 2 && csv.values.shape[1] == 2 && at(&csv.values, 1, 1) == 4);
  grad__csv_clear(&csv);
  check(read_csv(ctx, TEXT("a\nb\na\n"), &automatic, &csv) == GRAD_OK && csv.values.shape[0] == 3);
  grad__csv_clear(&csv);
  check(read_csv(ctx, TEXT("a,b\n"), &(grad_csv_options){.header = 1, .dtype = GRAD_F64}, &csv) == GRAD_OK);
  check(csv.values.shape[0] == 0 && csv.values.shape[1] == 2);
  grad__csv_clear(&csv);
}

static void test_csv_errors(void) {
  grad_csv csv;
  check(read_csv(ctx, TEXT("1,2\n3\n"), &automatic, &csv) == GRAD_EFORMAT);
  check(strstr(grad_message(ctx), "line 2") && strstr(grad_message(ctx), "test.csv"));
  check(read_csv(ctx, TEXT("1,\"2\n3,4\n"), &automatic, &csv) == GRAD_EFORMAT && strstr(grad_message(ctx), "quote"));
  check(read_csv(ctx, TEXT("\"1\"x,2\n"), &automatic, &csv) == GRAD_EFORMAT);
  check(read_csv(ctx, TEXT(""), &automatic, &csv) == GRAD_EFORMAT);
  check(read_csv(ctx, TEXT("\n\n  \n"), &automatic, &csv) == GRAD_EFORMAT);
  check(read_csv(ctx, TEXT("1"), &(grad_csv_options){.dtype = GRAD_I64}, &csv) == GRAD_EDTYPE);
  check(ctx->used == 0);
}

static void test_numbers(void) {
  static const char *const good[] = {"0",
                                     "-0.0",
                                     "1e22",
                                     "123456789012345678",
                                     "0.1",
                                     "1e-30",
                                     "4.9e-324",
                                     "1e400",
                                     "-.5e1",
                                     "5.",
                                     "9007199254740993",
                                     "nan",
                                     "-inf",
                                     "Infinity",
                                     "1E+2",
                                     "0.30000000000000004",
                                     "1.7976931348623157e308",
                                     "2.2250738585072011e-308"};
  static const char *const bad[] = {"", "-", ".", "e5", "1e", "1e+", "1x", "0x10", "1.2.3", "--1", "in", "nanx", " 1"};
  double x;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    const double want = strtod(good[i], NULL);
    if (check(grad__number_parse(good[i], strlen(good[i]), &x))) check(x == want || (isnan(x) && isnan(want)));
    check(signbit(x) == signbit(want) || isnan(x));
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check(!grad__number_parse(bad[i], strlen(bad[i]), &x));
  for (int i = 0; i < 2000; i++) {
    char digits[64];
    snprintf(digits, sizeof digits, "%d.%05de%d", rand() % 100000, rand() % 100000, rand() % 60 - 30);
    check(grad__number_parse(digits, strlen(digits), &x) && x == strtod(digits, NULL));
  }
}

/* --- gz */

static text pack(text t, unsigned char *out, size_t room) {
  z_stream z = {0};
  deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  z.next_in = (Bytef *)(uintptr_t)t.data;
  z.avail_in = (uInt)t.size;
  z.next_out = out;
  z.avail_out = (uInt)room;
  check(deflate(&z, Z_FINISH) == Z_STREAM_END);
  deflateEnd(&z);
  return (text){out, room - z.avail_out};
}

static void test_gz(void) {
  static unsigned char packed[1000];
  grad_csv csv;
  text t = pack(TEXT("1,2\n3,4\n"), packed, 500);
  const text more = pack(TEXT("5,6\n"), packed + t.size, 500);
  check(read_csv(ctx, (text){packed, t.size + more.size}, &automatic, &csv) == GRAD_OK);
  check(csv.values.shape[0] == 3 && at(&csv.values, 2, 1) == 6);
  grad__csv_clear(&csv);
  for (size_t size = 2; size < t.size; size++) {
    check(read_csv(ctx, (text){packed, size}, &automatic, &csv) == GRAD_EFORMAT);
  }
  packed[12] ^= 0x55;
  check(read_csv(ctx, t, &automatic, &csv) == GRAD_EFORMAT && ctx->used == 0);
}

/* --- idx */

static grad_status read_idx(grad_ctx *c, text t, int dtype, grad_array *out) {
  grad_memory memory = {.data = t.data, .size = t.size};
  grad_source source;
  grad__source_memory(&memory, "test.idx", &source);
  return grad__idx_read(c, &source, dtype, out);
}

static void test_idx(void) {
  const text bytes = TEXT("\0\0\x08\x02\0\0\0\x02\0\0\0\x03\x01\x02\x03\xff\x05\x06");
  const text shorts = TEXT("\0\0\x0b\x01\0\0\0\x02\xff\xfe\x01\x00");
  const text doubles = TEXT("\0\0\x0e\x01\0\0\0\x01\x3f\xf8\0\0\0\0\0\0");
  grad_array a;
  check(read_idx(ctx, bytes, -1, &a) == GRAD_OK && a.dtype == GRAD_I64 && a.ndim == 2 && at(&a, 1, 0) == 255);
  grad__array_release(&a);
  check(read_idx(ctx, bytes, GRAD_F32, &a) == GRAD_OK && a.dtype == GRAD_F32 && at(&a, 1, 2) == 6);
  grad__array_release(&a);
  check(read_idx(ctx, shorts, -1, &a) == GRAD_OK && grad__array_get(&a, (int64_t[]){0}) == -2);
  check(grad__array_get(&a, (int64_t[]){1}) == 256);
  grad__array_release(&a);
  check(read_idx(ctx, doubles, -1, &a) == GRAD_OK && grad__array_get(&a, (int64_t[]){0}) == 1.5);
  grad__array_release(&a);
  for (size_t size = 0; size < bytes.size; size++)
    check(read_idx(ctx, (text){bytes.data, size}, -1, &a) == GRAD_EFORMAT);
  check(read_idx(ctx, TEXT("\0\0\x08\x02\x7f\xff\xff\xff\x7f\xff\xff\xff!"), -1, &a) == GRAD_EFORMAT);
  check(ctx->peak < 1 << 22 && strstr(grad_message(ctx), "2147483647 x 2147483647") != NULL);
  check(read_idx(ctx, TEXT("\0\0\x08\x09"), -1, &a) == GRAD_EFORMAT);
  check(read_idx(ctx, TEXT("\0\0\x0a\x01\0\0\0\0"), -1, &a) == GRAD_EFORMAT && ctx->used == 0);
}

/* --- npy and npz */

static grad_status read_npy(grad_ctx *c, text t, grad_array *out) {
  grad_memory memory = {.data = t.data, .size = t.size};
  grad_source source;
  grad__source_memory(&memory, "test.npy", &source);
  return grad__npy_read(c, &source, out);
}

/* A version 1 file with that dict and those elements. */
static text npy(const char *dict, text elements) {
  static unsigned char file[500];
  const size_t size = strlen(dict);
  memcpy(file, "\x93NUMPY\1\0", 8);
  file[8] = (unsigned char)size;
  file[9] = 0;
  memcpy(file + 10, dict, size);
  memcpy(file + 10 + size, elements.data, elements.size);
  return (text){file, 10 + size + elements.size};
}

static void test_npy_kinds(void) {
  grad_array a;
  const text four = TEXT("\1\2\3\4");
  check(read_npy(ctx, npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2), }", four), &a) == GRAD_OK);
  check(a.dtype == GRAD_I64 && at(&a, 0, 1) == 3 && at(&a, 1, 0) == 2);
  grad__array_release(&a);
  check(read_npy(ctx, npy("{'shape':(2,),'fortran_order':False,'descr':'>i2'}\n", four), &a) == GRAD_OK);
  check(grad__array_get(&a, (int64_t[]){0}) == 258);
  grad__array_release(&a);
  const text halves = TEXT("\x00\x3c\x01\x00\x00\xfc\x00\x7e\xff\x7b\x00\x80");
  check(read_npy(ctx, npy("{'descr': '<f2', 'fortran_order': False, 'shape': (6,)}", halves), &a) == GRAD_OK);
  const double want[] = {1, 0x1p-24, -(double)INFINITY, (double)NAN, 65504, 0};
  for (int64_t i = 0; i < 6; i++) check_near(grad__array_get(&a, &i), want[i], 0);
  grad__array_release(&a);
  check(read_npy(ctx, npy("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", TEXT("\0\0\0\0\0\0\xf0\x3f")), &a) ==
        GRAD_OK);
  check(a.ndim == 0 && grad__array_get(&a, NULL) == 1);
  grad__array_release(&a);
  const text huge = TEXT("\0\0\0\0\0\0\0\x80");
  check(read_npy(ctx, npy("{'descr': '<u8', 'fortran_order': False, 'shape': (1,)}", huge), &a) == GRAD_EDTYPE);
}

static void test_npy_errors(void) {
  static const char *const bad[] = {"{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 8)}",
                                    "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,)}",
                                    "{'descr': '<f8', 'fortran_order': Maybe, 'shape': (1,)}",
                                    "{'descr': '<f8', 'fortran_order': False}",
                                    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
                                    "{'descr': '<f8', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
                                    "{'descr': '<f8', 'extra': False, 'shape': (1,)}",
                                    "{'descr': '<f8",
                                    "",
                                    "{"};
  static const char *const types[] = {"<c16", "|O", "<U5", "<M8", "f8", "<f16"};
  grad_array a;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    check(read_npy(ctx, npy(bad[i], TEXT("\0\0\0\0\0\0\0\0")), &a) == GRAD_EFORMAT);
  }
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    char dict[100];
    snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (1,)}", types[i]);
    check(read_npy(ctx, npy(dict, TEXT("\0\0\0\0\0\0\0\0")), &a) == GRAD_EDTYPE);
  }
  check(ctx->used == 0);
}

static grad_named_list sample(grad_ctx *c, grad_status *status) {
  grad_named_list list = {.ctx = c};
  static const char *const names[] = {"bool", "i64", "f32", "f64"};
  *status = GRAD_OK;
  for (int i = GRAD_BOOL; i <= GRAD_F64 && !*status; i++) {
    grad_array a;
    *status = grad__array_new(c, (grad_dtype)i, 2, (int64_t[]){3, 2}, &a);
    if (*status) break;
    for (int64_t k = 0; k < 3; k++) {
      grad_array row;
      grad__view_drop(&a, 0, k, &row);
      grad__array_fill(&row, i == GRAD_BOOL ? (double)(k % 2) : (double)k * -1.5);
    }
    const grad_array whole = a;
    if (i == GRAD_F64) grad__view_permute(&whole, (int[]){1, 0}, &a); /* not row-major */
    *status = grad__named_add(&list, names[i], strlen(names[i]), &a);
    if (*status) grad__array_release(&a);
  }
  if (*status) grad__named_clear(&list);
  return list;
}

static bool same_list(const grad_named_list *a, const grad_named_list *b) {
  bool same = a->count == b->count;
  for (int64_t i = 0; same && i < a->count; i++) {
    const grad_array *const x = &a->items[i].array, *const y = &b->items[i].array;
    same = strcmp(a->items[i].name, b->items[i].name) == 0 && x->dtype == y->dtype &&
           grad__shape_equal(x->ndim, x->shape, y->ndim, y->shape);
    for (int64_t r = 0; same && r < x->shape[0]; r++) {
      for (int64_t c = 0; c < x->shape[1]; c++) same = same && at(x, r, c) == at(y, r, c);
    }
  }
  return same;
}

static grad_status npz_task(grad_ctx *c, void *ud) {
  static kept k;
  (void)ud;
  grad_status status;
  grad_named_list list = sample(c, &status), back = {.ctx = c};
  if (status) return status;
  const grad_sink sink = sink_to(&k);
  status = grad__npz_write(c, &sink, &list);
  grad_memory memory = {.data = k.data, .size = k.size};
  grad_source source;
  grad__source_memory(&memory, "test.npz", &source);
  if (!status) status = grad__npz_read(c, &source, &back);
  if (!status) check(same_list(&list, &back));
  grad__named_clear(&list);
  grad__named_clear(&back);
  return status;
}

/* Every truncation and every changed byte: an error or a value, never a crash or a leak. */
static void test_npz_damage(void) {
  static kept k;
  grad_status status;
  grad_named_list list = sample(ctx, &status), back = {.ctx = ctx};
  const grad_sink sink = sink_to(&k);
  check(!status && grad__npz_write(ctx, &sink, &list) == GRAD_OK);
  int refused = 0, changed = 0;
  for (size_t i = 0; i < 2 * k.size; i++) {
    grad_source source;
    grad_memory memory = {.data = k.data, .size = i < k.size ? i : k.size};
    if (i >= k.size) k.data[i - k.size] ^= 0x41;
    grad__source_memory(&memory, "test.npz", &source);
    status = grad__npz_read(ctx, &source, &back);
    refused += status != GRAD_OK;
    changed += i >= k.size;
    check(i >= k.size || status == GRAD_EFORMAT);
    grad__named_clear(&back);
    if (i >= k.size) k.data[i - k.size] ^= 0x41;
  }
  check(refused > changed / 2);
  grad__named_clear(&list);
  check(ctx->used == 0);
}

/* --- safetensors */

static grad_status read_tensors(grad_ctx *c, text t, bool sized, grad_safetensors *out) {
  grad_memory memory = {.data = t.data, .size = t.size};
  grad_source source;
  grad__source_memory(&memory, "test.safetensors", &source);
  if (!sized) source.size = -1;
  return grad__safetensors_read(c, &source, out);
}

static grad_status safetensors_task(grad_ctx *c, void *ud) {
  static kept k;
  grad_status status;
  grad_named_list list = sample(c, &status);
  if (status) return status;
  const grad_sink sink = sink_to(&k);
  const grad_text_pair metadata[] = {{"format", "gl"}, {"a \"quoted\"\n\\key", "\xc3\xa9\xf0\x9f\x98\x80"}};
  grad_safetensors file = {0};
  status = grad__safetensors_write(c, &sink, &list, metadata, 2);
  if (!status) status = read_tensors(c, (text){k.data, k.size}, *(bool *)ud, &file);
  if (!status) {
    check(same_list(&list, &file.tensors) && file.nmetadata == 2);
    check_text(file.metadata[1].key, metadata[1].key);
    check_text(file.metadata[1].value, metadata[1].value);
    grad__safetensors_clear(&file);
  }
  grad__named_clear(&list);
  return status;
}

/* A file with that header and `data` zero bytes behind it. */
static text tensors_file(const char *header, size_t data) {
  static unsigned char file[2000];
  const uint64_t size = strlen(header);
  memset(file, 0, sizeof file);
  memcpy(file, &size, 8);
  memcpy(file + 8, header, size);
  return (text){file, 8 + size + data};
}

static void test_safetensors_headers(void) {
  static const struct {
    const char *header;
    size_t data;
    grad_status want;
  } cases[] = {
      {"{}", 0, GRAD_OK},
      {" {\"a\" : {\"shape\":[2,2],\"data_offsets\":[0,8],\"dtype\":\"F16\"}} ", 8, GRAD_OK},
      {"{\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[1,2]},\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_"
       "offsets\":[0,1]}}",
       2, GRAD_OK},
      {"{\"\\u0061\\ud83d\\ude00\":{\"dtype\":\"BOOL\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, GRAD_OK},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 7, GRAD_EFORMAT},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 9, GRAD_EFORMAT},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}}", 16, GRAD_EFORMAT},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,8]}}", 8, GRAD_EFORMAT},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[-1],\"data_offsets\":[0,8]}}", 8, GRAD_EFORMAT},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,0]}}", 8, GRAD_EFORMAT},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0]}}", 8, GRAD_EFORMAT},
      {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, GRAD_EDTYPE},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1]}}", 8, GRAD_EFORMAT},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
       "offsets\":[1,2]}}",
       2, GRAD_EFORMAT},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
       "offsets\":[1,3]}}",
       3, GRAD_EFORMAT},
      {"{\"__metadata__\":{\"a\":1}}", 0, GRAD_EFORMAT},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, GRAD_EFORMAT},
      {"{} x", 0, GRAD_EFORMAT},
      {"{", 0, GRAD_EFORMAT},
      {"", 0, GRAD_EFORMAT},
      {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, GRAD_EFORMAT},
      {"{\"a\\ud800\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, GRAD_EFORMAT},
      {"{\"\xc3\x28\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, GRAD_EFORMAT},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[01],\"data_offsets\":[0,1]}}", 1, GRAD_EFORMAT},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    grad_safetensors file = {0};
    const grad_status status = read_tensors(ctx, tensors_file(cases[i].header, cases[i].data), i % 2, &file);
    if (!check(status == cases[i].want)) fprintf(stderr, "  %s: %s\n", cases[i].header, grad_message(ctx));
    if (!status) grad__safetensors_clear(&file);
  }
  grad_safetensors file;
  const size_t peak = ctx->peak;
  check(read_tensors(ctx, TEXT("\xff\xff\xff\xff\xff\xff\xff\x7f{}"), true, &file) == GRAD_EFORMAT);
  check(read_tensors(ctx, TEXT("\0\0\0\x05\0\0\0\0{}"), true, &file) == GRAD_EFORMAT);
  check(ctx->used == 0 && ctx->peak == peak);
}

static void test_names(void) {
  static kept k;
  grad_status status;
  grad_named_list list = sample(ctx, &status);
  const grad_sink sink = sink_to(&k);
  check(!status);
  memcpy(list.items[2].name, "i64", 4);
  check(grad__safetensors_write(ctx, &sink, &list, NULL, 0) == GRAD_EVALUE);
  memcpy(list.items[2].name, "\xff\x32", 3);
  check(grad__safetensors_write(ctx, &sink, &list, NULL, 0) == GRAD_EVALUE);
  grad__named_clear(&list);
}

/* --- files */

static char folder[] = "/tmp/gradlua_io_XXXXXX";

static const char *in_folder(const char *name) {
  static char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static grad_status save(const char *path, const char *content, bool fail) {
  grad_file_sink file;
  grad_status status = grad__file_sink_open(ctx, path, &file);
  if (status) return status;
  status = file.sink.write(file.sink.ud, ctx, content, strlen(content));
  if (status || fail) {
    grad__file_sink_abort(&file);
    grad__file_sink_abort(&file);
    return GRAD_EIO;
  }
  return grad__file_sink_commit(&file);
}

static bool holds(const char *path, const char *content) {
  grad_source source;
  grad_bytes bytes = {0};
  if (grad__source_open(ctx, path, &source) != GRAD_OK) return false;
  const bool same = grad__bytes_read(ctx, &source, &bytes) == GRAD_OK && bytes.size == strlen(content) &&
                    memcmp(bytes.data, content, bytes.size) == 0;
  grad__bytes_clear(&bytes);
  grad__source_close(&source);
  grad__source_close(&source);
  return same;
}

static void test_files(void) {
  grad_source source;
  if (!check(mkdtemp(folder) != NULL)) return;
  check(save(in_folder("a"), "first", false) == GRAD_OK && holds(in_folder("a"), "first"));
  check(chmod(in_folder("a"), 0640) == 0);
  check(save(in_folder("a"), "second", true) == GRAD_EIO && holds(in_folder("a"), "first"));
  check(save(in_folder("a"), "third", false) == GRAD_OK && holds(in_folder("a"), "third"));
  struct stat info;
  check(stat(in_folder("a"), &info) == 0 && (info.st_mode & 0777) == 0640);
  char link[200];
  snprintf(link, sizeof link, "%s", in_folder("link"));
  check(symlink(in_folder("a"), link) == 0 && save(link, "through", false) == GRAD_OK);
  check(holds(in_folder("a"), "through") && lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
  check(save(in_folder("none/b"), "x", false) == GRAD_EIO && strstr(grad_message(ctx), "none/b") != NULL);
  check(save(folder, "x", false) == GRAD_EIO);
  check(grad__source_open(ctx, in_folder("missing"), &source) == GRAD_EIO && strstr(grad_message(ctx), "No such file"));
  check(grad__source_open(ctx, folder, &source) == GRAD_EIO && ctx->used == 0);
  unlink(link);
  unlink(in_folder("a"));
  check(rmdir(folder) == 0); /* nothing temporary is left */
}

/* No room for the new file: an error, and the old one stays. */
static void test_full(void) {
  char place[] = "/tmp/gradlua_io_XXXXXX", path[64];
  static char large[1 << 16];
  memset(large, 'x', sizeof large - 1);
  if (!check(mkdtemp(place) != NULL)) return;
  snprintf(path, sizeof path, "%s/file", place);
  check(save(path, "old", false) == GRAD_OK);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000});
    _exit(save(path, large, false) == GRAD_EIO && holds(path, "old") ? 0 : 1);
  }
  int status = -1;
  check(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  check(holds(path, "old"));
  unlink(path);
  check(rmdir(place) == 0);
}

static grad_status csv_task(grad_ctx *c, void *ud) {
  static unsigned char packed[200];
  grad_csv csv;
  (void)ud;
  const text t = pack(TEXT("x,class\n1,b\n2,a\n"), packed, sizeof packed);
  const grad_status status = read_csv(c, t, &automatic, &csv);
  if (!status) grad__csv_clear(&csv);
  return status;
}

int main(void) {
  ctx = check_open();
  test_numbers();
  test_csv_values();
  test_csv_errors();
  test_gz();
  test_idx();
  test_npy_kinds();
  test_npy_errors();
  test_npz_damage();
  test_safetensors_headers();
  test_names();
  test_files();
  test_full();
  check_close(ctx);
  check_failing_alloc("csv", csv_task, NULL);
  check_failing_alloc("npz", npz_task, NULL);
  check_failing_alloc("safetensors", safetensors_task, &(bool){true});
  check_failing_alloc("safetensors of unknown size", safetensors_task, &(bool){false});
  return check_done();
}
