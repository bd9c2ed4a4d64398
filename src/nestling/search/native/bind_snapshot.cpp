#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <cstring>
#include <optional>

#include "bindings.h"
#include "encode.h"
#include "snapshot.h"

namespace nestling {
namespace {

using namespace nb::literals;
template <class T, int n>
using Maybe = std::optional<Array<const T, n>>;

std::vector<std::uint64_t> words_of(const Array<const std::uint8_t, 1> &bits, std::size_t rows) {
    require(bits.shape(0) == (rows + 7) / 8, "a bitmap must have one bit a row.");
    std::vector<std::uint64_t> words(rows / 64 + 1, 0);
    std::memcpy(words.data(), bits.data(), bits.shape(0));
    return words;
}

// The Python object: a snapshot, and the arrays that it looks into.
struct Held {
    Snapshot snapshot;
    nb::list arrays;
    std::size_t resident = 0;

    Held(const std::vector<std::size_t> &stops, int metric, bool half)
        : snapshot(stops, static_cast<Metric>(metric), half), stops(stops), half(half) {
        require(metric >= 0 && metric <= 2, "metric must be 0, 1 or 2.");
        require(!stops.empty() && stops.front() > 0, "stops must be positive.");
    }
    Held(const Held &) = delete;
    Held &operator=(const Held &) = delete;
    std::vector<std::size_t> stops;
    bool half;

    template <class A>
    const void *hold(const A &array) {
        arrays.append(array);
        return array.data();
    }

    std::size_t add_segment(const std::vector<nb::ndarray<nb::ro, nb::device::cpu>> &rings, const std::vector<Array<const float, 1>> &norms,
                            Maybe<std::int64_t, 1> ids, Maybe<std::uint64_t, 1> offsets, Maybe<std::uint8_t, 1> text,
                            Maybe<std::uint32_t, 1> order, Maybe<std::uint64_t, 1> cells, Maybe<std::uint8_t, 1> live) {
        Segment s{};
        require(rings.size() == stops.size() && norms.size() == stops.size(), "one ring and one norm array per stop.");
        std::size_t start = 0;
        for (std::size_t k = 0; k < stops.size(); ++k) {
            const auto &ring = rings[k];
            require(ring.dtype() == (half ? nb::dtype<std::uint16_t>() : nb::dtype<float>()), "rings have another precision.");
            require(ring.ndim() == 2, "rings must be matrices.");
            const std::size_t rows = ring.shape(0), width = ring.shape(1);
            require((width < 2 || ring.stride(1) == 1) && (rows < 2 || ring.stride(0) == static_cast<std::int64_t>(width)), "rings must be contiguous.");
            const void *data = hold(ring);
            if (k == 0) s.rows = rows;
            require(rows == s.rows && width == stops[k] - start && norms[k].shape(0) == rows, "rings and norms must fit.");
            s.rings.push_back({data, static_cast<const float *>(hold(norms[k])), start, stops[k]});
            start = stops[k];
        }
        if (ids) {
            require(ids->shape(0) == s.rows, "one id a row.");
            s.ids.numbers = static_cast<const std::int64_t *>(hold(*ids));
        } else if (offsets && text) {
            require(offsets->shape(0) == s.rows + 1, "one offset a row and one more.");
            s.ids.offsets = static_cast<const std::uint64_t *>(hold(*offsets));
            s.ids.text = static_cast<const std::uint8_t *>(hold(*text));
            s.ids.text_bytes = text->shape(0);
        }
        if (order) {
            require(order->shape(0) == s.rows, "order must name one row a position.");
            s.order_memory = HugeMemory(order->data(), order->nbytes());
            s.order = s.order_memory.as<std::uint32_t>();
            resident += order->nbytes();
        }
        if (cells) {
            require(cells->shape(0) >= 2 && cells->data()[0] == 0, "cells begin at 0.");
            s.cells = cells->shape(0) - 1;
            for (std::size_t c = 0; c < s.cells; ++c)
                require(cells->data()[c] <= cells->data()[c + 1] && cells->data()[c + 1] <= s.rows, "cells must follow one another.");
            require(cells->data()[s.cells] == s.rows, "cells must hold every row.");
            s.cell_offsets = static_cast<const std::uint64_t *>(hold(*cells));
        }
        if (live) {
            s.live_rows = words_of(*live, s.rows);
            s.live_positions.assign(s.live_rows.size(), 0);
            for (std::size_t p = 0; p < s.rows; ++p) {
                const std::size_t row = s.row_of(p);
                if (s.live_rows[row / 64] >> (row % 64) & 1) s.live_positions[p / 64] |= std::uint64_t{1} << (p % 64);
            }
        }
        return snapshot.add_segment(std::move(s));
    }

