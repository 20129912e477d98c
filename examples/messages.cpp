// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Sends a log, line by line, to another process that may be killed at any moment. Each line lies in a slot of its own size;
// only the slot's handle travels.
//
//     producer: try_alloc, copy the line into the slot, mark_in_flight, push  ->  spsc_ring<message>
//     consumer: peek, adopt, work on the bytes where they lie, write the results, consume, free_allocated
//
// A line is done at one moment: when `consume` moves the ring's position. The results up to each position have a place of
// their own, which counts from that moment on; in the output each line has its own offset, where it may be written twice. So
// a line that was in work when the consumer died has had no effect. The producer, with the proof of that death, takes over
// the consumer's role, sends that line again, takes back the dead one's slots and starts another consumer. Nothing is lost,
// nothing counts twice. Either side may die; neither is expected to lie.
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <shm/memfd_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/var_slot_pool.hpp>

#include "examples/support.hpp"

namespace {

using namespace support;

struct options {
    std::string log;
    std::string to;
    std::string find = "ERROR";
    std::size_t longest = 64 * 1024;
    bool verbose = false;
};

struct message {
    shm::pool_handle slot;  // none: the end, which stays in the ring for whoever comes next
    std::uint64_t size_bytes;
    std::uint64_t offset;  // in the log, and in the output
};
using ring = shm::spsc_ring<message>;
using pool = shm::var_slot_pool<>;

struct tally {
    std::uint64_t lines = 0;
    std::uint64_t size_bytes = 0;
    std::uint64_t sum = 0;    // of the bytes
    std::uint64_t found = 0;  // lines that hold the text

    void add(bytes line) { *this = {lines + 1, size_bytes + line.size(), sum + sum_of(line), found}; }
};

/// What both processes see: two places for results, the ring and the pool, one after the other.
struct parts {
    static constexpr std::size_t capacity = 1024;
    static constexpr std::size_t ring_at = 128;
    static constexpr std::size_t pool_at = ring_at + (ring::required_size(capacity) + 63) / 64 * 64;

    /// Many slots for short lines, few for long ones.
    static std::vector<shm::pool_class> classes(std::size_t longest) {
        return {{4096, std::min<std::size_t>(longest, 128)},
                {1024, std::min<std::size_t>(longest, 512)},
                {128, std::min<std::size_t>(longest, 4096)},
                {16, longest}};
    }
    static shm::region from(shm::region bytes, std::size_t start) {
        return need(bytes.subregion(start, bytes.size_bytes() - start));
    }
    static parts create(shm::region in, std::size_t longest) {
        return {need(in.get<tally>()), need(ring::create(from(in, ring_at), capacity)),
                need(pool::create(from(in, pool_at), {classes(longest)}))};
    }
    static parts attach(shm::region in) {
        return {need(in.get<tally>()), need(ring::attach(from(in, ring_at))), need(pool::attach(from(in, pool_at)))};
    }

    /// The results up to this position of the ring.
    [[nodiscard]] tally& until(std::uint64_t position) const { return results[position % 2]; }

    [[nodiscard]] std::span<std::byte> bytes_of(const message& sent) const {
        const auto slot = slots.data(sent.slot);
        expect("bytes in a slot", std::min<std::uint64_t>(slot.size(), sent.size_bytes), sent.size_bytes);
        return slot.first(sent.size_bytes);
    }

