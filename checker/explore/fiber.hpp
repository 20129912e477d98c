// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

namespace shm::explore {

/// A simulated thread's stack, and where it stands. Boost.Context switches it; a fiber that is abandoned half way is simply
/// started anew and runs no destructors, which is why the higher interfaces of that library do not do.
class fiber {
public:
    using body = void (*)(unsigned index);

    fiber() = default;
    ~fiber();
    fiber(const fiber&) = delete;
    fiber& operator=(const fiber&) = delete;

    /// Prepares to run `run(index)` from its beginning.
    void start(body run, unsigned index);

    /// Runs it until it suspends or returns.
    void resume();

    /// Called on a fiber: goes back to whoever resumed it.
    static void suspend();

    inline static std::uint64_t resumed = 0;  // how often, of all

private:
    static void enter(fiber& self);

    std::byte* stack_ = nullptr;
    void* context_ = nullptr;
    body run_ = nullptr;
    unsigned index_ = 0;
    bool ended_ = false;
    [[maybe_unused]] void* tsan_fiber_ = nullptr;
};

}  // namespace shm::explore
