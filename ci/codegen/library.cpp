// SPDX-License-Identifier: MIT OR Apache-2.0
#include <shm/spsc_ring.hpp>

template class shm::spsc_ring_raw<std::uint64_t>;
