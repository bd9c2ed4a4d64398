// Certified exact search. The full score of a row is at most
//     <q_p, x_p> + |q_t| |x_t|                                              (Cauchy-Schwarz on the tail t after the prefix p)
// and what a sketch or a copy tells of <q_p, x_p> is wrong by at most |q_p| |x_p - x^_p| + |q_p - q^_p| |x^_p|. A row whose bound
// stays below the k-th best true score that is known is never looked at again.
#include <algorithm>
#include <cmath>
#include <limits>

#include "parallel.h"
#include "search.h"

namespace nestling {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 15;  // survivors of the first bound that are taken further together
constexpr float kLost = 1e-20f;                       // a length whose square underflows: no length is known better

struct Survivor {
    Candidate c;
    float bound;
};

// What a certified search needs for a while; a thread keeps its own.
struct Room {
    std::vector<Key> keys;
    std::vector<float> query;
    std::vector<double> upto;
    SketchQuery coded;
    CopyQuery copy_query;
    std::vector<Survivor> survivors;
    std::vector<Candidate> best;
};

Room &room_of_this_thread() {
    thread_local Room room;
    room.keys.resize(kChunk + kBlock);
    return room;
}

}  // namespace

class Certified {
   public:
    Certified(const Snapshot &snapshot, std::size_t k, std::size_t m, const Live &live, Room &room)
        : s_(snapshot), k_(k), m_(m), live_(live), rounding_(std::max(4e-6f, 6e-8f * static_cast<float>(snapshot.width() / 64 + 16))),
          least_(1.5e-45 * static_cast<double>(snapshot.width() + 8)), keys_(room.keys), q_(room.query), upto_(room.upto),
          coded_(room.coded), copy_query_(room.copy_query), survivors_(room.survivors), best_(room.best) {}

    void run(const float *query, const std::int64_t *guess, std::size_t g, std::int64_t *rows, float *scores,
             std::int64_t *reads) {
        begin(query);
        threshold_ = known(guess, g);
        for (std::size_t i = 0; i < s_.segments_.size(); ++i) scan(i);
        for (std::size_t i = 0; i < k_; ++i) {
            const bool there = i < best_.size();
            rows[i] = there ? static_cast<std::int64_t>(best_[i].number) : -1;
            scores[i] = !there ? std::numeric_limits<float>::quiet_NaN()
                        : s_.metric_ == Metric::l2 ? -best_[i].value : best_[i].value;
        }
        if (reads) std::copy(reads_, reads_ + 3, reads);
    }

   private:
    // |q|, the query (length one for cosine) and the lengths of its prefixes and tails.
    void begin(const float *query) {
        const std::size_t d = s_.width();
        q_.assign(query, query + d);
        if (s_.metric_ == Metric::cosine) {
            const float norm = squared_norm(query, d);
            const float factor = norm > 0 ? 1 / std::sqrt(norm) : 0;
            for (float &x : q_) x *= factor;
        }
        upto_.assign(d + 1, 0);
        for (std::size_t j = 0; j < d; ++j) upto_[j + 1] = upto_[j] + static_cast<double>(q_[j]) * q_[j];
        best_.clear();
        std::fill(reads_, reads_ + 3, 0);
    }
    float head(std::size_t m) const { return static_cast<float>(std::sqrt(upto_[m]) * (1 + 1e-6)); }
    float tail(std::size_t m) const {
        return static_cast<float>(std::sqrt(std::max(0.0, upto_.back() - upto_[m]) ) * (1 + 1e-6) + 1e-18);
    }

    double length_of(const Candidate &c) const {
        return std::sqrt(static_cast<double>(s_.segments_[c.segment].rings.back().norms[c.row]));
    }

