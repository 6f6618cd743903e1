# What gradlua needs from the system. Each missing piece is named with what it is for and the Debian package that has it.

function(gradlua_missing what purpose package)
  message(FATAL_ERROR "gradlua needs ${what}, ${purpose}. On Debian and Ubuntu: apt-get install ${package}")
endfunction()

# gradlua_find(NAME what purpose package HEADER h LIBS names... SUFFIXES dirs...): sets NAME_INCLUDE_DIR and NAME_LIBRARY.
function(gradlua_find name what purpose package)
  cmake_parse_arguments(arg "" "HEADER" "LIBS;SUFFIXES" ${ARGN})
  if(arg_HEADER)
    find_path(${name}_INCLUDE_DIR ${arg_HEADER} PATH_SUFFIXES ${arg_SUFFIXES})
    if(NOT ${name}_INCLUDE_DIR)
      gradlua_missing("${what} (header ${arg_HEADER})" "${purpose}" "${package}")
    endif()
  endif()
  find_library(${name}_LIBRARY NAMES ${arg_LIBS} PATH_SUFFIXES openblas-pthread)
  if(NOT ${name}_LIBRARY)
    gradlua_missing("${what} (library)" "${purpose}" "${package}")
  endif()
  mark_as_advanced(${name}_INCLUDE_DIR ${name}_LIBRARY)
endfunction()

find_package(Threads REQUIRED)
gradlua_find(SLEEF "SLEEF" "for vector math functions" libsleef-dev HEADER sleef.h LIBS sleef)
gradlua_find(ZLIB "zlib" "to read .gz and .npz files" zlib1g-dev HEADER zlib.h LIBS z)
# Loaded when the first matrix product is asked for, not linked: see src/linalg/blas.c. The same library has its LAPACK.
gradlua_find(OPENBLAS "OpenBLAS" "for matrix products and factorizations" libopenblas-dev LIBS openblas libopenblas.so.0)

if(GRADLUA_LUA)
  # The static library starts faster and runs quicker; the executable then exports Lua's symbols to C modules.
  gradlua_find(LUA "Lua 5.4" "the language of its scripts" liblua5.4-dev
    HEADER lua.h LIBS liblua5.4.a liblua-5.4.a lua5.4 lua54 lua SUFFIXES lua5.4 lua54 lua-5.4)
  file(STRINGS ${LUA_INCLUDE_DIR}/lua.h lua_release REGEX "define[ \t]+LUA_VERSION_(NUM|MINOR)")
  if(NOT lua_release MATCHES "LUA_VERSION_NUM[ \t]+504")
    gradlua_missing("Lua 5.4 (${LUA_INCLUDE_DIR}/lua.h is another release)" "the language of its scripts" liblua5.4-dev)
  endif()
  gradlua_find(EDIT "libedit" "for line editing at the prompt" libedit-dev HEADER editline/readline.h LIBS edit)
endif()
