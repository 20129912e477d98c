// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <shm/bip_buffer.hpp>
#include <shm/memfd_region.hpp>
#include <shm/segment_builder.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>
#include <shm/var_slot_pool.hpp>

#include "testkit/child_process.hpp"
#include "testkit/guarded_bytes.hpp"
#include "testkit/nothing_left.hpp"
#include "testkit/process_state.hpp"
#include "testkit/sparse_bytes.hpp"
#include "testkit/staged_death.hpp"
#include "testkit/words.hpp"

/// A primitive of somebody's own, of one size: it needs no trait to be held.
struct mailbox {
    struct header {
        static constexpr std::uint64_t magic_value = 0x786f626c69616d;
        std::uint64_t magic;
        std::uint64_t letter;
    };
    static constexpr std::size_t required_size() noexcept { return sizeof(header); }
    static shm::result<mailbox> create(shm::region bytes) noexcept {
        const auto shared = bytes.get<header>();
        if (!shared) return shared.error();
        (*shared)->magic = header::magic_value;
        return mailbox{*shared};
    }
    static shm::result<mailbox> attach(shm::region bytes, shm::deadline = {}) noexcept {
        const auto shared = bytes.get<header>();
        if (!shared) return shared.error();
        if ((*shared)->magic != header::magic_value)
            return shm::fault{shm::fault_kind::magic, header::magic_value, (*shared)->magic};
        return mailbox{*shared};
    }
    header* shared;
};

/// Something of somebody's own that has other verbs, and so a trait.
struct counter {
    std::uint64_t* words;
};
template <>
struct shm::segment_kind<counter> {
    using shape = std::uint64_t;
    using handle = counter;
    static constexpr std::uint64_t kind = 77;
    static constexpr bool needs_shape = true;
    static result<segment_block> describe(const shape&) noexcept {
        return segment_block{.kind = kind, .size_bytes = 16, .element_alignment = 256};
    }
    static result<void> create(region bytes, const shape& first) noexcept {
        *bytes.get<std::uint64_t>(8).value() = first;
        return {};
    }
    static result<counter> attach(region bytes, const segment_block&) noexcept {
        return counter{bytes.get<std::uint64_t>(0).value()};
    }
};

/// Bytes that want any alignment.
struct aligned_bytes {
    std::byte* first;
};
template <>
struct shm::segment_kind<aligned_bytes> {
    struct shape {
        std::uint32_t alignment;
        std::size_t size_bytes;
    };
    using handle = aligned_bytes;
    static constexpr std::uint64_t kind = 78;
    static constexpr bool needs_shape = true;
    static result<segment_block> describe(const shape& of) noexcept {
        return segment_block{.kind = kind, .size_bytes = of.size_bytes, .element_alignment = of.alignment};
    }
    static result<void> create(region, const shape&) noexcept { return {}; }
    static result<aligned_bytes> attach(region bytes, const segment_block&) noexcept {
        return aligned_bytes{bytes.data()};
    }
};

namespace {

const bool all_is_given_up = nothing_left::by_any_test();

using shm::fault;
using shm::fault_kind;
using shm::peer_id;
using shm::segment;
using shm::segment_block;
using shm::segment_builder;
using ring = shm::spsc_ring<std::uint64_t>;
using kernel_of_tests = shm::death_witness<struct shm::scenario>;

constexpr std::size_t header_bytes = 64, line_bytes = 128, place_bytes = 64;
constexpr std::size_t name_at = 0, kind_at = 48, offset_at = 56, size_at = 64, count_at = 72, element_size_at = 80;

struct limits {
    std::uint32_t jobs_per_second;
    std::uint32_t workers;
};

segment_builder plan_of_two() { return segment_builder{}.peers(2).add<ring>("jobs", 8).add<limits>("limits", {50, 4}); }

/// A segment of that plan, in bytes of which each may be damaged.
struct made_of_two {
    guarded_bytes bytes{plan_of_two().required_size()};
    segment made = plan_of_two().create(bytes.region()).value();

