// SPDX-License-Identifier: MIT OR Apache-2.0
// What a slab looks like in memory, byte by byte, as stored in golden/ (docs/layouts.md). An image stays for ever.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <ostream>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <shm/treiber_slab.hpp>

#include "testkit/golden_image.hpp"
#include "testkit/guarded_bytes.hpp"
#include "testkit/staged_death.hpp"

namespace {

using shm::fault;
using shm::fault_kind;
using shm::peer_id;
using shm::slot_handle;
using shm::slot_state;
using shm::slot_word;
using slab = shm::treiber_slab<>;

constexpr std::size_t header_bytes = 128, member_bytes = 64, meta_bytes = 16;
constexpr std::size_t version_offset = 100;
constexpr peer_id first{7, 9}, second{8, 1}, third{9, 1};

std::vector<image_line> lines_of(shm::slab_shape shape) {
    std::vector<image_line> image;
    add_lines(image, slab::header::fields(), 0,
              {{"magic", "magic", fault_kind::magic},
               {"layout_hash", "layout hash", fault_kind::layout_hash},
               {"slot_alignment", "slot alignment", fault_kind::capacity},
               {"layout_version", "layout version", fault_kind::layout_version},
               {"state", "state: ready", fault_kind::not_ready}});
    for (std::size_t i = 0; i < shape.member_count; ++i)
        add_lines(image, slab::entry::fields(), header_bytes + i * member_bytes,
                  {{"claim", "member " + std::to_string(i)}});
    for (std::size_t i = 0; i < shape.slot_count; ++i)
        add_lines(image, slab::meta::fields(), header_bytes + shape.member_count * member_bytes + i * meta_bytes,
                  {{"word", "word of slot " + std::to_string(i)}, {"next_chain", "for a magazine"}});
    return image;
}

/// A slab that has been used as described.
struct golden_slab {
    std::string name;  // of the file: what, the layout version, in which condition
    shm::slab_shape shape;
    void (*use)(const slab&, slab::member& first, slab::member& second);  // then the image is taken
    void (*holds)(const slab&, slab::member& survivor);                   // now that both have died

