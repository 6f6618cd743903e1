/* algebra.c: building expressions in normal form; see algebra.h. */
#include "fn/algebra.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ZERO, ONE, FIRST_NODES = 64 };

static grad_expr fail(grad_algebra *a) {
  if (a->status == GRAD_OK) a->status = a->ctx->status;
  return ZERO;
}

/* --- nodes, shared */

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash ^= value;
  hash *= UINT64_C(0x9E3779B97F4A7C15);
  return hash ^ hash >> 29;
}

static uint64_t hash_of(const grad_expr_node *e) {
  uint64_t hash = mix(mix((uint64_t)e->kind + 1, (uint64_t)grad__bits(e->number)), (uint64_t)(uintptr_t)e->notation);
  for (int32_t i = 0; i < e->n; i++) {
    hash = mix(hash, (uint64_t)e->args[i]);
    if (e->weight) hash = mix(hash, (uint64_t)grad__bits(e->weight[i]));
  }
  return hash;
}

static bool same(const grad_expr_node *x, const grad_expr_node *y) {
  return x->kind == y->kind && x->n == y->n && x->notation == y->notation &&
         !memcmp(&x->number, &y->number, sizeof x->number) &&
         (x->n == 0 || (!memcmp(x->args, y->args, (size_t)x->n * sizeof *x->args) &&
                        (!x->weight || !memcmp(x->weight, y->weight, (size_t)x->n * sizeof *x->weight))));
}

static int32_t *slot_of(const grad_algebra *a, const grad_expr_node *e) {
  const uint64_t mask = (uint64_t)a->table_cap - 1;
  uint64_t at = hash_of(e) & mask;
  while (a->table[at] && !same(&a->nodes[a->table[at] - 1], e)) at = (at + 1) & mask;
  return &a->table[at];
}

/* Room for one more node: the nodes double, the table has four slots a node. */
static bool grow(grad_algebra *a) {
  if (a->n < a->cap) return true;
  const int32_t cap = a->cap ? 2 * a->cap : FIRST_NODES, table_cap = 4 * cap;
  int32_t *table = grad__alloc(a->ctx, (size_t)table_cap * sizeof *table);
  if (!table) return false;
  grad_expr_node *nodes = grad__realloc(a->ctx, a->nodes, (size_t)a->cap * sizeof *nodes, (size_t)cap * sizeof *nodes);
  if (!nodes) {
    grad__free(a->ctx, table, (size_t)table_cap * sizeof *table);
    return false;
  }
  grad__free(a->ctx, a->table, (size_t)a->table_cap * sizeof *table);
  memset(table, 0, (size_t)table_cap * sizeof *table);
  a->nodes = nodes;
  a->table = table;
  a->table_cap = table_cap;
  a->cap = cap;
  for (int32_t i = 0; i < a->n; i++) *slot_of(a, &a->nodes[i]) = i + 1;
  return true;
}

/* What an expression knows of its parts. */
static void measure(const grad_algebra *a, grad_expr_node *e) {
  e->calls = e->kind == GRAD_EXPR_CALL;
  e->degree = e->kind == GRAD_EXPR_SYMBOL;
  for (int32_t i = 0; i < e->n; i++) {
    const grad_expr_node *part = &a->nodes[e->args[i]];
    e->calls = e->calls || part->calls;
    if (e->kind == GRAD_EXPR_PRODUCT) e->degree += part->degree * e->weight[i];
    if (e->kind == GRAD_EXPR_SUM) e->degree = i ? fmax(e->degree, part->degree) : part->degree;
  }
}

/* The one node that equals e, whose lists are copied when it is new. */
static grad_expr share(grad_algebra *a, const grad_expr_node *e) {
  if (a->status != GRAD_OK) return ZERO;
  if (!grow(a)) return fail(a);
  int32_t *slot = slot_of(a, e);
  if (*slot) return *slot - 1;
  grad_expr_node node = *e;
  if (e->n > 0) node.args = grad__arena_copy(&a->arena, e->args, (size_t)e->n * sizeof *e->args);
  if (e->n > 0 && e->weight) node.weight = grad__arena_copy(&a->arena, e->weight, (size_t)e->n * sizeof *e->weight);
  if (e->n > 0 && (!node.args || (e->weight && !node.weight))) return fail(a);
  measure(a, &node);
  a->nodes[a->n] = node;
  *slot = ++a->n;
  return a->n - 1;
}

grad_status grad__algebra_init(grad_algebra *a, grad_ctx *ctx) {
  *a = (grad_algebra){.ctx = ctx};
  grad__arena_init(&a->arena, ctx);
  share(a, &(grad_expr_node){.kind = GRAD_EXPR_NUMBER, .number = 0});
  share(a, &(grad_expr_node){.kind = GRAD_EXPR_NUMBER, .number = 1});
  return a->status;
}

void grad__algebra_clear(grad_algebra *a) {
  grad__free(a->ctx, a->nodes, (size_t)a->cap * sizeof *a->nodes);
  grad__free(a->ctx, a->table, (size_t)a->table_cap * sizeof *a->table);
  grad__arena_clear(&a->arena);
}