    // The value that orders rows, from a full dot product: cosine, inner product, or <q, x> - |x|^2 / 2.
    double value_of(const Candidate &c, double dot) const {
        const double length = length_of(c);
        if (s_.metric_ == Metric::cosine) return length > 0 ? dot / length : 0;
        return s_.metric_ == Metric::ip ? dot : dot - length * length / 2;
    }
    // No such value, summed in float32, is larger, when the dot product is at most `dot`.
    float bound_of(const Candidate &c, double dot) const {
        const double length = length_of(c);
        if (s_.metric_ == Metric::cosine) {
            if (length > 0 && length < 100 * kLost) return std::numeric_limits<float>::infinity();
            return (length > 0 ? static_cast<float>(dot / length) : 0) + rounding_;
        }
        const double norm = s_.metric_ == Metric::l2 ? length * length / 2 : 0;
        return static_cast<float>(dot - norm) + static_cast<float>(rounding_ * (head(s_.width()) * length + norm) + least_);
    }
    // The bound that a row must reach to have as good a score as this one, whose score is known.
    float needed(const Candidate &c) const {
        double least = c.value;
        if (s_.metric_ == Metric::l2)  // <q, x> - |x|^2 / 2 = (|q|^2 - |q - x|^2) / 2
            least = (upto_.back() + static_cast<double>(c.value) * (1 + 3 * rounding_) - least_) / 2;
        else
            least -= 2 * (s_.metric_ == Metric::ip ? rounding_ * (head(s_.width()) * length_of(c)) + least_ : rounding_);
        return std::nextafter(static_cast<float>(least), -std::numeric_limits<float>::infinity());
    }

    float full(const Candidate &c) const {
        const Kernels &k = kernels();
        float dot = 0;
        for (const Ring &ring : s_.segments_[c.segment].rings) {
            const std::size_t width = ring.stop - ring.start;
            dot += s_.half_ ? k.dot_half(static_cast<const std::uint16_t *>(ring.data) + c.row * width, q_.data() + ring.start, width)
                            : k.dot_float(static_cast<const float *>(ring.data) + c.row * width, q_.data() + ring.start, width);
        }
        return dot;
    }
    void fetch_full(const Candidate &c) const {
        for (const Ring &ring : s_.segments_[c.segment].rings) {
            const std::size_t bytes = (ring.stop - ring.start) * (s_.half_ ? 2 : 4);
            prefetch(static_cast<const char *>(ring.data) + c.row * bytes, std::min<std::size_t>(bytes, 1024));
        }
    }

    // The score that the caller sees, larger the better; squared distances are summed directly, which loses nothing to
    // cancellation.
    float score(const Candidate &c, float dot) const {
        if (s_.metric_ != Metric::l2) return static_cast<float>(value_of(c, dot));
        thread_local std::vector<float> x;
        x.resize(s_.width());
        for (const Ring &ring : s_.segments_[c.segment].rings) {
            const std::size_t width = ring.stop - ring.start;
            if (s_.half_) kernels().from_half(static_cast<const std::uint16_t *>(ring.data) + c.row * width, x.data() + ring.start, width);
            else std::copy_n(static_cast<const float *>(ring.data) + c.row * width, width, x.data() + ring.start);
        }
        for (std::size_t j = 0; j < x.size(); ++j) x[j] -= q_[j];
        return -squared_norm(x.data(), x.size());
    }

