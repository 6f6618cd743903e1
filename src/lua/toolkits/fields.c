/* fields.c: Lua options that are the fields of a C struct. */
#include "lua/toolkits/fields.h"

#include <string.h>

static void read_field(lua_State *L, const grad_field *field, void *at) {
  switch (field->kind) {
  case GRAD_FIELD_DOUBLE:
    *(double *)at = grad__arg_number(L, -1, field->name);
    break;
  case GRAD_FIELD_INTEGER:
    *(int64_t *)at = grad__arg_integer(L, -1, field->name);
    break;
  case GRAD_FIELD_INT:
    *(int *)at = (int)grad__arg_integer(L, -1, field->name);
    break;
  case GRAD_FIELD_BOOLEAN:
    *(bool *)at = grad__arg_boolean_or(L, -1, field->name, false);
    break;
  }
}

void grad__fields_read(lua_State *L, int index, const grad_field *fields, void *out) {
  for (; fields->name; fields++) {
    if (grad__option_push(L, index, fields->name) != LUA_TNIL) read_field(L, fields, (char *)out + fields->offset);
    lua_pop(L, 1);
  }
}

const grad_field *grad__fields_find(const grad_field *fields, const char *name) {
  for (; fields->name; fields++)
    if (strcmp(fields->name, name) == 0) return fields;
  return NULL;
}

void grad__fields_push(lua_State *L, const grad_field *field, const void *from) {
  const void *at = (const char *)from + field->offset;
  switch (field->kind) {
  case GRAD_FIELD_DOUBLE:
    lua_pushnumber(L, *(const double *)at);
    break;
  case GRAD_FIELD_INTEGER:
    lua_pushinteger(L, *(const int64_t *)at);
    break;
  case GRAD_FIELD_INT:
    lua_pushinteger(L, *(const int *)at);
    break;
  case GRAD_FIELD_BOOLEAN:
    lua_pushboolean(L, *(const bool *)at);
    break;
  }
}
