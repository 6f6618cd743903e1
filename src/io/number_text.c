/* number_text.c: fast where a double holds digits and power of ten exactly (Clinger 1990, "How to read floating point
 * numbers accurately"), else strtod in the C locale. */
#include "io/number_text.h"

#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#if defined __APPLE__
#include <xlocale.h>
#endif

static bool slow_parse(const char *text, size_t size, double *out) {
  char copy[400];
  if (size >= sizeof copy) return false;
  memcpy(copy, text, size);
  copy[size] = '\0';
  const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  if (!plain) return false;
  const locale_t before = uselocale(plain);
  char *end;
  *out = strtod(copy, &end);
  uselocale(before);
  freelocale(plain);
  return end == copy + size;
}

static bool parse_word(const char *text, size_t size, double sign, double *out) {
  if (size == 3 && strncasecmp(text, "nan", 3) == 0) {
    *out = (double)NAN;
    return true;
  }
  const bool infinite =
      (size == 3 && strncasecmp(text, "inf", 3) == 0) || (size == 8 && strncasecmp(text, "infinity", 8) == 0);
  if (infinite) *out = sign * (double)INFINITY;
  return infinite;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool grad__number_parse(const char *text, size_t size, double *out) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  const char *at = text, *const end = text + size;
  const double sign = size > 0 && *at == '-' ? -1 : 1;
  if (size > 0 && (*at == '-' || *at == '+')) at++;
  uint64_t digits = 0;
  int count = 0, exponent = 0;
  const char *const first = at;
  bool point = false;
  for (; at < end && (is_digit(*at) || (*at == '.' && !point)); at++) {
    if (*at == '.') {
      point = true;
      continue;
    }
    count++;
    exponent -= point;
    if (count <= 18) digits = digits * 10 + (uint64_t)(*at - '0');
  }
  if (count == 0) return at == first && parse_word(at, (size_t)(end - at), sign, out);
  if (at < end && (*at == 'e' || *at == 'E')) {
    const bool negative = at + 1 < end && at[1] == '-';
    at += 1 + (at + 1 < end && (at[1] == '-' || at[1] == '+'));
    if (at == end) return false;
    int power = 0;
    for (; at < end && is_digit(*at); at++) power = power < 10000 ? power * 10 + (*at - '0') : power;
    exponent += negative ? -power : power;
  }
  if (at != end) return false;
  const bool exact = count <= 18 && digits <= (UINT64_C(1) << 53) && exponent >= -22 && exponent <= 22;
  if (!exact) return slow_parse(text, size, out);
  *out = sign * (exponent < 0 ? (double)digits / powers[-exponent] : (double)digits * powers[exponent]);
  return true;
}
