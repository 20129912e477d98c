// SPDX-License-Identifier: MIT OR Apache-2.0
// The same lock with a mistake, twice: what is printed then.
#include <atomic>

#include <shm/model/verify.hpp>

template <class Atomics>
class broken_spinlock {
public:
    broken_spinlock() { shm::model::name(&taken_, "taken"); }  // in the trace

    void lock() {
        typename Atomics::retry_loop waiting;
        for (bool taken = false;
             !taken_.compare_exchange_weak(taken, true, std::memory_order_acquire, std::memory_order_relaxed);
             taken = false)
            waiting.retry();
    }
    void unlock() { taken_.store(false, std::memory_order_relaxed); }  // should release

private:
    typename Atomics::template atomic<bool> taken_{false};
};

template <class Atomics>
struct relaxed_unlock {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "no increment is lost";
    broken_spinlock<Atomics> lock;
    typename Atomics::template cell<int> count;

    void before() {
        shm::model::name(&count, "count");
        count.write(0);
    }
    void thread(unsigned) {
        lock.lock();
        count.write(count.read() + 1);
        lock.unlock();
    }
    void after() { shm::model::check(count.read() == 2); }
};

template <class Atomics>
struct missing_unlock : relaxed_unlock<Atomics> {
    static constexpr const char* invariant = "each thread gets the lock in the end";

    void thread(unsigned index) {
        this->lock.lock();
        if (index == 0) this->lock.unlock();  // the other one forgets to
    }
    void after() {}
};

int main(int argc, char** argv) { return shm::model::verify<relaxed_unlock, missing_unlock>(argc, argv); }
