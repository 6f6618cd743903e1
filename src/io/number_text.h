/* number_text.h: decimal text to double, whatever the host's locale. */
#ifndef GRAD_IO_NUMBER_TEXT_H
#define GRAD_IO_NUMBER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* All of text[0..size) is one number: decimal with an optional exponent, inf or nan in any case. Correctly rounded. */
bool grad__number_parse(const char *text, size_t size, double *out);

#endif
