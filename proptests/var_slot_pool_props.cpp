// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <shm/heap_region.hpp>
#include <shm/memfd_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/var_slot_pool.hpp>

#include "models/var_slot_pool/reference.hpp"
#include "testkit/child_process.hpp"
#include "testkit/guarded_bytes.hpp"
#include "testkit/payload.hpp"
#include "testkit/sparse_bytes.hpp"
#include "testkit/staged_death.hpp"
#include "testkit/temporary_directory.hpp"
#include "testkit/watched_atomics.hpp"
#include "testkit/word_pipe.hpp"
#include "testkit/words.hpp"

namespace {

using pool = shm::var_slot_pool<>;
using kind = shm::slot_error::kind;
using shm::alloc_status;
using shm::fault;
using shm::fault_kind;
using shm::pool_class;
using shm::pool_handle;

constexpr shm::peer_id somebody{1, 1}, another{2, 1};
constexpr pool_class two_classes[] = {{.slot_count = 2, .slot_size = 64}, {.slot_count = 1, .slot_size = 256}};
constexpr pool_class more{.slot_count = 1, .slot_size = 1024};

/// A pool whose members do the calls of the reference.
struct pool_of_two {
    pool& made;
    std::array<pool::member, 2> members{made.join(somebody).value(), made.join(another).value()};
    std::array<pool_handle, 2> allocated_last{};

    shm::pool_alloc_result try_alloc(std::size_t member, std::size_t bytes) {
        const auto taken = members[member].try_alloc(bytes);
        if (taken) allocated_last[member] = *taken;
        return taken;
    }
    [[nodiscard]] pool_handle latest(std::size_t member) const { return allocated_last[member]; }
    shm::model::slot_change change(shm::model::slab_call::kind how, std::size_t member, pool_handle handle) {
        return shm::model::change_by(members[member], how, handle);
    }
};

/// The calls of two members, against the slabs' references. A slab is added now and then.
RC_GTEST_PROP(var_slot_pool_props, any_calls_agree_with_a_pile_of_each_size, ()) {
    using call = shm::model::slab_call;
    const auto classes = *rc::gen::mapcat(rc::gen::inRange<std::size_t>(1, 5), [](std::size_t count) {
        return rc::gen::container<std::vector<pool_class>>(
            count, rc::gen::apply([](std::uint32_t slots, std::uint64_t size) { return pool_class{slots, size}; },
                                  rc::gen::inRange<std::uint32_t>(1, 4), rc::gen::inRange<std::uint64_t>(1, 200)));
    });
    auto bytes = shm::heap_region::create(pool::required_size({classes}) + 16384).value();
    const auto first = bytes.region().subregion(0, pool::required_size({classes})).value();
    auto made = pool::create(first, {.classes = classes, .member_count = 2}).value();
    pool_of_two tested{made};
    shm::model::pool_reference reference{2};
    const auto gains = [&](const pool_class& of) { reference.add(of.slot_count, (of.slot_size + 63) / 64 * 64); };
    for (const auto& of : classes) gains(of);
    std::vector<pool_handle> seen{{}, {15, {0, 1}}, {0, {4, 1}}, {1, {0, 2}}};
    for (const int what : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 9))) {
        if (what == 8) {
            if (reference.slabs.size() == classes.size() + 3) continue;
            const pool_class of{1, *rc::gen::inRange<std::uint64_t>(1, 300)};
            RC_ASSERT(made.grow(bytes.region(), of).value() == reference.slabs.size());
            for (auto& member : tested.members) RC_ASSERT(member.extend(bytes.region()).has_value());
            gains(of);
            continue;
        }
        const shm::model::pool_call next{what > 4 ? call::try_alloc : static_cast<call::kind>(what),
                                         *rc::gen::inRange<std::size_t>(0, 2), *rc::gen::inRange<std::size_t>(0, 300),
                                         *rc::gen::arbitrary<bool>(), *rc::gen::elementOf(seen)};
        const auto told = perform(next, tested);
        RC_ASSERT(told == perform(next, reference));
        if (next.what != call::try_alloc) continue;
        const pool_handle taken = tested.latest(next.member);
        if (told[0] == 0)
            RC_ASSERT(tested.members[next.member].data(taken).size() == reference.slabs[taken.slab()].slot_size);
        seen.push_back(taken);
    }
}

/// The slots' bytes lie in the region, aligned, and over nobody else's.
RC_GTEST_PROP(var_slot_pool_props, no_two_slots_share_a_byte, ()) {
    const auto alignment = std::uint32_t{1} << *rc::gen::inRange(0, 13);
    const auto sizes = *rc::gen::resize(4, rc::gen::nonEmpty<std::vector<std::uint8_t>>());
    std::vector<pool_class> classes;
    for (const auto size : sizes) classes.push_back({2, std::uint64_t{size} + 1});
    const std::size_t at_first = *rc::gen::inRange<std::size_t>(1, classes.size() + 1);  // the others are added
    const shm::pool_shape whole{.classes = classes, .slot_alignment = alignment, .member_count = 1};
    const shm::pool_shape shape{std::span{classes}.first(at_first), alignment, 1};
    auto memory = shm::memfd_region::create(pool::required_size(whole)).value();
    auto made = pool::create(memory.region(), shape).value();
    for (std::size_t i = at_first; i < classes.size(); ++i)
        RC_ASSERT(made.grow(memory.region(), classes[i]).value() == i);
    auto member = made.join(somebody).value();
    std::vector<std::pair<const std::byte*, const std::byte*>> all;
    while (const auto taken = member.try_alloc(0)) {
        const auto data = member.data(*taken);
        RC_ASSERT(reinterpret_cast<std::uintptr_t>(data.data()) % alignment == 0);
        std::memset(data.data(), 0xff, data.size());
        all.emplace_back(data.data(), data.data() + data.size());
    }
    RC_ASSERT(all.size() == 2 * classes.size());
    std::ranges::sort(all);
    for (std::size_t i = 1; i < all.size(); ++i) RC_ASSERT(all[i - 1].second <= all[i].first);
    RC_ASSERT(all.back().second <= memory.region().data() + memory.region().size_bytes());
    RC_ASSERT(!member.corrupt() && pool::attach(memory.region()).has_value());
}

