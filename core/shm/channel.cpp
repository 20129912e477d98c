// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include <shm/channel.hpp>
#include <shm/system_call.hpp>

namespace shm {
inline namespace v1 {

/// The end of a bell, for a peer that may crash and does not lie: its bell is the last of a side that ends.
template <>
class death_witness<doorbell> {
public:
    [[nodiscard]] static proof_of_death of(peer_id peer) noexcept { return proof_of_death{peer}; }
};

namespace {

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
    const std::size_t words = options.capacity_bytes / sizeof(std::uint64_t);
    const auto plan = segment_builder{}
                          .peers(2)
                          .add<channel_sleepers<>>("sleepers")
                          .add<buffer>(names[0], words)
                          .add<buffer>(names[1], words);
    auto memory = memfd_region::create(plan.required_size(), options.memory);
    if (!memory) return memory.error();
    const auto made = plan.create(memory->region());
    if (!made) return made.error();
    auto bells = doorbell::create_pair();
    if (!bells) return bells.error();
    return take_side(*std::move(memory), *made, std::move(bells->first), std::move(bells->second));
}

result<channel> channel::join(channel_invitation invited) noexcept {
    auto memory = memfd_region::attach(std::move(invited.memory));
    if (!memory) return memory.error();
    const auto found = segment::attach(memory->region());
    if (!found) return found.error();
    auto bell = doorbell::from_handle(std::move(invited.bell));
    if (!bell) return bell.error();
    return take_side(*std::move(memory), *found, *std::move(bell), std::nullopt);
}

/// Side 0, or if that is held side 1.
result<channel> channel::take_side(memfd_region memory, const segment& found, doorbell bell,
                                   std::optional<doorbell_handle> of_peer) noexcept {
    const auto me = this_process();
    if (!me) return me.error();
    const auto sleepers = found.find<channel_sleepers<>>("sleepers");
    if (!sleepers) return sleepers.error();
    const auto first = found.find<buffer>(names[0]), second = found.find<buffer>(names[1]);
    if (!first) return first.error();
    if (!second) return second.error();
    const std::array<buffer, 2> to_side{*first, *second};

    unsigned number = 0;
    auto out = to_side[1].claim_producer(*me);
    if (!out && out.error().what == fault_kind::busy) {
        number = 1;
        out = to_side[0].claim_producer(*me);
    }
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
        const auto status = mine.to_side[theirs].status();
        if (!is_peer_dead()) return fault{fault_kind::busy, 0, status.consumer.word(), "other side"};
        const peer_id me = mine.place.peer();
        // One that has left has given them up itself. What is taken over is given up at once.
        const auto give_up = [&](peer_id dead, auto take_over) {
            if (dead.valid()) (void)take_over(death_witness<doorbell>::of(dead));
        };
        give_up(status.consumer, [&](const proof_of_death& dead) {
            mine.place.remove(dead);
            return mine.to_side[theirs].take_over_consumer(me, dead).has_value();
        });
        give_up(mine.to_side[mine.number].status().producer, [&](const proof_of_death& dead) {
            mine.place.remove(dead);
            return mine.to_side[mine.number].take_over_producer(me, dead).has_value();
        });
        auto bells = doorbell::create_pair();
        if (!bells) return bells.error();
        auto& words = mine.sleepers->of_side;
        mine.end.change_bell({words[mine.number].word, words[theirs].word, std::move(bells->first)});
        mine.not_yet_invited = std::move(bells->second);
    }
    unique_fd memory{::fcntl(mine.memory.fd(), F_DUPFD_CLOEXEC, 0)};
    if (!memory) return refused("fcntl");
    channel_invitation invited{std::move(memory), *std::move(mine.not_yet_invited)};
    mine.not_yet_invited.reset();
    return invited;
}

}  // namespace v1
}  // namespace shm
