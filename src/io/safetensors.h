/* safetensors.h: tensors with names in one file that can hold no code: 8 bytes length, a JSON header, the elements.
 * https://huggingface.co/docs/safetensors: duplicate names, overlaps, gaps and lengths that do not fit are refused. */
#ifndef GRAD_IO_SAFETENSORS_H
#define GRAD_IO_SAFETENSORS_H

#include "core/arena.h"
#include "io/source.h"

typedef struct grad_text_pair {
  const char *key, *value; /* NUL-terminated UTF-8 */
} grad_text_pair;

typedef struct grad_safetensors {
  grad_named_list tensors; /* in the order of the header; F16 and BF16 become f32, integers i64 */
  grad_text_pair *metadata;
  int64_t nmetadata;
  grad_arena arena; /* holds the metadata */
} grad_safetensors;

grad_status grad__safetensors_read(grad_ctx *ctx, const grad_source *source, grad_safetensors *out);
void grad__safetensors_clear(grad_safetensors *file);

/* Arrays of any strides. EVALUE for a name that occurs twice or is "__metadata__". */
grad_status grad__safetensors_write(grad_ctx *ctx, const grad_sink *sink, const grad_named_list *tensors,
                                    const grad_text_pair *metadata, int64_t nmetadata);

#endif