/// A pool of two classes in zeroed bytes with room to spare.
struct a_pool : testing::Test {
    static constexpr shm::pool_shape shape{two_classes, 64, 2};
    shm::heap_region bytes = shm::heap_region::create(pool::required_size(shape) + 4096).value();
    shm::region whole = bytes.region();
    shm::region part = whole.subregion(0, pool::required_size(shape)).value();
    pool made = pool::create(part, shape).value();
    pool::header& header = *whole.get<pool::header>().value();

    static void expect(fault refused, fault wanted) { EXPECT_EQ(refused, wanted) << refused.sentence(); }
};

TEST_F(a_pool, tells_what_never_fits_from_what_does_not_fit_now) {
    auto member = made.join(somebody).value();
    EXPECT_EQ(member.try_alloc(257).status(), alloc_status::too_large);
    const auto large = member.try_alloc(256);
    EXPECT_EQ(member.try_alloc(256).status(), alloc_status::would_block);
    EXPECT_EQ(member.try_alloc(257).status(), alloc_status::too_large);
    EXPECT_EQ((*large).slab(), 1U);
    ASSERT_TRUE(member.free_allocated(*large));
    EXPECT_EQ((*member.try_alloc(64)).slab(), 0U);
    EXPECT_EQ((*member.try_alloc(0)).slab(), 0U);
    EXPECT_EQ((*member.try_alloc(1)).slab(), 1U);
    EXPECT_EQ(member.try_alloc(1).status(), alloc_status::would_block);
}

TEST_F(a_pool, refuses_every_handle_of_nothing) {
    auto member = made.join(somebody).value();
    const auto taken = *member.try_alloc(1);
    EXPECT_EQ(member.free(pool_handle{2, taken.slot()}).error(), (shm::slot_error{kind::no_such_slab, 2, 2}));
    EXPECT_EQ(member.adopt(pool_handle{15, taken.slot()}).error(), (shm::slot_error{kind::no_such_slab, 2, 15}));
    EXPECT_EQ(member.free_allocated(pool_handle{1, {1, 1}}).error(), (shm::slot_error{kind::invalid_index, 1, 1}));
    EXPECT_EQ(member.mark_in_flight(pool_handle{0, {taken.slot().index(), 2}}).error(),
              (shm::slot_error{kind::generation_mismatch, 2, 1}));
    EXPECT_EQ(member.free(taken).error(), (shm::slot_error{kind::invalid_state, 2, 1}));
    EXPECT_EQ(member.free(pool_handle{2, taken.slot()}).error().sentence(),
              "slab number: expected less than 2, found 2");
    for (std::uint32_t beyond = 2; beyond < 16; ++beyond) {  // there is no such slab to ask, whatever lies there
        EXPECT_TRUE(member.data(pool_handle{beyond, taken.slot()}).empty());
        EXPECT_TRUE(made.data(pool_handle{beyond, taken.slot()}).empty());
        EXPECT_EQ(member.mark_in_flight({beyond, taken.slot()}).error(),
                  (shm::slot_error{kind::no_such_slab, 2, beyond}));
    }
    EXPECT_TRUE(member.data(pool_handle{1, {1, 1}}).empty());
    EXPECT_TRUE(member.free_allocated(taken));
    EXPECT_EQ(member.free_allocated(taken).error(), (shm::slot_error{kind::generation_mismatch, 1, 2}));
}

TEST_F(a_pool, handle_is_what_travels) {
    const pool_handle handle{5, {7, 9}};
    EXPECT_EQ(handle.slab(), 5U);
    EXPECT_EQ(handle.slot(), (shm::slot_handle{7, 9}));
    EXPECT_EQ(handle.word(), 9ULL << 24 | 5ULL << 20 | 7);
    EXPECT_EQ(pool_handle::from_word(handle.word()), handle);
    EXPECT_EQ((pool_handle{15, {pool::max_slots, (1ULL << 40) - 1}}).word(), ~0ULL);
}

TEST_F(a_pool, is_refused_with_the_fault_that_its_comment_says) {
    const auto create = [&](std::span<const pool_class> classes, std::uint32_t alignment = 64,
                            std::uint32_t members = 1) {
        return pool::create(whole, {classes, alignment, members}).error();
    };
    const std::vector<pool_class> seventeen(17, more);
    expect(create({}), {fault_kind::count, 16, 0});
    expect(create(seventeen), {fault_kind::count, 16, 17});
    const pool_class empty[] = {{0, 64}}, many[] = {{1U << 20, 64}}, nothing[] = {{1, 0}};
    expect(create(empty), {fault_kind::count, (1U << 24) - 1, 0});
    expect(create(many), {fault_kind::count, (1U << 20) - 1, 1U << 20});
    expect(create(nothing), {fault_kind::element_size, 64, 0});
    expect(create(two_classes, 48), {fault_kind::capacity, 4096, 48});
    expect(create(two_classes, 64, 0), {fault_kind::count, 255, 0});
    expect(create(two_classes), {fault_kind::already_created, 0, 2});
    const pool_class vast[] = {{1000, ~0ULL / 64}};
    expect(create(vast), {fault_kind::too_small, ~0ULL, whole.size_bytes()});
    const std::size_t needed = pool::required_size(shape);
    expect(pool::create({whole.data(), needed - 1}, shape).error(), {fault_kind::too_small, needed, needed - 1});
    expect(pool::create({whole.data() + 8, whole.size_bytes() - 8}, shape).error(), {fault_kind::misaligned, 64, 8});
    expect(pool::create({whole.data(), needed, shm::access::read_only}, shape).error(),
           {fault_kind::access_denied, 1, 0});

    expect(pool::attach({whole.data(), 255}).error(), {fault_kind::too_small, 256, 255});
    expect(pool::attach({whole.data() + 8, 1024}).error(), {fault_kind::misaligned, 64, 8});
    expect(pool::attach(part.subregion(0, 256).value()).error(), {fault_kind::out_of_range, 128, 256});
    const auto observer = pool::attach({whole.data(), needed, shm::access::read_only}).value();
    expect(observer.join(somebody).error(), {fault_kind::access_denied, 1, 0});
    EXPECT_EQ(made.data(pool_handle{1, {0, 1}}).size(), 256U);
    EXPECT_TRUE(observer.data(pool_handle{1, {0, 1}}).empty()) << "bytes that only look writable";
    expect(pool{observer}.grow({whole.data(), needed, shm::access::read_only}, more).error(),
           {fault_kind::access_denied, 1, 0});
    expect(made.join({}).error(), {fault_kind::peer_id, 1, 0});
    const auto first = made.join(somebody).value(), second = made.join(another).value();
    expect(made.join(somebody).error(), {fault_kind::count, 2, 3});
}

