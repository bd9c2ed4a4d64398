"""Adaptors: seconds to learn one over mapped vectors, and how near applying it comes to a plain matrix product.

A rotation multiplies as often as the product x · M that it is compared with; `rate_share` is the product's time over
ours. Of a residual map it is our multiplications a second over the product's. Vectors are generated (spectrum j^-0.6,
1,000 clusters), partners are the same with noise.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.form import Row, arguments, interleaved, median_ms, report
from nestling.adaptor import MatryoshkaAdaptor
from nestling.adaptor.maps import Residual, Rotation

BENCH, WIDTH, CLUSTERS = "adaptor", 384, 1_000
_AT_ONCE = 65_536


def generated(folder: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two mapped files of unit vectors, row i of one belonging to row i of the other."""
    rng = np.random.default_rng(0)
    spread = (np.arange(1, WIDTH + 1) ** -0.6).astype(np.float32)
    centres = rng.standard_normal((CLUSTERS, WIDTH), np.float32)
    turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    paths = [folder / f"{name}.npy" for name in "ab"]
    files = [np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, WIDTH)) for path in paths]
    for start in range(0, n, _AT_ONCE):
        count = min(_AT_ONCE, n - start)
        base = centres[rng.integers(0, CLUSTERS, count)] + rng.standard_normal((count, WIDTH), np.float32)
        for file in files:
            rows = ((base + 0.5 * rng.standard_normal((count, WIDTH), np.float32)) * spread) @ turn
            file[start : start + count] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for file in files:
        file.flush()
    first, second = (np.load(path, mmap_mode="r") for path in paths)
    return first, second


def applied(n: int, repeats: int) -> Iterator[Row]:
    """`transform` beside the product, in turn."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, WIDTH), np.float32)
    matrix = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    sides = [(0.01 * rng.standard_normal(shape)).astype(np.float32) for shape in ((WIDTH, WIDTH), (WIDTH, WIDTH))]
    bias = np.zeros(WIDTH, np.float32)
    maps = {"rotation": (Rotation(matrix), 1), "residual": (Residual(matrix, sides[0], bias, sides[1], bias), 3)}
    for kind, (found, products) in maps.items():
        made = MatryoshkaAdaptor(kind)
        made.maps_, made.n_features_in_ = (found,), WIDTH
        runs = {"numpy": lambda: x @ matrix, "nestling": lambda made=made: made.transform(x)}
        seconds = interleaved(runs, repeats=repeats)
        case = f"transform {kind} {n:,}x{WIDTH}"
        for system, taken in seconds.items():
            yield Row(BENCH, case, system, "time_ms", median_ms(taken), "ms")
        share = statistics.median(p / o for p, o in zip(seconds["numpy"], seconds["nestling"], strict=True)) * products
        yield Row(BENCH, case, "nestling", "rate_share", share, "of the product's")


def learnt(n: int) -> Iterator[Row]:
    """Seconds of a whole `fit` from mapped files."""
    with tempfile.TemporaryDirectory(prefix="nestling-") as name:
        a, b = generated(Path(name), n)
        for kind in ("rotation", "residual"):
            for what in ("vectors", "pairs"):
                made = MatryoshkaAdaptor(kind, random_state=0)
                started = time.perf_counter()
                made.fit(a) if what == "vectors" else made.fit_pairs(a, b)
                case = f"learn {kind} from {what} {n:,}x{WIDTH}"
                yield Row(BENCH, case, "nestling", "build_s", time.perf_counter() - started, "s")
                yield Row(BENCH, case, "nestling", "steps", made.n_steps_, "steps")


def rows(quick: bool) -> Iterator[Row]:
    """All figures, as they are measured."""
    yield from applied(20_000 if quick else 200_000, 5 if quick else 9)
    yield from learnt(20_000 if quick else 1_000_000)


if __name__ == "__main__":
    given = arguments((__doc__ or "").splitlines()[0])
    report(rows(given.quick), as_json=given.json)
