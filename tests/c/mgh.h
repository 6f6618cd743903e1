/* mgh.h: test problems of J. J. More, B. S. Garbow, K. E. Hillstrom (1981), "Testing unconstrained optimization
 * software", ACM TOMS 7, from their definitions there, as residuals with Jacobians by hand; f is the sum of squares.
 * The number is the paper's. Jacobians are row-major, m x n, zeroed before the call. */
#ifndef MGH_H
#define MGH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { MGH_MAX = 64 };

typedef struct mgh_problem {
  int number;
  const char *name;
  int n, m;
  double minimum; /* the global one, or the one that good methods reach from x0; the paper's digits */
  void (*start)(double *x);
  void (*residual)(const double *x, double *r);
  void (*jacobian)(const double *x, double *j);
} mgh_problem;

#define MGH_START(name, ...)                                                                                           \
  static inline void name##_start(double *x) {                                                                         \
    static const double at[] = {__VA_ARGS__};                                                                          \
    memcpy(x, at, sizeof at);                                                                                          \
  }

MGH_START(rosenbrock, -1.2, 1)
static inline void rosenbrock_residual(const double *x, double *r) {
  r[0] = 10 * (x[1] - x[0] * x[0]);
  r[1] = 1 - x[0];
}
static inline void rosenbrock_jacobian(const double *x, double *j) { j[0] = -20 * x[0], j[1] = 10, j[2] = -1; }

MGH_START(freudenstein, 0.5, -2)
static inline void freudenstein_residual(const double *x, double *r) {
  r[0] = -13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1];
  r[1] = -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1];
}
static inline void freudenstein_jacobian(const double *x, double *j) {
  j[0] = 1, j[1] = 10 * x[1] - 3 * x[1] * x[1] - 2, j[2] = 1, j[3] = 3 * x[1] * x[1] + 2 * x[1] - 14;
}

MGH_START(powell_bad, 0, 1)
static inline void powell_bad_residual(const double *x, double *r) {
  r[0] = 1e4 * x[0] * x[1] - 1;
  r[1] = exp(-x[0]) + exp(-x[1]) - 1.0001;
}
static inline void powell_bad_jacobian(const double *x, double *j) {
  j[0] = 1e4 * x[1], j[1] = 1e4 * x[0], j[2] = -exp(-x[0]), j[3] = -exp(-x[1]);
}

MGH_START(brown_bad, 1, 1)
static inline void brown_bad_residual(const double *x, double *r) {
  r[0] = x[0] - 1e6, r[1] = x[1] - 2e-6, r[2] = x[0] * x[1] - 2;
}
static inline void brown_bad_jacobian(const double *x, double *j) { j[0] = 1, j[3] = 1, j[4] = x[1], j[5] = x[0]; }

MGH_START(beale, 1, 1)
static inline void beale_residual(const double *x, double *r) {
  r[0] = 1.5 - x[0] * (1 - x[1]);
  r[1] = 2.25 - x[0] * (1 - pow(x[1], 2));
  r[2] = 2.625 - x[0] * (1 - pow(x[1], 3));
}
static inline void beale_jacobian(const double *x, double *j) {
  for (int i = 0; i < 3; i++) j[2 * i] = pow(x[1], i + 1) - 1, j[2 * i + 1] = x[0] * (i + 1) * pow(x[1], i);
}

MGH_START(jennrich, 0.3, 0.4)
static inline void jennrich_residual(const double *x, double *r) {
  for (int i = 1; i <= 10; i++) r[i - 1] = 2 + 2 * i - (exp(i * x[0]) + exp(i * x[1]));
}
static inline void jennrich_jacobian(const double *x, double *j) {
  for (int i = 1; i <= 10; i++) j[2 * i - 2] = -i * exp(i * x[0]), j[2 * i - 1] = -i * exp(i * x[1]);
}

MGH_START(helical, -1, 0, 0)
static inline void helical_residual(const double *x, double *r) {
  double turn = atan2(x[1], x[0]) / (2 * 3.14159265358979323846);
  if (turn < -0.25) turn += 1; /* the paper's branch: -1/4 < theta < 3/4 */
  r[0] = 10 * (x[2] - 10 * turn), r[1] = 10 * (hypot(x[0], x[1]) - 1), r[2] = x[2];
}
static inline void helical_jacobian(const double *x, double *j) {
  double square = x[0] * x[0] + x[1] * x[1], length = sqrt(square), c = 100 / (2 * 3.14159265358979323846 * square);
  j[0] = c * x[1], j[1] = -c * x[0], j[2] = 10;
  j[3] = 10 * x[0] / length, j[4] = 10 * x[1] / length, j[8] = 1;
}

