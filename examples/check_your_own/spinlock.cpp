// SPDX-License-Identifier: MIT OR Apache-2.0
#include <atomic>

#include <shm/model/verify.hpp>
#include <shm/std_atomics.hpp>

template <class Atomics = shm::std_atomics>
class spinlock {
    using enum std::memory_order;

public:
    void lock() {
        typename Atomics::retry_loop waiting;
        for (bool is = false; !taken_.compare_exchange_weak(is, true, acquire, relaxed); is = false) waiting.retry();
    }
    void unlock() { taken_.store(false, release); }

private:
    typename Atomics::template atomic<bool> taken_{false};
};

template <class Atomics>
struct two_threads_count {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "no increment is lost";
    spinlock<Atomics> lock;
    typename Atomics::template cell<int> count;

    void before() { count.write(0); }
    void thread(unsigned) {
        lock.lock();
        count.write(count.read() + 1);
        lock.unlock();
    }
    void after() { shm::model::check(count.read() == 2); }
};

int main(int argc, char** argv) {
    spinlock<> in_production;  // the very code that is checked, over std::atomic
    in_production.lock(), in_production.unlock();
    return shm::model::verify<two_threads_count>(argc, argv);
}
