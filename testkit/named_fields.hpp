// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <string>

#include <shm/checking.hpp>
#include <shm/object/fields.hpp>

namespace shm::model {

/// Calls each field of a header in traces what its table calls it.
template <class Header>
void name_fields(const Header& header, const std::string& before = "", const std::string& behind = "") {
    const auto* const bytes = reinterpret_cast<const std::byte*>(&header);
    for (const field& each : Header::fields()) name(bytes + each.lies_at, before + each.name + behind);
}

/// Of an array: claim[0], claim[1], ...
template <class Headers>
void name_fields_of_each(const Headers& headers, const std::string& before = "") {
    for (std::size_t i = 0; i < headers.size(); ++i) name_fields(headers[i], before, "[" + std::to_string(i) + "]");
}

}  // namespace shm::model
