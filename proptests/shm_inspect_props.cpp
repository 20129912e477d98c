// SPDX-License-Identifier: MIT OR Apache-2.0
// shm-inspect on segments of processes that run, are killed and lie.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <shm/bip_buffer.hpp>
#include <shm/memfd_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/segment_builder.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>
#include <shm/var_slot_pool.hpp>

#include "../examples/running.hpp"
#include "../tools/shm_inspect/print.hpp"
#include "../tools/shm_inspect/report.hpp"
#include "../tools/shm_inspect/snapshot.hpp"
#include "process_state.hpp"
#include "temporary_directory.hpp"

namespace {

using nlohmann::json;
using support::running;
using support::says;
using ring = shm::spsc_ring<std::uint64_t>;
using narrow_ring = shm::spsc_ring<std::uint16_t, std::uint32_t>;

constexpr shm::pool_class classes[] = {{.slot_count = 4, .slot_size = 64}, {.slot_count = 2, .slot_size = 512}};

shm::segment_builder plan() {
    return shm::segment_builder{}
        .peers(3)
        .add<ring>("jobs", 8)
        .add<narrow_ring>("small jobs", 4)
        .add<shm::bip_buffer<>>("log", 256)
        .add<shm::treiber_slab<>>("slots", {.slot_count = 5, .slot_size = 100})
        .add<shm::var_slot_pool<>>("pool", {.classes = classes})
        .add<float[]>("samples", 10);
}

/// Uses every block, as `who`, and is then still at it: nothing is given up.
struct user {
    user(shm::region bytes, shm::peer_id who)
        : segment{shm::segment::attach(bytes).value()},
          me{segment.join(who).value()},
          producer{segment.find<ring>("jobs").value().claim_producer(who).value()},
          consumer{segment.find<narrow_ring>("small jobs").value().claim_consumer(who).value()},
          member{segment.find<shm::treiber_slab<>>("slots").value().join(who).value()},
          pool{segment.find<shm::var_slot_pool<>>("pool").value().join(who).value()} {
        for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(producer.try_push(i), shm::push_result::pushed);
        EXPECT_TRUE(member.try_alloc());
        EXPECT_TRUE(member.try_alloc());
        EXPECT_TRUE(member.mark_in_flight(*member.try_alloc()));
        EXPECT_TRUE(pool.try_alloc(500));
    }

