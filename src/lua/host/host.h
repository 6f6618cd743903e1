/* host.h: what the files of the embedding share. */
#ifndef GRAD_LUA_HOST_H
#define GRAD_LUA_HOST_H

#include <stdbool.h>

#include "include/gradlua.h"
#include "io/source.h"

enum { GRADLUA_MESSAGE = 4096 };

struct gradlua {
  lua_State *L;
  grad_ctx *ctx; /* that of L, while there is one */
  gradlua_config config;
  grad_alloc_fn alloc;
  size_t used;
  gradlua_file_calls file_calls;
  grad_file_system files;
  _Atomic int stop;     /* asked for by gradlua_stop, from any thread or signal handler */
  bool running;         /* a call from the host is under way */
  const char *ended;    /* why the call that runs must end; NULL while it may go on */
  int64_t instructions; /* left in this call */
  double deadline;      /* monotonic seconds; 0: none */
  char message[GRADLUA_MESSAGE];
};

/* --- host_limits.c */
/* Allocator of the Lua state, and so of its context. ud: the gradlua. */
void *gradlua__host_alloc(void *ud, void *block, size_t old_size, size_t new_size);
/* Polled by the core, from worker threads too. ud: the gradlua. */
int gradlua__host_interrupt(void *ud);
/* Makes the limits hold in the state: the hook of the main thread, inherited by every coroutine. */
void gradlua__limits_install(gradlua *g);
void gradlua__limits_begin(gradlua *g);
/* Why the call that runs must end; NULL while it may go on. */
const char *gradlua__limits_reason(const gradlua *g);

/* For functions that work for long without running Lua: once every GRADLUA_STRIDE steps of theirs. Raises when the call
 * must end. */
enum { GRADLUA_STRIDE = 1000 };
void gradlua__limits_look(lua_State *L);

/* --- host_strings.c: puts functions that look at the limits in the place of those of the string library that may work
 * for long. */
void gradlua__strings_install(lua_State *L);

/* --- host_sandbox.c: opens the standard library as the configuration says; called from Lua. */
void gradlua__libraries_open(lua_State *L, gradlua_libraries libraries);

/* --- host_files.c: makes the configuration's files those of the context; called from Lua. In the safe library, adds
 * what runs files. */
void gradlua__files_install(gradlua *g);

/* --- host.c: calls the C function with `ud` as its light userdata argument, protected, within the limits. What goes
 * wrong becomes a status and the message. */
grad_status gradlua__protected(gradlua *g, lua_CFunction f, void *ud);

#endif
