# What a host finds after `cmake --install`: headers, libraries, a CMake package and pkg-config files.

# Headers include each other by their place in src/; installed they stand side by side, those of the layers as
# grad_NAME.h. In this order each comes after those that it includes.
set(core_headers include/grad.h linalg/krylov.h optim/minimize.h optim/least_squares.h optim/root.h optim/update.h
  optim/schedule.h)
set(public_headers ${core_headers} include/gradlua.h)
foreach(header IN LISTS public_headers)
  file(READ ${PROJECT_SOURCE_DIR}/src/${header} text)
  string(REGEX REPLACE "#include <[^>]*>|#include \"[^\"]*\"" "" plain "${text}")
  string(APPEND all_declarations "${plain}\n")
  if(header IN_LIST core_headers)
    string(APPEND core_declarations "${plain}\n")
  endif()
  string(REPLACE "\"include/" "\"" text "${text}")
  string(REGEX REPLACE "\"(optim|linalg)/" "\"grad_" text "${text}")
  get_filename_component(name ${header} NAME)
  if(NOT header MATCHES "^include/")
    set(name grad_${name})
  endif()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/public/${name} CONTENT "${text}" @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/public/${name} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${header})
endforeach()

# gradlua_declarations(FILE "what it is" text): the text after the preprocessor, plain C declarations.
function(gradlua_declarations file title text)
  file(WRITE ${PROJECT_BINARY_DIR}/declarations.h "${text}")
  execute_process(COMMAND ${CMAKE_C_COMPILER} -E -P -DGRAD_API= ${PROJECT_BINARY_DIR}/declarations.h
    OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  file(CONFIGURE OUTPUT ${file} CONTENT "/* ${title} */\n${text}" @ONLY)
endfunction()

gradlua_declarations(${PROJECT_BINARY_DIR}/public/grad_ffi.h
  "grad_ffi.h: the headers of the core after the preprocessor, for FFIs that have none." "${core_declarations}")
install(FILES ${PROJECT_BINARY_DIR}/public/grad_ffi.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
# What scripts/abi compares with the declarations of the first version.
gradlua_declarations(${PROJECT_BINARY_DIR}/abi.h "All public headers of ${PROJECT_VERSION} after the preprocessor."
  "typedef struct lua_State lua_State;\n${all_declarations}")

install(TARGETS ${libraries} EXPORT gradlua
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/gradlua)
install(EXPORT gradlua NAMESPACE gradlua:: DESTINATION ${package} FILE gradlua-targets.cmake)

include(CMakePackageConfigHelpers)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/gradlua-config-version.cmake COMPATIBILITY SameMinorVersion)
file(WRITE ${PROJECT_BINARY_DIR}/gradlua-config.cmake
  "include(CMakeFindDependencyMacro)\nfind_dependency(Threads)\ninclude(\${CMAKE_CURRENT_LIST_DIR}/gradlua-targets.cmake)\n")
install(FILES ${PROJECT_BINARY_DIR}/gradlua-config.cmake ${PROJECT_BINARY_DIR}/gradlua-config-version.cmake
  DESTINATION ${package})

file(RELATIVE_PATH up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/") # so that the installed tree can be moved

# gradlua_pkg_config(NAME "what it is" "libraries" "what a static link needs beside them")
function(gradlua_pkg_config name description libs private)
  file(WRITE ${PROJECT_BINARY_DIR}/${name}.pc "prefix=\${pcfiledir}/${up}
Name: ${name}
Description: ${description}
Version: ${PROJECT_VERSION}
Cflags: -I\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}
Libs: -L\${prefix}/${CMAKE_INSTALL_LIBDIR} ${libs}
Libs.private: ${private}
")
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

gradlua_pkg_config(grad "computing with derivatives, in C" -lgrad "-lsleef -lz -lm -ldl -lpthread")
gradlua_pkg_config(gradlua "computing with derivatives, in Lua 5.4" -lgradlua "-lsleef -lz -lm -ldl -lpthread")
