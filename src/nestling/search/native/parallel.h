#pragma once
#include <algorithm>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace nestling {

// Call work(begin, end) over parts of [0, count) on up to `threads` threads, this one among them; the first exception is
// thrown again here.
template <class Work>
void parallel(std::size_t count, std::size_t threads, std::size_t least, Work work) {
    const std::size_t parts = std::max<std::size_t>(1, std::min(threads, count / std::max<std::size_t>(least, 1)));
    if (parts == 1) {
        if (count) work(std::size_t{0}, count);
        return;
    }
    std::exception_ptr failed;
    std::mutex guard;
    auto run = [&](std::size_t part) {
        try {
            const std::size_t begin = count * part / parts, end = count * (part + 1) / parts;
            if (begin < end) work(begin, end);
        } catch (...) {
            const std::lock_guard<std::mutex> held(guard);
            if (!failed) failed = std::current_exception();
        }
    };
    std::vector<std::thread> others;
    others.reserve(parts - 1);
    std::size_t started = 1;
    try {
        for (; started < parts; ++started) others.emplace_back(run, started);
    } catch (...) {  // the system has no more threads: this one does the rest
    }
    run(0);
    for (std::size_t part = started; part < parts; ++part) run(part);
    for (auto &thread : others) thread.join();
    if (failed) std::rethrow_exception(failed);
}

}  // namespace nestling
