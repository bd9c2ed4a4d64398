"""Plans: parsing, checks, and costs against numbers counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Nesting, Plan
from nestling.errors import PlanError
from nestling.search import Stage

stage_lists = st.integers(1, 5).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(1, 4096), min_size=count, max_size=count).map(sorted),
        st.lists(st.integers(1, 10_000), min_size=count, max_size=count).map(lambda k: sorted(k, reverse=True)),
    ).map(lambda pair: list(zip(*pair, strict=True)))
)


@given(stage_lists)
def test_parse_is_the_inverse_of_str(stages: list[tuple[int, int]]) -> None:
    plan = Plan.of(stages)
    assert Plan.parse(str(plan)) == plan
    assert plan.k == stages[-1][1]
    assert plan.dims == tuple(dims for dims, _ in stages)


def test_parse() -> None:
    plan = Plan.parse(" 16:200, 32:100 ,2048:10")
    assert plan.stages == (Stage(16, 200), Stage(32, 100), Stage(2048, 10))
    assert str(plan) == "16:200,32:100,2048:10"
    assert hash(plan) == hash(Plan(stages=plan.stages))


def test_numbers_of_numpy_become_plain_ones(as_a_user: None) -> None:
    stage = Stage(np.int64(8), np.int32(3))  # type: ignore[arg-type]
    assert stage == Stage(8, 3)
    assert type(stage.dims) is int


@pytest.mark.parametrize(
    "text", ["", "16", "16:", ":3", "16:2,", "16:2;32:1x", "-1:3", "1_6:2", "٣:2", "a:b", "1:2:3", "9" * 5000 + ":1"]
)
def test_what_is_no_plan(text: str) -> None:
    with pytest.raises(PlanError):
        Plan.parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("16-200", "a plan must be dims:keep pairs separated by commas; got '16-200'. Write for example 16:200"),
        ("128@1:200,512:10", "sketches (@bits) are not supported by this version. Leave them out"),
        ("probe=32;16:200", "cells (probe=) are not supported by this version"),
        ("32:200,16:10", "dims must be never falling; got 32:200,16:10"),
        ("16:10,32:200", "keeps must be never rising; got 16:10,32:200. A stage cannot keep more"),
        ("0:10", "dims must be a positive whole number; got 0"),
        ("8:0", "keep must be a positive whole number; got 0"),
    ],
)
def test_errors_say_what_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.parse(text)
    assert sentence in str(caught.value)


def test_a_plan_without_stages() -> None:
    with pytest.raises(PlanError, match=r"at least one stage"):
        Plan(())
    with pytest.raises(PlanError, match="got True"):
        Stage(True, 3)


def test_check() -> None:
    plan = Plan.parse("16:200,48:10")
    plan.check(48, 10)  # a shortlist larger than the gallery keeps all of it
    plan.check(Nesting((16, 48, 64)), 10)
    with pytest.raises(PlanError, match="among the stored dims 16,32,64; got 48"):
        plan.check(Nesting((16, 32, 64)), 1000)
    with pytest.raises(PlanError, match=r"at most the vectors' width 32; got 48"):
        plan.check(32, 1000)
    with pytest.raises(PlanError, match=r"at most 9, the items that can be found; got 10\. Ask for fewer"):
        plan.check(64, 9)


def test_costs_counted_by_hand() -> None:
    plan = Plan.parse("16:200,32:100,2048:10")
    # The paper: 1,281,167·16 + 200·32 + 100·2048 multiplications.
    assert plan.mflops(1_281_167) == pytest.approx((1_281_167 * 16 + 200 * 32 + 100 * 2048) / 1e6)
    # Ours: the second stage multiplies dims 16–31 only, the third 32–2047.
    assert plan.mflops_rings(1_281_167) == pytest.approx((1_281_167 * 16 + 200 * 16 + 100 * 2016) / 1e6)
    assert plan.bytes_read(1000) == (1000 * 16 + 200 * 16 + 100 * 2016) * 4
    assert plan.bytes_read(1000, itemsize=2) == plan.bytes_read(1000) // 2
    assert Plan.parse("2048:10").mflops(1_281_167) == pytest.approx(2623.83, abs=0.01)


def test_a_small_gallery_costs_what_it_holds() -> None:
    assert Plan.parse("16:200,32:10").mflops(50) == pytest.approx((50 * 16 + 50 * 32) / 1e6)
