#include "cells.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "encode.h"
#include "parallel.h"
#include "search.h"

namespace nestling {

CellFinder::CellFinder(const float *centroids, std::size_t cells, std::size_t m, bool unit)
    : cells_(cells), m_(m), unit_(unit), centroids_(centroids, centroids + cells * m), half_norms_(cells), sketch_{} {
    for (float &x : centroids_) x = std::isfinite(x) ? std::min(std::max(x, -1e15f), 1e15f) : 0;  // a damaged file holds anything
    centroids = centroids_.data();
    const std::size_t blocks = (cells + kBlock - 1) / kBlock;
    sketch_.m = m, sketch_.bits = 8;
    sketch_.center.assign(m, 0), sketch_.step.assign(m, 0);
    for (std::size_t j = 0; j < m; ++j) {
        float low = centroids[j], high = centroids[j];
        for (std::size_t c = 0; c < cells; ++c) low = std::min(low, centroids[c * m + j]), high = std::max(high, centroids[c * m + j]);
        sketch_.center[j] = low / 2 + high / 2, sketch_.step[j] = std::max((high - low) / 255, 1e-30f);
    }
    Codes &codes = sketch_.codes;
    codes = {nullptr, cells, lines_of(m, 8), 8, nullptr, nullptr, nullptr, nullptr};
    std::vector<std::uint8_t> packed(blocks * codes.block_bytes());
    std::vector<float> errors(cells), bias(blocks * kBlock, 0);
    encode_sketch(centroids, cells, m, 8, sketch_.center.data(), sketch_.step.data(), 1, packed.data(), nullptr, errors.data(), 1);
    for (std::size_t c = 0; c < cells; ++c) bias[c] = half_norms_[c] = squared_norm(centroids + c * m, m) / 2;
    sketch_.data = HugeMemory(packed.data(), packed.size());
    sketch_.bias = HugeMemory(bias.data(), bias.size() * sizeof(float));
    codes.data = sketch_.data.as<std::uint8_t>();
    codes.bias = sketch_.bias.as<float>();
}

void CellFinder::find(const float *queries, std::size_t q, std::size_t width, std::size_t count, std::size_t threads,
                      std::int32_t *out) const {
    const std::size_t tried = std::min(cells_, count + count / 4 + 24);
    parallel(q, threads, 16, [&](std::size_t begin, std::size_t end) {
        thread_local Keeper keeper;
        thread_local SketchQuery coded;
        thread_local std::vector<float> query;
        thread_local std::vector<Key> keys;
        const Kernels &k = kernels();
        query.resize(m_);
        for (std::size_t i = begin; i < end; ++i) {
            const float *from = queries + i * width;
            const float norm = unit_ ? squared_norm(from, m_) : 1;
            const float factor = norm > 0 ? 1 / std::sqrt(norm) : 0;
            for (std::size_t j = 0; j < m_; ++j) query[j] = from[j] * factor;
            coded.prepare(sketch_, query.data());
            keeper.start(tried, -std::numeric_limits<float>::infinity());
            ScanRange range{0, cells_};
            while (range.begin < range.end) {
                Key *free = keeper.free();
                keeper.took(k.scan(sketch_.codes, coded.coded, range, nullptr, keeper.threshold(), 0, false, free, keeper.room()));
            }
            keeper.cut();
            keys.clear();
            for (const Key key : keeper) {
                const std::uint32_t c = position_of(key);
                keys.push_back(key_of(k.dot_float(centroids_.data() + c * m_, query.data(), m_) - half_norms_[c], c));
            }
            std::sort(keys.begin(), keys.end(), std::greater<Key>());
            for (std::size_t p = 0; p < count; ++p)  // no key is NaN, as all are of a query that is not finite
                out[i * count + p] = p < keys.size() ? static_cast<std::int32_t>(position_of(keys[p])) : -1;
        }
    });
}

}  // namespace nestling
