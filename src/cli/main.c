/* main.c: the gradlua command: the stand-alone Lua interpreter's options and manners, with the toolkit built in. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <lauxlib.h>
#include <lualib.h>
#if defined __GLIBC__
#include <malloc.h>
#endif

#include "cli/cli.h"
#include "include/gradlua.h"
#include "lua/modules.h"

typedef struct options {
  bool interactive, version, ignore_environment, execute;
  int script; /* index in argv of the script's name; argc when there is none */
} options;

static const char usage[] = "usage: gradlua [options] [script [args]]\n"
                            "  -e stat   execute string 'stat' (the toolkit is there as gl)\n"
                            "  -i        enter the prompt after executing 'script'\n"
                            "  -l mod    require library 'mod' into global 'mod'\n"
                            "  -l g=mod  require library 'mod' into global 'g'\n"
                            "  -h        show this text, as --help does\n"
                            "  -v        show version information\n"
                            "  -E        ignore environment variables\n"
                            "  -W        turn warnings on\n"
                            "  --        stop handling options\n"
                            "  -         stop handling options and execute stdin\n";

static bool takes_value(const char *option) { return option[1] == 'e' || option[1] == 'l'; }

/* The value of -e or -l: the rest of the argument, or the next one. */
static const char *option_value(char **argv, int *i) { return argv[*i][2] ? argv[*i] + 2 : argv[++*i]; }

/* Returns the index of the argument that is wrong (or asks for help), or 0. */
static int parse(int argc, char **argv, options *out) {
  int i = 1;
  for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
    const char *option = argv[i];
    if (strcmp(option, "--") == 0) {
      i++;
      break;
    }
    if (takes_value(option)) {
      out->execute |= option[1] == 'e';
      if (!option[2] && ++i == argc) return i - 1;
      continue;
    }
    if (option[2]) return i;
    switch (option[1]) {
    case 'i':
      out->interactive = out->version = true;
      break;
    case 'v':
      out->version = true;
      break;
    case 'E':
      out->ignore_environment = true;
      break;
    case 'W':
      break;
    default:
      return i;
    }
  }
  out->script = i;
  return 0;
}

/* Global `arg`: the script at 0, its arguments from 1, what stood before it at negative positions. */
static void set_arg(lua_State *L, int argc, char **argv, int script) {
  const int zero = script < argc ? script : 0;
  lua_createtable(L, argc - zero, zero + 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - zero);
  }
  lua_setglobal(L, "arg");
}

static int run_string(lua_State *L, const char *source, const char *name) {
  int status = luaL_loadbuffer(L, source, strlen(source), name);
  if (status == LUA_OK) status = cli_call(L, 0, 0);
  return cli_report(L, status);
}

static int run_file(lua_State *L, const char *path) {
  int status = luaL_loadfile(L, path);
  if (status == LUA_OK) status = cli_call(L, 0, 0);
  return cli_report(L, status);
}

static int run_library(lua_State *L, const char *name) {
  const char *equals = strchr(name, '=');
  const char *global = equals ? lua_pushlstring(L, name, equals - name) : lua_pushstring(L, name);
  lua_getglobal(L, "require");
  lua_pushstring(L, equals ? equals + 1 : name);
  const int status = cli_call(L, 1, 1);
  if (status == LUA_OK) lua_setglobal(L, global);
  cli_report(L, status);
  lua_settop(L, 0);
  return status;
}

static int run_environment(lua_State *L) {
  const char *name = "LUA_INIT_5_4", *init = getenv(name);
  if (!init) init = getenv(name = "LUA_INIT");
  if (!init) return LUA_OK;
  return init[0] == '@' ? run_file(L, init + 1) : run_string(L, init, lua_pushfstring(L, "=%s", name));
}

/* -e, -l and -W, in the order in which they stand. */
static int run_options(lua_State *L, char **argv, int end) {
  for (int i = 1; i < end; i++) {
    const char option = argv[i][1];
    int status = LUA_OK;
    if (option == 'e') status = run_string(L, option_value(argv, &i), "=(command line)");
    if (option == 'l') status = run_library(L, option_value(argv, &i));
    if (option == 'W') lua_warning(L, "@on", 0);
    if (status != LUA_OK) return status;
  }
  return LUA_OK;
}

static int run_script(lua_State *L, int argc, char **argv, int script) {
  const char *path = argv[script];
  if (strcmp(path, "-") == 0 && strcmp(argv[script - 1], "--") != 0) path = NULL;
  int status = luaL_loadfile(L, path);
  if (status == LUA_OK) {
    luaL_checkstack(L, argc - script, "too many arguments to script");
    for (int i = script + 1; i < argc; i++) lua_pushstring(L, argv[i]);
    status = cli_call(L, argc - script - 1, 0);
  }
  return cli_report(L, status);
}

