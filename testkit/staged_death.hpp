// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <shm/proof_of_death.hpp>

namespace shm {
inline namespace v1 {

/// Vouches for the deaths that scenarios stage; a scenario lets the death happen before it.
template <>
class death_witness<struct scenario> {
public:
    static proof_of_death saw(peer_id dead) { return proof_of_death{dead}; }
};

}  // namespace v1
}  // namespace shm
