// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Tells model::recorder, when there is one, what an execution does: for the traces.
#include <array>
#include <vector>

#include <shm/explore.hpp>
#include <shm/model/host.hpp>

#include "checker/explore/execution_graph.hpp"

namespace shm::explore {

class trace_recorder {
public:
    /// A new execution.
    void clear() {
        for (auto& of_thread : told_) of_thread.clear();
    }

    /// `thread` does what it wants, and that is `e`; `position` counts it.
    void tell(const event& e, const request& wanted, model::phase phase, unsigned thread, std::int16_t position,
              const execution_graph& g);
    static void tell(touch how, const void* object, const std::string& value, model::phase phase, unsigned thread,
                     const std::source_location& at);

private:
    std::array<std::vector<int>, max_threads> told_;  // by the event's thread and index: where in the recording
};

}  // namespace shm::explore
