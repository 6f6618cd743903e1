/* mgh_problems.c: the problems of tests/c/mgh.h as a shared library, for minimizers of other languages: solved.py. */
#include "../c/mgh.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT int count(void);
EXPORT const char *name(int k);
EXPORT int unknowns(int k);
EXPORT void start(int k, double *x);
EXPORT double value(int k, const double *x);
EXPORT void gradient(int k, const double *x, double *g);
EXPORT void hessian(int k, const double *x, double *h);

int count(void) { return MGH_COUNT; }
const char *name(int k) { return mgh_problems[k].name; }
int unknowns(int k) { return mgh_problems[k].n; }
void start(int k, double *x) { mgh_problems[k].start(x); }
double value(int k, const double *x) { return mgh_f(&mgh_problems[k], x, NULL); }
void gradient(int k, const double *x, double *g) { mgh_f(&mgh_problems[k], x, g); }
void hessian(int k, const double *x, double *h) { mgh_hessian(&mgh_problems[k], x, h); }