    template <class T>
    void set(std::size_t line, std::size_t at, T value) {
        put_word(bytes.data(), header_bytes + line * line_bytes + at, value);
    }
    [[nodiscard]] fault refusal() const { return segment::attach(bytes.region()).error(); }
};

TEST(a_segment, has_every_kind_of_block_found_by_name) {
    static constexpr shm::pool_class classes[] = {{.slot_count = 4, .slot_size = 64},
                                                  {.slot_count = 2, .slot_size = 512}};
    auto plan = segment_builder{}
                    .peers(4)
                    .add<shm::spsc_ring<limits>>("jobs", 16)
                    .add<shm::bip_buffer<>>("log", 256)
                    .add<shm::treiber_slab<>>("slots", {.slot_count = 5, .slot_size = 100, .slot_alignment = 4096})
                    .add<shm::var_slot_pool<>>("pool", {.classes = classes})
                    .add<limits>("limits", {50, 4})
                    .add<limits>("zeroes")
                    .add<float[]>("samples", 1000)
                    .add<std::byte[]>("scratch", 3)
                    .add<mailbox>("letters")
                    .add<counter>("counter", 12);
    auto memory = shm::memfd_region::create(plan.required_size()).value();
    ASSERT_TRUE(plan.create(memory.region()).has_value());

    const segment found = segment::attach(memory.region()).value();
    EXPECT_EQ(found.blocks().size(), 10u);
    EXPECT_EQ(found.peer_count(), 4u);
    EXPECT_EQ(found.pid_namespace(), shm::this_pid_namespace().value());
    auto [producer, consumer] = found.find<shm::spsc_ring<limits>>("jobs").value().split({1, 1}).value();
    EXPECT_EQ(producer.try_push({1, 2}), shm::push_result::pushed);
    EXPECT_EQ(found.find<shm::spsc_ring<limits>>("jobs").value().size_approx(), 1u);
    EXPECT_EQ(found.find<shm::bip_buffer<>>("log").value().capacity(), 256u);
    const auto slots = found.find<shm::treiber_slab<>>("slots").value();
    EXPECT_EQ(slots.slot_size(), 4096u);
    EXPECT_TRUE(slots.join({1, 1}).value().try_alloc());
    EXPECT_EQ(found.find<shm::var_slot_pool<>>("pool").value().slab_count(), 2u);
    EXPECT_EQ(found.find<limits>("limits").value()->workers, 4u);
    EXPECT_EQ(found.find<const limits>("limits").value()->jobs_per_second, 50u);
    EXPECT_EQ(found.find<limits>("zeroes").value()->workers, 0u);
    const std::span<float> samples = found.find<float[]>("samples").value();
    EXPECT_EQ(samples.size(), 1000u);
    samples[999] = 1.5f;
    EXPECT_EQ(found.find<const float[]>("samples").value()[999], 1.5f);
    EXPECT_EQ(found.find<std::byte[]>("scratch").value().size(), 3u);
    found.find<mailbox>("letters").value().shared->letter = 42;
    const counter counted = found.find<counter>("counter").value();
    EXPECT_EQ(counted.words[1], 12u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(counted.words) % 256, 0u);
    for (const segment_block& block : found.blocks()) {
        EXPECT_EQ(block.offset % 64, 0u) << block.text();
        EXPECT_EQ(found.bytes_of(block).size_bytes(), block.size_bytes) << block.text();
    }
}

TEST(a_segment, tells_in_its_table_what_a_block_is_made_of) {
    const made_of_two of;
    const auto blocks = of.made.blocks();
    EXPECT_EQ(blocks[0].text(), "jobs");
    EXPECT_EQ(blocks[0].kind, ring::header::magic_value);
    EXPECT_EQ(blocks[0].offset, header_bytes + 2 * line_bytes + 2 * place_bytes);
    EXPECT_EQ(blocks[0].size_bytes, ring::required_size(8));
    EXPECT_EQ(blocks[0].count, 8u);
    EXPECT_EQ(blocks[0].element_size, 8u);
    EXPECT_EQ(blocks[1].count, 1u);
    EXPECT_EQ(blocks[1].element_size, sizeof(limits));
    EXPECT_EQ(blocks[1].element_alignment, alignof(limits));
}

/// Any plan: blocks do not touch each other, all are found, and not one byte more is needed.
TEST(a_segment, of_any_plan_holds_what_was_planned) {
    EXPECT_TRUE(rc::check([](const std::vector<std::pair<std::uint8_t, std::uint16_t>>& blocks, std::uint8_t peers) {
        RC_PRE(!blocks.empty() && blocks.size() <= 255 && peers != 0);
        segment_builder plan;
        plan.peers(peers).pid_namespace(0);
        std::map<std::string, std::size_t> sizes;
        for (const auto& [kind, size] : blocks) {
            const std::string name = "block " + std::to_string(sizes.size());
            if (kind % 3 == 0)
                plan.add<ring>(name, 1U << size % 8);
            else if (kind % 3 == 1)
                plan.add<std::byte[]>(name, size + 1U);
            else
                plan.add<shm::treiber_slab<>>(
                    name, {.slot_count = size % 50 + 1U, .slot_size = size + 1U, .slot_alignment = 1U << size % 10});
            sizes[name] = size;
        }
        const std::size_t needed = plan.required_size();
        const auto memory = shm::memfd_region::create(needed).value();
        RC_ASSERT(plan.create(*memory.region().subregion(0, needed - 1)).error() ==
                  (fault{fault_kind::too_small, needed, needed - 1}));
        const auto made = plan.create(memory.region());
        RC_ASSERT(made.has_value());
        const segment found = segment::attach(memory.region()).value();
        RC_ASSERT(found.blocks().size() == blocks.size());
        std::size_t number = 0, end = 0;
        for (const auto& [kind, size] : blocks) {
            const std::string name = "block " + std::to_string(number);
            const segment_block& block = found.blocks()[number++];
            RC_ASSERT(block.text() == name && block.offset >= end);
            end = block.offset + block.size_bytes;
            if (kind % 3 == 0) {
                RC_ASSERT(found.find<ring>(name).value().capacity() == 1U << size % 8);
                RC_ASSERT(found.find<std::byte[]>(name).error().what == fault_kind::block_kind);
            } else if (kind % 3 == 1) {
                const auto bytes = found.find<std::byte[]>(name).value();
                RC_ASSERT(bytes.size() == size + 1U);
                std::fill(bytes.begin(), bytes.end(), std::byte{0xff});  // and nobody else's
            } else {
                RC_ASSERT(found.find<shm::treiber_slab<>>(name).value().slot_count() == size % 50 + 1U);
            }
        }
        RC_ASSERT(end == needed);
        for (const auto& [name, size] : sizes)
            if (const auto again = found.find<ring>(name)) RC_ASSERT(again->is_empty());
    }));
}

/// Any alignments up to a page's, in any order: the largest of them is what the region must have, and each block has its own.
TEST(a_segment, of_any_alignments_is_where_it_has_them_or_refused) {
    constexpr std::size_t page = 4096;
    EXPECT_TRUE(rc::check([] {
        const auto wanted = *rc::gen::nonEmpty(rc::gen::container<std::vector<std::pair<int, std::uint16_t>>>(
            rc::gen::pair(rc::gen::inRange(0, 13), rc::gen::inRange<std::uint16_t>(1, 300))));
        RC_PRE(wanted.size() <= 20);
        segment_builder plan;
        plan.peers(1).pid_namespace(0);
        std::size_t largest = 64;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            const auto alignment = 1U << wanted[i].first;
            largest = std::max<std::size_t>(largest, alignment);
            plan.add<aligned_bytes>("block " + std::to_string(i), {alignment, wanted[i].second});
        }
        const std::size_t needed = plan.required_size();
        const auto past = 64 * *rc::gen::oneOf(rc::gen::inRange<std::size_t>(0, page / 64),
                                               rc::gen::element<std::size_t>(0, 2, 4, 8, 16, 32));
        std::vector<std::byte> memory(2 * page + needed + 64);
        const auto from_page = reinterpret_cast<std::uintptr_t>(memory.data()) % page;
        const shm::region bytes{memory.data() + (page - from_page) + past, needed};
        const auto made = plan.create(bytes);
        if (past % largest != 0) {
            RC_ASSERT(made.error() == (fault{fault_kind::misaligned, largest, past % largest}));
            return;
        }
        const segment found = segment::attach(bytes).value();
        std::uintptr_t end = reinterpret_cast<std::uintptr_t>(bytes.data());
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            const auto first = found.find<aligned_bytes>("block " + std::to_string(i)).value().first;
            const auto at = reinterpret_cast<std::uintptr_t>(first), alignment = std::uintptr_t{1} << wanted[i].first;
            RC_ASSERT(at % 64 == 0U && at % alignment == 0U && at >= end);
            RC_ASSERT(i == 0 || at - end < std::max<std::uintptr_t>(64, alignment));
            end = at + wanted[i].second;
        }
        RC_ASSERT(end == reinterpret_cast<std::uintptr_t>(bytes.data()) + needed);
    }));
}

