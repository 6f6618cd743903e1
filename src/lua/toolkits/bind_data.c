/* bind_data.c: reading and writing data files: the table `internal.io`, on which lua/gradlua/data.lua and
 * store.lua stand. Which files there are, the context says (io/source.h). */
#include <string.h>
#include <unistd.h>

#include "io/csv.h"
#include "io/idx.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "lua/binding.h"
#include "lua/modules.h"

/* --- what must be released when an error passes by: a userdata, made before it is filled */
typedef struct job {
  grad_source source;
  grad_file_sink sink;
  grad_named_list list;
  grad_csv csv;
  grad_safetensors file;
  bool csv_filled, file_filled;
} job;

static void job_clear(job *j) {
  grad__source_close(&j->source);
  grad__file_sink_abort(&j->sink);
  if (j->list.ctx) grad__named_clear(&j->list);
  if (j->csv_filled) grad__csv_clear(&j->csv);
  if (j->file_filled) grad__safetensors_clear(&j->file);
  memset(j, 0, sizeof *j);
}

static int job_gc(lua_State *L) {
  job_clear(lua_touserdata(L, 1));
  return 0;
}

static job *job_push(lua_State *L) { return grad__lua_owner_push(L, "gradlua.io_job", sizeof(job), 0, job_gc); }

/* Raises for a failure, after releasing what the job holds. */
static void job_check(lua_State *L, job *j, grad_status status) {
  if (status != GRAD_OK) job_clear(j);
  grad__lua_check(L, status);
}

static const char *path_arg(lua_State *L) {
  if (lua_type(L, 1) != LUA_TSTRING) grad__arg_error(L, 1, "path", "a string");
  return lua_tostring(L, 1);
}

static job *open_source(lua_State *L) {
  const char *path = path_arg(L);
  job *j = job_push(L);
  job_check(L, j, grad__source_open(grad__lua_ctx(L), path, &j->source));
  return j;
}

/* Pushes a tensor that takes over the array's reference. */
static void push_array(lua_State *L, grad_array *array) {
  grad_array *tensor = grad__tensor_push_empty(L);
  *tensor = *array;
  memset(array, 0, sizeof *array);
  grad__tensor_made(L, tensor);
}

/* Pushes {name = tensor}, emptying the list. */
static void push_named(lua_State *L, grad_named_list *list) {
  lua_createtable(L, 0, (int)list->count);
  for (int64_t i = 0; i < list->count; i++) {
    lua_pushlstring(L, list->items[i].name, list->items[i].name_size);
    push_array(L, &list->items[i].array);
    lua_rawset(L, -3);
  }
}

/* --- reading */
static void push_columns(lua_State *L, const grad_csv *csv) {
  lua_createtable(L, (int)csv->ncolumns, 0);
  for (int64_t k = 0; k < csv->ncolumns; k++) {
    const grad_csv_column *column = &csv->columns[k];
    lua_createtable(L, 0, 2);
    if (column->name) {
      lua_pushstring(L, column->name);
      lua_setfield(L, -2, "name");
    }
    if (column->nlabels > 0) {
      lua_createtable(L, (int)column->nlabels, 0);
      for (int64_t i = 0; i < column->nlabels; i++) {
        lua_pushstring(L, column->labels[i]);
        lua_rawseti(L, -2, i + 1);
      }
      lua_setfield(L, -2, "classes");
    }
    lua_rawseti(L, -2, k + 1);
  }
}

static char delimiter_option(lua_State *L, int options) {
  if (!options || grad__option_push(L, options, "delimiter") == LUA_TNIL) return 0;
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  if (!text || strlen(text) != 1) grad__lua_error(L, "option 'delimiter' must be one character");
  return text[0];
}

static int header_option(lua_State *L, int options) {
  if (!options || grad__option_push(L, options, "header") == LUA_TNIL) return -1;
  return grad__option_boolean(L, options, "header", false);
}

static int io_csv(lua_State *L) {
  const int options = grad__options_at(L, 2);
  const grad_csv_options o = {.delimiter = delimiter_option(L, options),
                              .header = header_option(L, options),
                              .skip = grad__option_integer(L, options, "skip", 0),
                              .dtype = grad__option_dtype(L, options, GRAD_F64)};
  if (o.skip < 0) grad__lua_error(L, "skip must not be negative, got %lld", (long long)o.skip);
  if (!grad__dtype_is_float(o.dtype)) grad__lua_error(L, "option 'dtype' must be 'f64' or 'f32'");
  job *j = open_source(L);
  job_check(L, j, grad__csv_read(grad__lua_ctx(L), &j->source, &o, &j->csv));
  j->csv_filled = true;
  push_array(L, &j->csv.values);
  push_columns(L, &j->csv);
  job_clear(j);
  return 2;
}

