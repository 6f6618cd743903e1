/* json.c: the pieces of JSON that headers are made of. */
#include "io/json.h"

#include <stdio.h>
#include <string.h>

grad_status grad__json_expected(const grad_json *json, const char *what) {
  return grad__bad_data(json->ctx, json->name, json->offset + (json->at - json->begin), "%s expected", what);
}

void grad__json_skip(grad_json *json) {
  while (json->at < json->end && *json->at && strchr(" \t\r\n", *json->at)) json->at++;
}

bool grad__json_take(grad_json *json, char c) {
  grad__json_skip(json);
  if (json->at == json->end || *json->at != c) return false;
  json->at++;
  return true;
}

grad_status grad__json_natural(grad_json *json, int64_t *out) {
  grad__json_skip(json);
  const char *const first = json->at;
  int64_t x = 0;
  for (; json->at < json->end && *json->at >= '0' && *json->at <= '9'; json->at++) {
    if (!grad__mul_i64(x, 10, &x) || !grad__add_i64(x, *json->at - '0', &x)) {
      return grad__json_expected(json, "a number below 2^63");
    }
  }
  const bool leading_zero = json->at - first > 1 && *first == '0';
  if (json->at == first || leading_zero) return grad__json_expected(json, "a natural number");
  *out = x;
  return GRAD_OK;
}

/* Length of the well-formed UTF-8 sequence at `at`, 0 when there is none (Unicode 15, table 3-7). */
static int utf8_length(const unsigned char *at, const unsigned char *end) {
  if (at[0] < 0x80) return 1;
  const int length = at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
  if (length == 0 || end - at < length) return 0;
  for (int i = 1; i < length; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
  const bool surrogate = at[0] == 0xed && at[1] > 0x9f, beyond = at[0] == 0xf4 && at[1] > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

static bool take_hex(grad_json *json, uint32_t *out) {
  if (json->end - json->at < 4) return false;
  uint32_t x = 0;
  for (int i = 0; i < 4; i++) {
    const char c = *json->at++;
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return false;
    x = x << 4 | (uint32_t)digit;
  }
  *out = x;
  return true;
}

/* \uXXXX, or two of them that make one character above U+FFFF. */
static bool take_unicode(grad_json *json, char **to) {
  uint32_t x, low;
  if (!take_hex(json, &x) || x == 0 || (x >= 0xdc00 && x < 0xe000)) return false;
  if (x >= 0xd800 && x < 0xdc00) {
    if (json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u') return false;
    json->at += 2;
    if (!take_hex(json, &low) || low < 0xdc00 || low >= 0xe000) return false;
    x = 0x10000 + ((x - 0xd800) << 10) + (low - 0xdc00);
  }
  char *at = *to;
  if (x < 0x80) {
    *at++ = (char)x;
  } else {
    const int tail = x < 0x800 ? 1 : x < 0x10000 ? 2 : 3;
    static const unsigned char leads[] = {0, 0xc0, 0xe0, 0xf0};
    *at++ = (char)(leads[tail] | x >> (6 * tail));
    for (int i = tail - 1; i >= 0; i--) *at++ = (char)(0x80 | (x >> (6 * i) & 0x3f));
  }
  *to = at;
  return true;
}

static bool take_escape(grad_json *json, char **to) {
  static const char codes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
  if (json->at == json->end) return false;
  const char c = *json->at++;
  if (c == 'u') return take_unicode(json, to);
  const char *const found = c ? strchr(codes, c) : NULL;
  if (!found) return false;
  *(*to)++ = meanings[found - codes];
  return true;
}

grad_status grad__json_string(grad_json *json, grad_arena *arena, const char **out, size_t *size) {
  if (!grad__json_take(json, '"')) return grad__json_expected(json, "a text in quotes");
  const char *close = json->at; /* at most as long as what stands between the quotes */
  while (close < json->end && *close != '"') close += *close == '\\' && close + 1 < json->end ? 2 : 1;
  if (close >= json->end) return grad__json_expected(json, "a closing quote");
  char *const text = grad__arena_alloc(arena, (size_t)(close - json->at) + 1);
  if (!text) return json->ctx->status;
  char *to = text;
  while (json->at < close) {
    const unsigned char c = (unsigned char)*json->at;
    if (c == '\\') {
      json->at++;
      if (!take_escape(json, &to)) return grad__json_expected(json, "an escape of JSON");
      continue;
    }
    const int length = c < 0x20 ? 0 : utf8_length((const unsigned char *)json->at, (const unsigned char *)close);
    if (length == 0) return grad__json_expected(json, "UTF-8 text without control characters");
    memcpy(to, json->at, (size_t)length);
    to += length;
    json->at += length;
  }
  json->at = close + 1;
  *to = '\0';
  *out = text;
  *size = (size_t)(to - text);
  return GRAD_OK;
}

grad_status grad__json_quote(grad_bytes *out, const char *text, size_t size) {
  enum { LONGEST = 6 };
  const unsigned char *at = (const unsigned char *)text, *const end = at + size;
  if (size > SIZE_MAX / LONGEST - 2) return grad__fail(out->ctx, GRAD_ENOMEM, "out of memory");
  const grad_status status = grad__bytes_reserve(out, size * LONGEST + 3);
  if (status) return status;
  char *to = (char *)out->data + out->size;
  *to++ = '"';
  while (at < end) {
    const int length = utf8_length(at, end);
    if (length == 0) return grad__fail(out->ctx, GRAD_EVALUE, "a name or text to be saved is not UTF-8");
    if (*at < 0x20) {
      to += sprintf(to, "\\u%04x", *at);
    } else {
      if (*at == '"' || *at == '\\') *to++ = '\\';
      memcpy(to, at, (size_t)length);
      to += length;
    }
    at += length;
  }
  *to++ = '"';
  out->size = (size_t)(to - (char *)out->data);
  return GRAD_OK;
}