/// The same of the primitives that have slots of any alignment.
TEST(a_segment, has_slots_of_any_alignment_where_they_belong) {
    constexpr std::size_t page = 4096;
    for (std::uint32_t alignment = 64; alignment <= page; alignment *= 2) {
        SCOPED_TRACE(alignment);
        const shm::pool_class classes[] = {{.slot_count = 2, .slot_size = 1}, {.slot_count = 1, .slot_size = 5000}};
        // The alignment of neither the first nor the last block is the largest.
        const auto plan =
            segment_builder{}
                .peers(1)
                .pid_namespace(0)
                .add<std::byte[]>("first", 1)
                .add<shm::treiber_slab<>>("slots", {.slot_count = 3, .slot_size = 1, .slot_alignment = alignment})
                .add<std::byte[]>("between", 1)
                .add<shm::var_slot_pool<>>("pool", {.classes = classes, .slot_alignment = alignment})
                .add<std::byte[]>("last", 1);
        const guarded_bytes bytes{plan.required_size() + 2 * page};
        const std::size_t to_page = page - reinterpret_cast<std::uintptr_t>(bytes.data()) % page;
        for (std::size_t past = 64; past < alignment; past *= 2)
            EXPECT_EQ(plan.create({bytes.data() + to_page + past, plan.required_size()}).error(),
                      (fault{fault_kind::misaligned, alignment, past}));
        const shm::region where{bytes.data() + to_page, plan.required_size()};
        ASSERT_TRUE(plan.create(where).has_value());
        const segment found = segment::attach(where).value();
        const auto slab = found.find<shm::treiber_slab<>>("slots").value();
        const auto pool = found.find<shm::var_slot_pool<>>("pool").value();
        const auto of_slab = slab.join({1, 1}).value().try_alloc();
        const auto of_pool = pool.join({1, 1}).value().try_alloc(100);
        ASSERT_TRUE(of_slab && of_pool);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(slab.data(*of_slab).data()) % alignment, 0U);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pool.data(*of_pool).data()) % alignment, 0U);
        if (alignment == 64) continue;
        // A mapping is aligned to a page, but somebody may attach to a copy that is not.
        const shm::region copy{bytes.data() + to_page + 64, plan.required_size()};
        std::memmove(copy.data(), where.data(), where.size_bytes());
        const segment elsewhere = segment::attach(copy).value();
        EXPECT_EQ(elsewhere.find<shm::treiber_slab<>>("slots").error(), (fault{fault_kind::misaligned, alignment, 64}));
        EXPECT_EQ(elsewhere.find<shm::var_slot_pool<>>("pool").error(), (fault{fault_kind::misaligned, alignment, 64}));
        EXPECT_TRUE(elsewhere.find<std::byte[]>("last").has_value());
    }
}

