"""``nestling tune``: what it prints, draws and leaves, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nestling.search import Plan
from nestling.search.index import Index
from tests.cli.command import here, nestling, refused

pytestmark = pytest.mark.usefixtures("as_a_user")

N, D = 3000, 64


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of ten classes whose early dims carry most, queries like them, and an index."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    spread = np.arange(1, D + 1) ** -0.8
    centres = rng.normal(size=(10, D)) * spread
    for name, n in (("gallery", N), ("queries", 300)):
        labels = rng.integers(0, 10, n)
        np.save(folder / f"{name}.npy", (centres[labels] + rng.normal(size=(n, D)) * spread).astype(np.float32))
        np.save(folder / f"{name}-labels.npy", labels)
    done = here("index", "create", folder / "wiki.nest", folder / "gallery.npy")
    assert done.returncode == 0, done.stderr
    return folder


def test_tune_finds_a_plan_that_searches_then_use(data: Path) -> None:
    index, queries = data / "wiki.nest", data / "queries.npy"
    done = nestling("tune", index, queries, "--recall", "0.95", "--json", "--plot", data / "frontier.png")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert found["low"] <= found["recall"] <= found["high"]
    assert {"plan", "recall", "low", "high", "mflops", "bytes_read", "time_ms"} <= found["frontier"][0].keys()
    assert found["plan"] in [point["plan"] for point in found["frontier"]]
    assert (data / "frontier.png").read_bytes().startswith(b"\x89PNG")
    with Index.open(index) as opened:
        assert opened.info()["plan"] == found["plan"]
        true = opened.search(np.load(queries), 10, exact=True).ids.tolist()
    searched = here("search", index, queries, "--json")
    hits = [json.loads(line)["ids"] for line in searched.stdout.splitlines()]
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(hits, true, strict=True)]
    assert np.mean(shared) >= 0.93
    assert f"by its own plan {found['plan']}, " in here("search", index, queries).stdout


def test_tune_speaks_to_people_and_says_that_gallery_rows_are_optimistic(data: Path) -> None:
    done = here("tune", data / "wiki.nest", "--recall", "0.9", "--k", "5", "--plot", data / "frontier.svg")
    assert done.returncode == 0, done.stderr
    assert "recall@5 [95 %]" in done.stdout
    assert "optimistic" in done.stdout
    chosen = done.stdout.split("Chosen, and used from now on: ")[1].splitlines()[0]
    assert Plan.parse(chosen).k == 5
    assert f"{chosen}  ←" in done.stdout
    assert f"Next: nestling search {data / 'wiki.nest'} QUERIES --k 5" in done.stdout
    assert (data / "frontier.svg").read_text().startswith("<svg")


def test_tune_for_classes(data: Path) -> None:
    labels = ("--labels", data / "gallery-labels.npy", "--query-labels", data / "queries-labels.npy")
    done = here("tune", data / "wiki.nest", data / "queries.npy", *labels, "--recall", "0.95")
    assert done.returncode == 0, done.stderr
    assert "mAP@10 [95 %]" in done.stdout


def test_what_tune_refuses(data: Path, tmp_path: Path) -> None:
    index, queries = data / "wiki.nest", data / "queries.npy"
    np.save(tmp_path / "narrow.npy", np.ones((200, 16), np.float32))
    with Index.open(index) as opened:
        before = opened.info()["generation"]
    cases: list[tuple[tuple[object, ...], str]] = [
        ((tmp_path, queries), "is not an index"),
        ((index, tmp_path / "none.npy"), "none.npy cannot be opened"),
        ((index, tmp_path / "narrow.npy"), "queries must be"),
        ((index, queries, "--recall", "0"), "recall must be above 0 and at most 1"),
        ((index, queries, "--k", "3001"), "k must be"),
        ((index, queries, "--plot", tmp_path / "x.gif"), "--plot must be a file ending in .svg or .png; got"),
        ((index, queries, "--query-labels", data / "queries-labels.npy"), "--query-labels must be given with --labels"),
        ((index, queries, "--labels", data / "queries-labels.npy"), "labels must be"),
    ]
    for arguments, words in cases:
        assert words in refused(here("tune", *arguments)), arguments
    with Index.open(index) as opened:
        assert opened.info()["generation"] == before
