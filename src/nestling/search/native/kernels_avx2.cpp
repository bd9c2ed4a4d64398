// AVX2 with F16C (Haswell, Zen and later). Byte products go through 16 bits, which never saturates.
#if defined(__AVX2__) && defined(__F16C__)
#include <immintrin.h>

#include "scan_impl.h"

namespace nestling {
namespace {

inline __m256i load(const void *at) { return _mm256_loadu_si256(static_cast<const __m256i *>(at)); }

// Products of 32 unsigned bytes with signed ones, summed by fours: even bytes and odd bytes apart.
inline __m256i by_fours(__m256i codes, __m256i even, __m256i odd) {
    const __m256i low = _mm256_and_si256(codes, _mm256_set1_epi16(255)), high = _mm256_srli_epi16(codes, 8);
    return _mm256_add_epi32(_mm256_madd_epi16(low, even), _mm256_madd_epi16(high, odd));
}

struct Avx2 {
    struct Sums {
        __m256i g[8];
    };

    template <int bits, int known>
    struct Weights {
        std::size_t lines;
        Weights(const CodedQuery &, std::size_t n) : lines(n) {}
    };

    template <int bits, int known>
    static inline Sums sums(const std::uint8_t *block, const Weights<bits, known> &weights, const CodedQuery &q) {
        const std::size_t lines = weights.lines;
        constexpr int parts = 8 / bits;
        const __m256i ones = _mm256_set1_epi8(static_cast<char>((1 << bits) - 1));
        Sums s;
        for (auto &g : s.g) g = _mm256_setzero_si256();
        for (std::size_t l = 0; l < lines; ++l)
            for (int p = 0; p < parts; ++p) {
                std::int32_t four;
                __builtin_memcpy(&four, q.weights + (l * parts + p) * 4, 4);
                const __m256i w = _mm256_set1_epi32(four);
                const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), odd = _mm256_srai_epi16(w, 8);
                for (int g = 0; g < 8; ++g) {
                    __m256i x = load(block + (static_cast<std::size_t>(g / 2) * lines + l) * 64 + 32 * (g % 2));
                    if (parts > 1) x = _mm256_and_si256(_mm256_srli_epi16(x, p * bits), ones);
                    s.g[g] = _mm256_add_epi32(s.g[g], by_fours(x, even, odd));
                }
            }
        return s;
    }

    // Sums out of tables in 16 bits, 16 positions each.
    struct Small {
        __m256i g[4];
    };
    template <int bits>
    static inline Small looked_up(const std::uint8_t *block, std::size_t lines, const CodedQuery &q) {
        const __m256i nibble = _mm256_set1_epi8(15);
        const __m128i up = _mm_cvtsi32_si128(q.up);
        __m256i low[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, high[2] = {low[0], low[0]};
        for (std::size_t l = 0; l < lines; ++l) {
            const __m256i t0 = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(q.table + 32 * l)));
            const __m256i t1 = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(q.table + 32 * l + 16)));
            for (int h = 0; h < 2; ++h) {
                const __m256i x = load(block + 64 * l + 32 * h);
                const __m256i s = _mm256_add_epi8(_mm256_shuffle_epi8(t0, _mm256_and_si256(x, nibble)),
                                                  _mm256_shuffle_epi8(t1, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble)));
                low[h] = _mm256_add_epi16(low[h], s);
                high[h] = _mm256_add_epi16(high[h], _mm256_srli_epi16(s, 8));
            }
            if (l + 1 == q.coarse)
                for (int h = 0; h < 2; ++h) low[h] = _mm256_sll_epi16(low[h], up), high[h] = _mm256_sll_epi16(high[h], up);
        }
        for (int h = 0; h < 2; ++h) low[h] = _mm256_sub_epi16(low[h], _mm256_slli_epi16(high[h], 8));
        return {{low[0], low[1], high[0], high[1]}};
    }
    static inline Sums widen(const Small &small) {
        Sums out;
        for (int g = 0; g < 4; ++g) {
            out.g[2 * g] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(small.g[g]));
            out.g[2 * g + 1] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(small.g[g], 1));
        }
        return out;
    }

    static inline std::uint64_t reach_small(const Small &small, const std::uint8_t *scales, const Sieve &sieve) {
        const __m256i shift = _mm256_set1_epi16(sieve.shift), least = _mm256_set1_epi16(sieve.least);
        const __m128i up = _mm_cvtsi32_si128(sieve.up);
        std::uint64_t mask = 0;
        for (int g = 0; g < 4; g += 2) {
            __m256i below[2];
            for (int i = 0; i < 2; ++i) {
                const __m256i sums = _mm256_sll_epi16(_mm256_sub_epi16(small.g[g + i], shift), up);
                const __m256i scale = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(scales + 16 * (g + i))));
                below[i] = _mm256_cmpgt_epi16(least, _mm256_mulhi_epi16(sums, _mm256_slli_epi16(scale, 7)));
            }
            const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi16(below[0], below[1]), 0xd8);
            mask |= static_cast<std::uint64_t>(~static_cast<std::uint32_t>(_mm256_movemask_epi8(packed))) << (16 * g);
        }
        return mask;
    }

    static inline std::uint64_t reach(const Sums &s, std::int32_t least) {
        std::uint64_t mask = 0;
        const __m256i t = _mm256_set1_epi32(least);
        for (int g = 0; g < 8; ++g) {
            const __m256i below = _mm256_cmpgt_epi32(t, s.g[g]);
            mask |= static_cast<std::uint64_t>(~_mm256_movemask_ps(_mm256_castsi256_ps(below)) & 255) << (8 * g);
        }
        return mask;
    }

    static inline std::uint64_t reach_scaled(const Sums &s, const std::uint8_t *scales, float shift, float least) {
        std::uint64_t mask = 0;
        for (int g = 0; g < 8; ++g) {
            const __m256 sums = _mm256_sub_ps(_mm256_cvtepi32_ps(s.g[g]), _mm256_set1_ps(shift));
            const __m256 over = _mm256_cmp_ps(_mm256_mul_ps(sums, whole(scales + 8 * g)), _mm256_set1_ps(least), _CMP_GE_OQ);
            mask |= static_cast<std::uint64_t>(_mm256_movemask_ps(over) & 255) << (8 * g);
        }
        return mask;
    }

    static inline std::uint64_t reach(const float *scores, float threshold) {
        std::uint64_t mask = 0;
        const __m256 t = _mm256_set1_ps(threshold);
        for (int g = 0; g < 8; ++g) {
            const __m256 over = _mm256_cmp_ps(_mm256_load_ps(scores + 8 * g), t, _CMP_GE_OQ);
            mask |= static_cast<std::uint64_t>(_mm256_movemask_ps(over) & 255) << (8 * g);
        }
        return mask;
    }

    static inline __m256 whole(const std::uint8_t *at) {
        return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(at))));
    }
    static inline __m256 halves(const std::uint16_t *at) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at)));
    }

    template <bool scaled, bool bound>
    static inline void scores(const Sums &s, const Codes &codes, const CodedQuery &q, std::size_t at, float *out) {
        const __m256 shift = _mm256_set1_ps(q.shift), unit = _mm256_set1_ps(q.unit), base = _mm256_set1_ps(q.base);
        for (int g = 0; g < 8; ++g) {
            __m256 t = _mm256_mul_ps(_mm256_sub_ps(_mm256_cvtepi32_ps(s.g[g]), shift), unit);
            if (scaled) t = _mm256_mul_ps(t, whole(codes.scales + at + 8 * g));
            t = _mm256_add_ps(t, base);
            if (bound) {
                t = _mm256_mul_ps(t, halves(codes.shares + at + 8 * g));
                t = _mm256_add_ps(t, _mm256_mul_ps(halves(codes.tails + at + 8 * g), _mm256_set1_ps(q.tail)));
                t = _mm256_add_ps(t, _mm256_set1_ps(q.margin));
            }
            if (codes.bias) t = _mm256_sub_ps(t, _mm256_loadu_ps(codes.bias + at + 8 * g));
            _mm256_store_ps(out + 8 * g, t);
        }
    }
};

