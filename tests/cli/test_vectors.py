"""``nestling search`` and ``nestling evaluate``: what they answer, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nestling.search import exact, funnel
from tests.cli.command import here, nestling, refused
from tests.data.test_arrow import save, save_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of three classes and queries near them, with labels."""
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 32))
    for name, n in (("gallery", 300), ("queries", 30)):
        labels = np.arange(n) % 3
        np.save(folder / f"{name}.npy", (centres[labels] + rng.normal(size=(n, 32))).astype(np.float32))
        np.save(folder / f"{name}-labels.npy", np.array(["cat", "dog", "owl"])[labels])
    return folder


def test_search_answers_what_the_library_answers(folder: Path) -> None:
    gallery, queries = np.load(folder / "gallery.npy"), np.load(folder / "queries.npy")
    for options, hits in (
        (["--k", "4"], exact(gallery, queries, 4)),
        (["--plan", "8:50,32:5"], funnel(gallery, queries, "8:50,32:5")),
        (["--metric", "l2", "--k", "3"], exact(gallery, queries, 3, metric="l2")),
    ):
        done = here("search", folder / "gallery.npy", folder / "queries.npy", *options, "--json")
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["query"] for line in lines] == list(range(30))
        assert [line["ids"] for line in lines] == hits.ids.tolist()
        assert np.allclose([line["scores"] for line in lines], hits.scores)


def test_columns_of_tables_and_of_saved_datasets(folder: Path, tmp_path: Path) -> None:
    gallery, queries = np.load(folder / "gallery.npy"), np.load(folder / "queries.npy")
    kinds = [np.load(folder / f"{name}-labels.npy").tolist() for name in ("gallery", "queries")]
    tables = [
        pa.table({"v": list(x), "half": list(x[:, :16]), "text": ["t"] * len(x), "kind": kind})
        for x, kind in zip((gallery, queries), kinds, strict=True)
    ]
    saved, asked = save_folder(tmp_path / "saved", [tables[0]]), save(tmp_path / "queries.arrow", tables[1])
    done = here("search", f"{saved}::half", f"{asked}::half", "--k", 4, "--json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line)["ids"] for line in done.stdout.splitlines()]
    assert found == exact(gallery[:, :16].copy(), queries[:, :16].copy(), 4).ids.tolist()
    labels = ["--gallery-labels", f"{saved}::kind", "--query-labels", f"{asked}::kind"]
    done = here("evaluate", f"{saved}::v", f"{asked}::v", *labels, "--json", "--k", 5)
    assert done.returncode == 0, done.stderr
    done = here("index", "create", tmp_path / "index", f"{saved}::v")
    assert done.returncode == 0, done.stderr
    assert "write " in refused(here("search", saved, asked))
    assert "neither the folder" in refused(here("search", tmp_path / "no::v", asked))


def test_search_for_people_shows_a_table_and_the_cost(folder: Path) -> None:
    done = nestling("search", folder / "gallery.npy", folder / "queries.npy", "--k", "2")
    assert done.returncode == 0, done.stderr
    assert "best first" in done.stdout
    assert "10 more queries" in done.stdout
    assert "0.01 MFLOPs per query" in done.stdout


def test_evaluate_measures_every_prefix(folder: Path) -> None:
    labels = ["--gallery-labels", folder / "gallery-labels.npy", "--query-labels", folder / "queries-labels.npy"]
    done = here("evaluate", folder / "gallery.npy", folder / "queries.npy", *labels, "--json", "--k", "5")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(row["metric"], row["dims"]) for row in rows} == {
        (metric, m) for metric in ("1nn_top1", "map@5", "precision@5", "probe_top1") for m in (8, 16, 32)
    }
    full = {row["metric"]: row["value"] for row in rows if row["dims"] == 32}
    assert full["1nn_top1"] > 0.9
    shown = here("evaluate", folder / "gallery.npy", folder / "queries.npy", *labels, "--dims", "4,32")
    assert "probe_top1" in shown.stdout
    assert "300 gallery vectors, 30 queries" in shown.stdout


def test_what_search_refuses(folder: Path, tmp_path: Path) -> None:
    gallery, queries = folder / "gallery.npy", folder / "queries.npy"
    bad = np.load(gallery)
    bad[7, 3] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    np.save(tmp_path / "narrow.npy", bad[:, :8][:5] * 0)
    (tmp_path / "text.npy").write_text("not an array")
    cases = [
        ((gallery, tmp_path / "none.npy"), "none.npy"),
        ((tmp_path / "nan.npy", queries), "NaN or infinity"),
        ((gallery, tmp_path / "narrow.npy"), "equally wide"),
        ((tmp_path / "text.npy", queries), "text.npy"),
        ((gallery, queries, "--k", "301"), "k must be at most 300"),
        ((gallery, queries, "--plan", "16:200,8:10"), "dims must be never falling"),
        ((gallery, queries, "--plan", "16:200,64:10"), "at most the vectors' width 32"),
        ((gallery, queries, "--plan", "16:200,32:10", "--k", "5"), "k must be the plan's last keep, 10; got 5"),
        ((gallery, queries, "--plan", "much"), "dims:keep pairs"),
        ((gallery, queries, "--metric", "taxi"), "metric must be one of cosine, ip, l2"),
    ]
    for arguments, words in cases:
        assert words in refused(here("search", *arguments)), arguments


def test_what_evaluate_refuses(folder: Path, tmp_path: Path) -> None:
    gallery, queries = folder / "gallery.npy", folder / "queries.npy"
    labels = folder / "gallery-labels.npy", folder / "queries-labels.npy"

    def evaluate(*extra: object, first: Path = labels[0], second: Path = labels[1]) -> str:
        return refused(here("evaluate", gallery, queries, "--gallery-labels", first, "--query-labels", second, *extra))

    assert "gallery_labels must be one per vector" in evaluate(first=labels[1])
    assert "m must be between 1 and the data's width 32" in evaluate("--dims", "8,64")
    assert "k must be at most 300" in evaluate("--k", "400")
    assert "dims must be in increasing order" in evaluate("--dims", "16,8")
    assert "gone.npy" in evaluate(second=tmp_path / "gone.npy")


def test_version_and_help() -> None:
    from nestling import __version__

    assert nestling("--version").stdout.strip() == f"nestling {__version__}"
    for command in ("demo", "train", "encode", "evaluate", "search"):
        shown = here(command, "--help")
        assert shown.returncode == 0
        assert f"nestling {command} " in shown.stdout.replace("\n", " "), command
    assert here("data", "--help").returncode == 0
