// Plain C++: the reference of the other instruction sets, and what runs where there is none.
#include "half.h"
#include "scan_impl.h"

namespace nestling {
namespace {

struct Plain {
    struct Sums {
        std::int32_t v[kBlock];
    };

    template <int bits, int known>
    struct Weights {
        std::size_t lines;
        Weights(const CodedQuery &, std::size_t n) : lines(n) {}
    };

    template <int bits, int known>
    static inline Sums sums(const std::uint8_t *block, const Weights<bits, known> &weights, const CodedQuery &q) {
        const std::size_t lines = weights.lines;
        Sums s;
        constexpr int parts = 8 / bits, ones = (1 << bits) - 1;
        for (std::size_t g = 0; g < kBlock / kGroup; ++g) {
            std::int32_t *out = s.v + g * kGroup;
            for (std::size_t i = 0; i < kGroup; ++i) out[i] = 0;
            for (std::size_t l = 0; l < lines; ++l, block += 64)
                for (int p = 0; p < parts; ++p) {
                    const std::int8_t *w = q.weights + (l * parts + p) * 4;
                    for (std::size_t i = 0; i < kGroup; ++i)
                        for (int j = 0; j < 4; ++j)
                            out[i] += static_cast<std::int32_t>((block[4 * i + j] >> (p * bits)) & ones) * w[j];
                }
        }
        return s;
    }

    template <int bits>
    static Sums looked_up(const std::uint8_t *block, std::size_t lines, const CodedQuery &q) {
        Sums s;
        for (std::size_t v = 0; v < kBlock; ++v) {
            const std::size_t group = v / kGroup, at = 2 * (v % kGroup) + 32 * (group & 1) + (group >> 1);
            std::int32_t sum = 0;
            for (std::size_t l = 0; l < lines; ++l) {
                const std::uint8_t byte = block[l * 64 + at];
                sum += q.table[32 * l + (byte & 15)] + q.table[32 * l + 16 + (byte >> 4)];
                if (l + 1 == q.coarse) sum <<= q.up;
            }
            s.v[v] = sum;
        }
        return s;
    }
    static const Sums &widen(const Sums &s) { return s; }

    static std::uint64_t reach_small(const Sums &s, const std::uint8_t *scales, const Sieve &sieve) {
        std::uint64_t mask = 0;
        for (std::size_t i = 0; i < kBlock; ++i) {
            const std::int32_t product = ((s.v[i] - sieve.shift) * (1 << sieve.up) * (scales[i] * 128)) >> 16;
            mask |= static_cast<std::uint64_t>(product >= sieve.least) << i;
        }
        return mask;
    }

    static std::uint64_t reach(const Sums &s, std::int32_t least) {
        std::uint64_t mask = 0;
        for (std::size_t i = 0; i < kBlock; ++i) mask |= static_cast<std::uint64_t>(s.v[i] >= least) << i;
        return mask;
    }

    static std::uint64_t reach_scaled(const Sums &s, const std::uint8_t *scales, float shift, float least) {
        std::uint64_t mask = 0;
        for (std::size_t i = 0; i < kBlock; ++i) {
            const float product = (static_cast<float>(s.v[i]) - shift) * static_cast<float>(scales[i]);
            mask |= static_cast<std::uint64_t>(product >= least) << i;
        }
        return mask;
    }

    static std::uint64_t reach(const float *scores, float threshold) {
        std::uint64_t mask = 0;
        for (std::size_t i = 0; i < kBlock; ++i) mask |= static_cast<std::uint64_t>(scores[i] >= threshold) << i;
        return mask;
    }

    template <bool scaled, bool bound>
    static void scores(const Sums &s, const Codes &codes, const CodedQuery &q, std::size_t at, float *out) {
        for (std::size_t i = 0; i < kBlock; ++i) {
            float t = (static_cast<float>(s.v[i]) - q.shift) * q.unit;
            if (scaled) t *= static_cast<float>(codes.scales[at + i]);
            t += q.base;
            if (bound) t = (t * half_to_float(codes.shares[at + i]) + half_to_float(codes.tails[at + i]) * q.tail) + q.margin;
            if (codes.bias) t -= codes.bias[at + i];
            out[i] = t;
        }
    }
};

template <class Load>
float dot(std::size_t width, const float *query, Load load) {
    float sums[64] = {};
    for (std::size_t i = 0; i < width; ++i) sums[i & 63] += load(i) * query[i];
    return fold(sums);
}

float dot_half(const std::uint16_t *row, const float *query, std::size_t width) {
    return dot(width, query, [row](std::size_t i) { return half_to_float(row[i]); });
}

float dot_float(const float *row, const float *query, std::size_t width) {
    return dot(width, query, [row](std::size_t i) { return row[i]; });
}

std::int32_t dot_codes(const std::uint8_t *row, const std::int8_t *query, std::size_t width) {
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < width; ++i) sum += static_cast<std::int32_t>(row[i]) * query[i];
    return sum;
}

void to_half(const float *from, std::uint16_t *to, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) to[i] = float_to_half(from[i]);
}

void from_half(const std::uint16_t *from, float *to, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) to[i] = half_to_float(from[i]);
}

}  // namespace

const Kernels &plain_kernels() {
    static const Kernels set{"plain", scan<Plain>, dot_half, dot_float, dot_codes, to_half, from_half};
    return set;
}

}  // namespace nestling