    friend std::ostream& operator<<(std::ostream& out, const golden_slab& of) { return out << of.name; }
    [[nodiscard]] std::size_t slots_offset() const { return header_bytes + shape.member_count * member_bytes; }
    [[nodiscard]] std::size_t data_offset() const {
        const std::size_t unaligned = slots_offset() + shape.slot_count * meta_bytes;
        return (unaligned + shape.slot_alignment - 1) / shape.slot_alignment * shape.slot_alignment;
    }
};

void put(const slab& made, slot_handle handle, std::string_view text) {
    std::memcpy(made.data(handle).data(), text.data(), text.size());
}
void expect_text(const slab& made, slot_handle handle, std::string_view text) {
    const auto data = made.data(handle);
    EXPECT_EQ((std::string_view{reinterpret_cast<const char*>(data.data()), text.size()}), text);
}

constexpr std::uint64_t last_generation = (1ULL << 40) - 1;
constexpr std::uint64_t last_tag = (1ULL << 40) - 1;

/// The deaths of both, with what each reclaim has to find.
void reclaim(slab::member& survivor, std::array<std::uint32_t, 2> returned, std::array<std::uint32_t, 2> in_flight) {
    const std::array dead{first, second};
    for (std::size_t i = 0; i < dead.size(); ++i) {
        const auto done = survivor.reclaim(shm::death_witness<struct shm::scenario>::saw(dead.at(i))).value();
        EXPECT_TRUE(done.complete);
        EXPECT_EQ(done.returned, returned.at(i)) << i;
        EXPECT_EQ(done.in_flight, in_flight.at(i)) << i;
    }
}

const std::vector<golden_slab>& slabs() {
    static const std::vector<golden_slab> all = {
        {"treiber_slab.v1.empty.hex",
         {.slot_count = 2, .slot_size = 64, .slot_alignment = 64, .member_count = 3},
         [](const slab&, slab::member&, slab::member&) {},
         [](const slab&, slab::member& survivor) { reclaim(survivor, {0, 0}, {0, 0}); }},
        {"treiber_slab.v1.in_use.hex",
         {.slot_count = 4, .slot_size = 10, .slot_alignment = 8, .member_count = 3},
         [](const slab& made, slab::member& one, slab::member& other) {
             const auto kept = *one.try_alloc(), sent = *one.try_alloc(), returned = *other.try_alloc();
             put(made, kept, "kept");
             put(made, sent, "sent");
             one.mark_in_flight(sent).value();
             other.free_allocated(returned).value();
         },
         [](const slab& made, slab::member& survivor) {
             expect_text(made, {0, 1}, "kept");
             expect_text(made, {1, 1}, "sent");
             reclaim(survivor, {1, 0}, {1, 0});
             EXPECT_EQ(survivor.free_allocated({0, 1}).error().what, shm::slot_error::kind::generation_mismatch);
             survivor.adopt({1, 1}).value();
             survivor.free_allocated({1, 1}).value();
             EXPECT_EQ(*survivor.try_alloc(), (slot_handle{1, 2}));
             survivor.free_allocated({1, 2}).value();
         }},
        {"treiber_slab.v1.counts_wrapped.hex",
         {.slot_count = 2, .slot_size = 8, .slot_alignment = 8, .member_count = 3},
         [](const slab& made, slab::member& one, slab::member& other) {
             made.inner().slot(0).word.store(slot_word{last_generation, {}, slot_state::free}.word());
             made.inner().shared().head.store(last_tag << 24);
             one.free_allocated(*one.try_alloc()).value();
             put(made, *other.try_alloc(), "eight...");
         },
         [](const slab& made, slab::member& survivor) {
             expect_text(made, {0, 1}, "eight...");
             EXPECT_EQ(survivor.free_allocated({0, last_generation}).error().actual, 1u);
             reclaim(survivor, {0, 1}, {0, 0});
         }},
        {"treiber_slab.v1.killed.hex",
         {.slot_count = 3, .slot_size = 8, .slot_alignment = 8, .member_count = 3},
         [](const slab& made, slab::member& one, slab::member& other) {
             // One between taking a slot off the list and making it its own, one between the reverse.
             const auto taken = *one.try_alloc();
             made.inner().slot(taken.index()).word.store(slot_word{1, {}, slot_state::free}.word());
             const auto given = *other.try_alloc();
             const std::uint64_t without_it = made.inner().shared().head.load();
             other.free_allocated(given).value();
             made.inner().shared().head.store(without_it);
             const auto members = reinterpret_cast<slab::entry*>(&made.inner().shared() + 1);
             members[1].giving.store(slot_handle{given.index(), 2}.word());
         },
         [](const slab&, slab::member& survivor) { reclaim(survivor, {1, 1}, {0, 0}); }},
    };
    return all;
}

byte_image made_now(const golden_slab& of) {
    const guarded_bytes bytes{slab::required_size(of.shape)};
    const auto made = slab::create(bytes.region(), of.shape).value();
    auto one = made.join(first).value(), other = made.join(second).value();
    of.use(made, one, other);
    return copy_of(bytes);
}
class golden_slabs : public testing::TestWithParam<golden_slab> {};

TEST_P(golden_slabs, are_what_the_library_makes) {
    const golden_slab& of = GetParam();
    const byte_image now = made_now(of);
    const std::string text = stored(of.name);
    ASSERT_EQ(text,
              text_of(now, lines_of(of.shape), of.data_offset(), slab::attach(placed(now)->region())->slot_size()))
        << golden_folder / of.name << ": expected what is made now";
    EXPECT_EQ(bytes_of(text), now) << "bytes between the fields";
}

TEST_P(golden_slabs, are_attached_to_and_recovered) {
    const auto bytes = placed(bytes_of(stored(GetParam().name)));
    const auto found = slab::attach(bytes->region()).value();
    EXPECT_EQ(found.slot_count(), GetParam().shape.slot_count);
    auto member = found.join(third).value();
    EXPECT_EQ(member.owner().entry, 2u);
    GetParam().holds(found, member);
    std::set<std::uint32_t> had;
    while (const auto taken = member.try_alloc()) EXPECT_TRUE(had.insert((*taken).index()).second);
    EXPECT_EQ(had.size(), found.slot_count());
    EXPECT_FALSE(member.corrupt());
    EXPECT_TRUE(bytes->untouched());
}

TEST_P(golden_slabs, with_any_byte_damaged_that_attach_relies_on_are_refused_by_name) {
    const byte_image image = bytes_of(stored(GetParam().name));
    expect_damage_refused(image, lines_of(GetParam().shape), refusal_of<slab>);
}

TEST_P(golden_slabs, of_another_version_are_refused_by_its_number) {
    expect_other_versions_refused(bytes_of(stored(GetParam().name)), version_offset, refusal_of<slab>);
}

INSTANTIATE_TEST_SUITE_P(each, golden_slabs, testing::ValuesIn(slabs()),
                         [](const auto& tested) { return test_name(tested.param.name); });

}  // namespace
