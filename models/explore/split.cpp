// SPDX-License-Identifier: MIT OR Apache-2.0
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <explore/split.hpp>
#include <new>
#include <stdexcept>
#include <system_error>

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
struct subtree {
    shared_counts counted;
    bool exhausted, failed, broken;
    char why[512], token[8192];
};
struct blackboard {
    std::atomic<std::size_t> next;          // subtree to be taken
    std::atomic<std::size_t> first_failed;  // beyond it nothing need be searched
    std::atomic<bool> stop;
    shared_counts counted;
    subtree results[1];  // as many as there are
};

/// Pages that children share with their parent; zeroed.
class shared_board {
public:
    explicit shared_board(std::size_t subtrees)
        : bytes_{sizeof(blackboard) + subtrees * sizeof(subtree)},
          pages_{mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)} {
        if (pages_ == MAP_FAILED) throw std::bad_alloc{};
        board().first_failed = subtrees;
    }
    ~shared_board() { munmap(pages_, bytes_); }
    shared_board(const shared_board&) = delete;
    shared_board& operator=(const shared_board&) = delete;

    [[nodiscard]] blackboard& board() const { return *static_cast<blackboard*>(pages_); }

private:
    std::size_t bytes_;
    void* pages_;
};

void copy_text(char* to, std::size_t most, const std::string& text) {
    const std::size_t length = std::min(most - 1, text.size());
    std::memcpy(to, text.data(), length);
    to[length] = '\0';
}

void work(const program& subject, const settings& how, const std::vector<graph>& subtrees, blackboard& board,
          const std::function<bool(const totals&)>& go_on) {
    for (;;) {
        const std::size_t mine = board.next++;
        if (mine >= subtrees.size() || board.stop) return;
        if (mine > board.first_failed) continue;
        explorer search{subject, how};
        totals told{};
        const auto tell = [&](const totals& so_far) {
            board.counted.add({so_far.complete - told.complete, so_far.blocked - told.blocked,
                               so_far.visited - told.visited, so_far.duplicates - told.duplicates});
            told = so_far;
        };
        search.run_from(subtrees[mine], [&](const totals& so_far) {
            tell(so_far);
            if (go_on && !go_on(board.counted.now())) board.stop = true;
            return !board.stop && mine <= board.first_failed;
        });
        tell(search.so_far());
        subtree& result = board.results[mine];
        result.counted.add(search.so_far());
        result.exhausted = search.exhausted();
        if (!search.failed()) continue;
        result.broken = search.broken();
        copy_text(result.why, sizeof result.why, search.why());
        copy_text(result.token, sizeof result.token, search.token());
        result.failed = true;
        for (std::size_t first = board.first_failed; mine < first;)
            if (board.first_failed.compare_exchange_weak(first, mine)) break;
    }
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
                work();
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
        for (pollfd all_gone{alive_[0], POLLIN, 0}; poll(&all_gone, 1, milliseconds) == 0;) tick();
        std::string bad;
        for (const pid_t child : children_) {
            int status = 0;
            waitpid(child, &status, 0);
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
    const auto add = [&found](const totals& more) {
        found.counted.complete += more.complete;
        found.counted.blocked += more.blocked;
        found.counted.visited += more.visited;
        found.counted.duplicates += more.duplicates;
    };
    explorer trunk{subject, how};
    std::vector<graph> subtrees = trunk.run_until(std::max<std::size_t>(subtrees_wanted, 16 * which.shards), go_on);
    const bool first_shard = which.shard == 0;
    if (first_shard) {
        add(trunk.so_far());
        found.failed = trunk.failed();
        found.broken = trunk.broken();
        found.why = trunk.why();
        if (found.failed) found.token = trunk.token();
    }
    if (trunk.failed() || trunk.exhausted()) {
        found.exhausted = trunk.exhausted();
        return found;
    }
    if (which.shards > 1) {
        std::vector<graph> mine;
        for (std::size_t i = which.shard; i < subtrees.size(); i += which.shards)
            mine.push_back(std::move(subtrees[i]));
        subtrees = std::move(mine);
    }

    const shared_board shared{subtrees.size()};
    blackboard& board = shared.board();
    std::string bad;
    {
        workers others{which.workers - 1, [&] { work(subject, how, subtrees, board, {}); }};
        work(subject, how, subtrees, board, go_on);
        bad = others.join([&] {
            if (go_on && !go_on(board.counted.now())) board.stop = true;
        });
    }
    found.exhausted = !board.stop;
    for (std::size_t i = 0; i < subtrees.size() && !found.failed; ++i) {
        const subtree& result = board.results[i];
        add(result.counted.now());
        found.exhausted = found.exhausted && result.exhausted;
        if (!result.failed) continue;
        found.failed = true;
        found.broken = result.broken;
        found.why = result.why;
        found.token = result.token;
    }
    if (!bad.empty() && !found.failed) {
        found.failed = found.broken = true;
        found.why = bad;
    }
    if (found.failed) found.exhausted = false;
    return found;
}

}  // namespace shm::explore
