// AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later). Compiled for that processor: no standard library in here, whose inline
// functions the linker might then take for everyone.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512VNNI__) && defined(__AVX512VBMI__)
#include <immintrin.h>

#include "scan_impl.h"

namespace nestling {
namespace {

struct Avx512 {
    struct Sums {
        __m512i g[4];
    };

    // The query's weights as they are multiplied: in registers where the lines are few and known, else in memory.
    template <int bits, int known>
    struct Weights {
        static constexpr int parts = 8 / bits;
        __m512i w[known ? known * parts : 1];
        const std::int8_t *memory;
        std::size_t lines;
        Weights(const CodedQuery &q, std::size_t n) : memory(q.weights), lines(n) {
            for (int i = 0; i < known * parts; ++i) w[i] = at(memory, i);
        }
        static inline __m512i at(const std::int8_t *from, std::size_t i) {
            std::int32_t four;
            __builtin_memcpy(&four, from + 4 * i, 4);
            return _mm512_set1_epi32(four);
        }
        inline __m512i operator[](std::size_t i) const { return known ? w[i] : at(memory, i); }
        inline std::size_t count() const { return known ? known : lines; }
    };

    template <int bits, int known>
    static inline Sums sums(const std::uint8_t *block, const Weights<bits, known> &weights, const CodedQuery &q) {
        constexpr int parts = 8 / bits;
        const __m512i ones = _mm512_set1_epi8((1 << bits) - 1);
        const std::size_t lines = weights.count(), step = lines * 64;
        __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
#pragma GCC unroll 8
        for (std::size_t l = 0; l < lines; ++l) {
            __m512i x0 = _mm512_loadu_si512(block + 64 * l), x1 = _mm512_loadu_si512(block + 64 * l + step),
                    x2 = _mm512_loadu_si512(block + 64 * l + 2 * step), x3 = _mm512_loadu_si512(block + 64 * l + 3 * step);
#pragma GCC unroll 4
            for (int p = 0; p < parts; ++p) {
                const __m512i w = weights[l * parts + p];
                if constexpr (parts == 1) {
                    a = _mm512_dpbusd_epi32(a, x0, w);
                    b = _mm512_dpbusd_epi32(b, x1, w);
                    c = _mm512_dpbusd_epi32(c, x2, w);
                    d = _mm512_dpbusd_epi32(d, x3, w);
                } else {
                    a = _mm512_dpbusd_epi32(a, _mm512_and_si512(x0, ones), w);
                    b = _mm512_dpbusd_epi32(b, _mm512_and_si512(x1, ones), w);
                    c = _mm512_dpbusd_epi32(c, _mm512_and_si512(x2, ones), w);
                    d = _mm512_dpbusd_epi32(d, _mm512_and_si512(x3, ones), w);
                    if (p + 1 < parts) {
                        x0 = _mm512_srli_epi16(x0, bits);
                        x1 = _mm512_srli_epi16(x1, bits);
                        x2 = _mm512_srli_epi16(x2, bits);
                        x3 = _mm512_srli_epi16(x3, bits);
                    }
                }
            }
        }
        return {{a, b, c, d}};
    }