grad_expr grad__expr_number(grad_algebra *a, double value) {
  return share(a, &(grad_expr_node){.kind = GRAD_EXPR_NUMBER, .number = value == 0 ? 0 : value});
}

grad_expr grad__expr_symbol(grad_algebra *a, const grad_notation *notation) {
  return share(a, &(grad_expr_node){.kind = GRAD_EXPR_SYMBOL, .notation = notation});
}

grad_expr grad__expr_call(grad_algebra *a, const grad_notation *notation, int32_t n, const grad_expr *args) {
  return share(a, &(grad_expr_node){.kind = GRAD_EXPR_CALL, .notation = notation, .n = n, .args = args});
}

bool grad__expr_is_number(const grad_algebra *a, grad_expr x, double *value) {
  if (a->nodes[x].kind != GRAD_EXPR_NUMBER) return false;
  *value = a->nodes[x].number;
  return true;
}

/* --- weighted lists: the terms of a sum, the factors of a product */

typedef struct entry {
  grad_expr expr;
  double weight;
} entry;

typedef struct list {
  entry *at;
  int32_t n, cap;
} list;

static bool list_room(grad_algebra *a, list *l, int32_t cap) {
  *l = (list){.at = grad__arena_alloc(&a->arena, (size_t)(cap > 0 ? cap : 1) * sizeof(entry)), .cap = cap};
  if (!l->at) fail(a);
  return l->at != NULL;
}

static void list_add(list *l, grad_expr expr, double weight) { l->at[l->n++] = (entry){expr, weight}; }

static int by_id(const void *x, const void *y) {
  const grad_expr a = ((const entry *)x)->expr, b = ((const entry *)y)->expr;
  return (a > b) - (a < b);
}

/* Sorts by id, adds the weights of equal expressions, and leaves out those that come to 0. */
static void list_merge(list *l) {
  qsort(l->at, (size_t)l->n, sizeof *l->at, by_id);
  int32_t n = 0;
  for (int32_t i = 0; i < l->n;) {
    entry e = l->at[i++];
    while (i < l->n && l->at[i].expr == e.expr) e.weight += l->at[i++].weight;
    if (e.weight != 0) l->at[n++] = e;
  }
  l->n = n;
}

static grad_expr from_list(grad_algebra *a, grad_expr_kind kind, const list *l) {
  grad_expr *args = grad__arena_alloc(&a->arena, (size_t)(l->n + 1) * sizeof *args);
  double *weight = grad__arena_alloc(&a->arena, (size_t)(l->n + 1) * sizeof *weight);
  if (!args || !weight) return fail(a);
  for (int32_t i = 0; i < l->n; i++) {
    args[i] = l->at[i].expr;
    weight[i] = l->at[i].weight;
  }
  return share(a, &(grad_expr_node){.kind = kind, .n = l->n, .args = args, .weight = weight});
}

/* --- sums */

/* Are the terms of x, scaled by weight, taken one by one? Signs go into a sum; other factors stay in front of it. */
static bool opens(const grad_expr_node *x, double weight) {
  return x->kind == GRAD_EXPR_SUM && (x->n == 1 || fabs(weight) == 1);
}

static int32_t count_terms(const grad_algebra *a, grad_expr x, double weight) {
  return opens(&a->nodes[x], weight) ? a->nodes[x].n : 1;
}

static void add_terms(const grad_algebra *a, list *l, grad_expr x, double weight) {
  const grad_expr_node *e = &a->nodes[x];
  if (opens(e, weight)) {
    for (int32_t i = 0; i < e->n; i++) list_add(l, e->args[i], weight * e->weight[i]);
  } else if (e->kind == GRAD_EXPR_NUMBER) {
    list_add(l, ONE, weight * e->number);
  } else {
    list_add(l, x, weight);
  }
}

/* The list with the terms of inner sums, each scaled by the weight in front of it. */
static bool expand(grad_algebra *a, const list *from, list *to) {
  int32_t room = 0;
  for (int32_t i = 0; i < from->n; i++) room += a->nodes[from->at[i].expr].n + 1;
  if (!list_room(a, to, room)) return false;
  for (int32_t i = 0; i < from->n; i++) {
    const grad_expr_node *e = &a->nodes[from->at[i].expr];
    const double weight = from->at[i].weight;
    if (e->kind != GRAD_EXPR_SUM)
      list_add(to, from->at[i].expr, weight);
    else
      for (int32_t k = 0; k < e->n; k++) list_add(to, e->args[k], weight * e->weight[k]);
  }
  list_merge(to);
  return true;
}

