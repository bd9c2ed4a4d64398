// The first stage of a plan: which positions of the sketch are read by which queries, and the shortlist that they leave.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "encode.h"
#include "search.h"

namespace nestling {
namespace {

constexpr std::size_t kRunBytes = 24 << 10;  // of codes, which stay in the nearest cache while the tile's queries go over them

bool lives(const std::uint64_t *live, std::size_t at) { return !live || (live[at / 64] >> (at % 64) & 1); }

void fetch(const Sketch &sketch, ScanRange range) {
    const std::size_t bytes = sketch.codes.block_bytes(), first = range.begin / kBlock, last = (range.end + kBlock - 1) / kBlock;
    prefetch(sketch.codes.data + first * bytes, std::min<std::size_t>((last - first) * bytes, 1 << 14));
    if (sketch.codes.scales) prefetch(sketch.codes.scales + first * kBlock, std::min<std::size_t>((last - first) * kBlock, 1 << 12));
}

// Split a range at the borders between sampled blocks and others, and hand on the parts that are wanted.
template <class Use>
void walk(ScanRange range, int which, std::size_t unit, std::size_t period, std::size_t most, Use use) {
    while (range.begin < range.end) {
        std::size_t end = range.end;
        bool wanted = true;
        if (which != 2) {
            const std::size_t group = range.begin / (kBlock * unit), phase = group % period;
            wanted = (phase == 0) == (which == 0);
            const std::size_t next = phase == 0 ? group + 1 : group + period - phase;
            end = std::min(end, next * unit * kBlock);
        }
        if (wanted) {
            const std::size_t cut = (range.begin / kBlock + most) * kBlock;
            end = std::min(end, cut);
            use(ScanRange{range.begin, end});
        }
        range.begin = end;
    }
}

// The same, the last positions first.
template <class Use>
void walk_back(ScanRange range, int which, std::size_t unit, std::size_t period, Use use) {
    const std::size_t window = kBlock * unit * period;
    while (range.begin < range.end) {
        const std::size_t begin = std::max(range.begin, (range.end - 1) / window * window);
        walk({begin, range.end}, which, unit, period, window, use);
        range.end = begin;
    }
}

}  // namespace

void Search::prepare(const float *queries, std::size_t count) {
    const Stage &first = plan_.front();
    const std::size_t d = snapshot_.width(), parts = snapshot_.segments_.size();
    if (first.bits == 0) return;
    coded_.resize(std::max(coded_.size(), count * parts));
    unit_.resize(first.dims);
    for (std::size_t t = 0; t < count; ++t) {
        const float *query = queries + t * d;
        float factor = 1;
        if (snapshot_.metric_ == Metric::cosine) {
            const float norm = squared_norm(query, first.dims);
            factor = norm > 0 ? 1 / std::sqrt(norm) : 0;
        }
        for (std::size_t j = 0; j < first.dims; ++j) unit_[j] = query[j] * factor;
        for (std::size_t s = 0; s < parts; ++s)
            coded_[t * parts + s].prepare(*snapshot_.segments_[s].sketch(first.dims, first.bits), unit_.data());
    }
}

// Which positions of a segment are read: all, or those of the cells that were chosen for query `t`.
void Search::ranges_of(const Segment &segment, std::size_t t) {
    ranges_.clear();
    if (!cells_.chosen || !segment.cell_offsets) {
        ranges_.push_back({0, segment.rows});
        return;
    }
    // In the order given, the nearest first: their threshold keeps most of the others out.
    visited_.assign((segment.cells + 63) / 64, 0);
    for (std::size_t i = 0; i < cells_.count; ++i) {
        const std::int32_t chosen = cells_.chosen[t * cells_.count + i];
        if (chosen < 0 || static_cast<std::size_t>(chosen) >= segment.cells) continue;
        const std::size_t cell = static_cast<std::size_t>(chosen);
        if (visited_[cell / 64] >> (cell % 64) & 1) continue;
        visited_[cell / 64] |= std::uint64_t{1} << (cell % 64);
        ranges_.push_back({static_cast<std::size_t>(segment.cell_offsets[cell]), static_cast<std::size_t>(segment.cell_offsets[cell + 1])});
    }
}

void Search::pass(Pass which, const float *queries, std::size_t begin) {
    const std::size_t d = snapshot_.width();
    const Stage &first = plan_.front();
    const int bits = first.bits ? first.bits : 8;
    const std::size_t blocks = std::max<std::size_t>(kRunBytes / block_bytes(lines_of(first.dims, bits), bits), 8);
    // Where everything is read, one query goes forward and the next one back: what was read last is still in the cache.
    const bool alone = readers_.size() == 1, backward = backward_ && !cells_.chosen && alone;
    const std::size_t most = !alone || first.bits == 0 ? blocks : std::size_t{1} << 40;
    const std::size_t parts = snapshot_.segments_.size();
    for (std::size_t i = 0; i < parts; ++i) {
        const std::size_t s = backward ? parts - 1 - i : i;
        ranges_of(snapshot_.segments_[s], begin);
        const Sketch *sketch = plan_.front().bits ? snapshot_.segments_[s].sketch(first.dims, first.bits) : nullptr;
        for (std::size_t r = 0; r < ranges_.size(); ++r) {
            // Cells lie apart: ask for the next one's codes while this one is scanned.
            if (sketch && r + 1 < ranges_.size()) fetch(*sketch, ranges_[r + 1]);
            const auto use = [&](ScanRange part) {
                for (const std::size_t t : readers_) scan_range(s, part, t, queries + t * d);
            };
            if (backward) walk_back(ranges_[r], static_cast<int>(which), sample_unit_, sample_period_, use);
            else walk(ranges_[r], static_cast<int>(which), sample_unit_, sample_period_, most, use);
        }
    }
}

void Search::scan_range(std::size_t index, ScanRange range, std::size_t t, const float *query) {
    const Segment &segment = snapshot_.segments_[index];
    const Stage &first = plan_.front();
    Keeper &keeper = keepers_[t];
    if (first.bits == 0) {
        scan_stored(index, range, keeper, query);
        return;
    }
    const Kernels &k = kernels();
    const Codes &codes = segment.sketch(first.dims, first.bits)->codes;
    const CodedQuery &coded = coded_[t * snapshot_.segments_.size() + index].coded;
    const std::uint64_t *live = live_.of(segment, index);
    while (range.begin < range.end) {
        Key *out = keeper.free();
        keeper.took(k.scan(codes, coded, range, live, keeper.threshold(), segment.first, false, out, keeper.room()));
    }
}

void Search::scan_stored(std::size_t index, ScanRange range, Keeper &keeper, const float *query) {
    const Segment &segment = snapshot_.segments_[index];
    const std::size_t dims = plan_.front().dims;
    const std::uint64_t *live = live_.of(segment, index);
    const Kernels &k = kernels();
    for (std::size_t p = range.begin; p < range.end; ++p) {
        if (!lives(live, p)) continue;
        const std::size_t row = segment.row_of(p);
        float dot = 0, norm = 0;
        for (const Ring &ring : segment.rings) {
            if (ring.start >= dims) break;
            const std::size_t width = ring.stop - ring.start;
            dot += snapshot_.half_
                       ? k.dot_half(static_cast<const std::uint16_t *>(ring.data) + row * width, query + ring.start, width)
                       : k.dot_float(static_cast<const float *>(ring.data) + row * width, query + ring.start, width);
            norm = ring.norms[row];
        }
        float value = dot;
        if (snapshot_.metric_ == Metric::cosine) value = norm > 0 ? dot / std::sqrt(norm) : 0;
        if (snapshot_.metric_ == Metric::l2) value = dot - norm / 2;
        if (value >= keeper.threshold()) keeper.put(key_of(value, segment.first + static_cast<std::uint32_t>(p)));
    }
}

// The first stage: a sample of the blocks tells which score the shortlist will need, the rest is read with that threshold,
// and queries to whom the sample told too high a one read all again. The shortlist is the same whatever the sample says.
void Search::scan(const float *queries, std::size_t begin, std::size_t count) {
    const std::size_t keep = std::min(plan_.front().keep, std::max<std::size_t>(snapshot_.rows(), 1));
    prepare(queries, count);
    backward_ = !backward_;
    if (keepers_.size() < count) keepers_.resize(count);
    const bool large = snapshot_.rows() > 512 * kBlock;
    sample_unit_ = large ? 4 : 1, sample_period_ = large ? 16 : 8;
    constexpr float lowest = -std::numeric_limits<float>::infinity();
    const bool sampled = !cells_.chosen && snapshot_.rows() > 2048 && snapshot_.rows() > 4 * keep;
    readers_.resize(count);
    std::iota(readers_.begin(), readers_.end(), std::size_t{0});
    if (!sampled) {
        for (const std::size_t t : readers_) keepers_[t].start(keep, lowest);
        pass(Pass::all, queries, begin);
    } else {
        const double expected = static_cast<double>(keep) / static_cast<double>(sample_period_);
        const std::size_t some = std::min(keep, static_cast<std::size_t>(1.2 * expected + 2.5 * std::sqrt(expected) + 6));
        for (const std::size_t t : readers_) keepers_[t].start(some, lowest);
        pass(Pass::sample, queries, begin);
        for (const std::size_t t : readers_) keepers_[t].widen(keep);
        pass(Pass::rest, queries, begin);
        const auto enough = [&](std::size_t t) { return !keepers_[t].guessed() || keepers_[t].size() >= keep; };
        readers_.erase(std::remove_if(readers_.begin(), readers_.end(), enough), readers_.end());
        for (const std::size_t t : readers_) keepers_[t].start(keep, lowest);
        if (!readers_.empty()) pass(Pass::all, queries, begin);
    }
    for (std::size_t t = 0; t < count; ++t) keepers_[t].cut();
}

}  // namespace nestling
