// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fstream>
#include <sstream>

#include "checker/tests/programs.hpp"

namespace shm::explore {

program_text parse(const std::string& line) {
    using enum std::memory_order;
    constexpr std::memory_order orders[] = {relaxed, acquire, release, acq_rel, seq_cst};
    program_text threads(1);
    std::istringstream words{line};
    for (std::string word; words >> word;) {
        if (word == "|") {
            threads.emplace_back();
            continue;
        }
        operation o{};
        o.conditional = word.front() == '?';
        o.kind = word.back();
        unsigned order = 0;
        words >> o.location >> o.a >> o.b >> order;
        if (!words || std::string{"WRAXCFUNBQDSJ"}.find(o.kind) == std::string::npos ||
            o.location >= words_of_a_program || order >= std::size(orders))
            throw std::invalid_argument(std::string{"expected an operation, found \""}
                                            .append(word)
                                            .append("\" in \"")
                                            .append(line)
                                            .append("\""));
        o.order = orders[order];
        threads.back().push_back(o);
    }
    return threads;
}

unsigned threads_at_first(const program_text& program) {
    auto first = static_cast<unsigned>(program.size());
    for (const auto& thread : program)
        for (const operation& o : thread)
            if (o.kind == 'S') --first;
    return first;
}

std::vector<counted> read_counted(const std::string& path) {
    std::ifstream file{path};
    if (!file) throw std::invalid_argument("expected a file of programs, found none: " + path);
    std::vector<counted> all;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with('#')) continue;
        const auto first = line.find('\t'), last = line.rfind('\t');
        const std::string program = line.substr(last + 1);
        all.push_back({std::stoull(line), first == last ? program : line.substr(first + 1, last - first - 1), program});
    }
    return all;
}

void interpreted::thread(unsigned index) {
    if (program_[index].empty() || program_[index].front().kind != 'D') return perform(index);
    std::jmp_buf last_breath;
    if (setjmp(last_breath) != 0) return;
    scheduler::running().make_mortal(&last_breath);
    perform(index);
}

void interpreted::perform(unsigned index) {
    unsigned last = 0;
    for (const operation& o : program_[index]) {
        if (o.conditional && last == 0) continue;
        auto& word = words_[o.location];
        switch (o.kind) {
            case 'W': word.store(o.a, o.order); break;
            case 'R': last = word.load(o.order); break;
            case 'A': last = word.fetch_add(o.a, o.order); break;
            case 'X': last = word.exchange(o.a, o.order); break;
            case 'B':
            case 'C':
            case 'Q': {
                unsigned expected = o.a;
                if (o.kind == 'Q')
                    (void)word.compare_exchange_weak(expected, o.b, o.order, o.failure_order());
                else
                    (void)word.compare_exchange_strong(expected, o.b, o.order, o.failure_order());
                last = expected;
                break;
            }
            case 'U':
                last = explore_atomics::await(word, o.order, [a = o.a](unsigned seen) { return seen == a; });
                break;
            case 'N': last = explore_atomics::choose(o.a); break;
            case 'S': started_[o.a] = spawn([this, which = o.a] { perform(which); }); break;
            case 'J':
                if (started_[o.a]) join(*started_[o.a]);
                break;
            case 'D': break;
            default: explore_atomics::fence(o.order);
        }
    }
}

}  // namespace shm::explore
