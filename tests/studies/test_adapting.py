"""The study behind ``nestling adapt`` and ``nestling apply``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nestling as nt
from nestling.adaptor.maps import Rotation
from nestling.data import load_vectors
from nestling.errors import CheckpointError, InputError, ShapeError
from nestling.evaluation import Row, read_rows
from nestling.nesting import Nesting
from nestling.studies import adapting
from nestling.studies.adapting import Given, adapt_vectors, apply_adaptor, sentence
from nestling.studies.watch import Silent
from tests.adaptor.toy import DIMS, adaptor, unit, vectors
from tests.search.durability.children import SERVER


class Notes(Silent):
    """Keeps what is said and drawn."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.tables: list[tuple[str, list[list[str]]]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def table(self, title: str, columns: Any, rows: Any) -> None:
        self.tables.append((title, [list(columns), *map(list, rows)]))


def given(what: str, n: int = 500) -> Given:
    a, b, classes = vectors(n)
    return Given(a, classes if what == "labels" else None, b if what == "pairs" else None)


@pytest.mark.parametrize(("what", "second"), [("pairs", "recall@1"), ("labels", "1-NN"), ("nothing", "neighbours@10")])
def test_the_table_holds_what_a_loop_measures(tmp_path: Path, what: str, second: str) -> None:
    all_of_it, watch = given(what), Notes()
    rows = adapt_vectors(all_of_it, tmp_path / "made", adaptor(), seed=1, watch=watch)
    assert [row.to_json() for row in read_rows(tmp_path / "made" / "rows.jsonl")] == [row.to_json() for row in rows]
    value = {(row.system, row.metric, row.dims): row.value for row in rows}
    assert {row.metric for row in rows} == {"nDCG@10", second}
    assert {row.dims for row in rows} == set(DIMS)
    order = np.random.default_rng(1).permutation(500)
    test, train = np.sort(order[:50]), np.sort(order[50:])
    made = nt.MatryoshkaAdaptor.load(tmp_path / "made")
    for m in (4, 24):
        for system, turn in (("plain cut", lambda x: x), ("adapted", made.transform)):
            queries = unit(turn(all_of_it.x[test])[:, :m])
            items = all_of_it.x[train] if all_of_it.partners is None else all_of_it.partners[test]
            ranking = np.argsort(-queries @ unit(turn(items)[:, :m]).T, axis=1)[:, :10]
            if what == "labels":
                assert all_of_it.labels is not None
                wished = (all_of_it.labels[train][ranking[:, 0]] == all_of_it.labels[test]).mean()
            elif what == "pairs":
                wished = (ranking[:, 0] == np.arange(50)).mean()
            else:
                true = np.argsort(-unit(all_of_it.x[test]) @ unit(items).T, axis=1)[:, :10]
                wished = np.mean([len(set(r) & set(t)) / 10 for r, t in zip(ranking, true, strict=True)])
            assert value[system, second, m] == pytest.approx(wished, abs=0.02)
    assert value["adapted", "nDCG@10", 24] == pytest.approx(value["plain cut", "nDCG@10", 24], abs=0.01)
    if what == "nothing":
        assert value["plain cut", second, 24] == 1
    else:
        assert value["adapted", "nDCG@10", 4] > value["PCA", "nDCG@10", 4] > 0
    title, lines = watch.tables[0]
    assert title == "nDCG@10, 50 held-out vectors, %"
    assert [line[0] for line in lines] == ["dims", "plain cut", "PCA", "adapted"]
    assert watch.said[-1].endswith("of the bytes.")


class _Sided(nt.MatryoshkaAdaptor):
    """Its documents come out reversed, its queries as they are."""

    def fit_pairs(self, A: Any, B: Any) -> nt.MatryoshkaAdaptor:
        super().fit_pairs(A, B)
        whole = np.eye(24, dtype=np.float32)
        self.maps_ = (Rotation(whole), Rotation(np.ascontiguousarray(whole[::-1])))
        return self


def test_each_side_is_measured_by_its_own_map(tmp_path: Path) -> None:
    all_of_it = given("pairs")
    assert all_of_it.partners is not None
    rows = adapt_vectors(all_of_it, tmp_path / "made", _Sided(steps=1, nesting=DIMS), seed=1, watch=Silent())
    test = np.sort(np.random.default_rng(1).permutation(500)[:50])
    made = nt.MatryoshkaAdaptor.load(tmp_path / "made")
    first, second = made.transform(all_of_it.x[test], side="query"), made.transform(all_of_it.partners[test])
    wished = ((unit(first) @ unit(second).T).argmax(1) == np.arange(50)).mean()
    other = ((unit(made.transform(all_of_it.x[test])) @ unit(second).T).argmax(1) == np.arange(50)).mean()
    assert wished != other  # else the sides say nothing
    found = {(row.system, row.metric, row.dims): row.value for row in rows}
    assert found["adapted", "recall@1", 24] == pytest.approx(wished)


