// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Small programs in a line of text, as in golden/, run on the engine.
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <shm/explore_atomics.hpp>

#include "checker/explore/scheduler.hpp"

namespace shm::explore {

/// Beyond golden/: U waits until the value is a, N chooses one of a, B is C whose failure is always relaxed, Q is a weak B,
/// and a thread that begins with D may be killed before any of its operations. S starts thread a, once, and J, in the same
/// thread, waits for its end if it was started. What is started comes last in the line.
struct operation {
    bool conditional;  // only if the last value read is not 0
    char kind;         // as in golden/, or U, N, B, Q, D, S or J
    unsigned location;
    unsigned a, b;
    std::memory_order order;

    [[nodiscard]] std::memory_order failure_order() const {
        using enum std::memory_order;
        if (kind == 'B' || kind == 'Q') return relaxed;
        return order == release ? relaxed : order == acq_rel ? acquire : order;
    }
    [[nodiscard]] bool compares() const { return kind == 'C' || kind == 'B' || kind == 'Q'; }
};
using program_text = std::vector<std::vector<operation>>;

inline constexpr unsigned words_of_a_program = 3;

/// Throws std::invalid_argument for what is no program.
[[nodiscard]] program_text parse(const std::string& line);

/// How many of its threads nobody starts.
[[nodiscard]] unsigned threads_at_first(const program_text& program);

/// A line of a golden file.
struct counted {
    std::uint64_t executions;
    std::string name, program;
};
[[nodiscard]] std::vector<counted> read_counted(const std::string& path);

/// One of them as a scenario.
class interpreted final : public model::instance {
public:
    explicit interpreted(const program_text& program) : program_{program}, started_(program.size()) {}
    void before() override {}
    void thread(unsigned index) override;
    void after() override {}

private:
    void perform(unsigned index);

    const program_text& program_;
    std::vector<std::optional<unsigned>> started_;  // by the thread's place in the line
    explore_atomics::atomic<unsigned> words_[words_of_a_program];
};

}  // namespace shm::explore
