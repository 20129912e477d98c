// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Sends a file from one process to another through a ring in sealed shared memory, then compares with a pipe.
//
//     producer: pread into a free slot, commit  ->  spsc_ring<chunk>  ->  consumer: peek, write from the slot, consume
//
// Neither side copies: the kernel reads the file into the very slot that it writes the output from. The consumer is this
// program started again; all it is given is the descriptor of the memory. Each side watches over the other's life while
// it waits, and the stream ends with a marker, so that a death is never taken for the end and nobody waits for the dead.
// The output gets its name only when both have the same SHA-256.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <shm/memfd_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/spsc_ring.hpp>

#include "examples/support.hpp"

namespace {

using namespace support;

struct options {
    std::string file;
    std::string to;
    std::uint64_t size_mb = 256;
    int rounds = 5;
    bool verbose = false;
    bool quiet = false;
    bool pipe = false;
    int consume_fd = -1;
    int producer = 0;
};

/// Thrown where the other process is found to have ended. Its pid is known further out, where this becomes a failure.
struct peer_ended {};

// 64 KiB make a system call cheap beside its bytes; four of them are still in the core's own cache when they are read.
constexpr std::size_t chunk_size_bytes = 64 * 1024;
constexpr std::size_t ring_capacity = 4;

enum class chunk_kind : std::uint32_t { data, end };

struct chunk_label {
    chunk_kind kind;
    std::uint32_t size_bytes;  // of the data
    std::uint64_t offset;      // of the data in the file
    std::uint64_t file_size_bytes;
    digest whole_file;  // in the end marker
};
struct chunk {
    chunk_label label;
    alignas(64) std::array<std::byte, chunk_size_bytes - 64> data;
};
static_assert(sizeof(chunk) == chunk_size_bytes);

using chunk_ring = shm::spsc_ring<chunk>;

void check(const chunk_ring& ring, bool corrupt) {
    const shm::ring_status now = ring.status();
    if (corrupt)
        throw failure{shm::fault{shm::fault_kind::positions, now.capacity, now.published - now.consumed}.sentence()};
}

class ring_sender {
public:
    static constexpr const char* name = "ring";

    /// What the consumer is given.
    [[nodiscard]] int descriptor() const { return memory_.fd(); }
    void handed_to(pid_t consumer) { consumer_ = consumer; }

    /// A chunk to be filled in place, and sent.
    chunk& next() {
        const auto ready = [this] { return end_.corrupt() || !end_.reserve(1).empty(); };
        if (!wait_until(ready, [this] { return has_ended(consumer_); })) throw peer_ended{};
        check(ring_, end_.corrupt());
        return end_.reserve(1).front().value;
    }
    void send() { end_.commit(1); }

private:
    shm::memfd_region memory_ = need(shm::memfd_region::create(chunk_ring::required_size(ring_capacity)));
    chunk_ring ring_ = need(chunk_ring::create(memory_.region(), ring_capacity));
    chunk_ring::producer end_ = need(ring_.claim_producer(need(shm::this_process())));
    pid_t consumer_ = -1;
};

class ring_receiver {
public:
    explicit ring_receiver(shm::unique_fd memory) : memory_{need(shm::memfd_region::attach(std::move(memory)))} {}

    /// The oldest chunk, to be read in place, and then done with.
    const chunk& next() {
        const auto ready = [this] { return end_.corrupt() || !end_.peek(1).empty(); };
        if (!wait_until(ready, [this] { return !watch_ || watch_->wait(); })) throw peer_ended{};
        check(ring_, end_.corrupt());
        return end_.peek(1).front().value;
    }
    void done() { end_.consume(1); }

private:
    shm::memfd_region memory_;
    chunk_ring ring_ = need(chunk_ring::attach(memory_.region()));
    chunk_ring::consumer end_ = need(ring_.claim_consumer(need(shm::this_process())));
    shm::result<shm::process_watch> watch_ =
        shm::process_watch::open(ring_.status().producer);  // a fault when it has ended already
};

class pipe_sender {
public:
    static constexpr const char* name = "pipe";

