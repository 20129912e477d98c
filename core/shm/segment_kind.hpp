// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include <shm/atomics_layer.hpp>
#include <shm/segment_header.hpp>
#include <shm/shm_safe.hpp>

namespace shm {
inline namespace v1 {

/// The shape of what has only one.
struct no_shape {};

/// What is placed in a region by the verbs that all primitives share: `create`, `attach` and `required_size`.
template <class T>
concept placed_in_region = requires(region bytes, deadline until) {
    { T::header::magic_value } -> std::convertible_to<std::uint64_t>;
    { T::attach(bytes, until) } -> std::same_as<result<T>>;
};

/// The shape that T::create takes, behind the region.
template <class T>
struct shape_of_placed {
    /// What `create` returns and takes.
    template <class Made, class Shape, class... More>
    static Shape of(result<Made> (*)(region, Shape, More...) noexcept);
    using type = decltype(of(&T::create));  ///< a capacity, a slab_shape, ...
};

/// Of what has none.
template <class T>
    requires requires(region bytes) { T::create(bytes); }
struct shape_of_placed<T> {
    using type = no_shape;  ///< none
};

/// What a segment has to know of a T to hold one: specialise it for what is not a primitive and not plain values.
///
/// - kind      tells it from whatever else may lie in a segment: eight characters, or any number
/// - shape     what segment_builder::add takes to make one
/// - handle    what basic_segment::find returns
/// - describe  kind, size, count and elements of one of that shape; the builder adds name and offset
/// - create    makes one in bytes that are zero and as many as described
/// - attach    finds one there, as described by a table that nobody vouches for
///
/// This one is of every primitive, by the verbs that they share: a new one needs nothing to be held.
template <class T>
struct segment_kind;

/// Of a primitive.
template <placed_in_region T>
struct segment_kind<T> {
    using shape = typename shape_of_placed<T>::type;                     ///< what its create takes
    using handle = T;                                                    ///< what its attach returns
    static constexpr std::uint64_t kind = T::header::magic_value;        ///< its own magic
    static constexpr bool needs_shape = !std::same_as<shape, no_shape>;  ///< whether add has to be told one

    /// How large one is.
    [[nodiscard]] static result<segment_block> describe(const shape& of) noexcept {
        segment_block block{.kind = kind};
        if constexpr (requires { T::wrong(of); })
            if (const auto refused = T::wrong(of)) return *refused;
        if constexpr (needs_shape)
            block.size_bytes = T::required_size(of);
        else
            block.size_bytes = T::required_size();
        if (block.size_bytes > most) return fault{fault_kind::out_of_range, most, block.size_bytes, "size of a block"};
        if constexpr (std::integral<shape>) block.count = of;
        if constexpr (requires { of.slot_count; }) block.count = of.slot_count;
        if constexpr (requires { of.classes.size(); }) block.count = of.classes.size();
        if constexpr (requires { of.slot_size; }) block.element_size = of.slot_size;
        if constexpr (requires { of.slot_alignment; }) block.element_alignment = of.slot_alignment;
        if constexpr (requires { typename T::value_type; }) {
            block.element_size = sizeof(typename T::value_type);
            block.element_alignment = alignof(typename T::value_type);
        }
        return block;
    }

    /// Makes one.
    [[nodiscard]] static result<void> create(region bytes, const shape& of) noexcept {
        const auto made = [&] {
            if constexpr (needs_shape)
                return T::create(bytes, of);
            else
                return T::create(bytes);
        }();
        if (!made) return made.error();
        return {};
    }

    /// Finds one: it checks its own header.
    [[nodiscard]] static result<T> attach(region bytes, const segment_block&) noexcept { return T::attach(bytes); }

private:
    static constexpr std::uint64_t most = PTRDIFF_MAX;
};

/// So many values side by side, zeroed; bytes are one kind of values. Of `const T[]`, who finds them may only read.
template <class T>
    requires shared_value<std::remove_const_t<T>>
struct segment_kind<T[]> {
    using shape = std::size_t;                                 ///< how many
    using handle = std::span<T>;                               ///< where they are
    static constexpr std::uint64_t kind = 0x31736c61766d6873;  ///< "shmvals1" in memory, little-endian
    static constexpr bool needs_shape = true;                  ///< how many

    /// How large they are together.
    [[nodiscard]] static result<segment_block> describe(std::size_t count) noexcept {
        constexpr std::size_t most = PTRDIFF_MAX / sizeof(T);
        if (count == 0 || count > most) return fault{fault_kind::count, most, count, "values"};
        return segment_block{.kind = kind,
                             .size_bytes = count * sizeof(T),
                             .count = count,
                             .element_size = sizeof(T),
                             .element_alignment = alignof(T)};
    }

    /// Their bytes are zero.
    [[nodiscard]] static result<void> create(region, std::size_t) noexcept { return {}; }

    /// Finds them. Who may write needs a region that may be written.
    [[nodiscard]] static result<std::span<T>> attach(region bytes, const segment_block& block) noexcept {
        if (!std::is_const_v<T> && !bytes.writable()) return fault{fault_kind::access_denied, 1, 0, "values"};
        if (block.element_size != sizeof(T)) return fault{fault_kind::element_size, sizeof(T), block.element_size};
        if (block.element_alignment != alignof(T))
            return fault{fault_kind::element_alignment, alignof(T), block.element_alignment};
        const std::size_t most = bytes.size_bytes() / sizeof(T);
        if (block.count == 0 || block.count > most) return fault{fault_kind::count, most, block.count, "values"};
        const auto first = bytes.get<T>();
        if (!first) return first.error();
        return std::span<T>{*first, static_cast<std::size_t>(block.count)};
    }
};

/// One value. `find<const T>` is for who only reads.
template <class T>
    requires(shared_value<std::remove_const_t<T>> && !placed_in_region<std::remove_const_t<T>>)
struct segment_kind<T> {
    using shape = std::remove_const_t<T>;                           ///< what it is at first
    using handle = T*;                                              ///< where it is
    static constexpr std::uint64_t kind = segment_kind<T[]>::kind;  ///< that of values
    static constexpr bool needs_shape = false;                      ///< zero, if nothing is said

    /// How large it is.
    [[nodiscard]] static result<segment_block> describe(const shape&) noexcept {
        return segment_kind<T[]>::describe(1);
    }

    /// Copies it there.
    [[nodiscard]] static result<void> create(region bytes, const shape& value) noexcept {
        std::memcpy(bytes.data(), &value, sizeof value);
        return {};
    }

    /// Finds it.
    [[nodiscard]] static result<T*> attach(region bytes, const segment_block& block) noexcept {
        const auto found = segment_kind<T[]>::attach(bytes, block);
        if (!found) return found.error();
        if (found->size() != 1) return fault{fault_kind::count, 1, found->size(), "values"};
        return found->data();
    }
};

/// What a segment can hold.
template <class T>
concept held_in_segment =
    requires(const typename segment_kind<T>::shape& of, region bytes, const segment_block& block) {
        { segment_kind<T>::kind } -> std::convertible_to<std::uint64_t>;
        { segment_kind<T>::describe(of) } -> std::same_as<result<segment_block>>;
        { segment_kind<T>::create(bytes, of) } -> std::same_as<result<void>>;
        { segment_kind<T>::attach(bytes, block) } -> std::same_as<result<typename segment_kind<T>::handle>>;
    };

}  // namespace v1
}  // namespace shm
