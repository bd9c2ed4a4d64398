"""Plans: parsing, checks, and costs against numbers counted by hand and by a stupid loop."""

from __future__ import annotations

import json
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Nesting, Plan
from nestling.errors import PlanError
from nestling.search import Stage, Stored
from nestling.search.derived import Sketch
from nestling.search.plan import sketch_bytes
from nestling.search.tuning.sketches import stored_bytes

Drawn = tuple[list[tuple[int, int, int | None]], int | None]


@st.composite
def plans(draw: st.DrawFn) -> Drawn:
    """Stages and probe of any plan: a plain or a sketch scan, then the int8 copy, then stored numbers."""
    count = draw(st.integers(1, 6))
    dims = sorted(draw(st.lists(st.integers(1, 4096), min_size=count, max_size=count)))
    keeps = sorted(draw(st.lists(st.integers(1, 10_000), min_size=count, max_size=count)), reverse=True)
    first = draw(st.sampled_from([None, 1, 2, 4, 8]))
    copies = draw(st.integers(0, count - 1)) if first else 0
    bits = [first, *[8] * copies, *[None] * (count - 1 - copies)]
    return list(zip(dims, keeps, bits, strict=True)), draw(st.none() | st.integers(1, 10**6))


@given(plans())
def test_parse_is_the_inverse_of_str(drawn: Drawn) -> None:
    plan = Plan.of(drawn[0], probe=drawn[1])
    assert Plan.parse(str(plan)) == plan
    assert Plan.parse(json.loads(json.dumps(str(plan)))) == plan
    assert str(Plan.parse(str(plan))) == str(plan)
    assert hash(Plan.parse(str(plan))) == hash(plan)
    assert plan.k == plan.stages[-1].keep
    assert plan.dims == tuple(stage.dims for stage in plan.stages)


def test_parse() -> None:
    plan = Plan.parse(" 16:200, 32:100 ,2048:10")
    assert plan.stages == (Stage(16, 200), Stage(32, 100), Stage(2048, 10))
    assert str(plan) == "16:200,32:100,2048:10"
    assert hash(plan) == hash(Plan(stages=plan.stages))


def test_parse_the_whole_grammar() -> None:
    text = "probe=32;16@8:1000,64@8:100,2048@8:30,2048:10"
    plan = Plan.parse(text)
    assert plan.probe == 32
    assert plan.stages == (Stage(16, 1000, 8), Stage(64, 100, 8), Stage(2048, 30, 8), Stage(2048, 10))
    assert str(plan) == text
    assert Plan.parse(" probe=32 ; 16@8:1000 , 64@8:100,2048@8:30,2048:10") == plan
    assert plan.sketch == (16, 8)
    assert Plan.parse("128@1:200,2048:10").sketch == (128, 1)
    assert Plan.parse("128:200,2048:10").sketch is None
    assert Plan.of([(16, 20), (32, 10, None)], probe=2) == Plan.parse("probe=2;16:20,32:10")


def test_numbers_of_numpy_become_plain_ones(as_a_user: None) -> None:
    stage = Stage(np.int64(8), np.int32(3), np.uint8(4))  # type: ignore[arg-type]
    assert stage == Stage(8, 3, 4)
    assert [type(x) for x in (stage.dims, stage.bits)] == [int, int]
    assert type(Plan((stage,), np.int64(3)).probe) is int  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        *("", "16", "16:", ":3", "16:2,", "16:2;32:1x", "-1:3", "1_6:2", "٣:2", "a:b", "1:2:3", "9" * 5000 + ":1"),
        *("16@:2", "16@x:2", "@8:2", "16@8@8:2", "16:2@8", "16@-1:2", "16@8 :2"),
        *(
            "probe=3",
            "probe=3;",
            "probe=;16:2",
            "probe=x;16:2",
            "probe=-1;16:2",
            "probe=1;probe=2;16:2",
            "16:2;probe=3",
        ),
        *("probe=3,16:2", "probe 3;16:2", ";16:2", "PROBE=3;16:2"),
    ],
)
def test_what_is_no_plan(text: str) -> None:
    with pytest.raises(PlanError):
        Plan.parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("16-200", "a plan must be dims:keep pairs separated by commas; got '16-200'. Write for example 16:200"),
        ("prob=3;16:200", "a plan must be probe=CELLS; before the stages, or stages alone; got 'prob=3;16:200'."),
        ("probe=32,16:200", "Write for example probe=32;16:200,2048:10"),
        ("probe=0;16:200", "probe must be a positive whole number; got 0"),
        ("32:200,16:10", "dims must be never falling; got 32:200,16:10"),
        ("32@1:200,16@8:10", "dims must be never falling; got 32@1:200,16@8:10"),
        ("16:10,32:200", "keeps must be never rising; got 16:10,32:200. A stage cannot keep more"),
        ("0:10", "dims must be a positive whole number; got 0"),
        ("8:0", "keep must be a positive whole number; got 0"),
        ("8@0:1", "bits must be a positive whole number; got 0"),
        ("8@3:1", "bits must be 1, 2, 4 or 8; got 3. Write for example 128@1:200"),
        ("16@8:200,32@4:10", "bits of a later stage must be 8 or left out; got 16@8:200,32@4:10. Only a first stage"),
        ("16:200,32@8:10", "precision must be never falling; got 16:200,32@8:10. Leave @8 out"),
        ("16@1:200,32:20,32@8:10", "precision must be never falling; got 32:20,32@8:10"),
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


