// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fstream>
#include <map>
#include <string_view>
#include <vector>

#include "checker/report/source_text.hpp"

namespace shm::model {
namespace {

const std::vector<std::string>& lines_of(const std::string& path) {
    static std::map<std::string, std::vector<std::string>> read;
    const auto [found, fresh] = read.try_emplace(path);
    if (fresh) {
        std::ifstream file{path};
        for (std::string line; std::getline(file, line);) found->second.push_back(line);
    }
    return found->second;
}

std::string trimmed(const std::string& text) {
    const auto first = text.find_first_not_of(" \t");
    return first == std::string::npos ? std::string{} : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string without_template_arguments(std::string_view name) {
    std::string plain;
    int depth = 0;
    for (const char c : name) {
        if (c == '<') ++depth;
        if (depth == 0) plain += c;
        if (c == '>') --depth;
    }
    return plain;
}

}  // namespace

std::string file_of(const std::source_location& at) {
    const std::string path = at.file_name();
    return path.substr(path.rfind('/') + 1);
}

std::string line_of(const std::source_location& at) {
    const auto& lines = lines_of(at.file_name());
    return at.line() >= 1 && at.line() <= lines.size() ? trimmed(lines[at.line() - 1]) : std::string{};
}

std::string comment_of(const std::source_location& at, op kind) {
    const auto& lines = lines_of(at.file_name());
    std::string comment;
    for (std::size_t i = at.line() - 1; i < lines.size(); ++i) {
        const auto slashes = lines[i].find("//");
        if (slashes != std::string::npos) {
            comment = trimmed(lines[i].substr(slashes + 2));
            if (kind != op::cas_failure) return comment;
        }
        const std::string code = trimmed(lines[i].substr(0, slashes));
        if (!code.empty() && (code.back() == ';' || code.back() == '{' || code.ends_with("))"))) return comment;
    }
    return comment;
}

std::string function_of(const std::source_location& at) {
    std::string name = without_template_arguments(at.function_name());
    name = trimmed(name.substr(0, name.find('(')));
    name = name.substr(name.rfind(' ') + 1);
    for (const std::string_view scope : {"shm::", "v1::"})
        if (name.starts_with(scope)) name = name.substr(scope.size());
    return name;
}

bool in_core(const std::source_location& at) {
    return std::string_view{at.file_name()}.find("core/shm/") != std::string_view::npos;
}

}  // namespace shm::model