TEST_F(a_pool, refuses_growth_by_name) {
    expect(made.grow(part, more).error(), {fault_kind::too_small, made.grown_size(more), part.size_bytes()});
    expect(made.grow(whole, {1, 0}).error(), {fault_kind::element_size, 64, 0});
    expect(made.grow(whole, {1000, ~0ULL / 64}).error(), {fault_kind::too_small, ~0ULL, whole.size_bytes()});
    header.used.store(255);
    expect(made.grow(whole, more).error(), {fault_kind::too_small, 256, 255});
    header.used.store(~0ULL);
    expect(made.grow(whole, more).error(), {fault_kind::too_small, ~0ULL, whole.size_bytes()});
    header.used.store(part.size_bytes());
    header.places[15].store(1);
    expect(made.grow(whole, more).error(), {fault_kind::count, 16, 17});
}

TEST_F(a_pool, grows_to_sixteen_slabs_and_no_further) {
    auto large = shm::heap_region::create(1 << 16).value();
    auto growing = pool::create(large.region(), shape).value();
    for (std::uint32_t number = 2; number < 16; ++number)
        EXPECT_EQ(growing.grow(large.region(), {1, 64}).value(), number);
    expect(growing.grow(large.region(), {1, 64}).error(), {fault_kind::count, 16, 17});
    auto member = growing.join(somebody).value();
    EXPECT_EQ(member.slab_count(), 16U);
    unsigned taken = 0;
    for (; const auto slot = member.try_alloc(1); ++taken)
        EXPECT_EQ(member.data(*slot).size(), taken < 16 ? 64U : 256U) << "smaller ones first";
    EXPECT_EQ(taken, 17U);

    // Behind the table lies the head of the first slab, which may look like one more place.
    auto& behind_the_table = growing.slab_at(0).inner().shared().head;
    for (const std::uint64_t head : {std::uint64_t{256 + 1}, std::uint64_t{2}, behind_the_table.load()}) {
        behind_the_table.store(head);
        EXPECT_TRUE(growing.meet());
        EXPECT_TRUE(member.meet());
        EXPECT_EQ(pool::attach(large.region())->slab_count(), 16U);
        expect(growing.attach_annex(large.region()).error(), {fault_kind::not_ready, 2, 0});
        const auto nothing = member.reclaim(shm::death_witness<struct shm::scenario>::saw(another));
        EXPECT_TRUE(nothing && nothing->complete) << "there is none that it does not know";
    }
}

TEST_F(a_pool, gives_back_what_is_in_flight_and_lost_though_its_sender_has_left) {
    auto heir = made.join(another).value();
    pool_handle small, large, last;
    {
        auto sender = made.join(somebody).value();
        small = *sender.try_alloc(1), last = *sender.try_alloc(1), large = *sender.try_alloc(256);
        for (const pool_handle each : {small, last, large}) ASSERT_TRUE(sender.mark_in_flight(each));
    }
    std::vector<pool_handle> asked;
    const auto done = heir.reclaim_in_flight([&](pool_handle sent) { return asked.push_back(sent), sent != small; });
    EXPECT_TRUE(done && done->complete);
    EXPECT_EQ(done->returned, 2U);
    EXPECT_EQ(done->in_flight, 1U);
    EXPECT_EQ(asked, (std::vector{small, last, large}));
    EXPECT_TRUE(heir.adopt(small));
    EXPECT_EQ(heir.adopt(large).error(), (shm::slot_error{kind::generation_mismatch, 1, 2}));
    EXPECT_EQ(heir.reclaim_in_flight([](pool_handle) { return true; })->returned, 0U);
    ASSERT_TRUE(heir.free_allocated(small));
    EXPECT_EQ(made.slab_at(0).free_count_approx() + made.slab_at(1).free_count_approx(), 3U);
}

/// Whose death is proven counts, and nothing else.
TEST_F(a_pool, gives_nothing_back_for_another_ones_death) {
    auto dead = made.join(somebody).value(), heir = made.join(another).value();
    const auto small = *dead.try_alloc(1), large = *dead.try_alloc(100);
    ASSERT_TRUE(dead.mark_in_flight(large));
    const auto nothing = heir.reclaim(dead_child_that([] {}));
    EXPECT_TRUE(nothing && nothing->returned == 0 && nothing->complete);
    EXPECT_EQ(made.slab_at(0).free_count_approx(), 1U);
    EXPECT_EQ(small.slab(), 0U);
    EXPECT_EQ(large.slab(), 1U);
}

/// A pool of a child that has died with a slot of each size, one of them sent.
TEST(a_dead_peer, leaves_its_slots_to_whoever_has_the_proof) {
    const shm::pool_shape shape{two_classes, 64, 4};
    auto memory = shm::memfd_region::create(pool::required_size(shape)).value();
    const auto made = pool::create(memory.region(), shape).value();
    child_process child([&]() -> int {
        const auto mine = shm::memfd_region::attach(shm::unique_fd{dup(memory.fd())}).value();
        auto member = pool::attach(mine.region()).value().join(shm::this_process().value()).value();
        const auto small = *member.try_alloc(1), large = *member.try_alloc(100);
        _exit(member.mark_in_flight(large) && small.slab() == 0 ? 0 : 1);
    });
    const auto dead = child.reap();
    ASSERT_EQ(dead.end, exited(0));
    auto heir = made.join(shm::this_process().value()).value();
    const auto done = heir.reclaim(dead.proof).value();
    EXPECT_EQ(done.returned, 1U);
    EXPECT_EQ(done.in_flight, 1U);
    EXPECT_TRUE(done.complete);
    std::vector<pool_handle> asked;
    const auto rest = heir.reclaim(dead.proof, [&](pool_handle handle) { return asked.push_back(handle), true; });
    EXPECT_EQ(rest.value().returned, 1U);
    EXPECT_EQ(asked, (std::vector{pool_handle{1, {0, 1}}}));
    EXPECT_EQ(made.slab_at(0).free_count_approx() + made.slab_at(1).free_count_approx(), 3U);
}

