// SPDX-License-Identifier: MIT OR Apache-2.0
// What a ring looks like in memory, byte by byte, as stored in golden/ (docs/layouts.md says what an image is and when
// one is added). An image stays for ever: that of an older layout shows that the ring of that layout is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <shm/spsc_ring.hpp>

#include "testkit/golden_image.hpp"
#include "testkit/guarded_bytes.hpp"
#include "testkit/test_items.hpp"

namespace {

using shm::fault;
using shm::fault_kind;
using shm::push_result;
using shm::spsc_ring;

/// Of a header of positions of that width.
std::vector<image_line> header_lines(std::size_t position_bytes) {
    const auto narrow = shm::spsc_ring_header<std::uint32_t>::fields(),
               wide = shm::spsc_ring_header<std::uint64_t>::fields();
    std::vector<image_line> image;
    add_lines(image, position_bytes == 4 ? narrow : wide, 0,
              {{"capacity", "capacity", fault_kind::capacity},
               {"state", "state: ready", fault_kind::not_ready},
               {"magic", "magic", fault_kind::magic},
               {"layout_version", "layout version", fault_kind::layout_version},
               {"element_size", "element size", fault_kind::element_size},
               {"element_alignment", "element alignment", fault_kind::element_alignment},
               {"layout_hash", "layout hash", fault_kind::layout_hash},
               {"producer_claim", "producer's claim"},
               {"consumer_claim", "consumer's claim"}});
    return image;
}
constexpr std::size_t header_bytes = 192;
constexpr std::size_t version_offset = 144;

/// A ring that has been used as described; its items are those of the numbers from 0 on.
struct golden_ring {
    std::string name;  // of the file: what, the layout version, in which condition
    std::size_t position_bytes;
    std::size_t slot_bytes;
    std::function<byte_image()> made;                    // by today's library
    std::function<void(shm::region)> holds_what_it_did;  // attached to by today's library
    std::function<std::optional<fault>(shm::region)> refusal;

    friend std::ostream& operator<<(std::ostream& out, const golden_ring& ring) { return out << ring.name; }
};

template <class T, class Position = std::uint64_t>
golden_ring ring(const char* name, std::size_t capacity, std::type_identity_t<Position> first, std::uint32_t pushed,
                 std::uint32_t popped) {
    using ring_type = spsc_ring<T, Position>;
    return {name,
            sizeof(Position),
            sizeof(T),
            [=] {
                guarded_bytes bytes{ring_type::required_size(capacity)};
                const auto made = ring_type::create(bytes.region(), capacity, first).value();
                auto producer = made.claim_producer({7, 9}).value();
                auto consumer = made.claim_consumer({8, 1}).value();
                std::uint32_t taken = 0;
                for (std::uint32_t i = 0; i < pushed; ++i) {
                    if (i - taken == capacity) {
                        EXPECT_EQ(consumer.try_pop(), item_of<T>(taken++));
                    }
                    EXPECT_EQ(producer.try_push(item_of<T>(i)), push_result::pushed);
                }
                while (taken < popped) EXPECT_EQ(consumer.try_pop(), item_of<T>(taken++));
                return copy_of(bytes);  // while both roles are held
            },
            [=](shm::region bytes) {
                const auto found = ring_type::attach(bytes).value();
                const auto status = found.status();
                EXPECT_EQ(status.published, Position(first + pushed));
                EXPECT_EQ(status.consumed, Position(first + popped));
                EXPECT_EQ(status.capacity, capacity);
                EXPECT_EQ(status.producer, (shm::peer_id{7, 9}));
                EXPECT_EQ(status.consumer, (shm::peer_id{8, 1}));
                EXPECT_FALSE(status.reported_corrupt);

                *bytes.get<std::uint64_t>(168).value() = 0;  // nobody is left who holds a role
                *bytes.get<std::uint64_t>(176).value() = 0;
                auto [producer, consumer] = found.split({1, 1}).value();
                for (std::uint32_t i = popped; i < pushed; ++i) EXPECT_EQ(consumer.try_pop(), item_of<T>(i));
                EXPECT_FALSE(consumer.try_pop().has_value());
                for (std::uint32_t i = 0; i < capacity; ++i)
                    EXPECT_EQ(producer.try_push(item_of<T>(100 + i)), push_result::pushed);
                for (std::uint32_t i = 0; i < capacity; ++i) EXPECT_EQ(consumer.try_pop(), item_of<T>(100 + i));
            },
            refusal_of<ring_type>};
}

const std::vector<golden_ring>& rings() {
    constexpr std::uint64_t almost_wrapped = std::uint64_t{0} - 2;
    static const std::vector<golden_ring> all = {
        ring<std::uint64_t>("spsc_ring.v1.in_use.hex", 4, 0, 3, 1),
        ring<three_bytes>("spsc_ring.v1.positions_wrapped.hex", 4, almost_wrapped, 5, 1),
        ring<whole_line>("spsc_ring.v1.empty.hex", 2, 0, 0, 0),
        ring<std::uint16_t, std::uint32_t>("spsc_ring.v1.narrow_positions_full.hex", 8,
                                           std::numeric_limits<std::uint32_t>::max(), 8, 0),
    };
    return all;
}

class golden_images : public testing::TestWithParam<golden_ring> {};

TEST_P(golden_images, are_what_the_library_makes) {
    const auto& [name, position_bytes, slot_bytes, made, holds, refusal] = GetParam();
    const byte_image now = made();
    const std::string text = stored(name);
    ASSERT_EQ(text, text_of(now, header_lines(position_bytes), header_bytes, slot_bytes))
        << golden_folder / name << ": expected what is made now";
    EXPECT_EQ(bytes_of(text), now) << "bytes between the fields";
}

TEST_P(golden_images, are_attached_to_and_read) {
    const auto bytes = placed(bytes_of(stored(GetParam().name)));
    GetParam().holds_what_it_did(bytes->region());
    EXPECT_TRUE(bytes->untouched());
}

TEST_P(golden_images, with_any_byte_damaged_that_attach_relies_on_are_refused_by_name) {
    const byte_image image = bytes_of(stored(GetParam().name));
    expect_damage_refused(image, header_lines(GetParam().position_bytes), GetParam().refusal);
}

TEST_P(golden_images, of_another_version_are_refused_by_its_number) {
    expect_other_versions_refused(bytes_of(stored(GetParam().name)), version_offset, GetParam().refusal);
}

INSTANTIATE_TEST_SUITE_P(each, golden_images, testing::ValuesIn(rings()),
                         [](const auto& tested) { return test_name(tested.param.name); });

TEST(golden_folder, holds_todays_images_and_older_ones_that_are_refused_by_their_version) {
    for (const auto& entry : std::filesystem::directory_iterator{golden_folder}) {
        const std::string name = entry.path().filename();
        if (!name.starts_with("spsc_ring.") || !name.ends_with(".hex")) continue;
        if (std::any_of(rings().begin(), rings().end(), [&](const auto& today) { return today.name == name; }))
            continue;
        const byte_image older = bytes_of(stored(name));
        std::uint32_t version = 0;
        for (unsigned i = 0; i < 4; ++i) version |= std::uint32_t{older.at(version_offset + i)} << 8 * i;
        const auto refusal = rings().front().refusal(placed(older)->region());
        ASSERT_TRUE(refusal) << name << ": is taken, and no test makes it";
        EXPECT_EQ(*refusal, (fault{fault_kind::layout_version, 1, version})) << name;
    }
}

}  // namespace
