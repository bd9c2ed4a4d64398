#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "encode.h"
#include "kernels.h"

namespace nestling {
namespace {

using namespace nb::literals;

std::tuple<std::vector<nb::ndarray<nb::numpy, nb::ndim<2>>>, NumPy<float, 2>, std::int64_t> cut(Array<const float, 2> x, const std::vector<std::size_t> &stops, bool half, std::size_t threads) {
    const std::size_t rows = x.shape(0), width = x.shape(1);
    require(!stops.empty() && stops.back() == width, "the last stop must be the width.");
    auto norms = make<float, 2>({stops.size(), rows});
    std::vector<RingOut> outs;
    std::vector<nb::ndarray<nb::numpy, nb::ndim<2>>> arrays;
    std::size_t start = 0;
    for (std::size_t k = 0; k < stops.size(); ++k) {
        require(stops[k] > start, "stops must rise.");
        const std::size_t r = stops[k] - start;
        void *data;
        if (half) {
            auto ring = make<std::uint16_t, 2>({rows, r});
            data = ring.data();
            arrays.push_back(nb::ndarray<nb::numpy, nb::ndim<2>>(ring));
        } else {
            auto ring = make<float, 2>({rows, r});
            data = ring.data();
            arrays.push_back(nb::ndarray<nb::numpy, nb::ndim<2>>(ring));
        }
        outs.push_back({data, norms.data() + k * rows, start, stops[k]});
        start = stops[k];
    }
    std::int64_t bad;
    {
        nb::gil_scoped_release unlocked;
        bad = store_rings(x.data(), rows, width, outs, half, threads);
    }
    return {arrays, norms, bad};
}

std::tuple<NumPy<std::uint8_t, 2>, NumPy<std::uint8_t, 1>, NumPy<float, 1>> sketch(Array<const float, 2> x, Array<const float, 2> params, int bits, float scale_unit, std::size_t threads) {
    const std::size_t rows = x.shape(0), m = x.shape(1);
    require(bits == 1 || bits == 2 || bits == 4 || bits == 8, "bits must be 1, 2, 4 or 8.");
    require(params.shape(0) == 2 && params.shape(1) == m, "params must be (2, m).");
    require(scale_unit > 0, "scale_unit must be positive.");
    const std::size_t blocks = (rows + kBlock - 1) / kBlock, bytes = block_bytes(lines_of(m, bits), bits);
    auto codes = make<std::uint8_t, 2>({blocks, bytes});
    auto scales = make<std::uint8_t, 1>({bits == 8 ? 0 : blocks * kBlock});
    auto errors = make<float, 1>({rows});
    {
        nb::gil_scoped_release unlocked;
        encode_sketch(x.data(), rows, m, bits, params.data(), params.data() + m, scale_unit, codes.data(),
                      bits == 8 ? nullptr : scales.data(), errors.data(), threads);
    }
    return {codes, scales, errors};
}

std::tuple<NumPy<std::uint8_t, 2>, NumPy<float, 1>, NumPy<double, 1>> copy(const std::vector<nb::ndarray<nb::ro, nb::device::cpu>> &rings, std::size_t stride, std::size_t threads) {
    std::vector<RingIn> in;
    std::size_t rows = 0, width = 0;
    const bool half = !rings.empty() && rings[0].dtype() == nb::dtype<std::uint16_t>();
    for (const auto &ring : rings) {
        require(ring.dtype() == (half ? nb::dtype<std::uint16_t>() : nb::dtype<float>()), "rings must all be float32, or all bits of float16.");
        require(ring.ndim() == 2 && (ring.shape(1) < 2 || ring.stride(1) == 1) &&
                    (ring.shape(0) < 2 || ring.stride(0) == static_cast<std::int64_t>(ring.shape(1))),
                "rings must be contiguous matrices.");
        require(in.empty() || ring.shape(0) == rows, "rings must have equally many rows.");
        rows = ring.shape(0), width += ring.shape(1);
        in.push_back({ring.data(), ring.shape(1)});
    }
    require(stride >= width && stride % 64 == 0, "stride must hold the rings and be a multiple of 64.");
    auto codes = make<std::uint8_t, 2>({rows, stride});
    auto scales = make<float, 1>({rows});
    auto errors = make<double, 1>({rows});
    {
        nb::gil_scoped_release unlocked;
        encode_copy(in, half, rows, stride, codes.data(), scales.data(), errors.data(), threads);
    }
    return {codes, scales, errors};
}

}  // namespace

void bind_encoders(nb::module_ &m) {
    m.def("store_rings", &cut, "x"_a.noconvert(), "stops"_a, "half"_a, "threads"_a = 1,
          nb::sig("def store_rings(x: numpy.typing.NDArray[numpy.float32], stops: collections.abc.Sequence[int], half: bool, "
                  "threads: int = 1) -> tuple[list[numpy.typing.NDArray[typing.Any]], numpy.typing.NDArray[numpy.float32], int]"),
          "Rings of x (b, d): a list of (b, r_k) arrays, float32 or the bits of float16; the squared norms (K, b) of the\n"
          "stored prefixes; and the first row that is not finite when stored, or -1.");
    m.def("encode_sketch", &sketch, "x"_a.noconvert(), "params"_a.noconvert(), "bits"_a, "scale_unit"_a = 1.0f, "threads"_a = 1,
          "Codes (blocks, bytes), scales (positions) in steps of scale_unit (empty for 8 bits) and |x - x^| (b) of x (b, m);\n"
          "params (2, m) are the centers and the steps.");
    m.def("encode_copy", &copy, "rings"_a, "stride"_a, "threads"_a = 1,
          nb::sig("def encode_copy(rings: collections.abc.Sequence[numpy.typing.NDArray[typing.Any]], stride: int, threads: int = 1)"
                  " -> tuple[numpy.typing.NDArray[numpy.uint8], numpy.typing.NDArray[numpy.float32], "
                  "numpy.typing.NDArray[numpy.float64]]"),
          "Rings [(b, r), ...] (float32, or bits of float16) as bytes (b, stride) around 128, one scale a row (b), and the\n"
          "squared errors (b).");
    m.def("sketch_bytes", [](std::size_t dims, int bits) { return block_bytes(lines_of(dims, bits), bits) / kBlock; }, "m"_a,
          "bits"_a, "Bytes of one position's codes.");
}

}  // namespace nestling
