"""``nestling adapt`` and ``nestling apply`` as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nestling.data import load_vectors
from tests.adaptor.toy import vectors
from tests.cli.command import here, nestling, refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapt")
    a, b, classes = vectors(300)
    for name, array in (("queries", a), ("documents", b), ("labels", classes), ("one", np.zeros(300, np.int64))):
        np.save(folder / f"{name}.npy", array)
    return folder


def test_adapt_ends_with_the_table_and_apply_cuts(folder: Path) -> None:
    done = nestling("adapt", "queries.npy", "--pairs", "documents.npy", "--out", "made", "--steps", "8", cwd=folder)
    assert done.returncode == 0, done.stderr
    for words in ("plain cut", "PCA", "adapted", "30 held-out vectors", "of the bytes.", "Next: nestling apply made"):
        assert words in done.stdout
    applied = here("apply", folder / "made", folder / "queries.npy", "--dim", 8, "--out", folder / "short.npy")
    assert applied.returncode == 0, applied.stderr
    short = load_vectors(folder / "short.npy")
    assert short.shape == (300, 8)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, rtol=1e-5)


def test_json_is_the_rows(folder: Path) -> None:
    done = here(
        *("adapt", folder / "queries.npy", "--labels", folder / "labels.npy", "--out", folder / "labelled"),
        *("--steps", 2, "--dims", "4,24", "--kind", "residual", "--json"),
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(row["system"], row["dims"]) for row in rows} == {
        (system, m) for system in ("plain cut", "PCA", "adapted") for m in (4, 24)
    }


@pytest.mark.usefixtures("as_a_user")
def test_what_is_refused(folder: Path) -> None:
    def adapt(*more: object) -> str:
        return refused(here("adapt", folder / "queries.npy", "--out", folder / "refused", "--steps", 2, *more))

    assert "--labels and --pairs must be one of them" in adapt("--labels", "x", "--pairs", "y")
    assert "gone.npy" in adapt("--pairs", folder / "gone.npy")
    assert "kind must be 'rotation' or 'residual'; got 'bent'" in adapt("--kind", "bent")
    assert "nesting must be at most as wide as the data (24)" in adapt("--dims", "8,64")
    assert "y must be of at least two classes" in adapt("--labels", folder / "one.npy")
    assert "is an adaptor" not in adapt("--dims", "8,4")
    bad = np.load(folder / "queries.npy")
    bad[250:, 1] = np.inf
    np.save(folder / "bad.npy", bad)
    told = refused(here("adapt", folder / "bad.npy", "--out", folder / "refused"))
    assert "must be finite; got NaN or infinity" in told
    assert not (folder / "refused").exists()
