// SPDX-License-Identifier: MIT OR Apache-2.0
// shm-inspect on segments of processes that run, are killed and lie.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <shm/bip_buffer.hpp>
#include <shm/memfd_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/segment_builder.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>
#include <shm/var_slot_pool.hpp>

#include "testkit/child_process.hpp"
#include "testkit/failing_call.hpp"
#include "testkit/process_state.hpp"
#include "testkit/running.hpp"
#include "testkit/temporary_directory.hpp"
#include "testkit/terminal.hpp"
#include "testkit/word_pipe.hpp"
#include "testkit/words.hpp"
#include "tools/shm_inspect/print.hpp"
#include "tools/shm_inspect/report.hpp"
#include "tools/shm_inspect/snapshot.hpp"
#include "tools/shm_inspect/target.hpp"

namespace {

failing_call failing_pread;
std::function<void(off_t at)> before_pread;
std::size_t most_of_a_pread = ~std::size_t{0};

}  // namespace

// The linker sends each call of pread to __wrap_pread, and knows that of the C library as __real_pread.
ssize_t real_pread(int fd, void* into, std::size_t size, off_t at) asm("__real_pread");
ssize_t wrapped_pread(int fd, void* into, std::size_t size, off_t at) asm("__wrap_pread");
ssize_t wrapped_pread(int fd, void* into, std::size_t size, off_t at) {
    if (failing_pread.fails()) return -1;
    if (before_pread) before_pread(at);
    return real_pread(fd, into, std::min(size, most_of_a_pread), at);
}

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
child_process user_of(const std::string& path) {
    const word_pipe at_it;
    child_process child([&]() -> int {
        const auto bytes = shm::mmap_region::attach(path).value();
        const user at_work{bytes.region(), shm::this_process().value()};
        at_it.say(1);
        for (;;) pause();
    });
    EXPECT_EQ(at_it.hear(), 1U);
    return child;
}

