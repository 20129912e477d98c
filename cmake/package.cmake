# SPDX-License-Identifier: MIT OR Apache-2.0
# What `make package` makes: a .tar.gz of all that is installed, and one .deb. packaging/README.md says why one.

install(FILES CHANGELOG.md CONTRIBUTING.md README.md SECURITY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR}
  FILES_MATCHING PATTERN *.md PATTERN *.png PATTERN *.svg PATTERN doxygen EXCLUDE)
install(FILES examples/readme.cpp examples/two_processes.cpp DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES LICENSE-APACHE LICENSE-MIT DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT licences)

# The packager is the package's maintainer, and is known by the same two variables to Debian's own tools.
set(maintainer "nobody yet: set DEBFULLNAME and DEBEMAIL <maintainer@unset.invalid>")
if(DEFINED ENV{DEBFULLNAME} AND DEFINED ENV{DEBEMAIL})
  set(maintainer "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
endif()
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)  # that of SOURCE_DATE_EPOCH, where it is set
configure_file(packaging/debian/changelog.in debian/changelog @ONLY)
file(ARCHIVE_CREATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/debian/changelog.gz FORMAT raw COMPRESSION GZip
  COMPRESSION_LEVEL 9 PATHS ${CMAKE_CURRENT_BINARY_DIR}/debian/changelog)
install(FILES packaging/debian/copyright ${CMAKE_CURRENT_BINARY_DIR}/debian/changelog.gz
  DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT debian EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR TGZ)  # and DEB, of a build with -DCMAKE_INSTALL_PREFIX=/usr
set(CPACK_PACKAGE_NAME shm-primitives)
set(CPACK_PACKAGE_VENDOR "The shm-primitives authors")
set(CPACK_PACKAGE_FILE_NAME shm-primitives-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_PACKAGE_CHECKSUM SHA256)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_COMPONENTS_ALL Unspecified debian)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_NAME libshm-primitives-dev)
set(CPACK_DEBIAN_PACKAGE_SOURCE shm-primitives)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${maintainer})
string(REPLACE x86_64 amd64 CPACK_DEBIAN_PACKAGE_ARCHITECTURE ${CMAKE_SYSTEM_PROCESSOR})
string(REPLACE aarch64 arm64 CPACK_DEBIAN_PACKAGE_ARCHITECTURE ${CPACK_DEBIAN_PACKAGE_ARCHITECTURE})
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6-dev, libstdc++-12-dev | libstdc++-dev")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "cmake, pkgconf")
set(CPACK_PACKAGE_DESCRIPTION
"Each primitive is model-checked, property-tested and run under ThreadSanitizer
in the very form in which it is installed here: headers, and a static library
for what makes system calls. A consumer finds it as shm::primitives through
find_package(shm_primitives) of CMake, or as shm-primitives through pkg-config.")
include(CPack)
