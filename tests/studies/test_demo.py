"""The demo, whole, on a small part of the real images."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nestling.data import fashion_mnist
from nestling.errors import CheckpointError
from nestling.evaluation import read_rows
from nestling.metrics import mean_average_precision
from nestling.models import load
from nestling.search import Plan, exact
from nestling.studies import demo
from nestling.studies.page import LINEAR, ONE_NN, PROBE, Report, accuracy_table, retrieval_table
from nestling.studies.watch import Silent
from tests.studies.collected import Collected

SMALL = replace(
    demo.get_config(quick=True),
    train=replace(demo.get_config().train, epochs=1, warmup_epochs=0.5),
    train_images=2_000,
    test_images=300,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def watch() -> Collected:
    return Collected()


@pytest.fixture(scope="module")
def report(folder: Path, watch: Collected) -> Report:
    return demo.run(SMALL, folder / "report", folder / "runs", watch=watch)


def test_it_tells_what_it_does(report: Report, watch: Collected) -> None:
    assert [name for name in watch.steps if name.startswith("train")] == [
        "train MRL",
        "train FF-512",
        "train FF-16",
        "train FF-8",
    ]
    assert watch.steps["train MRL"] == [(i, 15) for i in range(1, 16)]


def test_the_tables_hold_every_system_at_every_prefix(report: Report) -> None:
    for metric, systems in ((LINEAR, "MRL FF SVD"), (PROBE, "MRL FF SVD random"), (ONE_NN, "MRL FF SVD random")):
        columns, rows = accuracy_table(report, metric)
        assert columns == ["", "8", "16", "32", "64", "128", "256", "512"]
        assert [row[0] for row in rows] == systems.split()
        for row in rows:
            filled = [bool(cell) for cell in row[1:]]
            assert filled == ([True, True, False, False, False, False, True] if row[0] == "FF" else [True] * 7)
    columns, rows = retrieval_table(report)
    assert [row[0] for row in rows[:-1]] == ["exact, 512 dims", *SMALL.plans]
    assert rows[-1][0] == report.plans[-1]
    assert Plan.parse(report.plans[-1]).k == 10  # the index's own
    assert columns[-1] == "ms"
    brief, _ = retrieval_table(report, brief=True)
    assert brief == ["search", "mAP@10", "minus exact [95 %]", "MFLOPs", "ms"]


def test_the_numbers_are_those_of_the_kept_model(report: Report, folder: Path) -> None:
    train, test = fashion_mnist("train").take(slice(2_000)), fashion_mnist("test").take(slice(300))
    model = load(folder / "runs" / "mrl" / "model")
    gallery, queries = model.encode(train.pixels), model.encode(test.pixels)
    hits = exact(gallery, queries, 10)
    right = train.labels[hits.ids] == test.labels[:, None]
    found = {(r.metric, r.plan, r.dims): r.value for r in report.rows if r.system == "MRL" and r.group is None}
    assert found["map@10", "exact", None] == pytest.approx(mean_average_precision(right), abs=1e-9)
    nearest = exact(gallery, queries, 1, m=8).ids[:, 0]
    assert found["1nn_top1", None, 8] == pytest.approx(np.mean(train.labels[nearest] == test.labels))
    assert found["mflops", "16:200,512:10", None] == pytest.approx((2_000 * 16 + 200 * 512) / 1e6)


def test_the_report_is_one_page_and_rows(report: Report, folder: Path) -> None:
    page = (folder / "report" / "index.html").read_text()
    assert page.count("<svg") == 4
    # Nothing is fetched: the only addresses are the names of XML vocabularies.
    assert {a for a in re.findall(r'(?:src|href)="([^"#][^"]*)"', page) if not a.startswith("data:")} == set()
    about = json.loads((folder / "report" / "report.json").read_text())
    assert len(about["rows"]) == len(report.rows)
    assert about["machine"]["cores"]
    assert read_rows(folder / "report" / "rows.jsonl") == list(report.rows)


@pytest.mark.soak
def test_a_second_run_reuses_the_trained_models(report: Report, folder: Path) -> None:
    watch = Collected()
    again = demo.run(SMALL, folder / "again", folder / "runs", watch=watch)
    assert watch.steps["train MRL"] == []
    one, two = report.find("1nn_top1"), again.find("1nn_top1")
    assert {k: r.value for k, r in one.items()} == {k: r.value for k, r in two.items()}


def test_runs_of_other_settings_are_not_reused(report: Report, folder: Path) -> None:
    other = replace(SMALL, train=replace(SMALL.train, lr=1e-3))
    with pytest.raises(CheckpointError, match="lr"):
        demo.run(other, folder / "other", folder / "runs", watch=Silent())
    assert not (folder / "other").exists()
