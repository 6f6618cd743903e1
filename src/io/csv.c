/* csv.c: delimited text in three steps: split into fields (in place), see which columns are numbers, convert. */
#include "io/csv.h"
#include "io/bytes.h"
#include "io/number_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct field {
  const char *text; /* in the file's bytes, quotes undone; not NUL-terminated */
  size_t size;
  bool quoted;
} field;

typedef struct table {
  grad_ctx *ctx;
  const char *name;
  char *at, *end, *begin; /* of the text not yet split, and of all of it */
  char delimiter;         /* ' ': any run of blanks */
  int64_t line;
  field *fields;
  int64_t count, cap, columns;
} table;

static grad_status bad_line(const table *t, const char *what) {
  return grad__bad_data(t->ctx, t->name, t->at - t->begin, "line %" PRId64 ": %s", t->line, what);
}

static grad_status add_field(table *t, field f) {
  if (t->count == t->cap) {
    const int64_t cap = t->cap ? t->cap * 2 : 256;
    field *const fields =
        grad__realloc(t->ctx, t->fields, (size_t)t->cap * sizeof *fields, (size_t)cap * sizeof *fields);
    if (!fields) return t->ctx->status;
    t->fields = fields;
    t->cap = cap;
  }
  t->fields[t->count++] = f;
  return GRAD_OK;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }
static bool is_line_end(char c) { return c == '\n' || c == '\r'; }
static bool ends_field(const table *t, char c) {
  return is_line_end(c) || (t->delimiter == ' ' ? is_blank(c) : c == t->delimiter);
}

/* The text between quotes, a doubled quote being one; t->at comes to stand behind the closing quote. */
static grad_status split_quoted(table *t) {
  char *to = ++t->at;
  field f = {.text = to, .quoted = true};
  for (;; t->at++) {
    if (t->at == t->end) return bad_line(t, "a quote is opened and never closed");
    if (*t->at == '\n') t->line++;
    if (*t->at == '"' && (t->at + 1 == t->end || t->at[1] != '"')) break;
    if (*t->at == '"') t->at++;
    *to++ = *t->at;
  }
  t->at++;
  f.size = (size_t)(to - f.text);
  while (t->at < t->end && is_blank(*t->at) && !ends_field(t, *t->at)) t->at++;
  if (t->at < t->end && !ends_field(t, *t->at)) return bad_line(t, "text after a closing quote");
  return add_field(t, f);
}

static grad_status split_field(table *t) {
  while (t->at < t->end && is_blank(*t->at) && (t->delimiter == ' ' || *t->at != t->delimiter)) t->at++;
  if (t->at < t->end && *t->at == '"') return split_quoted(t);
  field f = {.text = t->at};
  while (t->at < t->end && !ends_field(t, *t->at)) t->at++;
  f.size = (size_t)(t->at - f.text);
  while (f.size > 0 && is_blank(f.text[f.size - 1])) f.size--;
  return add_field(t, f);
}

static void end_line(table *t) {
  if (t->at < t->end && *t->at == '\r') t->at++;
  if (t->at < t->end && *t->at == '\n') t->at++;
  t->line++;
}

static grad_status split_line(table *t) {
  const int64_t before = t->count;
  for (;;) {
    const grad_status status = split_field(t);
    if (status) return status;
    if (t->delimiter == ' ') {
      while (t->at < t->end && is_blank(*t->at)) t->at++;
    }
    if (t->at == t->end || is_line_end(*t->at)) break;
    if (t->delimiter != ' ') t->at++;
  }
  const int64_t found = t->count - before;
  if (t->columns == 0) t->columns = found;
  if (found != t->columns) {
    return grad__bad_data(t->ctx, t->name, t->at - t->begin,
                          "line %" PRId64 ": %" PRId64 " fields, but the lines before have %" PRId64, t->line, found,
                          t->columns);
  }
  end_line(t);
  return GRAD_OK;
}

static void skip_lines(table *t, int64_t lines) {
  if (t->end - t->at >= 3 && memcmp(t->at, "\xef\xbb\xbf", 3) == 0) t->at += 3;
  for (; lines > 0 && t->at < t->end; lines--) {
    while (t->at < t->end && !is_line_end(*t->at)) t->at++;
    end_line(t);
  }
}

static grad_status split(table *t) {
  while (t->at < t->end) {
    const char *ahead = t->at;
    while (ahead < t->end && is_blank(*ahead)) ahead++;
    const bool empty = ahead == t->end || is_line_end(*ahead);
    if (empty && (t->columns != 1 || ahead == t->end)) {
      t->at += ahead - t->at;
      end_line(t);
      continue;
    }
    grad_status status = split_line(t);
    if (!status && t->line % 4096 == 0) status = grad__interrupted(t->ctx);
    if (status) return status;
  }
  return t->count > 0 ? GRAD_OK : bad_line(t, "there are no data");
}

/* The candidate that the first line that is not empty has most of. */
static char find_delimiter(const char *at, const char *end) {
  static const char candidates[] = {',', ';', '\t', '|'};
  int counts[4] = {0}, best = 0;
  while (at < end && is_line_end(*at)) at++;
  for (bool quoted = false; at < end && (quoted || !is_line_end(*at)); at++) {
    if (*at == '"') quoted = !quoted;
    for (int i = 0; i < 4 && !quoted; i++) counts[i] += *at == candidates[i];
  }
  for (int i = 1; i < 4; i++) best = counts[i] > counts[best] ? i : best;
  return counts[best] > 0 ? candidates[best] : ' ';
}

static bool is_missing(const field *f) {
  static const char *const words[] = {"", "?", "NA", "N/A", "NaN", "nan", "null", "NULL"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (f->size == strlen(words[i]) && memcmp(f->text, words[i], f->size) == 0) return true;
  }
  return false;
}

