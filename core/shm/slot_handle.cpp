// SPDX-License-Identifier: MIT OR Apache-2.0
#include <cstdio>
#include <cstdlib>

#include <shm/slot_handle.hpp>

namespace shm {
inline namespace v1 {
namespace {

std::string state_name(std::uint64_t value) {
    switch (static_cast<slot_state>(value)) {
        case slot_state::free: return "free";
        case slot_state::allocated: return "allocated";
        case slot_state::in_flight: return "in flight";
    }
    return "no such state (" + std::to_string(value) + ")";
}

}  // namespace

std::string slot_error::sentence() const {
    const std::string wanted = std::to_string(expected), found = std::to_string(actual);
    switch (what) {
        case kind::invalid_index: return "slot index: expected less than " + wanted + ", found " + found;
        case kind::generation_mismatch: return "slot generation: expected " + wanted + ", found " + found;
        case kind::invalid_state:
            return "slot state: expected " + state_name(expected) + ", found " + state_name(actual);
        case kind::contended: return "free list: expected one try of " + wanted + " to succeed, found none that did";
        case kind::corrupt: return "free list: expected free slots below " + wanted + ", each once, found " + found;
        case kind::wrong_process: return "member: expected process " + wanted + ", found process " + found;
        case kind::no_such_slab: return "slab number: expected less than " + wanted + ", found " + found;
    }
    return "slot error of unknown kind: expected " + wanted + ", found " + found;
}

void slot_error::die() const {
    std::fprintf(stderr, "%s\n", sentence().c_str());
    std::abort();
}

}  // namespace v1
}  // namespace shm
