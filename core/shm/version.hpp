// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <string_view>

/// All of the library. Its binary interface is that of the inline namespace v1.
namespace shm {
inline namespace v1 {

/// The library's version. CMake reads it here, so the package and the headers cannot disagree. What two peers must
/// share to exchange data is not this but the layout version in a region's header.
inline constexpr std::string_view version = "0.1.0";

}  // namespace v1
}  // namespace shm