static int io_idx(lua_State *L) {
  const int options = grad__options_at(L, 2);
  int dtype = -1;
  if (options && grad__option_push(L, options, "dtype") != LUA_TNIL)
    dtype = (int)grad__option_dtype(L, options, GRAD_F64);
  job *j = open_source(L);
  grad_array *out = grad__tensor_push_empty(L);
  job_check(L, j, grad__idx_read(grad__lua_ctx(L), &j->source, dtype, out));
  grad__tensor_made(L, out);
  job_clear(j);
  return 1;
}

static int io_npy(lua_State *L) {
  job *j = open_source(L);
  grad_array *out = grad__tensor_push_empty(L);
  job_check(L, j, grad__npy_read(grad__lua_ctx(L), &j->source, out));
  grad__tensor_made(L, out);
  job_clear(j);
  return 1;
}

static int io_npz(lua_State *L) {
  job *j = open_source(L);
  j->list.ctx = grad__lua_ctx(L);
  job_check(L, j, grad__npz_read(j->list.ctx, &j->source, &j->list));
  push_named(L, &j->list);
  job_clear(j);
  return 1;
}

static int io_load(lua_State *L) {
  job *j = open_source(L);
  job_check(L, j, grad__safetensors_read(grad__lua_ctx(L), &j->source, &j->file));
  j->file_filled = true;
  push_named(L, &j->file.tensors);
  lua_createtable(L, 0, (int)j->file.nmetadata);
  for (int64_t i = 0; i < j->file.nmetadata; i++) {
    lua_pushstring(L, j->file.metadata[i].value);
    lua_setfield(L, -2, j->file.metadata[i].key);
  }
  job_clear(j);
  return 2;
}

/* --- writing */

/* Fills the job's list from the lists of names and tensors at 2 and 3. */
static void collect_named(lua_State *L, job *j) {
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  j->list.ctx = grad__lua_ctx(L);
  const lua_Integer n = luaL_len(L, 2);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    lua_rawgeti(L, 3, i);
    size_t size = 0;
    const char *name = lua_tolstring(L, -2, &size);
    const grad_tensor *t = grad__tensor_to(L, -1);
    if (!name || !t) grad__lua_error(L, "entry %d must have a name and a tensor", (int)i);
    if (grad__tensor_is_traced(t)) grad__lua_error(L, "'%s' is a traced value: save outside of the transform", name);
    grad__array_retain(&t->array);
    grad_array array = t->array;
    const grad_status status = grad__named_add(&j->list, name, size, &array);
    if (status != GRAD_OK) grad__array_release(&array);
    job_check(L, j, status);
    lua_pop(L, 2);
  }
}

/* The pairs of the table at `index`, as an array in a userdata that is pushed; their texts stay alive with the table.
 */
static grad_text_pair *collect_pairs(lua_State *L, int index, int64_t *count) {
  luaL_checktype(L, index, LUA_TTABLE);
  int64_t n = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) n++;
  grad_text_pair *pairs = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *pairs, 0);
  *count = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
      grad__lua_error(L, "metadata must be texts with names");
    pairs[(*count)++] = (grad_text_pair){lua_tostring(L, -2), lua_tostring(L, -1)};
  }
  return pairs;
}

static int io_save(lua_State *L) {
  const char *path = path_arg(L);
  lua_settop(L, 4);
  int64_t npairs;
  const grad_text_pair *pairs = collect_pairs(L, 4, &npairs);
  job *j = job_push(L);
  collect_named(L, j);
  grad_ctx *ctx = grad__lua_ctx(L);
  job_check(L, j, grad__file_sink_open(ctx, path, &j->sink));
  job_check(L, j, grad__safetensors_write(ctx, &j->sink.sink, &j->list, pairs, npairs));
  job_check(L, j, grad__file_sink_commit(&j->sink));
  job_clear(j);
  return 0;
}

