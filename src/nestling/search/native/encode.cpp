#include "encode.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "half.h"
#include "kernels.h"
#include "parallel.h"

namespace nestling {

std::size_t lines_of(std::size_t m, int bits) {
    return (m + line_dims(bits) - 1) / line_dims(bits);
}

std::int64_t store_rings(const float *x, std::size_t rows, std::size_t width, const std::vector<RingOut> &rings,
                         bool half, std::size_t threads) {
    std::vector<std::int64_t> bad(rows ? 1 : 0, -1);
    std::mutex guard;
    std::int64_t first = -1;
    parallel(rows, threads, 256, [&](std::size_t begin, std::size_t end) {
        const Kernels &k = kernels();
        std::vector<float> back(width);
        for (std::size_t row = begin; row < end; ++row) {
            const float *from = x + row * width;
            float norm = 0;
            for (const RingOut &ring : rings) {
                const std::size_t r = ring.stop - ring.start;
                const float *stored = from + ring.start;
                if (half) {
                    auto *to = static_cast<std::uint16_t *>(ring.data) + row * r;
                    k.to_half(stored, to, r);
                    k.from_half(to, back.data(), r);
                    stored = back.data();
                } else {
                    std::memcpy(static_cast<float *>(ring.data) + row * r, stored, r * sizeof(float));
                }
                norm += k.dot_float(stored, stored, r);
                ring.norms[row] = norm;
            }
            if (!std::isfinite(norm)) {
                const std::lock_guard<std::mutex> held(guard);
                if (first < 0 || static_cast<std::int64_t>(row) < first) first = static_cast<std::int64_t>(row);
                return;
            }
        }
    });
    return first;
}

namespace {

// Where the code of (position in block, dim) lies: the byte, and how far it is shifted.
struct Place {
    std::size_t byte;
    int shift;
};

Place place_of(std::size_t v, std::size_t j, std::size_t lines, int bits) {
    const std::size_t group = v / kGroup, i = v % kGroup;
    if (tabulated(bits)) {
        const std::size_t each = line_dims(bits);
        return {(j / each) * 64 + 2 * i + 32 * (group & 1) + (group >> 1), static_cast<int>(j % each) * bits};
    }
    const std::size_t parts = 8 / static_cast<std::size_t>(bits), line = j / (4 * parts), part = j / 4 % parts;
    return {(group * lines + line) * 64 + 4 * i + j % 4, static_cast<int>(part) * bits};
}

float up(double x) { return std::nextafter(static_cast<float>(x), std::numeric_limits<float>::infinity()); }

}  // namespace

void encode_sketch(const float *x, std::size_t rows, std::size_t m, int bits, const float *center, const float *step,
                   float scale_unit, std::uint8_t *codes, std::uint8_t *scales, float *errors, std::size_t threads) {
    const std::size_t lines = lines_of(m, bits), bytes = block_bytes(lines, bits);
    const std::size_t blocks = (rows + kBlock - 1) / kBlock, padded = lines * line_dims(bits);
    const int top = (1 << bits) - 1;
    const float middle = static_cast<float>(top) / 2;
    const std::uint8_t zero = static_cast<std::uint8_t>((top + 1) / 2);
    std::vector<float> inverse(m);
    for (std::size_t j = 0; j < m; ++j) inverse[j] = step[j] > 0 ? 1 / step[j] : 0;
    parallel(blocks, threads, 16, [&](std::size_t begin, std::size_t end) {
        std::vector<std::uint8_t> code(padded);
        for (std::size_t b = begin; b < end; ++b) {
            std::uint8_t *block = codes + b * bytes;
            std::memset(block, 0, bytes);
            for (std::size_t v = 0; v < kBlock; ++v) {
                const std::size_t row = b * kBlock + v;
                double squared = 0, along = 0, coded = 0, size = 0;
                for (std::size_t j = 0; j < padded; ++j) {
                    code[j] = zero;
                    if (row >= rows || j >= m) continue;
                    const float r = x[row * m + j] - center[j];
                    float c = std::nearbyint(r * inverse[j] + middle);
                    c = !(c > 0) ? 0 : c > static_cast<float>(top) ? static_cast<float>(top) : c;  // NaN of damaged rows, too
                    code[j] = static_cast<std::uint8_t>(c);
                    const double h = static_cast<double>(step[j]) * (c - middle);
                    const double whole = std::fabs(static_cast<double>(x[row * m + j])) + std::fabs(static_cast<double>(center[j]));
                    squared += static_cast<double>(r) * r, along += r * h, coded += h * h, size += whole * whole;
                }
                double scale = 1;
                if (scales) {
                    const double steps = along > 0 ? std::nearbyint(squared / along / scale_unit) : 0;
                    scales[row] = static_cast<std::uint8_t>(steps < 255 ? steps : 255);
                    scale = scales[row] * static_cast<double>(scale_unit);
                }
                if (row < rows)
                    errors[row] = up(std::sqrt(std::max(0.0, squared - 2 * scale * along + scale * scale * coded)) * (1 + 1e-6) + 1.3e-7 * std::sqrt(size) + 1e-7);
                for (std::size_t j = 0; j < padded; ++j) {
                    const Place at = place_of(v, j, lines, bits);
                    block[at.byte] = static_cast<std::uint8_t>(block[at.byte] | code[j] << at.shift);
                }
            }
        }
    });
}

void encode_copy(const std::vector<RingIn> &rings, bool half, std::size_t rows, std::size_t stride, std::uint8_t *codes,
                 float *scales, double *errors, std::size_t threads) {
    std::size_t width = 0;
    for (const RingIn &ring : rings) width += ring.width;
    parallel(rows, threads, 256, [&](std::size_t begin, std::size_t end) {
        const Kernels &k = kernels();
        std::vector<float> x(width);
        for (std::size_t row = begin; row < end; ++row) {
            std::size_t at = 0;
            for (const RingIn &ring : rings) {
                if (half)
                    k.from_half(static_cast<const std::uint16_t *>(ring.data) + row * ring.width, x.data() + at, ring.width);
                else
                    std::memcpy(x.data() + at, static_cast<const float *>(ring.data) + row * ring.width, ring.width * 4);
                at += ring.width;
            }
            float largest = 0;
            for (std::size_t j = 0; j < width; ++j) largest = std::max(largest, std::fabs(x[j]));
            const float scale = largest / 127, inverse = scale > 0 && std::isfinite(1 / scale) ? 1 / scale : 0;
            std::uint8_t *to = codes + row * stride;
            float error = 0;
            for (std::size_t j = 0; j < width; ++j) {
                // Adding 1.5 * 2^23 rounds to the nearest whole number in plain arithmetic, which vectorizes.
                const float c = (x[j] * inverse + 12582912.0f) - 12582912.0f;
                to[j] = static_cast<std::uint8_t>(static_cast<std::int32_t>(c == c ? c : 0) + 128);
                const float e = x[j] - c * scale;
                error += e * e;
            }
            for (std::size_t j = width; j < stride; ++j) to[j] = 128;
            scales[row] = scale;
            errors[row] = static_cast<double>(error) * (1 + 1e-4);
        }
    });
}

}  // namespace nestling
