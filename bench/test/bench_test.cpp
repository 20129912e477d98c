// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Runs the bench with contestants that are broken. It has to name each, with what it expected and found, and to fail.
#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include <shm/version.hpp>

#include "bench/run.hpp"
#include "testkit/running.hpp"
#include "testkit/temporary_directory.hpp"

namespace {

namespace fs = std::filesystem;
using support::contents;

struct outcome {
    process_end end;
    std::string printed;  // on both
};

/// Where there are not two CPUs, both sides share one: what is tested here is not speed.
std::string on_what_there_is() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) > 1) return "";
    const std::string cpu = std::to_string(sched_getcpu());
    std::printf("only CPU %s may be used: both sides share it\n", cpu.c_str());
    return " --cpus " + cpu + "," + cpu;
}

/// As a shell reads its arguments.
struct running_bench : support::running {
    explicit running_bench(const std::string& arguments)
        : support::running{"/bin/sh", {"-c", "exec " BROKEN_BENCH " " + arguments}} {}
};

/// Runs it until nobody holds its output any more: a child left behind would keep it open, and the test would fail.
outcome run_bench(const std::string& arguments) {
    running_bench bench{"--repetitions 2 " + arguments};
    const std::string printed = bench.everything();
    return {bench.finish(), printed};
}

outcome bench(const std::string& arguments) { return run_bench("--milliseconds 1 " + arguments + on_what_there_is()); }

/// The row is measured; its broken contestant is out with this sentence, and the right one is not.
void disqualifies(const std::string& row, const std::string& sentence, const std::string& more = "") {
    const outcome run = bench("--only '" + row + "' " + more);
    EXPECT_EQ(run.end, exited(1)) << run.printed;
    EXPECT_NE(run.printed.find("DISQUALIFIED: " + sentence), std::string::npos) << run.printed;
    EXPECT_NE(run.printed.find("\n  right "), std::string::npos) << run.printed;
    EXPECT_NE(run.printed.find("bench: a contestant was disqualified"), std::string::npos) << run.printed;
}

void misused(const std::string& arguments, const std::string& sentence) {
    const outcome run = run_bench(arguments);
    EXPECT_EQ(run.end, exited(2)) << run.printed;
    EXPECT_EQ(run.printed, "bench: " + sentence + "\n");
}

class files_of_the_bench : public testing::Test {
protected:
    const temporary_directory directory_;
    const fs::path folder_ = directory_.path();
};

TEST(a_contestant, that_drops_an_element_is_out) {
    disqualifies("drops, threads", "element 1000: expected 1001, found 1002");
    disqualifies("drops, processes", "element 1000: expected 1001, found 1002");
}

TEST(a_contestant, that_repeats_an_element_is_out) {
    disqualifies("repeats, threads", "element 1000: expected 1001, found 1000");
}

TEST(a_contestant, that_tears_an_element_is_out) {
    disqualifies("tears, processes",
                 "element 1000: expected {1001 1002 1003 1004 1005 1006 1007 1008}, found {1001 1002 1003 1004 1005 "
                 "1006 1007 1007}");
}

TEST(a_contestant, that_gives_a_wrong_answer_is_out) {
    disqualifies("wrong answer, threads", "element 100: expected 101, found 102");
}

// The right one has to answer within the same patience, so it is long, though each of the two costs that much.
TEST(a_contestant, that_hangs_is_out) {
    disqualifies("hangs, threads", "it hangs: no chunk for 3 s", "--patience-ms 3000");
    disqualifies("hangs, processes", "it hangs: no chunk for 3 s", "--patience-ms 3000");
}

TEST(a_contestant, that_dies_is_out) {
    disqualifies("dies, threads", "a side was killed by signal 9");
    disqualifies("dies, processes", "a side was killed by signal 9");
}

// Every tenth chunk takes ten times as long. The times are made, so that a busy machine adds nothing to them.
TEST(a_stopwatch, tells_of_stalls_that_a_median_hides) {
    using namespace std::chrono_literals;
    bench::run shared{50ms};
    bench::stopwatch watch{shared, 0};
    auto now = bench::clock::now() + 1s;
    std::uint64_t done = 0;
    for (std::uint64_t chunk = 0, size = 0; (size = watch.next_chunk(done, now)) > 0; ++chunk, done += size)
        now += (chunk % 10 == 9 ? 1000ns : 100ns) * size;
    EXPECT_NEAR(shared.seconds_each, 100e-9, 1e-9);
    EXPECT_NEAR(shared.slow_seconds_each, 1000e-9, 1e-9);
}

// Killed in a run that would last ten minutes: the second child, the first has measured how fast a line travels.
TEST(a_killed_bench, leaves_no_child) {
    running_bench bench{"--only 'right, threads' --milliseconds 600000" + on_what_there_is()};
    const std::string pid = std::to_string(bench.process.pid());
    const std::string children = "/proc/" + pid + "/task/" + pid + "/children";
    std::set<std::string> seen;
    while (seen.size() < 2)
        if (const std::string now = contents(children); !now.empty()) seen.insert(now);
    bench.process.kill();
    (void)bench.everything();
    EXPECT_EQ(bench.finish(), killed_by(SIGKILL));
}

