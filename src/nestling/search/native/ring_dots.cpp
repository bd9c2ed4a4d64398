#include "ring_dots.h"

namespace nestling {
namespace {

// Sixteen running sums: as many as fill the widest vector registers, and always added in the same order,
// so that every machine gives the same bits.
float dot(const float *a, const float *b, std::size_t width) {
    constexpr std::size_t lanes = 16;
    float sums[lanes] = {};
    std::size_t i = 0;
    for (; i + lanes <= width; i += lanes)
        for (std::size_t lane = 0; lane < lanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    for (std::size_t lane = 0; i < width; ++i, ++lane) sums[lane] += a[i] * b[i];
    for (std::size_t half = lanes / 2; half > 0; half /= 2)
        for (std::size_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
    return sums[0];
}

inline void prefetch(const void *address) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(address);
#else
    (void)address;
#endif
}

}  // namespace

std::int64_t ring_dots(float *scores, const RowsOfRing &query, const RowsOfRing &gallery, const std::int64_t *shortlist,
                       std::size_t places) {
    constexpr std::size_t ahead = 8;  // rows requested before they are needed; their addresses are random
    const std::size_t total = query.rows * places;
    for (std::size_t at = 0; at < total; ++at) {
        const std::int64_t row = shortlist[at];
        if (row < -1 || row >= static_cast<std::int64_t>(gallery.rows)) return row;
    }
    for (std::size_t q = 0; q < query.rows; ++q) {
        const float *vector = query.data + q * query.stride;
        const std::int64_t *list = shortlist + q * places;
        for (std::size_t j = 0; j < places; ++j) {
            if (j + ahead < places && list[j + ahead] >= 0)
                prefetch(gallery.data + static_cast<std::size_t>(list[j + ahead]) * gallery.stride);
            if (list[j] < 0) continue;
            scores[q * places + j] +=
                dot(vector, gallery.data + static_cast<std::size_t>(list[j]) * gallery.stride, query.width);
        }
    }
    return -1;
}

}  // namespace nestling
