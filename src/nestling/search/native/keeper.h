#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels.h"

namespace nestling {

// Move the `keep` largest of keys[0, count) to the front, in no order, and return the smallest of them. Quickselect without
// branches that depend on keys: std::nth_element mispredicts its way to four times the time. `spare` holds count keys.
inline Key select_best(Key *keys, std::size_t count, std::size_t keep, Key *spare) {
    Key *const start = keys;
    const std::size_t wanted = keep;
    while (count > 48 && keep < count) {
        // The pivot is a little above or below the wanted rank, as a sample of 33 tells it.
        Key sample[33];
        for (std::size_t i = 0; i < 33; ++i) sample[i] = keys[i * (count - 1) / 32];
        const std::size_t at = std::min<std::size_t>(32, keep * 33 / count);
        std::nth_element(sample, sample + at, sample + 33, std::greater<Key>());
        const Key pivot = sample[at];
        std::size_t above = 0, below = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Key key = keys[i];
            const bool over = key > pivot;
            keys[above] = key;
            spare[below] = key;
            above += over;
            below += !over;
        }
        std::copy(spare, spare + below, keys + above);
        if (above >= keep) {
            count = above;
        } else if (above == 0 && below == count) {  // the pivot is the largest: one more pass around it decides
            std::nth_element(keys, keys + (keep - 1), keys + count, std::greater<Key>());
            break;
        } else {
            keys += above;
            count = below;
            keep -= above;
        }
    }
    if (keep < count && count <= 48) std::nth_element(keys, keys + (keep - 1), keys + count, std::greater<Key>());
    return *std::min_element(start, start + wanted);
}

// The `keep` best of a stream of keys: a buffer that is cut when it is full. What it holds in the end does not depend on
// the order in which keys come.
class Keeper {
   public:
    void start(std::size_t keep, float threshold) {
        count_ = 0;
        threshold_ = threshold;
        resize(keep);
    }
    float threshold() const { return threshold_; }
    std::size_t size() const { return count_; }
    Key *begin() { return keys_.data(); }
    Key *end() { return keys_.data() + count_; }

    Key *free() {
        if (room() < kBlock) cut();
        return keys_.data() + count_;
    }
    std::size_t room() const { return full_ - count_; }
    void took(std::size_t n) { count_ += n; }

    void put(Key key) {
        *free() = key;
        ++count_;
    }

    // Leave the best `keep`, in no order.
    void cut() {
        if (count_ <= keep_) return;
        if (keep_ == 0) {
            count_ = 0;
            return;
        }
        if (spare_.size() < keys_.size()) spare_.resize(keys_.size());
        const Key least = select_best(keys_.data(), count_, keep_, spare_.data());
        count_ = keep_;
        threshold_ = std::max(threshold_, score_of(least));
    }

    // Cut, then go on with a larger `keep` but only above the lowest score that is held.
    void widen(std::size_t keep) {
        cut();
        const bool full = count_ == keep_ && count_ > 0;
        const float lowest = full ? score_of(*std::min_element(begin(), end())) : -std::numeric_limits<float>::infinity();
        if (full) {
            threshold_ = std::nextafter(lowest, std::numeric_limits<float>::infinity());
            count_ = static_cast<std::size_t>(
                std::remove_if(begin(), end(), [&](Key key) { return !(score_of(key) >= threshold_); }) - begin());
        } else {
            threshold_ = -std::numeric_limits<float>::infinity();
        }
        resize(keep);
    }
    bool guessed() const { return threshold_ > -std::numeric_limits<float>::infinity(); }

   private:
    // How much is held before it is cut follows from `keep` alone: a buffer that an earlier, longer shortlist left must not
    // delay the threshold of this one.
    void resize(std::size_t keep) {
        keep_ = keep;
        full_ = std::max(2 * keep, keep + 8 * kBlock) + kBlock;
        if (keys_.size() < full_) keys_.resize(full_);
    }

    std::vector<Key> keys_, spare_;
    std::size_t keep_ = 0, count_ = 0, full_ = 0;
    float threshold_ = 0;
};

}  // namespace nestling
