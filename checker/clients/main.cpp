// SPDX-License-Identifier: MIT OR Apache-2.0
// Runs generated clients of each primitive that is linked.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "checker/clients/clients.hpp"

namespace shm::model {
namespace {

clients_budget budget;

class family_test : public testing::Test {
public:
    explicit family_test(const clients_family& family) : family_{family} {}
    void TestBody() override {
        auto last = std::chrono::steady_clock::now();
        const clients_report found = family_.check(budget, [&](const clients_report& so_far) {
            if (std::chrono::steady_clock::now() - last < std::chrono::seconds{5}) return;
            last = std::chrono::steady_clock::now();
            std::fprintf(stderr, "%s: %llu clients, %llu executions, %.0f s\n", so_far.family.c_str(),
                         static_cast<unsigned long long>(so_far.programs),
                         static_cast<unsigned long long>(so_far.executions), so_far.seconds);
        });
        std::printf(
            "%s: %llu clients of seed %llu, %llu calls, %llu executions, %.1f s; histories: %llu linearizable, %llu "
            "with an order for each thread, or each part\n",
            found.family.c_str(), static_cast<unsigned long long>(found.programs),
            static_cast<unsigned long long>(found.seed), static_cast<unsigned long long>(found.calls),
            static_cast<unsigned long long>(found.executions), found.seconds,
            static_cast<unsigned long long>(found.linearizable), static_cast<unsigned long long>(found.late));
        if (!found.failure.empty()) ADD_FAILURE() << found.failure;
    }

private:
    const clients_family& family_;
};

enum exit_code : int { passed = 0, failed = 1, wrong_usage = 2 };

int replay(const std::string& text) {
    try {
        const client_token token{text};
        const auto family = std::find_if(clients_families().begin(), clients_families().end(),
                                         [&](const clients_family& each) { return each.name == token.family; });
        if (family == clients_families().end())
            throw std::invalid_argument{"expected the name of a primitive, found \"" + token.family + "\""};
        const clients_replay shown = family->replay(token);
        std::printf("%s\n%s\n", shown.text.c_str(),
                    shown.fails ? "FAIL, as the token promised" : "PASS: this execution does not fail");
        return shown.fails ? failed : passed;
    } catch (const std::invalid_argument& refused) {
        std::fprintf(stderr, "--replay: %s\n", refused.what());
        return wrong_usage;
    }
}

int run(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    CLI::App app{
        "Exhausts generated clients of each primitive, and judges every execution by the primitive's reference."};
    app.add_option("--clients", budget.programs, "How many of each")->check(CLI::PositiveNumber)->capture_default_str();
    app.add_option("--seed", budget.seed, "Other clients")->capture_default_str();
    std::string token;
    app.add_option("--replay", token, "Show the one execution that this token stands for");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? passed : wrong_usage;
    }
    if (!token.empty()) return replay(token);
    for (const clients_family& family : clients_families())
        testing::RegisterTest("clients_of", family.name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                              [&family]() -> testing::Test* { return new family_test{family}; });
    return RUN_ALL_TESTS();
}

}  // namespace
}  // namespace shm::model

int main(int argc, char** argv) { return shm::model::run(argc, argv); }
