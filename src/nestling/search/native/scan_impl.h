#pragma once
// The scan, written once over the primitives of an instruction set. Only for the kernels_*.cpp files: everything here
// has internal linkage, because each of them is compiled for another processor.
#include "kernels.h"

namespace nestling {
namespace {

// Bits of the positions of block `b` that lie in the range and are alive.
inline std::uint64_t wanted(std::size_t b, const ScanRange &range, const std::uint64_t *live) {
    const std::size_t start = b * kBlock;
    std::uint64_t mask = live ? live[b] : ~0ull;
    if (start < range.begin) mask &= ~0ull << (range.begin - start);
    if (start + kBlock > range.end) mask &= ~0ull >> (start + kBlock - range.end);
    return mask;
}

inline Key *push(std::uint64_t mask, const float *scores, std::uint32_t first, Key *out) {
    while (mask) {
        const int i = __builtin_ctzll(mask);
        *out++ = key_of(scores[i], first + static_cast<std::uint32_t>(i));
        mask &= mask - 1;
    }
    return out;
}

// The smallest whole sum whose score may reach the threshold: a first sieve in integers, no position is lost by it.
inline std::int32_t integer_threshold(const CodedQuery &q, float threshold) {
    if (!(q.unit > 0)) return INT32_MIN;
    const double sum = (static_cast<double>(threshold) - q.base) / q.unit + q.shift;
    const double slack = 1 + 1e-6 * ((sum < 0 ? -sum : sum) + (q.shift < 0 ? -q.shift : q.shift)) +
                         4e-7 * ((q.base < 0 ? -q.base : q.base) / q.unit);
    const double low = sum - slack;
    if (!(low > -2147483000.0)) return INT32_MIN;
    return low > 2147483000.0 ? INT32_MAX : static_cast<std::int32_t>(low);
}

// What scale_i * (sum - shift) must reach at least, so that the score may reach the threshold: a little less, because the
// score itself is rounded otherwise.
inline float product_threshold(const CodedQuery &q, float threshold) {
    if (!(q.unit > 0)) return -__builtin_inff();
    const double product = (static_cast<double>(threshold) - q.base) / q.unit;
    const double slack = 1e-5 * ((product < 0 ? -product : product) + (q.base < 0 ? -q.base : q.base) / q.unit) + 1e-3;
    return static_cast<float>(product - slack);
}

// The same in 16 bits, for sums out of tables: (((sum - shift) << up) * (scale << 7)) >> 16 must reach `least`.
struct Sieve {
    std::int16_t shift, least;
    int up;
};
inline Sieve sieve_of(const CodedQuery &q, float product) {
    Sieve s{0, INT16_MIN, 0};
    if (!(q.shift >= 0 && q.shift < 32767.0f) || q.most > 32767) return s;  // no query of ours
    s.shift = static_cast<std::int16_t>(q.shift);
    const int most = q.most - s.shift > s.shift ? q.most - s.shift : s.shift + 1;
    while (s.up < 14 && most << (s.up + 1) <= 32767) ++s.up;
    const double least = static_cast<double>(product) * (1 << s.up) / 512 - 1;  // cut to the whole number below, or near it
    s.least = least > 32766 ? 32767 : least > -32767 ? static_cast<std::int16_t>(least < 0 ? least - 1 : least) : INT16_MIN;
    return s;
}

template <class Isa, int bits, int known, bool scaled, bool bound>
std::size_t scan_blocks(const Codes &codes, const CodedQuery &q, ScanRange &range, const std::uint64_t *live,
                        float threshold, std::uint32_t first, Key *out, std::size_t room) {
    Key *const start = out;
    Key *const full = out + room - kBlock;
    const std::size_t bytes = codes.block_bytes();
    const bool sieve = !bound && !codes.bias;
    const std::int32_t least = sieve && !scaled ? integer_threshold(q, threshold) : INT32_MIN;
    const float product = sieve && scaled ? product_threshold(q, threshold) : 0;
    const Sieve in_16 = sieve_of(q, product);
    const typename Isa::template Weights<bits, known> weights(q, codes.lines);
    alignas(64) float scores[kBlock];
    std::size_t b = range.begin / kBlock;
    const std::size_t last = (range.end + kBlock - 1) / kBlock;
    const std::size_t ahead = last - b > 32 ? 2048 : 0;  // bytes; short ranges are in the cache, or soon over
    for (; b < last && out <= full; ++b) {
        if (ahead)
            for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(codes.data + b * bytes + ahead + i);
        typename Isa::Sums sums;
        if constexpr (tabulated(bits)) {
            const auto &small = Isa::template looked_up<bits>(codes.data + b * bytes, codes.lines, q);
            if (scaled && sieve && !Isa::reach_small(small, codes.scales + b * kBlock, in_16)) continue;
            sums = Isa::widen(small);
        } else {
            sums = Isa::template sums<bits, known>(codes.data + b * bytes, weights, q);
            if (scaled && sieve && !Isa::reach_scaled(sums, codes.scales + b * kBlock, q.shift, product)) continue;
        }
        if (!scaled && sieve && !Isa::reach(sums, least)) continue;
        Isa::template scores<scaled, bound>(sums, codes, q, b * kBlock, scores);
        const std::uint64_t mask = Isa::reach(scores, threshold) & wanted(b, range, live);
        if (mask) out = push(mask, scores, first + static_cast<std::uint32_t>(b * kBlock), out);
    }
    range.begin = b * kBlock < range.end ? (b * kBlock > range.begin ? b * kBlock : range.begin) : range.end;
    return static_cast<std::size_t>(out - start);
}

template <class Isa, int bits, int known>
std::size_t scan_lines(const Codes &codes, const CodedQuery &q, ScanRange &range, const std::uint64_t *live,
                       float threshold, std::uint32_t first, bool bound, Key *out, std::size_t room) {
    if (bits == 8 && bound) return scan_blocks<Isa, 8, known, false, true>(codes, q, range, live, threshold, first, out, room);
    if (codes.scales) return scan_blocks<Isa, bits, known, true, false>(codes, q, range, live, threshold, first, out, room);
    return scan_blocks<Isa, bits, known, false, false>(codes, q, range, live, threshold, first, out, room);
}

// Few lines, the usual case, have loops of their own, whose weights stay in registers.
template <class Isa, int bits>
std::size_t scan_bits(const Codes &codes, const CodedQuery &q, ScanRange &range, const std::uint64_t *live,
                      float threshold, std::uint32_t first, bool bound, Key *out, std::size_t room) {
    switch (tabulated(bits) ? 0 : codes.lines * (8 / bits) <= 16 ? codes.lines : 0) {
        case 1: return scan_lines<Isa, bits, 1>(codes, q, range, live, threshold, first, bound, out, room);
        case 2: return scan_lines<Isa, bits, 2>(codes, q, range, live, threshold, first, bound, out, room);
        case 3: return scan_lines<Isa, bits, 3>(codes, q, range, live, threshold, first, bound, out, room);
        case 4: return scan_lines<Isa, bits, 4>(codes, q, range, live, threshold, first, bound, out, room);
        case 6: return scan_lines<Isa, bits, 6>(codes, q, range, live, threshold, first, bound, out, room);
        case 8: return scan_lines<Isa, bits, 8>(codes, q, range, live, threshold, first, bound, out, room);
        default: return scan_lines<Isa, bits, 0>(codes, q, range, live, threshold, first, bound, out, room);
    }
}

template <class Isa>
std::size_t scan(const Codes &codes, const CodedQuery &q, ScanRange &range, const std::uint64_t *live, float threshold,
                 std::uint32_t first, bool bound, Key *out, std::size_t room) {
    switch (codes.bits) {
        case 8: return scan_bits<Isa, 8>(codes, q, range, live, threshold, first, bound, out, room);
        case 4: return scan_bits<Isa, 4>(codes, q, range, live, threshold, first, bound, out, room);
        case 2: return scan_bits<Isa, 2>(codes, q, range, live, threshold, first, bound, out, room);
        default: return scan_bits<Isa, 1>(codes, q, range, live, threshold, first, bound, out, room);
    }
}

// The sum of 64 running sums, halved until one is left: the one order in which every float sum is taken.
inline float fold(float *sums) {
    for (int i = 0; i < 16; ++i) sums[i] = (sums[i] + sums[i + 16]) + (sums[i + 32] + sums[i + 48]);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
    return sums[0];
}

}  // namespace
}  // namespace nestling
