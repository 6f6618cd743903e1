/* fields.h: Lua options that are the fields of a C struct. */
#ifndef GRADLUA_FIELDS_H
#define GRADLUA_FIELDS_H

#include <stddef.h>

#include "lua/binding.h"

typedef enum grad_field_kind {
  GRAD_FIELD_DOUBLE,
  GRAD_FIELD_INTEGER,
  GRAD_FIELD_INT,
  GRAD_FIELD_BOOLEAN
} grad_field_kind;

typedef struct grad_field {
  const char *name; /* NULL ends a table of fields */
  grad_field_kind kind;
  size_t offset;
} grad_field;

/* The field `member` of the struct `type`, called NAME. */
#define GRAD_FIELD(TYPE, NAME, MEMBER, KIND)                                                                           \
  { NAME, GRAD_FIELD_##KIND, offsetof(TYPE, MEMBER) }
#define GRAD_FIELDS_END                                                                                                \
  { 0 }

/* Sets the fields of `out` that the table at `index` (0: none) has; the others keep their values. */
void grad__fields_read(lua_State *L, int index, const grad_field *fields, void *out);

/* The field called name, or NULL. */
const grad_field *grad__fields_find(const grad_field *fields, const char *name);

/* Pushes the field's value. */
void grad__fields_push(lua_State *L, const grad_field *field, const void *from);

#endif
