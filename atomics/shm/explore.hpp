// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What the layer `explore_atomics` asks of the engine behind it (checker/explore/).
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <type_traits>

#include <shm/checking.hpp>

namespace shm::explore {

enum class action : std::uint8_t {
    load,
    await,
    store,
    exchange,
    add,
    sub,
    bit_and,
    bit_or,
    compare_exchange,
    fence,
    choose,
    spawn,
    join
};

/// Every T is held as the unsigned integer of its size.
template <std::size_t Bytes>
using word_of_size = std::conditional_t<
    Bytes == 1, std::uint8_t,
    std::conditional_t<Bytes == 2, std::uint16_t, std::conditional_t<Bytes == 4, std::uint32_t, std::uint64_t>>>;

/// What an `await` waits for: asked again for each later store, so it is copied and must hold no references to what may be
/// gone by then.
struct predicate {
    static constexpr std::size_t most_bytes = 32;
    bool (*holds)(const void* closure, std::uint64_t value) = nullptr;
    alignas(std::max_align_t) std::byte closure[most_bytes];

    [[nodiscard]] bool operator()(std::uint64_t value) const { return holds(closure, value); }
};

/// Whose choice it is: whether a weak compare-exchange is tried (0) or fails for no reason (1), whether a thread lives on (0)
/// or dies (1).
inline constexpr std::uint64_t of_the_scenario = 0, of_weak_exchange = 1, of_death = 2;

/// One operation of a simulated thread.
struct request {
    action what;
    std::uint8_t bytes = 8;  // of the value
    std::uint16_t location = 0;
    std::memory_order order{}, failure_order{};
    std::uint64_t operand = 0, desired = 0;  // expected and desired; the number to choose from
    bool prepares = false;                   // a store that is no effect of its round
    bool fails = false;                      // a load that is all that a weak compare-exchange does
    const predicate* awaited = nullptr;
    const void* object = nullptr;
    std::string (*shown)(std::uint64_t) = nullptr;
    std::source_location at;
};
struct answer {
    std::uint64_t value;
    bool succeeded;
};

/// Performs the operation, in whatever way the present execution wants it to end.
answer perform(const request& wanted);

/// An atomic object begins and ends. The number stands for it from then on.
[[nodiscard]] std::uint16_t begin_location(std::uint64_t value);
void end_location(std::uint16_t location);

/// What is done to a cell. That it is made and that it ends are writes.
enum class touch : std::uint8_t { made, read, written, ended };

/// Who touched a cell last, in vector clocks. It lies in the cell and outlives it: memory is not given out again in the same
/// execution.
struct cell_history {
    std::uint64_t made_in = 0;  // the execution's number; of one that was never made, anything else
    bool ended = false;
    std::int16_t written_at = -1, written_by = 0;
    std::int16_t read_at[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
};
/// Finds a race with what others did to the cell, and a use of one that is not there. `shown` is asked only when the execution is recorded.
void touch_cell(cell_history& history, touch how, const void* object, const std::source_location& at,
                std::string (*shown)(const void* value), const void* value);

/// A loop that tries again: where this round of it begins; and that it was ineffective, which returns only where such rounds are
/// not pruned.
[[nodiscard]] model::round begin_round();
void ineffective(model::round& failed, const std::source_location& at);

/// Whether a weak compare-exchange may fail for no reason.
[[nodiscard]] bool spurious_failures();

/// Starts a thread, and waits for its end. For threads of a scenario only; the number is `join`'s to take, and says by whom
/// it was started and as which.
unsigned spawn(const std::function<void()>& body, const std::source_location& at = std::source_location::current());
void join(unsigned thread, const std::source_location& at = std::source_location::current());

/// The execution ends here, as a counter-example.
[[noreturn]] void fail(std::string why);

/// The execution ends here, because the scenario is at fault, or a limit.
[[noreturn]] void refuse(std::string why);

}  // namespace shm::explore