static const double bard_y[15] = {0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39,
                                  0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39};
MGH_START(bard, 1, 1, 1)
static inline void bard_residual(const double *x, double *r) {
  for (int i = 1; i <= 15; i++) {
    int v = 16 - i, w = i < v ? i : v;
    r[i - 1] = bard_y[i - 1] - (x[0] + i / (v * x[1] + w * x[2]));
  }
}
static inline void bard_jacobian(const double *x, double *j) {
  for (int i = 1; i <= 15; i++) {
    int v = 16 - i, w = i < v ? i : v;
    double d = v * x[1] + w * x[2], *row = j + 3 * (i - 1);
    row[0] = -1, row[1] = i * v / (d * d), row[2] = i * w / (d * d);
  }
}

static const double gaussian_y[15] = {0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989,
                                      0.3521, 0.2420, 0.1295, 0.0540, 0.0175, 0.0044, 0.0009};
MGH_START(gaussian, 0.4, 1, 0)
static inline void gaussian_residual(const double *x, double *r) {
  for (int i = 0; i < 15; i++) {
    double t = (7 - i) / 2.0;
    r[i] = x[0] * exp(-x[1] * (t - x[2]) * (t - x[2]) / 2) - gaussian_y[i];
  }
}
static inline void gaussian_jacobian(const double *x, double *j) {
  for (int i = 0; i < 15; i++) {
    double t = (7 - i) / 2.0, d = t - x[2], e = exp(-x[1] * d * d / 2), *row = j + 3 * i;
    row[0] = e, row[1] = -x[0] * e * d * d / 2, row[2] = x[0] * e * x[1] * d;
  }
}

static const double meyer_y[16] = {34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744,
                                   8261,  7030,  6005,  5147,  4427,  3820,  3307,  2872};
MGH_START(meyer, 0.02, 4000, 250)
static inline void meyer_residual(const double *x, double *r) {
  for (int i = 0; i < 16; i++) r[i] = x[0] * exp(x[1] / (50 + 5 * i + x[2])) - meyer_y[i];
}
static inline void meyer_jacobian(const double *x, double *j) {
  for (int i = 0; i < 16; i++) {
    double d = 50 + 5 * i + x[2], e = exp(x[1] / d), *row = j + 3 * i;
    row[0] = e, row[1] = x[0] * e / d, row[2] = -x[0] * e * x[1] / (d * d);
  }
}

MGH_START(gulf, 5, 2.5, 0.15)
static inline void gulf_residual(const double *x, double *r) {
  for (int i = 1; i <= 10; i++) {
    double t = i / 100.0, y = 25 + pow(-50 * log(t), 2.0 / 3);
    r[i - 1] = exp(-pow(fabs(y - x[1]), x[2]) / x[0]) - t;
  }
}
static inline void gulf_jacobian(const double *x, double *j) {
  for (int i = 1; i <= 10; i++) {
    double t = i / 100.0, y = 25 + pow(-50 * log(t), 2.0 / 3), d = y - x[1], a = fabs(d), p = pow(a, x[2]);
    double e = exp(-p / x[0]), *row = j + 3 * (i - 1);
    row[0] = e * p / (x[0] * x[0]), row[1] = e * x[2] * p / a * copysign(1, d) / x[0], row[2] = -e * p * log(a) / x[0];
  }
}

MGH_START(box, 0, 10, 20)
static inline void box_residual(const double *x, double *r) {
  for (int i = 1; i <= 10; i++) {
    double t = i / 10.0;
    r[i - 1] = exp(-t * x[0]) - exp(-t * x[1]) - x[2] * (exp(-t) - exp(-10 * t));
  }
}
static inline void box_jacobian(const double *x, double *j) {
  for (int i = 1; i <= 10; i++) {
    double t = i / 10.0, *row = j + 3 * (i - 1);
    row[0] = -t * exp(-t * x[0]), row[1] = t * exp(-t * x[1]), row[2] = -(exp(-t) - exp(-10 * t));
  }
}