    void add_sketch(std::size_t segment, int bits, Array<const float, 2> params, Array<const float, 1> limits,
                    Array<const std::uint8_t, 2> codes, Maybe<std::uint8_t, 1> scales, Maybe<float, 1> bias,
                    Maybe<std::uint16_t, 1> shares, Maybe<std::uint16_t, 1> tails) {
        Segment &s = snapshot.segment(segment);
        require(bits == 1 || bits == 2 || bits == 4 || bits == 8, "bits must be 1, 2, 4 or 8.");
        require(params.shape(0) == 2 && limits.shape(0) == 4, "params must be (2, m) and limits four numbers.");
        const std::size_t m = params.shape(1), blocks = (s.rows + kBlock - 1) / kBlock;
        require(m >= 1 && m <= snapshot.width() && (!tabulated(bits) || m <= 2048), "a sketch is at most as wide as the vectors, at 1 and 2 bits 2048.");
        Sketch k{};
        k.m = m, k.bits = bits, k.error = limits.data()[0], k.longest = limits.data()[1], k.scale_unit = limits.data()[3];
        k.center.assign(params.data(), params.data() + m);
        k.step.assign(params.data() + m, params.data() + 2 * m);
        k.codes = {nullptr, s.rows, lines_of(m, bits), bits, nullptr, nullptr, nullptr, nullptr};
        require(codes.shape(0) == blocks && codes.shape(1) == k.codes.block_bytes(), "codes must be (blocks, bytes).");
        require((bits == 8) == !scales.has_value(), "sketches below 8 bits have scales.");
        require(shares.has_value() == tails.has_value(), "shares and tails come together.");
        const auto take = [&](HugeMemory &to, const auto &from) {
            if (!from) return;
            require(from->shape(0) == blocks * kBlock, "one value a position.");
            to = HugeMemory(from->data(), from->nbytes());
            resident += from->nbytes();
        };
        k.data = HugeMemory(codes.data(), codes.nbytes());
        resident += codes.nbytes();
        take(k.scales, scales), take(k.bias, bias), take(k.shares, shares), take(k.tails, tails);
        s.sketches.push_back(std::move(k));
        Sketch &kept = s.sketches.back();
        kept.codes.data = kept.data.as<std::uint8_t>();
        kept.codes.scales = kept.scales.as<std::uint8_t>();
        kept.codes.bias = kept.bias.as<float>();
        kept.codes.shares = kept.shares.as<std::uint16_t>();
        kept.codes.tails = kept.tails.as<std::uint16_t>();
    }

    void add_copy(std::size_t segment, std::size_t start, std::size_t stop, Array<const std::uint8_t, 2> codes,
                  Array<const float, 2> meta) {
        Segment &s = snapshot.segment(segment);
        const std::size_t before = s.copies.empty() ? 0 : s.copies.back().stop;
        require(start == before && stop > start && stop <= snapshot.width(), "copies must follow one another.");
        require(codes.shape(0) == s.rows && codes.shape(1) >= stop - start && codes.shape(1) % 64 == 0, "codes must be (rows, stride).");
        require(meta.shape(0) == s.rows && meta.shape(1) == 4, "meta must be (rows, 4).");
        s.copies.push_back({static_cast<const std::uint8_t *>(hold(codes)), static_cast<const float *>(hold(meta)), start, stop,
                            codes.shape(1)});
    }

    std::vector<std::vector<std::uint64_t>> masks_of(const std::vector<Array<const std::uint8_t, 1>> &bitmaps) const {
        std::vector<std::vector<std::uint64_t>> masks;
        require(bitmaps.size() == snapshot.segments().size(), "one bitmap a segment.");
        for (std::size_t i = 0; i < bitmaps.size(); ++i) masks.push_back(words_of(bitmaps[i], snapshot.segments()[i].rows));
        return masks;
    }

    void check_queries(const Array<const float, 2> &queries) const {
        require(queries.shape(1) == snapshot.width(), "queries must be as wide as the index.");
        for (std::size_t i = 0; i < queries.shape(0); ++i)
            if (!std::isfinite(kernels().dot_float(queries.data() + i * queries.shape(1), queries.data() + i * queries.shape(1), queries.shape(1))))
                throw nb::value_error(("query " + std::to_string(i)).c_str());
    }

