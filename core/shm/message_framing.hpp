// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include <shm/bip_buffer.hpp>

namespace shm {
inline namespace v1 {

/// What became of a message. `full` may be sent later, `too_large` never.
enum class send_result : std::uint8_t { sent, full, too_large, corrupt };

/// Messages of any length over a bip buffer of 64-bit words: a sender and a receiver, each made of one of its ends.
///
///     using framing = shm::message_framing<>;
///     auto bytes = shm::heap_region::create(framing::buffer::required_size(512)).value();
///     auto buffer = framing::buffer::create(bytes.region(), 512).value();
///     framing::sender sender{buffer.claim_producer(shm::this_process().value()).value()};
///     framing::receiver receiver{buffer.claim_consumer(shm::this_process().value()).value()};
///     if (sender.try_send(std::as_bytes(std::span{"hello"})) != shm::send_result::sent) return;
///     if (const auto message = receiver.try_receive()) assert(message->bytes().size() == 6);
///     receiver.consume();
///
/// Promise    a message received is the message sent, whole and in one piece; messages come in order, each once. One of no
///            bytes is a message. After a receiver's death its successor sees again what was not consumed
/// Progress   wait-free, in the bytes of the message sent; `try_receive` copies nothing
/// Callers    one thread at a time uses the sender, one the receiver
/// Shape      a message is a word that holds its length in bytes, then its bytes, zeroed up to the next word. So it is aligned
///            to 8. The largest message is 8 * (capacity - 1) bytes
/// Edges      those of bip_buffer_raw
/// Refuses    none of its own
/// Crash      a sender that dies has sent nothing of a message, or all
/// Trust      hostile: a length is read once, and one that reaches past what was published latches `corrupt`; nothing is
///            received then, for ever. A message's bytes may change while they are read: copy, check the copy, use the copy
/// Source     none
template <class Position = std::uint64_t, atomics_layer Atomics = std_atomics>
struct message_framing {
    using buffer = bip_buffer<std::uint64_t, Position, Atomics>;  ///< what the messages lie in
    using slot = typename buffer::slot;                           ///< what holds a word

    /// The words that a message of `size_bytes` takes.
    [[nodiscard]] static constexpr std::size_t words(std::size_t size_bytes) noexcept {
        return 1 + size_bytes / sizeof(std::uint64_t) + (size_bytes % sizeof(std::uint64_t) != 0);
    }

    /// A message where it lies.
    struct message {
        std::span<const slot> slots;  ///< its words; the last may be filled in part
        std::size_t size_bytes;       ///< its length

        /// Its bytes, aligned to 8, valid until `consume`.
        [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
            return std::as_bytes(values(slots)).first(size_bytes);
        }
    };

    class sender;
    class receiver;
};

/// The writing end. Move-only.
template <class Position, atomics_layer Atomics>
class message_framing<Position, Atomics>::sender {
public:
    /// Sends with that end, which nothing else was granted.
    explicit sender(typename buffer::producer end) noexcept : end_{std::move(end)} {}

    /// What was moved from has prepared nothing, and sends nothing.
    sender(sender&& other) noexcept : end_{std::move(other.end_)}, prepared_{std::exchange(other.prepared_, {})} {}

    /// Likewise.
    sender& operator=(sender&& other) noexcept {
        end_ = std::move(other.end_);
        prepared_ = std::exchange(other.prepared_, {});
        return *this;
    }
    ~sender() = default;

    /// Sends a copy of `bytes`.
    [[nodiscard]] send_result try_send(std::span<const std::byte> bytes) noexcept {
        prepared_ = {};
        const auto grant = end_.try_grant(words(bytes.size()));
        if (!grant) return why_not(grant.result);
        grant.slots[0].write(bytes.size());
        std::size_t slot = 1;
        std::uint64_t word = 0;
        for (; bytes.size() >= sizeof word; bytes = bytes.subspan(sizeof word)) {
            std::memcpy(&word, bytes.data(), sizeof word);
            grant.slots[slot++].write(word);
        }
        if (!bytes.empty()) {
            word = 0;
            std::memcpy(&word, bytes.data(), bytes.size());
            grant.slots[slot].write(word);
        }
        end_.commit(grant.slots.size());
        return send_result::sent;
    }

    /// A place for a message, or why there is none.
    struct place {
        send_result result;          ///< `sent` once it is committed, or why not
        std::span<std::byte> bytes;  ///< aligned to 8, to be filled; nothing is sent before `commit`

        /// Whether there is one, of any size.
        explicit operator bool() const noexcept { return result == send_result::sent; }
    };

    /// A place where a message of up to `size_bytes` can be made, until it is committed or something else is sent or prepared.
    [[nodiscard]] place try_prepare(std::size_t size_bytes) noexcept {
        prepared_ = {};
        const auto grant = end_.try_grant(words(size_bytes));
        if (!grant) return {why_not(grant.result), {}};
        prepared_ = grant.slots;
        return {send_result::sent, std::as_writable_bytes(values(grant.slots.subspan(1))).first(size_bytes)};
    }

    /// Sends the first `size_bytes` of what was prepared. Precondition: something was, and was that large. If not, nothing is
    /// sent, and it says so.
    bool commit(std::size_t size_bytes) noexcept {
        const auto prepared = std::exchange(prepared_, {});
        assert(words(size_bytes) <= prepared.size());
        if (words(size_bytes) > prepared.size()) return false;
        const auto bytes = std::as_writable_bytes(values(prepared.first(words(size_bytes)).subspan(1)));
        std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(size_bytes), bytes.end(), std::byte{0});
        prepared[0].write(size_bytes);
        end_.commit(words(size_bytes));
        return true;
    }

    /// The largest message that is ever sent, in bytes.
    [[nodiscard]] std::size_t max_size_bytes() const noexcept {
        return (std::size_t{end_.max_grant()} - 1) * sizeof(std::uint64_t);
    }

    /// What has been published so far. A message that does not fit may have moved it: who sleeps then wakes the receiver
    /// first, as only its next look makes room.
    [[nodiscard]] Position published() const noexcept { return end_.published(); }

    /// Whether the receiver's position has ever been nonsense. Then nothing more is sent.
    [[nodiscard]] bool corrupt() const noexcept { return end_.corrupt(); }

private:
    [[nodiscard]] static send_result why_not(grant_result refused) noexcept {
        if (refused == grant_result::full) return send_result::full;
        return refused == grant_result::too_large ? send_result::too_large : send_result::corrupt;
    }

    typename buffer::producer end_;
    std::span<slot> prepared_;  // with the word of its length
};

/// The reading end. Move-only.
template <class Position, atomics_layer Atomics>
class message_framing<Position, Atomics>::receiver {
public:
    /// Receives with that end.
    explicit receiver(typename buffer::consumer end) noexcept : end_{std::move(end)} {}

