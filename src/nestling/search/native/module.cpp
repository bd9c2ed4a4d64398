#include <nanobind/nanobind.h>

#include "bindings.h"

namespace nb = nanobind;

NB_MODULE(_native, m) {
    m.doc() = "Hot loops of nestling.search.";
    nestling::bind_kernels(m);
    nestling::bind_encoders(m);
    nestling::bind_snapshot(m);
}
