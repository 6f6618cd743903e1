/* algebra_print.c: writing expressions as a person would: polynomial terms before those with calls, higher degrees
 * first, a positive term first where there is one, symbols before calls before sums in a product, fractions for
 * negative powers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fn/algebra.h"

/* Levels of binding, as in ops.def. */
enum { LEVEL_NONE = 0, LEVEL_SUM = 4, LEVEL_PRODUCT = 5, LEVEL_SIGN = 6, LEVEL_POWER = 7, LEVEL_CALL = 8 };

typedef struct printer {
  grad_algebra *a;
  bool latex;
  grad_text *out;
  grad_status status;
} printer;

static void print(printer *p, grad_expr x, int level);

static void put(printer *p, const char *text) {
  if (p->status == GRAD_OK) p->status = grad__text_add(p->out, "%s", text);
}

static const grad_expr_node *node(const printer *p, grad_expr x) { return &p->a->nodes[x]; }

/* --- numbers */

/* The shortest decimal of at most `most` digits that is as good as the double: within two units of its last place.
 * false when it takes more digits. */
static bool decimal(double value, int most, char *text, size_t size) {
  for (int digits = 1; digits <= most; digits++) {
    snprintf(text, size, "%.*g", digits, value);
    if (!(fabs(strtod(text, NULL) - value) > 4.5e-16 * fabs(value))) return true;
  }
  return false;
}

/* The fraction that a person writes for a number: halves, quarters, eighths; and p / q where no short decimal does.
 * Gives the numerator; denominator 1 when there is none. */
static double fraction(double value, int *denominator) {
  char text[40];
  const bool is_short = decimal(value, 6, text, sizeof text);
  *denominator = 1;
  for (int q = 2; q <= 9; q++) {
    const double numerator = rint(value * q);
    const bool unit = fabs(numerator) == 1 && (q == 2 || q == 4 || q == 8);
    if ((unit || !is_short) && numerator != 0 && fabs(numerator) < 1e6 && numerator / q == value) {
      *denominator = q;
      return numerator;
    }
  }
  return value;
}

static void put_number(printer *p, double value) {
  char text[40];
  decimal(value, 17, text, sizeof text);
  char *const exponent = strchr(text, 'e');
  if (exponent && isfinite(value) && fabs(value) < 1e15 && value == rint(value)) {
    snprintf(text, sizeof text, "%.0f", value);
  } else if (exponent && p->latex) {
    const int power = atoi(exponent + 1);
    *exponent = '\0';
    put(p, text);
    snprintf(text, sizeof text, " \\cdot 10^{%d}", power);
  }
  put(p, isinf(value) && p->latex ? (value < 0 ? "-\\infty" : "\\infty") : text);
}

/* --- order */

static int class_of(const grad_expr_node *e) {
  if (e->kind == GRAD_EXPR_NUMBER) return 0;
  if (e->kind == GRAD_EXPR_SYMBOL) return 1;
  return e->kind == GRAD_EXPR_CALL ? 2 : 3;
}

typedef struct piece {
  const printer *p;
  grad_expr expr;
  double weight;
} piece;

static int by_factor(const void *x, const void *y) {
  const piece *a = x, *b = y;
  const int ca = class_of(node(a->p, a->expr)), cb = class_of(node(b->p, b->expr));
  if (ca != cb) return ca - cb;
  return (a->expr > b->expr) - (a->expr < b->expr);
}

/* Of two terms of one degree the one with the higher power of the first symbol comes first. */
static double power_of(const printer *p, grad_expr term, grad_expr base) {
  const grad_expr_node *e = node(p, term);
  if (term == base) return 1;
  if (e->kind == GRAD_EXPR_PRODUCT)
    for (int32_t i = 0; i < e->n; i++)
      if (e->args[i] == base) return e->weight[i];
  return 0;
}

static int by_powers(const printer *p, grad_expr x, grad_expr y) {
  for (grad_expr s = 0; s < p->a->n; s++) {
    if (node(p, s)->kind != GRAD_EXPR_SYMBOL) continue;
    const double a = power_of(p, x, s), b = power_of(p, y, s);
    if (a != b) return a > b ? -1 : 1;
  }
  return 0;
}

