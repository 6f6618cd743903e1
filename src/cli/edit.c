/* edit.c: reading lines at the prompt with libedit, as functions for lua/gradlua/prompt.lua. */
#include "cli/cli.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <editline/readline.h>
#include <lauxlib.h>

/* libedit's callbacks have no user pointer: the state whose prompt is open, with its completer in the registry. */
static lua_State *prompt_state;
static const char completer_key;

/* Calls completer(text before the cursor, word) and leaves a list of words on the stack, or nothing. */
static bool push_candidates(lua_State *L, const char *line, int end, const char *word) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &completer_key) == LUA_TFUNCTION) {
    lua_pushlstring(L, line, end);
    lua_pushstring(L, word);
    if (lua_pcall(L, 2, 1, 0) == LUA_OK && lua_istable(L, -1)) return true;
  }
  lua_pop(L, 1);
  return false;
}

/* A rl_compentry_func_t: the state-th candidate, malloc'ed, NULL after the last. The list is on top of the stack. */
static char *next_candidate(const char *word, int state) {
  (void)word;
  lua_rawgeti(prompt_state, -1, state + 1);
  const char *text = lua_tostring(prompt_state, -1);
  char *copy = text ? strdup(text) : NULL;
  lua_pop(prompt_state, 1);
  return copy;
}

static char **complete(const char *word, int start, int end) {
  (void)start;
  rl_attempted_completion_over = 1; /* never file names */
  rl_completion_append_character = '\0';
  if (!push_candidates(prompt_state, rl_line_buffer, end, word)) return NULL;
  char **matches = rl_completion_matches(word, next_candidate);
  lua_pop(prompt_state, 1);
  return matches;
}

/* A line from a pipe or a file. */
static int read_plain(lua_State *L) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  int c = getchar();
  if (c == EOF) return 0;
  for (; c != EOF && c != '\n'; c = getchar()) luaL_addchar(&b, (char)c);
  luaL_pushresult(&b);
  return 1;
}

/* read(prompt) -> line; false after Ctrl-C; nil at the end of the input */
static int edit_read(lua_State *L) {
  const char *prompt = luaL_checkstring(L, 1);
  if (!isatty(STDIN_FILENO)) return read_plain(L);
  prompt_state = L;
  cli_interrupt_read_begin();
  char *line = readline(prompt);
  if (cli_interrupt_read_end()) {
    putchar('\n');
    free(line);
    lua_pushboolean(L, 0);
    return 1;
  }
  if (!line) return 0;
  lua_pushstring(L, line);
  free(line);
  return 1;
}

static int edit_add(lua_State *L) {
  add_history(luaL_checkstring(L, 1));
  return 0;
}

static int edit_load(lua_State *L) {
  lua_pushboolean(L, read_history(luaL_checkstring(L, 1)) == 0);
  return 1;
}

static int edit_save(lua_State *L) {
  stifle_history(2000);
  lua_pushboolean(L, write_history(luaL_checkstring(L, 1)) == 0);
  return 1;
}

/* complete_with(function(line, word) -> list of words) */
static int edit_complete_with(lua_State *L) {
  static char breaks[] = " \t\n\"'`@$<>=;|&{}()[]+-*/^%#~,!?";
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &completer_key);
  rl_initialize();
  rl_readline_name = "gradlua";
  rl_basic_word_break_characters = breaks;
  rl_completer_word_break_characters = breaks;
  rl_attempted_completion_function = complete;
  return 0;
}

/* call(f) -> true and f's results, or false and the message with a traceback; Ctrl-C stops it */
static int edit_call(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  const int status = cli_call(L, 0, LUA_MULTRET);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, 1);
  return lua_gettop(L);
}

void cli_edit_push(lua_State *L) {
  static const luaL_Reg functions[] = {{"read", edit_read}, {"add", edit_add},   {"load", edit_load},
                                       {"save", edit_save}, {"call", edit_call}, {"complete_with", edit_complete_with},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  lua_pushboolean(L, isatty(STDIN_FILENO));
  lua_setfield(L, -2, "terminal");
}