/// Whatever a byte of the pool's header, of a slab's or of an annex's says: attach refuses it, or nothing is left.
TEST_F(a_pool, any_byte_of_the_header_changed_is_refused_or_harmless) {
    const auto attached = [&] {
        const auto found = pool::attach(part);
        if (!found) return found.error().sentence();
        auto member = found->join(somebody).value();
        const auto taken = member.try_alloc(1);
        EXPECT_TRUE(!taken || member.free_allocated(*taken));
        return std::string{"harmless"};
    };
    for (std::size_t at = 0; at < sizeof(pool::header); ++at)
        for (const int flip : {0x01, 0x02, 0x10, 0x80, 0xff}) {
            part.data()[at] ^= static_cast<std::byte>(flip);
            const std::string said = attached();
            part.data()[at] ^= static_cast<std::byte>(flip);
            const bool free_to_say = (at >= 32 && at < 128);                // reserved, and how far it has grown
            const bool of_no_slab = at >= 128 + 2 * sizeof(std::uint64_t);  // an annex, or a slab where none is
            const bool count = at >= 16 && at < 24;  // of members and alignment: within their bounds
            if (free_to_say) {
                EXPECT_EQ(said, "harmless") << at;
            } else if (!of_no_slab && !count) {
                EXPECT_NE(said, "harmless") << at << ' ' << flip;
            }
        }
}

TEST_F(a_pool, places_in_the_table_are_checked) {
    const auto attach_with = [&](std::uint64_t place) {
        const auto before = header.places[1].exchange(place);
        const auto found = pool::attach(part);
        header.places[1].store(before);
        return found ? fault{fault_kind::gone, 0, found->slab_count()} : found.error();
    };
    expect(attach_with(0), {fault_kind::gone, 0, 1});  // no more slabs
    expect(attach_with(2), {fault_kind::gone, 0, 1});  // in an annex
    expect(attach_with(64), {fault_kind::misaligned, 64, 0});
    expect(attach_with(64 + 3), {fault_kind::misaligned, 64, 3});
    const std::uint64_t end = part.size_bytes();
    expect(attach_with(end - 64 + 1), {fault_kind::out_of_range, end - 128, end - 64});
    expect(attach_with(~0ULL - 62), {fault_kind::out_of_range, end - 128, ~0ULL - 63});
    EXPECT_EQ(attach_with(end - 128 + 1).what, fault_kind::not_ready);  // the last bytes of the last slot
    EXPECT_EQ(attach_with(256 + 64 + 1).what, fault_kind::not_ready);   // the second line of a slab
    EXPECT_EQ(attach_with(1).what, fault_kind::foreign_header);         // the pool's own header
}

TEST_F(a_pool, a_header_that_contradicts_itself_is_refused) {
    for (const std::uint32_t members : {0U, 256U}) {
        header.member_count.write(members);
        expect(pool::attach(part).error(), {fault_kind::count, 255, members});
    }
    header.member_count.write(2);
    for (const std::uint32_t alignment : {0U, 96U, 8192U}) {
        header.slot_alignment.write(alignment);
        expect(pool::attach(part).error(), {fault_kind::capacity, 4096, alignment});
    }
}

TEST_F(a_pool, annex_is_refused_by_name) {
    EXPECT_EQ(made.annex_size(more), 64 + shm::treiber_slab<>::required_size({1, 1024, 64, 2}));
    auto annex = shm::heap_region::create(made.annex_size(more)).value();
    auto other = shm::heap_region::create(made.annex_size(more)).value();
    auto member = made.join(somebody).value();
    expect(member.attach_annex(annex.region()).error(), {fault_kind::not_ready, 2, 0});
    expect(made.add_annex({annex.region().data(), 1000}, more).error(),
           {fault_kind::too_small, made.annex_size(more), 1000});
    expect(made.add_annex({annex.region().data(), annex.region().size_bytes(), shm::access::read_only}, more).error(),
           {fault_kind::access_denied, 1, 0});
    EXPECT_EQ(made.add_annex(annex.region(), more).value(), 2U);
    expect(made.add_annex(annex.region(), more).error(), {fault_kind::already_created, 0, 2});
    EXPECT_EQ(made.add_annex(other.region(), more).value(), 3U);
    expect(member.attach_annex(annex.region().subregion(0, 63).value()).error(), {fault_kind::too_small, 64, 63});
    expect(member.attach_annex({annex.region().data() + 8, 1024}).error(), {fault_kind::misaligned, 64, 8});
    expect(member.attach_annex(other.region()).error(), {fault_kind::slab_number, 2, 3});
    EXPECT_EQ(member.attach_annex(part).error().what, fault_kind::magic);
    EXPECT_EQ(member.try_alloc(1024).status(), alloc_status::too_large);
    ASSERT_TRUE(member.attach_annex(annex.region()));
    EXPECT_EQ((*member.try_alloc(1024)).slab(), 2U);
    ASSERT_TRUE(member.attach_annex(other.region()));
    EXPECT_EQ((*member.try_alloc(1024)).slab(), 3U);
}

/// The bytes must be zero where the slabs will lie, too.
TEST_F(a_pool, is_not_made_over_a_slab) {
    auto other = shm::heap_region::create(pool::required_size(shape)).value();
    const std::uint32_t ready = 2;
    put_word(other.region().data(), 704 + 104, ready);  // the state of the second slab
    expect(pool::create(other.region(), shape).error(), {fault_kind::already_created, 0, 2});
    expect(pool::attach(other.region()).error(), {fault_kind::not_ready, 2, 1});
}

TEST_F(a_pool, meets_a_slab_that_somebody_else_has_added_when_nothing_else_fits) {
    auto member = pool::attach(whole).value().join(somebody).value();
    auto grower = pool::attach(whole).value();
    EXPECT_EQ(member.try_alloc(300).status(), alloc_status::too_large);
    ASSERT_EQ(grower.grow(whole, {1, 256}).value(), 2U);
    EXPECT_EQ((*member.try_alloc(100)).slab(), 1U);
    EXPECT_EQ(member.slab_count(), 2U) << "not looked for";
    EXPECT_EQ((*member.try_alloc(100)).slab(), 2U);
    EXPECT_EQ(member.try_alloc(100).status(), alloc_status::would_block);
}