    // Byte shuffles: a table of 16 gives what half a byte of codes adds, for 64 positions at once. The table stands four
    // times in a register, so that the two index bits above the nibble do not matter and nothing is masked.
    static inline __m512i table(const std::uint8_t *at) {
        return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at)));
    }
    static inline __m512i line(const std::uint8_t *at, const std::uint8_t *tables) {
        const __m512i x = _mm512_loadu_si512(at);
        return _mm512_add_epi8(_mm512_permutexvar_epi8(x, table(tables)),
                               _mm512_permutexvar_epi8(_mm512_srli_epi16(x, 4), table(tables + 16)));
    }
    struct Small {
        __m512i low, high;  // positions 0 to 31, and the others
    };
    // Sums run in 16 bits: `low` carries the even bytes plus 256 times the odd ones, which `high` takes out again.
    template <int bits>
    static inline Small looked_up(const std::uint8_t *block, std::size_t lines, const CodedQuery &q) {
        __m512i low = _mm512_setzero_si512(), high = low;
        const auto add = [&](__m512i s) {
            low = _mm512_add_epi16(low, s);
            high = _mm512_add_epi16(high, _mm512_srli_epi16(s, 8));
        };
        const auto at = [&](std::size_t l) { return line(block + 64 * l, q.table + 32 * l); };
        std::size_t l = 0;
        const auto run = [&](std::size_t end) {
            if constexpr (run_lines(bits) == 4)
                for (; l + 4 <= end; l += 4)
                    add(_mm512_add_epi8(_mm512_add_epi8(at(l), at(l + 1)), _mm512_add_epi8(at(l + 2), at(l + 3))));
            else
                for (; l + 2 <= end; l += 2) add(_mm512_add_epi8(at(l), at(l + 1)));
            for (; l < end; ++l) add(at(l));
        };
        if (q.coarse) {
            run(q.coarse);
            const __m512i up = _mm512_set1_epi16(static_cast<short>(q.up));
            low = _mm512_sllv_epi16(low, up), high = _mm512_sllv_epi16(high, up);
        }
        run(lines);
        return {_mm512_sub_epi16(low, _mm512_slli_epi16(high, 8)), high};
    }
    static inline Sums widen(const Small &s) {
        return {{_mm512_cvtepu16_epi32(_mm512_castsi512_si256(s.low)), _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(s.low, 1)),
                 _mm512_cvtepu16_epi32(_mm512_castsi512_si256(s.high)), _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(s.high, 1))}};
    }

    static inline std::uint64_t reach_small(const Small &s, const std::uint8_t *scales, const Sieve &sieve) {
        const __m512i shift = _mm512_set1_epi16(sieve.shift), least = _mm512_set1_epi16(sieve.least);
        const __m512i up = _mm512_set1_epi16(static_cast<short>(sieve.up));
        const auto over = [&](__m512i sums, const std::uint8_t *at) {
            const __m512i scale = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(at)));
            const __m512i raised = _mm512_sllv_epi16(_mm512_sub_epi16(sums, shift), up);
            return _mm512_cmpge_epi16_mask(_mm512_mulhi_epi16(raised, _mm512_slli_epi16(scale, 7)), least);
        };
        return static_cast<std::uint64_t>(over(s.low, scales)) | static_cast<std::uint64_t>(over(s.high, scales + 32)) << 32;
    }

    static inline std::uint64_t join(__mmask16 a, __mmask16 b, __mmask16 c, __mmask16 d) {
        return static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b) << 16 |
               static_cast<std::uint64_t>(c) << 32 | static_cast<std::uint64_t>(d) << 48;
    }

    static inline std::uint64_t reach(const Sums &s, std::int32_t least) {
        const __m512i t = _mm512_set1_epi32(least);
        return join(_mm512_cmpge_epi32_mask(s.g[0], t), _mm512_cmpge_epi32_mask(s.g[1], t),
                    _mm512_cmpge_epi32_mask(s.g[2], t), _mm512_cmpge_epi32_mask(s.g[3], t));
    }

    static inline std::uint64_t reach_scaled(const Sums &s, const std::uint8_t *scales, float shift, float least) {
        const __m512 off = _mm512_set1_ps(shift), t = _mm512_set1_ps(least);
        __mmask16 over[4];
        for (int g = 0; g < 4; ++g) {
            const __m512 sums = _mm512_sub_ps(_mm512_cvtepi32_ps(s.g[g]), off);
            over[g] = _mm512_cmp_ps_mask(_mm512_mul_ps(sums, whole(scales + 16 * g)), t, _CMP_GE_OQ);
        }
        return join(over[0], over[1], over[2], over[3]);
    }

    static inline std::uint64_t reach(const float *scores, float threshold) {
        const __m512 t = _mm512_set1_ps(threshold);
        return join(_mm512_cmp_ps_mask(_mm512_load_ps(scores), t, _CMP_GE_OQ),
                    _mm512_cmp_ps_mask(_mm512_load_ps(scores + 16), t, _CMP_GE_OQ),
                    _mm512_cmp_ps_mask(_mm512_load_ps(scores + 32), t, _CMP_GE_OQ),
                    _mm512_cmp_ps_mask(_mm512_load_ps(scores + 48), t, _CMP_GE_OQ));
    }

    static inline __m512 whole(const std::uint8_t *at) {
        return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at))));
    }
    static inline __m512 halves(const std::uint16_t *at) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(at)));
    }

    template <bool scaled, bool bound>
    static inline void scores(const Sums &s, const Codes &codes, const CodedQuery &q, std::size_t at, float *out) {
        const __m512 shift = _mm512_set1_ps(q.shift), unit = _mm512_set1_ps(q.unit), base = _mm512_set1_ps(q.base);
        for (int g = 0; g < 4; ++g) {
            __m512 t = _mm512_mul_ps(_mm512_sub_ps(_mm512_cvtepi32_ps(s.g[g]), shift), unit);
            if (scaled) t = _mm512_mul_ps(t, whole(codes.scales + at + 16 * g));
            t = _mm512_add_ps(t, base);
            if (bound) {
                t = _mm512_mul_ps(t, halves(codes.shares + at + 16 * g));
                t = _mm512_add_ps(t, _mm512_mul_ps(halves(codes.tails + at + 16 * g), _mm512_set1_ps(q.tail)));
                t = _mm512_add_ps(t, _mm512_set1_ps(q.margin));
            }
            if (codes.bias) t = _mm512_sub_ps(t, _mm512_loadu_ps(codes.bias + at + 16 * g));
            _mm512_store_ps(out + 16 * g, t);
        }
    }
};