TEST(a_plan, refuses_what_cannot_be_and_says_so) {
    const guarded_bytes bytes{4096};
    const auto refusal = [&](const segment_builder& plan) { return plan.create(bytes.region()).error(); };
    const segment_builder none;
    EXPECT_EQ(refusal(none), (fault{fault_kind::count, 255, 0}));
    EXPECT_EQ(none.required_size(), std::numeric_limits<std::size_t>::max());
    EXPECT_EQ(refusal(plan_of_two().peers(0)), (fault{fault_kind::count, 255, 0}));
    EXPECT_EQ(refusal(plan_of_two().peers(256)), (fault{fault_kind::count, 255, 256}));
    EXPECT_EQ(refusal(plan_of_two().add<ring>("", 8)), (fault{fault_kind::block_name, 47, 0}));
    EXPECT_EQ(refusal(plan_of_two().add<ring>(std::string(48, 'x'), 8)), (fault{fault_kind::block_name, 47, 48}));
    EXPECT_EQ(refusal(plan_of_two().add<ring>(std::string("a\0b", 3), 8)), (fault{fault_kind::block_name, 47, 1}));
    EXPECT_TRUE(plan_of_two().add<ring>(std::string(47, 'x'), 8).create(bytes.region()).has_value());
    EXPECT_EQ(refusal(plan_of_two().add<ring>("limits", 8)), (fault{fault_kind::block_twice, 1, 2}));
    EXPECT_EQ(refusal(plan_of_two().add<ring>("more", 12)), (fault{fault_kind::capacity, ring::max_capacity, 12}));
    EXPECT_EQ(refusal(plan_of_two().add<shm::treiber_slab<>>("more", {.slot_count = 0, .slot_size = 8})),
              (fault{fault_kind::count, (1 << 24) - 1, 0}));
    EXPECT_EQ(refusal(plan_of_two().add<shm::var_slot_pool<>>("more", {})), (fault{fault_kind::count, 16, 0}));
    EXPECT_EQ(refusal(plan_of_two().add<float[]>("more", 0)), (fault{fault_kind::count, PTRDIFF_MAX / 4, 0}));
    EXPECT_EQ(refusal(plan_of_two().add<float[]>("more", std::numeric_limits<std::size_t>::max())),
              (fault{fault_kind::count, PTRDIFF_MAX / 4, std::numeric_limits<std::size_t>::max()}));
    // The first refusal is said: what comes later may follow from it.
    EXPECT_EQ(refusal(plan_of_two().add<ring>("more", 12).add<ring>("limits", 8)).what, fault_kind::capacity);
    segment_builder many;
    for (int i = 0; i < 256; ++i) many.add<std::byte[]>("block " + std::to_string(i), 1);
    EXPECT_EQ(refusal(many), (fault{fault_kind::count, 255, 256}));
}

TEST(a_plan, whose_sizes_overflow_is_refused) {
    const guarded_bytes bytes{4096};
    constexpr std::size_t most = PTRDIFF_MAX;
    const auto one = segment_builder{}.add<std::byte[]>("one", most / 2 + 1);
    EXPECT_GT(one.required_size(), most / 2);
    EXPECT_EQ(one.create(bytes.region()).error(), (fault{fault_kind::too_small, one.required_size(), 4096}));
    const auto two = segment_builder{one}.add<std::byte[]>("two", most / 2 + 1);
    EXPECT_EQ(two.required_size(), std::numeric_limits<std::size_t>::max());
    EXPECT_EQ(two.create(bytes.region()).error().what, fault_kind::out_of_range);
    const auto all = segment_builder{}.add<std::byte[]>("all", most);
    EXPECT_EQ(all.create(bytes.region()).error().what, fault_kind::out_of_range);
}

TEST(a_plan, of_a_primitive_larger_than_any_region_is_refused) {
    const shm::slab_shape larger{.slot_count = 1000, .slot_size = std::numeric_limits<std::size_t>::max() / 4};
    const auto refused = shm::segment_kind<shm::treiber_slab<>>::describe(larger);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().what, fault_kind::out_of_range) << refused.error().sentence();
    EXPECT_EQ(segment_builder{}.add<shm::treiber_slab<>>("slots", larger).required_size(),
              std::numeric_limits<std::size_t>::max());
}

TEST(a_plan, is_made_where_it_fits) {
    const auto plan = plan_of_two();
    const std::size_t needed = plan.required_size();
    const guarded_bytes bytes{needed + 8};
    EXPECT_EQ(plan.create({bytes.data(), needed - 1}).error(), (fault{fault_kind::too_small, needed, needed - 1}));
    EXPECT_EQ(plan.create({bytes.data() + 8, needed}).error(), (fault{fault_kind::misaligned, 64, 8}));
    EXPECT_EQ(plan.create({bytes.data(), needed, shm::access::read_only}).error(),
              (fault{fault_kind::access_denied, 1, 0}));
    EXPECT_TRUE(plan.create(bytes.region()).has_value());
    EXPECT_EQ(plan.create(bytes.region()).error(), (fault{fault_kind::already_created, 0, 2}));
    const auto page =
        segment_builder{}.add<shm::treiber_slab<>>("slots", {.slot_count = 1, .slot_size = 1, .slot_alignment = 4096});
    EXPECT_EQ(page.create({bytes.data() + 64, needed}).error().what, fault_kind::too_small);
}

