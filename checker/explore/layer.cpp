// SPDX-License-Identifier: MIT OR Apache-2.0
// What the layer `explore_atomics` calls, handed to the scheduler that is running.

#include "checker/explore/scheduler.hpp"

namespace shm::explore {

answer perform(const request& wanted) { return scheduler::running().perform(wanted); }
std::uint16_t begin_location(std::uint64_t value) { return scheduler::running().begin_location(value); }
void end_location(std::uint16_t location) { scheduler::running().end_location(location); }
void touch_cell(cell_history& history, touch how, const void* object, const std::source_location& at,
                std::string (*shown)(const void* value), const void* value) {
    scheduler::running().touch_cell(history, how, object, at, shown, value);
}
bool spurious_failures() { return scheduler::running().spurious_failures(); }
model::round begin_round() { return scheduler::running().begin_round(); }
void ineffective(model::round& failed, const std::source_location& at) { scheduler::running().ineffective(failed, at); }
unsigned spawn(const std::function<void()>& body, const std::source_location& at) {
    return static_cast<unsigned>(perform({.what = action::spawn, .object = &body, .at = at}).value);
}
void join(unsigned thread, const std::source_location& at) {
    perform({.what = action::join, .operand = thread, .at = at});
}
void fail(std::string why) { scheduler::running().fail(std::move(why)); }
void refuse(std::string why) { scheduler::running().fail(std::move(why), nullptr, true); }

}  // namespace shm::explore
