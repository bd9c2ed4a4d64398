"""Every plan against the naive search on the stored values, and the same bits however it is run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling.search import _native, derived
from nestling.search.hits import Hits
from nestling.search.index import Index
from nestling.search.plan import Plan
from nestling.search.storage.snapshot import open_snapshot
from tests.search.engine import naive
from tests.search.engine.cases import SETS, Case, cases, equal_bits, made, permitted, plans


def stored_of(index: Index) -> naive.Stored:
    return naive.Stored(open_snapshot(index.path, derived))


def one(hits: Hits, place: int) -> Hits:
    return Hits(hits.ids[place : place + 1], hits.scores[place : place + 1])


def assert_as_the_naive_search(index: Index, case: Case, plan: str, q: int, share: float | None) -> None:
    """One plan, all ways to run it."""
    among = None if share is None else permitted(index, share, case.seed, mask=case.seed % 2 == 0)
    stored, queries = stored_of(index), case.queries(q)
    hits = index.search(queries, plan=plan, among=among, threads=1)
    for place, query in enumerate(queries):
        naive.check(stored, query, Plan.parse(plan), one(hits, place), among)
    singles = [index.search(query, plan=plan, among=among) for query in queries]
    together = Hits(np.concatenate([h.ids for h in singles]), np.concatenate([h.scores for h in singles]))
    others = [index.search(queries, plan=plan, among=among, threads=3)]
    for name in SETS:
        assert _native.choose_kernels(name)
        others.append(index.search(queries, plan=plan, among=among, threads=2))
    assert _native.choose_kernels("auto")
    assert equal_bits([hits, together, *others])


def assert_plans_find_as_the_naive_search(case: Case, data: st.DataObject) -> None:
    with made(case) as index:
        if not len(index):
            return
        cells = None if case.cells is None else index.info()["partition"]["cells"]
        for _ in range(3):
            plan = data.draw(plans(case, cells))
            assert_as_the_naive_search(
                index, case, plan, data.draw(st.integers(1, 4)), data.draw(st.sampled_from((None, None, 0.5, 0.02)))
            )


@settings(max_examples=25)
@given(cases(), st.data())
def test_any_plan_finds_what_the_naive_search_finds(case: Case, data: st.DataObject) -> None:
    assert_plans_find_as_the_naive_search(case, data)


@pytest.mark.soak
@settings(max_examples=1500)
@given(cases(most=600), st.data())
def test_any_plan_of_any_index_many_times(case: Case, data: st.DataObject) -> None:
    assert_plans_find_as_the_naive_search(case, data)
