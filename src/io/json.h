/* json.h: reading JSON of a known structure (RFC 8259) piece by piece, and writing its texts. */
#ifndef GRAD_IO_JSON_H
#define GRAD_IO_JSON_H

#include "core/arena.h"
#include "io/bytes.h"

typedef struct grad_json {
  grad_ctx *ctx;
  const char *name;             /* of the source, for messages */
  const char *begin, *at, *end; /* the text, and how far it is read */
  int64_t offset;               /* of begin in the source */
} grad_json;

/* grad__json_expected: EFORMAT at the present place. */
grad_status grad__json_expected(const grad_json *json, const char *what);

void grad__json_skip(grad_json *json); /* blanks */

/* grad__json_take: skips blanks, then c if it comes next. */
bool grad__json_take(grad_json *json, char c);

/* A text, escapes undone, in the arena with a NUL behind it. Refused: ill-formed UTF-8, and NUL inside. */
grad_status grad__json_string(grad_json *json, grad_arena *arena, const char **out, size_t *size);

/* An integer from 0 to 2^63 - 1, written without fraction or exponent. */
grad_status grad__json_natural(grad_json *json, int64_t *out);

/* Appends text in quotes, escaped. EVALUE when it is not UTF-8. */
grad_status grad__json_quote(grad_bytes *out, const char *text, size_t size);

#endif
