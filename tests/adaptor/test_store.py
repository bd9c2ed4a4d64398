"""Adaptors in folders: whole or not at all, and damage told."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from nestling import MatryoshkaAdaptor
from nestling.adaptor import store
from nestling.adaptor.maps import Residual, Rotation
from nestling.adaptor.store import Saved
from nestling.errors import CheckpointError, DataError, InputError
from nestling.files import new_folder
from tests.adaptor.toy import adaptor, vectors


@pytest.mark.parametrize("separate", [False, True])
def test_saved_and_loaded_it_transforms_to_the_same_bits(tmp_path: Path, separate: bool) -> None:
    a, b, _ = vectors(100)
    made = adaptor("residual", separate=separate, steps=2).fit_pairs(a, b)
    made.save(tmp_path / "made", {"rows.jsonl": "{}\n"})
    found = MatryoshkaAdaptor.load(tmp_path / "made")
    for side in ("query", "document"):
        np.testing.assert_array_equal(found.transform(a, side=side), made.transform(a, side=side))
    assert (found.nesting_, found.n_steps_, found.n_features_in_) == (made.nesting_, made.n_steps_, 24)
    given = {**made.get_params(), "nesting": str(made.nesting_)}
    assert found.get_params() == given
    names = sorted(path.name.partition("-")[0] for path in (tmp_path / "made").iterdir())
    assert names == ["adaptor.json", "rows.jsonl", "weights"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    rotation = adaptor(steps=2).fit(a)
    rotation.save(tmp_path / "made")  # takes the old one's place
    assert len(list((tmp_path / "made").glob("weights-*"))) == 1
    np.testing.assert_array_equal(MatryoshkaAdaptor.load(tmp_path / "made").transform(a), rotation.transform(a))


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("words")
    made = adaptor(steps=1).fit(vectors(80)[0])
    with pytest.raises(InputError, match="folder must be new, empty or an adaptor's"):
        made.save(tmp_path)
    with pytest.raises(InputError, match="folder must be a folder; got the file"):
        made.save(tmp_path / "thesis.tex")
    (tmp_path / "empty").mkdir()
    made.save(tmp_path / "empty")
    MatryoshkaAdaptor.load(tmp_path / "empty")


def saved(seed: int) -> Saved:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(256, 256)).astype(np.float32)
    return Saved({"kind": "rotation"}, "8,256", seed, (Rotation(matrix),))


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    store.save(folder, saved(1))
    (weights,) = folder.glob("weights-*")
    text, data = (folder / "adaptor.json").read_text(), weights.read_bytes()
    about = json.loads(text)
    damages: list[tuple[Path, bytes, str]] = [
        (weights, data[:-1], "SHA-256"),
        (weights, data[:200] + bytes([data[200] ^ 1]) + data[201:], "SHA-256"),
        (folder / "adaptor.json", text[:50].encode(), "cannot be read"),
        (folder / "adaptor.json", b"[]", "describes none"),
        (folder / "adaptor.json", json.dumps({**about, "weights": "../x"}).encode(), "names no file beside it"),
        (folder / "adaptor.json", json.dumps({**about, "weights": "gone"}).encode(), "gone"),
        (folder / "adaptor.json", json.dumps({**about, "format": 2}).encode(), "newer than the 1 known here"),
        (folder / "adaptor.json", json.dumps({**about, "nesting": "8,a"}).encode(), "dims must be"),
        (folder / "adaptor.json", json.dumps({**about, "parameters": {"eval": "1"}}).encode(), "unknown parameters"),
        (folder / "adaptor.json", json.dumps({"format": 1}).encode(), "weights"),
    ]
    for path, bad, words in damages:
        good = path.read_bytes()
        path.write_bytes(bad)
        with pytest.raises((CheckpointError, InputError)) as told:
            MatryoshkaAdaptor.load(folder)
        assert words in str(told.value), words
        path.write_bytes(good)
    assert MatryoshkaAdaptor.load(folder).n_steps_ == 1
    with pytest.raises(CheckpointError, match=r"does not exist\. Give a folder that `nestling adapt` made"):
        MatryoshkaAdaptor.load(tmp_path / "other")


def test_two_maps_of_different_kinds_or_widths_are_none(tmp_path: Path) -> None:
    small = Rotation(np.eye(3, dtype=np.float32))
    store.save(tmp_path / "made", Saved({}, "3", 0, (small, Rotation(np.eye(4, dtype=np.float32)))))
    with pytest.raises(CheckpointError, match="make no adaptor"):
        store.load(tmp_path / "made")
    store.save(tmp_path / "none", Saved({}, "3", 0, ()))
    with pytest.raises(CheckpointError, match="make no adaptor"):
        store.load(tmp_path / "none")
    assert Residual.__name__ == "Residual"


# --- killed ------------------------------------------------------------------------------------------------


def save_for_ever(folder: str, seed: int) -> None:
    """Adaptor after adaptor, into a folder that is new each time or the same."""
    number = seed
    signal.alarm(60)  # in case nobody kills it
    Path(f"{folder}.started-{seed}").touch()
    while True:
        number += 1
        store.save(folder, saved(number), {"rows.jsonl": f"{number}\n"})
        if number % 3 == 0:
            Path(folder).replace(f"{folder}-done-{number}")


def assert_kills_leave_nothing_half(folder: Path, kills: int, seed: int) -> None:
    draw, cut = random.Random(seed), 0
    for kill in range(kills):
        child = os.fork()
        if not child:
            save_for_ever(str(folder), 1000 * kill)
        while not Path(f"{folder}.started-{1000 * kill}").exists():
            time.sleep(0.002)
        time.sleep(draw.uniform(0.0, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        cut += len(list(folder.parent.glob(".made.*"))) + len(list(folder.glob(".*")))
        for path in [path for path in folder.parent.glob("made*") if path.is_dir()]:
            found = store.load(path)
            np.testing.assert_array_equal(found.maps[0].matrix, saved(found.steps).maps[0].matrix)
            assert (path / "rows.jsonl").exists()
            if path != folder:
                (path / "adaptor.json").unlink()
                path.rename(folder.parent / f"old-{kill}-{path.name}")
    store.save(folder, saved(1))
    assert cut > kills // 8  # else the test hits the pauses


def test_a_few_kills(tmp_path: Path) -> None:
    assert_kills_leave_nothing_half(tmp_path / "made", kills=12, seed=0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_kills(tmp_path: Path, seed: int) -> None:
    assert_kills_leave_nothing_half(tmp_path / "made", kills=50, seed=seed)


def test_a_new_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "made"
    left = tmp_path / ".made.0123456789ab.unfinished"
    left.mkdir()
    (left / "half").write_text("ha")
    with pytest.raises(KeyError), new_folder(path) as temporary:
        (temporary / "file").write_text({}["x"])
    assert [path.name for path in tmp_path.iterdir()] == []
    with new_folder(path) as temporary:
        (temporary / "file").write_text("x")
        assert not path.exists()
    assert (path / "file").read_text() == "x"
    with pytest.raises(DataError, match="made cannot be written"), new_folder(path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