TEST(a_plan, that_fails_in_a_block_leaves_what_is_not_ready) {
    const guarded_bytes bytes{plan_of_two().required_size()};
    *bytes.region().get<std::uint32_t>(header_bytes + 2 * line_bytes + 2 * place_bytes + 132).value() = 1;
    EXPECT_EQ(plan_of_two().create(bytes.region()).error(), (fault{fault_kind::already_created, 0, 1}));
    EXPECT_EQ(segment::attach(bytes.region()).error(), (fault{fault_kind::not_ready, 2, 1}));
}

TEST(a_segment, is_refused_with_the_fault_that_its_comment_says) {
    const std::size_t needed = plan_of_two().required_size();
    made_of_two of;
    EXPECT_EQ(segment::attach({of.bytes.data(), 63}).error(), (fault{fault_kind::too_small, 64, 63}));
    EXPECT_EQ(segment::attach({of.bytes.data(), needed - 1}).error(),
              (fault{fault_kind::too_small, needed, needed - 1}));
    EXPECT_EQ(segment::attach({of.bytes.data() + 8, needed - 8}).error(), (fault{fault_kind::misaligned, 64, 8}));
    const auto with = [](std::size_t at, auto value) {
        made_of_two damaged;
        put_word(damaged.bytes.data(), at, value);
        return damaged.refusal();
    };
    EXPECT_EQ(with(0, 7ULL), (fault{fault_kind::magic, 0x316d6765736d6873, 7}));
    EXPECT_EQ(with(8, 2U), (fault{fault_kind::layout_version, 1, 2}));
    EXPECT_EQ(with(12, 0U), (fault{fault_kind::foreign_header, 0, 0x316d6765736d6873}));
    EXPECT_EQ(with(12, 1U), (fault{fault_kind::not_ready, 2, 1}));
    EXPECT_EQ(with(12, 9U), (fault{fault_kind::not_ready, 2, 9}));
    EXPECT_EQ(with(16, 1ULL), (fault{fault_kind::layout_hash, segment::layout_hash(), 1}));
    EXPECT_EQ(with(24, needed + 1), (fault{fault_kind::too_small, needed + 1, needed}));
    EXPECT_EQ(with(24, ~0ULL), (fault{fault_kind::too_small, ~0ULL, needed}));
    EXPECT_EQ(with(24, std::size_t{447}), (fault{fault_kind::too_small, 448, 447}));
    EXPECT_EQ(with(32, 0U), (fault{fault_kind::count, 255, 0}));
    EXPECT_EQ(with(32, 256U), (fault{fault_kind::count, 255, 256}));
    EXPECT_EQ(with(32, ~0U), (fault{fault_kind::count, 255, ~0U}));
    EXPECT_EQ(with(36, 0U), (fault{fault_kind::count, 255, 0}));
    EXPECT_EQ(with(36, 256U), (fault{fault_kind::count, 255, 256}));
    EXPECT_EQ(with(36, 255U).what, fault_kind::too_small);
}

TEST(a_segment, refuses_a_table_that_lies) {
    const auto with = [](std::size_t line, std::size_t at, auto value) {
        made_of_two damaged;
        damaged.set(line, at, value);
        return damaged.refusal();
    };
    const made_of_two whole;
    const std::uint64_t size = whole.bytes.size_bytes(), first = whole.made.blocks()[0].offset,
                        second = whole.made.blocks()[1].offset;
    std::array<char, 48> unterminated{};
    unterminated.fill('x');
    EXPECT_EQ(with(0, name_at, unterminated), (fault{fault_kind::block_name, 47, 48}));
    EXPECT_EQ(with(0, name_at, std::array<char, 48>{}), (fault{fault_kind::block_name, 47, 0}));
    EXPECT_EQ(with(0, name_at, std::array<char, 6>{'a', 0, 'b'}), (fault{fault_kind::block_name, 47, 1}));
    EXPECT_EQ(with(1, name_at, std::array<char, 7>{'j', 'o', 'b', 's'}), (fault{fault_kind::block_twice, 0, 1}));
    EXPECT_EQ(with(1, offset_at, second + 8), (fault{fault_kind::misaligned, 64, 8}));
    EXPECT_EQ(with(1, offset_at, first), (fault{fault_kind::overlap, first + ring::required_size(8), first}));
    EXPECT_EQ(with(0, offset_at, std::uint64_t{0}), (fault{fault_kind::overlap, first, 0}));
    EXPECT_EQ(with(1, offset_at, ~0ULL - 63), (fault{fault_kind::out_of_range, size, ~0ULL - 63}));
    EXPECT_EQ(with(1, size_at, size), (fault{fault_kind::out_of_range, size - second, size}));
    EXPECT_EQ(with(1, size_at, ~0ULL), (fault{fault_kind::out_of_range, size - second, ~0ULL}));
    EXPECT_EQ(with(0, size_at, size - first).what, fault_kind::overlap);
}