static inline void singular_block(const double *x, double *r) {
  r[0] = x[0] + 10 * x[1], r[1] = sqrt(5) * (x[2] - x[3]);
  r[2] = pow(x[1] - 2 * x[2], 2), r[3] = sqrt(10) * pow(x[0] - x[3], 2);
}
/* the block's entries at column `at` of rows with n entries */
static inline void singular_block_jacobian(const double *x, double *j, int n, int at) {
  double a = 2 * (x[1] - 2 * x[2]), b = 2 * sqrt(10) * (x[0] - x[3]);
  j[at] = 1, j[at + 1] = 10;
  j[n + at + 2] = sqrt(5), j[n + at + 3] = -sqrt(5);
  j[2 * n + at + 1] = a, j[2 * n + at + 2] = -2 * a;
  j[3 * n + at] = b, j[3 * n + at + 3] = -b;
}
MGH_START(singular, 3, -1, 0, 1)
static inline void singular_residual(const double *x, double *r) { singular_block(x, r); }
static inline void singular_jacobian(const double *x, double *j) { singular_block_jacobian(x, j, 4, 0); }

MGH_START(wood, -3, -1, -3, -1)
static inline void wood_residual(const double *x, double *r) {
  r[0] = 10 * (x[1] - x[0] * x[0]), r[1] = 1 - x[0], r[2] = sqrt(90) * (x[3] - x[2] * x[2]), r[3] = 1 - x[2];
  r[4] = sqrt(10) * (x[1] + x[3] - 2), r[5] = (x[1] - x[3]) / sqrt(10);
}
static inline void wood_jacobian(const double *x, double *j) {
  j[0] = -20 * x[0], j[1] = 10, j[4] = -1, j[10] = -2 * sqrt(90) * x[2], j[11] = sqrt(90), j[14] = -1;
  j[17] = sqrt(10), j[19] = sqrt(10), j[21] = 1 / sqrt(10), j[23] = -1 / sqrt(10);
}

static const double kowalik_y[11] = {0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627,
                                     0.0456, 0.0342, 0.0323, 0.0235, 0.0246};
static const double kowalik_u[11] = {4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625};
MGH_START(kowalik, 0.25, 0.39, 0.415, 0.39)
static inline void kowalik_residual(const double *x, double *r) {
  for (int i = 0; i < 11; i++) {
    double u = kowalik_u[i];
    r[i] = kowalik_y[i] - x[0] * (u * u + u * x[1]) / (u * u + u * x[2] + x[3]);
  }
}
static inline void kowalik_jacobian(const double *x, double *j) {
  for (int i = 0; i < 11; i++) {
    double u = kowalik_u[i], top = u * u + u * x[1], d = u * u + u * x[2] + x[3], *row = j + 4 * i;
    row[0] = -top / d, row[1] = -x[0] * u / d, row[2] = x[0] * top * u / (d * d), row[3] = x[0] * top / (d * d);
  }
}

MGH_START(brown_dennis, 25, 5, -5, -1)
static inline void brown_dennis_residual(const double *x, double *r) {
  for (int i = 1; i <= 20; i++) {
    double t = i / 5.0, a = x[0] + t * x[1] - exp(t), b = x[2] + x[3] * sin(t) - cos(t);
    r[i - 1] = a * a + b * b;
  }
}
static inline void brown_dennis_jacobian(const double *x, double *j) {
  for (int i = 1; i <= 20; i++) {
    double t = i / 5.0, a = x[0] + t * x[1] - exp(t), b = x[2] + x[3] * sin(t) - cos(t), *row = j + 4 * (i - 1);
    row[0] = 2 * a, row[1] = 2 * a * t, row[2] = 2 * b, row[3] = 2 * b * sin(t);
  }
}

/* y(i) at t = 10 i */
static const double osborne_y[33] = {0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751,
                                     0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490,
                                     0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406};
MGH_START(osborne, 0.5, 1.5, -1, 0.01, 0.02)
static inline void osborne_residual(const double *x, double *r) {
  for (int i = 0; i < 33; i++) r[i] = osborne_y[i] - (x[0] + x[1] * exp(-10 * i * x[3]) + x[2] * exp(-10 * i * x[4]));
}
static inline void osborne_jacobian(const double *x, double *j) {
  for (int i = 0; i < 33; i++) {
    double t = 10.0 * i, a = exp(-t * x[3]), b = exp(-t * x[4]), *row = j + 5 * i;
    row[0] = -1, row[1] = -a, row[2] = -b, row[3] = t * x[1] * a, row[4] = t * x[2] * b;
  }
}