static bool is_number(const field *f) {
  double x;
  return !f->quoted && grad__number_parse(f->text, f->size, &x);
}

static bool has_header(const table *t, int wish) {
  if (wish >= 0) return wish;
  for (int64_t i = 0; i < t->columns; i++) {
    if (is_number(&t->fields[i])) return false;
  }
  for (int64_t i = t->columns; i < t->count; i++) { /* a table of text alone has no header that could be told */
    if (is_number(&t->fields[i])) return true;
  }
  return false;
}

static const char *keep_text(grad_arena *arena, const field *f) {
  char *const copy = grad__arena_alloc(arena, f->size + 1);
  if (!copy) return NULL;
  memcpy(copy, f->text, f->size);
  copy[f->size] = '\0';
  return copy;
}

static int compare_fields(const void *a, const void *b) {
  const field *const x = *(const field *const *)a, *const y = *(const field *const *)b;
  const size_t common = x->size < y->size ? x->size : y->size;
  const int order = common ? memcmp(x->text, y->text, common) : 0;
  return order ? order : (x->size > y->size) - (x->size < y->size);
}

static void store(const grad_array *values, int64_t row, int64_t column, double x) {
  grad__float_put(values->dtype, values->data, row * values->shape[1] + column, x);
}

/* Sorts the texts of a column; equal ones become one class. `sorted` has room for all rows. */
static grad_status classify(const table *t, int64_t first, int64_t column, const field **sorted, grad_csv *out) {
  int64_t n = 0, classes = 0;
  for (int64_t i = first + column; i < t->count; i += t->columns) {
    if (!is_missing(&t->fields[i])) sorted[n++] = &t->fields[i];
  }
  qsort(sorted, (size_t)n, sizeof *sorted, compare_fields);
  for (int64_t i = 0; i < n; i++) classes += i == 0 || compare_fields(&sorted[i - 1], &sorted[i]) != 0;
  const char **const labels = grad__arena_alloc(&out->arena, (size_t)classes * sizeof *labels);
  if (!labels) return t->ctx->status;
  for (int64_t i = 0, class = 0; i < n; i++) {
    const bool new_class = i == 0 || compare_fields(&sorted[i - 1], &sorted[i]) != 0;
    if (new_class && !(labels[class ++] = keep_text(&out->arena, sorted[i]))) return t->ctx->status;
    store(&out->values, (sorted[i] - t->fields - first) / t->columns, column, (double)class);
  }
  out->columns[column].labels = labels;
  out->columns[column].nlabels = classes;
  return GRAD_OK;
}

/* Stores the column if it is one of numbers; else says false. Missing entries are NaN. */
static bool store_numbers(const table *t, int64_t first, int64_t column, const grad_array *values) {
  bool numbers = true;
  for (int64_t i = first + column, row = 0; i < t->count; i += t->columns, row++) {
    double x = (double)NAN;
    if (!grad__number_parse(t->fields[i].text, t->fields[i].size, &x)) {
      x = (double)NAN;
      numbers &= is_missing(&t->fields[i]);
    }
    store(values, row, column, x);
  }
  return numbers;
}

static grad_status convert(const table *t, bool header, grad_dtype dtype, grad_csv *out) {
  const int64_t first = header ? t->columns : 0, rows = (t->count - first) / t->columns;
  const size_t columns_size = (size_t)t->columns * sizeof *out->columns;
  grad_status status = grad__array_new(t->ctx, dtype, 2, (int64_t[]){rows, t->columns}, &out->values);
  if (status) return status;
  out->columns = grad__arena_zeros(&out->arena, columns_size);
  if (!out->columns) return t->ctx->status;
  out->ncolumns = t->columns;
  const size_t sorted_size = (size_t)rows * sizeof(field *);
  const field **const sorted = grad__alloc(t->ctx, sorted_size);
  if (!sorted && rows > 0) return t->ctx->status;
  for (int64_t i = 0; i < t->columns && !status; i++) {
    if (header && !(out->columns[i].name = keep_text(&out->arena, &t->fields[i]))) status = t->ctx->status;
    if (!status && !store_numbers(t, first, i, &out->values)) status = classify(t, first, i, sorted, out);
  }
  grad__free(t->ctx, (void *)sorted, sorted_size);
  return status;
}

grad_status grad__csv_read(grad_ctx *ctx, const grad_source *source, const grad_csv_options *options, grad_csv *out) {
  if (!grad__dtype_is_float(options->dtype)) {
    return grad__fail(ctx, GRAD_EDTYPE, "csv: values are f32 or f64, not %s", grad__dtype_name(options->dtype));
  }
  grad_bytes bytes;
  grad_status status = grad__bytes_read(ctx, source, &bytes);
  if (status) return status;
  char *const text = (char *)bytes.data;
  table t = {.ctx = ctx, .name = source->name, .at = text, .begin = text, .end = text + bytes.size, .line = 1};
  skip_lines(&t, options->skip);
  t.delimiter = options->delimiter ? options->delimiter : find_delimiter(t.at, t.end);
  grad_csv csv = {0};
  grad__arena_init(&csv.arena, ctx);
  status = split(&t);
  if (!status) status = convert(&t, has_header(&t, options->header), options->dtype, &csv);
  grad__free(ctx, t.fields, (size_t)t.cap * sizeof *t.fields);
  grad__bytes_clear(&bytes);
  if (status) {
    grad__csv_clear(&csv);
    return status;
  }
  *out = csv;
  return GRAD_OK;
}

void grad__csv_clear(grad_csv *csv) {
  grad__array_release(&csv->values);
  if (csv->arena.ctx) grad__arena_clear(&csv->arena);
  csv->columns = NULL;
  csv->ncolumns = 0;
}
