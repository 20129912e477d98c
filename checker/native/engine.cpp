// SPDX-License-Identifier: MIT OR Apache-2.0
// Runs every scenario with real threads, again and again: build it under ThreadSanitizer or AddressSanitizer.
// ThreadSanitizer sees the threads of one process and one mapping; races across processes are beyond it.
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "checker/driver/scenario.hpp"

namespace shm::model {
namespace {

std::mutex failure_mutex;
std::string failure;
std::atomic<bool> any_failure{false};

/// Different in each thread, the same in each run.
std::minstd_rand& dice() {
    static std::atomic<unsigned> threads{0};
    thread_local std::minstd_rand random{++threads};
    return random;
}

std::chrono::milliseconds time_for_each() {
    const char* const asked = std::getenv("SHM_NATIVE_MS");
    return std::chrono::milliseconds{asked != nullptr ? std::strtol(asked, nullptr, 10) : 300};
}

/// Threads that are started once and run one execution after the other, each beginning a random moment late.
class workers {
public:
    explicit workers(unsigned count) : begin_{count + 1}, end_{count + 1} {
        for (unsigned index = 0; index < count; ++index) threads_.emplace_back([this, index] { work(index); });
    }
    ~workers() {
        current_ = nullptr;
        begin_.arrive_and_wait();
        for (auto& thread : threads_) thread.join();
    }
    workers(const workers&) = delete;
    workers& operator=(const workers&) = delete;

    void run(instance& scenario) {
        current_ = &scenario;
        begin_.arrive_and_wait();
        end_.arrive_and_wait();
    }

private:
    void work(unsigned index) {
        constexpr unsigned longest_delay = 64;
        for (;;) {
            begin_.arrive_and_wait();
            if (current_ == nullptr) return;
            for (auto delay = dice()() % longest_delay; delay != 0; --delay) std_atomics::pause();
            current_->thread(index);
            end_.arrive_and_wait();
        }
    }

    instance* current_ = nullptr;
    std::barrier<> begin_, end_;
    std::vector<std::thread> threads_;
};

class native_test : public testing::Test {
public:
    explicit native_test(const entry& scenario) : scenario_{scenario} {}
    void TestBody() override {
        any_failure = false;
        workers threads{scenario_.threads};
        const auto until = std::chrono::steady_clock::now() + time_for_each();
        unsigned long long executions = 0;
        while (!any_failure && std::chrono::steady_clock::now() < until) {
            const auto execution = scenario_.make[0]();
            execution->before();
            threads.run(*execution);
            execution->after();
            ++executions;
        }
        RecordProperty("executions", std::to_string(executions));
        std::printf("%-46s %llu executions\n", scenario_.full_name().c_str(), executions);
        if (any_failure) ADD_FAILURE() << scenario_.full_name() << " (" << scenario_.invariant << "): " << failure;
    }

private:
    const entry& scenario_;
};

/// Threads cannot be killed here; processes are, in sanitizers/.
class machine final : public host {
public:
    void failed(const std::source_location& at) override {
        const std::lock_guard lock{failure_mutex};
        failure = std::string{"check failed at "} + at.file_name() + ":" + std::to_string(at.line());
        any_failure = true;
    }
    unsigned choose(unsigned count) override { return static_cast<unsigned>(dice()() % count); }
    void make_mortal(std::jmp_buf*) override {}
    void ineffective(round&, const std::source_location&) override { std::this_thread::yield(); }
};

}  // namespace
}  // namespace shm::model

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    shm::model::machine machine;
    shm::model::host::running = &machine;
    for (const auto& scenario : shm::model::scenarios()) {
        if (scenario.is_litmus()) continue;  // those test engines, not programs; and ThreadSanitizer knows no fences
        testing::RegisterTest(scenario.family.c_str(), scenario.full_name().c_str(), nullptr, nullptr, __FILE__,
                              __LINE__,
                              [&scenario]() -> testing::Test* { return new shm::model::native_test{scenario}; });
    }
    return RUN_ALL_TESTS();
}
