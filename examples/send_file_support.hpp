// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What send_file.cpp needs and has nothing to do with shared memory: files, hashes, a progress bar, errors in sentences.
#pragma once
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <shm/fault.hpp>
#include <shm/result.hpp>
#include <shm/unique_fd.hpp>

namespace send_file {

using bytes = std::span<const std::byte>;
using clock_type = std::chrono::steady_clock;

enum exit_status : int { arrived = 0, failed = 1, misused = 2, peer_died = 3 };

using digest = std::array<unsigned char, 32>;

inline std::string text(std::uint64_t number) { return std::to_string(number); }
inline std::string text(const digest& sum) {
    std::string hex;
    for (const unsigned char byte : sum) (hex += "0123456789abcdef"[byte / 16]) += "0123456789abcdef"[byte % 16];
    return hex;
}

/// Why the file did not arrive, in one sentence; an empty one when the other process has said it already.
struct failure {
    std::string sentence;
    int status = failed;
};
[[noreturn]] inline void fail_with_errno(const std::string& what) {
    throw failure{what + ": " + std::generic_category().message(errno)};
}
template <class Value>
void expect(const std::string& what, const Value& expected, const Value& found) {
    if (expected != found) throw failure{what + ": expected " + text(expected) + ", found " + text(found)};
}
template <class T>
T need(shm::result<T> outcome) {
    if (!outcome) throw failure{outcome.error().sentence()};
    return *std::move(outcome);
}

inline std::string megabytes(std::uint64_t done, std::uint64_t total) {
    return std::to_string(done / 1'000'000) + " of " + std::to_string(total / 1'000'000) + " MB";
}

inline bool write_all(int fd, bytes data) {
    while (!data.empty()) {
        const ssize_t count = ::write(fd, data.data(), data.size());
        if (count < 0 && errno != EINTR) return false;
        if (count > 0) data = data.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

/// SHA-256 of all that is added; or, to see the transport alone, a mere sum, which reads every byte but costs little.
class hasher {
public:
    explicit hasher(bool sha256) : sha256_{sha256 ? EVP_MD_CTX_new() : nullptr, EVP_MD_CTX_free} {
        if (sha256_) EVP_DigestInit_ex(sha256_.get(), EVP_sha256(), nullptr);
    }
    void add(bytes data) {
        if (sha256_) {
            EVP_DigestUpdate(sha256_.get(), data.data(), data.size());
            return;
        }
        std::uint64_t sum = sum_;
        std::uint64_t word = 0;
        for (; data.size() >= sizeof word; data = data.subspan(sizeof word)) {
            std::memcpy(&word, data.data(), sizeof word);
            sum += word;
        }
        for (const std::byte byte : data) sum += std::to_integer<std::uint64_t>(byte);
        sum_ = sum;
    }
    digest finish() {
        digest result{};
        if (sha256_)
            EVP_DigestFinal_ex(sha256_.get(), result.data(), nullptr);
        else
            std::memcpy(result.data(), &sum_, sizeof sum_);
        return result;
    }

private:
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> sha256_;
    std::uint64_t sum_ = 0;
};

/// A bar on a terminal, a line every two seconds elsewhere.
class progress {
public:
    progress(const char* what, std::uint64_t total) : what_{what}, total_{std::max<std::uint64_t>(total, 1)} {}
    ~progress() { clear(); }

    void show(std::uint64_t done) {
        const auto now = clock_type::now();
        if (now - shown_ < (terminal() ? std::chrono::milliseconds{50} : std::chrono::seconds{2})) return;
        shown_ = now;
        const double rate = static_cast<double>(done) / 1e6 / std::chrono::duration<double>(now - start_).count();
        const std::string bar(static_cast<std::size_t>(40 * std::min(done, total_) / total_), '#');
        std::fprintf(stderr, terminal() ? "\r%s [%-40s] %s, %.0f MB/s\033[K" : "%s %.0s%s, %.0f MB/s\n", what_,
                     bar.c_str(), megabytes(done, total_).c_str(), rate);
    }
    static void clear() {
        if (terminal()) std::fputs("\r\033[K", stderr);
    }

private:
    static bool terminal() { return isatty(STDERR_FILENO) == 1; }

    const char* what_;
    std::uint64_t total_;
    clock_type::time_point start_ = clock_type::now();
    clock_type::time_point shown_ = start_;
};

struct source {
    std::string path;
    shm::unique_fd fd;
    std::uint64_t size_bytes;
};

inline struct stat status_of(int fd, const std::string& path) {
    struct stat found{};
    if (fstat(fd, &found) != 0) fail_with_errno("cannot read " + path);
    return found;
}

inline source open_source(const std::string& path) {
    shm::unique_fd fd{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a FIFO would wait for its writer
    if (!fd) fail_with_errno("cannot read " + path);
    const struct stat found = status_of(fd.get(), path);
    const shm::fault other{shm::fault_kind::not_a_regular_file, S_IFREG, found.st_mode, path.c_str()};
    if (!S_ISREG(found.st_mode)) throw failure{other.sentence()};
    return {path, std::move(fd), static_cast<std::uint64_t>(found.st_size)};
}

inline std::filesystem::path temporary(const std::string& name) {
    return std::filesystem::temp_directory_path() / ("send_file-" + name);
}

/// Pseudo-random bytes in a file without a name, which is gone with its descriptor.
inline source make_sample(std::uint64_t size_bytes) {
    std::string path = temporary("XXXXXX");
    const shm::unique_fd fd{mkostemp(path.data(), O_CLOEXEC)};
    if (!fd) fail_with_errno("cannot write " + path);
    source made{path, shm::unique_fd{open(path.c_str(), O_RDONLY | O_CLOEXEC)}, size_bytes};
    unlink(path.c_str());
    progress bar{"making a sample", size_bytes};
    std::mt19937_64 random{42};
    std::vector<std::uint64_t> block(std::size_t{1} << 17);
    for (std::uint64_t done = 0; done < size_bytes;) {
        std::generate(block.begin(), block.end(), std::ref(random));
        const auto some = std::as_bytes(std::span{block}).first(std::min<std::uint64_t>(size_bytes - done, 1 << 20));
        if (!write_all(fd.get(), some)) fail_with_errno("cannot write " + path);
        bar.show(done += some.size());
    }
    return made;
}

inline std::size_t read_at(const source& from, std::uint64_t offset, std::span<std::byte> into) {
    for (;;) {
        const ssize_t count = pread(from.fd.get(), into.data(), into.size(), static_cast<off_t>(offset));
        if (count >= 0) return static_cast<std::size_t>(count);
        if (errno != EINTR) fail_with_errno("cannot read " + from.path);
    }
}

/// Where the consumer writes what is not known to be whole yet. The producer can name it too, and remove it after a kill.
inline std::string partial_name(const std::string& path, pid_t consumer) {
    return path + ".partial-" + std::to_string(consumer);
}

/// A file that gets its name when it is whole; a device or FIFO, which has one; or nothing, when the path is empty.
class output {
public:
    explicit output(std::string path) : path_{std::move(path)} {
        if (path_.empty()) return;
        struct stat found{};
        if (stat(path_.c_str(), &found) == 0 && !S_ISREG(found.st_mode)) {
            fd_ = shm::unique_fd{open(path_.c_str(), O_WRONLY | O_CLOEXEC)};
        } else {
            partial_ = partial_name(path_, getpid());
            fd_ = shm::unique_fd{open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
        }
        if (!fd_) fail();
    }
    output(const output&) = delete;
    output& operator=(const output&) = delete;
    ~output() {
        if (!partial_.empty()) unlink(partial_.c_str());
    }

    void write(bytes data) {
        if (fd_ && !write_all(fd_.get(), data)) fail();
    }
    void keep() {
        if (fd_ && close(fd_.release_fd()) != 0) fail();
        if (!partial_.empty() && rename(partial_.c_str(), path_.c_str()) != 0) fail();
        partial_.clear();
    }

private:
    [[noreturn]] void fail() const { fail_with_errno("cannot write " + path_); }

    std::string path_;
    std::string partial_;
    shm::unique_fd fd_;
};

inline double median(std::vector<double> of) {
    std::sort(of.begin(), of.end());
    return of[of.size() / 2];
}

}  // namespace send_file
