// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <shm/heap_region.hpp>
#include <shm/memfd_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/var_slot_pool.hpp>

#include "../models/var_slot_pool_reference.hpp"
#include "temporary_directory.hpp"

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
    const auto alignment = std::uint32_t{1} << *rc::gen::inRange(3, 8);
    const auto sizes = *rc::gen::resize(4, rc::gen::nonEmpty<std::vector<std::uint8_t>>());
    std::vector<pool_class> classes;
    for (const auto size : sizes) classes.push_back({2, std::uint64_t{size} + 1});
    if (classes.size() > pool::max_slabs) classes.resize(pool::max_slabs);
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
    EXPECT_TRUE(member.data(pool_handle{2, taken.slot()}).empty());
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
    const pid_t child = fork();
    if (child == 0) _exit(0);
    const auto proof = shm::reap(child).value().proof;
    const auto nothing = heir.reclaim(proof);
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
    const pid_t child = fork();
    if (child == 0) {
        const auto mine = shm::memfd_region::attach(shm::unique_fd{dup(memory.fd())}).value();
        auto member = pool::attach(mine.region()).value().join(shm::this_process().value()).value();
        const auto small = *member.try_alloc(1), large = *member.try_alloc(100);
        _exit(member.mark_in_flight(large) && small.slab() == 0 ? 0 : 1);
    }
    const auto ended = shm::reap(child).value();
    ASSERT_EQ(ended.status, 0);
    auto heir = made.join(shm::this_process().value()).value();
    const auto done = heir.reclaim(ended.proof).value();
    EXPECT_EQ(done.returned, 1U);
    EXPECT_EQ(done.in_flight, 1U);
    EXPECT_TRUE(done.complete);
    std::vector<pool_handle> asked;
    const auto rest = heir.reclaim(ended.proof, [&](pool_handle handle) { return asked.push_back(handle), true; });
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
    EXPECT_EQ(attach_with(1).what, fault_kind::not_ready);              // the pool's own header
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

/// Tells a peer over a pipe how far one is.
class pipe_pair {
public:
    pipe_pair() { EXPECT_EQ(::pipe(ends_), 0); }
    pipe_pair(const pipe_pair&) = delete;
    pipe_pair& operator=(const pipe_pair&) = delete;
    ~pipe_pair() {
        ::close(ends_[0]);
        ::close(ends_[1]);
    }
    void say(std::uint64_t word) const { EXPECT_EQ(::write(ends_[1], &word, sizeof word), ssize_t{sizeof word}); }
    [[nodiscard]] std::uint64_t hear() const {
        std::uint64_t word = 0;
        EXPECT_EQ(::read(ends_[0], &word, sizeof word), ssize_t{sizeof word});
        return word;
    }

private:
    int ends_[2]{};
};

void fill(std::span<std::byte> bytes, std::uint64_t seed) {
    for (auto& byte : bytes) byte = static_cast<std::byte>((seed = seed * 6364136223846793005 + 1) >> 56);
}
bool filled(std::span<const std::byte> bytes, std::uint64_t seed) {
    return std::ranges::all_of(bytes, [&](std::byte byte) {
        return byte == static_cast<std::byte>((seed = seed * 6364136223846793005 + 1) >> 56);
    });
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
    const pipe_pair sent;
    const pid_t child = fork();
    if (child == 0) {
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
    }
    const auto slot = pool_handle::from_word(sent.hear());
    EXPECT_EQ(shm::reap(child).value().status, 0);
    EXPECT_EQ(member.adopt(slot).error(), (shm::slot_error{kind::no_such_slab, 2, 2}));
    EXPECT_EQ(member.meet().error().what, fault_kind::out_of_range);
    EXPECT_EQ(pool::attach(mine.region()).error().what, fault_kind::out_of_range);
    const std::byte* const before = mine.region().data();
    ASSERT_EQ(mine.check_and_remap().value(), shm::region_change::grown);
    EXPECT_EQ(mine.region().data(), before);
    ASSERT_TRUE(member.extend(mine.region()));
    ASSERT_TRUE(member.adopt(slot));
    EXPECT_TRUE(filled(member.data(slot), 7));
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
    const pipe_pair ready, sent;
    const pid_t child = fork();
    if (child == 0) {
        auto base = shm::memfd_region::attach(shm::unique_fd{::dup(mine.fd())}).value();
        auto further = shm::memfd_region::attach(shm::unique_fd{::dup(annex.fd())}).value();
        auto receiver = pool::attach(base.region()).value().join(shm::this_process().value()).value();
        const auto slot = pool_handle::from_word(ready.hear());
        if (receiver.adopt(slot).error() != shm::slot_error{kind::no_such_slab, 2, 2}) _exit(1);
        if (!receiver.meet()) _exit(2);
        if (!receiver.attach_annex(further.region())) _exit(3);
        if (!receiver.adopt(slot) || !filled(receiver.data(slot), 9)) _exit(4);
        if (!receiver.free_allocated(slot)) _exit(5);
        _exit(0);
    }
    ASSERT_EQ(made.add_annex(annex.region(), more).value(), 2U);
    ASSERT_TRUE(member.attach_annex(annex.region()));
    const auto slot = *member.try_alloc(1024);
    fill(member.data(slot), 9);
    member.mark_in_flight(slot).value();
    ready.say(slot.word());
    EXPECT_EQ(shm::reap(child).value().status, 0);
    EXPECT_EQ(member.free(slot).error().what, kind::generation_mismatch);
    const auto again = *member.try_alloc(1024);
    EXPECT_EQ(again.slab(), 2U);
    EXPECT_NE(again, slot);
}

}  // namespace
