# Writes a C table of Lua sources, so that a program needs no file beside itself. Run as a script:
#   cmake -DOUT=modules.c -DROOT=lua -P embed.cmake
# lua/gradlua/nn.lua becomes the entry {"gradlua.nn", source, size}; lua/gradlua/init.lua would be "gradlua".
file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/*.lua)
list(SORT files)
set(arrays "")
set(table "")
set(count 0)
foreach(file IN LISTS files)
  file(READ ${ROOT}/${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "/init\\.lua$|\\.lua$" "" module ${file})
  string(REPLACE "/" "." module ${module})
  string(APPEND arrays "static const unsigned char source_${count}[] = {${bytes}0};\n")
  string(APPEND table "  {\"${module}\", (const char *)source_${count}, sizeof source_${count} - 1},\n")
  math(EXPR count "${count} + 1")
endforeach()
file(WRITE ${OUT} "/* Generated from lua/ by scripts/cmake/embed.cmake. */
#include \"lua/modules.h\"

${arrays}
const gradlua_module gradlua__modules[] = {
${table}  {NULL, NULL, 0}};
")
