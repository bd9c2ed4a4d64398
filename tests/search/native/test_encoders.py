"""What is stored of vectors: halves as NumPy's, codes that decode to within their error, the same bits everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling.search import _native
from tests.search.engine import naive
from tests.search.engine.cases import KINDS, SETS, vectors


@pytest.fixture(params=SETS, autouse=True)
def kernels(request: pytest.FixtureRequest) -> object:
    """Every test here runs with every instruction set that this processor has."""
    assert _native.choose_kernels(request.param)
    assert _native.kernels() == request.param
    yield request.param
    assert _native.choose_kernels("auto")


def halves(x: np.ndarray) -> np.ndarray:
    """The bits of float32 numbers as they are stored in float16."""
    return _native.store_rings(x.reshape(1, -1), [x.size], True)[0][0].reshape(-1)


def test_all_halves_come_back() -> None:
    """From half to float: an int8 copy of one number shows it as its scale, 127 times smaller."""
    bits = np.arange(65_536, dtype=np.uint16)
    finite = bits[np.isfinite(bits.view(np.float16))]
    values = finite.view(np.float16).astype(np.float32)
    assert np.array_equal(halves(values), finite)
    _, scales, _ = _native.encode_copy([finite[:, None]], 64)
    assert np.array_equal(scales, np.abs(values) / np.float32(127))


def test_floats_become_the_nearest_halves() -> None:
    rng = np.random.default_rng(0)
    random = rng.integers(0, 2**32, 400_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.arange(0x7C01, dtype=np.uint16).view(np.float16).astype(np.float32)[:-1]
    middles = (near[1:] + near[:-1]) / 2  # ties go to the even one
    around = np.concatenate(
        [np.nextafter(middles, np.float32(np.inf)), np.nextafter(middles, np.float32(0)), middles, -middles]
    )
    large = np.array(
        [65503, 65504, 65519.99, 65520, 65536, 1e38, np.inf, -np.inf, 0.0, -0.0, 1e-45, 2**-25], np.float32
    )
    for x in (random[np.isfinite(random)], around, large):
        with np.errstate(over="ignore"):
            assert np.array_equal(halves(x), x.astype(np.float16).view(np.uint16))
    assert np.isnan(halves(np.array([np.nan, -np.nan], np.float32)).view(np.float16)).all()


@settings(max_examples=30)
@given(
    st.integers(0, 1000), st.sampled_from(KINDS), st.lists(st.integers(1, 80), min_size=1, max_size=4), st.booleans()
)
def test_rings_and_norms(seed: int, kind: str, widths: list[int], half: bool) -> None:
    stops = np.cumsum(widths).tolist()
    x = vectors(kind, 37, stops[-1], seed)
    rings, norms, bad = _native.store_rings(x, stops, half, 3)
    assert bad == -1
    stored = x.astype(np.float16) if half else x
    total, start = np.zeros(len(x), np.float32), 0
    for ring, norm, stop in zip(rings, norms, stops, strict=True):
        part = stored[:, start:stop]
        assert np.array_equal(ring.view(stored.dtype), part)
        part = np.ascontiguousarray(part, np.float32)
        total = total + naive.dots(part, part)
        assert np.array_equal(norm, total)
        start = stop


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e20, 3e38])
def test_the_first_row_that_cannot_be_stored(half: bool, number: float) -> None:
    x = np.ones((2000, 9), np.float32)
    x[1777, 8] = x[1203, 3] = number
    for threads in (1, 2, 4):
        assert _native.store_rings(x, [4, 9], half, threads)[2] == 1203
    x[:] = 65504
    assert _native.store_rings(x, [4, 9], half)[2] == -1
    x[5, 0] = 65520
    assert _native.store_rings(x, [4, 9], half)[2] == (5 if half else -1)


@settings(max_examples=30)
@given(
    st.integers(0, 1000), st.sampled_from(KINDS), st.integers(1, 90), st.sampled_from((1, 2, 4, 8)), st.integers(1, 200)
)
def test_sketches_decode_to_within_their_errors(seed: int, kind: str, m: int, bits: int, rows: int) -> None:
    x = vectors(kind, rows, m, seed)
    unit = 0.01 * float(np.abs(x).max(initial=0.01) + 1)
    spread = np.maximum(x.std(axis=0), np.float32(1e-3))
    params = np.stack([x.mean(axis=0), spread * np.float32(6 / 2**bits)]).astype(np.float32)
    codes, scales, errors = _native.encode_sketch(x, params, bits, unit, 3)
    assert codes.shape == (-(-rows // 64), 64 * _native.sketch_bytes(m, bits))
    residuals = (x.astype(np.float64) - params[0]) / params[1]
    wanted = np.clip(np.rint(residuals + (2**bits - 1) / 2), 0, 2**bits - 1)
    found = naive.unpacked(codes, m, bits)
    off = np.abs(found[:rows] - wanted)
    assert off.max(initial=0) <= 1  # where a residual lies in the middle between two codes
    assert (off > 0).mean() < 0.01
    assert np.array_equal(found[rows:], np.full_like(found[rows:], 2 ** (bits - 1)))
    scale = scales.astype(np.float64)[:, None] * np.float64(np.float32(unit)) if bits < 8 else np.ones((len(found), 1))
    decoded = params[0] + (scale * params[1] * (found - (2**bits - 1) / 2))[:rows]
    error = np.sqrt(((x - decoded) ** 2).sum(axis=1))
    assert (error <= errors).all()
    assert (errors <= error * 1.001 + 1e-5 * np.abs(x).max(initial=1) + 1e-6).all()
    if bits < 8:  # the scale undoes what the coding took from a vector's length along itself
        along = ((x - params[0]) * (decoded - params[0])).sum(axis=1, dtype=np.float64)
        squared = ((x - params[0]).astype(np.float64) ** 2).sum(axis=1)
        free = (scales[:rows] > 25) & (scales[:rows] < 255)
        np.testing.assert_allclose(along[free], squared[free], rtol=0.021, atol=1e-6)  # half a step of 25 or more
        assert (scales[rows:] == 0).all()


@settings(max_examples=30)
@given(
    st.integers(0, 1000),
    st.sampled_from(KINDS),
    st.lists(st.integers(1, 90), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from((1.0, 1e-22, 1e-39, 1e15)),
)
def test_copies_decode_to_within_their_errors(
    seed: int, kind: str, widths: list[int], half: bool, scale: float
) -> None:
    stops = np.cumsum(widths).tolist()
    x = vectors(kind, 50, stops[-1], seed)
    x = (x * (1.0 if half else scale)).astype(np.float32)
    rings = _native.store_rings(x, stops, half)[0]
    x = x.astype(np.float16).astype(np.float32) if half else x
    stride = -(-stops[-1] // 64) * 64
    codes, scales, errors = _native.encode_copy(rings, stride, 2)
    assert np.array_equal(scales, np.abs(x).max(axis=1) / np.float32(127))
    assert (codes[:, stops[-1] :] == 128).all()
    decoded = scales[:, None].astype(np.float64) * (codes[:, : stops[-1]].astype(np.float64) - 128)
    squared = ((x - decoded) ** 2).sum(axis=1)
    rounding = 1e-7 * np.linalg.norm(x.astype(np.float64), axis=1) + 1e-20  # as exact.cpp knows of float32
    assert (np.sqrt(squared) <= np.sqrt(errors) + rounding).all()
    usual = scales > 1e-18
    assert (np.sqrt(squared[usual]) <= 0.501 * np.sqrt(stops[-1]) * scales[usual]).all()


def test_refusals() -> None:
    x, params = np.ones((5, 3), np.float32), np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="last stop must be the width"):
        _native.store_rings(x, [2], False)
    with pytest.raises(ValueError, match="stops must rise"):
        _native.store_rings(x, [2, 2, 3], False)
    with pytest.raises(ValueError, match="bits must be"):
        _native.encode_sketch(x, params, 3)
    with pytest.raises(ValueError, match="params must be"):
        _native.encode_sketch(x, params[:, :2].copy(), 8)
    with pytest.raises(ValueError, match="multiple of 64"):
        _native.encode_copy([x], 63)
    with pytest.raises(ValueError, match="equally many rows"):
        _native.encode_copy([x, x[:4]], 64)
    with pytest.raises(ValueError, match="all be float32"):
        _native.encode_copy([x, x.astype(np.float16).view(np.uint16)], 64)
    with pytest.raises(TypeError):
        _native.encode_sketch(x.astype(np.float64), params, 8)  # type: ignore[arg-type]
    assert not _native.choose_kernels("sse9")
