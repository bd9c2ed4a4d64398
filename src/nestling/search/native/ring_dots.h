#pragma once
#include <cstddef>
#include <cstdint>

namespace nestling {

// One ring of a matrix of vectors: `rows` rows of `width` floats, `stride` floats apart.
struct RowsOfRing {
    const float *data;
    std::size_t rows;
    std::size_t width;
    std::size_t stride;
};

// scores[i, j] += <query_i, gallery_{shortlist[i, j]}> over the dims of this ring.
// A shortlist entry of -1 is an empty place and is left alone.
// Returns the first entry outside [-1, gallery.rows), or -1 when all are inside; then nothing was read outside.
std::int64_t ring_dots(float *scores, const RowsOfRing &query, const RowsOfRing &gallery, const std::int64_t *shortlist,
                       std::size_t places);

}  // namespace nestling
