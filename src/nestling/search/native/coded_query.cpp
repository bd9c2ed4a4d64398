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
    if (tabulated(sketch.bits)) tabulate(sketch, x);
    else weigh(sketch, x);
    if (sketch.bits < 8) coded.unit *= sketch.scale_unit, error *= 255 * sketch.scale_unit;
}

// 8 and 4 bits: whole weights.
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

namespace {

// How many lines are summed in coarse steps, and how coarse: where the first dims carry most, one step for all would be as
// coarse as they need it and drown the others. `ranges` has two entries a line; `top` is what fits an entry.
constexpr std::size_t kLargest = 32767;  // sum
struct Steps {
    std::size_t coarse = 0;
    int up = 0;
    float unit = 0;
};
Steps steps_of(const std::vector<float> &ranges, std::size_t run, int most) {
    const float top = static_cast<float>(most);
    const std::size_t lines = ranges.size() / 2, runs = (lines + run - 1) / run;
    std::vector<float> after(runs + 1, 0);  // the largest range from a run on
    for (std::size_t r = runs; r-- > 0;) {
        after[r] = after[r + 1];
        for (std::size_t i = 2 * r * run; i < std::min(2 * (r + 1) * run, ranges.size()); ++i) after[r] = std::max(after[r], ranges[i]);
    }
    Steps best{0, 0, after[0] / top};
    double least = static_cast<double>(best.unit) * best.unit * static_cast<double>(lines);
    float before = 0;
    for (std::size_t r = 1; r < runs; ++r) {
        for (std::size_t i = 2 * (r - 1) * run; i < 2 * r * run; ++i) before = std::max(before, ranges[i]);
        for (int up = 1; up <= 4; ++up) {
            if (2 * static_cast<std::size_t>(most) * ((r * run << up) + lines - r * run) > kLargest) break;
            const float times = static_cast<float>(1 << up), unit = std::max(after[r], before / times) / top;
            const double steps = static_cast<double>((r * run << 2 * up) + lines - r * run);
            const double error = static_cast<double>(unit) * unit * steps;
            if (error < least) least = error, best = {r * run, up, unit};
        }
    }
    return best;
}

}  // namespace

// 2 and 1 bits: for each two or four dims, half a byte, the 16 sums of their weights times their codes, from the least of
// them on, rounded to whole numbers. Rounding sums and not weights loses less.
void SketchQuery::tabulate(const Sketch &sketch, const float *x) {
    const int bits = sketch.bits, each = 4 / bits, most = (1 << bits) - 1;
    const std::size_t lines = sketch.codes.lines, halves = 2 * lines, width = static_cast<std::size_t>(each);
    spread.assign(width * halves, 0);
    ranges.assign(halves, 0);
    for (std::size_t j = 0; j < sketch.m; ++j) spread[j] = x[j] * sketch.step[j];
    double whole = 0;
    for (std::size_t g = 0; g < halves; ++g) {
        for (std::size_t j = width * g; j < width * (g + 1); ++j) ranges[g] += static_cast<float>(most) * std::fabs(spread[j]);
        whole += ranges[g];
    }
    const int top = static_cast<int>(std::min<std::size_t>(table_top(bits), kLargest / halves));
    const Steps steps = steps_of(ranges, run_lines(bits), top);
    const float unit = steps.unit, inverse = unit > 0 && std::isfinite(1 / unit) ? 1 / unit : 0;
    table.assign(16 * halves, 0);
    double lost = 0;
    for (std::size_t g = 0; g < halves; ++g) {
        const bool coarse = g < 2 * steps.coarse;
        const float times = coarse ? static_cast<float>(1 << steps.up) : 1, own = inverse / times;
        const float *w = spread.data() + width * g;
        float sums[16] = {0};
        for (int j = 0; j < each; ++j) {
            const float size = std::fabs(w[j]);
            const int least = w[j] < 0 ? most : 0;  // the code that adds nothing
            for (int v = 0; v < 16; ++v) {
                const int code = v >> (j * bits) & most;
                sums[v] += size * static_cast<float>(code < least ? least - code : code - least);
            }
        }
        std::uint8_t *entries = table.data() + 16 * g;
        float worst = 0;
        for (int v = 0; v < 16; ++v) {
            float c = (sums[v] * own + 12582912.0f) - 12582912.0f;  // to the nearest whole number, as in CopyQuery
            c = c > static_cast<float>(top) ? static_cast<float>(top) : c == c ? c : 0;
            entries[v] = static_cast<std::uint8_t>(c);
            worst = std::max(worst, std::fabs(sums[v] - c * times * unit));
        }
        lost += worst;
        coded.most += *std::max_element(entries, entries + 16) << (coarse ? steps.up : 0);
    }
    error = static_cast<float>(lost * (1 + 1e-5) + 1e-6 * whole);
    coded.unit = inverse > 0 ? unit : 0;
    coded.shift = inverse > 0 ? static_cast<float>(whole / 2 / unit) : 0;
    coded.table = table.data();
    coded.coarse = steps.coarse, coded.up = steps.up;
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