TEST_F(a_pool, joins_what_comes_before_a_slab_that_it_cannot_join) {
    auto member = pool::attach(whole).value().join(somebody).value();
    auto grower = pool::attach(whole).value();
    const std::uint64_t third = grower.grown_size({1, 256}) - shm::treiber_slab<>::required_size({1, 256, 64, 2});
    ASSERT_EQ(grower.grow(whole, {1, 256}).value(), 2U);
    ASSERT_EQ(grower.grow(whole, {1, 512}).value(), 3U);
    header.places[3].store(64);
    expect(member.meet().error(), {fault_kind::misaligned, 64, 0});
    EXPECT_EQ(member.slab_count(), 3U);
    EXPECT_EQ(member.free({3, {0, 1}}).error(), (shm::slot_error{kind::no_such_slab, 3, 3}));
    EXPECT_EQ(header.places[2].load(), third + 1);
    const auto done = member.reclaim(shm::death_witness<struct shm::scenario>::saw(another));
    EXPECT_TRUE(done && !done->complete) << "there is a slab of which it knows nothing";
}

/// Whoever cannot have an entry in each slab has none.
TEST_F(a_pool, keeps_no_entry_where_another_slab_has_none_left) {
    for (const std::uint32_t full : {0U, 1U}) {
        const auto entries = [&](std::uint32_t number) {
            const std::size_t begin = number == 0 ? 256 + 128 : 704 + 128;
            return std::array{*whole.get<std::atomic<std::uint64_t>>(begin),
                              *whole.get<std::atomic<std::uint64_t>>(begin + 64)};
        };
        for (auto* each : entries(full)) each->store(another.word());
        expect(made.join(somebody).error(), {fault_kind::count, 2, 3});
        for (auto* each : entries(1 - full)) EXPECT_EQ(each->load(), 0U);
        for (auto* each : entries(full)) each->store(0);
        EXPECT_TRUE(made.join(somebody));
    }
}

TEST_F(a_pool, of_slots_aligned_to_as_much_as_a_page_lies_at_such_an_address) {
    for (std::uint32_t alignment = 64; alignment <= 4096; alignment *= 2) {
        const pool_class classes[] = {{2, alignment}, {1, 3 * alignment - 1}};
        const shm::pool_shape of{classes, alignment, 1};
        auto memory = shm::memfd_region::create(pool::required_size(of) + 8192).value();
        const shm::region all = memory.region();
        for (std::size_t past = 64; past < alignment; past *= 2) {
            const shm::region shifted{all.data() + past, all.size_bytes() - past};
            expect(pool::create(shifted, of).error(), {fault_kind::misaligned, alignment, past});
        }
        auto aligned = pool::create(all, of).value();
        const auto is_aligned = [&](pool_handle slot) {
            EXPECT_FALSE(aligned.data(slot).empty());
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(aligned.data(slot).data()) % alignment, 0U) << alignment;
        };
        for (const pool_handle slot : {pool_handle{0, {0, 1}}, {0, {1, 1}}, {1, {0, 1}}}) is_aligned(slot);
        auto annex = shm::memfd_region::create(aligned.annex_size({2, 1}) + 4096).value();
        for (std::size_t past = 64; past < alignment; past *= 2) {
            const shm::region shifted{annex.region().data() + past, annex.region().size_bytes() - past};
            expect(aligned.add_annex(shifted, {2, 1}).error(), {fault_kind::misaligned, alignment, past});
        }
        EXPECT_EQ(aligned.add_annex(annex.region(), {2, 1}).value(), 2U);
        for (std::size_t past = 64; past < alignment; past *= 2)
            EXPECT_FALSE(aligned.attach_annex({annex.region().data() + past, annex.region().size_bytes() - past}));
        ASSERT_TRUE(aligned.attach_annex(annex.region()));
        for (const pool_handle slot : {pool_handle{2, {0, 1}}, {2, {1, 1}}}) {
            is_aligned(slot);
            EXPECT_EQ(aligned.data(slot).size(), alignment);
        }
    }
}

/// A slab may have more slots than a pool's handle can name; in a pool it may not.
TEST(a_pool_of_many_slots, takes_on_no_slab_with_more_slots_than_a_handle_can_name) {
    static constexpr pool_class small[] = {{1, 8}};
    constexpr shm::pool_shape shape{small, 8, 1};
    constexpr std::size_t place = (pool::required_size(shape) + 63) / 64 * 64;
    constexpr shm::slab_shape many{pool::max_slots + 1, 8, 8, 1};
    const sparse_bytes bytes{place + shm::treiber_slab<>::required_size(many)};
    const shm::region there = bytes.region().subregion(place, bytes.size_bytes() - place).value();
    auto made = pool::create(bytes.region(), shape).value();
    ASSERT_TRUE(shm::treiber_slab<>::create(there, many));
    auto& header = **bytes.region().get<pool::header>();
    header.places[1].store(place + 1);
    const fault too_many{fault_kind::count, pool::max_slots, pool::max_slots + 1};
    EXPECT_EQ(pool::attach(bytes.region()).error(), too_many);
    EXPECT_EQ(made.meet().error(), too_many);
    EXPECT_EQ(made.slab_count(), 1U);
    EXPECT_TRUE(made.data({1, {0, 1}}).empty());

    (**there.get<shm::treiber_slab<>::header>()).slot_count.write(pool::max_slots);
    ASSERT_TRUE(made.meet());
    ASSERT_EQ(made.slab_count(), 2U);
    const auto last = made.data({1, {pool::max_slots - 1, 1}});
    EXPECT_EQ(last.size(), 8U);
    EXPECT_EQ(last.data(), made.data({1, {0, 1}}).data() + std::size_t{8} * (pool::max_slots - 1));
    EXPECT_TRUE(made.data({1, {pool::max_slots, 1}}).empty());
}

