/* hs.h: test problems of W. Hock, K. Schittkowski (1981), "Test examples for nonlinear programming codes", from their
 * definitions there; the number is theirs. Functions are complex, so that a complex step gives exact derivatives.
 * Constraints: first the equalities c = 0, then the inequalities c >= 0. */
#ifndef HS_H
#define HS_H

#include <complex.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

enum { HS_VARIABLES = 7, HS_CONSTRAINTS = 5 };
typedef double complex hs_complex;

typedef struct hs_problem {
  int number, n, equalities, inequalities;
  double start[HS_VARIABLES], lower[HS_VARIABLES], upper[HS_VARIABLES], minimum;
  hs_complex (*f)(const hs_complex *x);
  void (*c)(const hs_complex *x, hs_complex *c);
} hs_problem;

#define SQ(a) ((a) * (a))
#define PI 3.14159265358979323846
#define ROOT3 1.7320508075688772
#define INF ((double)INFINITY)

static inline hs_complex hs_banana(const hs_complex *x) { return 100 * SQ(x[1] - x[0] * x[0]) + SQ(1 - x[0]); }
static inline hs_complex hs3_f(const hs_complex *x) { return x[1] + 1e-5 * SQ(x[1] - x[0]); }
static inline hs_complex hs4_f(const hs_complex *x) { return SQ(x[0] + 1) * (x[0] + 1) / 3 + x[1]; }
static inline hs_complex hs5_f(const hs_complex *x) {
  return csin(x[0] + x[1]) + SQ(x[0] - x[1]) - 1.5 * x[0] + 2.5 * x[1] + 1;
}
static inline hs_complex hs6_f(const hs_complex *x) { return SQ(1 - x[0]); }
static inline void hs6_c(const hs_complex *x, hs_complex *c) { c[0] = 10 * (x[1] - x[0] * x[0]); }
static inline hs_complex hs7_f(const hs_complex *x) { return clog(1 + x[0] * x[0]) - x[1]; }
static inline void hs7_c(const hs_complex *x, hs_complex *c) { c[0] = SQ(1 + x[0] * x[0]) + x[1] * x[1] - 4; }
static inline hs_complex hs8_f(const hs_complex *x) { return -1 + 0 * x[0]; }
static inline void hs8_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] * x[0] + x[1] * x[1] - 25;
  c[1] = x[0] * x[1] - 9;
}
static inline hs_complex hs9_f(const hs_complex *x) { return csin(PI * x[0] / 12) * ccos(PI * x[1] / 16); }
static inline void hs9_c(const hs_complex *x, hs_complex *c) { c[0] = 4 * x[0] - 3 * x[1]; }
static inline hs_complex hs10_f(const hs_complex *x) { return x[0] - x[1]; }
static inline void hs10_c(const hs_complex *x, hs_complex *c) {
  c[0] = -3 * x[0] * x[0] + 2 * x[0] * x[1] - x[1] * x[1] + 1;
}
static inline hs_complex hs11_f(const hs_complex *x) { return SQ(x[0] - 5) + x[1] * x[1] - 25; }
static inline void hs11_c(const hs_complex *x, hs_complex *c) { c[0] = x[1] - x[0] * x[0]; }
static inline hs_complex hs12_f(const hs_complex *x) {
  return 0.5 * x[0] * x[0] + x[1] * x[1] - x[0] * x[1] - 7 * x[0] - 7 * x[1];
}
static inline void hs12_c(const hs_complex *x, hs_complex *c) { c[0] = 25 - 4 * x[0] * x[0] - x[1] * x[1]; }
static inline hs_complex hs14_f(const hs_complex *x) { return SQ(x[0] - 2) + SQ(x[1] - 1); }
static inline void hs14_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] - 2 * x[1] + 1;
  c[1] = 1 - 0.25 * x[0] * x[0] - x[1] * x[1];
}
static inline void hs15_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] * x[1] - 1;
  c[1] = x[0] + x[1] * x[1];
}
static inline void hs16_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] + x[1] * x[1];
  c[1] = x[0] * x[0] + x[1];
}
static inline void hs17_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[1] * x[1] - x[0];
  c[1] = x[0] * x[0] - x[1];
}
static inline hs_complex hs18_f(const hs_complex *x) { return 0.01 * x[0] * x[0] + x[1] * x[1]; }
static inline void hs18_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] * x[1] - 25;
  c[1] = x[0] * x[0] + x[1] * x[1] - 25;
}
static inline hs_complex hs19_f(const hs_complex *x) {
  return SQ(x[0] - 10) * (x[0] - 10) + SQ(x[1] - 20) * (x[1] - 20);
}
static inline void hs19_c(const hs_complex *x, hs_complex *c) {
  c[0] = SQ(x[0] - 5) + SQ(x[1] - 5) - 100;
  c[1] = 82.81 - SQ(x[1] - 5) - SQ(x[0] - 6);
}
static inline void hs20_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] + x[1] * x[1];
  c[1] = x[0] * x[0] + x[1];
  c[2] = x[0] * x[0] + x[1] * x[1] - 1;
}
static inline hs_complex hs21_f(const hs_complex *x) { return 0.01 * x[0] * x[0] + x[1] * x[1] - 100; }
static inline void hs21_c(const hs_complex *x, hs_complex *c) { c[0] = 10 * x[0] - x[1] - 10; }
static inline hs_complex hs22_f(const hs_complex *x) { return SQ(x[0] - 2) + SQ(x[1] - 1); }
static inline void hs22_c(const hs_complex *x, hs_complex *c) {
  c[0] = 2 - x[0] - x[1];
  c[1] = x[1] - x[0] * x[0];
}
static inline hs_complex hs23_f(const hs_complex *x) { return x[0] * x[0] + x[1] * x[1]; }
static inline void hs23_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] + x[1] - 1;
  c[1] = x[0] * x[0] + x[1] * x[1] - 1;
  c[2] = 9 * x[0] * x[0] + x[1] * x[1] - 9;
  c[3] = x[0] * x[0] - x[1];
  c[4] = x[1] * x[1] - x[0];
}
static inline hs_complex hs24_f(const hs_complex *x) { return (SQ(x[0] - 3) - 9) * x[1] * x[1] * x[1] / (27 * ROOT3); }
static inline void hs24_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] / ROOT3 - x[1];
  c[1] = x[0] + ROOT3 * x[1];
  c[2] = 6 - x[0] - ROOT3 * x[1];
}
static inline hs_complex hs26_f(const hs_complex *x) { return SQ(x[0] - x[1]) + SQ(SQ(x[1] - x[2])); }
static inline void hs26_c(const hs_complex *x, hs_complex *c) { c[0] = (1 + x[1] * x[1]) * x[0] + SQ(x[2] * x[2]) - 3; }
static inline hs_complex hs27_f(const hs_complex *x) { return 0.01 * SQ(x[0] - 1) + SQ(x[1] - x[0] * x[0]); }
static inline void hs27_c(const hs_complex *x, hs_complex *c) { c[0] = x[0] + x[2] * x[2] + 1; }
static inline hs_complex hs28_f(const hs_complex *x) { return SQ(x[0] + x[1]) + SQ(x[1] + x[2]); }
static inline void hs28_c(const hs_complex *x, hs_complex *c) { c[0] = x[0] + 2 * x[1] + 3 * x[2] - 1; }
static inline hs_complex hs29_f(const hs_complex *x) { return -x[0] * x[1] * x[2]; }
static inline void hs29_c(const hs_complex *x, hs_complex *c) {
  c[0] = 48 - x[0] * x[0] - 2 * x[1] * x[1] - 4 * x[2] * x[2];
}
static inline hs_complex hs30_f(const hs_complex *x) { return x[0] * x[0] + x[1] * x[1] + x[2] * x[2]; }
static inline void hs30_c(const hs_complex *x, hs_complex *c) { c[0] = x[0] * x[0] + x[1] * x[1] - 1; }
static inline hs_complex hs31_f(const hs_complex *x) { return 9 * x[0] * x[0] + x[1] * x[1] + 9 * x[2] * x[2]; }
static inline void hs31_c(const hs_complex *x, hs_complex *c) { c[0] = x[0] * x[1] - 1; }
static inline hs_complex hs32_f(const hs_complex *x) { return SQ(x[0] + 3 * x[1] + x[2]) + 4 * SQ(x[0] - x[1]); }
static inline void hs32_c(const hs_complex *x, hs_complex *c) {
  c[0] = 1 - x[0] - x[1] - x[2];
  c[1] = 6 * x[1] + 4 * x[2] - x[0] * x[0] * x[0] - 3;
}
static inline hs_complex hs33_f(const hs_complex *x) { return (x[0] - 1) * (x[0] - 2) * (x[0] - 3) + x[2]; }
static inline void hs33_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[2] * x[2] - x[1] * x[1] - x[0] * x[0];
  c[1] = x[0] * x[0] + x[1] * x[1] + x[2] * x[2] - 4;
}
static inline hs_complex hs34_f(const hs_complex *x) { return -x[0]; }
static inline void hs34_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[1] - cexp(x[0]);
  c[1] = x[2] - cexp(x[1]);
}
static inline hs_complex hs35_f(const hs_complex *x) {
  return 9 - 8 * x[0] - 6 * x[1] - 4 * x[2] + 2 * x[0] * x[0] + 2 * x[1] * x[1] + x[2] * x[2] + 2 * x[0] * x[1] +
         2 * x[0] * x[2];
}
static inline void hs35_c(const hs_complex *x, hs_complex *c) { c[0] = 3 - x[0] - x[1] - 2 * x[2]; }
static inline hs_complex hs36_f(const hs_complex *x) { return -x[0] * x[1] * x[2]; }
static inline void hs36_c(const hs_complex *x, hs_complex *c) { c[0] = 72 - x[0] - 2 * x[1] - 2 * x[2]; }
static inline hs_complex hs37_f(const hs_complex *x) { return -x[0] * x[1] * x[2]; }
static inline void hs37_c(const hs_complex *x, hs_complex *c) {
  c[0] = 72 - x[0] - 2 * x[1] - 2 * x[2];
  c[1] = x[0] + 2 * x[1] + 2 * x[2];
}
static inline hs_complex hs38_f(const hs_complex *x) {
  return 100 * SQ(x[1] - x[0] * x[0]) + SQ(1 - x[0]) + 90 * SQ(x[3] - x[2] * x[2]) + SQ(1 - x[2]) +
         10.1 * (SQ(x[1] - 1) + SQ(x[3] - 1)) + 19.8 * (x[1] - 1) * (x[3] - 1);
}
static inline hs_complex hs39_f(const hs_complex *x) { return -x[0]; }
static inline void hs39_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[1] - x[0] * x[0] * x[0] - x[2] * x[2];
  c[1] = x[0] * x[0] - x[1] - x[3] * x[3];
}
static inline hs_complex hs40_f(const hs_complex *x) { return -x[0] * x[1] * x[2] * x[3]; }
static inline void hs40_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] * x[0] * x[0] + x[1] * x[1] - 1;
  c[1] = x[0] * x[0] * x[3] - x[2];
  c[2] = x[3] * x[3] - x[1];
}
static inline hs_complex hs43_f(const hs_complex *x) {
  return x[0] * x[0] + x[1] * x[1] + 2 * x[2] * x[2] + x[3] * x[3] - 5 * x[0] - 5 * x[1] - 21 * x[2] + 7 * x[3];
}
static inline void hs43_c(const hs_complex *x, hs_complex *c) {
  c[0] = 8 - x[0] * x[0] - x[1] * x[1] - x[2] * x[2] - x[3] * x[3] - x[0] + x[1] - x[2] + x[3];
  c[1] = 10 - x[0] * x[0] - 2 * x[1] * x[1] - x[2] * x[2] - 2 * x[3] * x[3] + x[0] + x[3];
  c[2] = 5 - 2 * x[0] * x[0] - x[1] * x[1] - x[2] * x[2] - 2 * x[0] + x[1] + x[3];
}
static inline hs_complex hs48_f(const hs_complex *x) { return SQ(x[0] - 1) + SQ(x[1] - x[2]) + SQ(x[3] - x[4]); }
static inline void hs48_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] + x[1] + x[2] + x[3] + x[4] - 5;
  c[1] = x[2] - 2 * (x[3] + x[4]) + 3;
}
static inline hs_complex hs71_f(const hs_complex *x) { return x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2]; }
static inline void hs71_c(const hs_complex *x, hs_complex *c) {
  c[0] = x[0] * x[0] + x[1] * x[1] + x[2] * x[2] + x[3] * x[3] - 40;
  c[1] = x[0] * x[1] * x[2] * x[3] - 25;
}
static inline hs_complex hs76_f(const hs_complex *x) {
  return x[0] * x[0] + 0.5 * x[1] * x[1] + x[2] * x[2] + 0.5 * x[3] * x[3] - x[0] * x[2] + x[2] * x[3] - x[0] -
         3 * x[1] + x[2] - x[3];
}
static inline void hs76_c(const hs_complex *x, hs_complex *c) {
  c[0] = 5 - x[0] - 2 * x[1] - x[2] - x[3];
  c[1] = 4 - 3 * x[0] - x[1] - 2 * x[2] + x[3];
  c[2] = x[1] + 4 * x[2] - 1.5;
}
static inline hs_complex hs100_f(const hs_complex *x) {
  return SQ(x[0] - 10) + 5 * SQ(x[1] - 12) + SQ(x[2] * x[2]) + 3 * SQ(x[3] - 11) + 10 * SQ(x[4] * x[4] * x[4]) +
         7 * x[5] * x[5] + SQ(x[6] * x[6]) - 4 * x[5] * x[6] - 10 * x[5] - 8 * x[6];
}
static inline void hs100_c(const hs_complex *x, hs_complex *c) {
  c[0] = 127 - 2 * x[0] * x[0] - 3 * SQ(x[1] * x[1]) - x[2] - 4 * x[3] * x[3] - 5 * x[4];
  c[1] = 282 - 7 * x[0] - 3 * x[1] - 10 * x[2] * x[2] - x[3] + x[4];
  c[2] = 196 - 23 * x[0] - x[1] * x[1] - 6 * x[5] * x[5] + 8 * x[6];
  c[3] = -4 * x[0] * x[0] - x[1] * x[1] + 3 * x[0] * x[1] - 2 * x[2] * x[2] - 5 * x[5] + 11 * x[6];
}

