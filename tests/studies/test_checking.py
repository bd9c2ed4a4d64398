"""What ``nestling check`` finds, against exact search, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nestling.data import save_vectors
from nestling.errors import DataError, InputError
from nestling.evaluation.prefixes import NESTED, PLAIN
from nestling.metrics import neighbor_recall
from nestling.search import exact
from nestling.studies.checking import check_array, check_vectors, sentences, table
from nestling.studies.watch import Silent
from tests.cli.command import here, refused
from tests.evaluation.test_prefixes import vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nested vectors, and queries like them, as files."""
    folder, x = tmp_path_factory.mktemp("check"), vectors(NESTED)
    save_vectors(folder / "vectors.npy", x[:2000])
    save_vectors(folder / "queries.npy", x[2000:])
    return folder


def test_codes_find_what_exact_search_says(folder: Path) -> None:
    x, q = np.load(folder / "vectors.npy"), np.load(folder / "queries.npy")
    found = check_array(x, q, name="x", watch=Silent())
    stored = {code.dims: code for code in found.codes if code.bits == 16}
    true = exact(x, q, 10).ids
    for m, code in stored.items():
        cut = [np.ascontiguousarray(part[:, :m]) for part in (x, q)]
        for kept, (value, low, high) in ((10, code.alone), (100, code.reranked)):
            assert value == pytest.approx(neighbor_recall(exact(*cut, kept).ids, true).mean(), abs=0.003)
            assert low <= value <= high
    by_kind = {(code.dims, code.bits): code for code in found.codes}
    assert by_kind[64, 1].bytes == 9
    assert by_kind[64, 8].bytes == 64
    assert by_kind[64, 8].alone[0] > by_kind[64, 4].alone[0] > by_kind[64, 1].alone[0]
    best = found.recommended
    assert best is not None
    assert best.reranked[0] >= 0.95
    assert all(c.reranked[0] < 0.95 for c in found.codes if c.bytes < best.bytes)
    assert len(table(found, everything=True)) == len(found.codes) > len(table(found)) > 3


def test_what_is_told(folder: Path) -> None:
    x = np.load(folder / "vectors.npy")
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    told = " ".join(sentences(check_array(units, None, name="x", count=10_000_000, watch=Silent())))
    assert "All are of length one" in told
    assert "They look nested: the first 16 dims keep" in told
    assert "for 10,000,000 vectors instead of 2.6 GB. Measured among 1,600; of more vectors more" in told
    assert "Vectors of the file stood in for queries" in told
    x = vectors(PLAIN)
    x[7] = 0
    told = " ".join(sentences(check_array(x[:2000], x[2000:], name="x", watch=Silent())))
    assert "1 are zero and will never be found" in told
    assert "They do not look nested" in told
    assert "stood in" not in told


def test_the_command(folder: Path) -> None:
    done = here("check", folder / "vectors.npy", "--queries", folder / "queries.npy", "--plot", folder / "worth.svg")
    assert done.returncode == 0, done.stderr
    assert "They look nested" in done.stdout
    assert (folder / "worth.svg").read_text().startswith("<svg")
    done = here("check", folder / "vectors.npy", "--json", "--sample", 1000)
    found = json.loads(done.stdout)
    assert (found["n"], found["sampled"], found["own_queries"], found["verdict"]) == (2000, 1000, True, NESTED)


def test_what_cannot_be_checked_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    few = np.zeros((40, 64), np.float32)
    save_vectors(tmp_path / "few.npy", few)
    assert "at least 500 of at least 16 dims; got 40 of 64" in refused(here("check", tmp_path / "few.npy"))
    x = np.load(folder / "vectors.npy")
    with pytest.raises(InputError, match="queries must be of 64 dims"):
        check_array(x, x[:9, :32], name="x", watch=Silent())
    with pytest.raises(InputError, match=r"ending in \.svg"):
        check_vectors(folder / "vectors.npy", plot=tmp_path / "a.jpg", watch=Silent())
    x[3, 3] = np.nan
    with pytest.raises(DataError, match="x holds NaN or infinity"):
        check_array(x, None, name="x", watch=Silent())
