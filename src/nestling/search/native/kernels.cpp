#include "kernels.h"

#include <atomic>
#include <cstring>
#include <initializer_list>

namespace nestling {
namespace {

const Kernels *best() {
    for (const Kernels *set : {avx512_kernels(), avx2_kernels(), neon_kernels()})
        if (set) return set;
    return &plain_kernels();
}

std::atomic<const Kernels *> chosen{nullptr};

}  // namespace

const Kernels &kernels() {
    const Kernels *set = chosen.load(std::memory_order_acquire);
    if (!set) chosen.store(set = best(), std::memory_order_release);
    return *set;
}

bool choose_kernels(const char *name) {
    if (std::strcmp(name, "auto") == 0) {
        chosen.store(best(), std::memory_order_release);
        return true;
    }
    for (const Kernels *set : {&plain_kernels(), avx2_kernels(), avx512_kernels(), neon_kernels()})
        if (set && std::strcmp(set->name, name) == 0) {
            chosen.store(set, std::memory_order_release);
            return true;
        }
    return false;
}

}  // namespace nestling