grad_expr grad__expr_add(grad_algebra *a, int32_t n, const double *weight, const grad_expr *terms) {
  int32_t room = 0;
  list l, open;
  for (int32_t i = 0; i < n; i++) room += count_terms(a, terms[i], weight[i]);
  if (!list_room(a, &l, room)) return ZERO;
  for (int32_t i = 0; i < n; i++) add_terms(a, &l, terms[i], weight[i]);
  list_merge(&l);
  if (l.n > 1) { /* 2 (x + y) + x is 3 x + 2 y; but 2 (x + y) + z stays */
    if (!expand(a, &l, &open)) return ZERO;
    if (open.n <= l.n) l = open;
  }
  if (l.n == 0) return ZERO;
  if (l.n == 1 && l.at[0].expr == ONE) return grad__expr_number(a, l.at[0].weight);
  if (l.n == 1 && l.at[0].weight == 1) return l.at[0].expr;
  return from_list(a, GRAD_EXPR_SUM, &l);
}

/* weight * x */
static grad_expr scale(grad_algebra *a, double weight, grad_expr x) { return grad__expr_add(a, 1, &weight, &x); }

/* x is coefficient times what is returned. */
static grad_expr split(const grad_algebra *a, grad_expr x, double *coefficient) {
  const grad_expr_node *e = &a->nodes[x];
  *coefficient = 1;
  if (e->kind == GRAD_EXPR_NUMBER) {
    *coefficient = e->number;
    return ONE;
  }
  if (e->kind != GRAD_EXPR_SUM || e->n != 1) return x;
  *coefficient = e->weight[0];
  return e->args[0];
}

/* --- products */

static void add_factors(const grad_algebra *a, list *l, grad_expr x, double exponent) {
  const grad_expr_node *e = &a->nodes[x];
  if (x == ONE) return;
  if (e->kind == GRAD_EXPR_PRODUCT && exponent == rint(exponent)) {
    for (int32_t i = 0; i < e->n; i++) list_add(l, e->args[i], exponent * e->weight[i]);
  } else {
    list_add(l, x, exponent);
  }
}

static int32_t count_factors(const grad_algebra *a, grad_expr x) {
  return a->nodes[x].kind == GRAD_EXPR_PRODUCT ? a->nodes[x].n : 1;
}

/* Are x and y the sum and the difference of the same two terms, u + v and u - v? weight: of u^2 and v^2 in
 * their product. */
static bool sum_and_difference(const grad_expr_node *x, const grad_expr_node *y, double *weight) {
  if (x->kind != GRAD_EXPR_SUM || y->kind != GRAD_EXPR_SUM || x->n != 2 || y->n != 2) return false;
  for (int i = 0; i < 2; i++) {
    if (x->args[i] != y->args[i] || fabs(x->weight[i]) != fabs(y->weight[i])) return false;
    weight[i] = x->weight[i] * y->weight[i];
  }
  return weight[0] * weight[1] < 0;
}

/* (u + v)^e (u - v)^e becomes (u^2 - v^2)^e. */
static void merge_differences(grad_algebra *a, list *l) {
  for (int32_t i = 0; i < l->n; i++)
    for (int32_t k = i + 1; k < l->n; k++) {
      const grad_expr_node *x = &a->nodes[l->at[i].expr];
      double weight[2];
      if (l->at[i].weight != l->at[k].weight || !sum_and_difference(x, &a->nodes[l->at[k].expr], weight)) continue;
      const grad_expr terms[] = {x->args[0], x->args[1]};
      const grad_expr squares[] = {grad__expr_pow(a, terms[0], 2), grad__expr_pow(a, terms[1], 2)};
      l->at[i].expr = grad__expr_add(a, 2, weight, squares);
      l->at[k] = l->at[--l->n];
      k = i;
    }
}

static grad_expr product_of(grad_algebra *a, list *l) {
  list_merge(l);
  merge_differences(a, l);
  list_merge(l);
  if (l->n == 0) return ONE;
  if (l->n == 1 && l->at[0].weight == 1) return l->at[0].expr;
  return from_list(a, GRAD_EXPR_PRODUCT, l);
}

grad_expr grad__expr_mul(grad_algebra *a, grad_expr x, grad_expr y) {
  double p, q;
  list l;
  if (x == ZERO || y == ZERO) return ZERO;
  x = split(a, x, &p);
  y = split(a, y, &q);
  if (!list_room(a, &l, count_factors(a, x) + count_factors(a, y))) return ZERO;
  add_factors(a, &l, x, 1);
  add_factors(a, &l, y, 1);
  return scale(a, p * q, product_of(a, &l));
}

/* Is weight^exponent a number that a person would work out? */
static bool works_out(double weight, double exponent) {
  if (weight == 1 || exponent == rint(exponent)) return weight != 0 || exponent > 0;
  const double value = pow(weight, exponent);
  return weight > 0 && value == rint(value) && pow(value, 1 / exponent) == weight;
}

grad_expr grad__expr_pow(grad_algebra *a, grad_expr x, double exponent) {
  double weight;
  list l;
  if (exponent == 0) return ONE;
  if (exponent == 1) return x;
  grad_expr base = split(a, x, &weight);
  if (!works_out(weight, exponent)) {
    base = x;
    weight = 1;
  }
  if (!list_room(a, &l, count_factors(a, base))) return ZERO;
  add_factors(a, &l, base, exponent);
  return scale(a, pow(weight, exponent), product_of(a, &l));
}
