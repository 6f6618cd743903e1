/* rows_print.c: tensors as text: values, then dtype and shape; large ones are summarised. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lua/binding.h"
#include "lua/trace.h"

enum { EDGE = 3, SHOWN = 1000, CELL = 40 }; /* over SHOWN elements, EDGE entries at each end of an axis */

typedef struct printer {
  luaL_Buffer *b;
  const grad_array *a;
  const char *format; /* of floats */
  int width;
  bool summary;
} printer;

static int64_t whole_number(const grad_array *a, const int64_t *index) {
  int64_t at = 0;
  for (int i = 0; i < a->ndim; i++) at += index[i] * a->strides[i];
  return ((const int64_t *)a->data)[at];
}

static void cell_text(const grad_array *a, const char *format, const int64_t *index, char *out) {
  double value = grad__array_get(a, index);
  if (a->dtype == GRAD_BOOL)
    snprintf(out, CELL, "%s", value != 0 ? "true" : "false");
  else if (a->dtype == GRAD_I64)
    snprintf(out, CELL, "%lld", (long long)whole_number(a, index));
  else if (isnan(value))
    snprintf(out, CELL, "nan");
  else
    snprintf(out, CELL, format, value);
}

/* Positions along an axis that are shown; -1 stands for the gap. */
static int64_t next_shown(const printer *p, int axis, int64_t i) {
  int64_t n = p->a->shape[axis];
  return p->summary && n > 2 * EDGE && i == EDGE - 1 ? n - EDGE : i + 1;
}

static void visit(const printer *p, int axis, int64_t *index, void (*f)(void *, const int64_t *), void *ud) {
  if (axis == p->a->ndim) {
    f(ud, index);
    return;
  }
  for (int64_t i = 0; i < p->a->shape[axis]; i = next_shown(p, axis, i)) {
    index[axis] = i;
    visit(p, axis + 1, index, f, ud);
  }
}

typedef struct survey {
  const printer *p;
  double largest, smallest;
  bool integral;
  int width;
} survey;

static void look(void *ud, const int64_t *index) {
  survey *s = ud;
  double value = grad__array_get(s->p->a, index), size = fabs(value);
  if (!isfinite(value)) return;
  if (value != floor(value)) s->integral = false;
  if (size > s->largest) s->largest = size;
  if (size > 0 && size < s->smallest) s->smallest = size;
}

static void measure(void *ud, const int64_t *index) {
  survey *s = ud;
  char text[CELL];
  cell_text(s->p->a, s->p->format, index, text);
  int width = (int)strlen(text);
  if (width > s->width) s->width = width;
}

/* One format for all: whole numbers, four decimals, or the scientific one when sizes differ too much. */
static void choose_format(printer *p) {
  int64_t index[GRAD_MAX_AXES] = {0};
  survey s = {.p = p, .smallest = HUGE_VAL, .integral = true};
  visit(p, 0, index, look, &s);
  if (s.integral && s.largest < 1e15)
    p->format = "%.0f";
  else if (s.largest >= 1e5 || s.smallest < 1e-4)
    p->format = "%.4e";
  else
    p->format = "%.4f";
  visit(p, 0, index, measure, &s);
  p->width = s.width;
}

static void add_cell(const printer *p, const int64_t *index) {
  char text[CELL], padded[2 * CELL];
  cell_text(p->a, p->format, index, text);
  snprintf(padded, sizeof padded, "%*s", p->width, text);
  luaL_addstring(p->b, padded);
}

static void add_gap(const printer *p, bool last_axis, int axis) {
  if (last_axis) {
    luaL_addstring(p->b, " ...");
    return;
  }
  luaL_addstring(p->b, "\n");
  for (int k = 0; k <= axis; k++) luaL_addchar(p->b, ' ');
  luaL_addstring(p->b, "...");
}

/* Rows stand below each other; blocks of rows are separated by a blank line for each further axis. */
static void add_axis(const printer *p, int axis, int64_t *index) {
  const int ndim = p->a->ndim;
  if (axis == ndim) {
    add_cell(p, index);
    return;
  }
  luaL_addchar(p->b, '[');
  for (int64_t i = 0, next; i < p->a->shape[axis]; i = next) {
    index[axis] = i;
    if (i > 0 && axis == ndim - 1) luaL_addstring(p->b, " ");
    if (i > 0 && axis < ndim - 1) {
      for (int k = axis; k < ndim - 1; k++) luaL_addchar(p->b, '\n');
      for (int k = 0; k <= axis; k++) luaL_addchar(p->b, ' ');
    }
    add_axis(p, axis + 1, index);
    next = next_shown(p, axis, i);
    if (next != i + 1) add_gap(p, axis == ndim - 1, axis);
  }
  luaL_addchar(p->b, ']');
}

static int to_text(lua_State *L) {
  const grad_tensor *t = grad__tensor_check(L, 1, "x");
  const grad_array *a = grad__tensor_is_traced(t) ? grad__trace_evaluate(L, t, "print(x)") : &t->array;
  luaL_Buffer b;
  printer p = {.b = &b, .a = a, .summary = grad__array_numel(a) > SHOWN};
  int64_t index[GRAD_MAX_AXES] = {0};
  if (a->ndim == 0) {
    char text[CELL];
    cell_text(a, a->dtype == GRAD_F32 ? "%.7g" : "%.14g", NULL, text);
    lua_pushfstring(L, "%s  (%s)", text, grad__tensor_text(t).chars);
    return 1;
  }
  luaL_buffinit(L, &b);
  if (grad__array_numel(a) > 0) choose_format(&p);
  if (grad__array_numel(a) > 0)
    add_axis(&p, 0, index);
  else
    luaL_addstring(&b, "[]");
  luaL_addstring(&b, a->ndim > 1 ? "\n(" : "  (");
  luaL_addstring(&b, grad__tensor_text(t).chars);
  luaL_addchar(&b, ')');
  luaL_pushresult(&b);
  return 1;
}

/* "loss " .. x: a 0-d tensor is written as its number. */
static int concat(lua_State *L) {
  for (int i = 1; i <= 2; i++) {
    const grad_tensor *t = grad__tensor_to(L, i);
    if (!t) {
      luaL_tolstring(L, i, NULL);
    } else if (t->array.ndim == 0) {
      grad__tensor_push_element(L, grad__trace_read(L, t, "text .. x"), NULL);
      luaL_tolstring(L, -1, NULL);
      lua_remove(L, -2);
    } else {
      luaL_tolstring(L, i, NULL);
    }
  }
  lua_concat(L, 2);
  return 1;
}

static const grad_fn to_text_row = {.name = "tostring", .call = to_text}, concat_row = {.name = "..", .call = concat};

void grad__open_rows_print(lua_State *L) {
  grad__tensor_metamethod(L, "__tostring", &to_text_row);
  grad__tensor_metamethod(L, "__concat", &concat_row);
}