    // What a row must reach to be among the best: the k-th best of the guessed ones.
    float known(const std::int64_t *guess, std::size_t g) {
        std::vector<float> values;
        for (std::size_t i = 0; i < g; ++i) {
            if (guess[i] < 0 || static_cast<std::size_t>(guess[i]) >= s_.rows_) continue;
            const std::uint32_t number = static_cast<std::uint32_t>(guess[i]);
            const std::size_t at = s_.segment_of(number);
            Candidate c{number, static_cast<std::uint32_t>(at), number - s_.segments_[at].first, 0, 0};
            c.value = score(c, full(c));
            const float value = needed(c);
            if (value == value) values.push_back(value);
        }
        if (values.size() < k_) return -std::numeric_limits<float>::infinity();
        std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(k_ - 1), values.end(), std::greater<float>());
        return values[k_ - 1];
    }

    void scan(std::size_t index) {
        const Segment &segment = s_.segments_[index];
        const Sketch *sketch = segment.sketch(m_, 8);
        const std::uint64_t *live = live_.of(segment, index);
        if (!sketch || !sketch->codes.shares) {
            for (std::size_t p = 0; p < segment.rows; p += kChunk) {
                survivors_.clear();
                for (std::size_t i = p; i < std::min(p + kChunk, segment.rows); ++i)
                    if (!live || (live[i / 64] >> (i % 64) & 1)) survive(index, i, std::numeric_limits<float>::infinity());
                settle(index);
            }
            return;
        }
        coded_.prepare(*sketch, q_.data());
        CodedQuery query = coded_.coded;
        const bool unit = s_.metric_ == Metric::cosine;
        query.tail = tail(m_);
        query.margin = head(m_) * (sketch->error + (unit ? 5e-4f : 0)) + coded_.error * 1.001f +
                       rounding_ * head(s_.width()) * sketch->longest + (unit ? 0 : query.tail * kLost) + 1e-43f;
        ScanRange range{0, segment.rows};
        while (range.begin < range.end) {
            const std::size_t n = kernels().scan(sketch->codes, query, range, live, threshold_, 0, true, keys_.data(), keys_.size());
            survivors_.clear();
            for (std::size_t i = 0; i < n; ++i) survive(index, position_of(keys_[i]), score_of(keys_[i]));
            settle(index);
        }
        reads_[0] += static_cast<std::int64_t>(segment.rows);
    }

    void survive(std::size_t index, std::size_t position, float bound) {
        const Segment &segment = s_.segments_[index];
        const std::size_t row = segment.row_of(position);
        survivors_.push_back({{segment.first + static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(index),
                               static_cast<std::uint32_t>(row), 0, 0},
                              bound});
    }

    // Tighten the bounds of the survivors by the copies, then look at the full vectors of the rest, best bound first.
    void settle(std::size_t index) {
        const Segment &segment = s_.segments_[index];
        double lost = 0;  // squared |q_p - q^_p|
        for (std::size_t r = 0; r < segment.copies.size() && !survivors_.empty(); ++r) lost = tighten(segment, segment.copies[r], lost);
        if (segment.copies.empty()) walk_rings(segment);
        std::sort(survivors_.begin(), survivors_.end(), [](const Survivor &a, const Survivor &b) {
            const Key x = key_of(a.bound, a.c.number), y = key_of(b.bound, b.c.number);
            return x > y;
        });
        for (std::size_t i = 0; i < survivors_.size(); ++i) {
            if (!(survivors_[i].bound >= threshold_)) break;
            if (i + 2 < survivors_.size()) fetch_full(survivors_[i + 2].c);
            Candidate c = survivors_[i].c;
            ++reads_[2];
            const float dot = full(c);
            if (!(bound_of(c, dot) >= threshold_)) continue;
            c.value = score(c, dot);
            best_.push_back(c);
            if (best_.size() >= k_ + 32 || (best_.size() >= k_ && threshold_ == -std::numeric_limits<float>::infinity())) settle_best();
        }
        settle_best();
    }

    void settle_best() {
        nestling::rank(s_, best_, k_);
        if (best_.size() == k_) threshold_ = std::max(threshold_, needed(best_.back()));
    }

    double tighten(const Segment &segment, const Copy &copy, double lost) {
        const Kernels &k = kernels();
        copy_query_.prepare(copy, q_.data() + copy.start);
        lost += static_cast<double>(copy_query_.error) * copy_query_.error;
        const float off = static_cast<float>(std::sqrt(lost) * (1 + 1e-6)), front = head(copy.stop), back = tail(copy.stop);
        const std::size_t fetched = std::min<std::size_t>(copy.stride, 2048), ahead = copy.stride > 256 ? 4 : 20;
        const float *const norms = segment.rings.back().norms;
        const std::size_t n = survivors_.size();
        const auto fetch = [&](std::size_t row) {
            prefetch(copy.codes + row * copy.stride, fetched);
            prefetch(copy.meta + row * 4, 1);
            prefetch(norms + row, 1);
        };
        for (std::size_t i = 0; i < std::min(ahead, n); ++i) fetch(survivors_[i].c.row);
        std::size_t kept = 0;
        for (std::size_t i = 0; i < n; ++i) {
            if (i + ahead < n) fetch(survivors_[i + ahead].c.row);
            Survivor s = survivors_[i];
            if (!(s.bound >= threshold_)) continue;
            const std::size_t row = s.c.row;
            const float *meta = copy.meta + row * 4;
            const std::int32_t sum = k.dot_codes(copy.codes + row * copy.stride, copy_query_.weights.data(), copy.stride);
            s.c.dot += static_cast<float>(static_cast<double>(sum - copy_query_.shift) * copy_query_.unit * meta[0]);
            const float wrong = meta[2] + kLost, error = front * wrong + off * (std::sqrt(meta[1]) + wrong + kLost);
            const double dot = static_cast<double>(s.c.dot) + error * 1.000001 + static_cast<double>(back) * (meta[3] + kLost);
            s.bound = std::min(s.bound, bound_of(s.c, dot));
            if (s.bound >= threshold_) survivors_[kept++] = s;
        }
        reads_[1] += static_cast<std::int64_t>(n);
        survivors_.resize(kept);
        return lost;
    }

    // Without copies: the stored rings one after another, each with the bound of what is left.
    void walk_rings(const Segment &segment) {
        const Kernels &k = kernels();
        for (std::size_t r = 0; r + 1 < segment.rings.size(); ++r) {
            const Ring &ring = segment.rings[r];
            const std::size_t width = ring.stop - ring.start, bytes = width * (s_.half_ ? 2 : 4);
            const float back = tail(ring.stop);
            std::size_t kept = 0;
            for (std::size_t i = 0; i < survivors_.size(); ++i) {
                if (i + 12 < survivors_.size())
                    prefetch(static_cast<const char *>(ring.data) + survivors_[i + 12].c.row * bytes, std::min<std::size_t>(bytes, 256));
                Survivor s = survivors_[i];
                const void *row = static_cast<const char *>(ring.data) + s.c.row * bytes;
                s.c.dot += s_.half_ ? k.dot_half(static_cast<const std::uint16_t *>(row), q_.data() + ring.start, width)
                                    : k.dot_float(static_cast<const float *>(row), q_.data() + ring.start, width);
                const double norm = segment.rings.back().norms[s.c.row];
                const double left = std::sqrt(std::max(0.0, norm - ring.norms[s.c.row]) + rounding_ * norm) + kLost;
                s.bound = std::min(s.bound, bound_of(s.c, s.c.dot + back * left));
                if (s.bound >= threshold_) survivors_[kept++] = s;
            }
            survivors_.resize(kept);
        }
    }

    const Snapshot &s_;
    const std::size_t k_, m_;
    const Live &live_;
    const float rounding_;  // how far float32 moves a dot product, relative to |q| |x|
    const double least_;    // and at least
    std::vector<Key> &keys_;
    std::vector<float> &q_;
    std::vector<double> &upto_;
    SketchQuery &coded_;
    CopyQuery &copy_query_;
    std::vector<Survivor> &survivors_;
    std::vector<Candidate> &best_;
    float threshold_ = 0;
    std::int64_t reads_[3] = {};
};

void Snapshot::exact(const float *queries, std::size_t q, std::size_t k, const std::int64_t *guess, std::size_t g,
                     std::size_t m, const Masks *masks, std::size_t threads, std::int64_t *rows, float *scores,
                     std::int64_t *reads) const {
    const Live live = live_of(segments_, masks);
    parallel(q, threads, 1, [&](std::size_t begin, std::size_t end) {
        Certified search(*this, k, m, live, room_of_this_thread());
        for (std::size_t i = begin; i < end; ++i)
            search.run(queries + i * width(), guess ? guess + i * g : nullptr, guess ? g : 0, rows + i * k, scores + i * k,
                       reads ? reads + i * 3 : nullptr);
    });
}

}  // namespace nestling
