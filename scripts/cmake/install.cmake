# What a host finds after `cmake --install`: headers, libraries, a CMake package and pkg-config files.

# Headers include each other by their place in src/; installed they stand side by side, those of optim as grad_NAME.h.
set(public_headers include/grad.h include/gradlua.h optim/minimize.h optim/least_squares.h optim/root.h optim/update.h
  optim/schedule.h)
foreach(header IN LISTS public_headers)
  file(READ ${PROJECT_SOURCE_DIR}/src/${header} text)
  string(REPLACE "\"include/" "\"" text "${text}")
  string(REPLACE "\"optim/" "\"grad_" text "${text}")
  get_filename_component(name ${header} NAME)
  if(header MATCHES "^optim/")
    set(name grad_${name})
  endif()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/public/${name} CONTENT "${text}" @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/public/${name} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${header})
endforeach()

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
