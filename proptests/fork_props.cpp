// SPDX-License-Identifier: MIT OR Apache-2.0
// What a forked child has of its parent's mappings, and of what its parent has attached to: nothing that it could harm.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <shm/bip_buffer.hpp>
#include <shm/memfd_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/segment_builder.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>
#include <shm/var_slot_pool.hpp>

#include "testkit/child_process.hpp"
#include "testkit/nothing_left.hpp"
#include "testkit/process_state.hpp"
#include "testkit/temporary_directory.hpp"

namespace {

const bool all_is_given_up = nothing_left::by_any_test();

using shm::fault;
using shm::fault_kind;
using ring = shm::spsc_ring<std::uint64_t>;
using slab = shm::treiber_slab<>;
using pool = shm::var_slot_pool<>;

constexpr std::uint32_t capacity = 4;
constexpr shm::slab_shape shape{.slot_count = 3, .slot_size = 64, .member_count = 3};
constexpr std::array classes{shm::pool_class{3, 64}};
constexpr shm::pool_class more{1, 64};
constexpr std::size_t enough = 1 << 16;
constexpr shm::peer_id peer{1, 1};

/// Runs `right` in a child, which exits with 0 or the number of the first that was not refused as it should be.
template <class Right>
[[nodiscard]] process_end wrong_in_a_child(Right right) {
    const pid_t parent = getpid();
    child_process child([&] {
        const fault wrong{fault_kind::wrong_process, static_cast<std::uint64_t>(parent),
                          static_cast<std::uint64_t>(getpid())};
        int number = 0, first = 0;
        const auto refused = [&](const auto& result) {
            ++number;
            const bool as_it_should =
                !result && static_cast<std::uint64_t>(result.error().what) == static_cast<std::uint64_t>(wrong.what) &&
                result.error() == wrong;
            if (!as_it_should && first == 0) first = number;
        };
        right(refused);
        return first;
    });
    return child.wait();
}

[[nodiscard]] shm::memfd_region attached(const shm::memfd_region& to) {
    return shm::memfd_region::attach(shm::unique_fd{fcntl(to.fd(), F_DUPFD_CLOEXEC, 0)}).value();
}

TEST(in_a_forked_child, no_view_of_the_parents_is_attached_to) {
    const temporary_directory directory;
    const auto sealed = shm::memfd_region::create(enough).value();
    const auto named = shm::mmap_region::create(directory / "bytes", enough).value();
    EXPECT_EQ(wrong_in_a_child([&](auto refused) {
                  for (const shm::region bytes : {sealed.region(), named.region()}) {
                      refused(bytes.mapped_here());
                      refused(bytes.get<int>());
                      refused(bytes.subregion(64, 64)->get<int>());
                      refused(ring::create(bytes, capacity));
                      refused(ring::attach(bytes));
                      refused(shm::bip_buffer<>::create(bytes, capacity));
                      refused(shm::bip_buffer<>::attach(bytes));
                      refused(slab::create(bytes, shape));
                      refused(slab::attach(bytes));
                      refused(pool::create(bytes, {classes}));
                      refused(pool::attach(bytes));
                      refused(shm::segment::attach(bytes));
                  }
              }),
              exited(0));
}

TEST(in_a_forked_child, no_role_is_claimed_or_taken_over) {
    const auto bytes = shm::memfd_region::create(enough).value();
    const auto made = ring::create(bytes.region(), capacity).value();
    const auto dead = dead_child_that([] {});
    EXPECT_EQ(wrong_in_a_child([&](auto refused) {
                  refused(made.claim_producer(peer));
                  refused(made.claim_consumer(peer));
                  refused(made.take_over_producer(peer, dead));
                  refused(made.take_over_consumer(peer, dead));
                  refused(made.split(peer));
              }),
              exited(0));
    EXPECT_TRUE(made.split(peer).has_value());
}

TEST(in_a_forked_child, nobody_joins_or_reclaims) {
    const auto bytes = shm::memfd_region::create(enough).value();
    const auto made = slab::create(bytes.region(), shape).value();
    auto member = made.join(peer).value();
    child_process keeping_a_slot([&] {
        const auto mine = attached(bytes);
        auto joined = slab::attach(mine.region()).value().join(shm::this_process().value()).value();
        return joined.try_alloc() ? 0 : 1;
    });
    const auto dead = keeping_a_slot.reap();
    const pid_t parent = getpid();
    EXPECT_EQ(wrong_in_a_child([&](auto refused) { refused(made.join(peer)); }), exited(0));
    EXPECT_EQ(child_process([&] {
                  const auto done = member.reclaim(dead.proof);
                  const shm::slot_error wrong{shm::slot_error::kind::wrong_process, static_cast<std::uint64_t>(parent),
                                              static_cast<std::uint64_t>(getpid())};
                  const auto lost = member.reclaim_in_flight([](shm::slot_handle) { return true; });
                  return !done && done.error() == wrong && !lost && lost.error() == wrong ? 0 : 1;
              }).wait(),
              exited(0));
    EXPECT_EQ(member.reclaim(dead.proof)->returned, 1U);
}

TEST(in_a_forked_child, a_pool_does_not_grow_and_reclaims_nothing) {
    const auto bytes = shm::memfd_region::create(enough).value(), annex = shm::memfd_region::create(enough).value();
    auto made = pool::create(bytes.region(), {classes}).value();
    auto member = made.join(peer).value();
    const auto dead = dead_child_that([] {});
    const pid_t parent = getpid();
    EXPECT_EQ(wrong_in_a_child([&](auto refused) {
                  const auto mine = attached(annex);
                  refused(made.join(peer));
                  refused(made.meet());
                  refused(made.grow(bytes.region(), more));
                  refused(made.add_annex(mine.region(), more));
                  refused(made.attach_annex(mine.region()));
                  refused(member.meet());
                  refused(member.attach_annex(mine.region()));
              }),
              exited(0));
    EXPECT_EQ(child_process([&] {
                  const auto done = member.reclaim(dead);
                  const shm::slot_error wrong{shm::slot_error::kind::wrong_process, static_cast<std::uint64_t>(parent),
                                              static_cast<std::uint64_t>(getpid())};
                  const auto lost = member.reclaim_in_flight([](shm::pool_handle) { return true; });
                  return !done && done.error() == wrong && !lost && lost.error() == wrong ? 0 : 1;
              }).wait(),
              exited(0));
    EXPECT_EQ(made.grow(bytes.region(), more).value(), 1U);
}

TEST(in_a_forked_child, no_block_is_found_and_no_place_is_had) {
    auto plan = shm::segment_builder{}.add<ring>("jobs", capacity);
    const auto bytes = shm::memfd_region::create(plan.required_size()).value();
    const auto made = plan.create(bytes.region()).value();
    EXPECT_EQ(wrong_in_a_child([&](auto refused) {
                  refused(made.find<ring>("jobs"));
                  refused(made.join(shm::this_process().value()));
              }),
              exited(0));
}

TEST(in_a_forked_child, a_file_is_not_resized_through_the_parents_mapping) {
    const temporary_directory directory;
    auto named = shm::mmap_region::create(directory / "bytes", enough).value();
    EXPECT_EQ(wrong_in_a_child([&](auto refused) {
                  refused(named.resize(2 * enough));
                  refused(named.check_and_remap());
              }),
              exited(0));
    EXPECT_EQ(named.check_and_remap().value(), shm::region_change::unchanged);
}

TEST(in_a_forked_child, the_parents_bytes_are_not_there) {
    const temporary_directory directory;
    const auto sealed = shm::memfd_region::create(ring::required_size(capacity)).value();
    auto named = shm::mmap_region::create(directory / "bytes", 4096).value();
    (void)named.resize(1 << 20).value();
    auto [producer, consumer] = ring::create(sealed.region(), capacity).value().split(peer).value();
    ASSERT_EQ(producer.try_push(1), shm::push_result::pushed);
    const auto segfaults = [](auto use) {
        child_process child([&] {
            signal(SIGSEGV, SIG_DFL);  // not the sanitizers'
            use();
            return 0;
        });
        return child.wait() == killed_by(SIGSEGV);
    };
    EXPECT_TRUE(segfaults([&, &end = producer] { (void)end.try_push(2); }));
    EXPECT_TRUE(segfaults([&, &end = consumer] { (void)end.try_pop(); }));
    EXPECT_TRUE(segfaults([&] { named.region().data()[1 << 19] = std::byte{1}; }));
    EXPECT_EQ(consumer.try_pop(), 1U);
    EXPECT_EQ(consumer.try_pop(), std::nullopt);
}

TEST(in_a_forked_child, what_it_maps_itself_outlives_its_copies) {
    auto parents = std::optional{shm::memfd_region::create(4096).value()};
    child_process child([&] {
        const auto mine = attached(*parents);
        mine.region().data()[0] = std::byte{7};  // where the parent's was, as a rule
        parents.reset();
        return mine.region().data()[0] == std::byte{7} ? 0 : 1;
    });
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(parents->region().data()[0], std::byte{7});
}

}  // namespace