TEST(a_pool_above_4_GiB, has_all_of_its_slabs_apart) {
    static constexpr pool_class classes[] = {{2, (3ULL << 30) + 64}, {1, 64}};
    constexpr pool_class late{1, 1ULL << 32};
    constexpr shm::pool_shape shape{classes, 64, 1};
    constexpr std::size_t at_first = pool::required_size(shape);
    const sparse_bytes bytes{at_first + (5ULL << 30)};
    auto made = pool::create(bytes.region(), shape).value();
    EXPECT_EQ(made.grown_size(late), at_first + shm::treiber_slab<>::required_size({1, 1ULL << 32, 64, 1}));
    ASSERT_EQ(made.grow(bytes.region(), late).value(), 2U);
    auto annex = sparse_bytes{made.annex_size({2, 5ULL << 30})};
    ASSERT_EQ(made.add_annex(annex.region(), {2, 5ULL << 30}).value(), 3U);
    ASSERT_TRUE(made.meet());
    ASSERT_TRUE(made.attach_annex(annex.region()));
    constexpr pool_handle all[] = {{0, {0, 1}}, {0, {1, 1}}, {1, {0, 1}}, {2, {0, 1}}, {3, {0, 1}}, {3, {1, 1}}};
    constexpr std::size_t sizes[] = {classes[0].slot_size, classes[0].slot_size, 64,
                                     1ULL << 32,           5ULL << 30,           5ULL << 30};
    for (std::size_t i = 0; i < std::size(all); ++i) {
        const auto data = made.data(all[i]);
        ASSERT_EQ(data.size(), sizes[i]);
        EXPECT_EQ(data.front(), std::byte{}) << "nobody else's";
        EXPECT_EQ(data.back(), std::byte{}) << "nobody else's";
        data.front() = data.back() = std::byte(i + 1);
    }
    auto attached = pool::attach(bytes.region()).value();
    ASSERT_EQ(attached.slab_count(), 3U);
    ASSERT_TRUE(attached.attach_annex(annex.region()));
    for (std::size_t i = 0; i < std::size(all); ++i) EXPECT_EQ(attached.data(all[i]).back(), std::byte(i + 1));
    auto member = made.join(somebody).value();
    EXPECT_EQ((*member.try_alloc((1ULL << 32) + 1)).slab(), 3U);
    EXPECT_EQ((*member.try_alloc(1ULL << 32)).slab(), 2U);
    EXPECT_EQ(member.try_alloc((5ULL << 30) + 1).status(), alloc_status::too_large);
}

/// Writes into chosen words just before they are exchanged.
class meddler final : public watcher {
public:
    template <class Write>
    meddler(const void* word, unsigned times, Write write) : word_{word}, times_{times}, write_{write} {}
    void before(std::byte* word, std::size_t, way accessed) override {
        if (accessed == way::exchanged && word == word_ && times_ != 0) --times_, write_();
    }
    [[nodiscard]] unsigned times_left() const { return times_; }

private:
    const void* word_;
    unsigned times_;
    std::function<void()> write_;
};

/// A pool of two slabs, of which one is in trouble.
class one_of_two_slabs : public testing::TestWithParam<std::uint32_t> {
protected:
    static constexpr unsigned attempts = 4;
    using pool = shm::var_slot_pool<shm::slab_widths{.attempts = attempts}, watched_atomics>;
    static constexpr shm::slot_error contended{kind::contended, attempts, 0};
    static constexpr std::uint32_t slots[] = {2, 1};

    [[nodiscard]] std::uint32_t troubled() const { return GetParam(); }
    [[nodiscard]] std::uint32_t sound() const { return 1 - GetParam(); }
    [[nodiscard]] auto& head(std::uint32_t number) const { return made_.slab_at(number).inner().shared().head; }
    void damage(std::uint32_t number) { head(number).store(77, std::memory_order_relaxed); }
    [[nodiscard]] static shm::slot_error corrupt(std::uint32_t number) { return {kind::corrupt, slots[number], 77}; }
    /// Somebody else takes a slot and gives it back, `times` times.
    [[nodiscard]] meddler busy(std::uint32_t number, unsigned times) const {
        return {&head(number), times,
                [&word = head(number)] { static_cast<std::atomic<std::uint64_t>&>(word) += 1ULL << 24; }};
    }
    [[nodiscard]] static std::size_t size_in(std::uint32_t number) { return number == 0 ? 64 : 256; }
    /// A slot of each slab, of that peer, which has gone.
    void leaves_one_of_each(shm::peer_id peer) {
        auto leaving = made_.join(peer).value();
        for (const std::uint32_t number : {0U, 1U}) ASSERT_EQ((*leaving.try_alloc(size_in(number))).slab(), number);
    }
    void sends_one_of_each(pool::member& sender) {
        for (const std::uint32_t number : {0U, 1U}) sender.mark_in_flight(*sender.try_alloc(size_in(number))).value();
    }
    [[nodiscard]] std::uint32_t free_in(std::uint32_t number) const {
        return made_.slab_at(number).free_count_approx();
    }

    const guarded_bytes bytes_{pool::required_size({two_classes, 64, 3})};
    const pool made_ = pool::create(bytes_.region(), {two_classes, 64, 3}).value();
    pool::member member_ = made_.join(somebody).value();
    const shm::proof_of_death dead_ = shm::death_witness<struct shm::scenario>::saw(another);
};
INSTANTIATE_TEST_SUITE_P(, one_of_two_slabs, testing::Values(0U, 1U));

TEST_P(one_of_two_slabs, is_damaged_and_what_the_dead_had_in_the_other_is_given_back_all_the_same) {
    leaves_one_of_each(another);
    damage(troubled());
    EXPECT_EQ(member_.reclaim(dead_).error(), corrupt(troubled()));
    EXPECT_TRUE(member_.corrupt());
    EXPECT_EQ(free_in(sound()), slots[sound()]);
    EXPECT_EQ(member_.reclaim(dead_).error(), corrupt(troubled())) << "for ever";
    EXPECT_TRUE(bytes_.untouched());
}

TEST_P(one_of_two_slabs, is_damaged_and_what_is_lost_in_the_other_is_given_back_all_the_same) {
    sends_one_of_each(member_);
    damage(troubled());
    EXPECT_EQ(member_.reclaim_in_flight([](pool_handle) { return true; }).error(), corrupt(troubled()));
    EXPECT_TRUE(member_.corrupt());
    EXPECT_EQ(free_in(sound()), slots[sound()]);
}

