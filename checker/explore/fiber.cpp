// SPDX-License-Identifier: MIT OR Apache-2.0
#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/detail/fcontext.hpp>
#include <new>
#include <vector>

#include "checker/explore/fiber.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define SHM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHM_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SHM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SHM_TSAN 1
#endif
#endif

#ifdef SHM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef SHM_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace shm::explore {
namespace {

namespace context = boost::context::detail;

constexpr std::size_t stack_bytes = 256 * 1024;

/// Whoever resumed the fiber that is running.
context::fcontext_t resumer;

#ifdef SHM_ASAN
const void* resumer_stack;
std::size_t resumer_stack_bytes;
#endif
#ifdef SHM_TSAN
void* resumer_tsan_fiber;
#endif

std::size_t page() {
    static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    return bytes;
}

/// Of fibers that are gone; searches are many, and short.
std::vector<std::byte*>& spare_stacks() {
    static auto& stacks = *new std::vector<std::byte*>;  // for as long as the process, as fibers may be
    return stacks;
}

/// With a page below it that nobody may touch.
std::byte* new_stack() {
    auto& spare = spare_stacks();
    if (!spare.empty()) {
        std::byte* const stack = spare.back();
        spare.pop_back();
        return stack;
    }
    void* const pages =
        mmap(nullptr, stack_bytes + page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages, page(), PROT_NONE) != 0) throw std::bad_alloc{};
    return static_cast<std::byte*>(pages);
}

}  // namespace

fiber::~fiber() {
    if (stack_ != nullptr) spare_stacks().push_back(stack_);
#ifdef SHM_TSAN
    if (tsan_fiber_ != nullptr) __tsan_destroy_fiber(tsan_fiber_);
#endif
}

void fiber::start(body run, unsigned index) {
    if (stack_ == nullptr) stack_ = new_stack();
    run_ = run;
    index_ = index;
#ifdef SHM_ASAN
    if (!ended_) __asan_unpoison_memory_region(stack_ + page(), stack_bytes);  // what an abandoned life has left there
#endif
#ifdef SHM_TSAN
    if (!ended_) {  // calls that an abandoned life has not returned from are still on its books
        if (tsan_fiber_ != nullptr) __tsan_destroy_fiber(tsan_fiber_);
        tsan_fiber_ = __tsan_create_fiber(0);
    }
#endif
    ended_ = false;
    context_ = context::make_fcontext(stack_ + page() + stack_bytes, stack_bytes, [](context::transfer_t from) {
        resumer = from.fctx;
        enter(*static_cast<fiber*>(from.data));
    });
}

void fiber::enter(fiber& self) {
#ifdef SHM_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &resumer_stack, &resumer_stack_bytes);
#endif
    self.run_(self.index_);
    self.ended_ = true;
    for (;;) suspend();
}

void fiber::resume() {
    ++resumed;
#ifdef SHM_ASAN
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, stack_ + page(), stack_bytes);
#endif
#ifdef SHM_TSAN
    resumer_tsan_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(tsan_fiber_, 0);
#endif
    context_ = context::jump_fcontext(context_, this).fctx;
#ifdef SHM_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void fiber::suspend() {
#ifdef SHM_ASAN
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, resumer_stack, resumer_stack_bytes);
#endif
#ifdef SHM_TSAN
    __tsan_switch_to_fiber(resumer_tsan_fiber, 0);
#endif
    resumer = context::jump_fcontext(resumer, nullptr).fctx;
#ifdef SHM_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, &resumer_stack, &resumer_stack_bytes);
#endif
}

}  // namespace shm::explore