    /// The oldest message, where it lies; nothing when there is none. It stays until `consume`, and is the same until then.
    [[nodiscard]] std::optional<message> try_receive() noexcept {
        const auto found = end_.peek(1);
        if (found.empty()) return std::nullopt;
        if (size_in_words_ == 0) {
            const std::uint64_t size_bytes = found[0].read();
            if (size_bytes > (found.size() - 1) * sizeof(std::uint64_t)) {  // a message is published whole
                end_.condemn();
                return std::nullopt;
            }
            size_bytes_ = static_cast<std::size_t>(size_bytes);
            size_in_words_ = words(size_bytes_);
        }
        return message{found.subspan(1, size_in_words_ - 1), size_bytes_};
    }

    /// Gives the message received back; nothing when there is none.
    void consume() noexcept { end_.consume(std::exchange(size_in_words_, 0)); }

    /// What has been given back so far. A look may have moved it, also one that finds nothing: a sender that sleeps is to be
    /// woken then.
    [[nodiscard]] Position consumed() const noexcept { return end_.consumed(); }

    /// Whether a position, watermark or length has ever been nonsense. Then nothing more is received.
    [[nodiscard]] bool corrupt() const noexcept { return end_.corrupt(); }

private:
    typename buffer::consumer end_;
    std::size_t size_in_words_ = 0;  // of the message received, its length included; 0: none
    std::size_t size_bytes_ = 0;
};

}  // namespace v1
}  // namespace shm