static int by_term(const void *x, const void *y) {
  const piece *a = x, *b = y;
  const grad_expr_node *ea = node(a->p, a->expr), *eb = node(b->p, b->expr);
  if (ea->calls != eb->calls) return ea->calls ? 1 : -1;
  if (ea->degree != eb->degree) return ea->degree > eb->degree ? -1 : 1;
  const int powers = by_powers(a->p, a->expr, b->expr);
  return powers ? powers : (a->expr > b->expr) - (a->expr < b->expr);
}

/* The parts of a node in the order in which they are written; NULL on failure. */
static piece *ordered(printer *p, const grad_expr_node *e, int (*order)(const void *, const void *)) {
  piece *pieces = grad__arena_alloc(&p->a->arena, (size_t)(e->n + 1) * sizeof *pieces);
  if (!pieces) {
    p->status = p->a->ctx->status;
    return NULL;
  }
  for (int32_t i = 0; i < e->n; i++) pieces[i] = (piece){p, e->args[i], e->weight[i]};
  qsort(pieces, (size_t)e->n, sizeof *pieces, order);
  return pieces;
}

/* --- products */

static void print_power(printer *p, grad_expr base, double exponent, int level) {
  int q;
  const double numerator = fraction(exponent, &q);
  if (exponent == 1) {
    print(p, base, level);
  } else if (exponent == 0.5) {
    put(p, p->latex ? "\\sqrt{" : "sqrt(");
    print(p, base, LEVEL_NONE);
    put(p, p->latex ? "}" : ")");
  } else {
    if (p->latex) put(p, "{");
    print(p, base, LEVEL_CALL);
    put(p, p->latex ? "}^{" : q > 1 ? "^(" : "^");
    put_number(p, numerator);
    if (q > 1) {
      put(p, "/");
      put_number(p, q);
    }
    if (p->latex || q > 1) put(p, p->latex ? "}" : ")");
  }
}

/* The `count` factors with exponents of one sign, after `number` unless that is 1 and something follows. */
static void print_factors(printer *p, const piece *pieces, int32_t n, double sign, double number, int32_t count,
                          bool divides) {
  const char *times = p->latex ? " \\, " : "*";
  const bool alone = number == 1 && count == 1;
  const int level = alone && divides && p->latex ? LEVEL_NONE : LEVEL_SIGN;
  bool begun = number != 1 || count == 0;
  if (begun) put_number(p, number);
  for (int32_t i = 0; i < n; i++) {
    if (pieces[i].weight * sign < 0) continue;
    if (begun) put(p, times);
    print_power(p, pieces[i].expr, pieces[i].weight * sign, level);
    begun = true;
  }
}

/* weight (> 0) times a term that is no sum with a weight of its own. */
static void print_product(printer *p, double weight, grad_expr term) {
  const grad_expr_node *e = node(p, term);
  const bool product = e->kind == GRAD_EXPR_PRODUCT, one = e->kind == GRAD_EXPR_NUMBER;
  piece single = {p, term, 1}, *pieces = product ? ordered(p, e, by_factor) : &single;
  const int32_t n = product ? e->n : !one;
  int32_t above = 0, below = 0;
  int q;
  if (!pieces) return;
  const double numerator = fraction(one ? weight * e->number : weight, &q);
  for (int32_t i = 0; i < n; i++) *(pieces[i].weight > 0 ? &above : &below) += 1;
  const bool divides = below > 0 || q > 1, many = below + (q > 1) > 1;
  if (divides && p->latex) put(p, "\\frac{");
  print_factors(p, pieces, n, 1, numerator, above, divides);
  if (!divides) return;
  put(p, p->latex ? "}{" : many ? "/(" : "/");
  print_factors(p, pieces, n, -1, q, below, divides);
  if (p->latex || many) put(p, p->latex ? "}" : ")");
}

/* --- sums */