static void print_version(lua_State *L) {
  cli_version_push(L);
  puts(lua_tostring(L, -1));
  fflush(stdout);
  lua_pop(L, 1);
}

/* The prompt itself is Lua: lua/gradlua/prompt.lua. It protects the lines that it runs. */
static int run_prompt(lua_State *L) {
  gradlua__modules_require(L, "gradlua.prompt");
  cli_edit_push(L);
  lua_call(L, 1, 0);
  return LUA_OK;
}

/* One-liners and the prompt have the toolkit as the global `gl`; scripts say `require`. */
static void set_gl(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "gradlua");
  lua_call(L, 1, 1);
  lua_setglobal(L, "gl");
}

/* `require "gradlua"`, which from then on hears of Ctrl-C. */
static int open_toolkit(lua_State *L) {
  luaopen_gradlua(L);
  cli_interrupt_kernels(gradlua_interrupt_flag(L));
  return 1;
}

static void open_libraries(lua_State *L, bool ignore_environment) {
  if (ignore_environment) {
    lua_pushboolean(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  }
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open_toolkit);
  lua_setfield(L, -2, "gradlua");
  lua_pop(L, 1);
  gradlua__modules_preload(L);
}

/* Runs protected, with argc and argv as arguments; gives true when all went well. */
static int run(lua_State *L) {
  const int argc = (int)lua_tointeger(L, 1);
  char **argv = lua_touserdata(L, 2);
  lua_settop(L, 0);
  options o = {.script = argc};
  const int wrong = parse(argc, argv, &o);
  if (wrong && (strcmp(argv[wrong], "-h") == 0 || strcmp(argv[wrong], "--help") == 0)) {
    fputs(usage, stdout);
    lua_pushboolean(L, 1);
    return 1;
  }
  if (wrong) {
    fprintf(stderr, "gradlua: %s '%s'\n%s", takes_value(argv[wrong]) ? "missing argument after" : "unrecognized option",
            argv[wrong], usage);
    return 0;
  }
  const bool has_script = o.script < argc;
  const bool terminal = !has_script && !o.execute && !o.version && isatty(STDIN_FILENO);
  if (o.version || terminal) print_version(L);
  open_libraries(L, o.ignore_environment);
  set_arg(L, argc, argv, o.script);
  if (o.execute || o.interactive || terminal) set_gl(L);
  if (!o.ignore_environment && run_environment(L) != LUA_OK) return 0;
  if (run_options(L, argv, o.script) != LUA_OK) return 0;
  if (has_script && run_script(L, argc, argv, o.script) != LUA_OK) return 0;
  if (o.interactive || terminal)
    run_prompt(L);
  else if (!has_script && !o.execute && !o.version && run_file(L, NULL) != LUA_OK)
    return 0;
  lua_pushboolean(L, 1);
  return 1;
}

/* By default glibc hands freed memory back to the kernel soon, and taking it again costs page faults: a product of two
 * 128 x 128 matrices took 1.6 times as long. The command owns its process and may choose; a library may not. */
static void keep_freed_memory(void) {
#if defined __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

/* Lua's collector goes through all that is alive whenever as much again has been allocated: with the toolkit's own
 * tables and little else after each fifty tensors of 256 numbers, of whose sum that was half of the time. The command
 * waits for three times as much. */
static void collect_less_often(lua_State *L) { lua_gc(L, LUA_GCINC, 400, 0, 0); }

typedef struct warnings {
  bool on, inside; /* a message that goes on */
} warnings;

/* As the stand-alone interpreter does: off until the control message "@on". */
static void warn(void *ud, const char *message, int more) {
  warnings *w = ud;
  if (!w->inside && !more && *message == '@') {
    if (strcmp(message, "@on") == 0) w->on = true;
    if (strcmp(message, "@off") == 0) w->on = false;
    return;
  }
  if (w->on) fprintf(stderr, "%s%s%s", w->inside ? "" : "Lua warning: ", message, more ? "" : "\n");
  w->inside = more;
}

int main(int argc, char **argv) {
  keep_freed_memory();
  warnings w = {false, false};
  cli_blocks *blocks = cli_blocks_new();
  lua_State *L = blocks ? lua_newstate(cli_blocks_alloc, blocks) : NULL;
  if (!L) {
    fputs("gradlua: out of memory\n", stderr);
    return EXIT_FAILURE;
  }
  lua_setwarnf(L, warn, &w);
  collect_less_often(L);
  lua_pushcfunction(L, run);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  const int status = cli_report(L, lua_pcall(L, 2, 1, 0));
  const bool ok = status == LUA_OK && lua_toboolean(L, -1);
  cli_interrupt_kernels(NULL);
  lua_close(L);
  cli_blocks_free(blocks);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
