/* idx.h: the IDX format of the MNIST files (big-endian header, any of its six element types; gz read as is). */
#ifndef GRAD_IO_IDX_H
#define GRAD_IO_IDX_H

#include "io/source.h"

/* dtype: what to convert to; -1: f32 and f64 as they are, integers as i64. */
grad_status grad__idx_read(grad_ctx *ctx, const grad_source *source, int dtype, grad_array *out);

#endif