struct outcome {
    process_end end;
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
    shm::unique_fd to_read{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
};

TEST(shm_inspect, shows_the_segment_of_a_process_that_was_killed) {
    const segment_file file;
    child_process child = user_of(file.path);
    const auto peer = file.made.peer_at(0);
    const std::string pid = std::to_string(child.pid());
    const auto alive = inspected({file.path});
    EXPECT_EQ(alive.end, exited(0));
    EXPECT_TRUE(says(alive.output, pid + " +alive .*: process " + pid + " began at tick " +
                                       std::to_string(peer.incarnation) + ", as the peer\n"))
        << alive.output;

    child.kill();
    child.wait_until_zombie();
    EXPECT_TRUE(says(inspected({file.path}).output, pid + " +dead .*process " + pid + " is a zombie"));
    EXPECT_EQ(child.wait(), killed_by(SIGKILL));

    const auto dead = inspected({file.path});
    EXPECT_EQ(dead.end, exited(0));
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
    EXPECT_EQ(by_pid.end, exited(0)) << by_pid.output;
    const json found = json::parse(by_pid.output);
    EXPECT_TRUE(says(found["segment"], "/proc/" + pid + "/fd/[0-9]+ -> /memfd:shm"));
    EXPECT_EQ(found["blocks"].size(), 6u);
    const auto by_descriptor = inspected({"/proc/" + pid + "/fd/" + std::to_string(memory.fd())});
    EXPECT_EQ(by_descriptor.end, exited(0)) << by_descriptor.output;
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
    child_process child([&] {
        const auto mine = shm::mmap_region::attach(file.path).value();
        const auto segment = shm::segment::attach(mine.region()).value();
        auto [producer, consumer] = segment.find<ring>("jobs").value().split({1, 1}).value();
        for (std::uint64_t i = 0;; ++i) {
            while (producer.try_push(i) != shm::push_result::pushed) return 1;
            while (!consumer.try_pop()) return 2;
        }
    });
    const auto printed = inspected({file.path, "--json", "--watch", "--every", "0.1", "--looks", "3"});
    child = {};
    EXPECT_EQ(printed.end, exited(0));
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
        const auto [end, output] = inspected(std::move(arguments));
        EXPECT_EQ(end, exited(status)) << output;
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
    EXPECT_EQ(inspected({}).end, exited(2));
    EXPECT_EQ(inspected({file.path, "--looks", "3"}).end, exited(2));
    EXPECT_EQ(inspected({file.path, "--every", "0"}).end, exited(2));
    EXPECT_EQ(inspected({"--help"}).end, exited(0));
}

TEST(shm_inspect, survives_a_file_that_has_been_cut_off) {
    const segment_file file;
    ASSERT_EQ(truncate(file.path.c_str(), 4096), 0);
    const auto printed = inspected({file.path});
    EXPECT_EQ(printed.end, exited(1));
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

/// The segment's first ring, whose positions move whenever they are looked at.
struct moving_positions {
    segment_file file;
    off_t offset = static_cast<off_t>(file.made.blocks()[0].offset);
    std::uint64_t& published = word(0);
    std::uint64_t& consumed = word(64);
    unsigned looks = 0;  // at what is consumed, which comes first

    std::uint64_t& word(std::size_t at) { return **file.made.bytes_of(file.made.blocks()[0]).get<std::uint64_t>(at); }
    template <class Move>
    inspect::block look(Move move) {
        before_pread = [&](off_t at) {
            if (at == offset + 64) move(++looks);
        };
        const auto found = inspect::look_at(file.to_read.get());
        before_pread = nullptr;
        return found.value().blocks[0];
    }
};
std::uint32_t depth_of(const inspect::block& of) { return std::get<inspect::stream>(of.holds).depth; }

TEST(shm_inspect, positions_that_move_between_two_looks_are_no_nonsense) {
    using faults = std::vector<std::string>;
    {
        moving_positions producer;
        producer.published = 1000;
        const auto seen = producer.look([&](unsigned) { ++producer.published; });
        EXPECT_EQ(seen.faults, faults{});
        EXPECT_EQ(depth_of(seen), 8U) << "the most that it can be";
        EXPECT_EQ(producer.looks, 2U);
    }
    {
        moving_positions consumer;
        consumer.published = 1000;
        const auto seen = consumer.look([&](unsigned) { ++consumer.consumed; });
        EXPECT_EQ(seen.faults, faults{});
        EXPECT_EQ(depth_of(seen), 8U);
    }
    {
        moving_positions both;
        both.published = 1000;
        const auto seen = both.look([&](unsigned look) { both.consumed = look == 2 ? 995 : 0; });
        EXPECT_EQ(seen.faults, faults{}) << "in order at the second look";
        EXPECT_EQ(depth_of(seen), 5U);
    }
    {
        moving_positions late;
        late.published = 7;
        const auto seen = late.look([&](unsigned) { ++late.published; });
        EXPECT_EQ(seen.faults, faults{});
        EXPECT_EQ(depth_of(seen), 8U);
        EXPECT_EQ(late.looks, 1U) << "what is in order is looked at once";
    }
    moving_positions neither;
    neither.published = 1000;
    EXPECT_EQ(neither.look([](unsigned) {}).faults, faults{"positions: expected at most 8 apart, found 1000"});
    neither.published = 9;
    EXPECT_EQ(neither.look([](unsigned) {}).faults, faults{"positions: expected at most 8 apart, found 9"});
    neither.published = 8;
    EXPECT_EQ(neither.look([](unsigned) {}).faults, faults{});
    neither.consumed = 9;
    EXPECT_EQ(neither.look([](unsigned) {}).faults,
              faults{"positions: expected at most 8 apart, found 18446744073709551615"});
}

TEST(shm_inspect, a_program_may_have_any_name) {
    std::array<char, 16> before{};
    ASSERT_EQ(prctl(PR_GET_NAME, before.data()), 0);
    const auto self = shm::this_process().value();
    for (const std::string name : {"a) R (b", ")", "(", "))((", ") Z 1 1 1", "x y", "ends (so)", "", "1 2 3 4 5 6 7"}) {
        ASSERT_EQ(prctl(PR_SET_NAME, name.c_str()), 0);
        const auto found = inspect::look_for(self, shm::this_pid_namespace().value());
        EXPECT_EQ(found.is, inspect::life::alive) << name << ": " << found.because;
        EXPECT_EQ(found.program, name);
    }
    ASSERT_EQ(prctl(PR_SET_NAME, "\x1b[2J\n"), 0);
    EXPECT_EQ(inspect::look_for(self, shm::this_pid_namespace().value()).program, "\\x1b[2J\\x0a");
    ASSERT_EQ(prctl(PR_SET_NAME, before.data()), 0);
}

TEST(shm_inspect, a_slab_begins_within_its_pool) {
    const segment_file file;
    const shm::segment_block pool = file.made.blocks()[4];
    const shm::region bytes = file.made.bytes_of(pool);
    ASSERT_EQ(pool.size_bytes % 64, 0U);
    const auto faults_at = [&](std::uint64_t offset) {
        **bytes.get<std::uint64_t>(128) = offset | 1;
        const auto found = inspect::look_at(file.to_read.get());
        return found.value().blocks[4].faults;
    };
    const std::string within = std::to_string(pool.size_bytes - 1);
    for (const std::uint64_t beyond :
         {pool.size_bytes, pool.size_bytes + 64, std::uint64_t{1} << 62, ~std::uint64_t{63}})
        EXPECT_EQ(faults_at(beyond), std::vector<std::string>{"place of a slab: expected at most " + within +
                                                              " bytes, found " + std::to_string(beyond)});
    ASSERT_EQ(faults_at(pool.size_bytes - 64).size(), 1U);
    EXPECT_FALSE(says(faults_at(pool.size_bytes - 64)[0], "place of a slab"));
}

TEST(shm_inspect, reads_on_after_a_signal_and_after_a_part) {
    const segment_file file;
    const user at_work{file.bytes.region(), shm::this_process().value()};
    const auto shown = [&] { return inspect::as_json("it", inspect::look_at(file.to_read.get()).value(), {}); };
    const std::string undisturbed = shown();
    for (int spared = 0; spared < 8; ++spared) {
        failing_pread.fail(EINTR, 3, spared);
        EXPECT_EQ(shown(), undisturbed);
        EXPECT_TRUE(failing_pread.all_failed());
        failing_pread.fail(EINTR, 3);
        EXPECT_TRUE(inspect::is_segment(file.to_read.get()));
    }
    for (const std::size_t most : {1U, 7U, 100U}) {
        most_of_a_pread = most;
        EXPECT_EQ(shown(), undisturbed);
        EXPECT_TRUE(inspect::is_segment(file.to_read.get()));
    }
    most_of_a_pread = ~std::size_t{0};
    failing_pread.fail(EIO);
    EXPECT_TRUE(says(inspect::look_at(file.to_read.get()).error().sentence(), "pread"));
    failing_pread.fail(EIO);
    EXPECT_FALSE(inspect::is_segment(file.to_read.get()));
}

TEST(shm_inspect, rates_are_of_a_second_whatever_the_interval) {
    const segment_file file;
    auto [producer, consumer] = file.made.find<ring>("jobs").value().split({1, 1}).value();
    const auto look = [&] { return inspect::look_at(file.to_read.get()).value(); };
    const auto first = look();
    for (std::uint64_t i = 0; i < 6; ++i) ASSERT_EQ(producer.try_push(i), shm::push_result::pushed);
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(consumer.try_pop());
    const auto second = look();
    const auto rates = [](const inspect::report& now, const inspect::earlier& before) {
        return json::parse(inspect::as_json("it", now, before))["blocks"][0]["stream"].value("per_second", json{});
    };
    for (const double seconds : {0.01, 0.1, 0.5, 1.0, 2.0, 60.0}) {
        const json per_second = rates(second, {&first, seconds});
        EXPECT_DOUBLE_EQ(per_second["published"], 6 / seconds);
        EXPECT_DOUBLE_EQ(per_second["consumed"], 4 / seconds);
    }
    EXPECT_TRUE(says(inspect::as_text("it", second, {&first, 0.5}), "; 12/s in, 8/s out; 6 in, 4 out since"));
    EXPECT_TRUE(says(inspect::as_text("it", second, {&first, 2}), "; 3/s in, 2/s out; 6 in, 4 out since"));
    EXPECT_FALSE(says(inspect::as_text("it", second, {}), "/s in"));
    EXPECT_TRUE(rates(second, {nullptr, 1}).is_null()) << "a first look has none";
    EXPECT_TRUE(rates(second, {&first, 0}).is_null());
    EXPECT_TRUE(rates(first, {&second, 1}).is_null()) << "positions have gone back: it is another ring";
    auto renamed = first;
    renamed.blocks[0].name = "other jobs";
    EXPECT_TRUE(rates(second, {&renamed, 1}).is_null());
}

/// The program divides by the time that has really passed.
TEST(shm_inspect, watches_over_other_intervals) {
    for (const std::string every : {"0.05", "0.4"}) {
        const segment_file file;
        auto [producer, consumer] = file.made.find<ring>("jobs").value().split({1, 1}).value();
        const auto began = std::chrono::steady_clock::now();
        running program{SHM_INSPECT, {file.path, "--json", "--watch", "--every", every, "--looks", "2"}};
        const std::string first = program.line();
        for (std::uint64_t i = 0; i < 4; ++i) ASSERT_EQ(producer.try_push(i), shm::push_result::pushed);
        const json last = json::parse(program.line());
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - began;
        EXPECT_EQ(program.finish(), exited(0));
        EXPECT_FALSE(says(first, "per_second"));
        const double rate = last["blocks"][0]["stream"]["per_second"]["published"];
        EXPECT_GE(rate, 4 / passed.count());
        EXPECT_LE(rate, 4 / std::stod(every));
    }
}

TEST(shm_inspect, does_not_wait_for_a_fifo_and_takes_no_terminal) {
    const temporary_directory folder;
    ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
    struct sigaction ticks{}, before{};
    ticks.sa_handler = [](int) {};  // without SA_RESTART: whoever waits is interrupted
    sigaction(SIGALRM, &ticks, &before);
    const itimerval often{{0, 200'000}, {0, 200'000}}, never{};
    setitimer(ITIMER_REAL, &often, nullptr);
    const auto found = inspect::find(folder / "fifo");
    setitimer(ITIMER_REAL, &never, nullptr);
    sigaction(SIGALRM, &before, nullptr);
    ASSERT_TRUE(std::holds_alternative<std::vector<inspect::target>>(found)) << std::get<std::string>(found);
    const auto refused = inspected({folder / "fifo"});
    EXPECT_EQ(refused.end, exited(1));
    EXPECT_TRUE(says(refused.output, "file type: expected a regular file, found a FIFO")) << refused.output;
    EXPECT_FALSE(makes_a_terminal_its_own([](const std::string& path) { (void)inspect::find(path); }));
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
            const auto offset = word_at<std::uint64_t>(bytes.data(), 64 + block * 128 + 56);
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
