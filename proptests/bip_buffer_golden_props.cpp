// SPDX-License-Identifier: MIT OR Apache-2.0
// What a bip buffer looks like in memory, byte by byte, as stored in golden/ (docs/layouts.md). An image stays for ever.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <shm/bip_buffer.hpp>
#include <shm/message_framing.hpp>

#include "testkit/golden_image.hpp"
#include "testkit/guarded_bytes.hpp"

namespace {

using shm::bip_buffer;
using shm::fault;
using shm::fault_kind;

constexpr std::size_t header_bytes = 192;
constexpr std::size_t version_offset = 144;

/// Of a header of positions of that width.
std::vector<image_line> header_lines(std::size_t position_bytes) {
    const auto narrow = shm::bip_buffer_header<std::uint32_t>::fields(),
               wide = shm::bip_buffer_header<std::uint64_t>::fields();
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

/// A buffer that has been used as described.
struct golden_buffer {
    std::string name;  // of the file: what, the layout version, in which condition
    std::size_t position_bytes;
    std::size_t slot_bytes;
    std::function<byte_image()> made;                    // by today's library
    std::function<void(shm::region)> holds_what_it_did;  // attached to by today's library
    std::function<std::optional<fault>(shm::region)> refusal;

    friend std::ostream& operator<<(std::ostream& out, const golden_buffer& buffer) { return out << buffer.name; }
};

constexpr shm::peer_id writer{7, 9}, reader{8, 1};

/// `use` claims the roles for those two, and the image is taken by `done`, while they are held. `check` has them anew.
template <class Buffer>
golden_buffer golden(const char* name, std::size_t capacity, typename Buffer::position first,
                     void (*use)(const Buffer&, const std::function<void()>& done),
                     void (*check)(typename Buffer::producer, typename Buffer::consumer)) {
    return {name,
            sizeof(typename Buffer::position),
            sizeof(typename Buffer::value_type),
            [=] {
                guarded_bytes bytes{Buffer::required_size(capacity)};
                byte_image image;
                use(Buffer::create(bytes.region(), capacity, first).value(), [&] { image = copy_of(bytes); });
                return image;
            },
            [=](shm::region bytes) {
                const auto found = Buffer::attach(bytes).value();
                EXPECT_EQ(found.capacity(), capacity);
                EXPECT_EQ(found.status().producer, writer);
                EXPECT_EQ(found.status().consumer, reader);
                *bytes.get<std::uint64_t>(168).value() = 0;  // nobody is left who holds a role
                *bytes.get<std::uint64_t>(176).value() = 0;
                auto [producer, consumer] = found.split({1, 1}).value();
                check(std::move(producer), std::move(consumer));
                EXPECT_FALSE(found.status().reported_corrupt);
            },
            refusal_of<Buffer>};
}

template <class Producer>
void put(Producer& producer, std::string_view text) {
    const auto grant = producer.try_grant(text.size());
    ASSERT_TRUE(grant) << text;
    std::memcpy(shm::values(grant.slots).data(), text.data(), text.size());
    producer.commit(text.size());
}
template <class Consumer>
void take(Consumer& consumer, std::string_view text) {
    const auto found = shm::values(consumer.peek());
    EXPECT_EQ((std::string_view{reinterpret_cast<const char*>(found.data()), found.size()}), text);
    consumer.consume(found.size());
}

const std::vector<golden_buffer>& buffers() {
    using bytes = bip_buffer<>;
    using narrow = bip_buffer<std::byte, std::uint32_t>;
    using framing = shm::message_framing<>;
    static const std::vector<golden_buffer> all = {
        golden<bytes>(
            "bip_buffer.v1.empty.hex", 16, 0,
            [](const bytes& made, const auto& done) {
                const auto producer = made.claim_producer(writer).value();
                const auto consumer = made.claim_consumer(reader).value();
                done();
            },
            [](bytes::producer producer, bytes::consumer consumer) {
                EXPECT_TRUE(consumer.peek().empty());
                EXPECT_TRUE(producer.try_grant(16));
            }),
        golden<bytes>(
            "bip_buffer.v1.wrapped.hex", 16, std::uint64_t{0} - 10,
            [](const bytes& made, const auto& done) {
                auto producer = made.claim_producer(writer).value();
                auto consumer = made.claim_consumer(reader).value();
                put(producer, "sixes!");
                EXPECT_EQ(consumer.peek().size(), 6u);
                consumer.consume(5);
                put(producer, "seventh");  // at the start: four bytes are skipped
                done();
            },
            [](bytes::producer producer, bytes::consumer consumer) {
                EXPECT_EQ(producer.try_grant(5).result, shm::grant_result::full);
                take(consumer, "!");
                take(consumer, "seventh");
                put(producer, "nine more");
                take(consumer, "nine more");
            }),
        golden<narrow>(
            "bip_buffer.v1.narrow_positions_full.hex", 8, std::uint32_t{0} - 8,
            [](const narrow& made, const auto& done) {
                auto producer = made.claim_producer(writer).value();
                const auto consumer = made.claim_consumer(reader).value();
                put(producer, "all of 8");
                done();
            },
            [](narrow::producer producer, narrow::consumer consumer) {
                EXPECT_EQ(producer.try_grant(1).result, shm::grant_result::full);
                take(consumer, "all of 8");
                put(producer, "and more");
                take(consumer, "and more");
            }),
        golden<framing::buffer>(
            "bip_buffer.v1.messages.hex", 8, 0,
            [](const framing::buffer& made, const auto& done) {
                framing::sender sender{made.claim_producer(writer).value()};
                framing::receiver receiver{made.claim_consumer(reader).value()};
                for (const std::string_view text : {"first", "", "the third"})
                    EXPECT_EQ(sender.try_send(std::as_bytes(std::span{text})), shm::send_result::sent);
                EXPECT_TRUE(receiver.try_receive());
                receiver.consume();
                done();
            },
            [](framing::buffer::producer, framing::buffer::consumer consumer) {
                framing::receiver receiver{std::move(consumer)};
                for (const std::string_view text : {"", "the third"}) {
                    const auto found = receiver.try_receive();
                    ASSERT_TRUE(found);
                    const auto* const characters = reinterpret_cast<const char*>(found->bytes().data());
                    EXPECT_EQ((std::string_view{characters, found->size_bytes}), text);
                    receiver.consume();
                }
                EXPECT_FALSE(receiver.try_receive());
            }),
    };
    return all;
}

class golden_buffers : public testing::TestWithParam<golden_buffer> {};

TEST_P(golden_buffers, are_what_the_library_makes) {
    const auto& image = GetParam();
    const byte_image now = image.made();
    const std::string text = stored(image.name);
    ASSERT_EQ(text, text_of(now, header_lines(image.position_bytes), header_bytes, image.slot_bytes))
        << golden_folder / image.name << ": expected what is made now";
    EXPECT_EQ(bytes_of(text), now) << "bytes between the fields";
}

TEST_P(golden_buffers, are_attached_to_and_read) {
    const auto bytes = placed(bytes_of(stored(GetParam().name)));
    GetParam().holds_what_it_did(bytes->region());
    EXPECT_TRUE(bytes->untouched());
}

TEST_P(golden_buffers, with_any_byte_damaged_that_attach_relies_on_are_refused_by_name) {
    const byte_image image = bytes_of(stored(GetParam().name));
    expect_damage_refused(image, header_lines(GetParam().position_bytes), GetParam().refusal);
}

TEST_P(golden_buffers, of_another_version_are_refused_by_its_number) {
    expect_other_versions_refused(bytes_of(stored(GetParam().name)), version_offset, GetParam().refusal);
}

INSTANTIATE_TEST_SUITE_P(each, golden_buffers, testing::ValuesIn(buffers()),
                         [](const auto& tested) { return test_name(tested.param.name); });

}  // namespace