TEST_P(one_of_two_slabs, is_damaged_and_the_other_one_is_as_good_as_before) {
    damage(troubled());
    EXPECT_FALSE(member_.corrupt()) << "nothing was met yet";
    EXPECT_EQ(member_.free_allocated({sound(), {0, 7}}).error().what, kind::generation_mismatch);
    const auto taken = member_.try_alloc(1);  // of the small slots, if they are sound
    EXPECT_EQ(taken.status(), troubled() == 0 ? alloc_status::corrupt : alloc_status::allocated);
    EXPECT_EQ(member_.corrupt(), troubled() == 0);
    EXPECT_EQ(member_.try_alloc(256).status(), troubled() == 0 ? alloc_status::allocated : alloc_status::corrupt);
    EXPECT_TRUE(member_.corrupt());
    if (troubled() == 0) return;
    member_.free_allocated(*taken).value();
    while (member_.try_alloc(1)) {
    }
    EXPECT_EQ(member_.try_alloc(1).status(), alloc_status::corrupt) << "where a slot of the damaged one would be next";
}

TEST_P(one_of_two_slabs, is_told_when_both_are_damaged_and_it_is_the_first) {
    leaves_one_of_each(another);
    damage(0);
    damage(1);
    EXPECT_EQ(member_.reclaim(dead_).error(), corrupt(0));
    EXPECT_EQ(member_.reclaim_in_flight([](pool_handle) { return true; }).error(), corrupt(0));
}

TEST_P(one_of_two_slabs, is_contended_and_what_the_dead_had_in_the_other_is_given_back_all_the_same) {
    leaves_one_of_each(another);
    meddler others = busy(troubled(), attempts);
    const while_watching now{others};
    const auto first = member_.reclaim(dead_).value();
    EXPECT_EQ(others.times_left(), 0U);
    EXPECT_FALSE(first.complete);
    EXPECT_EQ(free_in(sound()), slots[sound()]);
    const auto second = member_.reclaim(dead_).value();
    EXPECT_TRUE(second.complete);
    EXPECT_EQ(first.returned + second.returned, 2U);
    EXPECT_EQ(free_in(troubled()), slots[troubled()]);
}

TEST_P(one_of_two_slabs, is_contended_and_what_is_lost_in_the_other_is_given_back_all_the_same) {
    sends_one_of_each(member_);
    meddler others = busy(troubled(), attempts);
    const while_watching now{others};
    const auto lost = [](pool_handle) { return true; };
    EXPECT_EQ(member_.reclaim_in_flight(lost).error(), contended);
    EXPECT_EQ(others.times_left(), 0U);
    EXPECT_TRUE(member_.reclaim_in_flight(lost)->complete);
    for (const std::uint32_t number : {0U, 1U}) {
        EXPECT_EQ(free_in(number), slots[number]);
        for (std::uint32_t i = 0; i < slots[number]; ++i)
            EXPECT_EQ((*member_.try_alloc(size_in(number))).slab(), number);
    }
    EXPECT_FALSE(member_.corrupt());
}

TEST_P(one_of_two_slabs, counts_what_stays_in_flight_in_both) {
    auto sender = made_.join(another).value();
    sends_one_of_each(sender);
    const auto only_troubled = [&](pool_handle sent) { return sent.slab() == troubled(); };
    const auto done = member_.reclaim_in_flight(only_troubled).value();
    EXPECT_TRUE(done.complete && done.returned == 1 && done.in_flight == 1);
    const auto of_the_dead = member_.reclaim(dead_).value();
    EXPECT_TRUE(of_the_dead.complete && of_the_dead.returned == 0 && of_the_dead.in_flight == 1);
    EXPECT_EQ(member_.reclaim(dead_, [](pool_handle) { return true; })->returned, 1U);
}

TEST_P(one_of_two_slabs, is_contended_and_the_other_one_allocates_or_it_is_told) {
    {
        meddler others = busy(troubled(), attempts);
        const while_watching now{others};
        const auto taken = member_.try_alloc(1);  // a larger one, if the small ones are contended
        EXPECT_EQ((*taken).slab(), troubled() == 0 ? 1U : 0U);
        member_.free_allocated(*taken).value();
    }
    while (const auto taken = member_.try_alloc(size_in(sound())))
        if ((*taken).slab() != sound()) {
            member_.free_allocated(*taken).value();
            break;
        }
    ASSERT_EQ(free_in(sound()), 0U);
    meddler others = busy(troubled(), attempts);
    const while_watching now{others};
    EXPECT_EQ(member_.try_alloc(1).status(), alloc_status::contended) << "neither full nor too large";
    EXPECT_EQ(others.times_left(), 0U);
    EXPECT_TRUE(member_.try_alloc(1));
}

TEST_P(one_of_two_slabs, has_something_half_given_back_and_the_other_one_does_not_mind) {
    const auto half = *member_.try_alloc(size_in(troubled())), other = *member_.try_alloc(size_in(sound()));
    ASSERT_EQ(half.slab(), troubled());
    ASSERT_EQ(other.slab(), sound());
    {
        meddler others = busy(troubled(), 2 * attempts);
        const while_watching now{others};
        EXPECT_EQ(member_.free_allocated(half).error(), contended);
        EXPECT_TRUE(member_.free_allocated(other)) << "with others at the first all the time";
        EXPECT_EQ(others.times_left(), attempts);
    }
    EXPECT_TRUE(member_.free_allocated(half)) << "finished";
    EXPECT_EQ(member_.free_allocated(half).error().what, kind::generation_mismatch);
}

/// Whoever grows a pool while somebody else does.
class a_growing_pool : public testing::Test {
protected:
    using pool = shm::var_slot_pool<shm::slab_widths{}, watched_atomics>;
    static constexpr std::size_t first_bytes = pool::required_size({two_classes, 64, 2});

    const guarded_bytes bytes_{first_bytes + 4096};
    const guarded_bytes annex_{2048};
    pool made_ = pool::create(bytes_.region(), {two_classes, 64, 2}).value();
    pool::header& header_ = *bytes_.region().get<pool::header>().value();
};

