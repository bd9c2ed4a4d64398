"""exact=True is brute force, to the bit, and reads less than brute force where vectors have structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nestling.search import _native
from nestling.search.engine import engine_of
from nestling.search.plan import Plan
from nestling.search.storage.snapshot import open_snapshot
from nestling.search import derived
from tests.search.engine import naive
from tests.search.engine.cases import KINDS, SETS, Case, cases, equal_bits, made, permitted, plans


def try_case(case: Case, data: st.DataObject) -> None:
    with made(case) as index:
        stored = naive.Stored(open_snapshot(index.path, derived))
        for _ in range(2):
            k, queries = data.draw(st.sampled_from((1, 3, 10, 1000))), case.queries(data.draw(st.integers(1, 4)))
            share = data.draw(st.sampled_from((None, None, 0.5, 0.02)))
            among = None if share is None else permitted(index, share, case.seed, mask=case.seed % 2 == 0)
            cells = None if case.cells is None else index.info()["partition"]["cells"]
            plan = Plan.parse(data.draw(plans(case, cells))) if len(index) and data.draw(st.booleans()) else None
            plan = None if plan is None or plan.k < k else Plan((*plan.stages[:-1], replace(plan.stages[-1], keep=k)), plan.probe)
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


@settings(max_examples=25)
@given(cases(), st.data())
def test_exact_search_is_brute_force(case: Case, data: st.DataObject) -> None:
    try_case(case, data)


@pytest.mark.soak
@settings(max_examples=2000)
@given(cases(most=600), st.data())
def test_no_counter_example_to_the_bound(case: Case, data: st.DataObject) -> None:
    try_case(case, data)
