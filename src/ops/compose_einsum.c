/* compose_einsum.c: einsum by parsing, then one pair of operands after the other. See compose.h.
 *
 * Every axis of a term carries a label: a letter, or for the axes of an ellipsis a number of its own, counted from the
 * last such axis so that ellipses of different lengths broadcast. A pair of terms is contracted by one matrix product:
 * labels in both that are still needed are its batch, labels in both that are not are its inner axis. */
#include <string.h>

#include "ops/compose.h"
#include "ops/structured.h"

enum { ELLIPSIS = 52, LABELS = ELLIPSIS + GRAD_MAX_AXES, MAX_TERMS = 32 };

/* A value with a label for each axis. */
typedef struct term {
  grad_id value;
  int n;
  int8_t label[GRAD_MAX_AXES];
} term;

typedef uint64_t label_set;
static label_set one(int label) { return UINT64_C(1) << label; }

static label_set labels_of(const term *t) {
  label_set set = 0;
  for (int i = 0; i < t->n; i++) set |= one(t->label[i]);
  return set;
}

typedef struct einsum {
  grad_program *p;
  const char *spec;
  int nterms;
  term terms[MAX_TERMS];
  int nout;
  int8_t out[GRAD_MAX_AXES];
  int64_t extent[LABELS]; /* -1: the label does not occur */
  int count[LABELS];      /* in how many places of the operands it stands */
  int dots;               /* axes of the longest ellipsis */
} einsum;

static bool fail(einsum *e, const char *what) {
  grad__program_fail(e->p, GRAD_EVALUE, "einsum: \"%s\": %s", e->spec, what);
  return false;
}

static int letter(char c) {
  if (c >= 'a' && c <= 'z') return c - 'a';
  if (c >= 'A' && c <= 'Z') return 26 + c - 'A';
  return -1;
}

static char name_of(int label) { return (char)(label < 26 ? 'a' + label : label < 52 ? 'A' + label - 26 : '.'); }

/* --- parsing */

/* Reads labels up to a comma, an arrow or the end; `dots` axes stand for an ellipsis. Returns how many, -1 on failure.
 */
static int parse_labels(einsum *e, const char **at, int dots, int8_t *label, bool *has_dots) {
  int n = 0;
  *has_dots = false;
  for (; **at && **at != ',' && strncmp(*at, "->", 2) != 0; (*at)++) {
    if (**at == ' ') continue;
    const bool ellipsis = strncmp(*at, "...", 3) == 0;
    if ((ellipsis ? *has_dots : letter(**at) < 0)) {
      fail(e, "expected letters, commas, one ... a term, and ->");
      return -1;
    }
    if (n + (ellipsis ? dots : 1) > GRAD_MAX_AXES) {
      fail(e, "a term has too many axes");
      return -1;
    }
    if (ellipsis) {
      for (int i = 0; i < dots; i++) label[n++] = (int8_t)(ELLIPSIS + dots - 1 - i);
      *has_dots = true;
      *at += 2;
    } else {
      label[n++] = (int8_t)letter(**at);
    }
  }
  return n;
}

/* Letters that the term at `at` has, an ellipsis not counted. */
static int count_letters(const char *at) {
  int n = 0;
  for (; *at && *at != ',' && *at != '-'; at++) n += letter(*at) >= 0;
  return n;
}

static bool note_extents(einsum *e, int index, const term *t) {
  const int64_t *shape = grad__shape(e->p, t->value);
  for (int i = 0; i < t->n; i++) {
    int64_t *extent = &e->extent[t->label[i]];
    e->count[t->label[i]]++;
    if (*extent >= 0 && *extent != 1 && shape[i] != 1 && shape[i] != *extent) {
      grad__program_fail(e->p, GRAD_ESHAPE,
                         "einsum: \"%s\": axis %d of operand %d, labelled %c, has extent %lld; elsewhere it has %lld",
                         e->spec, i + 1, index + 1, name_of(t->label[i]), (long long)shape[i], (long long)*extent);
      return false;
    }
    if (*extent < 0 || *extent == 1) *extent = shape[i];
  }
  return true;
}