    tally* results;
    ring messages;
    pool slots;
};

void consume(shm::unique_fd descriptor, const options& chosen, output& to) {
    const auto memory = need(shm::memfd_region::attach(std::move(descriptor)));
    const parts shared = parts::attach(memory.region());
    const auto me = need(shm::this_process());
    auto slots = need(shared.slots.join(me));
    auto from = need(shared.messages.claim_consumer(me));
    const auto watch =
        shm::process_watch::open(shared.messages.status().producer);  // a fault when it has ended already
    for (std::uint64_t position = shared.messages.status().consumed;; ++position) {
        const auto ready = [&] { return from.corrupt() || !from.peek(1).empty(); };
        if (!wait_until(ready, [&] { return !watch || watch->wait(); })) {
            to.discard();  // who would have done it is dead
            throw failure{"the producer died after line " + text(shared.until(position).lines), peer_died};
        }
        if (from.corrupt()) throw failure{"the ring's positions are nonsense"};
        const message next = from.peek(1).front().read();
        if (next.slot == shm::pool_handle{}) return;

        need(slots.adopt(next.slot));
        const bytes line = shared.bytes_of(next);
        to.write_at(line, next.offset);
        tally& results = shared.until(position + 1);
        results = shared.until(position);
        results.add(line);
        const std::string_view words{reinterpret_cast<const char*>(line.data()), line.size()};
        if (words.find(chosen.find) != words.npos) ++results.found;
        from.consume(1);  // done, whatever happens now
        need(slots.free_allocated(next.slot));
    }
}

class producer {
public:
    producer(const options& chosen, output& to) : chosen_{chosen}, to_{to} { start_consumer(); }
    producer(const producer&) = delete;
    producer& operator=(const producer&) = delete;
    ~producer() {
        if (consumer_ == -1) return;
        kill(consumer_, SIGKILL);  // it waits for what will not come
        static_cast<void>(shm::reap(consumer_));
    }

    void send(const line& next) {
        sent_.add(next.text);
        await([&] { return try_send(next); });
    }

    /// Returns the results of all lines when all are done.
    tally finish() {
        await([&] { return end_.available_capacity() == end_.capacity(); });
        await([&] { return end_.try_push({}) == shm::push_result::pushed; });
        while (!consumer_is_done()) {
        }
        const tally found = shared_.until(shared_.messages.status().consumed);
        expect("lines", sent_.lines, found.lines);
        expect("bytes", sent_.size_bytes, found.size_bytes);
        expect("sum of the bytes", sent_.sum, found.sum);
        return found;
    }

    [[nodiscard]] std::uint64_t consumers() const { return consumers_; }
    [[nodiscard]] std::uint64_t reclaimed() const { return reclaimed_; }

private:
    bool try_send(const line& next) {
        if (end_.is_full()) return false;
        const auto slot = slots_.try_alloc(next.text.size());
        if (slot.status() == shm::alloc_status::too_large)
            throw failure{"bytes in line " + text(sent_.lines) + ": expected at most " + text(chosen_.longest) +
                          ", found at least " + text(next.text.size()) + "; --longest makes room for more"};
        if (slot.status() == shm::alloc_status::corrupt) throw failure{"the pool's words are nonsense"};
        if (!slot) return false;  // until the consumer gives one back
        std::memcpy(slots_.data(*slot).data(), next.text.data(), next.text.size());
        need(slots_.mark_in_flight(*slot));
        return end_.try_push({*slot, next.text.size(), next.offset}) == shm::push_result::pushed;
    }

    /// Lines that were in work when a consumer died.
    bool all_sent_again() {
        while (!again_.empty()) {
            if (!try_send({again_.back().first, again_.back().second})) return false;
            again_.pop_back();
        }
        return true;
    }

    template <class Ready>
    void await(Ready ready) {
        const auto all = [&] {
            if (end_.corrupt()) throw failure{"the ring's positions are nonsense"};
            return all_sent_again() && ready();
        };
        while (!wait_until(all, [&] { return has_ended(consumer_); }))
            if (consumer_is_done()) throw failure{"the consumer left before the end"};
    }

    /// Waits for the consumer's end. False: it was killed, and another has taken its place.
    bool consumer_is_done() {
        const auto end = need(shm::reap(std::exchange(consumer_, -1)));
        if (!WIFSIGNALED(end.status)) {
            if (WEXITSTATUS(end.status) != arrived) throw failure{"", WEXITSTATUS(end.status)};  // it has said why
            return true;
        }
        const std::uint64_t done = shared_.messages.status().consumed;
        vain_ = done == done_at_start_ ? vain_ + 1 : 0;
        if (vain_ == 3)
            throw failure{"three consumers in a row were killed before they were done with a line", peer_died};
        send_again_what_was_in_work(end.proof, done);
        for (shm::reclaimed back{.complete = false}; !back.complete; reclaimed_ += back.returned)
            back = need(slots_.reclaim(end.proof));
        start_consumer();
        return false;
    }

