// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <climits>
#include <optional>
#include <utility>

#include <shm/channel.hpp>
#include <shm/system_call.hpp>

namespace shm {
inline namespace v1 {

/// The end of a bell, for a peer that may crash and does not lie: its bell is the last of a side that ends.
template <>
class death_witness<doorbell> {
public:
    [[nodiscard]] static std::optional<proof_of_death> of(const doorbell& bell, peer_id peer) noexcept {
        if (!peer.valid() || !bell.is_peer_dead()) return std::nullopt;
        return proof_of_death{peer};
    }
};

namespace {

constexpr const char* of_sleepers = "sleepers";
constexpr std::array<const char*, 2> names{"to side 0", "to side 1"};

}  // namespace

std::string channel_invitation::to_arg() const { return std::to_string(memory.get()) + "," + bell.to_arg(); }

result<channel_invitation> channel_invitation::from_arg(std::string_view text) noexcept {
    const auto ours = [](fault refused) {
        if (refused.what == fault_kind::argument) refused.subject = arg_name;
        return refused;
    };
    const std::size_t comma = std::min(text.find(','), text.size());
    auto first = doorbell_handle::from_arg(text.substr(0, comma));
    if (!first) return ours(first.error());
    auto second = doorbell_handle::from_arg(text.substr(std::min(comma + 1, text.size())));
    if (!second) {
        (void)std::move(*first).release().release_fd();  // not taken over
        return ours(second.error());
    }
    if (second->as_raw_fd() == first->as_raw_fd()) {
        (void)std::move(*first).release().release_fd();
        (void)std::move(*second).release().release_fd();
        const auto byte = static_cast<unsigned char>(text[comma + 1]);
        return ours({fault_kind::argument, INT_MAX, (std::uint64_t{comma} + 2) << 8 | byte});
    }
    return channel_invitation{std::move(*first).release(), *std::move(second)};
}

result<void> channel_invitation::keep_open() const noexcept {
    if (const auto kept = clear_cloexec(memory.get()); !kept) return kept;
    return clear_cloexec(bell.as_raw_fd());
}

result<void> channel_invitation::send(int socket) noexcept {
    const std::array<int, 2> both{memory.get(), bell.as_raw_fd()};
    if (const auto sent = send_descriptors(socket, both); !sent) return sent;
    memory = unique_fd{};
    const unique_fd closed = std::move(bell).release();
    return {};
}

result<channel_invitation> channel_invitation::receive(int socket) noexcept {
    std::array<unique_fd, 2> both;
    if (const auto received = receive_descriptors(socket, both); !received) return received.error();
    return channel_invitation{std::move(both[0]), doorbell_handle::from_raw_fd(both[1].release_fd())};
}

result<channel> channel::create(const channel_options& options) noexcept {
    constexpr std::uint64_t most = std::uint64_t{buffer::max_capacity} * sizeof(std::uint64_t);
    if (options.capacity_bytes < 2 * sizeof(std::uint64_t) || !std::has_single_bit(options.capacity_bytes) ||
        options.capacity_bytes > most)
        return fault{fault_kind::capacity, most, options.capacity_bytes};
    const std::size_t words = options.capacity_bytes / sizeof(std::uint64_t);
    const auto plan = segment_builder{}
                          .peers(2)
                          .add<channel_sleepers<>>(of_sleepers)
                          .add<buffer>(names[0], words)
                          .add<buffer>(names[1], words);
    auto memory = memfd_region::create(plan.required_size(), options.memory);
    if (!memory) return memory.error();
    const auto made = plan.create(memory->region());
    if (!made) return made.error();
    auto bells = doorbell::create_pair();
    if (!bells) return bells.error();
    return take_side(*std::move(memory), *made, std::move(bells->first), std::move(bells->second), 0);
}

result<channel> channel::join(channel_invitation invited) noexcept {
    auto memory = memfd_region::attach(std::move(invited.memory));
    if (!memory) return memory.error();
    const auto found = segment::attach(memory->region());
    if (!found) return found.error();
    auto bell = doorbell::from_handle(std::move(invited.bell));
    if (!bell) return bell.error();
    const auto sleepers = found->find<channel_sleepers<>>(of_sleepers);
    if (!sleepers) return sleepers.error();
    const unsigned number =
        (*sleepers)->invited.word.load(std::memory_order_relaxed) % 2;  // the invitation itself came after it
    return take_side(*std::move(memory), *found, *std::move(bell), std::nullopt, number);
}

result<channel> channel::take_side(memfd_region memory, const segment& found, doorbell bell,
                                   std::optional<doorbell_handle> of_peer, unsigned number) noexcept {
    const auto me = this_process();
    if (!me) return me.error();
    const auto sleepers = found.find<channel_sleepers<>>(of_sleepers);
    if (!sleepers) return sleepers.error();
    const auto first = found.find<buffer>(names[0]), second = found.find<buffer>(names[1]);
    if (!first) return first.error();
    if (!second) return second.error();
    const std::array<buffer, 2> to_side{*first, *second};

    auto out = to_side[1 - number].claim_producer(*me);
    if (!out) return out.error();
    auto in = to_side[number].claim_consumer(*me);
    if (!in) return in.error();
    auto place = found.join(*me);
    if (!place) return place.error();

    auto& words = (*sleepers)->of_side;
    channel_end<> end{{words[number].word, words[1 - number].word, std::move(bell)},
                      channel_end<>::framing::sender{*std::move(out)},
                      channel_end<>::framing::receiver{*std::move(in)}};
    return channel{std::make_unique<side>(
        side{std::move(memory), number, *sleepers, to_side, std::move(end), *std::move(place), std::move(of_peer)})};
}

result<channel_invitation> channel::invite() noexcept {
    side& mine = *side_;
    const unsigned theirs = 1 - mine.number;
    if (!mine.not_yet_invited) {
        const auto& in = mine.to_side[mine.number];
        const auto& out = mine.to_side[theirs];
        doorbell& bell = mine.end.bell();
        if (!bell.is_peer_dead()) return fault{fault_kind::busy, 0, out.status().consumer.word(), "other side"};
        // Only now do the claims stand still. One that has left has given them up itself; what is taken over is given up at
        // once, and the place in the table last.
        const peer_id me = mine.place.peer();
        const auto writer = death_witness<doorbell>::of(bell, in.status().producer);
        const auto reader = death_witness<doorbell>::of(bell, out.status().consumer);
        if (writer) (void)in.take_over_producer(me, *writer);
        if (reader) (void)out.take_over_consumer(me, *reader);
        for (const auto& dead : {writer, reader})
            if (dead) mine.place.remove(*dead);
        auto bells = doorbell::create_pair();
        if (!bells) return bells.error();
        auto& words = mine.sleepers->of_side;
        mine.end.change_bell({words[mine.number].word, words[theirs].word, std::move(bells->first)});
        mine.not_yet_invited = std::move(bells->second);
    }
    unique_fd memory{::fcntl(mine.memory.fd(), F_DUPFD_CLOEXEC, 0)};
    if (!memory) return refused("fcntl");
    mine.sleepers->invited.word.store(theirs, std::memory_order_relaxed);  // handing it on orders it
    channel_invitation invited{std::move(memory), *std::move(mine.not_yet_invited)};
    mine.not_yet_invited.reset();
    return invited;
}

}  // namespace v1
}  // namespace shm