static int io_save_npz(lua_State *L) {
  const char *path = path_arg(L);
  lua_settop(L, 3);
  job *j = job_push(L);
  collect_named(L, j);
  grad_ctx *ctx = grad__lua_ctx(L);
  job_check(L, j, grad__file_sink_open(ctx, path, &j->sink));
  job_check(L, j, grad__npz_write(ctx, &j->sink.sink, &j->list));
  job_check(L, j, grad__file_sink_commit(&j->sink));
  job_clear(j);
  return 0;
}

static int io_save_npy(lua_State *L) {
  const char *path = path_arg(L);
  const grad_tensor *t = grad__tensor_check_concrete(L, 2, "the array");
  job *j = job_push(L);
  grad_ctx *ctx = grad__lua_ctx(L);
  job_check(L, j, grad__file_sink_open(ctx, path, &j->sink));
  job_check(L, j, grad__npy_write(ctx, &j->sink.sink, &t->array));
  job_check(L, j, grad__file_sink_commit(&j->sink));
  job_clear(j);
  return 0;
}

/* --- text, written bit by bit: a userdata whose user value is the path */

static const char text_file[] = "gradlua.text_file";

/* What was written by then is kept, also when nobody closed the file. */
static int text_close(lua_State *L) {
  grad_file_sink *sink = luaL_checkudata(L, 1, text_file);
  grad__lua_check(L, grad__file_sink_commit(sink));
  return 0;
}

static int text_gc(lua_State *L) {
  grad__file_sink_commit(luaL_checkudata(L, 1, text_file));
  return 0;
}

static int text_write(lua_State *L) {
  const grad_file_sink *file = luaL_checkudata(L, 1, text_file);
  size_t size;
  const char *text = luaL_checklstring(L, 2, &size);
  if (!file->close) grad__lua_error(L, "the file is closed");
  grad__lua_check(L, file->sink.write(file->sink.ud, grad__lua_ctx(L), text, size));
  return 0;
}

static const grad_fn text_rows[] = {{.name = "write", .call = text_write},
                                    {.name = "close", .call = text_close},
                                    {.name = "__gc", .call = text_gc},
                                    GRAD_FN_END};

static int io_create(lua_State *L) {
  const char *path = path_arg(L);
  grad_file_sink *sink = lua_newuserdatauv(L, sizeof *sink, 1);
  memset(sink, 0, sizeof *sink);
  luaL_setmetatable(L, text_file);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  grad__lua_check(L, grad__file_sink_open(grad__lua_ctx(L), path, sink));
  return 1;
}

/* is_terminal() -> whether progress can be redrawn in place */
static int io_is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty(STDERR_FILENO));
  return 1;
}

static const grad_fn rows[] = {
    GRAD_FUNCTION(
        "csv", io_csv, "path [, {delimiter, header, skip = 0, dtype = \"f64\"}] -> tensor, columns",
        "rows and columns of numbers from delimited text (gz read as is), and what is known of the columns: a list of "
        "{name, classes}. A column of texts becomes class numbers from 1. header: true or false, found out otherwise; "
        "skip: that many first lines"),
    GRAD_FUNCTION("idx", io_idx, "path [, {dtype}] -> tensor",
                  "an array in the IDX format of the MNIST files (gz read as is)"),
    GRAD_FUNCTION("npy", io_npy, "path -> tensor", "an array that NumPy saved"),
    GRAD_FUNCTION("npz", io_npz, "path -> {name = tensor}", "arrays that NumPy saved together"),
    GRAD_FUNCTION("save_npy", io_save_npy, "path, x", "writes an array for NumPy"),
    GRAD_FUNCTION("save_npz", io_save_npz, "path, names, tensors", "writes arrays for NumPy"),
    GRAD_FUNCTION("load", io_load, "path -> {name = tensor}, metadata", "what a safetensors file holds"),
    GRAD_FUNCTION("save", io_save, "path, names, tensors, metadata", "writes a safetensors file"),
    GRAD_FUNCTION("create", io_create, "path -> {write, close}", "a text file to be written bit by bit"),
    GRAD_FUNCTION("is_terminal", io_is_terminal, "-> boolean", "whether standard error is a terminal"),
    GRAD_FN_END};

void grad__open_bind_data(lua_State *L) {
  grad__lua_metatable(L, text_file, text_rows);
  lua_pop(L, 1);
  lua_newtable(L);
  grad__lua_register(L, rows);
  gradlua__modules_publish(L, "io");
}
