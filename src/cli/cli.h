/* cli.h: what the files of the gradlua command share. */
#ifndef GRADLUA_CLI_H
#define GRADLUA_CLI_H

#include <lua.h>

/* --- run.c */
/* cli_call: calls the function below its nargs arguments; Ctrl-C interrupts it. On failure the message, with a
 * traceback, is on the stack. Returns Lua's status. */
int cli_call(lua_State *L, int nargs, int nresults);

/* cli_report: prints and pops the message when status is a failure. Returns status. */
int cli_report(lua_State *L, int status);

/* --- interrupt.c: Ctrl-C while Lua code runs. The first one raises "interrupted!" in the script, also in the middle of
 * a kernel; a second one, when the first did not help, ends the process. */
void cli_interrupt_begin(lua_State *L);
void cli_interrupt_end(lua_State *L);

/* The flag that the toolkit's kernels poll (gradlua_interrupt_flag), once it is opened; NULL before it is closed. */
void cli_interrupt_kernels(volatile int *flag);

/* Around reading a line: Ctrl-C ends the read; read_end tells whether it did. */
void cli_interrupt_read_begin(void);
int cli_interrupt_read_end(void);

/* --- edit.c: pushes the table of line editing functions that the module gradlua.prompt works with. */
void cli_edit_push(lua_State *L);

/* --- blocks.c: an allocator (lua_Alloc) for small blocks; free gives back its memory, after the state is closed. */
typedef struct cli_blocks cli_blocks;
cli_blocks *cli_blocks_new(void);
void *cli_blocks_alloc(void *blocks, void *old, size_t old_size, size_t size);
void cli_blocks_free(cli_blocks *blocks);

/* --- version.c: pushes the line that `gradlua -v` prints. */
void cli_version_push(lua_State *L);

#endif