@pytest.mark.parametrize("plain", [64, Nesting((16, 32, 64))])
def test_plain_vectors_have_neither_codes_nor_cells(plain: Nesting | int) -> None:
    with pytest.raises(PlanError, match=r"16@8:20 needs 8-bit codes, which plain vectors have not\. .* an Index"):
        Plan.parse("16@8:20,32:10").check(plain, 100)
    with pytest.raises(PlanError, match=r"probe=3 needs cells, which plain vectors have not\. .* an Index"):
        Plan.parse("probe=3;16:20,32:10").check(plain, 100)


OFFER = Stored(
    Nesting((16, 64, 2048)),
    n=1000,
    sketches=frozenset({(24, 8), (128, 1)}),
    copies=frozenset({64, 2048}),
    cells=50,
    cell_dims=32,
)


@pytest.mark.parametrize(
    "text",
    ["16:10", "24@8:10", "128@1:200,2048@8:20,2048:10", "probe=50;24@8:300,64@8:100,64:50,2048:10", "probe=1;64:1000"],
)
def test_what_an_index_can_run(text: str) -> None:
    Plan.parse(text).check(OFFER)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("24:10", "dims must be among the stored dims 16,64,2048; got 24. Change the plan 24:10"),
        ("24@8:20,128:10", "dims must be among the stored dims 16,64,2048; got 128"),
        ("24@1:10", "the first stage must be one of the sketches 24@8, 128@1; got 24@1:10"),
        ("16@8:10", "the first stage must be one of the sketches 24@8, 128@1; got 16@8:10"),
        ("64@8:10", "the first stage must be one of the sketches"),  # a copy is no sketch
        ("24@8:50,128@8:10", "a later stage must be one of the copies 64@8, 2048@8; got 128@8:10"),
        ("probe=51;16:10", "probe must be at most 50, the cells of this index; got 51"),
        ("2048:1001", "the last keep must be at most 1000"),
    ],
)
def test_what_an_index_refuses(text: str, sentence: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.parse(text).check(OFFER)
    assert sentence in str(caught.value)


def test_an_index_without_extras_refuses_them() -> None:
    bare = Stored(OFFER.nesting, n=1000)
    with pytest.raises(PlanError, match=r"probe=3 needs cells, and this index has none\. Partition it first"):
        Plan.parse("probe=3;16:10").check(bare)
    with pytest.raises(PlanError, match="one of the sketches none; got 24@8:10"):
        Plan.parse("24@8:10").check(bare)
    with pytest.raises(PlanError, match="one of the copies none; got 64@8:10"):
        Plan.parse("24@8:20,64@8:10").check(Stored(OFFER.nesting, n=1000, sketches=OFFER.sketches))


def test_costs_counted_by_hand() -> None:
    plan = Plan.parse("16:200,32:100,2048:10")
    # The paper: 1,281,167·16 + 200·32 + 100·2048 multiplications.
    assert plan.mflops(1_281_167) == pytest.approx((1_281_167 * 16 + 200 * 32 + 100 * 2048) / 1e6)
    # Ours: the second stage multiplies dims 16–31 only, the third 32–2047.
    assert plan.mflops_rings(1_281_167) == pytest.approx((1_281_167 * 16 + 200 * 16 + 100 * 2016) / 1e6)
    assert plan.bytes_read(1000) == (1000 * 16 + 200 * 16 + 100 * 2016) * 4
    assert plan.bytes_read(1000, itemsize=2) == plan.bytes_read(1000) // 2
    assert Plan.parse("2048:10").mflops(1_281_167) == pytest.approx(2623.83, abs=0.01)


@pytest.mark.parametrize("sketch", [(128, 1), (64, 2), (24, 4)])
def test_a_sketch_has_the_bytes_that_are_stored(sketch: tuple[int, int]) -> None:
    stored = stored_bytes(Sketch(*sketch, nesting=Nesting((256,)), metric="cosine"))
    assert sketch_bytes(*sketch) == stored


def test_costs_of_codes_counted_by_hand() -> None:
    plan = Plan.parse("24@8:300,64@8:100,2048@8:30,2048:10")
    assert plan.mflops(OFFER) == pytest.approx((1000 * 24 + 300 * 64 + 100 * 2048 + 30 * 2048) / 1e6)
    # The copy starts its sum over after the sketch, the stored numbers after the copy.
    assert plan.mflops_rings(OFFER) == pytest.approx((1000 * 24 + 300 * 64 + 100 * 1984 + 30 * 2048) / 1e6)
    assert plan.bytes_read(OFFER) == 1000 * 24 + 300 * 64 + 100 * 1984 + 30 * 2048 * 2
    assert plan.bytes_read(1000, itemsize=2) == plan.bytes_read(OFFER)
    # 100 dims at 1 bit are 13 bytes, and 1 of scale; then the prefix is scored anew.
    assert Plan.parse("100@1:20,100:10").bytes_read(1000, itemsize=2) == 1000 * 14 + 20 * 100 * 2
    assert Plan.parse("64@8:20,64@8:10").bytes_read(1000) == 1000 * 64 + 20 * 64


def test_costs_of_cells_counted_by_hand() -> None:
    plan = Plan.parse("probe=5;24@8:300,2048:10")  # 5 of 50 cells hold 100 of 1000 items; all are ranked anew
    assert plan.mflops(OFFER) == pytest.approx((50 * 32 + 100 * 24 + 100 * 2048) / 1e6)
    assert plan.bytes_read(OFFER) == 50 * 32 * 4 + 100 * 24 + 100 * 2048 * 2
    for costly in (plan.mflops, plan.mflops_rings, plan.bytes_read):
        with pytest.raises(PlanError, match="what probe=5 costs depends on the cells"):
            costly(1000)
        with pytest.raises(PlanError, match="what probe=5 costs depends on the cells"):
            costly(Stored(OFFER.nesting, n=1000))


@given(plans(), st.integers(0, 10**6), st.integers(1, 4096), st.integers(1, 2048), st.sampled_from([2, 4]))
def test_costs_are_the_loops(drawn: Drawn, n: int, cells: int, cell_dims: int, itemsize: int) -> None:
    plan = Plan.of(drawn[0], probe=drawn[1])
    stored = Stored(Nesting((8,)), n=n, itemsize=itemsize, cells=cells, cell_dims=cell_dims)
    left, multiplied, rings, read = n, 0, 0, 0
    if plan.probe is not None:
        multiplied = rings = cells * cell_dims
        read = 4 * cells * cell_dims
        left = ceil(n * min(plan.probe, cells) / cells)
    summed, precision = 0, None
    for place, stage in enumerate(plan.stages):
        now = ("sketch" if place == 0 and stage.bits else "copy") if stage.bits else "stored"
        fresh = stage.dims - summed if now == precision else stage.dims
        size = {"stored": fresh * itemsize, "copy": fresh, "sketch": ceil(fresh * (stage.bits or 0) / 8)}[now]
        multiplied += left * stage.dims
        rings += left * fresh
        read += left * (size + (now == "sketch" and stage.bits != 8))
        left, summed, precision = min(left, stage.keep), stage.dims, now
    assert plan.mflops(stored) == multiplied / 1e6
    assert plan.mflops_rings(stored) == rings / 1e6
    assert plan.bytes_read(stored) == read


def test_a_small_gallery_costs_what_it_holds() -> None:
    assert Plan.parse("16:200,32:10").mflops(50) == pytest.approx((50 * 16 + 50 * 32) / 1e6)
