// SPDX-License-Identifier: MIT OR Apache-2.0
// Clients of a pool: two or three threads, a slot of each of two sizes. Handles are those that a thread has allocated, and any
// others, of either size: of slots that somebody else holds, or held, or will.
#include <array>
#include <shm/var_slot_pool.hpp>
#include <span>

#include <shm/explore_atomics.hpp>

#include "checker/clients/clients.hpp"
#include "models/var_slot_pool/memory.hpp"
#include "models/var_slot_pool/reference.hpp"

namespace shm::model {
namespace {

constexpr std::size_t most_threads = 3;
constexpr pool_class sizes[] = {{1, 64}, {1, 128}};

/// More tries than all others together can spoil: nobody is told `contended`.
using pool = var_slot_pool<slab_widths{.attempts = 32}, explore_atomics>;

/// A pool with the operations of its reference.
class pool_of_a_client {
public:
    static constexpr const char* lanes[] = {"first", "second", "third"};

    explicit pool_of_a_client(const pool_reference& start) {
        const auto made = pool::create(shared_.bytes(),
                                       {std::span{sizes}.first(start.slabs.size()), 64, std::uint32_t{most_threads}});
        for (std::size_t i = 0; i < most_threads; ++i)
            members_[i].emplace(made->join({static_cast<std::uint32_t>(i) + 1, 1}).value());
    }

    pool_alloc_result try_alloc(std::size_t member, std::size_t bytes) {
        const pool_alloc_result taken = members_[member]->try_alloc(bytes);
        if (taken) latest_[member] = *taken;
        return taken;
    }
    [[nodiscard]] pool_handle latest(std::size_t member) const { return latest_[member]; }
    slot_change change(slab_call::kind how, std::size_t member, pool_handle handle) {
        return change_by(*members_[member], how, handle);
    }

private:
    pool_memory<pool, most_threads, 1> shared_;
    std::array<std::optional<pool::member>, most_threads> members_;
    std::array<pool_handle, most_threads> latest_;  // of each thread, its own
};

/// Up to `most` calls of a member.
std::vector<pool_call> calls(std::size_t member, int most, std::uint32_t slabs) {
    const auto full_size = [](auto gen) { return rc::gen::resize(rc::kNominalSize, std::move(gen)); };
    const auto what =
        rc::gen::element(slab_call::try_alloc, slab_call::try_alloc, slab_call::mark_in_flight, slab_call::adopt,
                         slab_call::free, slab_call::free_allocated, slab_call::free_allocated);
    return *rc::gen::resize(most,
                            rc::gen::container<std::vector<pool_call>>(full_size(rc::gen::apply(
                                [member](slab_call::kind kind, std::size_t bytes, bool other, std::uint32_t slab,
                                         std::uint64_t generation) {
                                    return pool_call{kind, member, bytes, !other, {slab, {0, generation}}};
                                },
                                what, rc::gen::element<std::size_t>(1, 64, 65, 128, 129), rc::gen::arbitrary<bool>(),
                                rc::gen::inRange<std::uint32_t>(0, slabs), rc::gen::inRange<std::uint64_t>(1, 4)))));
}

rc::Gen<client<pool_reference>> any_client() {
    return rc::gen::exec([] {
        client<pool_reference> made;
        const auto slabs = *rc::gen::inRange<std::uint32_t>(1, std::size(sizes) + 1);
        made.start = pool_reference{most_threads};
        for (std::uint32_t i = 0; i < slabs; ++i) made.start.add(sizes[i].slot_count, sizes[i].slot_size);
        made.before = calls(0, 3, slabs);
        made.threads.push_back(calls(0, 4, slabs));
        made.threads.push_back(calls(1, 4, slabs));
        if (auto third = calls(2, 2, slabs); !third.empty()) made.threads.push_back(std::move(third));
        for (std::uint32_t i = 0; i <= slabs; ++i) made.after.push_back({slab_call::try_alloc, 0, 1});
        return made;
    });
}

const bool added = [] {
    add_clients<pool_of_a_client, pool_reference>("var_slot_pool", any_client);
    return true;
}();

}  // namespace
}  // namespace shm::model