/* A positive term is moved to the front when the first one is negative. */
static void positive_first(piece *pieces, int32_t n) {
  int32_t k = 0;
  while (k < n && pieces[k].weight < 0) k++;
  if (k == n) return;
  const piece first = pieces[k];
  memmove(pieces + 1, pieces, (size_t)k * sizeof *pieces);
  pieces[0] = first;
}

static void print_sum(printer *p, const grad_expr_node *e) {
  piece *pieces = ordered(p, e, by_term);
  if (!pieces) return;
  positive_first(pieces, e->n);
  for (int32_t i = 0; i < e->n; i++) {
    const bool negative = pieces[i].weight < 0;
    if (i > 0)
      put(p, negative ? " - " : " + ");
    else if (negative)
      put(p, "-");
    print_product(p, fabs(pieces[i].weight), pieces[i].expr);
  }
}

/* --- calls */

static void print_call(printer *p, const grad_expr_node *e) {
  const char *text = p->latex ? e->notation->latex : e->notation->text;
  if (!strchr(text, '$')) {
    put(p, text);
    put(p, p->latex ? "\\left(" : "(");
    for (int32_t i = 0; i < e->n; i++) {
      if (i > 0) put(p, ", ");
      print(p, e->args[i], LEVEL_NONE);
    }
    put(p, p->latex ? "\\right)" : ")");
    return;
  }
  while (*text) {
    const size_t plain = strcspn(text, "$");
    if (p->status == GRAD_OK) p->status = grad__text_add(p->out, "%.*s", (int)plain, text);
    text += plain;
    if (!*text) return;
    const int operand = text[1] - 'a';
    const bool levelled = text[2] >= '0' && text[2] <= '9';
    print(p, e->args[operand], levelled ? text[2] - '0' : LEVEL_NONE);
    text += levelled ? 3 : 2;
  }
}

/* --- any expression */

static bool is_fraction(double value) {
  int q;
  fraction(value, &q);
  return q > 1;
}

static int level_of(const printer *p, const grad_expr_node *e) {
  switch (e->kind) {
  case GRAD_EXPR_NUMBER:
    return e->number < 0 ? LEVEL_SUM : is_fraction(e->number) ? LEVEL_PRODUCT : LEVEL_CALL;
  case GRAD_EXPR_SYMBOL:
    return LEVEL_CALL;
  case GRAD_EXPR_SUM:
    return e->n > 1 || e->weight[0] < 0 ? LEVEL_SUM : LEVEL_PRODUCT;
  case GRAD_EXPR_CALL:
    return e->notation->level;
  case GRAD_EXPR_PRODUCT:
    break;
  }
  if (e->n > 1 || e->weight[0] < 0) return p->latex && e->n == 1 ? LEVEL_CALL : LEVEL_PRODUCT;
  return e->weight[0] == 0.5 ? LEVEL_CALL : LEVEL_POWER;
}

static void print(printer *p, grad_expr x, int level) {
  const grad_expr_node *e = node(p, x);
  if (e->kind == GRAD_EXPR_CALL && strcmp(e->notation->text, "$a") == 0) { /* written as its operand */
    print(p, e->args[0], level);
    return;
  }
  const bool wrapped = level_of(p, e) < level;
  if (wrapped) put(p, p->latex ? "\\left(" : "(");
  if (e->kind == GRAD_EXPR_NUMBER && e->number < 0) {
    put(p, "-");
    put_number(p, -e->number);
  } else if (e->kind == GRAD_EXPR_NUMBER || e->kind == GRAD_EXPR_PRODUCT) {
    print_product(p, 1, x);
  } else if (e->kind == GRAD_EXPR_SYMBOL) {
    put(p, p->latex ? e->notation->latex : e->notation->text);
  } else if (e->kind == GRAD_EXPR_SUM) {
    print_sum(p, e);
  } else {
    print_call(p, e);
  }
  if (wrapped) put(p, p->latex ? "\\right)" : ")");
}

grad_status grad__expr_print(grad_algebra *a, grad_expr x, bool latex, grad_text *out) {
  printer p = {.a = a, .latex = latex, .out = out, .status = a->status};
  print(&p, x, LEVEL_NONE);
  return p.status;
}