def test_the_sentence_names_the_shortest_prefix_that_keeps_most() -> None:
    def row(system: str, m: int, value: float) -> Row:
        return Row(system=system, metric="nDCG@10", value=value, unit="fraction", n=9, dims=m)

    nesting = Nesting((8, 64, 384))
    rows = [row(s, m, v) for s in ("plain cut", "adapted") for m, v in ((8, 0.3), (64, 0.768), (384, 0.8))]
    assert sentence(rows, nesting) == "64 dims keep 96 % of nDCG@10 at 1/6 of the bytes."
    rows = [row(s, m, v) for s in ("plain cut", "adapted") for m, v in ((8, 0.3), (64, 0.5), (384, 0.8))]
    assert sentence(rows, nesting) == "384 dims keep 100 % of nDCG@10 at all of the bytes."
    odd = [row(s, m, 0.8) for s in ("plain cut", "adapted") for m in (80, 384)]
    assert sentence(odd, Nesting((80, 384))) == "80 dims keep 100 % of nDCG@10 at 0.21 of the bytes."


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet", ".arrow"])
def test_applied_vectors_are_cut_and_renormalised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(adapting, "_ROWS_AT_ONCE", 7)
    a, b, _ = vectors(50)
    made = adaptor("residual", separate=True, steps=2).fit_pairs(a, b)
    made.save(tmp_path / "made")
    for side in ("query", "document"):
        apply_adaptor(tmp_path / "made", a, tmp_path / f"out{suffix}", 4, side, Silent())
        found = load_vectors(tmp_path / f"out{suffix}")
        np.testing.assert_allclose(found, nt.truncate(made.transform(a, side=side), 4), rtol=1e-5, atol=1e-6)
    apply_adaptor(tmp_path / "made", a, tmp_path / f"out{suffix}", None, "query", Silent())
    whole = load_vectors(tmp_path / f"out{suffix}")
    np.testing.assert_allclose(whole, made.transform(a, side="query"), rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="dim must be between 1 and the adaptor's 24; got 64"):
        apply_adaptor(tmp_path / "made", a, tmp_path / "out.npy", 64, "query", Silent())
    with pytest.raises(CheckpointError, match="does not exist"):
        apply_adaptor(tmp_path / "gone", a, tmp_path / "out.npy", 4, "query", Silent())


def test_what_is_refused_before_anything_is_learnt(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    many = given("labels")
    cases: list[tuple[Given, str, type[Exception], str]] = [
        (many, "mine", InputError, "folder must be new, empty or an adaptor's"),
        (Given(many.x, many.labels[:-1]), "made", ShapeError, "labels must be one per vector (500); got 499"),  # type: ignore[index]
        (Given(many.x, None, many.x[:-1]), "made", ShapeError, "pairs must be one per vector (500); got 499"),
        (Given(many.x[:9]), "made", InputError, "vectors must be at least 20; got 9"),
        (Given(many.x, np.zeros(500, np.int64)), "made", InputError, "of at least two classes"),
    ]
    for each, name, kind, words in cases:
        with pytest.raises(kind) as told:
            adapt_vectors(each, tmp_path / name, adaptor(), seed=0, watch=Silent())
        assert words in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_constant_columns_are_said(tmp_path: Path) -> None:
    some, watch = given("nothing"), Notes()
    some.x[:, 3] = 1
    adapt_vectors(some, tmp_path / "made", adaptor(steps=1), seed=0, watch=watch)
    assert "1 of 24 columns are constant and say nothing; they are kept." in watch.said


def test_too_many_to_copy_are_held_out_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "_COPIED", 0)
    watch = Notes()
    adapt_vectors(given("pairs"), tmp_path / "made", adaptor(steps=1), seed=0, watch=watch)
    assert watch.said[0] == "The last 50 vectors are held out: there are too many to copy."


# --- killed ------------------------------------------------------------------------------------------------


def adapt_child(out: str, started: str) -> None:
    """One adaptation; says when it begins."""
    Path(started).touch()
    adapt_vectors(given("pairs", 300), Path(out), adaptor(steps=20), seed=0, watch=Silent())


def assert_killed_adapts_leave_nothing_half(folder: Path, kills: int) -> None:
    """Killed later and later, until one is done: the folder is not there, or whole."""
    for kill in range(kills):
        out, started = folder / f"out{kill}", folder / f"started{kill}"
        process = SERVER.Process(target=adapt_child, args=(str(out), str(started)), daemon=True)
        process.start()
        while not started.exists() and process.is_alive():
            time.sleep(0.005)
        process.join(0.6 * (kill + 1) / kills * (1 + kill))
        process.kill()
        process.join()
        if out.exists():
            nt.MatryoshkaAdaptor.load(out)
            assert read_rows(out / "rows.jsonl")
        else:
            assert process.exitcode == -9


def test_a_killed_adaptation_leaves_no_half_folder(tmp_path: Path) -> None:
    assert_killed_adapts_leave_nothing_half(tmp_path, kills=2)


@pytest.mark.soak
def test_many_killed_adaptations_leave_no_half_folder(tmp_path: Path) -> None:
    assert_killed_adapts_leave_nothing_half(tmp_path, kills=20)
