/* interrupt.c: Ctrl-C. The signal handler sets a flag, which kernels poll through the context, and a hook, which Lua
 * code runs into at its next instruction. */
#include "cli/cli.h"

#include <signal.h>
#include <stddef.h>
#include <lauxlib.h>

static volatile sig_atomic_t interrupted;
static lua_State *running;    /* set before the handler is, so that the handler may read it */
static volatile int *kernels; /* the toolkit's flag; NULL until it is opened */

static void set_interrupted(int value) {
  interrupted = value;
  if (kernels) *kernels = value;
}

static void raise_interrupted(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  set_interrupted(0);
  luaL_error(L, "interrupted!");
}

static void set_handler(void (*handler)(int)) {
  struct sigaction action = {.sa_handler = handler};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
}

/* lua_sethook may be called from a signal handler: Lua's manual says so. */
static void on_signal(int number) {
  (void)number;
  set_handler(SIG_DFL);
  set_interrupted(1);
  lua_sethook(running, raise_interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

void cli_interrupt_kernels(volatile int *flag) { kernels = flag; }

void cli_interrupt_begin(lua_State *L) {
  running = L;
  set_interrupted(0);
  set_handler(on_signal);
}

void cli_interrupt_end(lua_State *L) {
  set_handler(SIG_DFL);
  if (interrupted) lua_sethook(L, NULL, 0, 0);
  set_interrupted(0);
}

static void on_signal_while_reading(int number) {
  (void)number;
  interrupted = 1;
}

void cli_interrupt_read_begin(void) {
  interrupted = 0;
  set_handler(on_signal_while_reading);
}

int cli_interrupt_read_end(void) {
  const int was = interrupted != 0;
  set_handler(SIG_DFL);
  interrupted = 0;
  return was;
}