static bool parse_term(einsum *e, const char **at, grad_id operand) {
  const int ndim = grad__ndim(e->p, operand), dots = ndim - count_letters(*at);
  term *t = &e->terms[e->nterms];
  bool has_dots;
  t->value = operand;
  t->n = parse_labels(e, at, dots > 0 ? dots : 0, t->label, &has_dots);
  if (t->n < 0) return false;
  if (t->n != ndim) {
    grad__program_fail(e->p, GRAD_ESHAPE, "einsum: \"%s\": operand %d has shape %s, its term names %d axes", e->spec,
                       e->nterms + 1, grad__shape_text(ndim, grad__shape(e->p, operand)).chars, t->n);
    return false;
  }
  if (has_dots && dots > e->dots) e->dots = dots;
  return note_extents(e, e->nterms++, t);
}

/* Without an arrow: the ellipsis, then the letters that stand once, in alphabetical order. */
static bool implicit_output(einsum *e) {
  for (int i = 0; i < e->dots; i++) e->out[e->nout++] = (int8_t)(ELLIPSIS + e->dots - 1 - i);
  for (int k = 0; k < ELLIPSIS; k++) {
    const int label = k < 26 ? 26 + k : k - 26; /* capitals come first, as in NumPy */
    if (e->count[label] != 1) continue;
    if (e->nout == GRAD_MAX_AXES) return fail(e, "the result has too many axes");
    e->out[e->nout++] = (int8_t)label;
  }
  return true;
}

static bool explicit_output(einsum *e, const char *at) {
  bool has_dots;
  e->nout = parse_labels(e, &at, e->dots, e->out, &has_dots);
  if (e->nout < 0) return false;
  if (*at) return fail(e, "one term stands after ->");
  if (e->dots > 0 && !has_dots) return fail(e, "the result must keep the axes of ...");
  label_set seen = 0;
  for (int i = 0; i < e->nout; i++) {
    if (e->extent[e->out[i]] < 0) return fail(e, "a letter of the result stands in no operand");
    if (seen & one(e->out[i])) return fail(e, "a letter of the result stands there twice");
    seen |= one(e->out[i]);
  }
  return true;
}

static bool parse(einsum *e, int n, const grad_id *operands) {
  const char *at = e->spec;
  for (int i = 0; i < LABELS; i++) e->extent[i] = -1;
  for (int i = 0; i < n; i++) {
    if (i > 0 && *at++ != ',') return fail(e, "fewer terms than operands");
    if (!parse_term(e, &at, operands[i])) return false;
  }
  if (*at == ',') return fail(e, "more terms than operands");
  return *at ? explicit_output(e, at + 2) : implicit_output(e);
}

/* --- one term */

static void drop_label(term *t, int i) {
  for (int k = i; k + 1 < t->n; k++) t->label[k] = t->label[k + 1];
  t->n--;
}

/* Takes the diagonal of two axes with one label; it becomes the last axis. */
static void merge_repeated(grad_program *p, term *t, int i, int k) {
  int order[GRAD_MAX_AXES], n = 0;
  const int8_t label = t->label[i];
  for (int a = 0; a < t->n; a++)
    if (a != i && a != k) order[n++] = a;
  order[n] = i;
  order[n + 1] = k;
  t->value = grad__diagonal(p, grad__permute(p, t->value, order), 0);
  drop_label(t, k);
  drop_label(t, i);
  t->label[t->n++] = label;
}

/* Gives each label one axis; drops axes of extent 1 whose label is longer elsewhere (they broadcast). */
static void make_labels_unique(einsum *e, term *t) {
  for (int i = t->n - 1; i >= 0 && t->value != GRAD_NONE; i--)
    if (grad__extent(e->p, t->value, i) == 1 && e->extent[t->label[i]] != 1) {
      t->value = grad__drop_axis(e->p, t->value, i);
      drop_label(t, i);
    }
  for (int i = 0; i < t->n && t->value != GRAD_NONE; i++)
    for (int k = i + 1; k < t->n; k++)
      if (t->label[k] == t->label[i]) {
        merge_repeated(e->p, t, i, k);
        i = -1;
        break;
      }
}

/* Sums over the axes whose labels nobody needs any more. */
static void sum_unneeded(grad_program *p, term *t, label_set needed) {
  uint32_t axes = 0;
  int n = 0;
  for (int i = 0; i < t->n; i++)
    if (needed & one(t->label[i]))
      t->label[n++] = t->label[i];
    else
      axes |= 1u << i;
  t->n = n;
  if (axes) t->value = grad__sum(p, t->value, axes, false);
}

/* --- two terms */

/* The axes of a term whose labels are in `set`, in the order of their labels: so that two terms agree on it. */
static int axes_in(const term *t, label_set set, int *axes, int8_t *labels) {
  int n = 0;
  for (int label = 0; label < LABELS; label++)
    for (int i = 0; i < t->n; i++)
      if (t->label[i] == label && set & one(label)) {
        labels[n] = (int8_t)label;
        axes[n++] = i;
      }
  return n;
}

