/* npy_header.c: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1 to 3. */
#include "io/npy_header.h"
#include "io/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct scan {
  grad_ctx *ctx;
  const char *name;
  int64_t offset; /* of `begin` in the source */
  const char *begin, *at, *end;
} scan;

static grad_status expected(const scan *s, const char *what) {
  return grad__bad_data(s->ctx, s->name, s->offset + (s->at - s->begin), "%s expected in the header", what);
}

static void skip_blanks(scan *s) {
  while (s->at < s->end && (*s->at == ' ' || *s->at == '\n')) s->at++;
}

static bool take(scan *s, char c) {
  skip_blanks(s);
  if (s->at == s->end || *s->at != c) return false;
  s->at++;
  return true;
}

static bool take_word(scan *s, const char *word) {
  skip_blanks(s);
  const size_t size = strlen(word);
  if ((size_t)(s->end - s->at) < size || memcmp(s->at, word, size) != 0) return false;
  s->at += size;
  return true;
}

static grad_status take_string(scan *s, const char **text, size_t *size) {
  skip_blanks(s);
  const char quote = s->at < s->end ? *s->at : '\0';
  if (quote != '\'' && quote != '"') return expected(s, "a quoted text");
  *text = ++s->at;
  while (s->at < s->end && *s->at != quote) s->at++;
  if (s->at == s->end) return expected(s, "a closing quote");
  *size = (size_t)(s->at++ - *text);
  return GRAD_OK;
}

static grad_status take_extent(scan *s, int64_t *out) {
  skip_blanks(s);
  if (s->at == s->end || *s->at < '0' || *s->at > '9') return expected(s, "an extent");
  int64_t x = 0;
  for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
    if (!grad__mul_i64(x, 10, &x) || !grad__add_i64(x, *s->at - '0', &x)) return expected(s, "an extent below 2^63");
  }
  if (s->at < s->end && *s->at == 'L') s->at++;
  *out = x;
  return GRAD_OK;
}

static grad_status take_shape(scan *s, grad_npy_header *out) {
  if (!take(s, '(')) return expected(s, "the shape's (");
  for (out->ndim = 0; !take(s, ')'); out->ndim++) {
    if (out->ndim == GRAD_MAX_AXES) return expected(s, "at most 8 axes");
    const grad_status status = take_extent(s, &out->shape[out->ndim]);
    if (status) return status;
    if (!take(s, ',') && (s->at == s->end || *s->at != ')')) return expected(s, "a comma or )");
  }
  return GRAD_OK;
}

/* "<f8" and so on: byte order, kind, bytes. */
static grad_status read_descr(const scan *s, const char *text, size_t size, grad_npy_header *out) {
  static const struct {
    const char *code;
    grad_element element;
  } codes[] = {{"b1", GRAD_ELEMENT_BOOL}, {"i1", GRAD_ELEMENT_I8},  {"u1", GRAD_ELEMENT_U8},  {"i2", GRAD_ELEMENT_I16},
               {"u2", GRAD_ELEMENT_U16},  {"i4", GRAD_ELEMENT_I32}, {"u4", GRAD_ELEMENT_U32}, {"i8", GRAD_ELEMENT_I64},
               {"u8", GRAD_ELEMENT_U64},  {"f2", GRAD_ELEMENT_F16}, {"f4", GRAD_ELEMENT_F32}, {"f8", GRAD_ELEMENT_F64}};
  const bool has_order = size == 3 && strchr("<>|=", text[0]) != NULL;
  out->big = has_order && text[0] == '>';
  for (size_t i = 0; has_order && i < sizeof codes / sizeof *codes; i++) {
    if (memcmp(codes[i].code, text + 1, 2) != 0) continue;
    out->element = codes[i].element;
    return GRAD_OK;
  }
  return grad__fail(s->ctx, GRAD_EDTYPE, "%s: elements of type '%.*s' are not supported: numbers and bool are", s->name,
                    size < 40 ? (int)size : 40, text);
}

static grad_status take_entry(scan *s, grad_npy_header *out, unsigned *seen) {
  const char *key, *text;
  size_t key_size, size;
  grad_status status = take_string(s, &key, &key_size);
  if (status) return status;
  if (!take(s, ':')) return expected(s, "a colon");
  if (key_size == 5 && memcmp(key, "descr", 5) == 0) {
    *seen |= 1;
    skip_blanks(s);
    if (s->at < s->end && *s->at == '[') {
      return grad__fail(s->ctx, GRAD_EDTYPE, "%s: arrays of records are not supported", s->name);
    }
    status = take_string(s, &text, &size);
    return status ? status : read_descr(s, text, size, out);
  }
  if (key_size == 13 && memcmp(key, "fortran_order", 13) == 0) {
    *seen |= 2;
    out->fortran = take_word(s, "True");
    return out->fortran || take_word(s, "False") ? GRAD_OK : expected(s, "True or False");
  }
  if (key_size == 5 && memcmp(key, "shape", 5) == 0) {
    *seen |= 4;
    return take_shape(s, out);
  }
  return expected(s, "only descr, fortran_order and shape");
}

grad_status grad__npy_header_read(grad_ctx *ctx, const char *name, int64_t offset, const unsigned char *data,
                                  size_t size, grad_npy_header *out) {
  if (size < 10 || memcmp(data, "\x93NUMPY", 6) != 0) {
    return grad__bad_data(ctx, name, offset, "a NumPy array starts with \\x93NUMPY, a version and a length");
  }
  if (data[6] < 1 || data[6] > 3)
    return grad__bad_data(ctx, name, offset + 6, "format version %d is not known", data[6]);
  const size_t before = data[6] == 1 ? 10 : 12;
  if (size < before) return grad__bad_data(ctx, name, offset + (int64_t)size, "the header's length is missing");
  const uint64_t text_size = grad__little(data + 8, (int)before - 8);
  if (text_size > size - before) {
    return grad__bad_data(ctx, name, offset + 8, "a header of %" PRIu64 " bytes, but %zu bytes follow", text_size,
                          size - before);
  }
  const char *const text = (const char *)data + before;
  scan s = {ctx, name, offset + (int64_t)before, text, text, text + text_size};
  unsigned seen = 0;
  *out = (grad_npy_header){.size = before + (size_t)text_size};
  if (!take(&s, '{')) return expected(&s, "{");
  while (!take(&s, '}')) {
    const grad_status status = take_entry(&s, out, &seen);
    if (status) return status;
    if (!take(&s, ',') && (s.at == s.end || *s.at != '}')) return expected(&s, "a comma or }");
  }
  return seen == 7 ? GRAD_OK : expected(&s, "descr, fortran_order and shape");
}

size_t grad__npy_header_write(const grad_array *array, char *out) {
  static const char *const codes[] = {[GRAD_BOOL] = "|b1", [GRAD_I64] = "<i8", [GRAD_F32] = "<f4", [GRAD_F64] = "<f8"};
  char *const text = out + 10;
  size_t size = (size_t)sprintf(text, "{'descr': '%s', 'fortran_order': False, 'shape': (", codes[array->dtype]);
  for (int i = 0; i < array->ndim; i++) size += (size_t)sprintf(text + size, "%" PRId64 ", ", array->shape[i]);
  size += (size_t)sprintf(text + size, "), }");
  while ((size + 11) % 64 != 0) text[size++] = ' ';
  text[size++] = '\n';
  memcpy(out, "\x93NUMPY\x01\x00", 8);
  out[8] = (char)(size & 0xff);
  out[9] = (char)(size >> 8);
  return size + 10;
}
