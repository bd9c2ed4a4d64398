"""What must hold between searches, whatever the numbers are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nestling.nesting import Nesting
from nestling.search.exact import Metric
from nestling.search.index import Index
from nestling.search.merge import merge
from tests.search.engine.cases import Case, made

METRICS = ("cosine", "ip", "l2")
CASE = Case(11, "decaying", dims=(8, 24, 50), sizes=(90, 60), parts=("sketch-13@8", "copy-24,50"))


@pytest.mark.parametrize("metric", METRICS)
def test_permuting_the_gallery_permutes_the_hits(metric: Metric, tmp_path: object) -> None:
    case = replace(CASE, metric=metric, sizes=(150,))
    rows, ids, queries = case.rows, np.array(case.ids), case.queries(5)
    order = np.random.default_rng(0).permutation(len(rows))
    found = []
    for place, chosen in enumerate((np.arange(len(rows)), order)):
        with Index.create(f"{tmp_path}/{place}.nest", Nesting(case.dims), metric=metric) as index:
            index.add(rows[chosen], ids[chosen])
            index.derive(*case.parts)
            hits = [index.search(queries, 7, exact=True), index.search(queries, plan="8:60,24:20,50:7")]
            hits.append(index.search(queries, plan="13@8:150,24@8:60,50@8:20,50:7"))
            found.append([(h.ids.tolist(), h.scores.tobytes()) for h in hits])
    assert found[0] == found[1]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_funnel_that_keeps_everything_is_exact(metric: Metric, dtype: str) -> None:
    case = replace(CASE, metric=metric, dtype=dtype)
    with made(case) as index:
        queries = case.queries(6)
        exact = index.search(queries, 9, exact=True)
        for plan in ("8:150,24:150,50:9", "50:9", "13@8:150,24@8:150,50@8:150,50:9", "13@8:500,50:9"):
            funnel = index.search(queries, plan=plan)
            assert funnel.ids.tolist() == exact.ids.tolist(), plan
            np.testing.assert_allclose(funnel.scores, exact.scores, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_two_segments_are_two_indexes_merged(metric: Metric, tmp_path: object) -> None:
    case = replace(CASE, metric=metric)
    rows, ids, queries = case.rows, case.ids, case.queries(6)
    parts = []
    for place, cut in enumerate((slice(0, 90), slice(90, None))):
        with Index.create(f"{tmp_path}/{place}.nest", Nesting(case.dims), metric=metric) as index:
            index.add(rows[cut], ids[cut])
            index.derive(*case.parts)
            parts.append([index.search(queries, 9, exact=True), index.search(queries, plan="13@8:200,50@8:200,50:9")])
    with made(case) as index:
        assert len(index.info()["bytes_on_disk"]) > 1
        assert index.info()["segments"] == 2
        whole = [index.search(queries, 9, exact=True), index.search(queries, plan="13@8:200,50@8:200,50:9")]
    for one, other, both in zip(*parts, whole, strict=True):
        merged = merge([one, other], 9, metric)
        assert merged.ids.tolist() == both.ids.tolist()
        assert merged.scores.tobytes() == both.scores.tobytes()


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("power", [-40, -7, 40])
def test_the_unit_of_length_does_not_matter(metric: Metric, power: int) -> None:
    """Scaled by a power of two, nothing is rounded otherwise: the same hits, and scores scaled by its square."""
    case = replace(
        CASE, metric=metric, dtype="float32", parts=("sketch-13@8", "sketch-21@2", "sketch-40@1", "copy-24,50")
    )
    plans = ("13@8:40,24@8:20,50@8:10,50:5", "21@2:40,50:5", "40@1:5", "8:30,50:5", "13@8:5")
    found = []
    for scale in (1.0, 2.0**power):
        scaled = replace(case, scale=scale, query_scale=scale)
        with made(scaled) as index:
            queries = scaled.queries(4)
            hits = [index.search(queries, plan=plan) for plan in plans] + [index.search(queries, 5, exact=True)]
            found.append([(h.ids.tolist(), (h.scores / np.float32(scale) ** 2).tolist()) for h in hits])
    for plan, one, other in zip((*plans, "exact"), *found, strict=True):
        assert one == other, plan


@pytest.mark.parametrize("metric", METRICS)
def test_an_own_vector_is_its_nearest(metric: Metric) -> None:
    case = replace(CASE, metric=metric, kind="normal")
    with made(case) as index:
        rows = case.rows if metric != "ip" else case.rows / np.linalg.norm(case.rows, axis=1, keepdims=True)
        if metric == "ip":
            index.upsert(rows, case.ids)
        for plan in ("13@8:60,50:1", "50:1"):
            assert index.search(rows, plan=plan).ids[:, 0].tolist() == case.ids
        assert index.search(rows, 1, exact=True).ids[:, 0].tolist() == case.ids


def test_a_prefix_of_more_hits_is_fewer_hits() -> None:
    with made(CASE) as index:
        queries = CASE.queries(4)
        many = index.search(queries, 40, exact=True)
        few = index.search(queries, 7, exact=True)
    assert many.ids[:, :7].tolist() == few.ids.tolist()
    assert many.scores[:, :7].tobytes() == few.scores.tobytes()


def test_a_mask_and_its_ids_are_the_same() -> None:
    case = replace(CASE, deleted=0.2)
    with made(case) as index:
        ids, queries = index.ids(), case.queries(4)
        mask = np.random.default_rng(0).random(len(ids)) < 0.3
        for arguments in ({"exact": True, "k": 8}, {"plan": "13@8:40,50:8"}):
            one = index.search(queries, among=mask, **arguments)
            other = index.search(queries, among=ids[mask].tolist(), **arguments)
            assert one.ids.tolist() == other.ids.tolist()
            assert set(one.ids.ravel().tolist()) <= set(ids[mask].tolist())
        index.compact()
        kept = {name: place for place, name in enumerate(index.ids().tolist())}
        assert list(kept) == ids.tolist()
        assert (
            index.search(queries, 8, exact=True, among=mask).ids.tolist()
            == index.search(queries, 8, exact=True, among=ids[mask].tolist()).ids.tolist()
        )
