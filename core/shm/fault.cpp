// SPDX-License-Identifier: MIT OR Apache-2.0
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <iterator>
#include <sstream>
#include <string_view>
#include <system_error>

#include <shm/fault.hpp>
#include <shm/peer_id.hpp>
#include <shm/system_call.hpp>

namespace shm {
inline namespace v1 {
namespace {

std::string number(std::uint64_t value) { return std::to_string(value); }

std::string hex(std::uint64_t value) {
    std::ostringstream text;
    text << "0x" << std::hex << std::setw(16) << std::setfill('0') << value;
    return text.str();
}

/// A magic is eight letters and digits, or else a number.
std::string magic_text(std::uint64_t value) {
    std::string text(sizeof value, '\0');
    std::memcpy(text.data(), &value, sizeof value);
    const auto is_text = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    return std::all_of(text.begin(), text.end(), is_text) ? text : hex(value);
}

std::string mode(std::uint64_t value) {
    std::ostringstream text;
    text << std::oct << std::setw(4) << std::setfill('0') << value;
    return text.str();
}

std::string init_state(std::uint64_t value) {
    const char* name = value == 0   ? "nothing there"
                       : value == 1 ? "being initialised"
                       : value == 2 ? "ready"
                                    : "no such state";
    return number(value) + " (" + name + ")";
}

std::string peer(std::uint64_t word) {
    if (word == 0) return "nobody";
    const auto who = peer_id::from_word(word);
    return "peer " + number(who.id) + " (incarnation " + number(who.incarnation) + ")";
}

std::string file_type(std::uint64_t value) {
    switch (value & S_IFMT) {
        case S_IFREG: return "a regular file";
        case S_IFLNK: return "a symbolic link";
        case S_IFDIR: return "a directory";
        case S_IFIFO: return "a FIFO";
        case S_IFSOCK: return "a socket";
        case S_IFCHR: return "a character device";
        case S_IFBLK: return "a block device";
        default: return "type " + hex(value);
    }
}

std::string seals(std::uint64_t mask) {
    constexpr const char* names[] = {"seal", "shrink", "grow", "write", "future write", "exec"};
    std::string text;
    for (std::size_t bit = 0; bit < std::size(names); ++bit)
        if ((mask >> bit & 1) != 0) text += (text.empty() ? "" : ", ") + std::string{names[bit]};
    return text.empty() ? "none" : text;
}

std::string descriptor_kind(std::uint64_t word) {
    const auto kind = descriptor_shape::from_word(word);
    if (kind.file_type != S_IFSOCK) return file_type(kind.file_type);
    const std::string family = kind.family == AF_UNIX ? "Unix socket" : "socket of family " + number(kind.family);
    const std::string type = kind.type == SOCK_SEQPACKET ? "SOCK_SEQPACKET"
                             : kind.type == SOCK_STREAM  ? "SOCK_STREAM"
                             : kind.type == SOCK_DGRAM   ? "SOCK_DGRAM"
                                                         : "type " + number(kind.type);
    return (kind.connected ? "a connected " : "an unconnected ") + family + ", " + type;
}

/// Where an argument stops being a number, and by which byte.
std::string character(std::uint64_t word) {
    const auto byte = static_cast<unsigned char>(word);
    const std::string where = " at character " + number(word >> 8);
    if (byte == 0) return "the end" + where;
    if (std::isalnum(byte) != 0) return std::string{"'"} + static_cast<char>(byte) + "'" + where;
    return "byte " + number(byte) + where;
}

// The name, ENOMEM, comes from a C library that has it. A template, because only there may a function be missing.
template <class Number>
std::string error_name(Number error) {
    if constexpr (requires { strerrorname_np(error); }) {
        if (const char* name = strerrorname_np(error)) return name;
    }
    return "errno " + number(static_cast<std::uint64_t>(error));
}

std::string system_error(std::uint64_t value) {
    const int error = static_cast<int>(value);
    return error_name(error) + " (" + std::generic_category().message(error) + ")";
}

/// How a kind is said: "<noun>: expected <expected>, found <found>", with a # where the value goes. A fault's own
/// subject takes the place of the noun.
struct wording {
    const char* noun;
    const char* expected;
    const char* found;
    std::string (*say_expected)(std::uint64_t) = number;
    std::string (*say_found)(std::uint64_t) = say_expected;
};

wording wording_of(const fault& refused) {
    switch (refused.what) {
        case fault_kind::misaligned: return {"address", "a multiple of # bytes", "one that is # more"};
        case fault_kind::too_small: return {"region size in bytes", "at least #", "#"};
        case fault_kind::out_of_range: return {"offset or length", "at most # bytes", "#"};
        case fault_kind::access_denied:
            if (refused.found == 0) return {"region", "a writable mapping", "a read-only one"};
            return {"system call", "permission", "#", number, system_error};
        case fault_kind::gone:
            if (refused.expected == 0) return {"file", "one of that name", "none"};
            return {"process", "#", "#", peer};
        case fault_kind::exists: return {"file name", "a free one", "one that is taken"};
        case fault_kind::not_a_regular_file: return {"file type", "#", "#", file_type};
        case fault_kind::foreign_owner: return {"file owner", "user #", "user #"};
        case fault_kind::foreign_group: return {"file group", "group #", "group #"};
        case fault_kind::permissions: return {"file mode", "#", "#", mode};
        case fault_kind::file_size: return {"file size", "at least # bytes", "#"};
        case fault_kind::shrink_refused: return {"new size", "at least # bytes", "#"};
        case fault_kind::file_size_limit: return {"file size limit (RLIMIT_FSIZE)", "at least # bytes", "#"};
        case fault_kind::seals: return {"seals", "#", "#", seals};
        case fault_kind::descriptors: return {"descriptors received", "#", "#"};
        case fault_kind::huge_pages: return {"huge pages", "# bytes", "#", number, system_error};
        case fault_kind::socket_kind: return {"descriptor", "#", "#", descriptor_kind};
        case fault_kind::argument: return {"argument", "a number from 0 to #", "#", number, character};
        case fault_kind::system_call: return {"system call", "success", "#", number, system_error};
        case fault_kind::not_ready:
        case fault_kind::already_created: return {"init state", "#", "#", init_state};
        case fault_kind::foreign_header:
            return {"header, damaged or made by something else", "# in its first word while its init state is none",
                    "#"};
        case fault_kind::magic: return {"magic", "#", "#", hex};
        case fault_kind::layout_version: return {"layout version", "#", "#"};
        case fault_kind::layout_hash: return {"layout hash", "#", "#", hex};
        case fault_kind::element_size: return {"element size", "# bytes", "#"};
        case fault_kind::element_alignment: return {"element alignment", "# bytes", "#"};
        case fault_kind::capacity: return {"capacity", "a power of two from 1 to #", "#"};
        case fault_kind::count: return {"count", "1 to #", "#"};
        case fault_kind::positions: return {"positions", "at most # apart", "#"};
        case fault_kind::watermark:
            return {"watermark", refused.found < refused.expected ? "at least #" : "at most #", "#"};
        case fault_kind::slab_number: return {"slab number", "#", "#"};
        case fault_kind::contended: return {"bytes in use", "#", "#"};
        case fault_kind::no_block: return {"block", "one of that name", "none among #"};
        case fault_kind::block_kind: return {"kind of block", "#", "#", magic_text};
        case fault_kind::block_name: return {"length of a block's name", "1 to # characters, then zeros", "#"};
        case fault_kind::block_twice: return {"name of a block", "none that block # has", "it again at block #"};
        case fault_kind::overlap: return {"offset of a block", "at least #, where the one before ends", "#"};
        case fault_kind::message_size: return {"message size in bytes", "at most #", "#"};
        case fault_kind::timed_out: return {"message", "# before the deadline", "#"};
        case fault_kind::peer_dead: return {"peer", "# at the other side", "#"};
        case fault_kind::corrupt: return {"nonsense in shared words", "#", "# or more"};
        case fault_kind::peer_id: return {"peer", "an id of at least #", "#"};
        case fault_kind::busy: return {"role", "#", "#", peer};
        case fault_kind::not_holder: return {"role", "the dead #", "#", peer};
        case fault_kind::wrong_process: return {"user", "process #", "process #"};
        case fault_kind::not_dead: return {"process", "the end of #", "# alive", peer};
        case fault_kind::pid_namespace: return {"pid namespace", "#", "#"};
    }
    return {"fault of unknown kind", "#", "#"};
}

std::string filled(std::string_view text, const std::string& value) {
    const auto gap = text.find('#');
    if (gap == text.npos) return std::string{text};
    return std::string{text.substr(0, gap)} + value + std::string{text.substr(gap + 1)};
}

}  // namespace

std::string fault::sentence() const {
    const wording say = wording_of(*this);
    return std::string{subject != nullptr ? subject : say.noun} + ": expected " +
           filled(say.expected, say.say_expected(expected)) + ", found " + filled(say.found, say.say_found(found));
}

void fault::die() const {
    std::fprintf(stderr, "%s\n", sentence().c_str());
    std::abort();
}

}  // namespace v1
}  // namespace shm