    pipe_sender() {
        std::array<int, 2> ends{};
        if (pipe2(ends.data(), O_CLOEXEC) != 0) fail_with_errno("pipe");
        reading_ = shm::unique_fd{ends[0]};
        writing_ = shm::unique_fd{ends[1]};
        fcntl(ends[1], F_SETPIPE_SZ, ring_capacity * chunk_size_bytes);  // what the ring holds; else the default
    }
    [[nodiscard]] int descriptor() const { return reading_.get(); }
    void handed_to(pid_t) { reading_ = shm::unique_fd{}; }  // held here too, it would hide the consumer's death

    chunk& next() { return *chunk_; }
    void send() {
        if (write_all(writing_.get(), std::as_bytes(std::span{chunk_.get(), 1}))) return;
        if (errno == EPIPE) throw peer_ended{};
        fail_with_errno("pipe");
    }

private:
    shm::unique_fd reading_;
    shm::unique_fd writing_;
    std::unique_ptr<chunk> chunk_ = std::make_unique<chunk>();
};

class pipe_receiver {
public:
    explicit pipe_receiver(shm::unique_fd fd) : fd_{std::move(fd)} {}

    const chunk& next() {
        std::span<std::byte> rest = std::as_writable_bytes(std::span{chunk_.get(), 1});
        while (!rest.empty()) {
            const ssize_t count = read(fd_.get(), rest.data(), rest.size());
            if (count == 0) throw peer_ended{};
            if (count < 0 && errno != EINTR) fail_with_errno("pipe");
            if (count > 0) rest = rest.subspan(static_cast<std::size_t>(count));
        }
        return *chunk_;
    }
    void done() {}

private:
    shm::unique_fd fd_;
    std::unique_ptr<chunk> chunk_ = std::make_unique<chunk>();
};

/// Sends the file and its end marker. `sent` says how far it came, whatever happens.
template <class Sender>
digest send_file(Sender& to, const source& from, hasher hash, std::uint64_t& sent) {
    progress bar{to.name, from.size_bytes};
    while (sent <= from.size_bytes) {  // past its end only when it grows, and then one chunk is enough to notice
        chunk& next = to.next();
        const std::size_t count = read_at(from, sent, next.data);
        if (count == 0) break;
        next.label = {chunk_kind::data, static_cast<std::uint32_t>(count), sent, from.size_bytes, {}};
        hash.add(bytes{next.data}.first(count));
        to.send();
        bar.show(sent += count);
    }
    expect(from.path + " changed while it was sent: size in bytes", from.size_bytes, sent);
    const digest whole_file = hash.finish();
    to.next().label = {chunk_kind::end, 0, sent, from.size_bytes, whole_file};
    to.send();
    return whole_file;
}

/// Receives up to the end marker, whose hash must be that of what arrived.
template <class Receiver>
digest receive_file(Receiver& from, output& to, hasher hash, std::uint64_t& received, std::uint64_t& total) {
    for (;;) {
        const chunk& next = from.next();
        const chunk_label label = shm::copy_out(next.label);  // read once: what is checked is what is used
        expect("offset of a chunk in the file", received, label.offset);
        const std::size_t least = label.kind == chunk_kind::end ? 0 : 1;  // or it would never end
        expect<std::size_t>("bytes in a chunk", std::clamp<std::size_t>(label.size_bytes, least, next.data.size()),
                            label.size_bytes);
        total = label.file_size_bytes;
        if (label.kind != chunk_kind::end)
            expect("kind of a chunk", std::uint32_t{0}, static_cast<std::uint32_t>(label.kind));
        if (label.kind == chunk_kind::end) {
            const digest found = hash.finish();
            expect("bytes in the file", total, received);
            expect("SHA-256", label.whole_file, found);
            from.done();
            return found;
        }
        const bytes data = bytes{next.data}.first(label.size_bytes);
        to.write(data);
        hash.add(data);
        received += data.size();
        from.done();
    }
}

void print(const char* who, const char* did, std::uint64_t size_bytes, const digest& sha256) {
    std::printf("%s (process %d) %s %ju bytes, SHA-256 %s\n", who, getpid(), did, std::uintmax_t{size_bytes},
                text(sha256).c_str());
    std::fflush(stdout);
}

template <class Receiver>
void consume(const options& chosen) {
    Receiver from{shm::unique_fd{chosen.consume_fd}};
    output to{chosen.to};
    std::uint64_t received = 0;
    std::uint64_t total = 0;
    try {
        const digest sum = receive_file(from, to, hasher{!chosen.to.empty()}, received, total);
        to.keep();
        if (!chosen.quiet) print("consumer", "wrote", received, sum);
    } catch (const peer_ended&) {
        const std::string when = received == 0 ? "before anything arrived" : "after " + megabytes(received, total);
        throw failure{"the producer (process " + std::to_string(chosen.producer) + ") died " + when, peer_died};
    }
}

/// This program, started once more.
class consumer_process {
public:
    consumer_process(int descriptor, const options& chosen) : to_{chosen.to} {
        std::vector<std::string> words{"send_file", "--consume-fd", "3", "--producer", std::to_string(getpid())};
        if (!to_.empty()) words.insert(words.end(), {"--to", to_});
        if (chosen.pipe) words.emplace_back("--pipe");
        if (chosen.quiet) words.emplace_back("--quiet");
        std::vector<char*> arguments;
        for (auto& word : words) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, descriptor, 3);  // all others are closed on exec
        errno = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
        posix_spawn_file_actions_destroy(&actions);
        if (errno != 0) fail_with_errno("cannot start the consumer");
    }
    consumer_process(const consumer_process&) = delete;
    consumer_process& operator=(const consumer_process&) = delete;
    ~consumer_process() {
        if (pid_ == -1) return;
        kill(pid_, SIGKILL);  // it waits for what will not come
        static_cast<void>(wait());
    }

