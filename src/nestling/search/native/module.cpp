#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <string>

#include "ring_dots.h"

namespace nb = nanobind;
using namespace nb::literals;

using Scores = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Vectors = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using Shortlist = nb::ndarray<const std::int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

namespace {

nestling::Ring ring_of(const Vectors &array, const char *name) {
    if (array.shape(1) > 1 && array.stride(1) != 1)
        throw std::invalid_argument(std::string(name) + " must have contiguous rows.");
    if (array.shape(0) > 1 && array.stride(0) < 0)
        throw std::invalid_argument(std::string(name) + " must not run backwards.");
    return {array.data(), array.shape(0), array.shape(1), static_cast<std::size_t>(array.stride(0))};
}

void add_ring_dots(Scores scores, Vectors query, Vectors gallery, Shortlist shortlist) {
    if (query.shape(1) != gallery.shape(1)) throw std::invalid_argument("query and gallery must be equally wide.");
    if (shortlist.shape(0) != query.shape(0) || scores.shape(0) != query.shape(0) ||
        scores.shape(1) != shortlist.shape(1))
        throw std::invalid_argument("scores and shortlist must have one row per query and equal widths.");
    const nestling::Ring q = ring_of(query, "query"), g = ring_of(gallery, "gallery");
    std::int64_t outside = -1;
    {
        nb::gil_scoped_release unlocked;
        outside = nestling::ring_dots(scores.data(), q, g, shortlist.data(), shortlist.shape(1));
    }
    if (outside != -1)
        throw nb::index_error(("shortlist holds row " + std::to_string(outside) + " of a gallery of " +
                               std::to_string(g.rows) + ".")
                                  .c_str());
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "Hot loops of nestling.search.";
    m.def("add_ring_dots", &add_ring_dots, "scores"_a.noconvert(), "query"_a.noconvert(), "gallery"_a.noconvert(),
          "shortlist"_a.noconvert(),
          "Add to scores (q, s) the dot products of query (q, r) with the rows of gallery (n, r) that shortlist\n"
          "(q, s) names; -1 marks an empty place. Raises IndexError for a row outside the gallery.");
}
