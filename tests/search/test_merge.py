"""Hits: what they may hold. Merging them, against a stupid loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import InputError, ShapeError
from nestling.search import Hits, exact, merge

Shard = list[list[tuple[Any, float]]]  # for each query the (id, score) of its places

NAMES = ["a", "b", "B", "aa", "a\0", "é", "", "zebra"]  # a NUL at the end is lost in NumPy's own strings


def hits_of(shard: Shard, k: int, *, strings: bool) -> Hits:
    ids = np.full((len(shard), k), None if strings else -1, object if strings else np.int64)
    scores = np.full((len(shard), k), np.nan, np.float32)
    for row, places in enumerate(shard):
        for column, (name, score) in enumerate(places):
            ids[row, column], scores[row, column] = name, score
    return Hits(ids, scores)


def naive(shards: list[Shard], k: int, metric: str) -> list[list[tuple[Any, float]]]:
    """All pairs in one list, the best one of each id kept, sorted by (score, id)."""
    merged = []
    for query in range(len(shards[0])):
        best: dict[Any, float] = {}
        for shard in shards:
            for name, score in shard[query]:
                better = name not in best or (score < best[name] if metric == "l2" else score > best[name])
                best[name] = score if better else best[name]
        pairs = sorted(best.items(), key=lambda pair: (pair[1] if metric == "l2" else -pair[1], pair[0]))
        merged.append(pairs[:k])
    return merged


@st.composite
def shard_lists(draw: st.DrawFn) -> tuple[list[tuple[Shard, int]], bool]:
    """Shards with few ids and few scores, so that ties and repetitions are common."""
    strings = draw(st.booleans())
    names: st.SearchStrategy[Any] = st.sampled_from(NAMES) if strings else st.integers(0, 9) | st.just(2**62)
    places = st.tuples(names, st.sampled_from([-2.0, -0.0, 0.0, 0.5, 3.0, math.inf, -math.inf]))
    queries, shards = draw(st.integers(0, 3)), []
    for _ in range(draw(st.integers(1, 4))):
        k = draw(st.integers(0, 5))
        shards.append((draw(st.lists(st.lists(places, max_size=k), min_size=queries, max_size=queries)), k))
    return shards, strings


@given(shard_lists(), st.integers(1, 25), st.sampled_from(["cosine", "ip", "l2"]))
def test_merge_is_the_loop(drawn: tuple[list[tuple[Shard, int]], bool], k: int, metric: str) -> None:
    shards, strings = drawn
    merged = merge([hits_of(shard, width, strings=strings) for shard, width in shards], k, metric)
    wanted = naive([shard for shard, _ in shards], k, metric)
    assert merged.ids.shape == merged.scores.shape == (len(wanted), k)
    for row, places in enumerate(wanted):
        empty = k - len(places)
        assert merged.ids[row].tolist() == [name for name, _ in places] + [None if strings else -1] * empty
        assert merged.scores[row, : len(places)].tolist() == [score for _, score in places]
        assert np.isnan(merged.scores[row, len(places) :]).all()
        assert merged.missing[row].tolist() == [False] * len(places) + [True] * empty


@given(st.integers(0, 1000), st.sampled_from(["cosine", "ip", "l2"]), st.integers(1, 5))
def test_shards_merged_are_the_whole_searched(seed: int, metric: str, count: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = rng.standard_normal((40, 6)).astype(np.float32)
    queries = rng.standard_normal((3, 6)).astype(np.float32)
    found = []
    for rows in np.array_split(rng.permutation(40), count):
        part = exact(gallery[np.sort(rows)], queries, 5, metric=metric)
        found.append(Hits(np.sort(rows)[part.ids], part.scores))
    whole, merged = exact(gallery, queries, 5, metric=metric), merge(found, 5, metric)
    assert np.array_equal(merged.ids, whole.ids)
    np.testing.assert_allclose(merged.scores, whole.scores, rtol=1e-5, atol=1e-6)


def test_merging_changes_nothing_that_was_given() -> None:
    parts = [hits_of([[(3, 0.5), (1, 0.9)]], 3, strings=False), hits_of([[(1, 0.7)]], 2, strings=False)]
    kept = [(part.ids.copy(), part.scores.copy()) for part in parts]
    merge(parts, 2)
    for part, (ids, scores) in zip(parts, kept, strict=True):
        assert np.array_equal(part.ids, ids)
        assert np.array_equal(part.scores, scores, equal_nan=True)


ONE = hits_of([[(1, 0.5)]], 1, strings=False)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: merge([], 1), ShapeError, "hits must be of the same queries; got numbers of queries no hits"),
        (lambda: merge([ONE, hits_of([], 1, strings=False)], 1), ShapeError, "numbers of queries 1, 0"),
        (lambda: merge([ONE, hits_of([[]], 1, strings=True)], 1), InputError, "all numbers or all strings; got both"),
        (lambda: merge([hits_of([[(1, math.nan)]], 1, strings=False)], 1), InputError, "free of NaN where there is"),
        (lambda: merge([ONE], 0), InputError, "k must be a positive whole number; got 0"),
        (lambda: merge([ONE], True), InputError, "k must be a positive whole number; got True"),
        (lambda: merge([ONE], 1, "taxi"), InputError, "metric must be one of cosine, ip, l2; got 'taxi'"),
        (lambda: Hits(np.zeros((1, 2), np.int64), np.zeros((1, 1), np.float32)), ShapeError, "two .q, k. matrices"),
        (lambda: Hits(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32)), InputError, "got dtype int32"),
        (lambda: Hits(np.array([["a"]]), np.zeros((1, 1), np.float32)), InputError, "strings in an object array"),
    ],
)
def test_errors_say_what_is_wrong(call: Any, error: type[Exception], sentence: str, as_a_user: None) -> None:
    with pytest.raises(error, match=sentence):
        call()
