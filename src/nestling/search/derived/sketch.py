"""The sketch: a prefix of m dims at 1, 2, 4 or 8 bits a dim, what the first stage of a plan scans.

A prefix u (for cosine divided by its length) is coded dim by dim,
code_j = round((u_j − center_j) / step_j + (2ᵇ − 1) / 2), and read as
center_j + scale · step_j · (code_j − (2ᵇ − 1) / 2). Below 8 bits the scale of a vector undoes what the
coding took from its length along itself, ⟨r, r⟩ / ⟨r, r̂⟩ with r = u − center (RaBitQ's estimator, Gao & Long 2024,
here for any step), in 255 steps; at 8 bits it is 1. Centers and steps are fitted per dim on a sample: the mean and the
step that suits a normal distribution best (Max 1960), or at 8 bits the range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.search import _native
from nestling.search.storage.blocks import Section
from nestling.search.storage.segment import Segment

BLOCK = 64  # positions that are coded together (native/kernels.h)
WIDEST = {1: 2048, 2: 2048}  # dims of a sketch whose sums run in 16 bits
_SAMPLE = 1 << 15  # rows that centers and steps are fitted on
_TRUSTED = 1 << 12  # rows whose fit is good enough for other segments
_CHUNK = 1 << 15  # positions coded in one go
_NOTHING = 1e-70  # squared norm
_SMALLEST = 1e-36  # a squared norm below has lost too much to underflow to bound a cosine
_STEPS = {1: 1.5958, 2: 0.9957, 4: 0.3352}  # standard deviations (Max 1960, table II)


@dataclass(frozen=True)
class Sketch:
    """The part ``sketch-m@bits``.

    Attributes:
        m: dims, any prefix of the vectors.
        bits: 1, 2, 4 or 8.
        nesting: the stored dims.
        metric: "cosine", "ip" or "l2".
        in_cells: whether positions lie cell by cell, in the order of the part ``cells``.

    Raises:
        InputError: no such sketch can be made.
    """

    m: int
    bits: int
    nesting: Nesting
    metric: str
    in_cells: bool = False

    def __post_init__(self) -> None:
        widest = min(self.nesting.width, WIDEST.get(self.bits, self.nesting.width))
        if self.bits not in (1, 2, 4, 8) or not 1 <= self.m <= widest:
            raise InputError.of("a sketch", f"of 1 to {widest} dims at 1, 2, 4 or 8 bits", f"{self.m}@{self.bits}")

    @property
    def name(self) -> str:
        """``"sketch-16@8"``."""
        return f"sketch-{self.m}@{self.bits}"

    @property
    def resident(self) -> bool:
        """Every search reads all of it."""
        return True

    @property
    def partitioned(self) -> bool:
        """Its order is that of the cells."""
        return True

    def sections(self, rows: int) -> list[Section]:
        """params: centers and steps; limits: the largest |u − û| of rows with a finite tail, the largest |x|, the
        rows that were fitted and one step of the scales; shares and tails: |prefix| / |x| and |tail| / |x| (for ip and
        l2: 1 and |tail|), which bound the full score (exact search)."""
        f32, u16 = np.dtype(np.float32), np.dtype(np.uint16)
        blocks = -(-rows // BLOCK)
        positions = (blocks * BLOCK,)
        found = [
            Section("params", f32, (2, self.m)),
            Section("limits", f32, (4,)),
            Section("codes", np.dtype(np.uint8), (blocks, BLOCK * _native.sketch_bytes(self.m, self.bits))),
        ]
        if self.bits < 8:
            found.append(Section("scales", np.dtype(np.uint8), positions))
        else:
            found += [Section("shares", u16, positions), Section("tails", u16, positions)]
        if self.metric == "l2":
            found.append(Section("bias", f32, positions))
        return found

    def chunks(self, segment: Segment, like: Mapping[str, np.ndarray] | None) -> Iterator[tuple[str, np.ndarray]]:
        """Code the segment, with the centers and steps of `like` where those rest on enough rows."""
        some = np.unique(np.linspace(0, segment.rows - 1, min(segment.rows, _SAMPLE)).astype(np.int64))
        sample = self._prefixes(segment, some)[0]
        if like is not None and like["limits"][2] >= min(_TRUSTED, segment.rows):
            params, fitted = np.array(like["params"], np.float32), float(like["limits"][2])
        else:
            params, fitted = self.fit(sample), float(len(sample))
        yield "params", params
        unit = self._scale_unit(sample, params)
        most = 1.25 * float(_native.encode_sketch(sample, params, self.bits, unit)[2].max(initial=0.0))
        worst = longest = 0.0
        for start in range(0, segment.rows, _CHUNK):
            x, norms, whole = self._prefixes(segment, self._rows(segment, start))
            codes, scales, errors = _native.encode_sketch(x, params, self.bits, unit, threads=2)
            yield "codes", codes
            if self.bits < 8:
                yield "scales", scales
            else:
                shares, tails = self._bounds(norms, whole, errors > most)
                yield "shares", _padded(shares)
                yield "tails", _padded(tails)
            if self.metric == "l2":
                yield "bias", _padded((norms / 2).astype(np.float32))
            worst = max(worst, float(errors[errors <= most].max(initial=0.0)))
            longest = max(longest, float(whole.max(initial=0.0)))
        length = 1.0 if self.metric == "cosine" else float(np.sqrt(longest)) * (1 + 1e-5)
        yield "limits", np.array([worst * (1 + 1e-6), length, fitted, unit], np.float32)

    def fit(self, sample: Float32[np.ndarray, "s m"]) -> Float32[np.ndarray, "2 m"]:
        """Centers and steps from a sample."""
        if self.bits == 8:
            low, high = sample.min(axis=0), sample.max(axis=0)
            center, step = (low + high) / 2, (high - low) * (1.02 / 255)
        else:
            center = sample.mean(axis=0, dtype=np.float64)
            spread: np.ndarray = sample.std(axis=0, dtype=np.float64)
            least = 1e-3 * float(np.sqrt(np.mean(spread**2)))
            step = _STEPS[self.bits] * spread.clip(least)
        return np.stack([center, np.asarray(step, np.float64).clip(1e-30)]).astype(np.float32)

    def _scale_unit(self, sample: Float32[np.ndarray, "s m"], params: Float32[np.ndarray, "2 m"]) -> float:
        """A step of the scales, so that 255 of them are a little more than the sample's largest; for squared distances
        than nearly its largest, because one vector far away shall not coarsen all the others."""
        if self.bits == 8:
            return 1.0
        center, step = params
        middle = (2**self.bits - 1) / 2
        residual = sample - center
        with np.errstate(all="ignore"):  # a damaged file holds any centers
            coded = step * ((residual / step + middle).round().clip(0, 2 * middle) - middle)
            along = np.einsum("nm,nm->n", residual, coded, dtype=np.float64)
            scales = np.einsum("nm,nm->n", residual, residual, dtype=np.float64) / along
        scales = scales[(along > 0) & np.isfinite(scales)]
        most = 0.999 if self.metric == "l2" else 1.0
        largest = float(np.quantile(scales, most)) if len(scales) else 1.0
        return float(np.float32(np.clip(1.1 * largest, 1e-30, 1e30) / 255))

    def _rows(self, segment: Segment, start: int) -> slice | np.ndarray:
        stop = min(start + _CHUNK, segment.rows)
        if not self.in_cells:
            return slice(start, stop)
        return np.minimum(segment.parts["cells"]["order"][start:stop], segment.rows - 1)

    def _prefixes(self, segment: Segment, rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is coded (b, m), and the squared norms of the prefix and of the whole vector (b,) in float64."""
        stored = next(m for m in self.nesting if m >= self.m)
        x = np.ascontiguousarray(segment.values(rows, stored)[:, : self.m])
        norms = np.einsum("nm,nm->n", x, x, dtype=np.float64)
        whole = segment.norms[-1][rows].astype(np.float64)
        if self.metric == "cosine":
            inverse = np.zeros_like(norms)  # of what is too short to be scaled up in float32, and has a norm of 0 there
            np.divide(1, np.sqrt(norms), out=inverse, where=norms > _NOTHING)
            x *= inverse.astype(np.float32)[:, None]
        return x, norms, whole

    def _bounds(self, norms: np.ndarray, whole: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """shares and tails as float16, tails rounded up; rows that are coded badly have an infinite tail."""
        tails = np.sqrt(np.maximum(whole - norms, 0) + 1e-5 * whole)
        shares = np.ones_like(norms)
        if self.metric == "cosine":
            length = np.sqrt(np.where(whole > 0, whole, 1))
            shares, tails = np.minimum(np.sqrt(norms) / length, 1), tails / length
            outside = outside | (whole > 0) & (whole < _SMALLEST)
        with np.errstate(over="ignore"):
            up: np.ndarray = tails.astype(np.float16)
        above: np.ndarray = np.nextafter(up, np.full_like(up, np.inf))
        up = np.where(up < tails, above, up)
        up[outside] = np.inf
        return shares.astype(np.float16).view(np.uint16), up.view(np.uint16)


def _padded(values: np.ndarray) -> np.ndarray:
    """Filled with zeros to whole blocks."""
    return np.concatenate([values, np.zeros(-len(values) % BLOCK, values.dtype)])