/* The value with its axes in three groups, each merged into one. labels gets the groups' labels in turn, n their
 * counts. */
static grad_id in_groups(grad_program *p, const term *t, const label_set *group, int8_t *labels, int *n) {
  if (t->value == GRAD_NONE) return GRAD_NONE;
  int order[GRAD_MAX_AXES], at = 0;
  int64_t shape[3];
  for (int g = 0; g < 3; g++) {
    n[g] = axes_in(t, group[g], order + at, labels + at);
    shape[g] = 1;
    for (int i = 0; i < n[g]; i++) shape[g] *= grad__extent(p, t->value, order[at + i]);
    at += n[g];
  }
  return grad__reshape(p, grad__permute(p, t->value, order), 3, shape);
}

static void contract(einsum *e, term *a, const term *b, label_set needed) {
  grad_program *p = e->p;
  const label_set in_a = labels_of(a), in_b = labels_of(b), shared = in_a & in_b;
  const label_set batch = shared & needed, inner = shared & ~needed;
  int8_t labels_a[GRAD_MAX_AXES], labels_b[GRAD_MAX_AXES];
  int na[3], nb[3];
  const grad_id x = in_groups(p, a, (const label_set[]){batch, in_a & ~shared, inner}, labels_a, na);
  const grad_id y = in_groups(p, b, (const label_set[]){batch, in_b & ~shared, inner}, labels_b, nb);
  const int n = na[0] + na[1] + nb[1];
  if (x == GRAD_NONE || y == GRAD_NONE) {
    a->value = GRAD_NONE;
    return;
  }
  if (n > GRAD_MAX_AXES) {
    fail(e, "an intermediate result has too many axes; reorder the operands");
    a->value = GRAD_NONE;
    return;
  }
  grad_id product;
  if (inner && (na[1] || nb[1])) {
    product = grad__matmul(p, x, y, false, true);
  } else if (inner) { /* rows times rows: fuses better than many tiny products */
    product = grad__sum(p, grad__mul(p, x, y), 1u << 2, true);
  } else {
    product = grad__mul(p, x, grad__swap_axes(p, y, 1, 2));
  }
  term joint = {.n = n};
  int64_t shape[GRAD_MAX_AXES];
  memcpy(joint.label, labels_a, (size_t)(na[0] + na[1]));
  memcpy(joint.label + na[0] + na[1], labels_b + nb[0], (size_t)nb[1]);
  for (int i = 0; i < n; i++) shape[i] = e->extent[joint.label[i]];
  joint.value = grad__reshape(p, product, n, shape);
  *a = joint;
}

/* The result's axes in their order. A label of the result may have been dropped by broadcasting only where its extent
 * is 1 everywhere, so all are there. */
static grad_id arrange(einsum *e, const term *t) {
  int order[GRAD_MAX_AXES];
  if (t->value == GRAD_NONE) return t->value;
  for (int i = 0; i < e->nout; i++)
    for (int k = 0; k < t->n; k++)
      if (t->label[k] == e->out[i]) order[i] = k;
  return grad__permute(e->p, t->value, order);
}

grad_id grad__einsum(grad_program *p, const char *spec, int n, const grad_id *operands) {
  einsum e = {.p = p, .spec = spec};
  for (int i = 0; i < n; i++)
    if (operands[i] == GRAD_NONE) return GRAD_NONE;
  if (n < 1 || n > MAX_TERMS) return grad__program_fail(p, GRAD_EVALUE, "einsum: takes 1 to %d operands", MAX_TERMS);
  if (!parse(&e, n, operands)) return GRAD_NONE;
  label_set later[MAX_TERMS] = {0}; /* labels that the result and the operands after each one need */
  for (int i = 0; i < e.nout; i++) later[n - 1] |= one(e.out[i]);
  for (int i = 0; i < n; i++) make_labels_unique(&e, &e.terms[i]);
  for (int i = n - 1; i > 0; i--) later[i - 1] = later[i] | labels_of(&e.terms[i]);
  term *total = &e.terms[0];
  for (int i = 0; i < n; i++) {
    term *t = &e.terms[i];
    sum_unneeded(p, t, i == 0 ? later[0] : later[i] | labels_of(total));
    if (i > 0) contract(&e, total, t, later[i]);
  }
  return arrange(&e, total);
}
