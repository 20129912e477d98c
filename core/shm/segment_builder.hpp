// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <shm/object/arrays.hpp>
#include <shm/segment.hpp>

namespace shm {
inline namespace v1 {

/// Plans a segment, and makes it in as many regions as wanted.
///
///     struct limits {
///         std::uint32_t jobs_per_second;
///     };
///     auto plan = shm::segment_builder{}
///                     .peers(4)
///                     .add<shm::spsc_ring<int>>("jobs", 1024)
///                     .add<shm::treiber_slab<>>("slots", {.slot_count = 100, .slot_size = 256})
///                     .add<limits>("limits", {.jobs_per_second = 50})
///                     .add<std::byte[]>("scratch", 4096);
///     auto bytes = shm::memfd_region::create(plan.required_size()).value();
///     auto segment = plan.create(bytes.region()).value();
///
/// What is refused of a block is kept, and said by `create`. What a shape refers to (the classes of a pool) has to outlive
/// the plan.
template <atomics_layer Atomics = std_atomics>
class basic_segment_builder {
    using made = basic_segment<Atomics>;

public:
    /// How many peers there may be at a time: 1 to 255, and 16 if nothing is said.
    basic_segment_builder& peers(std::uint32_t count) & noexcept {
        peer_count_ = count;
        return *this;
    }
    basic_segment_builder&& peers(std::uint32_t count) && noexcept { return std::move(peers(count)); }  ///< likewise

    /// The pid namespace of the peers, if it is not that of the creator; 0 lets anyone join, who then vouches for its id.
    basic_segment_builder& pid_namespace(std::uint64_t number) & noexcept {
        pid_namespace_ = number;
        return *this;
    }
    basic_segment_builder&& pid_namespace(std::uint64_t number) && noexcept {
        return std::move(pid_namespace(number));
    }  ///< likewise

    /// Plans one more block, of 1 to 47 characters of name. Blocks lie in the order in which they were added.
    template <held_in_segment T>
    basic_segment_builder& add(std::string_view name, const typename segment_kind<T>::shape& shape) & noexcept {
        auto block = segment_kind<T>::describe(shape);
        if (!block) return refuse(block.error());
        if (name.empty() || name.size() > segment_block::max_name_bytes || name.find('\0') != name.npos)
            return refuse(
                {fault_kind::block_name, segment_block::max_name_bytes, std::min(name.find('\0'), name.size())});
        for (std::size_t i = 0; i < blocks_.size(); ++i)
            if (blocks_[i].what.text() == name) return refuse({fault_kind::block_twice, i, blocks_.size()});
        std::copy(name.begin(), name.end(), block->name.begin());
        blocks_.push_back({*block, [shape](region bytes) { return segment_kind<T>::create(bytes, shape); }});
        return *this;
    }

    /// The same of a temporary.
    template <held_in_segment T>
    basic_segment_builder&& add(std::string_view name, const typename segment_kind<T>::shape& shape) && noexcept {
        return std::move(add<T>(name, shape));
    }

    /// Of what needs no shape: a value that is zero at first, a primitive that has one size.
    template <held_in_segment T>
        requires(!segment_kind<T>::needs_shape)
    basic_segment_builder& add(std::string_view name) & noexcept {
        return add<T>(name, {});
    }

    /// The same of a temporary.
    template <held_in_segment T>
        requires(!segment_kind<T>::needs_shape)
    basic_segment_builder&& add(std::string_view name) && noexcept {
        return std::move(add<T>(name, {}));
    }

    /// The bytes that a region needs for what has been added; the largest number there is when no region could hold it.
    [[nodiscard]] std::size_t required_size() const noexcept {
        const auto laid = laid_out();
        return laid ? laid->size_bytes : beyond_any_region;
    }

    /// Makes the segment at the start of `bytes`, which must be zero there. Refuses what `add` did (`block_name`,
    /// `block_twice`, `capacity`, `count`, ...), `count`, `out_of_range`, `too_small`, `misaligned`, `access_denied`,
    /// `already_created`; and after that, what making a block refuses: then the bytes are spoilt, and stay `not_ready`.
    [[nodiscard]] result<basic_segment<Atomics>> create(region bytes) const noexcept {
        if (refused_) return *refused_;
        const auto laid = laid_out();
        if (!laid) return laid.error();
        if (const auto refused = too_small(bytes, laid->size_bytes)) return *refused;
        if (const auto refused = misaligned(bytes, laid->alignment)) return *refused;
        if (!bytes.writable()) return fault{fault_kind::access_denied, 1, 0, "creator"};
        const auto of_peers = pid_namespace_ ? result<std::uint64_t>{*pid_namespace_} : this_pid_namespace();
        if (!of_peers) return of_peers.error();
        return made::create(*bytes.subregion(0, laid->size_bytes), laid->blocks, peer_count_, *of_peers,
                            [&](std::size_t number, region of) { return blocks_[number].make(of); });
    }

private:
    struct planned {
        segment_block what;  // with the offset yet to come
        std::function<result<void>(region)> make;
    };
    struct layout {
        std::vector<segment_block> blocks;
        std::size_t size_bytes = 0;
        std::size_t alignment = cache_line_bytes;
    };

    /// The first refusal is kept: what comes after it may be of its making.
    basic_segment_builder& refuse(const fault& why) noexcept {
        if (!refused_) refused_ = why;
        return *this;
    }

    /// Where each block lies. Nothing here can overflow: a block's size is at most PTRDIFF_MAX, and so is the end so far.
    [[nodiscard]] result<layout> laid_out() const noexcept {
        if (const auto refused = made::wrong(blocks_.size(), peer_count_)) return *refused;
        constexpr std::size_t most = PTRDIFF_MAX;
        layout laid;
        laid.size_bytes = made::tables_size(blocks_.size(), peer_count_);
        for (const planned& of : blocks_) {
            segment_block block = of.what;
            const std::size_t alignment = std::max<std::size_t>(cache_line_bytes, block.element_alignment);
            const std::size_t offset = aligned_up(laid.size_bytes, alignment);
            if (offset > most || block.size_bytes > most - offset)
                return fault{fault_kind::out_of_range, offset > most ? 0 : most - offset, block.size_bytes,
                             "size of a block"};
            block.offset = offset;
            laid.size_bytes = offset + static_cast<std::size_t>(block.size_bytes);
            laid.alignment = std::max(laid.alignment, alignment);
            laid.blocks.push_back(block);
        }
        return laid;
    }

    std::vector<planned> blocks_;
    std::uint32_t peer_count_ = 16;
    std::optional<std::uint64_t> pid_namespace_;
    std::optional<fault> refused_;
};

/// A plan of a segment of this process's.
using segment_builder = basic_segment_builder<>;

}  // namespace v1
}  // namespace shm
