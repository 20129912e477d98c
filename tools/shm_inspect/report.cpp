// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>
#include <utility>

#include <shm/bip_buffer.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/segment.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>
#include <shm/var_slot_pool.hpp>

#include "tools/shm_inspect/report.hpp"

namespace inspect {
namespace {

using enum std::memory_order;
using shm::fault;
using shm::fault_kind;
using shm::peer_id;
using shm::region;
using shm::result;
using slab_type = shm::treiber_slab<>;
using pool_type = shm::var_slot_pool<>;
using slab_core = shm::treiber_slab_raw<>;

constexpr std::uint64_t ring_kind = shm::spsc_ring_header<>::magic_value;
constexpr std::uint64_t bip_kind = shm::bip_buffer_header<>::magic_value;
constexpr std::uint64_t slab_kind = slab_type::header::magic_value;
constexpr std::uint64_t pool_kind = pool_type::header::magic_value;
constexpr std::uint64_t values_kind = shm::segment_kind<std::byte[]>::kind;

std::string name_of_kind(std::uint64_t kind) {
    if (kind == ring_kind) return "spsc_ring";
    if (kind == bip_kind) return "bip_buffer";
    if (kind == slab_kind) return "treiber_slab";
    if (kind == pool_kind) return "var_slot_pool";
    if (kind == values_kind) return "values";
    std::string text;
    for (unsigned byte = 0; byte < 8; ++byte)
        if (const char c = static_cast<char>(kind >> 8 * byte); c >= ' ' && c <= '~') text += c;
    return text.size() == 8 ? text : fmt::format("{:#018x}", kind);
}

/// Everything of one block is read through this: refusals are kept, and do not end the report.
class reader {
public:
    reader(const snapshot& from, const shm::segment_block& of, std::uint64_t pid_namespace, block& into) noexcept
        : from_{from}, of_{of}, pid_namespace_{pid_namespace}, into_{into} {}

    void read() {
        switch (of_.kind) {
            case ring_kind: return keep(read_stream<shm::spsc_ring_header<>>());
            case bip_kind: return keep(read_stream<shm::bip_buffer_header<>>());
            case slab_kind: return keep(read_slab(0, of_.size_bytes));
            case pool_kind: return keep(read_pool());
            default: return;
        }
    }

private:
    template <class Found>
    void keep(result<Found> found) {
        if (found)
            into_.holds = *std::move(found);
        else
            into_.faults.push_back(found.error().sentence());
    }
    [[nodiscard]] region bytes() const { return *from_.bytes().subregion(of_.offset, of_.size_bytes); }
    [[nodiscard]] result<void> fetch(std::uint64_t offset, std::uint64_t size_bytes) const {
        if (const auto inside = bytes().subregion(offset, size_bytes); !inside) return inside.error();
        return from_.fetch(of_.offset + offset, size_bytes);
    }
    [[nodiscard]] peer somebody(std::uint64_t claim) const {
        return look_for(peer_id::from_word(claim), pid_namespace_);
    }

    /// The header alone tells how wide the positions are: by the layout hash that such ones make.
    template <class Header>
    [[nodiscard]] static result<unsigned> position_bytes(std::uint32_t element_size, std::uint32_t element_alignment,
                                                         std::uint64_t hash) {
        const auto hash_for = [&](std::uint64_t width) {
            return shm::header_description::hash_of({Header::current_version, element_size, element_alignment, width,
                                                     shm::cache_line_bytes, 3 * shm::cache_line_bytes});
        };
        for (const unsigned width : {8U, 4U, 2U, 1U})
            if (hash == hash_for(width)) return width;
        return fault{fault_kind::layout_hash, hash_for(8), hash};
    }

