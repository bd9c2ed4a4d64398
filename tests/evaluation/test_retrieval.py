"""Retrieval rows against loops over the hits."""

from __future__ import annotations

import numpy as np
import pytest

from nestling.errors import InputError, PlanError, ShapeError
from nestling.evaluation import Row, class_rows, relevance, retrieval_rows
from nestling.search import Hits, Plan, exact, funnel

RNG = np.random.default_rng(0)
LABELS, WANTED = RNG.integers(0, 4, 90), RNG.integers(0, 4, 25)
CENTRES = RNG.standard_normal((4, 8))
GALLERY = (CENTRES[LABELS] + RNG.standard_normal((90, 8))).astype(np.float32)
QUERIES = (CENTRES[WANTED] + RNG.standard_normal((25, 8))).astype(np.float32)
PLANS = ["2:20,8:5", "2:40,4:20,8:5"]


def by_name(rows: list[Row]) -> dict[tuple[str | None, str], Row]:
    return {(row.plan, row.metric): row for row in rows}


def naive_map(ids: np.ndarray, labels: np.ndarray, wanted: np.ndarray) -> float:
    total = 0.0
    for row, label in zip(ids, wanted, strict=True):
        right = [labels[i] == label for i in row]
        total += sum(sum(right[: i + 1]) / (i + 1) for i in range(len(row)) if right[i]) / len(row)
    return total / len(ids)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_rows_are_the_loops(metric: str) -> None:
    rows = by_name(
        retrieval_rows(GALLERY, LABELS, QUERIES, WANTED, PLANS, seed=0, metric=metric, timed=3, system="MRL")
    )
    nearest = exact(GALLERY, QUERIES, 5, metric=metric)
    hits = {"exact": nearest} | {plan: funnel(GALLERY, QUERIES, plan, metric=metric) for plan in PLANS}
    for plan, found in hits.items():
        assert rows[plan, "map@5"].value == pytest.approx(naive_map(found.ids, LABELS, WANTED))
        share = np.mean([[LABELS[i] == w for i in row] for row, w in zip(found.ids, WANTED, strict=True)])
        assert rows[plan, "precision@5"].value == pytest.approx(share)
        same = np.mean([[i in a for i in b] for a, b in zip(found.ids, nearest.ids, strict=True)])
        assert rows[plan, "neighbor_recall@5"].value == pytest.approx(same)
        cost = Plan.parse("8:5" if plan == "exact" else plan)
        assert rows[plan, "mflops"].value == cost.mflops(90)
        assert rows[plan, "mflops_rings"].value == cost.mflops_rings(90)
        assert rows[plan, "bytes_read"].value == cost.bytes_read(90)
        assert rows[plan, "time_ms"].value > 0
        assert (rows[plan, "map@5"].system, rows[plan, "map@5"].n) == ("MRL", 25)
    for plan in PLANS:
        row = rows[plan, "map_difference@5"]
        assert row.value == pytest.approx(rows[plan, "map@5"].value - rows["exact", "map@5"].value)
        assert row.interval is not None
        assert row.interval[0] <= row.value <= row.interval[1]
    assert ("exact", "map_difference@5") not in rows


def test_queries_that_are_part_of_the_gallery() -> None:
    own = np.arange(90)
    rows = by_name(retrieval_rows(GALLERY, LABELS, GALLERY, LABELS, PLANS, seed=0, exclude=own, timed=2))
    hits = exact(GALLERY, GALLERY, 5, exclude=own)
    assert rows["exact", "map@5"].value == pytest.approx(naive_map(hits.ids, LABELS, LABELS))
    with_itself = by_name(retrieval_rows(GALLERY, LABELS, GALLERY, LABELS, PLANS, seed=0, timed=0))
    assert with_itself["exact", "map@5"].value > rows["exact", "map@5"].value
    assert ("exact", "time_ms") not in with_itself


def test_a_plan_may_be_given_as_a_plan() -> None:
    texts = retrieval_rows(GALLERY, LABELS, QUERIES, WANTED, PLANS, seed=0, timed=0)
    plans = retrieval_rows(GALLERY, LABELS, QUERIES, WANTED, [Plan.parse(p) for p in PLANS], seed=0, timed=0)
    assert plans == texts


def test_an_empty_place_is_not_relevant() -> None:
    hits = Hits(np.array([[0, -1]]), np.array([[1, np.nan]], np.float32))
    # −1 would read the last label, which is the wanted one.
    assert relevance(hits, np.array([3, 3]), np.array([3])).tolist() == [[True, False]]


def test_rows_per_class() -> None:
    hits = exact(GALLERY, QUERIES, 5)
    relevant = relevance(hits, LABELS, WANTED)
    rows = class_rows(relevant, WANTED, plan="exact", system="MRL")
    assert [row.group for row in rows] == ["0", "1", "2", "3"]
    for row in rows:
        chosen = str(row.group) == WANTED.astype(str)
        assert row.n == chosen.sum()
        assert row.value == pytest.approx(naive_map(hits.ids[chosen], LABELS, WANTED[chosen]))
        assert (row.metric, row.plan, row.system) == ("map@5", "exact", "MRL")


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda: retrieval_rows(GALLERY, LABELS, QUERIES, WANTED, ["2:9,8:5", "8:4"], seed=0),
            PlanError,
            r"plans must be at least one, all with the same last keep; got last keeps \[4, 5\]",
        ),
        (lambda: retrieval_rows(GALLERY, LABELS, QUERIES, WANTED, [], seed=0), PlanError, "at least one"),
        (
            lambda: retrieval_rows(GALLERY, LABELS, QUERIES, WANTED, ["9:5"], seed=0),
            PlanError,
            "at most the vectors' width 8; got 9",
        ),
        (
            lambda: retrieval_rows(GALLERY, LABELS[1:], QUERIES, WANTED, PLANS, seed=0),
            ShapeError,
            "gallery_labels must be one per vector",
        ),
        (
            lambda: retrieval_rows(GALLERY, LABELS, QUERIES, WANTED[1:], PLANS, seed=0),
            ShapeError,
            "query_labels must be one per vector",
        ),
        (lambda: retrieval_rows(GALLERY[0], LABELS, QUERIES, WANTED, PLANS, seed=0), ShapeError, "gallery"),
        (
            lambda: retrieval_rows(GALLERY, LABELS, QUERIES * np.float32(np.nan), WANTED, PLANS, seed=0),
            InputError,
            "queries must be finite",
        ),
        (
            lambda: relevance(Hits(np.array([[7]]), np.ones((1, 1), np.float32)), LABELS[:5], WANTED[:1]),
            ShapeError,
            "gallery_labels must be one per gallery row",
        ),
        (lambda: class_rows(np.ones((2, 3), bool), WANTED), ShapeError, "query_labels must be one per vector"),
    ],
)
def test_errors_say_what_is_wrong(call: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()  # type: ignore[operator]
