// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What words and cells there are in an execution, from when to when, and who has used them.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <shm/explore.hpp>

#include "checker/explore/execution_graph.hpp"

namespace shm::explore {

/// When a thread does something: after how many of its events, and what has happened before.
struct moment {
    unsigned thread;
    std::int16_t position;
    const view& known;
    bool alone;  // before the threads or after them

    [[nodiscard]] bool knows_of(std::int16_t when, unsigned who) const {
        return alone || who == thread || when < known.count[who];
    }
};

/// The atomic objects. Each has a number, which says who has made it and how many it had made before, and nothing else: so it
/// is the same for whoever goes on from a graph.
/// `use` and `end` answer with what is wrong, or with nothing.
class locations {
public:
    static constexpr std::size_t most = 1024;
    static constexpr std::uint16_t too_many = 0xffff;

    /// A new execution.
    void clear() {
        for (auto& by_thread : all_) by_thread.clear();
        made_ = 0;
    }

    /// `too_many` when there is no number left.
    [[nodiscard]] std::uint16_t begin(std::uint64_t value, const moment& now);
    [[nodiscard]] std::string end(std::uint16_t number, const moment& now);
    [[nodiscard]] const char* use(std::uint16_t number, const moment& now);

    /// Whether it has been made. Bytes that were never a word may say any number.
    [[nodiscard]] bool has(std::uint16_t number) const {
        return number / each < all_.size() && number % each < all_[number / each].size();
    }

    /// What it holds before the threads begin, and when they have ended.
    [[nodiscard]] std::uint64_t value(std::uint16_t number) const { return at(number).value; }
    [[nodiscard]] std::uint64_t& value(std::uint16_t number) { return at(number).value; }

    /// The threads have ended.
    void take_newest_of(const execution_graph& g);

private:
    struct word {
        std::uint64_t value;
        std::uint16_t newest = 0;  // place, as far as `take_newest_of` has come
        bool alive = true;
        std::int16_t begun_at;
        unsigned begun_by;
        std::array<std::int16_t, max_threads> used_at;
    };
    static constexpr unsigned each = 4096;  // numbers for a thread
    [[nodiscard]] word& at(std::uint16_t number) { return all_[number / each][number % each]; }
    [[nodiscard]] const word& at(std::uint16_t number) const { return all_[number / each][number % each]; }

    std::array<std::vector<word>, max_threads + 1> all_;  // before and after the threads; by each thread
    std::size_t made_ = 0;
};

/// A cell is made. Its history lies where it does, and outlives it.
void make(cell_history& history);

/// What keeps the cell from being used or ended now, if something does.
[[nodiscard]] const char* misuse_of(const cell_history& history);

/// Whether another thread has done something to the cell that `now` does not know of, and that does not go with this.
[[nodiscard]] bool races(cell_history& history, touch how, const moment& now);

}  // namespace shm::explore
