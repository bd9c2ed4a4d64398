#pragma once
// What an open index looks like to the kernels: segments of rings, sketches, copies and cells. Nothing is copied but the
// sketches; the owner keeps the mapped files alive.
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "kernels.h"
#include "memory.h"

namespace nestling {

enum class Metric { cosine = 0, ip = 1, l2 = 2 };

struct Ring {
    const void *data;  // (rows, stop - start) float or half
    const float *norms;
    std::size_t start, stop;
};

// Unsigned bytes of the dims [start, stop), rows `stride` bytes apart. meta: scale, squared norm of the prefix up to stop,
// error |x - x^| of that prefix, length of the tail after it; the last two rounded up.
struct Copy {
    const std::uint8_t *codes;
    const float *meta;
    std::size_t start, stop, stride;
};

struct Sketch {
    std::size_t m;
    int bits;
    std::vector<float> center, step;
    float error;    // no |u - u^| is larger, but for rows whose tail is coded as infinite
    float longest;  // no |x| is larger (cosine: 1)
    float scale_unit = 1;  // below 8 bits: what one step of the scales is
    HugeMemory data, scales, bias, shares, tails;
    Codes codes;
};

struct Ids {
    const std::int64_t *numbers = nullptr;  // or:
    const std::uint64_t *offsets = nullptr;
    const std::uint8_t *text = nullptr;
    std::size_t text_bytes = 0;
};

struct Segment {
    std::size_t rows;
    std::uint32_t first;  // the number of its first row in the snapshot
    std::vector<Ring> rings;
    std::vector<Copy> copies;
    std::deque<Sketch> sketches;
    HugeMemory order_memory;
    const std::uint32_t *order = nullptr;         // position -> row, or null: the same
    const std::uint64_t *cell_offsets = nullptr;  // cells + 1 positions
    std::size_t cells = 0;
    std::vector<std::uint64_t> live_rows, live_positions;  // empty: all
    Ids ids;
    std::size_t row_of(std::size_t position) const {
        // A damaged file may name any row; none outside the segment is ever read.
        return order ? (order[position] < rows ? order[position] : rows - 1) : position;
    }
    const Sketch *sketch(std::size_t m, int bits) const;
};

struct Stage {
    std::size_t dims;
    int bits;  // 0: stored precision
    std::size_t keep;
};

// The rows that one search may find, as bits by row; null for a segment: all that live.
using Masks = std::vector<std::vector<std::uint64_t>>;

struct Cells {
    const std::int32_t *chosen = nullptr;  // (q, count) cells, or null: everything
    std::size_t count = 0;
};

struct Found {
    std::uint32_t row;  // in the snapshot
    float score;
};

class Snapshot {
   public:
    Snapshot(std::vector<std::size_t> stops, Metric metric, bool half);
    Snapshot(const Snapshot &) = delete;
    Snapshot &operator=(const Snapshot &) = delete;

    std::size_t width() const { return stops_.back(); }
    std::size_t rows() const { return rows_; }
    std::size_t add_segment(Segment segment);
    Segment &segment(std::size_t i) { return segments_.at(i); }
    const std::deque<Segment> &segments() const { return segments_; }
    void check(const std::vector<Stage> &plan, bool cells) const;  // std::invalid_argument

    // rows and scores: (q, k); missing: -1 and NaN. queries must be finite.
    void search(const float *queries, std::size_t q, const std::vector<Stage> &plan, Cells cells, const Masks *masks,
                std::size_t threads, std::int64_t *rows, float *scores) const;

    // The true k best over the stored rows (docs/engine.md proves it). `guess`: rows (q, g) found by a plan, −1 for none.
    // reads: (q, 3) numbers of rows whose bound, copy and full vector were looked at; may be null.
    void exact(const float *queries, std::size_t q, std::size_t k, const std::int64_t *guess, std::size_t g, std::size_t m,
               const Masks *masks, std::size_t threads, std::int64_t *rows, float *scores, std::int64_t *reads) const;

   private:
    friend class Search;
    friend class Certified;
    std::size_t segment_of(std::uint32_t row) const;
    std::vector<std::size_t> stops_;
    Metric metric_;
    bool half_;
    std::size_t rows_ = 0;
    std::deque<Segment> segments_;
};

}  // namespace nestling
