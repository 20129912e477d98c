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

#include "golden_image.hpp"
#include "guarded_bytes.hpp"

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
void add_slab(std::vector<field>& fields, std::size_t at, const std::string& which, std::size_t slots) {
    static std::vector<std::unique_ptr<std::string>> names;  // a field holds a pointer
    const auto add = [&](std::size_t offset, std::size_t size_bytes, const std::string& what) {
        names.push_back(std::make_unique<std::string>(which + what));
        fields.push_back({at + offset, size_bytes, names.back()->c_str()});
    };
    add(0, 8, "head");
    add(64, 8, "magic");
    add(72, 8, "layout hash");
    add(80, 8, "slot size");
    add(88, 4, "slot alignment");
    add(92, 4, "slot count");
    add(96, 4, "member count");
    add(100, 4, "layout version");
    add(104, 4, "state: ready");
    add(128, 8, "claim");
    add(136, 8, "taking");
    add(144, 8, "giving");
    add(152, 4, "incarnation");
    for (std::size_t slot = 0; slot < slots; ++slot) {
        add(192 + 16 * slot, 8, "word " + std::to_string(slot));
        add(200 + 16 * slot, 4, "next " + std::to_string(slot));
    }
}

std::vector<field> fields_of_pool() {
    std::vector<field> fields = {{0, 8, "magic", fault_kind::magic},
                                 {8, 8, "layout hash", fault_kind::layout_hash},
                                 {16, 4, "slot alignment", fault_kind::capacity},
                                 {20, 4, "member count"},
                                 {24, 4, "layout version", fault_kind::layout_version},
                                 {28, 4, "state: ready", fault_kind::not_ready},
                                 {64, 8, "used"},
                                 {128, 8, "place 0: 256"},
                                 {136, 8, "place 1: 640"},
                                 {144, 8, "place 2: 1024"},
                                 {152, 8, "place 3: in an annex"}};
    add_slab(fields, 256, "slab 0: ", 2);
    fields.push_back({512, 4, "slab 0: slot 0"});
    add_slab(fields, 640, "slab 1: ", 1);
    fields.push_back({896, 4, "slab 1: slot 0"});
    add_slab(fields, 1024, "slab 2: ", 1);
    return fields;
}
std::vector<field> fields_of_annex() {
    std::vector<field> fields = {{0, 8, "magic", fault_kind::magic}, {8, 4, "slab number", fault_kind::slab_number}};
    add_slab(fields, 64, "slab 3: ", 1);
    return fields;
}

std::unique_ptr<guarded_bytes> placed(const byte_image& image) {
    auto bytes = std::make_unique<guarded_bytes>(image.size());
    std::memcpy(bytes->data(), image.data(), image.size());
    return bytes;
}
byte_image copy_of(const guarded_bytes& bytes) {
    byte_image image(bytes.size_bytes());
    std::memcpy(image.data(), bytes.data(), image.size());
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
    const auto expect = [](const char* name, const byte_image& image, const std::vector<field>& fields) {
        EXPECT_EQ(stored(name), text_of(image, fields, image.size(), 1)) << name << ": expected what is made now";
        byte_image whole = bytes_of(stored(name));
        whole.resize(image.size());
        EXPECT_EQ(whole, image) << name << ": bytes between the fields";
    };
    expect(name_of_pool, now.of_pool, fields_of_pool());
    expect(name_of_annex, now.of_annex, fields_of_annex());
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
    for (const field& f : fields_of_pool())
        for (std::size_t offset = f.offset; f.damaged && offset < f.offset + f.size_bytes; ++offset) {
            byte_image damaged = image;
            damaged.at(offset) ^= 0xff;
            const auto found = pool::attach(placed(damaged)->region());
            ASSERT_FALSE(found) << f.name << ", byte " << offset;
            EXPECT_EQ(found.error().what, *f.damaged) << f.name << ", byte " << offset;
        }
    for (const field& f : fields_of_annex())
        for (std::size_t offset = f.offset; f.damaged && offset < f.offset + f.size_bytes; ++offset) {
            byte_image damaged = of_annex;
            damaged.at(offset) ^= 0xff;
            const auto bytes = placed(image), annex = placed(damaged);
            const auto done = pool::attach(bytes->region()).value().attach_annex(annex->region());
            ASSERT_FALSE(done) << f.name << ", byte " << offset;
            EXPECT_EQ(done.error().what, *f.damaged) << f.name << ", byte " << offset;
        }
}

TEST(golden_pools, of_another_version_are_refused_by_its_number) {
    for (const std::uint32_t version : {0u, 2u, 0x01000000u}) {
        byte_image other = stored_pool();
        for (unsigned i = 0; i < 4; ++i) other.at(version_offset + i) = static_cast<std::uint8_t>(version >> 8 * i);
        const auto found = pool::attach(placed(other)->region());
        ASSERT_FALSE(found) << version;
        EXPECT_EQ(found.error(), (fault{fault_kind::layout_version, 1, version}));
    }
}

}  // namespace