MGH_START(biggs, 1, 2, 1, 1, 1, 1)
static inline void biggs_residual(const double *x, double *r) {
  for (int i = 1; i <= 13; i++) {
    double t = i / 10.0, y = exp(-t) - 5 * exp(-10 * t) + 3 * exp(-4 * t);
    r[i - 1] = x[2] * exp(-t * x[0]) - x[3] * exp(-t * x[1]) + x[5] * exp(-t * x[4]) - y;
  }
}
static inline void biggs_jacobian(const double *x, double *j) {
  for (int i = 1; i <= 13; i++) {
    double t = i / 10.0, a = exp(-t * x[0]), b = exp(-t * x[1]), c = exp(-t * x[4]), *row = j + 6 * (i - 1);
    row[0] = -t * x[2] * a, row[1] = t * x[3] * b, row[2] = a, row[3] = -b, row[4] = -t * x[5] * c, row[5] = c;
  }
}

MGH_START(watson, 0, 0, 0, 0, 0, 0)
static inline void watson_residual(const double *x, double *r) {
  for (int i = 1; i <= 29; i++) {
    double t = i / 29.0, slope = 0, value = 0;
    for (int k = 0; k < 6; k++) value += x[k] * pow(t, k), slope += k > 0 ? k * x[k] * pow(t, k - 1) : 0;
    r[i - 1] = slope - value * value - 1;
  }
  r[29] = x[0], r[30] = x[1] - x[0] * x[0] - 1;
}
static inline void watson_jacobian(const double *x, double *j) {
  for (int i = 1; i <= 29; i++) {
    double t = i / 29.0, value = 0, *row = j + 6 * (i - 1);
    for (int k = 0; k < 6; k++) value += x[k] * pow(t, k);
    for (int k = 0; k < 6; k++) row[k] = (k > 0 ? k * pow(t, k - 1) : 0) - 2 * value * pow(t, k);
  }
  j[29 * 6] = 1, j[30 * 6] = -2 * x[0], j[30 * 6 + 1] = 1;
}

MGH_START(rosenbrock_10, -1.2, 1, -1.2, 1, -1.2, 1, -1.2, 1, -1.2, 1)
static inline void rosenbrock_10_residual(const double *x, double *r) {
  for (int i = 0; i < 10; i += 2) rosenbrock_residual(x + i, r + i);
}
static inline void rosenbrock_10_jacobian(const double *x, double *j) {
  for (int i = 0; i < 10; i += 2) j[11 * i] = -20 * x[i], j[11 * i + 1] = 10, j[11 * i + 10] = -1;
}

MGH_START(singular_8, 3, -1, 0, 1, 3, -1, 0, 1)
static inline void singular_8_residual(const double *x, double *r) {
  singular_block(x, r), singular_block(x + 4, r + 4);
}
static inline void singular_8_jacobian(const double *x, double *j) {
  singular_block_jacobian(x, j, 8, 0), singular_block_jacobian(x + 4, j + 32, 8, 4);
}

MGH_START(penalty, 1, 2, 3, 4)
static inline void penalty_residual(const double *x, double *r) {
  r[4] = -0.25;
  for (int i = 0; i < 4; i++) r[i] = sqrt(1e-5) * (x[i] - 1), r[4] += x[i] * x[i];
}
static inline void penalty_jacobian(const double *x, double *j) {
  for (int i = 0; i < 4; i++) j[4 * i + i] = sqrt(1e-5), j[16 + i] = 2 * x[i];
}