TEST_F(files_of_the_bench, hold_what_was_measured) {
    const fs::path json = folder_ / "bench.json";
    const fs::path picture = folder_ / "bench.svg";
    const outcome run = bench("--only right --json " + json.string() + " --svg " + picture.string());
    EXPECT_EQ(run.end, exited(0)) << run.printed;
    const auto all = nlohmann::json::parse(contents(json));
    ASSERT_EQ(all["rows"].size(), 2);
    for (const auto& row : all["rows"]) {
        EXPECT_EQ(row["transfer_ns"].size(), 2);
        EXPECT_GE(row["elements"], 4 * 2 * 64);
        const auto& contestants = row["contestants"];
        ASSERT_EQ(contestants.size(), 3);
        for (const std::size_t i : {0u, 1u}) {
            ASSERT_EQ(contestants[i]["figures"].size(), 2);
            for (const double figure : contestants[i]["figures"]) EXPECT_GT(figure, 0);
            EXPECT_EQ(contestants[i]["figures_of_95_percent"].size(), 2);
        }
        for (const std::size_t repetition : {0u, 1u}) {
            const double ours = contestants[0]["figures"][repetition];
            const double other = contestants[1]["figures"][repetition];
            EXPECT_NEAR(contestants[1]["speeds"][repetition], row["unit"] == "ns" ? ours / other : other / ours, 1e-9);
            EXPECT_EQ(contestants[0]["speeds"][repetition], 1.0);
        }
        EXPECT_EQ(contestants[0]["capacity"], 64);
        EXPECT_EQ(contestants[2]["absent"], "too late");
    }
    EXPECT_TRUE(all["versions"]["shm-primitives"].get<std::string>().starts_with(shm::version));
    EXPECT_NE(contents(picture).find("right, processes"), std::string::npos);
    EXPECT_TRUE(contents(picture).ends_with("</svg>\n"));
}

TEST_F(files_of_the_bench, a_page_keeps_what_stands_around_its_table) {
    const fs::path page = folder_ / "page.md";
    const std::string before = "before\n<!-- make bench writes from here -->\n";
    const std::string after = "<!-- to here -->\nafter\n";
    std::ofstream{page} << before << "an older table\n" << after;
    const outcome run = bench("--only 'right, threads' --page " + page.string());
    EXPECT_EQ(run.end, exited(0)) << run.printed;
    const std::string now = contents(page);
    EXPECT_TRUE(now.starts_with(before + "```\nmachine ")) << now;
    EXPECT_TRUE(now.ends_with("```\n" + after)) << now;
    EXPECT_EQ(now.find("an older table"), std::string::npos) << now;
    EXPECT_TRUE(fs::exists(folder_ / "page.svg"));
}

TEST_F(files_of_the_bench, a_page_is_left_alone_when_a_contestant_is_out) {
    const fs::path page = folder_ / "page.md";
    const std::string text = "<!-- make bench writes from here -->\nan older table\n<!-- to here -->\n";
    std::ofstream{page} << text;
    EXPECT_EQ(bench("--only drops --page " + page.string()).end, exited(1));
    EXPECT_EQ(contents(page), text);
}

TEST(wrong_arguments, are_refused_with_a_sentence) {
    misused("--only nothing", "--only: expected a part of a row's name, found \"nothing\"; --list shows them");
    misused("--cpus 0,1000000", "--cpus: expected CPUs that this process may use, found 0,1000000");
    misused("--svg /nowhere/x.svg" + on_what_there_is(), "/nowhere/x.svg: No such file or directory");
    misused("--page /nowhere/x.md" + on_what_there_is(), "/nowhere/x.md: No such file or directory");
}

class one_cpu : public testing::Test {
protected:
    one_cpu() {
        EXPECT_EQ(sched_getaffinity(0, sizeof before_, &before_), 0);
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(sched_getcpu(), &one);
        EXPECT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    }
    ~one_cpu() override { EXPECT_EQ(sched_setaffinity(0, sizeof before_, &before_), 0); }

private:
    cpu_set_t before_{};
};

TEST_F(one_cpu, is_too_few_to_measure) { misused("", "expected two CPUs that this process may use, found 1"); }

TEST_F(one_cpu, is_enough_to_see_the_bench_work) {
    const outcome run = bench("--only right");
    EXPECT_EQ(run.end, exited(0)) << run.printed;
    EXPECT_NE(run.printed.find("one CPU; no figure means anything"), std::string::npos) << run.printed;
    disqualifies("wrong answer, threads", "element 100: expected 101, found 102");
}

}  // namespace