TEST_F(a_growing_pool, is_contended_when_its_bytes_are_given_to_somebody_else) {
    meddler other{&header_.used, 1, [&] { header_.used.store(first_bytes + 64, std::memory_order_relaxed); }};
    const while_watching now{other};
    EXPECT_EQ(made_.grow(bytes_.region(), more).error(), (fault{fault_kind::contended, first_bytes, first_bytes + 64}));
    EXPECT_EQ(made_.slab_count(), 2U);
    EXPECT_EQ(made_.grow(bytes_.region(), more).value(), 2U);
}

TEST_F(a_growing_pool, puts_its_slab_behind_those_that_were_added_meanwhile_or_says_that_there_are_sixteen) {
    for (const std::uint32_t others : {1U, 13U, 14U}) {
        for (const bool in_region : {true, false}) {
            const auto take_places = [&] {
                for (std::uint32_t i = 0; i < others; ++i) header_.places[2 + i].store(2, std::memory_order_relaxed);
            };
            meddler other{&header_.places[2], 1, take_places};
            const auto before = header_.used.load(std::memory_order_relaxed);
            const auto added = [&] {
                const while_watching now{other};
                return in_region ? made_.grow(bytes_.region(), {1, 64}) : made_.add_annex(annex_.region(), {1, 64});
            }();
            if (others == 14) {
                EXPECT_EQ(added.error(), (fault{fault_kind::count, 16, 17}));
            } else {
                EXPECT_EQ(added.value(), 2 + others);
            }
            EXPECT_EQ(header_.places[2].load(std::memory_order_relaxed), 2U);
            EXPECT_EQ(header_.used.load(std::memory_order_relaxed) > before, in_region);
            for (std::uint32_t i = 2; i < 16; ++i) header_.places[i].store(0, std::memory_order_relaxed);
            std::memset(annex_.data(), 0, annex_.size_bytes());
        }
    }
}

/// A child grows the file and sends a slot of the new slab; its parent follows the growth, and receives.
TEST(two_processes, grow_a_pool_on_a_file) {
    const temporary_directory directory;
    const std::string path = directory / "pool";
    const shm::mmap_options room{.max_size_bytes = 1 << 20};
    const shm::pool_shape shape{two_classes, 64, 2};
    auto mine = shm::mmap_region::create(path, pool::required_size(shape), room).value();
    const auto made = pool::create(mine.region(), shape).value();
    auto member = made.join(shm::this_process().value()).value();
    EXPECT_EQ(member.try_alloc(1000).status(), alloc_status::too_large);
    const word_pipe sent;
    child_process child([&]() -> int {
        auto file = shm::mmap_region::attach(path, shm::access::read_write, room).value();
        auto found = pool::attach(file.region()).value();
        const std::size_t size = found.grown_size(more);
        if (found.grow(file.region(), more).error() != fault{fault_kind::too_small, size, file.size_bytes()}) _exit(1);
        if (file.resize(size).value() != shm::region_change::grown) _exit(2);
        if (found.grow(file.region(), more).value() != 2) _exit(3);
        auto sender = found.join(shm::this_process().value()).value();
        if (!sender.extend(file.region())) _exit(4);
        const auto slot = sender.try_alloc(1000);
        if (!slot) _exit(5);
        fill(sender.data(*slot), 7);
        sender.mark_in_flight(*slot).value();
        sent.say((*slot).word());
        _exit(0);
    });
    const auto slot = pool_handle::from_word(sent.hear());
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(member.adopt(slot).error(), (shm::slot_error{kind::no_such_slab, 2, 2}));
    EXPECT_EQ(member.meet().error().what, fault_kind::out_of_range);
    EXPECT_EQ(pool::attach(mine.region()).error().what, fault_kind::out_of_range);
    const std::byte* const before = mine.region().data();
    ASSERT_EQ(mine.check_and_remap().value(), shm::region_change::grown);
    EXPECT_EQ(mine.region().data(), before);
    ASSERT_TRUE(member.extend(mine.region()));
    ASSERT_TRUE(member.adopt(slot));
    EXPECT_EQ(number_of(member.data(slot)), 7U);
    EXPECT_EQ(member.data(slot).size(), 1024U);
    EXPECT_TRUE(member.free_allocated(slot));
    EXPECT_EQ((*member.try_alloc(1000)).slab(), 2U);
    EXPECT_EQ(pool::attach(mine.region()).value().slab_count(), 3U);
}

/// The same by sealed memory, whose descriptor the child inherits.
TEST(two_processes, grow_a_pool_by_an_annex) {
    const shm::pool_shape shape{two_classes, 64, 2};
    auto mine = shm::memfd_region::create(pool::required_size(shape)).value();
    auto made = pool::create(mine.region(), shape).value();
    auto annex = shm::memfd_region::create(made.annex_size(more)).value();
    auto member = made.join(shm::this_process().value()).value();
    const word_pipe ready;
    child_process child([&]() -> int {
        auto base = shm::memfd_region::attach(shm::unique_fd{::dup(mine.fd())}).value();
        auto further = shm::memfd_region::attach(shm::unique_fd{::dup(annex.fd())}).value();
        auto receiver = pool::attach(base.region()).value().join(shm::this_process().value()).value();
        const auto slot = pool_handle::from_word(ready.hear());
        if (receiver.adopt(slot).error() != shm::slot_error{kind::no_such_slab, 2, 2}) _exit(1);
        if (!receiver.meet()) _exit(2);
        if (!receiver.attach_annex(further.region())) _exit(3);
        if (!receiver.adopt(slot) || number_of(receiver.data(slot)) != 9) _exit(4);
        _exit(receiver.free_allocated(slot) ? 0 : 5);
    });
    ASSERT_EQ(made.add_annex(annex.region(), more).value(), 2U);
    ASSERT_TRUE(member.attach_annex(annex.region()));
    const auto slot = *member.try_alloc(1024);
    fill(member.data(slot), 9);
    member.mark_in_flight(slot).value();
    ready.say(slot.word());
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(member.free(slot).error().what, kind::generation_mismatch);
    const auto again = *member.try_alloc(1024);
    EXPECT_EQ(again.slab(), 2U);
    EXPECT_NE(again, slot);
}

}  // namespace