    template <class Header>
    [[nodiscard]] result<stream> read_stream() {
        const auto shared = bytes().template get<Header>();
        if (!shared) return shared.error();
        const Header& of = **shared;
        if (const auto all = fetch(0, sizeof(Header)); !all) return all.error();
        if (const auto state = of.state.load(relaxed); state != Header::state_ready)
            return fault{fault_kind::not_ready, Header::state_ready, state};
        if (const auto magic = of.magic.load(relaxed); magic != Header::magic_value)
            return fault{fault_kind::magic, Header::magic_value, magic};
        if (const auto version = of.layout_version.read(); version != Header::current_version)
            return fault{fault_kind::layout_version, Header::current_version, version};
        stream found;
        found.capacity = of.capacity.load(relaxed);
        found.element_size = of.element_size.read();
        const auto width =
            position_bytes<Header>(found.element_size, of.element_alignment.read(), of.layout_hash.read());
        if (!width) return width.error();
        if (!std::has_single_bit(found.capacity))
            return fault{fault_kind::capacity, std::uint64_t{1} << 31, found.capacity};
        found.producer = somebody(of.producer_claim.load(relaxed));
        found.consumer = somebody(of.consumer_claim.load(relaxed));
        if (const auto latched = of.reported_corrupt.load(relaxed); latched != 0) {
            if ((latched & Header::corrupt_by_producer) != 0) into_.faults.emplace_back("corrupt, says the producer");
            if ((latched & Header::corrupt_by_consumer) != 0) into_.faults.emplace_back("corrupt, says the consumer");
        }

        // What is consumed first: it can then not be ahead of what is published, however much happens in between.
        const std::uint64_t mask = ~std::uint64_t{0} >> (64 - 8 * *width);
        std::uint64_t apart = 0;
        for (int twice = 0; twice < 2; ++twice) {
            const std::uint64_t before[] = {found.published, found.consumed};
            for (const std::size_t line : {offsetof(Header, consumed), offsetof(Header, published)})
                if (const auto again = fetch(line, sizeof(std::uint64_t)); !again) return again.error();
            found.published = of.published.load(relaxed) & mask;
            found.consumed = of.consumed.load(relaxed) & mask;
            apart = (found.published - found.consumed) & mask;
            if (apart <= found.capacity) break;
            // They may have moved meanwhile; positions that hold still are nonsense.
            if (twice == 1 && before[0] == found.published && before[1] == found.consumed)
                into_.faults.push_back(fault{fault_kind::positions, found.capacity, apart}.sentence());
        }
        found.depth = static_cast<std::uint32_t>(std::min<std::uint64_t>(apart, found.capacity));
        return found;
    }

    /// Fetches all of a slab but its slots' bytes, and attaches to the copy as anybody would.
    [[nodiscard]] result<slab> read_slab(std::uint64_t offset, std::uint64_t size_bytes) {
        const auto whole = bytes().subregion(offset, size_bytes);
        if (!whole) return whole.error();
        if (const auto done = fetch_slab(*whole, offset); !done) return done.error();
        const auto attached = slab_type::attach(*whole);
        if (!attached) return attached.error();
        return describe(*attached, *whole);
    }
    [[nodiscard]] result<void> fetch_slab(region whole, std::uint64_t offset) const {
        const auto shared = whole.get<slab_type::header>();
        if (!shared) return shared.error();
        if (const auto header = fetch(offset, sizeof(slab_type::header)); !header) return header;
        const auto shape = slab_core::shape_of(**shared);
        if (!shape) return shape.error();
        return fetch(offset, sizeof(slab_type::header) + shape->member_count * sizeof(slab_type::entry) +
                                 std::uint64_t{shape->slot_count} * sizeof(slab_type::meta));
    }

    [[nodiscard]] slab describe(const slab_type& attached, region whole) {
        const auto& core = attached.inner();
        slab found;
        found.slot_count = attached.slot_count();
        found.slot_size = attached.slot_size();
        found.most_members = core.member_count();
        std::vector<const slab_type::entry*> entries;
        for (std::uint32_t i = 0; i < core.member_count(); ++i) {
            entries.push_back(*whole.get<slab_type::entry>(sizeof(slab_type::header) + i * sizeof(slab_type::entry)));
            found.members += entries.back()->claim.load(relaxed) != 0 ? 1 : 0;
        }
        std::map<std::pair<unsigned, unsigned>, owner> owners;
        for (std::uint32_t i = 0; i < core.slot_count(); ++i) {
            const shm::slot_word is = core.slot(i).now();
            if (is.state == shm::slot_state::free) {
                ++found.free;
                continue;
            }
            owner& of = owners[{is.owner.entry, is.owner.incarnation}];
            of.member = is.owner.entry;
            if (is.state == shm::slot_state::allocated) ++of.allocated;
            if (is.state == shm::slot_state::in_flight) ++of.in_flight;
            if (is.state != shm::slot_state::allocated && is.state != shm::slot_state::in_flight) ++unknown_states_;
        }
        for (auto& [key, of] : owners) {
            if (key.first < entries.size() && entries[key.first]->incarnation.load(relaxed) == key.second)
                of.who = somebody(entries[key.first]->claim.load(relaxed));
            found.owners.push_back(std::move(of));
        }
        if (unknown_states_ != 0)
            into_.faults.push_back(fmt::format("slot state: expected 0, 1 or 2, found 3 in {} slots", unknown_states_));
        if (core.shared().reported_corrupt.load(relaxed) != 0) into_.faults.emplace_back("corrupt, says a member");
        return found;
    }

