// SPDX-License-Identifier: MIT OR Apache-2.0
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <system_error>

#include "checker/explore/parallel.hpp"

namespace shm::explore {
namespace {

constexpr std::size_t subtrees_wanted = 256;

/// What workers and their parent share.
struct shared_counts {
    std::atomic<std::uint64_t> complete, blocked, visited, duplicates;
    void add(const totals& more) {
        complete += more.complete;
        blocked += more.blocked;
        visited += more.visited;
        duplicates += more.duplicates;
    }
    [[nodiscard]] totals now() const { return {complete, blocked, visited, duplicates}; }
};
struct blackboard {
    std::atomic<std::size_t> next;          // subtree to be taken
    std::atomic<std::size_t> first_failed;  // beyond it nothing need be searched
    std::atomic<bool> stop;
    std::atomic<std::size_t> texts_end;
    shared_counts counted;
};
/// Where in the file of texts.
struct text {
    std::size_t at, size;
};
/// Written by the worker that took it, and read when that has ended.
struct subtree {
    totals counted;
    bool exhausted, failed, broken;
    text why, token;
};

/// Pages that children share with their parent.
class shared_board {
public:
    explicit shared_board(std::size_t subtrees)
        : bytes_{sizeof(blackboard) + subtrees * sizeof(subtree)},
          pages_{mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)} {
        if (pages_ == MAP_FAILED) throw std::bad_alloc{};
        board_ = new (pages_) blackboard{};
        board_->first_failed = subtrees;
        static_assert(sizeof(blackboard) % alignof(subtree) == 0);
        auto* const results = reinterpret_cast<subtree*>(static_cast<std::byte*>(pages_) + sizeof(blackboard));
        results_ = {results, std::uninitialized_value_construct_n(results, subtrees)};
    }
    ~shared_board() { munmap(pages_, bytes_); }
    shared_board(const shared_board&) = delete;
    shared_board& operator=(const shared_board&) = delete;

    [[nodiscard]] blackboard& board() const { return *board_; }
    [[nodiscard]] std::span<subtree> results() const { return results_; }

private:
    std::size_t bytes_;
    void* pages_;
    blackboard* board_ = nullptr;
    std::span<subtree> results_;
};

/// A file without a name that children share with their parent, for texts of any length: a token has a few characters for
/// each event, and a part of one is another execution.
class shared_texts {
public:
    explicit shared_texts(blackboard& board) : board_{board}, file_{memfd_create("texts", MFD_CLOEXEC)} {
        if (file_ < 0) throw_error();
    }
    ~shared_texts() { close(file_); }
    shared_texts(const shared_texts&) = delete;
    shared_texts& operator=(const shared_texts&) = delete;

    [[nodiscard]] text keep(const std::string& words) const {
        const text kept{board_.texts_end.fetch_add(words.size()), words.size()};
        for (std::size_t done = 0; done < kept.size;)
            done += moved(pwrite(file_, words.data() + done, kept.size - done, static_cast<off_t>(kept.at + done)));
        return kept;
    }
    [[nodiscard]] std::string read(const text& kept) const {
        std::string words(kept.size, ' ');
        for (std::size_t done = 0; done < kept.size;)
            done += moved(pread(file_, words.data() + done, kept.size - done, static_cast<off_t>(kept.at + done)));
        return words;
    }

private:
    [[noreturn]] static void throw_error() {
        throw std::system_error{errno, std::generic_category(), "what a worker found"};
    }
    static std::size_t moved(ssize_t bytes) {
        if (bytes <= 0) throw_error();
        return static_cast<std::size_t>(bytes);
    }

