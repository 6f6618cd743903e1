/* gradlua.h: embedding the Lua toolkit in a host application. Include grad.h alone to use the core with no Lua. */
#ifndef GRADLUA_H
#define GRADLUA_H

#include <lua.h>

#include "grad.h"

#ifdef __cplusplus
extern "C" {
#endif

/* luaopen_gradlua_core: the C half of the module, `require "gradlua.core"`; lua/gradlua/init.lua is the other. */
GRAD_API int luaopen_gradlua_core(lua_State *L);

/* luaopen_gradlua: both halves; the modules under lua/ are compiled in. `luaL_requiref(L, "gradlua", luaopen_gradlua, 0)`
 * gives a host the whole toolkit. */
GRAD_API int luaopen_gradlua(lua_State *L);

/* gradlua_context: the core's context that the toolkit uses in L. NULL before luaopen_gradlua_core. */
GRAD_API grad_ctx *gradlua_context(lua_State *L);

/* gradlua_interrupt_flag: set *flag to 1, from a signal handler or another thread, to stop the computation that runs
 * with the Lua error "interrupted!"; it is cleared then. NULL before luaopen_gradlua_core. Valid until lua_close. */
GRAD_API volatile int *gradlua_interrupt_flag(lua_State *L);

/* --- a whole toolkit for a host that has no lua_State of its own
 *
 * A gradlua is one Lua state with its context. It shares nothing with another: each thread may have its own, one is used by
 * one thread at a time (gradlua_stop excepted). Calls give a status; gradlua_message tells what happened, with the script's
 * traceback. No call exits, prints or raises. */

typedef struct gradlua gradlua;

/* The standard library that scripts see. SAFE is without io, os, debug and package, loads no bytecode, and refuses
 * finalizers, which Lua runs where no limit can stop them. dofile, loadfile and require are there when there are files,
 * and reach those only: `require "a.b"` runs a/b.lua or a/b/init.lua. */
typedef enum gradlua_libraries { GRADLUA_LIBRARIES_SAFE, GRADLUA_LIBRARIES_ALL } gradlua_libraries;

/* What gl.data, gl.save, gl.load, gl.logger and the like may touch; all of them go through this one place. */
typedef enum gradlua_files {
  GRADLUA_FILES_NONE,
  GRADLUA_FILES_ALL, /* the system's */
  GRADLUA_FILES_HOST /* those that gradlua_config.file_calls open */
} gradlua_files;

/* Files of the host: an archive, a store, one folder. Called on the state's own thread; a status other than GRAD_OK is
 * the script's error. */
typedef struct gradlua_file_calls {
  size_t size; /* sizeof(gradlua_file_calls); 0: those of version 0.1 */
  void *user;
  /* *file, which is handed to the other calls, is opened for writing when `writing` is not 0, else for reading. */
  grad_status (*open)(void *user, const char *path, int writing, void **file);
  /* Up to `size` bytes; *got is their number, 0 at the end. */
  grad_status (*read)(void *user, void *file, void *buffer, size_t size, size_t *got);
  grad_status (*write)(void *user, void *file, const void *data, size_t size); /* all of it */
  /* Ends the use of file, whatever it returns. What was written takes the place of an old file of that name, as a whole,
   * when `keep` is not 0; else nothing has happened. */
  grad_status (*close)(void *user, void *file, int keep);
} gradlua_file_calls;

typedef struct gradlua_config {
  size_t size; /* sizeof(gradlua_config), so that later versions can add fields; 0: those of version 0.1 */
  grad_alloc_fn alloc; /* for Lua, tensors and plans; NULL: the C library's */
  void *alloc_ud;
  size_t byte_limit; /* of all of them together; 0: none */
  grad_interrupt_fn interrupt; /* polled while a script or a kernel runs; not 0 stops the call with GRAD_EINTERRUPT */
  void *interrupt_ud;
  grad_progress_fn progress; /* told of minimizers' iterations and of loops with a progress bar */
  void *progress_ud;
  double max_seconds;       /* of one call from the host; 0: none */
  int64_t max_instructions; /* of Lua in one call, to the nearest thousand; 0: none. Kernels do not count. */
  int threads;              /* as in grad_config, and the most that scripts can ask for; 0: as many as they like */
  gradlua_libraries libraries;
  gradlua_files files;
  const gradlua_file_calls *file_calls; /* for GRADLUA_FILES_HOST; copied */
} gradlua_config;

/* gradlua_new: a state with the toolkit loaded as global `gl`. config NULL: no limits, safe libraries, no files.
 * Errors: ENOMEM; EVALUE for files of the host without the calls. */
GRAD_API grad_status gradlua_new(const gradlua_config *config, gradlua **out);
/* gradlua_free: arrays and functions made with it must have been freed before. */
GRAD_API void gradlua_free(gradlua *g);

GRAD_API lua_State *gradlua_state(gradlua *g);
GRAD_API grad_ctx *gradlua_core(gradlua *g); /* for arrays that are lent to scripts, and functions */
GRAD_API const char *gradlua_message(const gradlua *g);
GRAD_API size_t gradlua_bytes(const gradlua *g); /* in use now, Lua and core together */

/* gradlua_stop: from any thread or signal handler: the call that runs, or the next one, ends with GRAD_EINTERRUPT. What
 * was stopped cannot go on by catching the error: pcall sees it again at its next instruction. */
GRAD_API void gradlua_stop(gradlua *g);

/* gradlua_run, gradlua_run_file: run a chunk of Lua text; path is the system's, whatever scripts may touch. What it returns first becomes the global `name` (NULL: dropped).
 * Errors: ESCRIPT, EINTERRUPT (a limit; the message says which), ENOMEM, EIO. */
GRAD_API grad_status gradlua_run(gradlua *g, const char *text, size_t size, const char *chunk, const char *name);
GRAD_API grad_status gradlua_run_file(gradlua *g, const char *path, const char *name);

/* gradlua_lend: the array (made in gradlua_core) becomes the global tensor `name`, without a copy. A read-only array
 * cannot be changed by the script. The script may keep it: its memory is released when the last user is gone. */
GRAD_API grad_status gradlua_lend(gradlua *g, const char *name, const grad_array *array);

/* gradlua_call: calls the function that `name` names ("loss", or "model.loss" for a field) with the arrays as tensors, not
 * copied; copies the results, tensors or numbers, into out. Errors: as gradlua_run; ESHAPE, EDTYPE for results that do
 * not fit. */
GRAD_API grad_status gradlua_call(gradlua *g, const char *name, int nin, const grad_array *const *in, int nout,
                                  grad_array *const *out);

/* gradlua_register: the host's operation becomes the global function `name`, of tensors, for eager code and in every
 * transform. op must stay where it is as long as the state lives. */
GRAD_API grad_status gradlua_register(gradlua *g, const char *name, const grad_host_op *op);

typedef enum gradlua_derivative {
  GRADLUA_VALUE,    /* the results */
  GRADLUA_GRADIENT, /* the results, then the gradient of the first, a number, in each wrt argument */
  GRADLUA_HVP,      /* further inputs: v for each wrt argument; further outputs: the Hessian of the first result times v */
  GRADLUA_JACOBIAN  /* the results, then for each of them a block for each wrt argument */
} gradlua_derivative;

/* gradlua_compile: records the function once for arguments of the types of `like` and makes it, with a derivative, a
 * function of the core (grad_run, grad_run_raw): it runs without Lua, and allocates nothing from its second run on. wrt has
 * a flag for each argument (NULL: every float one). Tensors and numbers that the Lua function captured stay as they are
 * now. Errors: as gradlua_call; ESCRIPT when the function reads a value while it is recorded or draws random numbers. */
GRAD_API grad_status gradlua_compile(gradlua *g, const char *name, gradlua_derivative derivative, int nin,
                                     const grad_array *const *like, const uint8_t *wrt, grad_function **out);

#ifdef __cplusplus
}
#endif

#endif