    std::tuple<NumPy<std::int64_t, 2>, NumPy<float, 2>> search(Array<const float, 2> queries, Array<const std::int64_t, 2> plan, Maybe<std::int32_t, 2> cells,
                     const std::optional<std::vector<Array<const std::uint8_t, 1>>> &among, std::size_t threads) const {
        check_queries(queries);
        require(plan.shape(1) == 3, "a plan is (stages, 3).");
        std::vector<Stage> stages;
        for (std::size_t i = 0; i < plan.shape(0); ++i) {
            const std::int64_t *p = plan.data() + 3 * i;
            require(p[0] > 0 && p[1] >= 0 && p[2] > 0, "dims, bits and keeps must be positive.");
            stages.push_back({static_cast<std::size_t>(p[0]), static_cast<int>(p[1]), static_cast<std::size_t>(p[2])});
        }
        snapshot.check(stages, cells.has_value());
        require(!cells || cells->shape(0) == queries.shape(0), "one row of cells a query.");
        const std::size_t q = queries.shape(0), k = stages.back().keep;
        auto rows = make<std::int64_t, 2>({q, k});
        auto scores = make<float, 2>({q, k});
        const Cells chosen{cells ? cells->data() : nullptr, cells ? cells->shape(1) : 0};
        std::int64_t *to = rows.data();
        float *score = scores.data();
        const auto masks = among ? masks_of(*among) : Masks{};
        {
            nb::gil_scoped_release unlocked;
            snapshot.search(queries.data(), q, stages, chosen, among ? &masks : nullptr, threads, to, score);
        }
        return {rows, scores};
    }

    std::tuple<NumPy<std::int64_t, 2>, NumPy<float, 2>, NumPy<std::int64_t, 2>> exact(Array<const float, 2> queries, std::size_t k, Maybe<std::int64_t, 2> guess, std::size_t m,
                    const std::optional<std::vector<Array<const std::uint8_t, 1>>> &among, std::size_t threads) const {
        check_queries(queries);
        require(k >= 1, "k must be positive.");
        require(!guess || guess->shape(0) == queries.shape(0), "one row of guesses a query.");
        const std::size_t q = queries.shape(0);
        auto rows = make<std::int64_t, 2>({q, k});
        auto scores = make<float, 2>({q, k});
        auto reads = make<std::int64_t, 2>({q, 3});
        std::int64_t *to = rows.data(), *read = reads.data();
        float *score = scores.data();
        const auto masks = among ? masks_of(*among) : Masks{};
        {
            nb::gil_scoped_release unlocked;
            snapshot.exact(queries.data(), q, k, guess ? guess->data() : nullptr, guess ? guess->shape(1) : 0, m,
                           among ? &masks : nullptr, threads, to, score, read);
        }
        return {rows, scores, reads};
    }
};

}  // namespace

void bind_snapshot(nb::module_ &m) {
    nb::class_<Held>(m, "Snapshot", "An open index as the kernels see it; it keeps the arrays that it was given.")
        .def(nb::init<const std::vector<std::size_t> &, int, bool>(), "stops"_a, "metric"_a, "half"_a,
             "metric: 0 cosine, 1 inner product, 2 squared distance; half: rings are bits of float16, else float32.")
        .def("add_segment", &Held::add_segment, "rings"_a, "norms"_a, "ids"_a.none(), "offsets"_a.none(), "text"_a.none(),
             "order"_a.none(), "cells"_a.none(), "live"_a.none(),
             nb::sig("def add_segment(self, rings: collections.abc.Sequence[numpy.typing.NDArray[typing.Any]], "
                     "norms: collections.abc.Sequence[numpy.typing.NDArray[numpy.float32]], "
                     "ids: numpy.typing.NDArray[numpy.int64] | None, offsets: numpy.typing.NDArray[numpy.uint64] | None, "
                     "text: numpy.typing.NDArray[numpy.uint8] | None, order: numpy.typing.NDArray[numpy.uint32] | None, "
                     "cells: numpy.typing.NDArray[numpy.uint64] | None, live: numpy.typing.NDArray[numpy.uint8] | None) -> int"),
             "Add rows; returns the number of the segment.")
        .def("add_sketch", &Held::add_sketch, "segment"_a, "bits"_a, "params"_a, "limits"_a, "codes"_a, "scales"_a.none(),
             "bias"_a.none(), "shares"_a.none(), "tails"_a.none(), "Load a sketch of a segment into memory.")
        .def("add_copy", &Held::add_copy, "segment"_a, "start"_a, "stop"_a, "codes"_a, "meta"_a,
             "Add an int8 copy of the dims [start, stop).")
        .def("search", &Held::search, "queries"_a, "plan"_a, "cells"_a.none(), "among"_a.none(), "threads"_a = 1,
             "Rows (q, k) of the snapshot and scores (q, k); -1 and NaN where nothing was found. plan: (stages, 3) dims,\n"
             "bits (0 = stored), keep. Raises ValueError(\"query i\") for one that is not finite.")
        .def("exact", &Held::exact, "queries"_a, "k"_a, "guess"_a.none(), "m"_a, "among"_a.none(), "threads"_a = 1,
             "The true k best: rows, scores, and (q, 3) numbers of rows bounded, compared by copies and compared in full.\n"
             "guess: rows (q, g) that a plan found; m: the 8-bit sketch that bounds, 0 for none.")
        .def_prop_ro("resident", [](const Held &h) { return h.resident; }, "Bytes copied into memory.")
        .def_prop_ro("rows", [](const Held &h) { return h.snapshot.rows(); }, "Rows, dead ones included.");
}

}  // namespace nestling