    blackboard& board_;
    int file_;
};

void work(const program& subject, const settings& how, const std::vector<execution_graph>& subtrees,
          const shared_board& shared, const shared_texts& texts, const std::function<bool(const totals&)>& go_on) {
    blackboard& board = shared.board();
    for (;;) {
        const std::size_t mine = board.next++;
        if (go_on && !go_on(board.counted.now())) board.stop = true;
        if (mine >= subtrees.size() || board.stop) return;
        if (mine > board.first_failed) continue;
        scheduler search{subject, how};
        totals told{};
        const auto tell = [&](const totals& so_far) {
            board.counted.add(so_far - told);
            told = so_far;
        };
        search.run_from(subtrees[mine], [&](const totals& so_far) {
            tell(so_far);
            if (go_on && !go_on(board.counted.now())) board.stop = true;
            return !board.stop && mine <= board.first_failed;
        });
        tell(search.so_far());
        subtree& result = shared.results()[mine];
        result.counted = search.so_far();
        result.exhausted = search.exhausted();
        if (!search.failed()) continue;
        result.broken = search.broken();
        result.why = texts.keep(search.why());
        result.token = texts.keep(search.token());
        result.failed = true;
        for (std::size_t first = board.first_failed; mine < first;)
            if (board.first_failed.compare_exchange_weak(first, mine)) break;
    }
}

/// From now on. A timer of the parent does not reach its children.
void limit_cpu_seconds(long seconds) {
    const itimerval once{{0, 0}, {seconds, 0}};
    setitimer(ITIMER_PROF, &once, nullptr);
}

/// Children that take their part of the subtrees, and end.
class workers {
public:
    template <class Work>
    workers(unsigned count, Work work) {
        if (pipe(alive_) != 0) throw std::system_error{errno, std::generic_category(), "pipe"};
        for (unsigned i = 0; i < count; ++i) {
            const pid_t child = fork();
            if (child < 0) break;  // fewer will do
            if (child == 0) {
                close(alive_[0]);
                prctl(PR_SET_PDEATHSIG, SIGKILL);  // one that never ends does not outlive whoever gives it up
                try {
                    work();
                } catch (const std::exception& e) {
                    std::fprintf(stderr, "a worker: %s\n", e.what());
                    _exit(1);
                }
                _exit(0);
            }
            children_.push_back(child);
        }
        close(alive_[1]);
    }
    ~workers() { close(alive_[0]); }
    workers(const workers&) = delete;
    workers& operator=(const workers&) = delete;

    /// Until all have ended. Says of one that did not end well how it ended.
    template <class Tick>
    std::string join(Tick tick) {
        constexpr int milliseconds = 100;
        for (pollfd all_gone{alive_[0], POLLIN, 0}; poll(&all_gone, 1, milliseconds) != 1;) tick();
        std::string bad;
        for (const pid_t child : children_) {
            int status = 0;
            while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
            }
            if (WIFSIGNALED(status)) bad = "a worker was killed by signal " + std::to_string(WTERMSIG(status));
            if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
                bad = "a worker ended with exit code " + std::to_string(WEXITSTATUS(status));
        }
        return bad;
    }

private:
    int alive_[2] = {-1, -1};  // ends when the last child has
    std::vector<pid_t> children_;
};

}  // namespace

finding search(const program& subject, const settings& how, const part& which,
               const std::function<bool(const totals&)>& go_on) {
    finding found;
    scheduler trunk{subject, how};
    bool stopped = false;
    std::vector<execution_graph> subtrees =
        trunk.run_until(std::max<std::size_t>(subtrees_wanted, 16 * which.shards), [&](const totals& so_far) {
            stopped = go_on && !go_on(so_far);
            return !stopped;
        });
    const bool first_shard = which.shard == 0;
    if (first_shard) {
        found.counted += trunk.so_far();
        found.failed = trunk.failed();
        found.broken = trunk.broken();
        found.why = trunk.why();
        if (found.failed) found.token = trunk.token();
    }
    // Where a stopped search has been cut, other shards have not been.
    if (trunk.failed() || trunk.exhausted() || stopped) {
        found.exhausted = trunk.exhausted();
        return found;
    }
    if (which.shards > 1) {
        std::vector<execution_graph> mine;
        for (std::size_t i = which.shard; i < subtrees.size(); i += which.shards)
            mine.push_back(std::move(subtrees[i]));
        subtrees = std::move(mine);
    }

    const shared_board shared{subtrees.size()};
    blackboard& board = shared.board();
    board.counted.add(found.counted);
    const shared_texts texts{board};
    std::string bad;
    {
        workers others{which.workers - 1, [&] {
                           const auto looked = [&](const totals&) {
                               limit_cpu_seconds(which.cpu_seconds);
                               return true;
                           };
                           work(subject, how, subtrees, shared, texts, looked);
                       }};
        work(subject, how, subtrees, shared, texts, go_on);
        bad = others.join([&] {
            if (go_on && !go_on(board.counted.now())) board.stop = true;
        });
    }
    found.exhausted = true;  // also of a search that was told to stop when all had been seen
    for (const subtree& result : shared.results()) {
        found.counted += result.counted;
        found.exhausted = found.exhausted && result.exhausted;
        if (!result.failed) continue;
        found.failed = true;
        found.broken = result.broken;
        found.why = texts.read(result.why);
        found.token = texts.read(result.token);
        break;
    }
    if (bad.empty() && !found.exhausted && !board.stop) bad = "a worker ended before it had searched its part";
    if (!bad.empty() && !found.failed) {
        found.failed = found.broken = true;
        found.why = bad;
    }
    if (found.failed) found.exhausted = false;
    return found;
}

}  // namespace shm::explore
