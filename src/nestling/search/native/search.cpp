#include "search.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace nestling {
namespace {

constexpr std::size_t kTile = 32;  // queries that share a pass over the codes

// An order of ids; a damaged text offset compares as empty.
struct Text {
    const std::uint8_t *at;
    std::size_t size;
};
Text text_of(const Ids &ids, std::size_t row) {
    const std::uint64_t begin = ids.offsets[row], end = ids.offsets[row + 1];
    if (begin > end || end > ids.text_bytes) return {ids.text, 0};
    return {ids.text + begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace

Scratch &scratch_of_this_thread() {
    thread_local Scratch scratch;
    return scratch;
}

float squared_norm(const float *x, std::size_t width) { return kernels().dot_float(x, x, width); }

const Sketch *Segment::sketch(std::size_t m, int bits) const {
    for (const Sketch &s : sketches)
        if (s.m == m && s.bits == bits) return &s;
    return nullptr;
}

Live live_of(const std::deque<Segment> &segments, const Masks *masks) {
    Live live;
    if (!masks) return live;
    for (std::size_t s = 0; s < segments.size(); ++s) {
        const Segment &segment = segments[s];
        std::vector<std::uint64_t> bits(segment.rows / 64 + 1, 0);
        for (std::size_t p = 0; p < segment.rows; ++p) {
            const std::size_t row = segment.row_of(p);
            const bool in = (*masks)[s][row / 64] >> (row % 64) & 1;
            const bool alive = segment.live_rows.empty() || (segment.live_rows[row / 64] >> (row % 64) & 1);
            if (in && alive) bits[p / 64] |= std::uint64_t{1} << (p % 64);
        }
        live.positions.push_back(std::move(bits));
    }
    return live;
}

bool id_before(const Snapshot &snapshot, const Candidate &a, const Candidate &b) {
    const Ids &x = snapshot.segments()[a.segment].ids, &y = snapshot.segments()[b.segment].ids;
    if (x.numbers && y.numbers) return x.numbers[a.row] < y.numbers[b.row];
    if (x.offsets && y.offsets) {
        const Text s = text_of(x, a.row), t = text_of(y, b.row);
        const std::size_t shared = std::min(s.size, t.size);
        const int order = shared ? std::memcmp(s.at, t.at, shared) : 0;  // no text at all has no address
        if (order != 0) return order < 0;
        if (s.size != t.size) return s.size < t.size;
    }
    return a.number < b.number;
}

void rank(const Snapshot &snapshot, std::vector<Candidate> &candidates, std::size_t k) {
    const auto before = [&](const Candidate &a, const Candidate &b) {
        const Key x = key_of(a.value + 0.0f, 0), y = key_of(b.value + 0.0f, 0);
        return x != y ? x > y : id_before(snapshot, a, b);
    };
    const std::size_t kept = std::min(k, candidates.size());
    std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(kept), candidates.end(), before);
    candidates.resize(kept);
}

void Search::run(const float *queries, std::size_t begin, std::size_t end, std::int64_t *rows, float *scores) {
    // Cells are visited nearest first, which no two queries share.
    const std::size_t tile = cells_.chosen ? 1 : kTile, d = snapshot_.width(), k = plan_.back().keep;
    for (std::size_t at = begin; at < end; at += tile) {
        const std::size_t count = std::min(tile, end - at);
        scan(queries + at * d, at, count);
        for (std::size_t t = 0; t < count; ++t) {
            const float *query = queries + (at + t) * d;
            shortlist(keepers_[t]);
            for (std::size_t stage = 1; stage < plan_.size(); ++stage) rerank(stage, query);
            finish(query);
            for (std::size_t i = 0; i < k; ++i) {
                const bool there = i < candidates_.size();
                rows[(at + t) * k + i] = there ? static_cast<std::int64_t>(candidates_[i].number) : -1;
                scores[(at + t) * k + i] = there ? candidates_[i].value : std::numeric_limits<float>::quiet_NaN();
            }
        }
    }
}

void Search::shortlist(Keeper &keeper) {
    candidates_.clear();
    std::size_t s = 0;
    const std::deque<Segment> &segments = snapshot_.segments_;
    for (const Key key : keeper) {
        const std::uint32_t number = position_of(key);
        while (number < segments[s].first) --s;
        while (number - segments[s].first >= segments[s].rows) ++s;
        const std::size_t row = segments[s].row_of(number - segments[s].first);
        const float value = score_of(key);
        candidates_.push_back({segments[s].first + static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(s),
                               static_cast<std::uint32_t>(row), 0, value});
    }
    summed_ = 0;
    summed_bits_ = -1;
}

void Search::rerank(std::size_t stage, const float *query) {
    const Stage &now = plan_[stage];
    if (candidates_.empty()) return;  // of an index without segments, too
    if (stage == 1 && plan_[0].bits == 0 && now.bits == 0) {  // the scan's own sums, again for the few that it kept
        add_stored(0, plan_[0].dims, query);
        summed_ = plan_[0].dims, summed_bits_ = 0;
    }
    if (summed_bits_ != now.bits) {
        for (Candidate &c : candidates_) c.dot = 0;
        summed_ = 0, summed_bits_ = now.bits;
    }
    if (now.bits == 0) add_stored(summed_, now.dims, query);
    else add_copies(summed_, now.dims, query);
    summed_ = now.dims;
    weigh(stage);
    if (stage + 1 == plan_.size() || candidates_.size() <= now.keep) return;
    order_.clear();
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
        // Ties go to the earlier row: the key's lower half is the row, and the candidate is found again through it.
        order_.push_back(key_of(candidates_[i].value, candidates_[i].number));
    }
    spare_.resize(std::max(spare_.size(), order_.size()));
    const Key least = select_best(order_.data(), order_.size(), now.keep, spare_.data());
    std::size_t n = 0;
    for (const Candidate &c : candidates_)
        if (key_of(c.value, c.number) >= least) candidates_[n++] = c;
    candidates_.resize(n);
}

void Search::add_stored(std::size_t from, std::size_t to, const float *query) {
    const Kernels &k = kernels();
    const std::size_t n = candidates_.size(), item = snapshot_.half_ ? 2 : 4;
    if (n <= 64)  // few rows: all their pages are asked for at once
        for (const Candidate &c : candidates_)
            for (const Ring &ring : snapshot_.segments_[c.segment].rings)
                if (ring.start >= from && ring.stop <= to)
                    prefetch(static_cast<const char *>(ring.data) + c.row * (ring.stop - ring.start) * item, 1);
    for (std::size_t r = 0; r < snapshot_.stops_.size(); ++r) {
        const Ring &shape = snapshot_.segments_[0].rings[r];
        if (shape.start < from || shape.stop > to) continue;
        const std::size_t width = shape.stop - shape.start, bytes = width * item;
        const std::size_t ahead = bytes > 1024 ? 2 : bytes > 256 ? 6 : 12, fetched = std::min<std::size_t>(bytes, 2048);
        const auto address = [&](const Candidate &c) {
            return static_cast<const char *>(snapshot_.segments_[c.segment].rings[r].data) + c.row * bytes;
        };
        for (std::size_t i = 0; i < std::min(ahead, n); ++i) prefetch(address(candidates_[i]), fetched);
        for (std::size_t i = 0; i < n; ++i) {
            if (i + ahead < n) prefetch(address(candidates_[i + ahead]), fetched);
            const void *row = address(candidates_[i]);
            candidates_[i].dot += snapshot_.half_ ? k.dot_half(static_cast<const std::uint16_t *>(row), query + shape.start, width)
                                                  : k.dot_float(static_cast<const float *>(row), query + shape.start, width);
        }
    }
}

void Search::add_copies(std::size_t from, std::size_t to, const float *query) {
    const Kernels &k = kernels();
    const std::size_t n = candidates_.size();
    for (std::size_t r = 0; r < snapshot_.segments_[0].copies.size(); ++r) {
        const Copy &shape = snapshot_.segments_[0].copies[r];
        if (shape.start < from || shape.stop > to) continue;
        copy_query_.prepare(shape, query + shape.start);
        const std::size_t ahead = shape.stride > 1024 ? 3 : shape.stride > 128 ? 8 : 16;
        const std::size_t fetched = std::min<std::size_t>(shape.stride, 2048);
        const auto fetch = [&](const Candidate &c) {
            const Copy &copy = snapshot_.segments_[c.segment].copies[r];
            prefetch(copy.codes + c.row * copy.stride, fetched);
            prefetch(copy.meta + c.row * 4, 1);
        };
        for (std::size_t i = 0; i < std::min(ahead, n); ++i) fetch(candidates_[i]);
        for (std::size_t i = 0; i < n; ++i) {
            if (i + ahead < n) fetch(candidates_[i + ahead]);
            const Copy &copy = snapshot_.segments_[candidates_[i].segment].copies[r];
            const std::size_t row = candidates_[i].row;
            const std::int32_t sum = k.dot_codes(copy.codes + row * copy.stride, copy_query_.weights.data(), copy.stride);
            candidates_[i].dot += static_cast<float>(sum - copy_query_.shift) * (copy_query_.unit * copy.meta[row * 4]);
        }
    }
}

// From running dot products to values that order the candidates.
void Search::weigh(std::size_t stage) {
    const Stage &now = plan_[stage];
    if (snapshot_.metric_ == Metric::ip) {
        for (Candidate &c : candidates_) c.value = c.dot;
        return;
    }
    const auto norm_of = [&](const Candidate &c) {
        const Segment &segment = snapshot_.segments_[c.segment];
        if (now.bits == 0) {
            for (const Ring &ring : segment.rings)
                if (ring.stop == now.dims) return ring.norms[c.row];
        } else {
            for (const Copy &copy : segment.copies)
                if (copy.stop == now.dims) return copy.meta[c.row * 4 + 1];
        }
        return 0.0f;
    };
    for (Candidate &c : candidates_) {
        const float norm = norm_of(c);
        if (snapshot_.metric_ == Metric::cosine) c.value = norm > 0 ? c.dot / std::sqrt(norm) : 0;
        else c.value = c.dot - norm / 2;
    }
}

void Search::finish(const float *query) {
    const Stage &last = plan_.back();
    const bool raw = plan_.size() == 1 && last.bits != 0;  // a sketch's scores as they are
    const float norm = snapshot_.metric_ == Metric::ip ? 0 : squared_norm(query, last.dims);
    if (snapshot_.metric_ == Metric::cosine && !raw) {
        const float factor = norm > 0 ? 1 / std::sqrt(norm) : 0;
        for (Candidate &c : candidates_) c.value *= factor;
    }
    if (snapshot_.metric_ == Metric::l2) {
        for (Candidate &c : candidates_) c.value = 2 * c.value - norm;
        if (last.bits == 0) {
            std::vector<float> x(last.dims);
            for (Candidate &c : candidates_) {
                for (const Ring &ring : snapshot_.segments_[c.segment].rings) {
                    if (ring.stop > last.dims) break;
                    const std::size_t width = ring.stop - ring.start;
                    if (snapshot_.half_)
                        kernels().from_half(static_cast<const std::uint16_t *>(ring.data) + c.row * width, x.data() + ring.start, width);
                    else
                        std::memcpy(x.data() + ring.start, static_cast<const float *>(ring.data) + c.row * width, width * 4);
                }
                for (std::size_t j = 0; j < last.dims; ++j) x[j] -= query[j];
                c.value = -squared_norm(x.data(), last.dims);
            }
        }
    }
    rank(snapshot_, candidates_, last.keep);
    if (snapshot_.metric_ == Metric::l2)
        for (Candidate &c : candidates_) c.value = -c.value;
}

}  // namespace nestling