    [[nodiscard]] pid_t pid() const { return pid_; }

    void finish(bool sent_all, const std::string& how_far) {
        const std::string who = "the consumer (process " + std::to_string(pid_) + ") ";
        const int status = wait();
        if (WIFSIGNALED(status)) throw failure{who + "died after " + how_far, peer_died};
        if (WEXITSTATUS(status) != arrived) throw failure{"", WEXITSTATUS(status)};
        if (!sent_all) throw failure{who + "left after " + how_far};
    }

private:
    int wait() {
        const pid_t child = std::exchange(pid_, -1);
        const auto end = shm::reap(child);
        if (!end) return failed << 8;  // as waitpid would say it
        if (WIFSIGNALED(end->status) && !to_.empty()) unlink(partial_name(to_, child).c_str());
        return end->status;
    }

    std::string to_;
    pid_t pid_ = -1;
};

/// Sends the file once. Returns the seconds it took, from before the consumer's start to after its end.
template <class Sender>
double transfer(const source& from, const options& chosen) {
    const auto start = clock_type::now();
    Sender to;
    consumer_process consumer{to.descriptor(), chosen};
    to.handed_to(consumer.pid());
    if (chosen.verbose) std::fprintf(stderr, "producer %d, consumer %d\n", getpid(), consumer.pid());
    std::uint64_t sent = 0;
    std::optional<digest> sum;
    try {
        sum = send_file(to, from, hasher{!chosen.to.empty()}, sent);
        if (!chosen.quiet) print("producer", "read ", sent, *sum);
    } catch (const peer_ended&) {
        sum.reset();  // `finish` knows how
    }
    consumer.finish(sum.has_value(), megabytes(sent, from.size_bytes));
    return std::chrono::duration<double>(clock_type::now() - start).count();
}

