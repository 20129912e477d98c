// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Relacy in quarantine: its parts without its front header, so that none of its macros (new, delete, malloc, errno,
// memory_order_*, $, ...) is left behind, the program's heap stays the program's, and its self-checks are on.
// Compile with -U_FORTIFY_SOURCE (it switches stacks by longjmp), and under g++ with -fno-lifetime-dse (a use after
// destruction would go unseen) and -Wno-mismatched-new-delete (its inline operator new shows g++ a malloc).
#include <sys/mman.h>

#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <stdexcept>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wdollar-in-identifier-extension"
#endif

#include <relacy/base.hpp>

// Its self-checks are off by default, and then a scenario that is not deterministic "succeeds".
namespace shm::relacy {
[[noreturn]] void self_check_failed(const char* condition, const char* file, int line);
}
#undef RL_VERIFY
#define RL_VERIFY(condition)                                                                           \
    do {                                                                                               \
        if (!((void)0, (condition))) ::shm::relacy::self_check_failed(#condition, __FILE__, __LINE__); \
    } while ((void)0, 0)

// clang-format off: each of these uses what came before without including it
#include <relacy/thread_local_ctx.hpp>
#include <relacy/context_base.hpp>
// clang-format on

// It replaces the global operator new and delete, without the sized delete that compilers call: those four must go
// straight to malloc and free. Its fiber stacks are never freed and have no guard page: ours are and have.
namespace rl {
inline bool never_in_context() { return false; }
}  // namespace rl
namespace shm::relacy {
inline constexpr std::size_t fiber_stack_bytes = 256 * 1024;
inline constexpr std::size_t guard_bytes = 4096;

inline void create_guarded_fiber(fiber_t& fiber, void (*body)(void*), void* argument) {
    void* const memory = ::mmap(nullptr, guard_bytes + fiber_stack_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED || ::mprotect(memory, guard_bytes, PROT_NONE) != 0) throw std::bad_alloc();
    ::getcontext(&fiber.fib);
    fiber.fib.uc_stack.ss_sp = static_cast<char*>(memory) + guard_bytes;
    fiber.fib.uc_stack.ss_size = fiber_stack_bytes;
    fiber.fib.uc_link = nullptr;
    ucontext_t creator;
    fiber_ctx_t start = {body, argument, &fiber.jmp, &creator};
    ::makecontext(&fiber.fib, reinterpret_cast<void (*)()>(fiber_start_fnc), 1, &start);
    ::swapcontext(&creator, &fiber.fib);
}
inline void delete_guarded_fiber(fiber_t& fiber) {
    if (fiber.fib.uc_stack.ss_sp != nullptr)
        ::munmap(static_cast<char*>(fiber.fib.uc_stack.ss_sp) - guard_bytes, guard_bytes + fiber_stack_bytes);
    fiber.fib.uc_stack.ss_sp = nullptr;
}
}  // namespace shm::relacy
#define is_ctx never_in_context
#define create_fiber ::shm::relacy::create_guarded_fiber
#define delete_fiber ::shm::relacy::delete_guarded_fiber
#include <relacy/context.hpp>
#undef is_ctx
#undef create_fiber
#undef delete_fiber

// clang-format off: as above
#include <relacy/context_base_impl.hpp>
#include <relacy/backoff.hpp>
#include <relacy/atomic_fence.hpp>
#include <relacy/atomic.hpp>
#include <relacy/var.hpp>
#include <relacy/test_suite.hpp>
#include <relacy/stdlib/mutex.hpp>
#include <relacy/stdlib/condition_variable.hpp>
#include <relacy/stdlib/semaphore.hpp>
#include <relacy/stdlib/event.hpp>
// clang-format on

#undef $
#undef RL_NEW_PROXY
#undef RL_DELETE_PROXY

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

namespace shm::relacy {
inline const char* failed_self_check = "";

/// On a simulated thread a broken self-check fails the scenario; elsewhere it is thrown.
[[noreturn]] inline void self_check_failed(const char* condition, const char* file, int line) {
    failed_self_check = condition;
    if (rl::context::is_instance() && rl::ctx().threadx_ != nullptr)
        rl::ctx().fail_test(condition, rl::test_result_inconsistent_test_suite,
                            rl::debug_info("", file, static_cast<unsigned>(line)));
    throw std::logic_error(condition);
}
}  // namespace shm::relacy
