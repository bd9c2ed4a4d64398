#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "snapshot.h"

namespace nestling {

// Finds the nearest centroids of a query: those with the largest <q, c> - |c|^2 / 2. All are compared by an 8-bit sketch, the
// best few times as many as are wanted in float32, which reads an eighth of the memory for the same cells.
class CellFinder {
   public:
    CellFinder(const float *centroids, std::size_t cells, std::size_t m, bool unit);
    CellFinder(const CellFinder &) = delete;
    CellFinder &operator=(const CellFinder &) = delete;

    std::size_t cells() const { return cells_; }
    std::size_t dims() const { return m_; }
    // queries: (q, width >= m); with `unit` their prefixes are divided by their lengths. out: (q, count), nearest first,
    // equal ones by number; −1 for all of a query that is not finite.
    void find(const float *queries, std::size_t q, std::size_t width, std::size_t count, std::size_t threads, std::int32_t *out) const;

   private:
    std::size_t cells_, m_;
    bool unit_;
    std::vector<float> centroids_, half_norms_;
    Sketch sketch_;
};

}  // namespace nestling
