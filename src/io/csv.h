/* csv.h: tables of numbers from delimited text (RFC 4180 quoting, CRLF or LF, a byte order mark, gz read as is). */
#ifndef GRAD_IO_CSV_H
#define GRAD_IO_CSV_H

#include "core/arena.h"
#include "io/source.h"

typedef struct grad_csv_options {
  int64_t skip;     /* lines to leave out at the start */
  char delimiter;   /* 0: the one of , ; tab | that the first line has most of; without any of them, blanks */
  int header;       /* 1: the first line names the columns; 0: it is data; -1: a header when none of it is a number */
  grad_dtype dtype; /* of the values: GRAD_F32 or GRAD_F64 */
} grad_csv_options;

typedef struct grad_csv_column {
  const char *name;          /* NULL without a header */
  const char *const *labels; /* text columns: the classes in byte order; class k (from 1) is labels[k - 1] */
  int64_t nlabels;           /* 0: a column of numbers */
} grad_csv_column;

typedef struct grad_csv {
  grad_array values; /* rows x columns; missing entries (empty, NA, NaN, ?) are NaN; text is its class, from 1 */
  grad_csv_column *columns;
  int64_t ncolumns;
  grad_arena arena; /* holds names and labels */
} grad_csv;

/* EFORMAT: rows of different lengths, an open quote, no data (line and byte are named). */
grad_status grad__csv_read(grad_ctx *ctx, const grad_source *source, const grad_csv_options *options, grad_csv *out);
void grad__csv_clear(grad_csv *csv);

#endif