/// What lies behind a segment in a longer region is none of its: it stays as it is, and no line of the table can name it.
TEST(a_segment, ends_before_the_region_does) {
    constexpr std::size_t more = 4096;
    const std::size_t needed = plan_of_two().required_size();
    const std::size_t behind = (needed + 63) / 64 * 64;
    const auto line = [](std::size_t number, std::size_t at) { return header_bytes + number * line_bytes + at; };
    EXPECT_TRUE(rc::check([&](std::uint64_t offset, std::uint64_t size) {
        const guarded_bytes bytes{behind + more};
        std::memset(bytes.data() + needed, 0x77, bytes.size_bytes() - needed);
        const segment made = plan_of_two().create(bytes.region()).value();
        RC_ASSERT(segment::attach({bytes.data(), needed}).has_value());
        const std::uint64_t second = made.blocks()[1].offset;
        const auto refusal = [&] { return segment::attach(bytes.region()).error(); };
        const std::uint64_t beyond = behind + offset % (more / 64) * 64;
        put_word(bytes.data(), line(1, offset_at), beyond);
        RC_ASSERT(refusal() == (fault{fault_kind::out_of_range, needed, beyond}));
        put_word(bytes.data(), line(1, offset_at), second);
        const std::uint64_t longer = needed - second + 1 + size % more;
        put_word(bytes.data(), line(1, size_at), longer);
        RC_ASSERT(refusal() == (fault{fault_kind::out_of_range, needed - second, longer}));
        put_word(bytes.data(), line(1, size_at), needed - second);

        const segment found = segment::attach(bytes.region()).value();
        auto joined = found.join({1, 1}).value();
        auto [producer, consumer] = found.find<ring>("jobs").value().split({1, 1}).value();
        while (producer.try_push(~0ULL) == shm::push_result::pushed) continue;
        for (const segment_block& block : found.blocks()) {
            const shm::region of = found.bytes_of(block);
            RC_ASSERT(of.data() + of.size_bytes() <= bytes.data() + needed);
        }
        const auto still = [](std::byte of) { return of == std::byte{0x77}; };
        RC_ASSERT(std::all_of(bytes.data() + needed, bytes.data() + bytes.size_bytes(), still));
    }));
}

/// Of a number of 64 bits all are looked at: one that would be right but for its upper half is wrong.
TEST(a_segment, has_no_number_that_is_right_in_its_lower_half_alone) {
    constexpr std::uint64_t upper = std::uint64_t{1} << 32;
    const made_of_two whole;
    const std::uint64_t size = whole.bytes.size_bytes();
    const segment_block first = whole.made.blocks()[0], second = whole.made.blocks()[1];
    const auto with = [](std::size_t at, std::uint64_t value) {
        made_of_two damaged;
        put_word(damaged.bytes.data(), at, value);
        return damaged.refusal();
    };
    const auto in_line = [&](std::size_t line, std::size_t at, std::uint64_t value) {
        return with(header_bytes + line * line_bytes + at, value);
    };
    for (std::uint64_t bit = upper; bit != 0; bit <<= 1) {
        EXPECT_EQ(with(0, segment::header::magic_value ^ bit).what, fault_kind::magic);
        EXPECT_EQ(with(16, segment::layout_hash() ^ bit).what, fault_kind::layout_hash);
        EXPECT_EQ(with(24, size + bit), (fault{fault_kind::too_small, size + bit, size}));
        EXPECT_EQ(in_line(0, offset_at, first.offset + bit).what, fault_kind::out_of_range);
        EXPECT_EQ(in_line(1, offset_at, second.offset + bit),
                  (fault{fault_kind::out_of_range, size, second.offset + bit}));
        EXPECT_EQ(in_line(0, size_at, first.size_bytes + bit).what, fault_kind::out_of_range);
        EXPECT_EQ(in_line(1, size_at, second.size_bytes + bit),
                  (fault{fault_kind::out_of_range, size - second.offset, second.size_bytes + bit}));
        made_of_two counted;
        counted.set(1, count_at, 1 + bit);
        EXPECT_EQ(segment::attach(counted.bytes.region()).value().find<limits>("limits").error(),
                  (fault{fault_kind::count, 1, 1 + bit}));
        made_of_two sized;
        sized.set(1, element_size_at, sizeof(limits) + bit);
        EXPECT_EQ(segment::attach(sized.bytes.region()).value().find<limits>("limits").error(),
                  (fault{fault_kind::element_size, sizeof(limits), sizeof(limits) + bit}));
        made_of_two another;
        another.set(1, kind_at, second.kind ^ bit);
        EXPECT_EQ(segment::attach(another.bytes.region()).value().find<limits>("limits").error(),
                  (fault{fault_kind::block_kind, second.kind, second.kind ^ bit}));
        made_of_two elsewhere;
        put_word(elsewhere.bytes.data(), 40, shm::this_pid_namespace().value() ^ bit);
        EXPECT_EQ(segment::attach(elsewhere.bytes.region()).value().join({1, 1}).error().what,
                  fault_kind::pid_namespace);
    }
}

/// A block of more than 4 GiB, and another behind it. Only what is touched is ever there.
TEST(a_segment, may_be_larger_than_32_bits_count) {
    if constexpr (sizeof(std::size_t) > 4) {
        constexpr std::size_t large = (std::size_t{1} << 32) + 100;
        const auto plan =
            segment_builder{}.peers(1).pid_namespace(0).add<std::byte[]>("large", large).add<ring>("jobs", 8);
        const std::size_t needed = plan.required_size();
        EXPECT_GT(needed, large);
        const sparse_bytes mapped{needed};
        const shm::region bytes = mapped.region();
        ASSERT_TRUE(plan.create(bytes).has_value());
        EXPECT_EQ(segment::attach({mapped.data(), needed - 1}).error(),
                  (fault{fault_kind::too_small, needed, needed - 1}));
        const segment found = segment::attach(bytes).value();
        const auto values = found.find<std::byte[]>("large").value();
        EXPECT_EQ(values.size(), large);
        values.back() = std::byte{7};
        auto [producer, consumer] = found.find<ring>("jobs").value().split({1, 1}).value();
        EXPECT_EQ(producer.try_push(42), shm::push_result::pushed);
        EXPECT_EQ(consumer.try_pop(), 42U);
        EXPECT_EQ(values.back(), std::byte{7});
        for (const segment_block& block : found.blocks())
            EXPECT_EQ(found.bytes_of(block).data(), bytes.data() + block.offset) << block.text();
    }
}

