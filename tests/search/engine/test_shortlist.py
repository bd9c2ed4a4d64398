"""A scan keeps exactly the best by (score, position), whatever the order of the gallery tells its sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nestling.search import _native


def snapshot(x: np.ndarray, bits: int, *, cells: np.ndarray | None = None) -> Any:
    """One segment of float32 vectors with a sketch of all dims; ids are the rows."""
    n, m = x.shape
    rings, norms, bad = _native.store_rings(x, [m], False)
    assert bad == -1
    made = _native.Snapshot([m], 1, False)
    order = None if cells is None else np.arange(n, dtype=np.uint32)
    made.add_segment(rings, list(norms), np.arange(n), None, None, order, cells, None)
    low, high = x.min(axis=0), x.max(axis=0)
    params = np.stack([(low + high) / 2, np.maximum((high - low) / (2**bits - 1), 1e-6)]).astype(np.float32)
    codes, scales, _ = _native.encode_sketch(x, params, bits, 0.02)
    some = np.zeros(-(-n // 64) * 64, np.uint16)
    rest = (None, None, some, some) if bits == 8 else (scales, None, None, None)
    made.add_sketch(0, bits, params, np.array([1, 1, 1, 0.02], np.float32), codes, *rest)
    return made


def best(scores: np.ndarray, keep: int) -> np.ndarray:
    """Rows by (score, row)."""
    return np.lexsort((np.arange(len(scores)), -scores))[:keep]


def assert_the_first_of_all(
    made: Any,
    queries: np.ndarray,
    bits: int,
    keeps: tuple[int, ...],
    *,
    masks: Sequence[np.ndarray | None] = (None,),
    cells: np.ndarray | None = None,
) -> None:
    """With few places a scan finds the first of what it finds with room for all, where no threshold is guessed."""
    n, m = made.rows, queries.shape[1]
    for mask in masks:
        among = None if mask is None else [np.packbits(mask, bitorder="little")]
        rows, scores = made.search(queries, np.array([[m, bits, n]]), cells, among, 1)
        for keep in keeps:
            plan = np.array([[m, bits, keep]])
            for threads, part in ((1, slice(None)), (3, slice(None)), (1, slice(0, 1))):
                chosen = None if cells is None else cells[part]
                got, values = made.search(queries[part], plan, chosen, among, threads)
                assert got.tolist() == rows[part, :keep].tolist(), (keep, threads)
                assert values.tobytes() == scores[part, :keep].tobytes()
    if cells is None:
        for q, (found, values) in enumerate(zip(rows, scores, strict=True)):
            there = found[found >= 0]
            assert masks[-1] is None or sorted(there.tolist()) == np.flatnonzero(masks[-1]).tolist()
            whole = np.full(n, -np.inf)
            whole[there] = values[: len(there)]
            assert there.tolist() == best(whole, len(there)).tolist(), q


def gallery(order: str, n: int, seed: int) -> np.ndarray:
    """(n, 8); the first dim decides for the first query."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((n, 8)) * 0.05).astype(np.float32)
    key = rng.standard_normal(n)
    block, kind = np.arange(n) // 64, order.split()
    if kind[0] == "rising":
        key = np.sort(key)
    elif kind[0] == "falling":
        key = -np.sort(key)
    elif kind[0] == "classes":
        key = np.sort(rng.integers(0, 9, n)) + 0.01 * key
    elif kind[0] == "equal":
        x[:] = 0.25
        return x
    elif kind[0] == "ties":
        return rng.integers(0, 2, (n, 8)).astype(np.float32)
    elif kind[0] == "within":  # all good ones where a sample of such blocks would be taken
        key[block % int(kind[2]) // int(kind[1]) == 0] += 8
    elif kind[0] == "without":
        key[block % int(kind[2]) // int(kind[1]) == 0] -= 8
    elif kind[0] == "one":  # a few good ones, all in the first block, the sample's threshold is theirs
        key[:40] += 50
    x[:, 0] = key
    return x


ORDERS = ["random", "rising", "falling", "classes", "equal", "ties", "one", "within 1 8", "without 1 8", "within 4 16",
          "without 4 16", "within 1 4", "within 1 16", "within 2 8", "without 1 2"]  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_shortlist_is_exact(order: str, bits: int) -> None:
    x = gallery(order, 9_001, bits)
    rng = np.random.default_rng(1)
    axes = np.eye(8)
    queries = np.concatenate([axes[:2], -axes[:1], rng.standard_normal((3, 8)), np.zeros((1, 8))])
    masks = [None, rng.random(len(x)) < 0.5, np.arange(len(x)) // 64 % 8 == 0, np.arange(len(x)) % 3000 == 7]
    assert_the_first_of_all(
        snapshot(x, bits), queries.astype(np.float32), bits, (1, 10, 300, 2249, 2251, 9_000), masks=masks
    )


@pytest.mark.parametrize("order", ["random", "falling", "within 4 16", "without 4 16", "equal", "one"])
def test_the_shortlist_of_a_large_gallery_is_exact(order: str) -> None:
    x = gallery(order, 270_000, 5)
    assert_the_first_of_all(snapshot(x, 8), np.eye(8, dtype=np.float32)[:3], 8, (1, 100, 5_000))


@pytest.mark.parametrize("order", ["random", "rising", "within 1 8", "ties"])
def test_the_shortlist_of_visited_cells_is_exact(order: str) -> None:
    rng = np.random.default_rng(2)
    x = gallery(order, 20_000, 6)
    cuts = np.sort(rng.integers(0, len(x), 39))
    cells = np.concatenate([[0], cuts, [len(x)]]).astype(np.uint64)
    queries = rng.standard_normal((40, 8)).astype(np.float32)
    chosen = np.stack([rng.permutation(40)[:25] for _ in queries]).astype(np.int32)
    made = snapshot(x, 8, cells=cells)
    assert_the_first_of_all(made, queries, 8, (1, 50, 2_000), cells=chosen)
    rows, _ = made.search(queries, np.array([[8, 8, 5]]), chosen, None, 1)
    of_row = np.searchsorted(cells, rows, side="right") - 1
    assert all(set(found) <= set(wanted) for found, wanted in zip(of_row.tolist(), chosen.tolist(), strict=True))
    everything = np.tile(np.arange(40, dtype=np.int32), (40, 1))
    for plan in (np.array([[8, 8, 300]]), np.array([[8, 8, 20_000]])):
        whole, visited = made.search(queries, plan, None, None, 1), made.search(queries, plan, everything, None, 2)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, visited, strict=True))


def test_keeps_beyond_the_gallery_cost_no_memory() -> None:
    """The last keep says how many places a result has; those of earlier stages are only limits."""
    x = gallery("random", 100, 3)
    made = snapshot(x, 8)
    wanted = made.search(x[:2], np.array([[8, 8, 100], [8, 0, 5]]), None, None, 1)
    for keep in (10**6, 2**40, 2**62, 2**63 - 1):
        got = made.search(x[:2], np.array([[8, 8, keep], [8, 0, 5]]), None, None, 1)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(wanted, got, strict=True))
