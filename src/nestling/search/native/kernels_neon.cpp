// NEON of 64-bit ARM.
#if defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>

#include "half.h"
#include "scan_impl.h"

namespace nestling {
namespace {

// Products of 16 unsigned bytes with signed ones, summed by fours. Plain ARMv8: through 16-bit lanes.
inline int32x4_t by_fours(uint8x16_t codes, int8x16_t weights) {
    const int16x8_t c0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes)));
    const int16x8_t c1 = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(codes)));
    const int16x8_t w0 = vmovl_s8(vget_low_s8(weights)), w1 = vmovl_s8(vget_high_s8(weights));
    const int32x4_t a = vmull_s16(vget_low_s16(c0), vget_low_s16(w0)), b = vmull_s16(vget_high_s16(c0), vget_high_s16(w0));
    const int32x4_t c = vmull_s16(vget_low_s16(c1), vget_low_s16(w1)), d = vmull_s16(vget_high_s16(c1), vget_high_s16(w1));
    return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}

struct Neon {
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
        constexpr int parts = 8 / bits;
        const uint8x16_t ones = vdupq_n_u8((1 << bits) - 1);
        for (std::size_t g = 0; g < kBlock / 4; ++g) {
            int32x4_t sum = vdupq_n_s32(0);
            for (std::size_t l = 0; l < lines; ++l) {
                uint8x16_t x = vld1q_u8(block + ((g / 4) * lines + l) * 64 + 16 * (g % 4));
                for (int p = 0; p < parts; ++p) {
                    std::int32_t four;
                    __builtin_memcpy(&four, q.weights + (l * parts + p) * 4, 4);
                    const int8x16_t w = vreinterpretq_s8_s32(vdupq_n_s32(four));
                    sum = vaddq_s32(sum, by_fours(parts == 1 ? x : vandq_u8(x, ones), w));
                    if (parts > 1) x = vshrq_n_u8(x, bits == 8 ? 1 : bits);
                }
            }
            vst1q_s32(s.v + 4 * g, sum);
        }
        return s;
    }

    template <int bits>
    static inline Sums looked_up(const std::uint8_t *block, std::size_t lines, const CodedQuery &q) {
        Sums s;
        for (int h = 0; h < 4; ++h) {  // 16 bytes: 8 positions of one group, 8 of the group after the next
            uint16x8_t low = vdupq_n_u16(0), high = low;
            for (std::size_t l = 0; l < lines; ++l) {
                const uint8x16_t x = vld1q_u8(block + 64 * l + 16 * h);
                const uint8x16_t t0 = vld1q_u8(q.table + 32 * l), t1 = vld1q_u8(q.table + 32 * l + 16);
                const uint8x16_t sum = vaddq_u8(vqtbl1q_u8(t0, vandq_u8(x, vdupq_n_u8(15))), vqtbl1q_u8(t1, vshrq_n_u8(x, 4)));
                const uint16x8_t pairs = vreinterpretq_u16_u8(sum);
                low = vaddq_u16(low, vandq_u16(pairs, vdupq_n_u16(255)));
                high = vaddq_u16(high, vshrq_n_u16(pairs, 8));
                if (l + 1 == q.coarse) low = vshlq_u16(low, vdupq_n_s16(static_cast<std::int16_t>(q.up))), high = vshlq_u16(high, vdupq_n_s16(static_cast<std::int16_t>(q.up)));
            }
            const uint16x8_t both[2] = {low, high};
            for (int odd = 0; odd < 2; ++odd) {
                std::int32_t *out = s.v + kGroup * static_cast<std::size_t>(h / 2 + 2 * odd) + 8 * (h % 2);
                vst1q_s32(out, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(both[odd]))));
                vst1q_s32(out + 4, vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(both[odd]))));
            }
        }
        return s;
    }
    static inline const Sums &widen(const Sums &s) { return s; }

    static inline std::uint64_t reach_small(const Sums &s, const std::uint8_t *scales, const Sieve &sieve) {
        std::uint64_t mask = 0;
        const int32x4_t shift = vdupq_n_s32(sieve.shift), up = vdupq_n_s32(sieve.up + 7), least = vdupq_n_s32(sieve.least);
        for (std::size_t i = 0; i < kBlock; i += 4) {
            const int32x4_t sums = vshlq_s32(vsubq_s32(vld1q_s32(s.v + i), shift), up);
            const uint32x4_t over = vcgeq_s32(vshrq_n_s32(vmulq_s32(sums, scales_of(scales + i)), 16), least);
            mask |= static_cast<std::uint64_t>(four_bits(over)) << i;
        }
        return mask;
    }

    static inline std::uint64_t reach(const Sums &s, std::int32_t least) {
        std::uint64_t mask = 0;
        for (std::size_t i = 0; i < kBlock; ++i) mask |= static_cast<std::uint64_t>(s.v[i] >= least) << i;
        return mask;
    }

    static inline float32x4_t halves(const std::uint16_t *at) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at))); }

    static inline int32x4_t scales_of(const std::uint8_t *at) {
        std::uint32_t four;
        __builtin_memcpy(&four, at, 4);
        return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))))));
    }
    static inline std::uint32_t four_bits(uint32x4_t over) {
        return (vgetq_lane_u32(over, 0) & 1u) | (vgetq_lane_u32(over, 1) & 2u) | (vgetq_lane_u32(over, 2) & 4u) | (vgetq_lane_u32(over, 3) & 8u);
    }

    static inline std::uint64_t reach_scaled(const Sums &s, const std::uint8_t *scales, float shift, float least) {
        std::uint64_t mask = 0;
        for (std::size_t i = 0; i < kBlock; i += 4) {
            const float32x4_t sums = vsubq_f32(vcvtq_f32_s32(vld1q_s32(s.v + i)), vdupq_n_f32(shift));
            const uint32x4_t over = vcgeq_f32(vmulq_f32(sums, vcvtq_f32_s32(scales_of(scales + i))), vdupq_n_f32(least));
            mask |= static_cast<std::uint64_t>(four_bits(over)) << i;
        }
        return mask;
    }

    static inline std::uint64_t reach(const float *scores, float threshold) {
        std::uint64_t mask = 0;
        for (std::size_t i = 0; i < kBlock; ++i) mask |= static_cast<std::uint64_t>(scores[i] >= threshold) << i;
        return mask;
    }

    template <bool scaled, bool bound>
    static inline void scores(const Sums &s, const Codes &codes, const CodedQuery &q, std::size_t at, float *out) {
        for (std::size_t i = 0; i < kBlock; i += 4) {
            float32x4_t t = vmulq_f32(vsubq_f32(vcvtq_f32_s32(vld1q_s32(s.v + i)), vdupq_n_f32(q.shift)), vdupq_n_f32(q.unit));
            if (scaled) t = vmulq_f32(t, vcvtq_f32_s32(scales_of(codes.scales + at + i)));
            t = vaddq_f32(t, vdupq_n_f32(q.base));
            if (bound) {
                t = vmulq_f32(t, halves(codes.shares + at + i));
                t = vaddq_f32(t, vmulq_f32(halves(codes.tails + at + i), vdupq_n_f32(q.tail)));
                t = vaddq_f32(t, vdupq_n_f32(q.margin));
            }
            if (codes.bias) t = vsubq_f32(t, vld1q_f32(codes.bias + at + i));
            vst1q_f32(out + i, t);
        }
    }
};

