#pragma once
#include <cstddef>
#include <cstdint>

namespace nestling {

// The `count` nearest of `cells` centroids for each query, nearest first, equal ones by number: the largest
// <q, c> - half_norms[c]. columns: (m, cells), the centroids transposed, so that neighbours are computed together.
void nearest_cells(const float *columns, const float *half_norms, std::size_t cells, std::size_t m, const float *queries,
                   std::size_t q, std::size_t count, std::size_t threads, std::int32_t *out);

}  // namespace nestling