MGH_START(penalty_2, 0.5, 0.5, 0.5, 0.5)
static inline void penalty_2_residual(const double *x, double *r) {
  double a = sqrt(1e-5);
  r[0] = x[0] - 0.2, r[7] = -1;
  for (int i = 2; i <= 4; i++)
    r[i - 1] = a * (exp(x[i - 1] / 10) + exp(x[i - 2] / 10) - exp(i / 10.0) - exp((i - 1) / 10.0));
  for (int i = 5; i <= 7; i++) r[i - 1] = a * (exp(x[i - 4] / 10) - exp(-0.1));
  for (int i = 1; i <= 4; i++) r[7] += (5 - i) * x[i - 1] * x[i - 1];
}
static inline void penalty_2_jacobian(const double *x, double *j) {
  double a = sqrt(1e-5) / 10;
  j[0] = 1;
  for (int i = 2; i <= 4; i++)
    j[4 * (i - 1) + i - 1] = a * exp(x[i - 1] / 10), j[4 * (i - 1) + i - 2] = a * exp(x[i - 2] / 10);
  for (int i = 5; i <= 7; i++) j[4 * (i - 1) + i - 4] = a * exp(x[i - 4] / 10);
  for (int i = 1; i <= 4; i++) j[28 + i - 1] = 2 * (5 - i) * x[i - 1];
}

static inline void variably_start(double *x) {
  for (int i = 0; i < 10; i++) x[i] = 1 - (i + 1) / 10.0;
}
static inline void variably_residual(const double *x, double *r) {
  double sum = 0;
  for (int i = 0; i < 10; i++) r[i] = x[i] - 1, sum += (i + 1) * (x[i] - 1);
  r[10] = sum, r[11] = sum * sum;
}
static inline void variably_jacobian(const double *x, double *j) {
  double sum = 0;
  for (int i = 0; i < 10; i++) sum += (i + 1) * (x[i] - 1);
  for (int i = 0; i < 10; i++) j[11 * i] = 1, j[100 + i] = i + 1, j[110 + i] = 2 * sum * (i + 1);
}

static inline void trigonometric_start(double *x) {
  for (int i = 0; i < 10; i++) x[i] = 0.1;
}
static inline void trigonometric_residual(const double *x, double *r) {
  double sum = 0;
  for (int i = 0; i < 10; i++) sum += cos(x[i]);
  for (int i = 0; i < 10; i++) r[i] = 10 - sum + (i + 1) * (1 - cos(x[i])) - sin(x[i]);
}
static inline void trigonometric_jacobian(const double *x, double *j) {
  for (int i = 0; i < 10; i++) {
    for (int k = 0; k < 10; k++) j[10 * i + k] = sin(x[k]);
    j[11 * i] += (i + 1) * sin(x[i]) - cos(x[i]);
  }
}

static inline void almost_linear_start(double *x) {
  for (int i = 0; i < 10; i++) x[i] = 0.5;
}
static inline void almost_linear_residual(const double *x, double *r) {
  double sum = 0, product = 1;
  for (int i = 0; i < 10; i++) sum += x[i], product *= x[i];
  for (int i = 0; i < 9; i++) r[i] = x[i] + sum - 11;
  r[9] = product - 1;
}
static inline void almost_linear_jacobian(const double *x, double *j) {
  for (int i = 0; i < 10; i++)
    for (int k = 0; k < 10; k++) j[10 * i + k] = i < 9 ? 1 + (i == k) : 1;
  for (int k = 0; k < 10; k++)
    for (int i = 0; i < 10; i++) j[90 + k] *= i == k ? 1 : x[i];
}

static inline void boundary_start(double *x) {
  for (int i = 1; i <= 10; i++) x[i - 1] = i / 11.0 * (i / 11.0 - 1);
}
static inline void boundary_residual(const double *x, double *r) {
  double h = 1 / 11.0;
  for (int i = 0; i < 10; i++) {
    double before = i > 0 ? x[i - 1] : 0, after = i < 9 ? x[i + 1] : 0;
    r[i] = 2 * x[i] - before - after + h * h * pow(x[i] + (i + 1) * h + 1, 3) / 2;
  }
}
static inline void boundary_jacobian(const double *x, double *j) {
  double h = 1 / 11.0;
  for (int i = 0; i < 10; i++) {
    j[11 * i] = 2 + 1.5 * h * h * pow(x[i] + (i + 1) * h + 1, 2);
    if (i > 0) j[11 * i - 1] = -1;
    if (i < 9) j[11 * i + 1] = -1;
  }
}

