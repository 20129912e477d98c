// SPDX-License-Identifier: MIT OR Apache-2.0
// What the layer `explore_atomics` calls, handed to the explorer that is running.
#include <explore/explorer.hpp>

namespace shm::explore {

answer perform(const request& wanted) { return explorer::running().perform(wanted); }
std::uint16_t begin_location(std::uint64_t value) { return explorer::running().begin_location(value); }
void end_location(std::uint16_t location) { explorer::running().end_location(location); }
void touch_cell(cell_history& history, touch how, const void* object, const std::source_location& at,
                std::string (*shown)(const void* value), const void* value) {
    explorer::running().touch_cell(history, how, object, at, shown, value);
}
bool spurious_failures() { return explorer::running().spurious_failures(); }
model::round begin_round() { return explorer::running().begin_round(); }
void in_vain(model::round& failed, const std::source_location& at) { explorer::running().in_vain(failed, at); }
unsigned spawn(const std::function<void()>& body, const std::source_location& at) {
    return static_cast<unsigned>(perform({.what = action::spawn, .object = &body, .at = at}).value);
}
void join(unsigned thread, const std::source_location& at) {
    perform({.what = action::join, .operand = thread, .at = at});
}
void fail(std::string why) { explorer::running().fail(std::move(why)); }
void refuse(std::string why) { explorer::running().fail(std::move(why), nullptr, true); }

}  // namespace shm::explore
