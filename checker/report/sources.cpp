// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "checker/report/sources.hpp"

namespace shm::model {
namespace {

namespace fs = std::filesystem;
const fs::path root{SHM_SOURCE_DIR};

std::string content_of(const fs::path& file) {
    std::ostringstream content;
    content << std::ifstream{file}.rdbuf();
    return content.str();
}

/// The file of the tree that is included by that name, if it is one of the tree's.
std::optional<fs::path> included(std::string_view name) {
    for (const char* folder : {"core", "atomics", "checker/include", "checker/relacy", ""})
        if (const fs::path file = root / folder / name; fs::is_regular_file(file)) return file.lexically_normal();
    return std::nullopt;
}

const std::vector<fs::path>& includes_of(const fs::path& file) {
    static std::map<fs::path, std::vector<fs::path>> known;
    const auto [found, fresh] = known.try_emplace(file);
    if (!fresh) return found->second;
    std::istringstream lines{content_of(file)};
    constexpr std::string_view directive = "#include ";
    for (std::string line; std::getline(lines, line);) {
        const auto end = line.find_first_of(">\"", directive.size() + 1);
        if (!line.starts_with(directive) || end == std::string::npos) continue;
        if (const auto more = included(std::string_view{line}.substr(directive.size() + 1, end - directive.size() - 1)))
            found->second.push_back(*more);
    }
    return found->second;
}

}  // namespace

std::set<fs::path> sources_of(const std::string& family) {
    std::vector<fs::path> open{root / "models" / family / "model.cpp", root / "checker/relacy/engine.cpp",
                               root / "checker/driver/model_check.cpp", root / "checker/driver/engines.cpp",
                               root / "checker/report/orders.cpp"};
    for (const auto& found : fs::directory_iterator{root / "checker/explore"})
        if (found.path().extension() == ".cpp") open.push_back(found.path());
    std::set<fs::path> files;
    while (!open.empty()) {
        const fs::path file = std::move(open.back());
        open.pop_back();
        if (!fs::is_regular_file(file))
            throw std::runtime_error(fmt::format("{}: expected a source of this program, found none", file.string()));
        if (!files.insert(file).second) continue;
        for (const fs::path& more : includes_of(file)) open.push_back(more);
        if (fs::path compiled{file}; file.string().starts_with((root / "core").string()) &&
                                     fs::is_regular_file(compiled.replace_extension(".cpp")))
            open.push_back(compiled);
    }
    return files;
}

std::string hash_of_sources(const std::string& family) {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
    EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
    for (const fs::path& path : sources_of(family)) {
        const std::string bytes = fs::relative(path, root).generic_string() + '\n' + content_of(path);
        EVP_DigestUpdate(context.get(), bytes.data(), bytes.size());
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    EVP_DigestFinal_ex(context.get(), digest.data(), &size);
    return fmt::format("{:02x}", fmt::join(digest.begin(), digest.begin() + size, ""));
}

}  // namespace shm::model
