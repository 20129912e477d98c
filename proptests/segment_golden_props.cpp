// SPDX-License-Identifier: MIT OR Apache-2.0
// What a segment looks like in memory, byte by byte, as stored in golden/ (docs/layouts.md). An image stays for ever.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <shm/segment_builder.hpp>
#include <shm/spsc_ring.hpp>

#include "testkit/golden_image.hpp"
#include "testkit/guarded_bytes.hpp"

namespace {

using shm::fault;
using shm::fault_kind;
using shm::segment;
using ring = shm::spsc_ring<std::uint32_t>;

constexpr const char* name = "segment.v1.in_use.hex";
constexpr std::size_t header_bytes = 64, line_bytes = 128, place_bytes = 64, blocks = 2, places = 2;
constexpr std::size_t tables_bytes = header_bytes + blocks * line_bytes + places * place_bytes;
constexpr std::size_t limit_begin = 704, size_bytes = 712;
constexpr shm::peer_id first{7, 9}, second{8, 1};

/// What lies in the blocks has images of its own: here it is sixteen bytes a line.
std::vector<image_line> lines() {
    std::vector<image_line> all;
    add_lines(all, segment::header::fields(), 0,
              {{"magic", "magic", fault_kind::magic},
               {"layout_version", "layout version", fault_kind::layout_version},
               {"state", "state: ready", fault_kind::not_ready},
               {"layout_hash", "layout hash", fault_kind::layout_hash},
               {"size_bytes", "size in bytes"},
               {"block_count", "blocks"},
               {"peer_count", "peers"}});
    for (std::size_t block = 0; block < blocks; ++block) {
        add_lines(all, shm::segment_block::fields(), header_bytes + block * line_bytes,
                  {{"name", "name of a block"}, {"kind", "its kind"}, {"size_bytes", "size in bytes"}, {"unused", {}}});
        all.back().size_bytes += sizeof(shm::segment_block::unused);
    }
    for (std::size_t place = 0; place < places; ++place)
        add_lines(all, segment::place::fields(), header_bytes + blocks * line_bytes + place * place_bytes,
                  {{"claim", "peer"}});
    for (std::size_t at = tables_bytes; at < size_bytes; at += 16)
        all.push_back({at, std::min<std::size_t>(16, size_bytes - at),
                       at == tables_bytes  ? "numbers"
                       : at == limit_begin ? "limit"
                                           : ""});
    return all;
}

/// Two peers, of which the first has left again; the ring has one number.
byte_image made() {
    const auto plan = shm::segment_builder{}
                          .peers(places)
                          .pid_namespace(4026531836)
                          .add<ring>("numbers", 2)
                          .add<std::uint64_t>("limit", 1000);
    const guarded_bytes bytes{plan.required_size()};
    const segment all = plan.create(bytes.region()).value();
    *bytes.region().get<std::uint64_t>(40).value() = 0;  // so that anybody may join
    auto left = std::optional{segment::attach(bytes.region()).value().join(first).value()};
    const auto stays = segment::attach(bytes.region()).value().join(second).value();
    left.reset();
    *bytes.region().get<std::uint64_t>(40).value() = 4026531836;
    {
        auto producer = all.find<ring>("numbers").value().claim_producer(second).value();
        EXPECT_EQ(producer.try_push(42), shm::push_result::pushed);
    }
    return copy_of(bytes);
}

TEST(golden_segment, is_what_the_library_makes) {
    const byte_image now = made();
    const std::string text = stored(name);
    ASSERT_EQ(text, text_of(now, lines(), size_bytes, 8)) << golden_folder / name << ": expected what is made now";
    EXPECT_EQ(bytes_of(text), now) << "bytes between the fields";
}

TEST(golden_segment, is_attached_to_and_read) {
    const auto bytes = placed(bytes_of(stored(name)));
    const segment found = segment::attach(bytes->region()).value();
    EXPECT_EQ(found.pid_namespace(), 4026531836U);
    EXPECT_EQ(found.peer_at(0), shm::peer_id{});
    EXPECT_EQ(found.peer_at(1), second);
    EXPECT_EQ(*found.find<std::uint64_t>("limit").value(), 1000U);
    EXPECT_EQ(found.find<ring>("numbers").value().claim_consumer({1, 1}).value().try_pop(), 42U);
    EXPECT_TRUE(bytes->untouched());
}

TEST(golden_segment, with_any_byte_damaged_that_says_what_it_is_is_refused_by_name) {
    const byte_image image = bytes_of(stored(name));
    expect_damage_refused(image, lines(), refusal_of<segment>);
}

TEST(golden_segment, of_another_version_is_refused_by_its_number) {
    expect_other_versions_refused(bytes_of(stored(name)), 8, refusal_of<segment>);
}

}  // namespace