template <class Load, class One>
inline float dot(std::size_t width, const float *query, Load eight, One one) {
    __m256 s[8];
    for (auto &x : s) x = _mm256_setzero_ps();
    std::size_t i = 0;
    for (; i + 64 <= width; i += 64)
        for (int j = 0; j < 8; ++j)
            s[j] = _mm256_add_ps(s[j], _mm256_mul_ps(eight(i + 8 * j), _mm256_loadu_ps(query + i + 8 * j)));
    alignas(32) float sums[64];
    int j = 0;
    for (; i + 8 <= width; i += 8, ++j) s[j] = _mm256_add_ps(s[j], _mm256_mul_ps(eight(i), _mm256_loadu_ps(query + i)));
    for (int k = 0; k < 8; ++k) _mm256_store_ps(sums + 8 * k, s[k]);
    for (int lane = 8 * j; i < width; ++i, ++lane) sums[lane] += one(i) * query[i];
    return fold(sums);
}

float dot_half(const std::uint16_t *row, const float *query, std::size_t width) {
    return dot(
        width, query, [row](std::size_t i) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(row + i))); },
        [row](std::size_t i) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(row[i]))); });
}

float dot_float(const float *row, const float *query, std::size_t width) {
    return dot(
        width, query, [row](std::size_t i) { return _mm256_loadu_ps(row + i); }, [row](std::size_t i) { return row[i]; });
}

std::int32_t dot_codes(const std::uint8_t *row, const std::int8_t *query, std::size_t width) {
    __m256i s = _mm256_setzero_si256();
    for (std::size_t i = 0; i < width; i += 32) {
        const __m256i w = load(query + i);
        s = _mm256_add_epi32(s, by_fours(load(row + i), _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), _mm256_srai_epi16(w, 8)));
    }
    alignas(32) std::int32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i *>(lanes), s);
    std::int32_t sum = 0;
    for (const std::int32_t lane : lanes) sum += lane;
    return sum;
}

void to_half(const float *from, std::uint16_t *to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8)
        _mm_storeu_si128(reinterpret_cast<__m128i *>(to + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    for (; i < count; ++i)
        to[i] = static_cast<std::uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(from[i]), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)));
}

void from_half(const std::uint16_t *from, float *to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from + i))));
    for (; i < count; ++i) to[i] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(from[i])));
}

const Kernels set{"avx2", scan<Avx2>, dot_half, dot_float, dot_codes, to_half, from_half};

}  // namespace

const Kernels *avx2_kernels() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") ? &set : nullptr;
}

}  // namespace nestling
#else
#include "kernels.h"
namespace nestling {
const Kernels *avx2_kernels() { return nullptr; }
}  // namespace nestling
#endif