TEST(a_segment, finds_only_what_is_there) {
    made_of_two of;
    EXPECT_EQ(of.made.find<ring>("Jobs").error(), (fault{fault_kind::no_block, 0, 2}));
    EXPECT_EQ(of.made.find<ring>("").error(), (fault{fault_kind::no_block, 0, 2}));
    EXPECT_EQ(of.made.find<ring>(std::string("jobs\0", 5)).error(), (fault{fault_kind::no_block, 0, 2}));
    EXPECT_EQ(of.made.find<ring>("limits").error(),
              (fault{fault_kind::block_kind, ring::header::magic_value, 0x31736c61766d6873}));
    EXPECT_EQ(of.made.find<shm::spsc_ring<std::uint32_t>>("jobs").error(), (fault{fault_kind::element_size, 4, 8}));
    EXPECT_EQ(of.made.find<std::uint64_t>("limits").error(), (fault{fault_kind::element_alignment, 8, 4}));
    EXPECT_EQ(of.made.find<std::uint32_t>("limits").error(), (fault{fault_kind::element_size, 4, 8}));
    EXPECT_EQ(of.made.find<limits[]>("limits").value().size(), 1u);
    const auto counted = [&](std::uint64_t count) {
        of.set(1, count_at, count);
        const segment found = segment::attach(of.bytes.region()).value();
        return std::pair{found.find<limits>("limits").error(), found.find<limits[]>("limits").has_value()};
    };
    EXPECT_EQ(counted(2), (std::pair{fault{fault_kind::count, 1, 2}, false}));
    EXPECT_EQ(counted(0), (std::pair{fault{fault_kind::count, 1, 0}, false}));
    EXPECT_EQ(counted(~0ULL), (std::pair{fault{fault_kind::count, 1, ~0ULL}, false}));
}

TEST(a_segment, of_two_values_is_not_one) {
    const auto plan = segment_builder{}.add<float[]>("two", 2);
    const guarded_bytes bytes{plan.required_size()};
    EXPECT_EQ(plan.create(bytes.region()).value().find<float>("two").error(), (fault{fault_kind::count, 1, 2}));
}

TEST(a_segment, that_may_only_be_read_is_for_observers) {
    const made_of_two of;
    const shm::region bytes{of.bytes.data(), of.bytes.size_bytes(), shm::access::read_only};
    const segment found = segment::attach(bytes).value();
    EXPECT_EQ(found.join({1, 1}).error(), (fault{fault_kind::access_denied, 1, 0}));
    EXPECT_EQ(found.find<limits>("limits").error(), (fault{fault_kind::access_denied, 1, 0}));
    EXPECT_EQ(found.find<const limits>("limits").value()->workers, 4u);
    EXPECT_EQ(found.find<ring>("jobs").value().claim_producer({1, 1}).error(),
              (fault{fault_kind::access_denied, 1, 0}));
    EXPECT_TRUE(found.find<ring>("jobs").value().is_empty());
}

TEST(a_segment, keeps_what_it_has_read_when_the_table_changes_later) {
    made_of_two of;
    const segment found = segment::attach(of.bytes.region()).value();
    std::memset(of.bytes.data(), 0xff, header_bytes + 2 * line_bytes);
    EXPECT_EQ(found.find<ring>("jobs").value().capacity(), 8u);
    EXPECT_EQ(found.peer_count(), 2u);
    EXPECT_TRUE(found.join({1, 1}).has_value() || found.join({1, 1}).error().what == fault_kind::count);
}

/// Whatever stands in the tables: refused, or harmless. The bytes around are guarded.
TEST(a_segment, with_any_damage_is_refused_or_harmless) {
    EXPECT_TRUE(rc::check([](const std::vector<std::pair<std::uint16_t, std::uint8_t>>& damage, bool ready) {
        made_of_two of;
        constexpr std::size_t tables = header_bytes + 2 * line_bytes + 2 * place_bytes;
        for (const auto& [at, value] : damage) of.bytes.data()[at % tables] = std::byte{value};
        if (ready) {  // beyond the first checks
            const made_of_two whole;
            std::memcpy(of.bytes.data(), whole.bytes.data(), 24);
        }
        const auto found = segment::attach(of.bytes.region());
        if (!found) {
            RC_ASSERT(found.error().sentence().find(", found ") != std::string::npos);
            return;
        }
        for (const segment_block& block : found->blocks()) {
            const shm::region bytes = found->bytes_of(block);
            std::memset(bytes.data(), 0x5a, bytes.size_bytes());
            RC_ASSERT(!found->find<ring>(block.text()) || block.kind == ring::header::magic_value);
            (void)found->find<limits>(block.text());
            (void)found->find<const limits[]>(block.text());
        }
        for (std::uint32_t i = 0; i < found->peer_count(); ++i) (void)found->peer_at(i);
        if (auto joined = found->join({1, 1})) RC_ASSERT(joined->number() < found->peer_count());
        RC_ASSERT(of.bytes.untouched());
    }));
}

