// SPDX-License-Identifier: MIT OR Apache-2.0
// What a pool looks like in memory, byte by byte, as stored in golden/ (docs/layouts.md). An image stays for ever.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <shm/var_slot_pool.hpp>

#include "testkit/golden_image.hpp"
#include "testkit/guarded_bytes.hpp"

namespace {

using pool = shm::var_slot_pool<>;
using shm::fault;
using shm::fault_kind;
using shm::pool_class;
using shm::pool_handle;

constexpr pool_class classes[] = {{2, 64}, {1, 128}};
constexpr pool_class third{1, 64}, fourth{1, 192};
constexpr shm::pool_shape shape{classes, 64, 1};
constexpr shm::peer_id owner{7, 9};
constexpr std::size_t version_offset = 24;
constexpr const char* name_of_pool = "var_slot_pool.v1.in_use.hex";
constexpr const char* name_of_annex = "var_slot_pool.v1.annex.hex";

/// Of a slab with one member.
void add_slab(std::vector<image_line>& image, std::size_t at, const std::string& which, std::size_t slots) {
    add_lines(image, pool::slab::header::fields(), at,
              {{"state", "state: ready"}, {"reported_corrupt", {}}, {"reserved", {}}}, which);
    add_lines(image, pool::slab::entry::fields(), at + 128, {{"reserved", {}}, {"for_a_magazine", {}}}, which);
    for (std::size_t slot = 0; slot < slots; ++slot) {
        const std::string number = std::to_string(slot);
        add_lines(image, pool::slab::meta::fields(), at + 192 + 16 * slot,
                  {{"word", "word " + number}, {"next", "next " + number}, {"next_chain", {}}}, which);
    }
}

std::vector<image_line> lines_of_pool() {
    std::vector<image_line> image;
    add_lines(image, pool::header::fields(), 0,
              {{"magic", "magic", fault_kind::magic},
               {"layout_hash", "layout hash", fault_kind::layout_hash},
               {"slot_alignment", "slot alignment", fault_kind::capacity},
               {"layout_version", "layout version", fault_kind::layout_version},
               {"state", "state: ready", fault_kind::not_ready},
               {"reserved", {}},
               {"also_reserved", {}},
               {"places", {}}});
    const char* const places[] = {"place 0: 256", "place 1: 640", "place 2: 1024", "place 3: in an annex"};
    for (std::size_t i = 0; i < std::size(places); ++i)
        image.push_back({offsetof(pool::header, places) + 8 * i, 8, places[i]});
    add_slab(image, 256, "slab 0: ", 2);
    image.push_back({512, 4, "slab 0: slot 0"});
    add_slab(image, 640, "slab 1: ", 1);
    image.push_back({896, 4, "slab 1: slot 0"});
    add_slab(image, 1024, "slab 2: ", 1);
    return image;
}
std::vector<image_line> lines_of_annex() {
    std::vector<image_line> image;
    add_lines(image, pool::annex_header::fields(), 0,
              {{"magic", "magic", fault_kind::magic},
               {"slab_number", "slab number", fault_kind::slab_number},
               {"reserved", {}},
               {"unused", {}}});
    add_slab(image, 64, "slab 3: ", 1);
    return image;
}

struct images {
    byte_image of_pool, of_annex;
};

/// Three slabs and an annex: of the first a slot is allocated, and another has been given back; of the second it is in flight.
images made_now() {
    guarded_bytes bytes{pool::required_size(shape) + pool::required_size({{&third, 1}, 64, 1}) - 256};
    auto made = pool::create(bytes.region(), shape).value();
    guarded_bytes annex{made.annex_size(fourth)};
    EXPECT_EQ(made.grow(bytes.region(), third).value(), 2u);
    EXPECT_EQ(made.add_annex(annex.region(), fourth).value(), 3u);
    auto member = made.join(owner).value();
    EXPECT_TRUE(member.attach_annex(annex.region()));
    const auto kept = *member.try_alloc(64), returned = *member.try_alloc(64), sent = *member.try_alloc(128);
    std::memcpy(member.data(kept).data(), "kept", 4);
    std::memcpy(member.data(sent).data(), "sent", 4);
    EXPECT_TRUE(member.free_allocated(returned) && member.mark_in_flight(sent));
    return {copy_of(bytes), copy_of(annex)};
}

TEST(golden_pools, are_what_the_library_makes) {
    const auto now = made_now();
    const auto expect = [](const char* name, const byte_image& image, const std::vector<image_line>& lines) {
        EXPECT_EQ(stored(name), text_of(image, lines, image.size(), 1)) << name << ": expected what is made now";
        byte_image whole = bytes_of(stored(name));
        whole.resize(image.size());
        EXPECT_EQ(whole, image) << name << ": bytes between the fields";
    };
    expect(name_of_pool, now.of_pool, lines_of_pool());
    expect(name_of_annex, now.of_annex, lines_of_annex());
}

/// As long as it was: what follows the last field is zero.
byte_image stored_pool() {
    byte_image image = bytes_of(stored(name_of_pool));
    image.resize(1344);
    return image;
}
byte_image stored_annex() {
    byte_image image = bytes_of(stored(name_of_annex));
    image.resize(512);
    return image;
}

TEST(golden_pools, are_attached_to_and_used) {
    const auto bytes = placed(stored_pool()), annex = placed(stored_annex());
    for (const std::size_t claim : {256U + 128, 640U + 128, 1024U + 128})  // nobody is left who holds an entry
        *bytes->region().get<std::uint64_t>(claim).value() = 0;
    *annex->region().get<std::uint64_t>(64 + 128).value() = 0;
    {
        const auto found = pool::attach(bytes->region()).value();
        EXPECT_EQ(found.slab_count(), 3u);
        auto member = found.join({1, 1}).value();
        ASSERT_TRUE(member.attach_annex(annex->region()));
        const pool_handle kept{0, {0, 1}}, sent{1, {0, 1}};
        EXPECT_EQ(std::memcmp(member.data(kept).data(), "kept", 4), 0);
        EXPECT_EQ(std::memcmp(member.data(sent).data(), "sent", 4), 0);
        EXPECT_EQ(*member.try_alloc(1), (pool_handle{0, {1, 2}}));
        EXPECT_EQ(*member.try_alloc(1), (pool_handle{2, {0, 1}}));
        EXPECT_EQ(*member.try_alloc(1), (pool_handle{3, {0, 1}}));
        EXPECT_EQ(member.try_alloc(1).status(), shm::alloc_status::would_block);
        EXPECT_TRUE(member.free_allocated(kept) && member.adopt(sent));
    }
    EXPECT_TRUE(bytes->untouched() && annex->untouched());
}

TEST(golden_pools, with_any_byte_damaged_that_attach_relies_on_are_refused_by_name) {
    const byte_image image = stored_pool(), of_annex = stored_annex();
    expect_damage_refused(image, lines_of_pool(), refusal_of<pool>);
    expect_damage_refused(of_annex, lines_of_annex(), [&](shm::region annex) {
        const auto bytes = placed(image);
        const auto done = pool::attach(bytes->region()).value().attach_annex(annex);
        return done ? std::nullopt : std::optional{done.error()};
    });
}

TEST(golden_pools, of_another_version_are_refused_by_its_number) {
    expect_other_versions_refused(stored_pool(), version_offset, refusal_of<pool>);
}

}  // namespace
