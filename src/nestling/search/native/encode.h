#pragma once
// From vectors to what is stored: rings, sketch codes, int8 copies. Chunks of rows, on threads.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nestling {

struct RingOut {
    void *data;         // (rows, stop - start) float or half
    float *norms;       // (rows) squared norms of the stored prefix
    std::size_t start, stop;
};

// Cut (rows, width) floats into rings in the stored precision. Returns the first row that holds NaN or infinity or
// overflows when stored or squared, or -1.
std::int64_t store_rings(const float *x, std::size_t rows, std::size_t width, const std::vector<RingOut> &rings,
                         bool half, std::size_t threads);

// Codes of (rows, m) floats: code = round((x - center) / step + (levels - 1) / 2), packed as kernels.h tells; rows must
// begin at a block and the last block is padded with the middle code. scales (null for 8 bits) gives in whole steps of
// scale_unit the length that the coded residual lacks: <r, r> / <r, r^>. errors: |x - x^| of each row, rounded up.
void encode_sketch(const float *x, std::size_t rows, std::size_t m, int bits, const float *center, const float *step,
                   float scale_unit, std::uint8_t *codes, std::uint8_t *scales, float *errors, std::size_t threads);

struct RingIn {
    const void *data;  // (rows, width) float or half
    std::size_t width;
};

// Rows of rings side by side as unsigned bytes around 128 with one scale a row: x ~ scale * (code - 128). The codes' rows
// are `stride` bytes, padded with 128. errors: squared |x - x^|.
void encode_copy(const std::vector<RingIn> &rings, bool half, std::size_t rows, std::size_t stride, std::uint8_t *codes,
                 float *scales, double *errors, std::size_t threads);

std::size_t lines_of(std::size_t m, int bits);  // 64-byte lines of m dims: in a group for 8 and 4 bits, else in a block

}  // namespace nestling
