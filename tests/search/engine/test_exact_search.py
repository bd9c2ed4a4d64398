"""exact=True is brute force, to the bit, and reads less than brute force where vectors have structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling.search import _native, derived
from nestling.search.engine import engine_of
from nestling.search.exact import Metric
from nestling.search.plan import Plan
from nestling.search.storage.snapshot import open_snapshot
from tests.search.engine import naive
from tests.search.engine.cases import SETS, Case, cases, equal_bits, made, permitted, plans


def assert_as_brute_force(case: Case, data: st.DataObject) -> None:
    with made(case) as index:
        stored = naive.Stored(open_snapshot(index.path, derived))
        for _ in range(2):
            k, queries = data.draw(st.sampled_from((1, 3, 10, 1000))), case.queries(data.draw(st.integers(1, 4)))
            share = data.draw(st.sampled_from((None, None, 0.5, 0.02)))
            among = None if share is None else permitted(index, share, case.seed, mask=case.seed % 2 == 0)
            cells = None if case.cells is None else index.info()["partition"]["cells"]
            plan = Plan.parse(data.draw(plans(case, cells))) if len(index) and data.draw(st.booleans()) else None
            plan = (
                None
                if plan is None or plan.k < k
                else Plan((*plan.stages[:-1], replace(plan.stages[-1], keep=k)), plan.probe)
            )
            hits = [index.search(queries, k, exact=True, plan=plan, among=among, threads=2)]
            for name in SETS:
                assert _native.choose_kernels(name)
                hits.append(index.search(queries, k, exact=True, plan=plan, among=among, threads=1))
            assert _native.choose_kernels("auto")
            assert equal_bits(hits)
            if not len(index):
                assert hits[0].missing.all()
                continue
            for place, query in enumerate(queries):
                ids, scores = naive.brute(stored, query, k, among)
                there = ~hits[0].missing[place]
                assert hits[0].ids[place][there].tolist() == ids.tolist()
                assert hits[0].scores[place][there].tobytes() == (scores + np.float32(0)).tobytes()


def extreme(case: Case, scale: float, query_scale: float, offset: float, decades: int) -> Case:
    kind = "normal" if case.kind == "heavy" else case.kind
    if max(scale, query_scale) > 1e16:
        offset = min(offset, 1.0)  # what is larger has a squared norm beyond float32, and is refused
    return replace(
        case, kind=kind, dtype="float32", scale=scale, query_scale=query_scale, offset=offset, decades=decades
    )


EXTREMES = st.builds(
    extreme,
    cases(),
    st.sampled_from((1e-23, 1e-20, 1e-12, 1.0, 1e9, 3e17)),
    st.sampled_from((1e-23, 1e-20, 1e-12, 1.0, 1e9, 3e17)),
    st.sampled_from((0.0, 0.0, 1.0, 30.0)),
    st.sampled_from((0, 0, 3, 30)),
)


@settings(max_examples=25)
@given(cases(), st.data())
def test_exact_search_is_brute_force(case: Case, data: st.DataObject) -> None:
    assert_as_brute_force(case, data)


@settings(max_examples=25)
@given(EXTREMES, st.data())
def test_exact_search_of_huge_and_tiny_vectors(case: Case, data: st.DataObject) -> None:
    assert_as_brute_force(case, data)


@pytest.mark.soak
@settings(max_examples=2000)
@given(st.one_of(cases(most=600), EXTREMES), st.data())
def test_no_counter_example_to_the_bound(case: Case, data: st.DataObject) -> None:
    assert_as_brute_force(case, data)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_vectors_shorter_than_float32_can_square(metric: Metric) -> None:
    """One over the norm of such a vector overflowed, and the sketch of all others with it (found by the soak)."""
    case = Case(
        0, metric=metric, dtype="float32", dims=(1,), sizes=(6,), parts=("sketch-1@8",), scale=1e-23, decades=30
    )
    with made(case) as index:
        stored = naive.Stored(open_snapshot(index.path, derived))
        for query in case.queries(4):
            assert index.search(query, 3, exact=True).ids[0].tolist() == naive.brute(stored, query, 3, None)[0].tolist()


@pytest.mark.parametrize("parts", [(), ("copy-24,50",), ("sketch-9@8",), ("sketch-9@8", "copy-24,50")])
def test_close_vectors_far_from_the_origin(parts: tuple[str, ...]) -> None:
    """|x|² is 10⁷ times the squared distances: what <q, x> − |x|² / 2 tells is noise, and the order still right."""
    case = Case(7, metric="l2", dtype="float32", sizes=(300,), parts=parts, offset=300.0)
    queries = case.queries(4)
    with made(case) as index:
        hits = index.search(queries, 5, exact=True)
    true = ((case.rows.astype(np.float64) - queries[:, None].astype(np.float64)) ** 2).sum(axis=2)
    order = np.argsort(true, axis=1, kind="stable")[:, :5]
    assert hits.ids.tolist() == np.array(case.ids)[order].tolist()
    np.testing.assert_allclose(hits.scores, np.take_along_axis(true, order, axis=1), rtol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_structured_vectors_are_hardly_read(metric: Metric) -> None:
    case = Case(3, "decaying", metric, dims=(16, 64, 256), sizes=(20_000,), parts=("sketch-32@8", "copy-64,256"))
    with made(case) as index:
        engine, queries = engine_of(open_snapshot(index.path, derived)), case.queries(8)
        plan = engine.resolved("32@8:200,64@8:40,256:10", 10)
        reads = engine.exact(queries, 10, guess=plan)[2]
        assert (reads[:, 0] == 20_000).all()
        assert np.median(reads[:, 1]) < 12_000, reads  # of 40,000: two pieces a row
        assert np.median(reads[:, 2]) < 100, reads
        none = engine.exact(queries, 10)
        guessed = engine.exact(queries, 10, guess=plan)
    assert none[0].tolist() == guessed[0].tolist()
    assert np.median(none[2][:, 2]) < 2_000, none[2]
