"""Adaptors in folders: whole or not at all, and damage told."""

from __future__ import annotations

import json
import os
import signal
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
from tests.search.durability.children import at_call, die


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


def killed_at(folder: Path, number: int, new: Saved) -> int:
    """Save in a child that dies by SIGKILL at its number-th call that changes the disk; its status."""
    child = os.fork()
    if not child:
        signal.alarm(60)
        with at_call(number, die):
            store.save(folder, new, {"rows.jsonl": f"{new.steps}\n"})
        os._exit(0)
    return os.waitpid(child, 0)[1]


def assert_kills_leave_nothing_half(folder: Path, old: Saved | None, every: int) -> None:
    """At every call, or some: what is there after a kill is the old one, the new one or, where none was, none."""
    seen: set[int] = set()
    for number in range(1, 200, every):
        place = folder / str(number) / "made"
        if old is not None:
            store.save(place, old)
        status = killed_at(place, number, saved(2))
        if old is not None or place.exists():
            found = store.load(place)
            np.testing.assert_array_equal(found.maps[0].matrix, saved(found.steps).maps[0].matrix)
            seen.add(found.steps)
            assert found.steps == 1 or (place / "rows.jsonl").exists()
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        store.save(place, saved(3))  # works after a kill, and clears what was left
        assert store.load(place).steps == 3
        assert [path.name for path in place.parent.iterdir()] == ["made"]
        assert len(list(place.glob("weights-*"))) == 1
        assert not list(place.glob(".*"))
    assert 8 < number < 100
    assert seen == ({2} if old is None else {1, 2})


@pytest.mark.parametrize("old", [None, 1])
def test_a_kill_at_some_calls(tmp_path: Path, old: int | None) -> None:
    assert_kills_leave_nothing_half(tmp_path, None if old is None else saved(old), every=3)


@pytest.mark.soak
@pytest.mark.parametrize("old", [None, 1])
def test_a_kill_at_every_call(tmp_path: Path, old: int | None) -> None:
    assert_kills_leave_nothing_half(tmp_path, None if old is None else saved(old), every=1)


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