static inline void integral_residual(const double *x, double *r) {
  double h = 1 / 11.0;
  for (int i = 1; i <= 10; i++) {
    double t = i * h, low = 0, high = 0;
    for (int k = 1; k <= i; k++) low += k * h * pow(x[k - 1] + k * h + 1, 3);
    for (int k = i + 1; k <= 10; k++) high += (1 - k * h) * pow(x[k - 1] + k * h + 1, 3);
    r[i - 1] = x[i - 1] + h * ((1 - t) * low + t * high) / 2;
  }
}
static inline void integral_jacobian(const double *x, double *j) {
  double h = 1 / 11.0;
  for (int i = 1; i <= 10; i++)
    for (int k = 1; k <= 10; k++) {
      double t = i * h, s = k * h, d = 3 * pow(x[k - 1] + s + 1, 2);
      j[10 * (i - 1) + k - 1] = (i == k) + h / 2 * (k <= i ? (1 - t) * s : t * (1 - s)) * d;
    }
}

static inline void minus_ones_start(double *x) {
  for (int i = 0; i < 10; i++) x[i] = -1;
}
static inline void tridiagonal_residual(const double *x, double *r) {
  for (int i = 0; i < 10; i++) r[i] = (3 - 2 * x[i]) * x[i] - (i > 0 ? x[i - 1] : 0) - 2 * (i < 9 ? x[i + 1] : 0) + 1;
}
static inline void tridiagonal_jacobian(const double *x, double *j) {
  for (int i = 0; i < 10; i++) {
    j[11 * i] = 3 - 4 * x[i];
    if (i > 0) j[11 * i - 1] = -1;
    if (i < 9) j[11 * i + 1] = -2;
  }
}

static inline void banded_residual(const double *x, double *r) {
  for (int i = 0; i < 10; i++) {
    r[i] = x[i] * (2 + 5 * x[i] * x[i]) + 1;
    for (int k = i > 5 ? i - 5 : 0; k <= (i < 9 ? i + 1 : 9); k++)
      if (k != i) r[i] -= x[k] * (1 + x[k]);
  }
}
static inline void banded_jacobian(const double *x, double *j) {
  for (int i = 0; i < 10; i++) {
    for (int k = i > 5 ? i - 5 : 0; k <= (i < 9 ? i + 1 : 9); k++) j[10 * i + k] = -1 - 2 * x[k];
    j[11 * i] = 2 + 15 * x[i] * x[i];
  }
}

static inline void ones_start(double *x) {
  for (int i = 0; i < 10; i++) x[i] = 1;
}
static inline void linear_residual(const double *x, double *r) {
  double sum = 0;
  for (int i = 0; i < 10; i++) sum += x[i];
  for (int i = 0; i < 20; i++) r[i] = (i < 10 ? x[i] : 0) - sum / 10 - 1;
}
static inline void linear_jacobian(const double *x, double *j) {
  (void)x;
  for (int i = 0; i < 20; i++)
    for (int k = 0; k < 10; k++) j[10 * i + k] = (i == k) - 0.1;
}

static inline void linear_rank_1_residual(const double *x, double *r) {
  double sum = 0;
  for (int k = 0; k < 10; k++) sum += (k + 1) * x[k];
  for (int i = 0; i < 20; i++) r[i] = (i + 1) * sum - 1;
}
static inline void linear_rank_1_jacobian(const double *x, double *j) {
  (void)x;
  for (int i = 0; i < 20; i++)
    for (int k = 0; k < 10; k++) j[10 * i + k] = (i + 1) * (k + 1);
}

static inline void chebyquad_start(double *x) {
  for (int i = 0; i < 8; i++) x[i] = (i + 1) / 9.0;
}
static inline void chebyquad_residual(const double *x, double *r) {
  for (int i = 1; i <= 8; i++) r[i - 1] = i % 2 == 0 ? 1.0 / (i * i - 1) : 0;
  for (int k = 0; k < 8; k++) {
    double t = 2 * x[k] - 1, a = 1, b = t;
    for (int i = 1; i <= 8; i++) {
      double next = 2 * t * b - a;
      r[i - 1] += b / 8, a = b, b = next;
    }
  }
}
static inline void chebyquad_jacobian(const double *x, double *j) {
  for (int k = 0; k < 8; k++) {
    double t = 2 * x[k] - 1, a = 1, b = t, da = 0, db = 2;
    for (int i = 1; i <= 8; i++) {
      double next = 2 * t * b - a, dnext = 4 * b + 2 * t * db - da;
      j[8 * (i - 1) + k] = db / 8, a = b, b = next, da = db, db = dnext;
    }
  }
}

