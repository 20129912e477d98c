// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Sends a file through a channel to a consumer that is killed on the way; another takes over where it stopped.
//
//     producer: pread into a message where it lies, commit  ->  channel  ->  consumer: pwrite from where it lies, consume
//
// The consumer is this program started again; all it is given are the numbers of two descriptors. Its death is told to the
// producer by the kernel, wherever it waits. What the dead one had received and not consumed is received again: it is written
// to the same place of the output. The output gets its name only when both have the same SHA-256.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <shm/channel.hpp>
#include <shm/proof_of_death.hpp>

#include "examples/support.hpp"

namespace {

using namespace support;

struct options {
    std::string file;
    std::string to;
    std::string channel;
    std::uint64_t size_mb = 64;
    unsigned kills = 1;
};

constexpr std::size_t block_size_bytes = 64 * 1024;

/// In front of the bytes of a message. A message of none ends the file.
struct label {
    std::uint64_t offset;
};

void consume(const options& chosen) {
    auto channel = need(shm::channel::join(need(shm::channel_invitation::from_arg(chosen.channel))));
    const shm::unique_fd to{open(chosen.to.c_str(), O_WRONLY | O_CLOEXEC)};
    if (!to) fail_with_errno("cannot write " + chosen.to);
    for (;;) {
        const auto message = need(channel.receive());
        label at{};
        if (message.size_bytes < sizeof at)
            throw failure{"bytes in a message: expected at least 8, found " + text(message.size_bytes)};
        std::memcpy(&at, message.bytes().data(), sizeof at);
        auto rest = message.bytes().subspan(sizeof at);
        if (rest.empty()) break;
        while (!rest.empty()) {
            const ssize_t count = pwrite(to.get(), rest.data(), rest.size(), static_cast<off_t>(at.offset));
            if (count < 0 && errno != EINTR) fail_with_errno("cannot write " + chosen.to);
            if (count < 0) continue;
            at.offset += static_cast<std::uint64_t>(count);
            rest = rest.subspan(static_cast<std::size_t>(count));
        }
        channel.consume();  // done, whatever happens now
    }
    channel.consume();
    need(channel.send({}));
}

class producer {
public:
    explicit producer(std::string to) : to_{std::move(to)} { start_consumer(); }
    producer(const producer&) = delete;
    producer& operator=(const producer&) = delete;
    ~producer() {
        if (consumer_ == -1) return;
        kill(consumer_, SIGKILL);
        static_cast<void>(shm::reap(consumer_));
    }

    /// Sends up to a block of the file. Returns how many bytes.
    std::size_t send(const source& from, std::uint64_t offset) {
        const auto place = until_done([&] { return channel_.prepare(sizeof(label) + block_size_bytes); });
        const label at{offset};
        std::memcpy(place.data(), &at, sizeof at);
        const std::size_t count = read_at(from, offset, place.subspan(sizeof at));
        channel_.commit(sizeof at + count);
        return count;
    }

    /// Waits until the consumer has written all.
    void finish() {
        until_done([&] { return channel_.receive(); });
        channel_.consume();
        const auto end = need(shm::reap(std::exchange(consumer_, -1)));
        if (end.status != 0) throw failure{""};  // it has said why
    }

    void kill_consumer() {
        const auto before = clock_type::now();
        kill(consumer_, SIGKILL);
        while (channel_.wait().value() != shm::wakeup_result::peer_dead) channel_.consume();
        told_ = std::chrono::duration<double, std::micro>{clock_type::now() - before}.count();
    }

    [[nodiscard]] const shm::channel_stats& stats() const { return channel_.stats(); }

private:
    /// Does what waits for the consumer; when that one has died, again with the next.
    template <class Wait>
    typename std::invoke_result_t<Wait>::value_type until_done(Wait wait) {
        for (;;) {
            auto done = wait();
            if (done) return *std::move(done);
            if (done.error().what != shm::fault_kind::peer_dead) throw failure{done.error().sentence()};
            const auto end = need(shm::reap(std::exchange(consumer_, -1)));
            if (!WIFSIGNALED(end.status)) throw failure{"", peer_died};  // it has said why
            std::printf("consumer %d was killed: told %.0f us later\n", end.proof.peer().id, told_);
            start_consumer();
        }
    }

    void start_consumer() {
        const shm::channel_invitation invited = need(channel_.invite());
        std::fflush(nullptr);  // or both print it
        consumer_ = fork();
        if (consumer_ < 0) fail_with_errno("cannot start the consumer");
        if (consumer_ == 0) {
            const auto numbers = invited.to_arg();
            if (invited.keep_open())
                execl("/proc/self/exe", "take_over", shm::channel_invitation::arg_name, numbers.c_str(), "--to",
                      to_.c_str(), nullptr);
            _exit(failed);
        }
        std::printf("consumer %d starts\n", consumer_);
    }

    std::string to_;
    shm::channel channel_ = need(shm::channel::create({.capacity_bytes = std::size_t{1} << 20, .memory = {}}));
    pid_t consumer_ = -1;
    double told_ = 0;  // so many microseconds after the kill
};

void run(const options& chosen) {
    const source from = chosen.file.empty() ? make_sample(chosen.size_mb * 1'000'000) : open_source(chosen.file);
    output to{chosen.to.empty() ? temporary("taken_over-" + std::to_string(getpid())).string() : chosen.to,
              places::needed};
    hasher sent{true};
    producer blocks{to.partial()};
    progress bar{"sending", from.size_bytes};
    unsigned kills = 0;
    std::vector<std::byte> again(block_size_bytes);
    const auto start = clock_type::now();
    for (std::uint64_t offset = 0;;) {
        const std::size_t count = blocks.send(from, offset);
        sent.add(bytes{again}.first(read_at(from, offset, std::span{again}.first(count))));
        if (count == 0) break;
        bar.show(offset += count);
        if (kills < chosen.kills && offset > from.size_bytes / (chosen.kills + 1) * (kills + 1)) {
            ++kills;
            blocks.kill_consumer();
        }
    }
    blocks.finish();
    progress::clear();
    const double seconds = std::chrono::duration<double>(clock_type::now() - start).count();
    const digest expected = sent.finish();
    expect("SHA-256 of the output", expected, to.sha256());
    std::printf("%s in %.2f s, %u kills, %ju bells rung for who slept\n",
                megabytes(from.size_bytes, from.size_bytes).c_str(), seconds, kills,
                std::uintmax_t{blocks.stats().bells_rung});
    std::printf("SHA-256 of both files %s\n", text(expected).c_str());
    if (!chosen.to.empty()) to.keep();
}

}  // namespace

int main(int argc, char** argv) {
    options chosen;
    CLI::App app{"Sends a file to another process, which is killed on the way and replaced."};
    app.add_option("FILE", chosen.file, "the file to send; a sample if there is none");
    app.add_option("--to", chosen.to, "the file to write; a temporary one if there is none");
    app.add_option("--size-mb", chosen.size_mb, "of the sample")->check(CLI::Range(1, 100'000))->capture_default_str();
    app.add_option("--kills", chosen.kills, "how often the consumer is killed")
        ->check(CLI::Range(0, 1000))
        ->capture_default_str();
    app.add_option(shm::channel_invitation::arg_name, chosen.channel)->group("");
    app.footer("Exit status: 0 the file arrived, 1 it did not, 2 wrong usage, 3 the consumer failed.");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? arrived : misused;
    }
    return exit_status_of("take_over", [&] { chosen.channel.empty() ? run(chosen) : consume(chosen); });
}