/// Any sequence of joining, leaving, dying and removing agrees with a list of who is there.
TEST(peers_of_a_segment, agree_with_the_obvious_reference) {
    EXPECT_TRUE(rc::check([](const std::vector<std::pair<std::uint8_t, std::uint8_t>>& calls) {
        constexpr std::uint32_t places = 3;
        const auto plan = segment_builder{}.peers(places).pid_namespace(0).add<limits>("limits");
        const guarded_bytes bytes{plan.required_size()};
        const segment made = plan.create(bytes.region()).value();
        std::array<std::optional<segment::member>, places> members;
        std::array<peer_id, places> reference{};
        for (const auto& [what, who] : calls) {
            const peer_id peer{who % 3U + 1U, who / 3U % 2U + 1U};
            const std::size_t at = who % places;
            if (what % 3 == 0) {
                auto joined = made.join(peer);
                const auto* const free = std::find(reference.begin(), reference.end(), peer_id{});
                RC_ASSERT(joined.has_value() == (free != reference.end()));
                if (!joined) {
                    RC_ASSERT(joined.error() == (fault{fault_kind::count, places, places + 1}));
                    continue;
                }
                const auto number = static_cast<std::size_t>(free - reference.begin());
                RC_ASSERT(joined->number() == number && joined->peer() == peer);
                reference[number] = peer;
                members[number].emplace(*std::move(joined));
            } else if (what % 3 == 1) {
                members[at].reset();
                reference[at] = {};
            } else if (members[at] && reference[at] != peer) {
                const auto there = std::count(reference.begin(), reference.end(), peer);
                RC_ASSERT(members[at]->remove(kernel_of_tests::saw(peer)) == there);
                for (std::size_t i = 0; i < places; ++i)
                    if (reference[i] == peer) reference[i] = {}, members[i].reset();
            }
            for (std::uint32_t i = 0; i < places; ++i) RC_ASSERT(made.peer_at(i) == reference[i]);
        }
    }));
}

TEST(peers_of_a_segment, are_not_thrown_out_by_who_was_taken_for_dead) {
    const made_of_two of;
    auto first = std::optional{of.made.join({1, 1}).value()};
    auto second = of.made.join({2, 1}).value();
    EXPECT_EQ(second.remove(kernel_of_tests::saw({1, 1})), 1u);
    const auto successor = of.made.join({1, 2}).value();
    EXPECT_EQ(successor.number(), 0u);
    first.reset();
    EXPECT_EQ(of.made.peer_at(0), (peer_id{1, 2}));
    EXPECT_EQ(second.remove(kernel_of_tests::saw({1, 1})), 0u) << "a late recoverer";
    EXPECT_EQ(of.made.peer_at(0), (peer_id{1, 2}));
}

TEST(peers_of_a_segment, are_somebody) {
    const made_of_two of;
    EXPECT_EQ(of.made.join({}).error(), (fault{fault_kind::peer_id, 1, 0}));
}

TEST(peers_of_a_segment, are_of_one_pid_namespace) {
    const std::uint64_t ours = shm::this_pid_namespace().value();
    const guarded_bytes bytes{plan_of_two().required_size()};
    const segment theirs = plan_of_two().pid_namespace(ours + 1).create(bytes.region()).value();
    EXPECT_EQ(theirs.join({1, 1}).error(), (fault{fault_kind::pid_namespace, ours + 1, ours}));
    const guarded_bytes others{plan_of_two().required_size()};
    EXPECT_TRUE(plan_of_two().pid_namespace(0).create(others.region()).value().join({1, 1}).has_value());
}

TEST(peers_of_a_segment, stay_when_a_forked_child_drops_its_copy) {
    const auto memory = shm::memfd_region::create(plan_of_two().required_size()).value();
    const segment made = plan_of_two().create(memory.region()).value();
    auto me = std::make_unique<segment::member>(made.join(shm::this_process().value()).value());
    child_process child([&] {
        me.reset();
        return 0;
    });
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(made.peer_at(0), me->peer());
    me.reset();
    EXPECT_EQ(made.peer_at(0), peer_id{});
}

TEST(peers_of_a_segment, that_are_killed_are_there_until_they_are_removed) {
    const auto memory = shm::memfd_region::create(plan_of_two().required_size()).value();
    const segment made = plan_of_two().create(memory.region()).value();
    auto me = made.join(shm::this_process().value()).value();
    child_process child([&] {
        const auto mine = shm::memfd_region::attach(shm::unique_fd{dup(memory.fd())}).value();
        const auto joined = segment::attach(mine.region()).value().join(shm::this_process().value());
        raise(SIGKILL);
        return joined ? 1 : 2;
    });
    const auto dead = child.reap();
    ASSERT_EQ(dead.end, killed_by(SIGKILL));
    EXPECT_EQ(made.peer_at(1), dead.proof.peer());
    EXPECT_EQ(made.join({1, 1}).error(), (fault{fault_kind::count, 2, 3}));
    EXPECT_EQ(me.remove(dead.proof), 1u);
    EXPECT_EQ(me.remove(dead.proof), 0u);
    EXPECT_TRUE(made.join({1, 1}).has_value());
}

}  // namespace
