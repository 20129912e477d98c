# SPDX-License-Identifier: MIT OR Apache-2.0
# What is installed: the library, and how CMake and pkg-config find it.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/shm_primitives)
write_basic_package_version_file(shm_primitivesConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS shm_atomics shm_primitives EXPORT shm_primitives FILE_SET HEADERS)
install(EXPORT shm_primitives NAMESPACE shm:: FILE shm_primitivesTargets.cmake DESTINATION ${package_dir})
install(FILES cmake/shm_primitivesConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/shm_primitivesConfigVersion.cmake
  DESTINATION ${package_dir})
if(TARGET shm_model)
  install(TARGETS shm_model EXPORT shm_primitives_model ARCHIVE COMPONENT model FILE_SET HEADERS COMPONENT model)
  install(EXPORT shm_primitives_model NAMESPACE shm:: FILE shm_primitivesModel.cmake DESTINATION ${package_dir}
    COMPONENT model)
endif()
if(TARGET shm-inspect)
  install(TARGETS shm-inspect COMPONENT tools)
endif()

# Like the CMake package, the pkg-config file finds its prefix from where it lies, so that an installed tree may be
# moved. A library folder that is an absolute path has left the prefix, which then is absolute as well.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" pc_prefix "\${pcfiledir}/${pc_prefix}")
endif()
foreach(dir IN ITEMS includedir libdir)
  string(TOUPPER CMAKE_INSTALL_${dir} chosen)
  cmake_path(APPEND pc_${dir} "\${prefix}" ${${chosen}})  # an absolute path replaces the prefix
endforeach()
configure_file(packaging/shm-primitives.pc.in shm-primitives.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/shm-primitives.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
