// SPDX-License-Identifier: MIT OR Apache-2.0
// Clients of a slab: two or three threads, one or two slots. Handles are those that a thread has allocated, and any others: of
// slots that somebody else holds, or held, or will.
#include <array>
#include <shm/treiber_slab.hpp>

#include <shm/explore_atomics.hpp>

#include "checker/clients/clients.hpp"
#include "models/treiber_slab/memory.hpp"
#include "models/treiber_slab/reference.hpp"

namespace shm::model {
namespace {

constexpr std::uint32_t most_slots = 2;
constexpr std::size_t most_threads = 3;

/// More tries than all others together can spoil: nobody is told `contended`.
using slab = treiber_slab<slab_widths{.attempts = 32}, explore_atomics>;

/// A slab with the operations of its reference.
class slab_of_a_client {
public:
    static constexpr const char* lanes[] = {"first", "second", "third"};

    explicit slab_of_a_client(const slab_reference& start) {
        const auto made = slab::create(
            shared_.bytes(), {static_cast<std::uint32_t>(start.slots.size()), 8, 8, std::uint32_t{most_threads}});
        for (std::size_t i = 0; i < most_threads; ++i)
            members_[i].emplace(made->join({static_cast<std::uint32_t>(i) + 1, 1}).value());
    }

    alloc_result try_alloc(std::size_t member) {
        const alloc_result taken = members_[member]->try_alloc();
        if (taken) latest_[member] = *taken;
        return taken;
    }
    [[nodiscard]] slot_handle latest(std::size_t member) const { return latest_[member]; }
    slot_change change(slab_call::kind how, std::size_t member, slot_handle handle) {
        return change_by(*members_[member], how, handle);
    }

private:
    slab_memory<slab, most_threads, most_slots> shared_;
    std::array<std::optional<slab::member>, most_threads> members_;
    std::array<slot_handle, most_threads> latest_;  // of each thread, its own
};

/// Up to `most` calls of a member.
std::vector<slab_call> calls(std::size_t member, int most, std::uint32_t slots) {
    const auto full_size = [](auto gen) { return rc::gen::resize(rc::kNominalSize, std::move(gen)); };
    const auto what =
        rc::gen::element(slab_call::try_alloc, slab_call::try_alloc, slab_call::mark_in_flight, slab_call::adopt,
                         slab_call::free, slab_call::free_allocated, slab_call::free_allocated);
    return *rc::gen::resize(
        most, rc::gen::container<std::vector<slab_call>>(full_size(rc::gen::apply(
                  [member](slab_call::kind kind, bool other, std::uint32_t index, std::uint64_t generation) {
                      return slab_call{kind, member, !other, index, generation};
                  },
                  what, rc::gen::arbitrary<bool>(), rc::gen::inRange<std::uint32_t>(0, slots),
                  rc::gen::inRange<std::uint64_t>(1, 4)))));
}

rc::Gen<client<slab_reference>> any_client() {
    return rc::gen::exec([] {
        client<slab_reference> made;
        const auto slots = *rc::gen::inRange<std::uint32_t>(1, most_slots + 1);
        made.start = slab_reference{slots, most_threads};
        made.before = calls(0, 3, slots);
        made.threads.push_back(calls(0, 4, slots));
        made.threads.push_back(calls(1, 4, slots));
        if (auto third = calls(2, 2, slots); !third.empty()) made.threads.push_back(std::move(third));
        for (std::uint32_t i = 0; i <= slots; ++i) made.after.push_back({slab_call::try_alloc});
        return made;
    });
}

const bool added = [] {
    add_clients<slab_of_a_client, slab_reference>("treiber_slab", any_client);
    return true;
}();

}  // namespace
}  // namespace shm::model
