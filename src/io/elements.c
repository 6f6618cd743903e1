/* elements.c: conversion of the element types of files. */
#include "io/elements.h"

#include <string.h>

static const struct {
  const char *name;
  size_t size;
  grad_dtype dtype;
} kinds[] = {
#define XX(name, bytes, dtype) {#name, bytes, GRAD_##dtype},
    GRAD_ELEMENT_MAP(XX)
#undef XX
};
enum { NKINDS = sizeof kinds / sizeof *kinds };

size_t grad__element_size(grad_element element) { return kinds[element].size; }
const char *grad__element_name(grad_element element) { return kinds[element].name; }
grad_dtype grad__element_dtype(grad_element element) { return kinds[element].dtype; }

bool grad__element_from_name(const char *name, size_t size, grad_element *out) {
  for (int i = 0; i < NKINDS; i++) {
    if (strlen(kinds[i].name) != size || memcmp(kinds[i].name, name, size) != 0) continue;
    *out = (grad_element)i;
    return true;
  }
  return false;
}

static float float_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* IEEE binary16: 1 sign, 5 exponent, 10 fraction bits. */
static float from_f16(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1f, fraction = h & 0x3ff;
  if (exponent == 0x1f) return float_of_bits(sign | 0x7f800000 | fraction << 13);
  if (exponent > 0) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
  const float small = (float)fraction * 0x1p-24F;
  return sign ? -small : small;
}

static float from_bf16(uint16_t h) { return float_of_bits((uint32_t)h << 16); }

static inline uint64_t bits_at(const unsigned char *at, size_t size, bool big) {
  uint64_t x = 0;
  for (size_t i = 0; i < size; i++) x = x << 8 | at[big ? i : size - 1 - i];
  return x;
}

/* `bytes` is a constant, so that reading them becomes one load. */
#define EACH(type, bytes, convert)                                                                                     \
  for (int64_t i = 0; i < n; i++) {                                                                                    \
    const uint64_t bits = bits_at((const unsigned char *)from + i * (bytes), bytes, big);                              \
    ((type *)to)[i] = (type)(convert);                                                                                 \
  }                                                                                                                    \
  return true

static bool convert_u64(bool big, int64_t n, const void *from, int64_t *to) {
  bool fits = true;
  for (int64_t i = 0; i < n; i++) {
    const uint64_t bits = bits_at((const unsigned char *)from + i * 8, 8, big);
    fits &= bits <= INT64_MAX;
    to[i] = (int64_t)bits;
  }
  return fits;
}

bool grad__elements_convert(grad_element element, bool big, int64_t n, const void *from, void *to) {
  switch (element) {
  case GRAD_ELEMENT_BOOL:
    EACH(uint8_t, 1, bits != 0);
  case GRAD_ELEMENT_U8:
    EACH(int64_t, 1, bits);
  case GRAD_ELEMENT_I8:
    EACH(int64_t, 1, (int8_t)bits);
  case GRAD_ELEMENT_U16:
    EACH(int64_t, 2, bits);
  case GRAD_ELEMENT_I16:
    EACH(int64_t, 2, (int16_t)bits);
  case GRAD_ELEMENT_U32:
    EACH(int64_t, 4, bits);
  case GRAD_ELEMENT_I32:
    EACH(int64_t, 4, (int32_t)bits);
  case GRAD_ELEMENT_U64:
    return convert_u64(big, n, from, to);
  case GRAD_ELEMENT_F16:
    EACH(float, 2, from_f16((uint16_t)bits));
  case GRAD_ELEMENT_BF16:
    EACH(float, 2, from_bf16((uint16_t)bits));
  case GRAD_ELEMENT_F32:
    EACH(uint32_t, 4, bits);
  case GRAD_ELEMENT_I64:
  case GRAD_ELEMENT_F64:
    break;
  }
  EACH(uint64_t, 8, bits);
}
