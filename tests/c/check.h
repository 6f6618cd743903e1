/* check.h: the smallest test harness. A test program calls check_...() and returns check_done(). */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int check_passed, check_failed;

static inline bool check_at(bool ok, const char *text, const char *file, int line) {
  if (ok) {
    check_passed++;
  } else {
    check_failed++;
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, text);
  }
  return ok;
}

static inline bool check_near_at(double got, double want, double tolerance, const char *text, const char *file, int line) {
  bool same = got == want || (isnan(got) && isnan(want)) || fabs(got - want) <= tolerance * (1 + fabs(want));
  if (!same) fprintf(stderr, "%s:%d: %s is %.17g, expected %.17g\n", file, line, text, got, want);
  return check_at(same, text, file, line);
}

/* For a place that is not to be reached. */
#define check_never(text) check_at(false, text, __FILE__, __LINE__)
#define check(expression) check_at((expression), #expression, __FILE__, __LINE__)
#define check_near(got, want, tolerance) check_near_at((got), (want), (tolerance), #got, __FILE__, __LINE__)
#define check_text(got, want) check_at(strcmp((got), (want)) == 0, #got " is " #want, __FILE__, __LINE__)

static inline int check_done(void) {
  printf("%d passed, %d failed\n", check_passed, check_failed);
  return check_failed != 0;
}

#endif
