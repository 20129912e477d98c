// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What a scenario asks of the engine that runs it, beyond the atomics layer.
#include <csetjmp>
#include <source_location>

#include <shm/checking.hpp>

namespace shm::model {

/// A scenario as the engines see it. Made anew, on a simulated thread, for each execution.
class instance {
public:
    instance() = default;
    instance(const instance&) = delete;
    instance& operator=(const instance&) = delete;
    virtual ~instance() = default;
    virtual void before() = 0;
    virtual void thread(unsigned index) = 0;
    virtual void after() = 0;
};

class host {
public:
    host() = default;
    host(const host&) = delete;
    host& operator=(const host&) = delete;
    virtual ~host() = default;

    /// A check did not hold.
    virtual void failed(const std::source_location& at) = 0;
    virtual unsigned choose(unsigned count) = 0;

    /// The thread may be killed, by a jump to `last_breath`, before any of its operations; null: no longer.
    virtual void make_mortal(std::jmp_buf* last_breath) = 0;

    /// A loop tries again: this round has begun; that one changed nothing, and what it waits for must come from others.
    [[nodiscard]] virtual round begin_round() { return {}; }
    virtual void ineffective(round& failed, const std::source_location& at) = 0;

    /// Whose scenario is running.
    inline static host* running = nullptr;
};

}  // namespace shm::model
