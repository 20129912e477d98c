// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <climits>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <shm/descriptor.hpp>
#include <shm/unique_fd.hpp>

namespace shm {
inline namespace v1 {

/// The peer's end of a doorbell on its way to the peer: a descriptor that is owned, and how to say its number on a
/// command line. Move-only; closes the descriptor.
///
///     clear_cloexec(handle.as_raw_fd());  // in the forked child, then
///     execl(program, program, shm::doorbell_handle::arg_name, handle.to_arg().c_str(), nullptr);
class doorbell_handle {
public:
    /// Goes before the number on a command line.
    static constexpr const char* arg_name = "--doorbell-fd";

    /// Takes over a descriptor; what it is of is checked when a doorbell is made of it.
    [[nodiscard]] static doorbell_handle from_raw_fd(int fd) noexcept { return doorbell_handle{unique_fd{fd}}; }

    /// Takes over the descriptor that `to_arg` named in the program that started this one. Refuses `argument`, and
    /// `system_call` (EBADF) when it is not open; then nothing has been taken over.
    [[nodiscard]] static result<doorbell_handle> from_arg(std::string_view text) noexcept {
        std::int64_t number = 0;
        std::size_t at = 0;
        for (; at < text.size(); ++at) {
            if (text[at] < '0' || text[at] > '9') break;
            number = number * 10 + (text[at] - '0');
            if (number > INT_MAX) break;
        }
        if (at < text.size() || text.empty()) {
            const std::uint64_t byte = at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
            return fault{fault_kind::argument, INT_MAX, (std::uint64_t{at} + 1) << 8 | byte, arg_name};
        }
        const int fd = static_cast<int>(number);
        if (const auto open = validate_fd(fd); !open) return open.error();
        return from_raw_fd(fd);
    }

    /// The number as text.
    [[nodiscard]] std::string to_arg() const { return std::to_string(fd_.get()); }

    /// The descriptor, still owned here. It is close-on-exec when it comes from doorbell::create_pair.
    [[nodiscard]] int as_raw_fd() const noexcept { return fd_.get(); }

    /// Gives up ownership without closing.
    [[nodiscard]] unique_fd release() && noexcept { return std::move(fd_); }

private:
    explicit doorbell_handle(unique_fd fd) noexcept : fd_{std::move(fd)} {}
    unique_fd fd_;
};

}  // namespace v1
}  // namespace shm