static const hs_problem hs_problems[] = {
    {1, 2, 0, 0, {-2, 1}, {-INF, -1.5}, {INF, INF}, 0, hs_banana, NULL},
    {2, 2, 0, 0, {-2, 1}, {-INF, 1.5}, {INF, INF}, 0.0504261879, hs_banana, NULL},
    {3, 2, 0, 0, {10, 1}, {-INF, 0}, {INF, INF}, 0, hs3_f, NULL},
    {4, 2, 0, 0, {1.125, 0.125}, {1, 0}, {INF, INF}, 8.0 / 3, hs4_f, NULL},
    {5, 2, 0, 0, {0, 0}, {-1.5, -3}, {4, 3}, -1.9132229549810367, hs5_f, NULL},
    {6, 2, 1, 0, {-1.2, 1}, {-INF, -INF}, {INF, INF}, 0, hs6_f, hs6_c},
    {7, 2, 1, 0, {2, 2}, {-INF, -INF}, {INF, INF}, -1.7320508075688772, hs7_f, hs7_c},
    {8, 2, 2, 0, {2, 1}, {-INF, -INF}, {INF, INF}, -1, hs8_f, hs8_c},
    {9, 2, 1, 0, {0, 0}, {-INF, -INF}, {INF, INF}, -0.5, hs9_f, hs9_c},
    {10, 2, 0, 1, {-10, 10}, {-INF, -INF}, {INF, INF}, -1, hs10_f, hs10_c},
    {11, 2, 0, 1, {4.9, 0.1}, {-INF, -INF}, {INF, INF}, -8.498464223, hs11_f, hs11_c},
    {12, 2, 0, 1, {0, 0}, {-INF, -INF}, {INF, INF}, -30, hs12_f, hs12_c},
    {14, 2, 1, 1, {2, 2}, {-INF, -INF}, {INF, INF}, 1.3934649806878849, hs14_f, hs14_c},
    {15, 2, 0, 2, {-2, 1}, {-INF, -INF}, {0.5, INF}, 306.5, hs_banana, hs15_c},
    {16, 2, 0, 2, {-2, 1}, {-2, -INF}, {0.5, 1}, 0.25, hs_banana, hs16_c},
    {17, 2, 0, 2, {-2, 1}, {-2, -INF}, {0.5, 1}, 1, hs_banana, hs17_c},
    {18, 2, 0, 2, {2, 2}, {2, 0}, {50, 50}, 5, hs18_f, hs18_c},
    {19, 2, 0, 2, {20.1, 5.84}, {13, 0}, {100, 100}, -6961.81381, hs19_f, hs19_c},
    {20, 2, 0, 3, {-2, 1}, {-0.5, -INF}, {0.5, INF}, 38.198729810778067, hs_banana, hs20_c},
    {21, 2, 0, 1, {-1, -1}, {2, -50}, {50, 50}, -99.96, hs21_f, hs21_c},
    {22, 2, 0, 2, {2, 2}, {-INF, -INF}, {INF, INF}, 1, hs22_f, hs22_c},
    {23, 2, 0, 5, {3, 1}, {-50, -50}, {50, 50}, 2, hs23_f, hs23_c},
    {24, 2, 0, 3, {1, 0.5}, {0, 0}, {INF, INF}, -1, hs24_f, hs24_c},
    {26, 3, 1, 0, {-2.6, 2, 2}, {-INF, -INF, -INF}, {INF, INF, INF}, 0, hs26_f, hs26_c},
    {27, 3, 1, 0, {2, 2, 2}, {-INF, -INF, -INF}, {INF, INF, INF}, 0.04, hs27_f, hs27_c},
    {28, 3, 1, 0, {-4, 1, 1}, {-INF, -INF, -INF}, {INF, INF, INF}, 0, hs28_f, hs28_c},
    {29, 3, 0, 1, {1, 1, 1}, {-INF, -INF, -INF}, {INF, INF, INF}, -22.627416997969522, hs29_f, hs29_c},
    {30, 3, 0, 1, {1, 1, 1}, {1, -10, -10}, {10, 10, 10}, 1, hs30_f, hs30_c},
    {31, 3, 0, 1, {1, 1, 1}, {-10, 1, -10}, {10, 10, 1}, 6, hs31_f, hs31_c},
    {32, 3, 1, 1, {0.1, 0.7, 0.2}, {0, 0, 0}, {INF, INF, INF}, 1, hs32_f, hs32_c},
    {33, 3, 0, 2, {0, 0, 3}, {0, 0, 0}, {INF, INF, 5}, -4.5857864376269049, hs33_f, hs33_c},
    {34, 3, 0, 2, {0, 1.05, 2.9}, {0, 0, 0}, {100, 100, 10}, -0.83403244524795494, hs34_f, hs34_c},
    {35, 3, 0, 1, {0.5, 0.5, 0.5}, {0, 0, 0}, {INF, INF, INF}, 1.0 / 9, hs35_f, hs35_c},
    {36, 3, 0, 1, {10, 10, 10}, {0, 0, 0}, {20, 11, 42}, -3300, hs36_f, hs36_c},
    {37, 3, 0, 2, {10, 10, 10}, {0, 0, 0}, {42, 42, 42}, -3456, hs37_f, hs37_c},
    {38, 4, 0, 0, {-3, -1, -3, -1}, {-10, -10, -10, -10}, {10, 10, 10, 10}, 0, hs38_f, NULL},
    {39, 4, 2, 0, {2, 2, 2, 2}, {-INF, -INF, -INF, -INF}, {INF, INF, INF, INF}, -1, hs39_f, hs39_c},
    {40, 4, 3, 0, {0.8, 0.8, 0.8, 0.8}, {-INF, -INF, -INF, -INF}, {INF, INF, INF, INF}, -0.25, hs40_f, hs40_c},
    {43, 4, 0, 3, {0, 0, 0, 0}, {-INF, -INF, -INF, -INF}, {INF, INF, INF, INF}, -44, hs43_f, hs43_c},
    {48, 5, 2, 0, {3, 5, -3, 2, -2}, {-INF, -INF, -INF, -INF, -INF}, {INF, INF, INF, INF, INF}, 0, hs48_f, hs48_c},
    {71, 4, 1, 1, {1, 5, 5, 1}, {1, 1, 1, 1}, {5, 5, 5, 5}, 17.0140172891, hs71_f, hs71_c},
    {76, 4, 0, 3, {0.5, 0.5, 0.5, 0.5}, {0, 0, 0, 0}, {INF, INF, INF, INF}, -4.6818181818, hs76_f, hs76_c},
    {100,
     7,
     0,
     4,
     {1, 2, 0, 4, 0, 1, 1},
     {-INF, -INF, -INF, -INF, -INF, -INF, -INF},
     {INF, INF, INF, INF, INF, INF, INF},
     680.6300573,
     hs100_f,
     hs100_c},
};
enum { HS_COUNT = sizeof hs_problems / sizeof *hs_problems };

