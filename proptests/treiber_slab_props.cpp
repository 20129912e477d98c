// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

#include <shm/heap_region.hpp>
#include <shm/treiber_slab.hpp>

namespace {

using shm::slot_state;
using slab = shm::treiber_slab<>;

constexpr shm::peer_id somebody{1, 1};

RC_GTEST_PROP(treiber_slab_props, any_calls_agree_with_a_map_of_states, ()) {
    const auto slots = *rc::gen::inRange<std::uint32_t>(1, 6);
    const shm::slab_shape shape{.slot_count = slots, .slot_size = 8, .slot_alignment = 8, .member_count = 2};
    auto bytes = shm::heap_region::create(slab::required_size(shape)).value();
    const auto made = slab::create(bytes.region(), shape).value();
    auto member = made.join(somebody).value();
    std::map<std::uint64_t, slot_state> held;
    std::vector<shm::slot_handle> seen;
    for (const int call : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 6))) {
        const auto handle = seen.empty() ? shm::slot_handle{} : seen[*rc::gen::inRange<std::size_t>(0, seen.size())];
        const auto found = held.find(handle.word());
        const bool allocated = found != held.end() && found->second == slot_state::allocated;
        const bool in_flight = found != held.end() && found->second == slot_state::in_flight;
        if (call <= 1) {
            const auto taken = member.try_alloc();
            RC_ASSERT(taken.has_value() == (held.size() < slots));
            if (!taken) continue;
            RC_ASSERT(held.emplace((*taken).word(), slot_state::allocated).second);
            seen.push_back(*taken);
        } else if (call == 2) {
            RC_ASSERT(member.mark_in_flight(handle).has_value() == allocated);
            if (allocated) found->second = slot_state::in_flight;
        } else if (call == 3) {
            RC_ASSERT(member.adopt(handle).has_value() == in_flight);
            if (in_flight) found->second = slot_state::allocated;
        } else {
            const bool fits = call == 4 ? allocated : in_flight;
            RC_ASSERT((call == 4 ? member.free_allocated(handle) : member.free(handle)).has_value() == fits);
            if (fits) held.erase(found);
        }
        RC_ASSERT(made.free_count_approx() == slots - held.size());
    }
}

}  // namespace
