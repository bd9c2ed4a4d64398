#include "bindings.h"
#include "cells.h"
#include "kernels.h"
#include "ring_dots.h"

namespace nestling {
namespace {

using namespace nb::literals;
using Scores = Array<float, 2>;
using Vectors = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using Shortlist = Array<const std::int64_t, 2>;

RowsOfRing ring_of(const Vectors &array, const char *name) {
    if (array.shape(1) > 1 && array.stride(1) != 1)
        throw std::invalid_argument(std::string(name) + " must have contiguous rows.");
    if (array.shape(0) > 1 && array.stride(0) < 0)
        throw std::invalid_argument(std::string(name) + " must not run backwards.");
    return {array.data(), array.shape(0), array.shape(1), static_cast<std::size_t>(array.stride(0))};
}

void add_ring_dots(Scores scores, Vectors query, Vectors gallery, Shortlist shortlist) {
    require(query.shape(1) == gallery.shape(1), "query and gallery must be equally wide.");
    require(shortlist.shape(0) == query.shape(0) && scores.shape(0) == query.shape(0) &&
                scores.shape(1) == shortlist.shape(1),
            "scores and shortlist must have one row per query and equal widths.");
    const RowsOfRing q = ring_of(query, "query"), g = ring_of(gallery, "gallery");
    std::int64_t outside = -1;
    {
        nb::gil_scoped_release unlocked;
        outside = ring_dots(scores.data(), q, g, shortlist.data(), shortlist.shape(1));
    }
    if (outside != -1)
        throw nb::index_error(("shortlist holds row " + std::to_string(outside) + " of a gallery of " +
                               std::to_string(g.rows) + ".")
                                  .c_str());
}

}  // namespace

void bind_kernels(nb::module_ &m) {
    m.def("add_ring_dots", &add_ring_dots, "scores"_a.noconvert(), "query"_a.noconvert(), "gallery"_a.noconvert(),
          "shortlist"_a.noconvert(),
          "Add to scores (q, s) the dot products of query (q, r) with the rows of gallery (n, r) that shortlist\n"
          "(q, s) names; -1 marks an empty place. Raises IndexError for a row outside the gallery.");
    nb::class_<CellFinder>(m, "CellFinder", "Finds the nearest of some centroids (cells, m) of queries.")
        .def("__init__",
             [](CellFinder *self, Array<const float, 2> centroids, bool unit) {
                 require(centroids.shape(0) > 0 && centroids.shape(1) > 0, "there must be a centroid.");
                 new (self) CellFinder(centroids.data(), centroids.shape(0), centroids.shape(1), unit);
             },
             "centroids"_a, "unit"_a, "unit: queries' prefixes are divided by their lengths.")
        .def(
            "find",
            [](const CellFinder &self, Array<const float, 2> queries, std::size_t count, std::size_t threads) {
                const std::size_t q = queries.shape(0);
                require(queries.shape(1) >= self.dims(), "queries must be as wide as the centroids.");
                require(count >= 1 && count <= self.cells(), "count must lie between 1 and the number of cells.");
                auto out = make<std::int32_t, 2>({q, count});
                std::int32_t *to = out.data();
                {
                    nb::gil_scoped_release unlocked;
                    self.find(queries.data(), q, queries.shape(1), count, threads, to);
                }
                return out;
            },
            "queries"_a, "count"_a, "threads"_a = 1,
            "The (q, count) cells with the largest <q, c> - |c|^2 / 2, nearest first (all are compared in 8 bits, the best a\n"
            "quarter more and 24 in float32).");
    m.def("kernels", [] { return kernels().name; }, "The instruction set in use.");
    m.def("choose_kernels", [](const char *name) { return choose_kernels(name); }, "name"_a,
          "Use \"auto\", \"plain\", \"avx2\", \"avx512\" or \"neon\"; False where this processor has it not.");
}

}  // namespace nestling
