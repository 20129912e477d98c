# SPDX-License-Identifier: MIT OR Apache-2.0
"""Untested: Conan is not in Debian, so CI does not run this recipe. packaging/README.md says what is checked of it.

    conan create packaging/conan

It packs the tree that it lies in.
"""
import os

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, rmdir


class ShmPrimitives(ConanFile):
    name = "shm-primitives"
    version = "0.1.0"
    description = "Lock-free primitives for memory shared between processes, with their proofs"
    license = "MIT OR Apache-2.0"
    topics = ("lock-free", "shared-memory", "ipc", "ring-buffer")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False]}  # position independent in any case
    default_options = {"shared": False}

    def export_sources(self):
        root = os.path.join(self.recipe_folder, "..", "..")
        copy(self, "*", src=root, dst=self.export_sources_folder, excludes=(".git/*", "build/*", "build-*"))

    def validate(self):
        if self.settings.os != "Linux" or self.settings.arch not in ("x86_64", "armv8"):
            raise ConanInvalidConfiguration(
                f"expected Linux on x86_64 or armv8, found {self.settings.os} on {self.settings.arch}")
        check_min_cppstd(self, 20)

    def layout(self):
        cmake_layout(self)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["SHM_PROOFS"] = "none"
        toolchain.cache_variables["SHM_MODEL"] = False
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE-*", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))
        for generated in ("lib/cmake", "lib/pkgconfig", "share"):  # Conan makes its own
            rmdir(self, os.path.join(self.package_folder, *generated.split("/")))

    def package_info(self):
        self.cpp_info.libs = ["shm_primitives"]
        self.cpp_info.set_property("cmake_file_name", "shm_primitives")
        self.cpp_info.set_property("cmake_target_name", "shm::primitives")
        self.cpp_info.set_property("pkg_config_name", "shm-primitives")