template <class Load, class One>
inline float dot(std::size_t width, const float *query, Load four, One one) {
    float sums[64] = {};
    std::size_t i = 0;
    if (width >= 64) {
        float32x4_t s[16];
        for (auto &x : s) x = vdupq_n_f32(0);
        for (; i + 64 <= width; i += 64)
            for (int j = 0; j < 16; ++j) s[j] = vaddq_f32(s[j], vmulq_f32(four(i + 4 * j), vld1q_f32(query + i + 4 * j)));
        for (int j = 0; j < 16; ++j) vst1q_f32(sums + 4 * j, s[j]);
    }
    for (int lane = 0; i < width; ++i, ++lane) sums[lane] += one(i) * query[i];
    return fold(sums);
}

float dot_half(const std::uint16_t *row, const float *query, std::size_t width) {
    return dot(
        width, query, [row](std::size_t i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(row + i))); },
        [row](std::size_t i) { return half_to_float(row[i]); });
}

float dot_float(const float *row, const float *query, std::size_t width) {
    return dot(
        width, query, [row](std::size_t i) { return vld1q_f32(row + i); }, [row](std::size_t i) { return row[i]; });
}

std::int32_t dot_codes(const std::uint8_t *row, const std::int8_t *query, std::size_t width) {
    int32x4_t s = vdupq_n_s32(0);
    for (std::size_t i = 0; i < width; i += 16) s = vaddq_s32(s, by_fours(vld1q_u8(row + i), vld1q_s8(query + i)));
    return vaddvq_s32(s);
}

void to_half(const float *from, std::uint16_t *to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) vst1_u16(to + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(from + i))));
    for (; i < count; ++i) to[i] = float_to_half(from[i]);
}

void from_half(const std::uint16_t *from, float *to, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) to[i] = half_to_float(from[i]);
}

const Kernels set{"neon", scan<Neon>, dot_half, dot_float, dot_codes, to_half, from_half};

}  // namespace

const Kernels *neon_kernels() { return &set; }

}  // namespace nestling
#else
#include "kernels.h"
namespace nestling {
const Kernels *neon_kernels() { return nullptr; }
}  // namespace nestling
#endif
