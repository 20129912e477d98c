# SPDX-License-Identifier: MIT OR Apache-2.0
# Untested: vcpkg is not in Debian, so CI does not run this port. packaging/README.md says what is checked of it.
#
#     vcpkg install shm-primitives --overlay-ports=packaging/vcpkg
#
# It builds the tree that it lies in, of whose changes vcpkg knows nothing: add --no-binarycaching. In vcpkg's registry, vcpkg_from_github takes the place of this line.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)

vcpkg_cmake_configure(SOURCE_PATH "${SOURCE_PATH}" OPTIONS -DSHM_PROOFS=none -DSHM_MODEL=OFF)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME shm_primitives CONFIG_PATH lib/cmake/shm_primitives)
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE
  "${CURRENT_PACKAGES_DIR}/debug/include"
  "${CURRENT_PACKAGES_DIR}/debug/share"
  "${CURRENT_PACKAGES_DIR}/share/doc")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE-APACHE" "${SOURCE_PATH}/LICENSE-MIT")
