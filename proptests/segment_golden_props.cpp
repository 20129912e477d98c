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

#include "golden_image.hpp"
#include "guarded_bytes.hpp"

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
std::vector<field> fields() {
    std::vector<field> all = {{0, 8, "magic", fault_kind::magic},
                              {8, 4, "layout version", fault_kind::layout_version},
                              {12, 4, "state: ready", fault_kind::not_ready},
                              {16, 8, "layout hash", fault_kind::layout_hash},
                              {24, 8, "size in bytes"},
                              {32, 4, "blocks"},
                              {36, 4, "peers"},
                              {40, 8, "pid namespace"},
                              {48, 16, "reserved"}};
    for (std::size_t block = 0; block < blocks; ++block) {
        const std::size_t at = header_bytes + block * line_bytes;
        const std::vector<field> line = {
            {at, 48, "name of a block"},       {at + 48, 8, "its kind"}, {at + 56, 8, "offset"},
            {at + 64, 8, "size in bytes"},     {at + 72, 8, "count"},    {at + 80, 8, "element size"},
            {at + 88, 4, "element alignment"}, {at + 92, 36, "reserved"}};
        all.insert(all.end(), line.begin(), line.end());
    }
    for (std::size_t place = 0; place < places; ++place) {
        const std::size_t at = header_bytes + blocks * line_bytes + place * place_bytes;
        all.push_back({at, 8, "peer"});
        all.push_back({at + 8, 56, "reserved"});
    }
    for (std::size_t at = tables_bytes; at < size_bytes; at += 16)
        all.push_back({at, std::min<std::size_t>(16, size_bytes - at),
                       at == tables_bytes  ? "numbers"
                       : at == limit_begin ? "limit"
                                           : ""});
    return all;
}

std::unique_ptr<guarded_bytes> placed(const byte_image& image) {
    auto bytes = std::make_unique<guarded_bytes>(image.size());
    std::memcpy(bytes->data(), image.data(), image.size());
    return bytes;
}

std::optional<fault> refusal(const byte_image& image) {
    const auto bytes = placed(image);
    const auto found = segment::attach(bytes->region());
    return found ? std::nullopt : std::optional{found.error()};
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
    byte_image image(bytes.size_bytes());
    std::memcpy(image.data(), bytes.data(), image.size());
    return image;
}

TEST(golden_segment, is_what_the_library_makes) {
    const byte_image now = made();
    const std::string text = stored(name);
    ASSERT_EQ(text, text_of(now, fields(), size_bytes, 8)) << golden_folder / name << ": expected what is made now";
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
    for (const field& f : fields())
        for (std::size_t offset = f.offset; f.damaged && offset < f.offset + f.size_bytes; ++offset) {
            byte_image damaged = image;
            damaged.at(offset) ^= 0xff;
            const auto refused = refusal(damaged);
            ASSERT_TRUE(refused) << f.name << ", byte " << offset;
            EXPECT_EQ(refused->what, *f.damaged) << f.name << ", byte " << offset;
        }
}

TEST(golden_segment, of_another_version_is_refused_by_its_number) {
    for (const std::uint32_t version : {0u, 2u, 0x01000000u}) {
        byte_image other = bytes_of(stored(name));
        for (unsigned i = 0; i < 4; ++i) other.at(8 + i) = static_cast<std::uint8_t>(version >> 8 * i);
        const auto refused = refusal(other);
        ASSERT_TRUE(refused) << version;
        EXPECT_EQ(*refused, (fault{fault_kind::layout_version, 1, version}));
    }
}

}  // namespace