    void send_again_what_was_in_work(const shm::proof_of_death& proof, std::uint64_t position) {
        auto role = shared_.messages.take_over_consumer(me_, proof);
        if (!role) return;  // it died before it had claimed it
        const auto oldest = role->peek(1);
        if (oldest.empty()) return;
        const message left = oldest.front().read();
        if (left.slot == shm::pool_handle{}) return;
        if (slots_.adopt(left.slot)) {  // not begun: for its successor
            need(slots_.mark_in_flight(left.slot));
            return;
        }
        const auto line = shared_.bytes_of(left);
        again_.emplace_back(left.offset, std::vector<std::byte>{line.begin(), line.end()});
        shared_.until(position + 1) = shared_.until(position);
        role->consume(1);
    }

    void start_consumer() {
        done_at_start_ = shared_.messages.status().consumed;
        std::fflush(nullptr);  // or both print it
        consumer_ = fork();
        if (consumer_ < 0) fail_with_errno("cannot start the consumer");
        if (consumer_ == 0) {
            for (const int signal : {SIGINT, SIGTERM, SIGHUP})
                std::signal(signal, SIG_IGN);  // the producer's end is noticed
            _exit(exit_status_of("messages", [&] { consume(shm::unique_fd{dup(memory_.fd())}, chosen_, to_); }));
        }
        ++consumers_;
        if (chosen_.verbose) std::fprintf(stderr, "producer %d, consumer %d\n", getpid(), consumer_);
    }

    const options& chosen_;
    output& to_;
    shm::memfd_region memory_ =
        need(shm::memfd_region::create(parts::pool_at + pool::required_size({parts::classes(chosen_.longest)})));
    parts shared_ = parts::create(memory_.region(), chosen_.longest);
    shm::peer_id me_ = need(shm::this_process());
    ring::producer end_ = need(shared_.messages.claim_producer(me_));
    pool::member slots_ = need(shared_.slots.join(me_));
    pid_t consumer_ = -1;
    std::uint64_t done_at_start_ = 0;  // the ring's position
    unsigned vain_ = 0;                // consumers in a row that were done with nothing
    std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> again_;
    tally sent_;
    std::uint64_t consumers_ = 0;
    std::uint64_t reclaimed_ = 0;
};

void run(const options& chosen) {
    line_reader log{chosen.log, chosen.longest};
    output to{chosen.to, places::needed};
    const auto start = clock_type::now();
    hasher sent{!chosen.to.empty()};
    producer lines{chosen, to};
    while (const auto next = log.next()) {
        sent.add(next->text);
        lines.send(*next);
    }
    const tally results = lines.finish();
    const double seconds = std::chrono::duration<double>(clock_type::now() - start).count();
    std::printf("%ju lines, %ju with %s, %ju bytes in %.2f s: %.0f lines/s, %.0f MB/s\n", std::uintmax_t{results.lines},
                std::uintmax_t{results.found}, chosen.find.c_str(), std::uintmax_t{results.size_bytes}, seconds,
                static_cast<double>(results.lines) / seconds, static_cast<double>(results.size_bytes) / 1e6 / seconds);
    std::printf("%ju consumers, %ju slots reclaimed\n", std::uintmax_t{lines.consumers()},
                std::uintmax_t{lines.reclaimed()});
    if (chosen.to.empty()) return;
    const digest expected = sent.finish();
    expect("SHA-256 of " + chosen.to, expected, to.sha256());
    to.keep();
    std::printf("SHA-256 of both files %s\n", text(expected).c_str());
}

}  // namespace

int main(int argc, char** argv) {
    options chosen;
    CLI::App app{"Sends a log, line by line, to another process, which may be killed at any moment."};
    app.add_option("LOG", chosen.log, "file, FIFO or device to read")->required();
    app.add_option("OUT", chosen.to, "file to write");
    app.add_option("--find", chosen.find, "count the lines that hold this")->capture_default_str();
    app.add_option("--longest", chosen.longest, "bytes in the longest line, its newline included; more are refused")
        ->check(CLI::Range(64, 1 << 24))
        ->capture_default_str();
    app.add_flag("--verbose", chosen.verbose, "print the pids of both processes");
    app.footer(
        "Exit status: 0 all lines arrived, 1 they did not, 2 wrong usage, 3 the other process died, again and again.");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? arrived : misused;
    }
    chosen.longest = (chosen.longest + 63) / 64 * 64;  // as slots are rounded up
    std::signal(SIGXFSZ, SIG_IGN);                     // an error, not a death
    return exit_status_of("messages", [&] { run(chosen); });
}