// Vectors of sixteen lanes, four of them in turn: lane i of vector j is running sum 16 j + i.
template <class Load>
inline float dot(std::size_t width, const float *query, Load load) {
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    std::size_t i = 0;
    for (; i + 64 <= width; i += 64) {
        a = _mm512_add_ps(a, _mm512_mul_ps(load(i, 0xffff), _mm512_loadu_ps(query + i)));
        b = _mm512_add_ps(b, _mm512_mul_ps(load(i + 16, 0xffff), _mm512_loadu_ps(query + i + 16)));
        c = _mm512_add_ps(c, _mm512_mul_ps(load(i + 32, 0xffff), _mm512_loadu_ps(query + i + 32)));
        d = _mm512_add_ps(d, _mm512_mul_ps(load(i + 48, 0xffff), _mm512_loadu_ps(query + i + 48)));
    }
    __m512 *rest[4] = {&a, &b, &c, &d};
    for (int part = 0; i < width; i += 16, ++part) {
        const __mmask16 m = width - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (width - i)) - 1);
        *rest[part] = _mm512_add_ps(*rest[part], _mm512_mul_ps(load(i, m), _mm512_maskz_loadu_ps(m, query + i)));
    }
    const __m512 s = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
    const __m256 e = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
    const __m128 f = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    const __m128 g = _mm_add_ps(f, _mm_movehl_ps(f, f));
    return _mm_cvtss_f32(_mm_add_ss(g, _mm_shuffle_ps(g, g, 1)));
}

float dot_half(const std::uint16_t *row, const float *query, std::size_t width) {
    return dot(width, query, [row](std::size_t i, __mmask16 m) {
        return _mm512_cvtph_ps(m == 0xffff ? _mm256_loadu_si256(reinterpret_cast<const __m256i *>(row + i))
                                           : _mm256_maskz_loadu_epi16(m, row + i));
    });
}

float dot_float(const float *row, const float *query, std::size_t width) {
    return dot(width, query, [row](std::size_t i, __mmask16 m) { return _mm512_maskz_loadu_ps(m, row + i); });
}

std::int32_t dot_codes(const std::uint8_t *row, const std::int8_t *query, std::size_t width) {
    __m512i a = _mm512_setzero_si512(), b = a;
    std::size_t i = 0;
    for (; i + 128 <= width; i += 128) {
        a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(row + i), _mm512_loadu_si512(query + i));
        b = _mm512_dpbusd_epi32(b, _mm512_loadu_si512(row + i + 64), _mm512_loadu_si512(query + i + 64));
    }
    if (i < width) a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(row + i), _mm512_loadu_si512(query + i));
    return _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
}

void to_half(const float *from, std::uint16_t *to, std::size_t count) {
    for (std::size_t i = 0; i < count; i += 16) {
        const __mmask16 m = count - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - i)) - 1);
        const __m256i h = _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, from + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_mask_storeu_epi16(to + i, m, h);
    }
}

void from_half(const std::uint16_t *from, float *to, std::size_t count) {
    for (std::size_t i = 0; i < count; i += 16) {
        const __mmask16 m = count - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - i)) - 1);
        _mm512_mask_storeu_ps(to + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, from + i)));
    }
}

const Kernels set{"avx512", scan<Avx512>, dot_half, dot_float, dot_codes, to_half, from_half};

}  // namespace

const Kernels *avx512_kernels() {
    const bool able = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
    return able ? &set : nullptr;
}

}  // namespace nestling
#else
#include "kernels.h"
namespace nestling {
const Kernels *avx512_kernels() { return nullptr; }
}  // namespace nestling
#endif
