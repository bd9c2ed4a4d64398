"""Figures of the paper (Kusupati et al. 2022, version 4), to stand beside ours: ResNet-50 on ImageNet-1K, in percent.

Those that were read in the text, in the authors' notebooks or in two independent notes are checked; the others are from
memory, are shown as unchecked, and no test compares with them.
"""

from __future__ import annotations

from typing import NamedTuple

DIMS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class Curve(NamedTuple):
    """A system's values at the paper's dims, NaN where it has none, and the dims whose value was checked."""

    values: tuple[float, ...]
    checked: tuple[int, ...] = ()

    def at(self, m: int) -> str:
        """The value as a cell; unchecked ones end in "?"."""
        if m not in DIMS or (value := self.values[DIMS.index(m)]) != value:
            return ""
        return f"{value:.2f}" + ("" if m in self.checked else "?")


_NONE = float("nan")
_LINEAR = (8, 16, 128, 2048)

LINEAR = {
    "MRL": Curve((66.63, 73.53, 75.03, 75.82, 76.30, 76.47, 76.65, 76.76, 76.80), _LINEAR),
    "MRL-E": Curve((56.66, 71.94, 74.48, 75.35, 75.80, 76.22, 76.36, 76.48, 76.51), _LINEAR),
    "FF": Curve((65.29, 72.85, 74.60, 75.27, 75.29, 75.71, 76.18, 76.63, 76.87), _LINEAR),
    "SVD": Curve((2.34, 7.17, 20.46, 48.10, 67.24, 74.59, 76.78, 76.87, _NONE), _LINEAR),
    "slimmable": Curve((0.42, 0.96, 2.27, 5.59, 14.15, 38.42, 69.80, 74.61, 76.26)),
    "random": Curve((4.56, 11.29, 27.21, 49.47, 65.70, 72.43, 74.94, 76.10, 76.87), _LINEAR),
}
ONE_NN = {
    "MRL": Curve((62.19, 67.91, 69.46, 70.17, 70.52, 70.62, 70.82, 70.89, 70.97), (8, 16)),
    "MRL-E": Curve((57.45, 67.05, 68.60, 69.61, 70.12, 70.36, 70.74, 71.07, 71.21), (8,)),
    "FF": Curve((58.93, 66.77, 68.84, 69.41, 69.35, 69.72, 70.18, 70.34, 71.19), (8,)),
    "SVD": Curve((19.14, 46.02, 60.78, 67.04, 69.63, 70.67, 71.06, 71.22, 71.21), (8,)),
    "slimmable": Curve((1.00, 5.12, 16.95, 35.60, 51.16, 60.61, 65.82, 67.19, 66.10), (8,)),
    "random": Curve((2.36, 12.06, 32.91, 49.91, 60.91, 65.75, 68.77, 70.41, 71.19), (8,)),
}
MAP = {
    "MRL": Curve((56.74, 62.94, 64.21, 64.69, 64.94, 65.04, 65.14, 65.16, 65.20), DIMS),
    "MRL-E": Curve((51.80, 61.60, 63.34, 63.84, 64.15, 64.35, 64.69, 64.85, 64.99), DIMS),
    "FF": Curve((53.42, 61.63, 63.35, 63.26, 62.30, 61.47, 61.37, 61.13, 62.90), DIMS),
    "SVD": Curve((12.25, 35.19, 50.65, 57.57, 60.98, 62.27, 62.73, 62.92, 62.90), DIMS),
    "slimmable": Curve((0.34, 2.14, 9.01, 22.94, 37.55, 47.58, 53.77, 55.03, 53.52), DIMS),
    "random": Curve((0.91, 6.83, 23.22, 38.75, 50.64, 56.38, 59.95, 61.87, 62.90), DIMS),
}


class CascadePoint(NamedTuple):
    """Cap on the width, expected dims, accuracy: thresholds found on 10,000 images, mean of 30 draws of them."""

    cap: int
    dims: float
    accuracy: float


CASCADE = (
    CascadePoint(16, 13.2, 73.79),
    CascadePoint(32, 18.0, 75.24),
    CascadePoint(64, 25.7, 76.05),
    CascadePoint(128, 35.3, 76.27),
    CascadePoint(256, 45.7, 76.42),
    CascadePoint(512, 62.1, 76.51),
    CascadePoint(1024, 87.9, 76.53),
    CascadePoint(2048, 121.7, 76.54),
)
