#include "coded_query.h"

#include <algorithm>
#include <cmath>

#include "encode.h"
#include "search.h"

namespace nestling {

void SketchQuery::prepare(const Sketch &sketch, const float *x) {
    double base = 0;
    for (std::size_t j = 0; j < sketch.m; ++j) base += static_cast<double>(x[j]) * sketch.center[j];
    coded = {};
    coded.base = static_cast<float>(base);
    if (sketch.bits == 1) tabulate(sketch, x);
    else weigh(sketch, x);
    if (sketch.bits < 8) coded.unit *= sketch.scale_unit, error *= 255 * sketch.scale_unit;
}

// 8, 4, 2 bits: whole weights.
void SketchQuery::weigh(const Sketch &sketch, const float *x) {
    constexpr float most = 127;
    float largest = 0;
    for (std::size_t j = 0; j < sketch.m; ++j) largest = std::max(largest, std::fabs(x[j] * sketch.step[j]));
    const float unit = largest / most;
    const float inverse = unit > 0 && std::isfinite(1 / unit) ? 1 / unit : 0;
    weights.assign(sketch.codes.lines * 32 / static_cast<std::size_t>(sketch.bits), 0);
    std::int64_t total = 0;
    double lost = 0;
    for (std::size_t j = 0; j < sketch.m; ++j) {
        const float w = x[j] * sketch.step[j];
        float c = std::nearbyint(w * inverse);
        c = c > most ? most : c < -most ? -most : c == c ? c : 0;
        weights[j] = static_cast<std::int8_t>(c);
        total += weights[j];
        lost += std::fabs(static_cast<double>(w) - static_cast<double>(c) * unit);
    }
    const double middle = ((1 << sketch.bits) - 1) / 2.0;
    error = static_cast<float>(lost * middle * (1 + 1e-6));
    coded.unit = inverse > 0 ? unit : 0;
    coded.shift = static_cast<float>(middle * static_cast<double>(total));
    coded.weights = weights.data();
}

// 1 bit: for each four dims the 16 sums of their weights, from the least of them on, rounded to whole numbers. Rounding sums
// and not weights loses less.
void SketchQuery::tabulate(const Sketch &sketch, const float *x) {
    const std::size_t fours = sketch.codes.lines * 2;
    spread.assign(4 * fours, 0);
    float largest = 0;
    double whole = 0;
    for (std::size_t j = 0; j < sketch.m; ++j) spread[j] = x[j] * sketch.step[j];
    for (std::size_t g = 0; g < fours; ++g) {
        float range = 0;
        for (std::size_t j = 4 * g; j < 4 * g + 4; ++j) range += std::fabs(spread[j]);
        largest = std::max(largest, range);
        whole += range;
    }
    const float unit = largest / kTableTop;
    const float inverse = unit > 0 && std::isfinite(1 / unit) ? 1 / unit : 0;
    table.assign(16 * fours, 0);
    double lost = 0;
    for (std::size_t g = 0; g < fours; ++g) {
        const float *w = spread.data() + 4 * g;
        float sums[16] = {0};
        for (int j = 0; j < 4; ++j) {
            // A bit that is set takes the larger of 0 and the weight, one that is not the larger of 0 and its negative.
            const float set = w[j] > 0 ? w[j] : 0, clear = w[j] < 0 ? -w[j] : 0;
            for (int v = 0; v < 16; ++v) sums[v] += v >> j & 1 ? set : clear;
        }
        std::uint8_t *entries = table.data() + 16 * g;
        float worst = 0;
        for (int v = 0; v < 16; ++v) {
            float c = (sums[v] * inverse + 12582912.0f) - 12582912.0f;  // to the nearest whole number, as in CopyQuery
            c = c > kTableTop ? kTableTop : c == c ? c : 0;
            entries[v] = static_cast<std::uint8_t>(c);
            worst = std::max(worst, std::fabs(sums[v] - c * unit));
        }
        lost += worst;
        coded.most += *std::max_element(entries, entries + 16);
    }
    error = static_cast<float>(lost * (1 + 1e-5) + 1e-6 * whole);
    coded.unit = inverse > 0 ? unit : 0;
    coded.shift = inverse > 0 ? static_cast<float>(whole / 2 / unit) : 0;
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
