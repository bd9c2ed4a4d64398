#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace nestling {

namespace nb = nanobind;

template <class T, int n>
using Array = nb::ndarray<T, nb::ndim<n>, nb::c_contig, nb::device::cpu>;
template <class T, int n>
using NumPy = nb::ndarray<nb::numpy, T, nb::ndim<n>, nb::c_contig>;

inline void require(bool holds, const char *sentence) {
    if (!holds) throw std::invalid_argument(sentence);
}

// A new NumPy array that owns its memory.
template <class T, int n>
NumPy<T, n> make(std::initializer_list<std::size_t> shape) {
    std::size_t size = 1;
    for (const std::size_t s : shape) {
        if (s && size > SIZE_MAX / s) throw std::bad_alloc();
        size *= s;
    }
    T *data = new T[size ? size : 1];
    nb::capsule owner(data, [](void *p) noexcept { delete[] static_cast<T *>(p); });
    return NumPy<T, n>(data, shape, owner);
}

void bind_kernels(nb::module_ &m);
void bind_encoders(nb::module_ &m);
void bind_snapshot(nb::module_ &m);

}  // namespace nestling