    shm::segment segment;
    shm::segment::member me;
    ring::producer producer;
    narrow_ring::consumer consumer;
    shm::treiber_slab<>::member member;
    shm::var_slot_pool<>::member pool;
};

/// A child that uses the segment of that file until it is killed. Returns when it is at it.
pid_t user_of(const std::string& path) {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    const pid_t child = start_child([&] {
        const auto bytes = shm::mmap_region::attach(path).value();
        const user at_work{bytes.region(), shm::this_process().value()};
        const char done = 1;
        if (write(ends[1], &done, 1) != 1) return 1;
        for (;;) pause();
    });
    char done = 0;
    EXPECT_EQ(read(ends[0], &done, 1), 1);
    close(ends[0]), close(ends[1]);
    return child;
}

struct outcome {
    int status;
    std::string output;
};
outcome inspected(std::vector<std::string> arguments) {
    running program{SHM_INSPECT, std::move(arguments)};
    const std::string output = program.everything();
    return {program.finish(), output};
}

/// A file with a segment, and what is in it.
struct segment_file {
    temporary_directory folder;
    std::string path = folder / "segment";
    shm::mmap_region bytes = shm::mmap_region::create(path, plan().required_size()).value();
    shm::segment made = plan().create(bytes.region()).value();
};

TEST(shm_inspect, shows_the_segment_of_a_process_that_was_killed) {
    const segment_file file;
    const pid_t child = user_of(file.path);
    const auto peer = file.made.peer_at(0);
    const std::string pid = std::to_string(child);
    const auto alive = inspected({file.path});
    EXPECT_EQ(alive.status, 0);
    EXPECT_TRUE(says(alive.output, pid + " +alive .*: process " + pid + " began at tick " +
                                       std::to_string(peer.incarnation) + ", as the peer\n"))
        << alive.output;

    ASSERT_EQ(kill(child, SIGKILL), 0);
    siginfo_t ended{};
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
    EXPECT_TRUE(says(inspected({file.path}).output, pid + " +dead .*process " + pid + " is a zombie"));
    ASSERT_TRUE(shm::reap(child).has_value());

    const auto dead = inspected({file.path});
    EXPECT_EQ(dead.status, 0);
    EXPECT_TRUE(says(dead.output, "1 of 3 peers\n  " + pid + " +dead +/proc has no process " + pid + "\n"))
        << dead.output;
    EXPECT_TRUE(says(dead.output, "3 of 8 used, of 8 bytes each; producer " + pid + " dead, consumer nobody"));
    EXPECT_TRUE(says(dead.output, "0 of 4 used, of 2 bytes each; producer nobody, consumer " + pid + " dead"));
    EXPECT_TRUE(says(dead.output, "2 of 5 slots free, of 128 bytes each; 1 of 16 members; member 0 \\(" + pid +
                                      " dead\\) has 2 allocated, 1 in flight\n"))
        << dead.output;
    EXPECT_TRUE(says(dead.output, "1 of 2 slots free, of 512 bytes each"));
    EXPECT_FALSE(says(dead.output, "FAULT"));
    EXPECT_EQ(file.made.peer_at(0), peer) << "it has changed what it only shows";
}

TEST(shm_inspect, tells_a_pid_that_was_given_out_again) {
    const segment_file file;
    auto self = shm::this_process().value();
    self.incarnation += 1;
    const auto member = file.made.join(self).value();
    EXPECT_TRUE(says(inspected({file.path}).output, std::to_string(self.id) + " +dead +process .* began at tick " +
                                                        std::to_string(self.incarnation - 1) + ", the peer at " +
                                                        std::to_string(self.incarnation) + "\n"));
}

TEST(shm_inspect, knows_no_life_in_another_pid_namespace) {
    auto elsewhere = plan();
    elsewhere.pid_namespace(1);
    const auto memory = shm::memfd_region::create(elsewhere.required_size()).value();
    ASSERT_TRUE(elsewhere.create(memory.region()).has_value());
    const auto of = inspect::look_for({1, 1}, 1);
    EXPECT_EQ(of.is, inspect::life::unknown);
    EXPECT_TRUE(says(of.because, "pid namespace: expected 1, found "));
    EXPECT_EQ(inspect::look_for({1, 1}, 0).is, inspect::life::unknown);
}

TEST(shm_inspect, finds_the_segments_of_a_process) {
    const auto memory = shm::memfd_region::create(plan().required_size()).value();
    ASSERT_TRUE(plan().create(memory.region()).has_value());
    const std::string pid = std::to_string(getpid());
    const auto by_pid = inspected({pid, "--json"});
    EXPECT_EQ(by_pid.status, 0) << by_pid.output;
    const json found = json::parse(by_pid.output);
    EXPECT_TRUE(says(found["segment"], "/proc/" + pid + "/fd/[0-9]+ -> /memfd:shm"));
    EXPECT_EQ(found["blocks"].size(), 6u);
    const auto by_descriptor = inspected({"/proc/" + pid + "/fd/" + std::to_string(memory.fd())});
    EXPECT_EQ(by_descriptor.status, 0) << by_descriptor.output;
    EXPECT_TRUE(says(by_descriptor.output, "0 of 3 peers"));
}

TEST(shm_inspect, writes_json_that_holds_what_the_text_holds) {
    const segment_file file;
    const user at_work{file.bytes.region(), shm::this_process().value()};
    const auto printed = inspected({file.path, "--json"});
    const json all = json::parse(printed.output);
    EXPECT_EQ(all["places"], 3);
    EXPECT_EQ(all["peers"][0]["life"], "alive");
    const json& jobs = all["blocks"][0];
    EXPECT_EQ(jobs["name"], "jobs");
    EXPECT_EQ(jobs["kind"], "spsc_ring");
    EXPECT_EQ(jobs["stream"]["depth"], 3);
    EXPECT_EQ(jobs["stream"]["producer"]["id"], getpid());
    EXPECT_TRUE(jobs["stream"]["consumer"].is_null());
    EXPECT_EQ(all["blocks"][3]["slab"]["free"], 2);
    EXPECT_EQ(all["blocks"][3]["slab"]["owners"][0]["allocated"], 2);
    EXPECT_EQ(all["blocks"][4]["slabs"].size(), 2u);
    EXPECT_EQ(all["blocks"][5]["kind"], "values");
}

TEST(shm_inspect, shows_rates_when_it_watches) {
    const segment_file file;
    const pid_t child = start_child([&] {
        const auto mine = shm::mmap_region::attach(file.path).value();
        const auto segment = shm::segment::attach(mine.region()).value();
        auto [producer, consumer] = segment.find<ring>("jobs").value().split({1, 1}).value();
        for (std::uint64_t i = 0;; ++i) {
            while (producer.try_push(i) != shm::push_result::pushed) return 1;
            while (!consumer.try_pop()) return 2;
        }
    });
    const auto printed = inspected({file.path, "--json", "--watch", "--every", "0.1", "--looks", "3"});
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    EXPECT_EQ(printed.status, 0);
    EXPECT_EQ(std::count(printed.output.begin(), printed.output.end(), '\n'), 3) << printed.output;
    const json last = json::parse(printed.output.substr(printed.output.rfind('\n', printed.output.size() - 2) + 1));
    EXPECT_GT(last["blocks"][0]["stream"]["per_second"]["published"], 0);
    EXPECT_EQ(last["blocks"][2]["stream"]["per_second"]["published"], 0);
}

TEST(shm_inspect, says_what_is_latched_and_what_is_nonsense) {
    const segment_file file;
    const auto& blocks = file.made.blocks();
    const auto word = [&](std::size_t block, std::size_t at) -> std::uint64_t& {
        return **file.made.bytes_of(blocks[block]).get<std::uint64_t>(at);
    };
    word(0, 152) |= std::uint64_t{3} << 32;  // reported_corrupt
    word(1, 0) = 1000;                       // published
    word(2, 136) = 0;                        // magic
    word(3, 80) = 7;                         // slot size
    word(4, 128) = 99 << 6 | 1;              // place of a slab
    const std::string text = inspected({file.path}).output;
    EXPECT_TRUE(says(text, "FAULT corrupt, says the producer\n    FAULT corrupt, says the consumer\n")) << text;
    EXPECT_TRUE(says(text, "FAULT positions: expected at most 4 apart, found 1000\n")) << text;
    EXPECT_TRUE(says(text, "FAULT magic: expected 0x3166756270696273, found 0x0000000000000000\n")) << text;
    EXPECT_TRUE(says(text, "FAULT slot size: expected 64 bytes, found 7\n")) << text;
    EXPECT_TRUE(says(text, "FAULT place of a slab: expected at most [0-9]+ bytes, found 6336\n")) << text;
    EXPECT_EQ(json::parse(inspected({file.path, "--json"}).output)["blocks"][2]["faults"].size(), 1u);
}

TEST(shm_inspect, says_in_one_sentence_what_it_cannot_show) {
    const temporary_directory folder;
    const segment_file file;
    const auto refused = [](std::vector<std::string> arguments, int status, const std::string& sentence) {
        const auto [ended, output] = inspected(std::move(arguments));
        EXPECT_EQ(ended, status) << output;
        EXPECT_TRUE(says(output, "^shm-inspect: [^\n]*" + sentence + "[^\n]*\n$")) << output;
    };
    refused({folder / "none"}, 1, "none: expected a file that can be read, found: No such file or directory");
    refused({folder.path().string()}, 1, "file type: expected a regular file, found a directory");
    refused({"/dev/null"}, 1, "file type: expected a regular file, found a character device");
    refused({SHM_INSPECT}, 1, "magic: expected 0x316d6765736d6873, found 0x");
    refused({"999999999"}, 1, "process 999999999: expected one that runs, found none of that number in /proc");
    refused({std::to_string(getpid()) + "x"}, 1, "expected a file that can be read");
    {
        const std::ofstream empty{folder / "empty"};
    }
    refused({folder / "empty"}, 1, "file size: expected at least 64 bytes, found 0");
    **file.bytes.region().get<std::uint32_t>(8) = 2;
    refused({file.path}, 1, "layout version: expected 1, found 2");
    **file.bytes.region().get<std::uint32_t>(12) = 1;
    refused({file.path}, 1, "init state: expected 2 \\(ready\\), found 1 \\(being initialised\\)");
    EXPECT_EQ(inspected({}).status, 2);
    EXPECT_EQ(inspected({file.path, "--looks", "3"}).status, 2);
    EXPECT_EQ(inspected({file.path, "--every", "0"}).status, 2);
    EXPECT_EQ(inspected({"--help"}).status, 0);
}

TEST(shm_inspect, survives_a_file_that_has_been_cut_off) {
    const segment_file file;
    ASSERT_EQ(truncate(file.path.c_str(), 4096), 0);
    const auto printed = inspected({file.path});
    EXPECT_EQ(printed.status, 1);
    EXPECT_TRUE(says(printed.output, "region size in bytes: expected at least [0-9]+, found 4096\n")) << printed.output;
    ASSERT_EQ(truncate(file.path.c_str(), 100), 0);
    EXPECT_TRUE(says(inspected({file.path}).output, "region size in bytes: expected at least [0-9]+, found 100\n"));
}

/// Bytes that anybody may cut off.
shm::unique_fd memory_of(const std::vector<std::byte>& bytes) {
    shm::unique_fd memory{memfd_create("damaged", MFD_CLOEXEC)};
    EXPECT_EQ(write(memory.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    return memory;
}

/// A segment in use, as bytes.
const std::vector<std::byte>& whole() {
    static const std::vector<std::byte> bytes = [] {
        const auto memory = shm::memfd_region::create(plan().required_size()).value();
        EXPECT_TRUE(plan().create(memory.region()).has_value());
        const user at_work{memory.region(), shm::this_process().value()};
        const auto* const begin = memory.region().data();
        return std::vector<std::byte>{begin, begin + memory.region().size_bytes()};
    }();
    return bytes;
}

TEST(shm_inspect, is_told_of_a_file_that_is_cut_off_under_its_eyes) {
    const auto memory = memory_of(whole());
    const auto copy = inspect::snapshot::take(memory.get()).value();
    EXPECT_TRUE(copy.fetch(1000, 100));
    ASSERT_EQ(ftruncate(memory.get(), 500), 0);
    EXPECT_EQ(copy.fetch(1000, 100).error(), (shm::fault{shm::fault_kind::file_size, 1100, 500}));
    EXPECT_EQ(copy.fetch(whole().size(), 1).error(), (shm::fault{shm::fault_kind::out_of_range, 0, 1}));
}

TEST(shm_inspect, shows_positions_that_have_passed_the_end_of_their_type) {
    const segment_file file;
    const shm::region bytes = file.made.bytes_of(file.made.blocks()[1]);
    **bytes.get<std::uint32_t>(0) = 1;     // published
    **bytes.get<std::uint32_t>(64) = ~0U;  // consumed
    const std::string text = inspected({file.path}).output;
    EXPECT_TRUE(says(text, "2 of 4 used, of 2 bytes each")) << text;
    EXPECT_FALSE(says(text, "FAULT")) << text;
}

/// What is shown of anything is text, and JSON, without a command for a terminal.
void is_shown_or_refused(const shm::unique_fd& memory) {
    const auto found = inspect::look_at(memory.get());
    if (!found) {
        RC_ASSERT(found.error().sentence().find(", found ") != std::string::npos);
        return;
    }
    const inspect::earlier before{&*found, 1};
    const std::string text = inspect::as_text("damaged", *found, before);
    RC_ASSERT(std::all_of(text.begin(), text.end(), [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
    RC_ASSERT(json::parse(inspect::as_json("damaged", *found, before))["blocks"].size() == found->blocks.size());
}

TEST(shm_inspect, of_damaged_bytes_shows_what_it_can) {
    EXPECT_TRUE(rc::check([](const std::vector<std::pair<std::uint16_t, std::uint8_t>>& damage) {
        auto bytes = whole();
        for (const auto& [at, value] : damage) bytes[at % bytes.size()] = std::byte{value};
        is_shown_or_refused(memory_of(bytes));
    }));
}

/// Words of the headers, whose values are those at which arithmetic breaks.
TEST(shm_inspect, of_nonsense_in_headers_shows_what_it_can) {
    EXPECT_TRUE(rc::check([](const std::vector<std::pair<std::uint16_t, std::uint8_t>>& damage) {
        constexpr std::uint64_t values[] = {0,        1,        63,  64,         255,   256,
                                            1U << 24, 1U << 31, ~0U, 1ULL << 62, ~0ULL, ~0ULL - 63};
        auto bytes = whole();
        std::vector<std::size_t> headers{0};
        for (std::size_t block = 0; block < 6; ++block) {
            std::uint64_t offset = 0;
            std::memcpy(&offset, bytes.data() + 64 + block * 128 + 56, sizeof offset);
            headers.push_back(64 + block * 128);
            headers.push_back(offset);
            headers.push_back(offset + 128);
        }
        for (const auto& [at, which] : damage) {
            const std::size_t where = headers[at % headers.size()] + at / headers.size() % 48 * 4;
            const std::uint64_t value = values[which % std::size(values)];
            std::memcpy(bytes.data() + std::min(where, bytes.size() - 8), &value, which % 2 == 0 ? 8 : 4);
        }
        is_shown_or_refused(memory_of(bytes));
    }));
}

TEST(shm_inspect, of_a_file_cut_off_anywhere_shows_what_it_can) {
    EXPECT_TRUE(rc::check([](std::uint16_t length) {
        const auto memory = memory_of(whole());
        RC_ASSERT(ftruncate(memory.get(), length % (whole().size() + 1)) == 0);
        is_shown_or_refused(memory);
    }));
}

}  // namespace
