/* npy.h: NumPy's .npy and .npz files (gz and deflate read as is). Floats of 16 bits become f32, integers i64. Arrays of
 * objects, texts, records or complex numbers are EDTYPE; nothing is ever unpickled. */
#ifndef GRAD_IO_NPY_H
#define GRAD_IO_NPY_H

#include "io/source.h"

grad_status grad__npy_read(grad_ctx *ctx, const grad_source *source, grad_array *out);
/* out: an empty list, in the archive's order, names without ".npy". */
grad_status grad__npz_read(grad_ctx *ctx, const grad_source *source, grad_named_list *out);

grad_status grad__npy_write(grad_ctx *ctx, const grad_sink *sink, const grad_array *array);
/* Uncompressed, as numpy.savez does. EUNSUPPORTED above 4 GB. */
grad_status grad__npz_write(grad_ctx *ctx, const grad_sink *sink, const grad_named_list *list);

#endif
