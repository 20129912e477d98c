// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <iostream>
#include <set>
#include <string>

#include <shm/peer_id.hpp>
#include <shm/result.hpp>
#include <shm/system_call.hpp>

namespace {

using shm::fault;
using shm::fault_kind;
using shm::peer_id;

constexpr auto last_kind = static_cast<unsigned>(fault_kind::pid_namespace);

struct told {
    fault refused;
    const char* sentence;
};

const std::uint64_t peer_12 = peer_id{12, 345}.word();
const std::uint64_t peer_5 = peer_id{5, 1}.word();

constexpr shm::descriptor_shape bell{S_IFSOCK, AF_UNIX, SOCK_SEQPACKET, true};

const told every_kind[] = {
    {{fault_kind::misaligned, 64, 8}, "address: expected a multiple of 64 bytes, found one that is 8 more"},
    {{fault_kind::too_small, 192, 191}, "region size in bytes: expected at least 192, found 191"},
    {{fault_kind::too_small, 16, 15, "slots"}, "slots: expected at least 16, found 15"},
    {{fault_kind::out_of_range, 100, 101}, "offset or length: expected at most 100 bytes, found 101"},
    {{fault_kind::access_denied, 1, 0, "producer role"},
     "producer role: expected a writable mapping, found a read-only one"},
    {{fault_kind::access_denied, 0, EACCES, "open"}, "open: expected permission, found EACCES (Permission denied)"},
    {{fault_kind::gone, 0, 0}, "file: expected one of that name, found none"},
    {{fault_kind::gone, peer_5, 0, "process"}, "process: expected peer 5 (incarnation 1), found nobody"},
    {{fault_kind::gone, peer_5, peer_id{5, 2}.word(), "process"},
     "process: expected peer 5 (incarnation 1), found peer 5 (incarnation 2)"},
    {{fault_kind::exists, 0, 1}, "file name: expected a free one, found one that is taken"},
    {{fault_kind::not_a_regular_file, S_IFREG, S_IFLNK}, "file type: expected a regular file, found a symbolic link"},
    {{fault_kind::not_a_regular_file, S_IFREG, S_IFIFO}, "file type: expected a regular file, found a FIFO"},
    {{fault_kind::not_a_regular_file, S_IFREG, S_IFDIR}, "file type: expected a regular file, found a directory"},
    {{fault_kind::not_a_regular_file, S_IFREG, S_IFSOCK}, "file type: expected a regular file, found a socket"},
    {{fault_kind::not_a_regular_file, S_IFREG, S_IFCHR},
     "file type: expected a regular file, found a character device"},
    {{fault_kind::not_a_regular_file, S_IFREG, S_IFBLK}, "file type: expected a regular file, found a block device"},
    {{fault_kind::foreign_owner, 1000, 0}, "file owner: expected user 1000, found user 0"},
    {{fault_kind::foreign_group, 100, 4}, "file group: expected group 100, found group 4"},
    {{fault_kind::permissions, 0644, 0666}, "file mode: expected 0644, found 0666"},
    {{fault_kind::file_size, 4096, 0}, "file size: expected at least 4096 bytes, found 0"},
    {{fault_kind::shrink_refused, 8192, 4096}, "new size: expected at least 8192 bytes, found 4096"},
    {{fault_kind::file_size_limit, 8192, 4096},
     "file size limit (RLIMIT_FSIZE): expected at least 8192 bytes, found 4096"},
    {{fault_kind::seals, 7, 2}, "seals: expected seal, shrink, grow, found shrink"},
    {{fault_kind::seals, 7, 0}, "seals: expected seal, shrink, grow, found none"},
    {{fault_kind::descriptors, 2, 1}, "descriptors received: expected 2, found 1"},
    {{fault_kind::huge_pages, 2097152, ENOMEM},
     "huge pages: expected 2097152 bytes, found ENOMEM (Cannot allocate memory)"},
    {{fault_kind::system_call, 0, ENOMEM, "mmap"}, "mmap: expected success, found ENOMEM (Cannot allocate memory)"},
    {{fault_kind::system_call, 0, 12345, "mmap"}, "mmap: expected success, found errno 12345 (Unknown error 12345)"},
    {{fault_kind::foreign_header, 0, 16},
     "header, damaged or made by something else: expected 0 in its first word while its init state is none, found 16"},
    {{fault_kind::not_ready, 2, 1}, "init state: expected 2 (ready), found 1 (being initialised)"},
    {{fault_kind::not_ready, 2, 7}, "init state: expected 2 (ready), found 7 (no such state)"},
    {{fault_kind::already_created, 0, 2}, "init state: expected 0 (nothing there), found 2 (ready)"},
    {{fault_kind::magic, 0x31676e6972737073, 0x7370}, "magic: expected 0x31676e6972737073, found 0x0000000000007370"},
    {{fault_kind::layout_version, 1, 2}, "layout version: expected 1, found 2"},
    {{fault_kind::layout_hash, 0xabc, 1}, "layout hash: expected 0x0000000000000abc, found 0x0000000000000001"},
    {{fault_kind::element_size, 64, 48}, "element size: expected 64 bytes, found 48"},
    {{fault_kind::element_alignment, 64, 8}, "element alignment: expected 64 bytes, found 8"},
    {{fault_kind::capacity, 2147483648, 12}, "capacity: expected a power of two from 1 to 2147483648, found 12"},
    {{fault_kind::count, 255, 0, "members"}, "members: expected 1 to 255, found 0"},
    {{fault_kind::positions, 16, 17}, "positions: expected at most 16 apart, found 17"},
    {{fault_kind::watermark, 16, 17}, "watermark: expected at most 16, found 17"},
    {{fault_kind::watermark, 4, 3}, "watermark: expected at least 4, found 3"},
    {{fault_kind::slab_number, 2, 3}, "slab number: expected 2, found 3"},
    {{fault_kind::contended, 256, 512}, "bytes in use: expected 256, found 512"},
    {{fault_kind::message_size, 504, 505}, "message size in bytes: expected at most 504, found 505"},
    {{fault_kind::timed_out, 1, 0, "room for a message"},
     "room for a message: expected 1 before the deadline, found 0"},
    {{fault_kind::peer_dead, 1, 0}, "peer: expected 1 at the other side, found 0"},
    {{fault_kind::corrupt, 0, 1}, "nonsense in shared words: expected 0, found 1 or more"},
    {{fault_kind::peer_id, 1, 0, "producer role"}, "producer role: expected an id of at least 1, found 0"},
    {{fault_kind::busy, 0, peer_12, "producer role"},
     "producer role: expected nobody, found peer 12 (incarnation 345)"},
    {{fault_kind::not_holder, peer_5, 0, "producer role"},
     "producer role: expected the dead peer 5 (incarnation 1), found nobody"},
    {{fault_kind::not_dead, peer_5, peer_5},
     "process: expected the end of peer 5 (incarnation 1), found peer 5 (incarnation 1) alive"},
    {{fault_kind::wrong_process, 12, 34, "doorbell"}, "doorbell: expected process 12, found process 34"},
    {{fault_kind::socket_kind, bell.word(), shm::descriptor_shape{S_IFIFO}.word()},
     "descriptor: expected a connected Unix socket, SOCK_SEQPACKET, found a FIFO"},
    {{fault_kind::socket_kind, bell.word(), shm::descriptor_shape{S_IFSOCK, AF_UNIX, SOCK_DGRAM, true}.word()},
     "descriptor: expected a connected Unix socket, SOCK_SEQPACKET, found a connected Unix socket, SOCK_DGRAM"},
    {{fault_kind::socket_kind, bell.word(), shm::descriptor_shape{S_IFSOCK, AF_INET, SOCK_STREAM, false}.word()},
     "descriptor: expected a connected Unix socket, SOCK_SEQPACKET, found an unconnected socket of family 2, "
     "SOCK_STREAM"},
    {{fault_kind::socket_kind, bell.word(), shm::descriptor_shape{S_IFSOCK, AF_UNIX, 99, false}.word()},
     "descriptor: expected a connected Unix socket, SOCK_SEQPACKET, found an unconnected Unix socket, type 99"},
    {{fault_kind::argument, 9, 1 << 8 | 'x', "--doorbell-fd"},
     "--doorbell-fd: expected a number from 0 to 9, found 'x' at character 1"},
    {{fault_kind::argument, 9, 2 << 8 | '#'}, "argument: expected a number from 0 to 9, found byte 35 at character 2"},
    {{fault_kind::argument, 9, 1 << 8}, "argument: expected a number from 0 to 9, found the end at character 1"},
    {{fault_kind::no_block, 0, 3}, "block: expected one of that name, found none among 3"},
    {{fault_kind::block_kind, 0x31676e6972737073, 7}, "kind of block: expected spsring1, found 0x0000000000000007"},
    {{fault_kind::block_name, 47, 0}, "length of a block's name: expected 1 to 47 characters, then zeros, found 0"},
    {{fault_kind::block_twice, 0, 2}, "name of a block: expected none that block 0 has, found it again at block 2"},
    {{fault_kind::overlap, 256, 192}, "offset of a block: expected at least 256, where the one before ends, found 192"},
    {{fault_kind::pid_namespace, 4026531836, 4026532500}, "pid namespace: expected 4026531836, found 4026532500"},
};

TEST(fault, every_kind_has_a_sentence_with_both_values) {
    std::set<unsigned> seen;
    for (const auto& [refused, sentence] : every_kind) {
        seen.insert(static_cast<unsigned>(refused.what));
        std::cout << refused.sentence() << '\n';
        EXPECT_EQ(refused.sentence(), sentence);
    }
    for (unsigned kind = 0; kind <= last_kind; ++kind) EXPECT_TRUE(seen.contains(kind)) << "kind " << kind;
}

TEST(fault, any_values_make_one_sentence) {
    EXPECT_TRUE(rc::check([](std::uint64_t expected, std::uint64_t found) {
        const auto kind = static_cast<fault_kind>(*rc::gen::inRange(0U, last_kind + 1));
        const std::string sentence = fault{kind, expected, found, "subject"}.sentence();
        RC_ASSERT(sentence.starts_with("subject: expected "));
        RC_ASSERT(sentence.find(", found ") != sentence.npos);
        RC_ASSERT(sentence.find_first_of("#\n") == sentence.npos);
    }));
}

// A newer version's, or nonsense: a sentence all the same.
TEST(fault, of_a_kind_that_nobody_knows_has_a_sentence) {
    for (const unsigned kind : {last_kind + 1, 255U})
        EXPECT_EQ((fault{static_cast<fault_kind>(kind), 1, 2}.sentence()),
                  "fault of unknown kind: expected 1, found 2");
}

TEST(fault_death_test, die_prints_the_sentence_and_aborts) {
    EXPECT_EXIT((fault{fault_kind::element_size, 64, 48}.die()), testing::KilledBySignal(SIGABRT),
                "^element size: expected 64 bytes, found 48\n$");
}

TEST(fault_death_test, the_value_of_a_fault_is_its_sentence_on_standard_error) {
    const shm::result<int> none = fault{fault_kind::gone, 0, 0};
    EXPECT_EXIT(static_cast<void>(none.value()), testing::KilledBySignal(SIGABRT),
                "file: expected one of that name, found none");
    const shm::result<void> nothing = fault{fault_kind::capacity, 8, 3};
    EXPECT_EXIT(nothing.value(), testing::KilledBySignal(SIGABRT),
                "capacity: expected a power of two from 1 to 8, found 3");
}

}  // namespace
