#include "cells.h"

#include <algorithm>
#include <vector>

#include "keeper.h"
#include "parallel.h"

namespace nestling {
namespace {

constexpr std::size_t kTogether = 64;  // centroids whose sums are taken at once

}  // namespace

void nearest_cells(const float *columns, const float *half_norms, std::size_t cells, std::size_t m, const float *queries,
                   std::size_t q, std::size_t count, std::size_t threads, std::int32_t *out) {
    parallel(q, threads, 16, [&](std::size_t begin, std::size_t end) {
        const Kernels &k = kernels();
        thread_local std::vector<Key> keys, spare;
        keys.resize(cells), spare.resize(cells);
        for (std::size_t i = begin; i < end; ++i) {
            const float *query = queries + i * m;
            std::size_t c = 0;
            alignas(64) float sums[kTogether];
            for (; c + kTogether <= cells; c += kTogether) {
                k.columns(columns + c, cells, query, m, sums);
                for (std::size_t l = 0; l < kTogether; ++l)
                    keys[c + l] = key_of(sums[l] - half_norms[c + l], static_cast<std::uint32_t>(c + l));
            }
            for (; c < cells; ++c) {
                float sum = 0;
                for (std::size_t j = 0; j < m; ++j) sum += query[j] * columns[j * cells + c];
                keys[c] = key_of(sum - half_norms[c], static_cast<std::uint32_t>(c));
            }
            if (count < cells) select_best(keys.data(), cells, count, spare.data());
            std::sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(count), std::greater<Key>());
            for (std::size_t p = 0; p < count; ++p) out[i * count + p] = static_cast<std::int32_t>(position_of(keys[p]));
        }
    });
}

}  // namespace nestling
