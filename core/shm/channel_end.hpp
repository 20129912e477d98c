// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <shm/message_framing.hpp>
#include <shm/wakeup.hpp>

namespace shm {
inline namespace v1 {

/// What one side of a channel has done since it was made.
struct channel_stats {
    std::uint64_t messages_sent = 0;      ///< by this side
    std::uint64_t bytes_sent = 0;         ///< likewise
    std::uint64_t messages_received = 0;  ///< likewise
    std::uint64_t bytes_received = 0;     ///< likewise
    std::uint64_t bells_rung = 0;         ///< so often the peer slept when there was something for it
};

/// One side of a duplex channel of messages: a sender, a receiver, and a way to sleep until the other side has done
/// something. `channel` is one with its memory; this is the protocol. Move-only.
///
/// Promise    messages come whole, in order, each once: the next is not there before the last was consumed. Whoever waits is
///            woken by what he waits for, or told that it cannot come any more; what a dead peer has sent is received first
/// Progress   try_send, try_prepare, commit, try_receive, consume: wait-free, but for one system call, which does not wait, if
///            the peer sleeps. send, receive, wait: block until their deadline
/// Callers    one thread at a time
/// Shape      two bip buffers of messages and the two words of a wakeup
/// Edges      those of message_framing and wakeup
/// Refuses    send, prepare, receive: `timed_out`, `peer_dead`, `message_size`, `corrupt`. All that wait: `wrong_process`, and
///            what the bell refuses
/// Fork       as wakeup and placed_stream
/// Crash      a side that dies has sent a message or nothing of it. What it has received and not consumed is received again
///            by its successor
/// Trust      as message_framing and wakeup
/// Source     none
template <wakeup_bell Bell = doorbell, class Position = std::uint64_t, atomics_layer Atomics = std_atomics>
class channel_end {
public:
    using framing = message_framing<Position, Atomics>;  ///< of both directions
    using message = typename framing::message;           ///< as received, where it lies
    using waker = wakeup<Bell, Atomics>;                 ///< wakes the peer, and is woken by it

    /// The side whose ends and words these are.
    channel_end(waker wake, typename framing::sender out, typename framing::receiver in) noexcept
        : wake_{std::move(wake)}, out_{std::move(out)}, in_{std::move(in)} {}

    /// Sends a copy of `bytes`, as soon as there is room for it.
    [[nodiscard]] result<void> send(std::span<const std::byte> bytes, deadline until = deadline::max()) noexcept {
        const auto once = [&] { return out_.try_send(bytes); };
        if (const auto refused = wait_for_room(once, bytes.size(), until)) return *refused;
        sent(bytes.size());
        return {};
    }

    /// A place where a message of up to `size_bytes` can be made, as soon as there is room for it; then `commit`.
    [[nodiscard]] result<std::span<std::byte>> prepare(std::size_t size_bytes,
                                                       deadline until = deadline::max()) noexcept {
        typename framing::sender::place found{};
        const auto once = [&] { return (found = out_.try_prepare(size_bytes)).result; };
        if (const auto refused = wait_for_room(once, size_bytes, until)) return *refused;
        return found.bytes;
    }

    /// Sends the first `size_bytes` of what was prepared. Precondition: something was, and was that large.
    void commit(std::size_t size_bytes) noexcept {
        if (out_.commit(size_bytes)) sent(size_bytes);
    }

    /// The oldest message, as soon as there is one. It stays until `consume`, and is the same until then.
    [[nodiscard]] result<message> receive(deadline until = deadline::max()) noexcept {
        const auto woken = wait(until);
        if (const auto found = try_receive()) return *found;  // which tells, if it gives room back
        if (const auto refused = why_not(woken, "message")) return *refused;
        return fault{fault_kind::corrupt, 0, 1};
    }

    /// Gives the message received back; nothing when there is none.
    void consume() noexcept {
        in_.consume();
        counted_ = false;
        tell();
    }

    /// Sends a copy of `bytes` if there is room for it now.
    [[nodiscard]] send_result try_send(std::span<const std::byte> bytes) noexcept {
        const auto outcome = look_for_room([&] { return out_.try_send(bytes); });
        if (outcome == send_result::sent) sent(bytes.size());
        return outcome;
    }

    /// The oldest message, if there is one now.
    [[nodiscard]] std::optional<message> try_receive() noexcept {
        const auto before = in_.consumed();
        const auto found = in_.try_receive();
        if (in_.consumed() != before) tell();  // what was skipped has been given back
        if (found && !std::exchange(counted_, true)) {
            ++stats_.messages_received;
            stats_.bytes_received += found->size_bytes;
        }
        return found;
    }

    /// Waits until there is a message, but does not take it.
    [[nodiscard]] result<wakeup_result> wait(deadline until = deadline::max()) noexcept {
        return wake_.wait([this] { return anything(); }, until);
    }

    /// For an event loop of the caller's, which sleeps on the bell's descriptor: false if there is something to be received,
    /// or to be told; else the peer will ring when there is. Ended by `awake`.
    [[nodiscard]] bool announce() noexcept {
        return wake_.announce([this] { return anything(); });
    }

    /// The end of that sleep. The bell is to be drained after it, and try_receive called until there is nothing.
    void awake() noexcept { wake_.awake(); }

    /// What the peer rings.
    [[nodiscard]] Bell& bell() noexcept { return wake_.bell(); }

    /// Another bell in place of this one, over which a successor of the peer rings.
    void change_bell(waker wake) noexcept { wake_ = std::move(wake); }

    /// The largest message that is ever sent, in bytes.
    [[nodiscard]] std::size_t max_size_bytes() const noexcept { return out_.max_size_bytes(); }

    /// Whether a word that the peer writes has ever been nonsense. Then that direction is over.
    [[nodiscard]] bool corrupt() const noexcept { return out_.corrupt() || in_.corrupt(); }

    /// What this side has done.
    [[nodiscard]] const channel_stats& stats() const noexcept { return stats_; }

private:
    [[nodiscard]] bool anything() noexcept { return try_receive() || in_.corrupt() || refused_; }

    /// One try to find room. Where there is none, an empty run may have been published, to make some, which only the peer
    /// can go past: it is told so.
    template <class Try>
    [[nodiscard]] send_result look_for_room(Try once) noexcept {
        const auto before = out_.published();
        const send_result outcome = once();
        if (outcome == send_result::full && out_.published() != before) tell();
        return outcome;
    }
    template <class Try>
    [[nodiscard]] std::optional<fault> wait_for_room(Try once, std::size_t size_bytes, deadline until) noexcept {
        send_result outcome = send_result::full;
        const auto settled = [&] { return (outcome = look_for_room(once)) != send_result::full || refused_; };
        const auto woken = wake_.wait(settled, until);
        switch (outcome) {
            case send_result::sent: return std::nullopt;
            case send_result::too_large: return fault{fault_kind::message_size, out_.max_size_bytes(), size_bytes};
            case send_result::corrupt: return fault{fault_kind::corrupt, 0, 1};
            case send_result::full: break;
        }
        return why_not(woken, "room for a message");
    }
    [[nodiscard]] std::optional<fault> why_not(const result<wakeup_result>& woken, const char* what) noexcept {
        if (const auto refused = std::exchange(refused_, std::nullopt)) {
            tell();  // once more: the peer may still sleep
            return refused;
        }
        if (!woken) return woken.error();
        if (*woken == wakeup_result::timed_out) return fault{fault_kind::timed_out, 1, 0, what};
        if (*woken == wakeup_result::peer_dead) return fault{fault_kind::peer_dead, 1, 0};
        return std::nullopt;
    }
    void sent(std::size_t size_bytes) noexcept {
        ++stats_.messages_sent;
        stats_.bytes_sent += size_bytes;
        tell();
    }

    /// Rings if the peer sleeps. What the bell refuses is told by the next call that can.
    void tell() noexcept {
        const auto told = wake_.notify();
        if (!told)
            refused_ = told.error();
        else if (*told == notify_result::rung)
            ++stats_.bells_rung;
    }

    waker wake_;  // the first, so that the bell ends last: the peer may take its end for the end of the claims too
    typename framing::sender out_;
    typename framing::receiver in_;
    bool counted_ = false;  // the message that is there
    std::optional<fault> refused_;
    channel_stats stats_;
};

}  // namespace v1
}  // namespace shm
