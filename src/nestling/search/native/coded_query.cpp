#include "coded_query.h"

#include <algorithm>
#include <cmath>

#include "encode.h"
#include "search.h"

namespace nestling {

void SketchQuery::prepare(const Sketch &sketch, const float *x) {
    const std::size_t m = sketch.m, lines = sketch.codes.lines;
    const std::size_t padded = lines * (sketch.bits == 1 ? 8 : 32 / static_cast<std::size_t>(sketch.bits));
    // 1 bit: four tables of four weights must add within a byte.
    const float most = sketch.bits == 1 ? 15.0f : 127.0f;
    float largest = 0;
    double base = 0;
    for (std::size_t j = 0; j < m; ++j) {
        largest = std::max(largest, std::fabs(x[j] * sketch.step[j]));
        base += static_cast<double>(x[j]) * sketch.center[j];
    }
    const float unit = largest / most;
    const float inverse = unit > 0 && std::isfinite(1 / unit) ? 1 / unit : 0;
    weights.assign(padded, 0);
    std::int64_t total = 0;
    double lost = 0;
    for (std::size_t j = 0; j < m; ++j) {
        const float w = x[j] * sketch.step[j];
        float c = std::nearbyint(w * inverse);
        c = c > most ? most : c < -most ? -most : c == c ? c : 0;
        weights[j] = static_cast<std::int8_t>(c);
        total += weights[j];
        lost += std::fabs(static_cast<double>(w) - static_cast<double>(c) * unit);
    }
    const double middle = ((1 << sketch.bits) - 1) / 2.0;
    error = static_cast<float>(lost * middle * (1 + 1e-6));
    coded = {};
    coded.base = static_cast<float>(base);
    coded.unit = inverse > 0 ? unit : 0;
    coded.shift = static_cast<float>(middle * static_cast<double>(total));
    if (sketch.bits == 1) {
        table.assign(padded / 4 * 16, 0);
        for (std::size_t g = 0; g < padded / 4; ++g) {
            const std::int8_t *w = weights.data() + 4 * g;
            int low = 0;
            for (int j = 0; j < 4; ++j) low += std::min<int>(w[j], 0);
            for (int v = 0; v < 16; ++v) {
                int sum = -low;
                for (int j = 0; j < 4; ++j) sum += v >> j & 1 ? w[j] : 0;
                table[16 * g + static_cast<std::size_t>(v)] = static_cast<std::uint8_t>(sum);
            }
            coded.table_offset -= low;
        }
    }
    coded.weights = weights.data();
    coded.table = table.data();
}

void CopyQuery::prepare(const Copy &copy, const float *x) {
    const std::size_t width = copy.stop - copy.start;
    float largest = 0;
    for (std::size_t j = 0; j < width; ++j) {
        const float size = std::fabs(x[j]);
        largest = size > largest ? size : largest;
    }
    unit = largest / 127;
    const float inverse = unit > 0 && std::isfinite(1 / unit) ? 1 / unit : 0;
    weights.assign(copy.stride, 0);
    lost.resize(width);
    std::int32_t total = 0;
    for (std::size_t j = 0; j < width; ++j) {
        // Adding 1.5 * 2^23 rounds to the nearest whole number in plain arithmetic, which vectorizes.
        const float c = (x[j] * inverse + 12582912.0f) - 12582912.0f;
        lost[j] = x[j] - c * unit;
        const std::int32_t w = static_cast<std::int32_t>(c);
        weights[j] = static_cast<std::int8_t>(w);
        total += w;
    }
    shift = 128 * total;
    error = std::sqrt(squared_norm(lost.data(), width)) * (1 + 1e-5f) + 1e-7f * largest * std::sqrt(static_cast<float>(width)) + 1e-20f;
}

}  // namespace nestling