#define MGH(number, name, n, m, minimum)                                                                               \
  { number, #name, n, m, minimum, name##_start, name##_residual, name##_jacobian }
#define MGH_FROM(number, name, n, m, minimum, start)                                                                   \
  { number, #name, n, m, minimum, start, name##_residual, name##_jacobian }

static const mgh_problem mgh_problems[] = {
    MGH(1, rosenbrock, 2, 2, 0),
    MGH(2, freudenstein, 2, 2, 48.9842),
    MGH(3, powell_bad, 2, 2, 0),
    MGH(4, brown_bad, 2, 3, 0),
    MGH(5, beale, 2, 3, 0),
    MGH(6, jennrich, 2, 10, 124.362),
    MGH(7, helical, 3, 3, 0),
    MGH(8, bard, 3, 15, 8.21487e-3),
    MGH(9, gaussian, 3, 15, 1.12793e-8),
    MGH(10, meyer, 3, 16, 87.9458),
    MGH(11, gulf, 3, 10, 0),
    MGH(12, box, 3, 10, 0),
    MGH(13, singular, 4, 4, 0),
    MGH(14, wood, 4, 6, 0),
    MGH(15, kowalik, 4, 11, 3.07505e-4),
    MGH(16, brown_dennis, 4, 20, 85822.2),
    MGH(17, osborne, 5, 33, 5.46489e-5),
    MGH(18, biggs, 6, 13, 0),
    MGH(20, watson, 6, 31, 2.28767e-3),
    MGH(21, rosenbrock_10, 10, 10, 0),
    MGH(22, singular_8, 8, 8, 0),
    MGH(23, penalty, 4, 5, 2.24997e-5),
    MGH(24, penalty_2, 4, 8, 9.37629e-6),
    MGH(25, variably, 10, 12, 0),
    MGH(26, trigonometric, 10, 10, 0),
    MGH(27, almost_linear, 10, 10, 0),
    MGH(28, boundary, 10, 10, 0),
    MGH_FROM(29, integral, 10, 10, 0, boundary_start),
    MGH_FROM(30, tridiagonal, 10, 10, 0, minus_ones_start),
    MGH_FROM(31, banded, 10, 10, 0, minus_ones_start),
    MGH_FROM(32, linear, 10, 20, 10, ones_start),
    MGH_FROM(33, linear_rank_1, 10, 20, 4.634146341463414, ones_start),
    MGH(35, chebyquad, 8, 8, 3.51687e-3),
};
enum { MGH_COUNT = sizeof mgh_problems / sizeof *mgh_problems };

/* f and its gradient 2 J'r. */
static inline double mgh_f(const mgh_problem *p, const double *x, double *gradient) {
  double r[MGH_MAX] = {0}, j[MGH_MAX * 12] = {0}, f = 0;
  p->residual(x, r);
  for (int i = 0; i < p->m; i++) f += r[i] * r[i];
  if (!gradient) return f;
  p->jacobian(x, j);
  for (int k = 0; k < p->n; k++) {
    gradient[k] = 0;
    for (int i = 0; i < p->m; i++) gradient[k] += 2 * j[i * p->n + k] * r[i];
  }
  return f;
}

/* 2 (J'J + sum of r_i times the Hessian of r_i), the latter from central differences of J. */
static inline void mgh_hessian(const mgh_problem *p, const double *x, double *hessian) {
  double r[MGH_MAX] = {0}, j[MGH_MAX * 12] = {0}, y[MGH_MAX];
  p->residual(x, r), p->jacobian(x, j);
  for (int a = 0; a < p->n; a++)
    for (int b = 0; b < p->n; b++) {
      double sum = 0;
      for (int i = 0; i < p->m; i++) sum += j[i * p->n + a] * j[i * p->n + b];
      hessian[a * p->n + b] = 2 * sum;
    }
  for (int b = 0; b < p->n; b++) {
    double up[MGH_MAX * 12] = {0}, down[MGH_MAX * 12] = {0}, h = 1e-5 * fmax(1e-3, fabs(x[b]));
    memcpy(y, x, (size_t)p->n * sizeof *y);
    y[b] = x[b] + h, p->jacobian(y, up);
    y[b] = x[b] - h, p->jacobian(y, down);
    for (int a = 0; a < p->n; a++)
      for (int i = 0; i < p->m; i++) hessian[a * p->n + b] += r[i] * (up[i * p->n + a] - down[i * p->n + a]) / h;
  }
}

#endif