    [[nodiscard]] result<pool> read_pool() {
        const auto shared = bytes().get<pool_type::header>();
        if (!shared) return shared.error();
        if (const auto header = fetch(0, sizeof(pool_type::header)); !header) return header.error();
        pool found;
        for (const auto& place : (*shared)->places) {
            const std::uint64_t where = place.load(relaxed);
            if ((where & (shm::cache_line_bytes - 1)) != pool_type::header::in_region) break;
            const std::uint64_t offset = where - pool_type::header::in_region;
            if (offset >= of_.size_bytes)
                return fault{fault_kind::out_of_range, of_.size_bytes - 1, offset, "place of a slab"};
            if (const auto done = fetch_slab(*bytes().subregion(offset, of_.size_bytes - offset), offset); !done)
                return done.error();
        }
        const auto attached = pool_type::attach(bytes());
        if (!attached) return attached.error();
        for (std::uint32_t number = 0; number < attached->slab_count(); ++number) {
            const auto offset = (*shared)->places[number].load(relaxed) - pool_type::header::in_region;
            found.slabs.push_back(
                describe(attached->slab_at(number), *bytes().subregion(offset, of_.size_bytes - offset)));
        }
        found.more_in_an_annex = attached->slab_count() < pool_type::max_slabs &&
                                 (*shared)->places[attached->slab_count()].load(relaxed) == pool_type::header::in_annex;
        return found;
    }

    const snapshot& from_;
    const shm::segment_block& of_;
    std::uint64_t pid_namespace_;
    block& into_;
    std::uint32_t unknown_states_ = 0;
};

/// What /proc says of a process: what follows its name in parentheses, which may hold parentheses itself, and that name.
struct process {
    std::string program;
    char state = '?';
    std::uint64_t start_time = 0;  // in clock ticks since boot
};
std::optional<process> process_of(std::uint32_t pid) {
    std::ifstream file{fmt::format("/proc/{}/stat", pid)};
    const std::string text{std::istreambuf_iterator<char>{file}, {}};
    const auto begin = text.find('('), end = text.rfind(')');
    if (begin == text.npos || end == text.npos || end + 2 >= text.size()) return std::nullopt;
    process found{printable(std::string_view{text}.substr(begin + 1, end - begin - 1)), text[end + 2]};
    std::size_t at = end;
    for (int field = 2; field < 22 && at != text.npos; ++field) at = text.find(' ', at + 1);
    if (at == text.npos) return std::nullopt;
    std::from_chars(text.data() + at + 1, text.data() + text.size(), found.start_time);
    return found;
}

}  // namespace

std::string printable(std::string_view text) {
    std::string shown;
    for (const char c : text)
        shown += c >= ' ' && c <= '~' ? std::string{c} : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    return shown;
}

peer look_for(peer_id who, std::uint64_t pid_namespace) {
    peer found;
    found.who = who;
    if (!who.valid()) return found;
    if (pid_namespace == 0) {
        found.because = "the segment does not say in which pid namespace its ids are pids";
        return found;
    }
    const auto ours = shm::this_pid_namespace();
    if (!ours || *ours != pid_namespace) {
        found.because =
            ours ? fault{fault_kind::pid_namespace, pid_namespace, *ours}.sentence() : ours.error().sentence();
        return found;
    }
    const auto process = process_of(who.id);
    if (!process) {
        found.is = life::dead;
        found.because = fmt::format("/proc has no process {}", who.id);
    } else if (static_cast<std::uint32_t>(process->start_time) != who.incarnation) {
        found.is = life::dead;
        found.because = fmt::format("process {} began at tick {}, the peer at {}", who.id,
                                    static_cast<std::uint32_t>(process->start_time), who.incarnation);
    } else if (process->state == 'Z' || process->state == 'X') {
        found.is = life::dead;
        found.because = fmt::format("process {} is a zombie: its parent has not reaped it", who.id);
    } else {
        found.is = life::alive;
        found.because = fmt::format("process {} began at tick {}, as the peer", who.id, who.incarnation);
        found.program = process->program;
    }
    return found;
}

result<report> look_at(int fd) {
    const auto copy = snapshot::take(fd);
    if (!copy) return copy.error();
    const auto found = shm::segment::attach(copy->bytes());
    if (!found) return found.error();
    report all;
    all.size_bytes = copy->bytes().size_bytes();
    all.pid_namespace = found->pid_namespace();
    all.places = found->peer_count();
    for (std::uint32_t i = 0; i < found->peer_count(); ++i)
        if (const auto who = found->peer_at(i); who.valid()) all.peers.push_back(look_for(who, all.pid_namespace));
    for (const shm::segment_block& of : found->blocks()) {
        block& into = all.blocks.emplace_back(block{printable(of.text()), name_of_kind(of.kind), of, {}, {}});
        reader{*copy, of, all.pid_namespace, into}.read();
    }
    return all;
}

}  // namespace inspect
