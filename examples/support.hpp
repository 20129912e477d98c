// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What send_file.cpp, messages.cpp and take_over.cpp need and has nothing to do with shared memory: files, hashes, a progress bar, errors
// in sentences, waits that end with the other process.
#pragma once
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/wait.h>
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
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <shm/fault.hpp>
#include <shm/result.hpp>
#include <shm/slot_handle.hpp>
#include <shm/std_atomics.hpp>
#include <shm/unique_fd.hpp>

namespace support {

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
    if constexpr (!std::is_void_v<T>) return *std::move(outcome);
}
template <class T>
T need(shm::result<T, shm::slot_error> outcome) {
    if (!outcome) throw failure{outcome.error().sentence()};
    if constexpr (!std::is_void_v<T>) return *std::move(outcome);
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

/// Costs little, and yet every byte is read.
inline std::uint64_t sum_of(bytes data) {
    std::uint64_t sum = 0;
    std::uint64_t word = 0;
    for (; data.size() >= sizeof word; data = data.subspan(sizeof word)) {
        std::memcpy(&word, data.data(), sizeof word);
        sum += word;
    }
    for (const std::byte byte : data) sum += std::to_integer<std::uint64_t>(byte);
    return sum;
}

/// SHA-256 of all that is added; or, to see the transport alone, a mere sum.
class hasher {
public:
    explicit hasher(bool sha256) : sha256_{sha256 ? EVP_MD_CTX_new() : nullptr, EVP_MD_CTX_free} {
        if (sha256_) EVP_DigestInit_ex(sha256_.get(), EVP_sha256(), nullptr);
    }
    void add(bytes data) {
        if (sha256_)
            EVP_DigestUpdate(sha256_.get(), data.data(), data.size());
        else
            sum_ += sum_of(data);
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

/// Polls until `ready`. Returns false when the other process ended first: to ask is a system call, so that is asked now
/// and then only. What it did last happened before its end, hence the last look.
template <class Ready, class Ended>
bool wait_until(Ready ready, Ended peer_has_ended) {
    for (unsigned round = 1; !ready(); ++round) {
        shm::std_atomics::pause();
        if (round % 64 != 0) continue;
        std::this_thread::yield();  // it may need this very core
        if (round % 4096 != 0) continue;
        if (peer_has_ended()) return ready();
        std::this_thread::sleep_for(std::chrono::microseconds{50});  // others may need the core too
    }
    return true;
}

/// Looks without reaping: until then nobody else gets the child's pid.
inline bool has_ended(pid_t child) {
    siginfo_t end{};
    return waitid(P_PID, static_cast<id_t>(child), &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid == child;
}

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

/// Runs `work`. Says why it failed, and returns the exit status.
template <class Work>
int exit_status_of(const char* program, Work work) {
    try {
        work();
        return arrived;
    } catch (const failure& why) {
        progress::clear();
        if (!why.sentence.empty()) std::fprintf(stderr, "%s: %s\n", program, why.sentence.c_str());
        return why.status;
    } catch (const std::exception& why) {
        std::fprintf(stderr, "%s: %s\n", program, why.what());
        return failed;
    }
}

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

[[noreturn]] inline void fail_as_no_file(const struct stat& found, const std::string& path) {
    throw failure{shm::fault{shm::fault_kind::not_a_regular_file, S_IFREG, found.st_mode, path.c_str()}.sentence()};
}

inline source open_source(const std::string& path) {
    shm::unique_fd fd{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a FIFO would wait for its writer
    if (!fd) fail_with_errno("cannot read " + path);
    const struct stat found = status_of(fd.get(), path);
    if (!S_ISREG(found.st_mode)) fail_as_no_file(found, path);
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

struct line {
    std::uint64_t offset;  // in the file
    bytes text;            // valid until the next one is asked for
};

/// The lines of a file, a FIFO or a terminal, each with its newline; what follows the last newline is a line, too. Of a line
/// that is longer than `longest` only so much may come that it is seen.
class line_reader {
public:
    line_reader(std::string path, std::size_t longest)
        : path_{std::move(path)},
          fd_{open(path_.c_str(), O_RDONLY | O_CLOEXEC)},
          buffer_(std::max(longest + 1, std::size_t{1} << 20)) {
        if (!fd_) fail_with_errno("cannot read " + path_);
    }

    std::optional<line> next() {
        while (true) {
            const bytes rest = bytes{buffer_}.subspan(begin_, end_ - begin_);
            const auto newline = std::find(rest.begin(), rest.end(), std::byte{'\n'});
            if (newline != rest.end() || at_end_ || rest.size() == buffer_.size()) {
                if (rest.empty()) return std::nullopt;
                const bytes text{rest.begin(), newline == rest.end() ? newline : newline + 1};
                begin_ += text.size();
                offset_ += text.size();
                return line{offset_ - text.size(), text};
            }
            std::memmove(buffer_.data(), rest.data(), rest.size());
            begin_ = 0;
            end_ = rest.size();
            const ssize_t count = read(fd_.get(), buffer_.data() + end_, buffer_.size() - end_);
            if (count < 0 && errno != EINTR) fail_with_errno("cannot read " + path_);
            at_end_ = count == 0;
            if (count > 0) end_ += static_cast<std::size_t>(count);
        }
    }

private:
    std::string path_;
    shm::unique_fd fd_;
    std::vector<std::byte> buffer_;
    std::size_t begin_ = 0;  // of what is read and not yet given out
    std::size_t end_ = 0;
    std::uint64_t offset_ = 0;  // of `begin_` in the file
    bool at_end_ = false;
};

/// Where the consumer writes what is not known to be whole yet. The producer can name it too, and remove it after a kill.
inline std::string partial_name(const std::string& path, pid_t consumer) {
    return path + ".partial-" + std::to_string(consumer);
}

/// Whether `write_at` will be called, for which only a file will do.
enum class places : bool { none, needed };

/// A file that gets its name when it is whole; a device or FIFO, which has one; or nothing, when the path is empty.
class output {
public:
    explicit output(std::string path, places wanted = places::none) : path_{std::move(path)} {
        if (path_.empty()) return;
        struct stat found{};
        if (stat(path_.c_str(), &found) == 0 && !S_ISREG(found.st_mode)) {
            if (wanted == places::needed) fail_as_no_file(found, path_);
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
    void write_at(bytes data, std::uint64_t offset) {
        while (fd_ && !data.empty()) {
            const ssize_t count = pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
            if (count < 0 && errno != EINTR) fail();
            if (count <= 0) continue;
            data = data.subspan(static_cast<std::size_t>(count));
            offset += static_cast<std::uint64_t>(count);
        }
    }
    [[nodiscard]] digest sha256() const {
        const source written = open_source(partial_);
        std::vector<std::byte> some(std::size_t{1} << 20);
        hasher hash{true};
        std::uint64_t done = 0;
        std::size_t count = 0;
        while ((count = read_at(written, done, some)) > 0) {
            hash.add(bytes{some}.first(count));
            done += count;
        }
        return hash.finish();
    }
    void discard() { unlink(partial_.c_str()); }

    /// Its name until it is whole.
    [[nodiscard]] const std::string& partial() const { return partial_; }
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

}  // namespace support
