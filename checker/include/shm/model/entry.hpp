// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// A scenario as the engines and the programs that run them see it.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <shm/model/host.hpp>

namespace shm::model {

/// Whether a scenario gives up after a few tries, or waits until it succeeds.
enum class form : std::uint8_t { tries, waits };

using maker = std::function<std::unique_ptr<instance>()>;

struct entry {
    std::string family;  // the primitive, or "litmus"
    std::string name;
    form how;
    unsigned threads;
    const char* invariant;
    bool litmus_allowed = false;  // a litmus whose outcome the C++ memory model allows
    std::vector<maker> make;      // for each layer it is compiled for, in their order

    [[nodiscard]] bool is_litmus() const { return family == "litmus"; }
    [[nodiscard]] std::string full_name() const { return name + (how == form::waits ? ".waits" : ""); }
};

/// Every scenario of this program, in the order in which they were added.
inline std::vector<entry>& scenarios() {
    static std::vector<entry> all;
    return all;
}

}  // namespace shm::model