/// Ring and pipe in turn over the same file: the medians, and the median of how much faster the ring was in each round.
void compare(const char* what, const source& from, const options& chosen) {
    std::vector<double> ring;
    std::vector<double> pipe;
    std::vector<double> ratio;
    for (int round = 0; round < chosen.rounds; ++round) {
        for (const bool now_pipe : {round % 2 != 0, round % 2 == 0}) {
            options how = chosen;
            how.pipe = now_pipe;
            if (now_pipe)
                pipe.push_back(transfer<pipe_sender>(from, how));
            else
                ring.push_back(transfer<ring_sender>(from, how));
            if (!how.to.empty()) unlink(how.to.c_str());
        }
        ratio.push_back(pipe.back() / ring.back());
    }
    const double size_mb = static_cast<double>(from.size_bytes) / 1e6;
    std::printf("%-42s %6.0f MB/s %6.0f MB/s %6.2f\n", what, size_mb / median(ring), size_mb / median(pipe),
                median(ratio));
}

void produce(options chosen) {
    const source from = chosen.file.empty() ? make_sample(chosen.size_mb * 1'000'000) : open_source(chosen.file);
    const std::string scratch = temporary(std::to_string(getpid()));
    const bool keep = !chosen.to.empty();
    if (!keep) chosen.to = scratch;
    chosen.pipe ? transfer<pipe_sender>(from, chosen) : transfer<ring_sender>(from, chosen);
    if (!keep) unlink(scratch.c_str());
    if (chosen.rounds == 0 || from.size_bytes == 0) return;
    chosen.quiet = true;
    std::printf("\n%-42s %11s %11s %6s\n", "", "ring", "pipe", "ratio");
    chosen.to = scratch;
    compare("file to file, SHA-256 on both sides", from, chosen);
    chosen.to.clear();
    compare("file to memory, a sum on both sides", from, chosen);
    std::printf("The first is mostly hashing and the file system; the second is mostly ring or pipe.\n");
}

}  // namespace

int main(int argc, char** argv) {
    options chosen;
    CLI::App app{
        "Sends a file from one process to another through a ring in shared memory, then compares with a pipe."};
    app.add_option("FILE", chosen.file, "file to send; without it, a sample that is removed afterwards");
    app.add_option("--to", chosen.to, "file to write; without it, a temporary one that is removed afterwards");
    app.add_option("--size-mb", chosen.size_mb, "size of the sample")
        ->check(CLI::Range(0, 1'000'000))
        ->capture_default_str();
    app.add_option("--rounds", chosen.rounds, "how often to compare ring and pipe; 0: not at all")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_flag("--pipe", chosen.pipe, "send through a pipe, not the ring");
    app.add_flag("--verbose", chosen.verbose, "print the pids of both processes");
    app.add_flag("--quiet", chosen.quiet, "do not print the SHA-256 of both sides");
    // With these two, which --help does not show, it is the consumer.
    app.add_option("--consume-fd", chosen.consume_fd)->group("");
    app.add_option("--producer", chosen.producer)->group("");
    app.footer("Exit status: 0 the file arrived whole, 1 it did not, 2 wrong usage, 3 the other process died.");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? arrived : misused;
    }
    std::signal(SIGPIPE, SIG_IGN);  // errors, not deaths
    std::signal(SIGXFSZ, SIG_IGN);
    return exit_status_of("send_file", [&] {
        if (chosen.consume_fd < 0) return produce(chosen);
        // Sent to both by a terminal or a service manager. The producer obeys; its end is noticed, and tidied up after.
        for (const int signal : {SIGINT, SIGTERM, SIGHUP})
            if (chosen.producer != 0) std::signal(signal, SIG_IGN);
        chosen.pipe ? consume<pipe_receiver>(chosen) : consume<ring_receiver>(chosen);
    });
}
