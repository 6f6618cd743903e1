/* print.c: programs as text, one line an instruction, nested programs indented. */
#include <stdio.h>
#include <string.h>

#include "program/opdef.h"

grad_status grad__text_add(grad_text *t, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  grad_status status = GRAD_OK;
  size_t need = t->size + (size_t)n + 1;
  if (need > t->cap) {
    size_t cap = need < 256 ? 256 : 2 * need;
    char *data = grad__realloc(t->ctx, t->data, t->cap, cap);
    if (data) {
      t->data = data;
      t->cap = cap;
    } else {
      status = t->ctx->status;
    }
  }
  if (!status) {
    vsnprintf(t->data + t->size, t->cap - t->size, format, again);
    t->size += (size_t)n;
  }
  va_end(again);
  return status;
}

void grad__text_clear(grad_text *t) {
  grad__free(t->ctx, t->data, t->cap);
  *t = (grad_text){.ctx = t->ctx};
}

/* "%7:f64[2,3]" */
static grad_status print_value(const grad_program *p, grad_id v, grad_text *out) {
  const grad_type *t = grad__type(p, v);
  grad_status status = grad__text_add(out, "%%%d:%s", v, grad__dtype_name(t->dtype));
  for (int i = 0; i < t->ndim && !status; i++) {
    const char *gap = i ? "," : "[";
    status = t->shape[i] == GRAD_DYNAMIC ? grad__text_add(out, "%s?", gap)
                                         : grad__text_add(out, "%s%lld", gap, (long long)t->shape[i]);
  }
  return status || !t->ndim ? status : grad__text_add(out, "]");
}

static grad_status print_params(const grad_instr *ins, grad_text *out) {
  grad_status status = GRAD_OK;
  for (int32_t i = 0; i < ins->nparams && !status; i++) {
    const char *gap = i ? "," : "{";
    int64_t v = ins->params[i];
    /* beyond 2^53 it can only be the bits of a double: no extent or position is that large */
    bool is_double = v > (INT64_C(1) << 53) || v < -(INT64_C(1) << 53);
    status = is_double ? grad__text_add(out, "%s%.17g", gap, grad__unbits(v))
                       : grad__text_add(out, "%s%lld", gap, (long long)v);
  }
  return status || !ins->nparams ? status : grad__text_add(out, "}");
}

static grad_status print_program(const grad_program *p, int indent, grad_text *out);

static grad_status print_instr(const grad_program *p, const grad_instr *ins, int indent, grad_text *out) {
  grad_status status = grad__text_add(out, "%*s", indent, "");
  for (int32_t k = 0; k < ins->nout && !status; k++) {
    if (k) status = grad__text_add(out, ", ");
    if (!status) status = print_value(p, ins->out + k, out);
  }
  if (!status) status = grad__text_add(out, "%s%s", ins->nout ? " = " : "", ins->op->name);
  if (!status) status = print_params(ins, out);
  for (int32_t k = 0; k < ins->nin && !status; k++) status = grad__text_add(out, " %%%d", ins->in[k]);
  const char *where = grad__program_where(p, ins);
  if (!status && *where) status = grad__text_add(out, "  # %s", where);
  if (!status) status = grad__text_add(out, "\n");
  for (int32_t k = 0; k < ins->nsubs && !status; k++) status = print_program(ins->subs[k], indent + 2, out);
  return status;
}

static grad_status print_ends(const grad_program *p, const char *name, int32_t n, const grad_id *ids, int indent,
                              grad_text *out) {
  grad_status status = grad__text_add(out, "%*s%s", indent, "", name);
  for (int32_t i = 0; i < n && !status; i++) {
    status = grad__text_add(out, " ");
    if (!status) status = print_value(p, ids[i], out);
  }
  return status ? status : grad__text_add(out, "\n");
}

static grad_status print_program(const grad_program *p, int indent, grad_text *out) {
  grad_status status = print_ends(p, "in", p->ninputs, p->inputs, indent, out);
  for (int32_t i = 0; i < p->ninstrs && !status; i++) status = print_instr(p, &p->instrs[i], indent, out);
  return status ? status : print_ends(p, "out", p->noutputs, p->outputs, indent, out);
}

grad_status grad__program_print(const grad_program *p, grad_text *out) { return print_program(p, 0, out); }
