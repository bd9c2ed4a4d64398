#pragma once
// What differs between instruction sets. Every set gives the same bits: integer sums are exact, and float sums
// are taken in one fixed order without fused multiply-add.
#include <cstddef>
#include <cstdint>

namespace nestling {

constexpr std::size_t kBlock = 64;  // positions that a sketch keeps together
// Codes of 2 and 1 bits are not multiplied but looked up, half a byte at a time.
[[gnu::always_inline]] constexpr bool tabulated(int bits) { return bits <= 2; }
[[gnu::always_inline]] constexpr std::size_t line_dims(int bits) { return (tabulated(bits) ? 8 : 32) / static_cast<std::size_t>(bits); }
[[gnu::always_inline]] constexpr std::size_t block_bytes(std::size_t lines, int bits) { return lines * 64 * (tabulated(bits) ? 1 : 4); }
[[gnu::always_inline]] constexpr std::size_t run_lines(int bits) { return bits == 1 ? 4 : 2; }  // lines whose entries add within a byte
[[gnu::always_inline]] constexpr int table_top(int bits) { return bits == 1 ? 31 : 63; }        // the largest entry
constexpr std::size_t kGroup = 16;  // positions of one 64-byte line of 4 byte-wide groups (8 and 4 bits)

// A sketch: codes of `positions` vectors in blocks of 64 (docs/engine.md draws the layout).
// 8 and 4 bits: a block is 4 groups of 16 positions, a group `lines` lines of 64 bytes, a line 4 bytes a position;
// the byte of dim j holds dim j + 4 in its higher bits. 2 and 1 bits: a block is `lines` lines, a line one byte (4 or 8
// dims) a position.
struct Codes {
    const std::uint8_t *data;
    std::size_t positions;
    std::size_t lines;
    int bits;
    const std::uint8_t *scales;   // one a position, in steps that the query's unit holds; or null: 1
    const float *bias;            // subtracted from the score (squared distances), or null
    const std::uint16_t *shares;  // half: |prefix| / |x|, for bounds; or null
    const std::uint16_t *tails;   // half, rounded up: |tail| / |x|, for bounds; or null
    [[gnu::always_inline]] std::size_t block_bytes() const { return nestling::block_bytes(lines, bits); }
};

// One query against one sketch: score = base + scale_i * (unit * (sum_j weight_j code_ij - shift)) - bias_i,
// or the upper bound share_i * (base + unit * (sum - shift)) + tail * tail_i + margin - bias_i.
struct CodedQuery {
    const std::int8_t *weights;  // 8 and 4 bits: 4 x (8 / bits) a line
    const std::uint8_t *table;   // 2 and 1 bits: two tables of 16 a line, no entry above table_top
    std::size_t coarse;          // so many lines' sum is shifted to the left
    int up;                      // by so much
    std::int32_t most;           // no sum is larger
    float base, unit, shift;
    float tail, margin;
};

// A found position and its score as one number that sorts: the higher the better, equal scores by position.
using Key = std::uint64_t;

struct ScanRange {
    std::size_t begin, end;  // positions
};

struct Kernels {
    const char *name;
    // Append the keys of the positions in `range` whose score reaches `threshold`, until fewer than kBlock places
    // are left of `room`; range.begin moves to where the scan stopped. Returns the number of keys.
    // `live`: one bit a position, or null. `first` is added to the position in the key.
    std::size_t (*scan)(const Codes &, const CodedQuery &, ScanRange &range, const std::uint64_t *live, float threshold,
                        std::uint32_t first, bool bound, Key *out, std::size_t room);
    float (*dot_half)(const std::uint16_t *row, const float *query, std::size_t width);
    float (*dot_float)(const float *row, const float *query, std::size_t width);
    std::int32_t (*dot_codes)(const std::uint8_t *row, const std::int8_t *query, std::size_t width);  // width % 64 == 0
    void (*to_half)(const float *from, std::uint16_t *to, std::size_t count);
    void (*from_half)(const std::uint16_t *from, float *to, std::size_t count);
};

const Kernels &plain_kernels();
const Kernels *avx2_kernels();    // null where the processor or the compiler has none
const Kernels *avx512_kernels();
const Kernels *neon_kernels();

const Kernels &kernels();                       // the best, or the one chosen
bool choose_kernels(const char *name);          // "auto", "plain", "avx2", "avx512", "neon"; false where it is missing

// Always inlined, so that the files of the instruction sets emit no copy of them that the linker might take for everyone.
[[gnu::always_inline]] inline Key key_of(float score, std::uint32_t position) {
    union {
        float f;
        std::uint32_t u;
    } bits{score};
    const std::uint32_t sorted = bits.u & 0x80000000u ? ~bits.u : bits.u | 0x80000000u;
    return (static_cast<Key>(sorted) << 32) | (0xffffffffu - position);
}
[[gnu::always_inline]] inline float score_of(Key key) {
    const std::uint32_t sorted = static_cast<std::uint32_t>(key >> 32);
    union {
        std::uint32_t u;
        float f;
    } bits{sorted & 0x80000000u ? sorted & 0x7fffffffu : ~sorted};
    return bits.f;
}
[[gnu::always_inline]] inline std::uint32_t position_of(Key key) { return 0xffffffffu - static_cast<std::uint32_t>(key); }

}  // namespace nestling
