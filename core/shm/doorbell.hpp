// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include <shm/atomics_layer.hpp>
#include <shm/doorbell_handle.hpp>
#include <shm/result.hpp>
#include <shm/unique_fd.hpp>

namespace shm {
inline namespace v1 {

/// What became of a signal. `buffer_full`: so many bells are pending that no more fit; the peer will wake up all the
/// same. `peer_dead`: no process holds the other end any more.
enum class signal_result : std::uint8_t { sent, buffer_full, peer_dead };

/// Why a wait is over. `rung`: at least one bell, all of which are taken. `peer_dead`: no process holds the other end.
enum class wait_result : std::uint8_t { rung, timed_out, peer_dead };

/// One end of a pair of sockets over which two processes wake each other, and learn of each other's end.
///
///     auto [bell, handle] = shm::doorbell::create_pair().value();
///     // the handle goes to the peer, which makes its own end of it:
///     auto its_bell = shm::doorbell::from_handle(std::move(handle)).value();
///     (void)its_bell.signal().value();
///     assert(bell.wait(shm::deadline::max()).value() == shm::wait_result::rung);
///
/// Promise    a signal is seen by a wait that runs or that comes later; so is the end of all processes that hold the other
///            end, however they ended. Bells are not counted: who is woken looks for himself what there is to do. A
///            stopped process is not a dead one
/// Progress   `wait` blocks until a bell, its deadline or the peer's end. Nothing else blocks. `drain`, and so a wait that
///            has been rung, takes at most `most_drained` bells at a time: a peer that never stops ringing cannot hold it
/// Callers    signal, is_peer_dead, pending_bytes: any thread. wait, drain: one thread at a time, or bells go to the wrong one
/// Shape      no bytes: a connected pair of Unix sockets of type SOCK_SEQPACKET, a packet of one byte each bell. Datagram
///            sockets would not tell of the peer's end on Linux; a stream could not tell an end from an empty buffer
/// Edges      none that a primitive counts on: shared memory brings its own. The peer's end happens after all that it wrote
/// Refuses    from_handle: `system_call` (EBADF), `socket_kind`. signal, wait, drain: `wrong_process`. All: `system_call`,
///            `access_denied`
/// Fork       signal, wait and drain of a forked child's copy are refused: it would take bells that are its parent's. While
///            the child holds the copy, the peer does not learn of the parent's end: let it drop it, or exec
/// Crash      the kernel closes a dead process's end. End of file means that *no* process holds that end: who has given a
///            handle to a child closes its own copy (close_peer_fd, or dropping the handle)
/// Trust      crash-prone peers. A hostile one can ring for nothing, not ring, or shut its end down and live on: it is
///            then as good as dead for whoever listens, and its end is no proof of its death
/// Source     none; unix(7), poll(2). The Rust crate's surface, over sockets that report an end of file
class doorbell {
public:
    /// How many bells one drain takes at most.
    static constexpr std::size_t most_drained = 1024;

    /// Both ends, close-on-exec: this process's, and the peer's to be handed on.
    [[nodiscard]] static result<std::pair<doorbell, doorbell_handle>> create_pair() noexcept;

    /// The peer's end, in the process that uses it from now on. The descriptor becomes close-on-exec; it is closed when
    /// it is refused.
    [[nodiscard]] static result<doorbell> from_handle(doorbell_handle handle) noexcept;

    /// Likewise, of a descriptor that came another way.
    [[nodiscard]] static result<doorbell> from_raw_fd(int fd) noexcept;

    /// Rings at the other end.
    [[nodiscard]] result<signal_result> signal() noexcept;

    /// Waits for a bell, and takes those there are. A dead peer comes before its last bells: look once more, then it is
    /// over. The default looks once; a bell that is pending counts however late it is.
    [[nodiscard]] result<wait_result> wait(deadline until = {}) noexcept;

    /// Takes the bells that are pending, `most_drained` at most, and says how many. For an event loop, which has waited
    /// for `fd()` itself: drain first, then look.
    [[nodiscard]] result<std::size_t> drain() noexcept;

    /// Nothing to do: a pair is connected from its birth. Refuses `system_call` (EPIPE) when the peer has gone already.
    [[nodiscard]] result<void> accept() noexcept;

    /// How many bytes of bells wait here, for diagnosis.
    [[nodiscard]] result<std::size_t> pending_bytes() const noexcept;

    /// Whether no process holds the other end any more. What the kernel does not say is false.
    [[nodiscard]] bool is_peer_dead() const noexcept;

    /// For the caller's own poll or epoll: readable when there are bells, hung up when the peer is dead.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

private:
    explicit doorbell(unique_fd fd) noexcept;
    [[nodiscard]] result<void> usable() const noexcept;

    unique_fd fd_;
    pid_t process_;  // whose it is
};

}  // namespace v1
}  // namespace shm
