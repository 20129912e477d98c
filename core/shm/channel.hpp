// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <shm/channel_end.hpp>
#include <shm/memfd_region.hpp>
#include <shm/segment_builder.hpp>

namespace shm {
inline namespace v1 {

/// How a channel is made.
struct channel_options {
    std::size_t capacity_bytes = std::size_t{1} << 16;  ///< of each direction: a power of two from 16
    memfd_options memory = {.name = "shm-channel"};     ///< what it lies in
};

/// What makes another process the other side of a channel: two descriptors, on their way there. Move-only.
///
///     invitation.keep_open().value();                                                           // in the forked child, then
///     execl(program, program, shm::channel_invitation::arg_name, invitation.to_arg().c_str(), nullptr);
///
/// As long as a copy of the descriptors is open anywhere, its holder counts as the other side: drop the invitation once the
/// child has been started.
struct channel_invitation {
    unique_fd memory;      ///< the sealed bytes
    doorbell_handle bell;  ///< the other side's end

    /// Goes before the numbers on a command line.
    static constexpr const char* arg_name = "--channel-fds";

    /// The numbers as text: "5,6".
    [[nodiscard]] std::string to_arg() const;

    /// Takes over the descriptors that `to_arg` named in the program that started this one. Refuses `argument`, and
    /// `system_call` (EBADF) when one is not open; then nothing has been taken over.
    [[nodiscard]] static result<channel_invitation> from_arg(std::string_view text) noexcept;

    /// Lets both stay open in the program that this process becomes by exec.
    [[nodiscard]] result<void> keep_open() const noexcept;

    /// Sends both to any process, over a connected Unix socket, and closes them here. Refuses what send_descriptors refuses;
    /// then they are still here.
    [[nodiscard]] result<void> send(int socket) noexcept;

    /// Receives what was sent so. Refuses what receive_descriptors refuses.
    [[nodiscard]] static result<channel_invitation> receive(int socket) noexcept;
};

/// The words that the two sides of a channel sleep by, and who is invited, in a segment beside its two bip buffers.
template <atomics_layer Atomics = std_atomics>
struct channel_sleepers {
    /// On a line of its own.
    struct alignas(cache_line_bytes) line {
        typename Atomics::template atomic<std::uint32_t> word;                      ///< as in wakeup; 0 or 1
        std::array<typename Atomics::template atomic<std::uint32_t>, 15> reserved;  ///< zero
    };
    std::array<line, 2> of_side;  ///< 0, 64
    line invited;                 ///< 128  which side the last invitation is for
};

/// How a segment holds them.
template <>
struct segment_kind<channel_sleepers<>> {
    using shape = no_shape;                                    ///< none
    using handle = channel_sleepers<>*;                        ///< where they are
    static constexpr std::uint64_t kind = 0x3170656c736d6873;  ///< "shmslep1" in memory, little-endian
    static constexpr bool needs_shape = false;                 ///< they have one size

    /// How large they are.
    [[nodiscard]] static result<segment_block> describe(no_shape) noexcept {
        return segment_block{.kind = kind, .size_bytes = sizeof(channel_sleepers<>)};
    }

    /// Zeroed, both are awake.
    [[nodiscard]] static result<void> create(region, no_shape) noexcept { return {}; }

    /// Finds them.
    [[nodiscard]] static result<channel_sleepers<>*> attach(region bytes, const segment_block&) noexcept {
        return bytes.get<channel_sleepers<>>();
    }
};

/// A duplex channel of messages between two processes, in memory that they share. Move-only.
///
///     auto mine = shm::channel::create().value();
///     auto theirs = shm::channel::join(mine.invite().value()).value();  // elsewhere: the invitation is handed on
///
///     mine.send(std::as_bytes(std::span{"hello"})).value();
///     auto message = theirs.receive().value();
///     assert(message.bytes().size() == 6);
///     theirs.consume();
///
/// Nothing is copied on the way: a message is written where the receiver reads it (`prepare`, or the one copy that `send`
/// makes), and stays there until it is consumed. A message received again after a death is the one that the dead receiver
/// had not consumed: delivery is at least once from `receive` to `consume`, and exactly once but for that.
///
/// Promise    that of channel_end; and that a side has one holder at a time
/// Progress   that of channel_end; create, join and invite make system calls, and may block in them
/// Callers    one thread at a time
/// Shape      a segment in sealed memory, of three blocks: "sleepers", two words on lines of their own; "to side 0" and "to
///            side 1", bip buffers of 64-bit words, with the messages as in message_framing. Who creates is side 0, who joins
///            the side that it was invited for
/// Edges      those of channel_end
/// Refuses    create: `capacity`, and what memfd_region refuses. invite: `busy` while there is another side. join: `busy`,
///            and what memfd_region, segment and doorbell refuse. All else: as channel_end
/// Fork       a forked child destroys its copy, or becomes another program: as long as it holds it, the peer does not learn
///            of its parent's end. The memory is not there in the child: it dies of a SIGSEGV where it uses the copy
/// Crash      the kernel closes a dead process's bell, and the survivor is told: at once if it sleeps, and whenever it would
///            wait. It may then `invite` a successor, which receives what was not consumed; the dead side's claims are
///            given up on its behalf, with the end of its bell as the proof. `fd` is another one from then on
/// Trust      that of channel_end. The end of a bell proves the death of a peer that is crash-prone. A hostile one can close its
///            bell and live on: then two may use its side, which breaks their messages, and nothing else
/// Source     none
class channel {
public:
    using message = channel_end<>::message;  ///< as received, where it lies

    /// Makes one, as its side 0. It can be used at once: what is sent waits for whoever is invited.
    [[nodiscard]] static result<channel> create(const channel_options& = {}) noexcept;

    /// Becomes the other side.
    [[nodiscard]] static result<channel> join(channel_invitation invited) noexcept;

    /// What makes another process the other side: after `create` once, and again when the other side is dead or has left.
    [[nodiscard]] result<channel_invitation> invite() noexcept;

    /// Sends a copy of `bytes`, as soon as there is room for it.
    [[nodiscard]] result<void> send(std::span<const std::byte> bytes, deadline until = deadline::max()) noexcept {
        return end().send(bytes, until);
    }

    /// A place where a message of up to `size_bytes` can be made, as soon as there is room for it; then `commit`.
    [[nodiscard]] result<std::span<std::byte>> prepare(std::size_t size_bytes,
                                                       deadline until = deadline::max()) noexcept {
        return end().prepare(size_bytes, until);
    }

    /// Sends the first `size_bytes` of what was prepared.
    void commit(std::size_t size_bytes) noexcept { end().commit(size_bytes); }

    /// The oldest message, as soon as there is one. It stays until `consume`, and is the same until then.
    [[nodiscard]] result<message> receive(deadline until = deadline::max()) noexcept { return end().receive(until); }

    /// Gives the message received back; nothing when there is none.
    void consume() noexcept { end().consume(); }

    /// Sends a copy of `bytes` if there is room for it now.
    [[nodiscard]] send_result try_send(std::span<const std::byte> bytes) noexcept { return end().try_send(bytes); }

    /// The oldest message, if there is one now.
    [[nodiscard]] std::optional<message> try_receive() noexcept { return end().try_receive(); }

    /// Waits until there is a message, but does not take it.
    [[nodiscard]] result<wakeup_result> wait(deadline until = deadline::max()) noexcept { return end().wait(until); }

    /// For an event loop: false if there is something to be received; else `fd()` becomes readable when there is, when there is
    /// room, or when the peer has ended. After that, `awake`, then try_receive until there is nothing, then announce again.
    /// Who waits for room tries once more after it: room that came in between is not rung.
    [[nodiscard]] bool announce() noexcept { return end().announce(); }

    /// The end of that sleep. Takes the bells.
    void awake() noexcept {
        end().awake();
        (void)end().bell().drain();
    }

    /// For the caller's own poll or epoll.
    [[nodiscard]] int fd() const noexcept { return end().bell().fd(); }

    /// Whether there is no other side any more: it has died, or has left. Its last messages may still be there.
    [[nodiscard]] bool is_peer_dead() const noexcept { return end().bell().is_peer_dead(); }

    /// The largest message that is ever sent, in bytes.
    [[nodiscard]] std::size_t max_size_bytes() const noexcept { return end().max_size_bytes(); }

    /// Whether a word that the peer writes has ever been nonsense. Then that direction is over.
    [[nodiscard]] bool corrupt() const noexcept { return end().corrupt(); }

    /// What this side has done.
    [[nodiscard]] const channel_stats& stats() const noexcept { return end().stats(); }

    /// The bytes, for whoever looks at them.
    [[nodiscard]] const memfd_region& memory() const noexcept { return side_->memory; }

private:
    using buffer = channel_end<>::framing::buffer;

    /// Stays where it is. Ends in the reverse order: the place in the table, the claims, the bell, the memory.
    struct side {
        memfd_region memory;
        unsigned number;
        channel_sleepers<>* sleepers;
        std::array<buffer, 2> to_side;
        channel_end<> end;
        segment::member place;
        std::optional<doorbell_handle> not_yet_invited;
    };

    explicit channel(std::unique_ptr<side> made) noexcept : side_{std::move(made)} {}
    [[nodiscard]] static result<channel> take_side(memfd_region memory, const segment& found, doorbell bell,
                                                   std::optional<doorbell_handle> of_peer, unsigned number) noexcept;
    [[nodiscard]] channel_end<>& end() const noexcept { return side_->end; }

    std::unique_ptr<side> side_;
};

}  // namespace v1
}  // namespace shm