/* Local minima, not global, that a method may reach from the given start. */
static inline bool hs_local_minimum(int number, double f) {
  static const double known[][2] = {{2, 4.94122932}, {16, 3.98206045}, {20, 40.1987298}, {33, -4}};
  for (size_t k = 0; k < sizeof known / sizeof *known; k++)
    if (number == (int)known[k][0] && fabs(f - known[k][1]) <= 1e-5 * (1 + fabs(known[k][1]))) return true;
  return false;
}

/* f and its gradient; the constraints and their Jacobian (rows: constraints). Results may be NULL. */
static inline void hs_eval(const hs_problem *p, const double *x, double *f, double *gradient, double *c,
                           double *jacobian) {
  hs_complex z[HS_VARIABLES] = {0}, w[HS_CONSTRAINTS] = {0};
  int rows = p->equalities + p->inequalities;
  for (int k = 0; k < p->n; k++) z[k] = x[k];
  if (f) *f = creal(p->f(z));
  if (c) p->c(z, w);
  for (int i = 0; c && i < rows; i++) c[i] = creal(w[i]);
  for (int k = 0; k < p->n; k++) {
    z[k] = x[k] + 1e-100 * (hs_complex)I;
    if (gradient) gradient[k] = cimag(p->f(z)) / 1e-100;
    if (jacobian) p->c(z, w);
    for (int i = 0; jacobian && i < rows; i++) jacobian[i * p->n + k] = cimag(w[i]) / 1e-100;
    z[k] = x[k];
  }
}

#endif
