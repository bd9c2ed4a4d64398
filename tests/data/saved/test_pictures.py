"""Folders that Hugging Face's `datasets` saved, written by that library itself."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling.data import View, is_saved, saved_pictures
from nestling.data.samples import Fault
from nestling.errors import DataError, InputError

datasets = pytest.importorskip("datasets")
image = pytest.importorskip("PIL.Image")
VIEW = View(side=8, channels=3)
NAMES = ["boat", "tree", "zebra"]


def shade(row: int) -> Any:
    return image.fromarray(np.full((12, 10, 3), row * 5, np.uint8))


def rows(count: int) -> Any:
    features = datasets.Features(
        {"id": datasets.Value("int64"), "image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    )
    table = {"id": list(range(count)), "image": [shade(row) for row in range(count)]}
    return datasets.Dataset.from_dict({**table, "label": [row % 3 for row in range(count)]}, features=features)


def seen(found: Any) -> list[int]:
    """Which rows: a picture's grey says so."""
    return [round(float(found.one(row, 0, None).input.mean()) / 5) for row in range(len(found))]


def test_what_was_saved_is_read_row_by_row(tmp_path: Path) -> None:
    rows(30).save_to_disk(tmp_path / "all", num_shards=3)
    assert is_saved(str(tmp_path / "all"))
    assert not is_saved(str(tmp_path))
    found, val = saved_pictures(tmp_path / "all", VIEW, val_fraction=0)
    assert val is None
    assert len(found.saved.files) == 3
    assert found.classes == tuple(NAMES)
    assert found.labels.tolist() == [row % 3 for row in range(30)]
    again = pickle.loads(pickle.dumps(found))  # as it goes to the processes that decode
    assert seen(again) == seen(found) == list(range(30))
    assert seen(found.take(np.array([4, 29, 0]))) == [4, 29, 0]
    assert found.one(3, 0, None).input.shape == (3, 8, 8)
    train, val = saved_pictures(tmp_path / "all", VIEW, val_fraction=0.2)
    assert val is not None
    assert sorted(seen(train) + seen(val)) == list(range(30))
    assert len(val) == 6
    assert train.fingerprint() != found.fingerprint()


def test_parts_with_names_and_an_order_that_was_changed(tmp_path: Path) -> None:
    whole = rows(30).shuffle(seed=1)
    parts = datasets.DatasetDict({"train": whole.select(range(20)), "validation": whole.select(range(20, 30))})
    parts.save_to_disk(tmp_path / "parts")
    train, val = saved_pictures(tmp_path / "parts", VIEW)
    assert val is not None
    assert seen(train) == list(parts["train"]["id"])
    assert seen(val) == list(parts["validation"]["id"])
    alone, none = saved_pictures(tmp_path / "parts" / "validation", VIEW, val_fraction=0)
    assert none is None
    assert seen(alone) == seen(val)


def test_names_for_classes_and_files_beside_the_table(tmp_path: Path) -> None:
    for row in range(6):
        shade(row).save(tmp_path / f"{row}.png")
    table = {"img": [str(tmp_path / f"{row}.png") for row in range(6)], "label": ["b", "a", "b", "a", "c", "c"]}
    features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("string")})
    made = datasets.Dataset.from_dict(table, features=features)
    made.save_to_disk(tmp_path / "files")
    found, _ = saved_pictures(tmp_path / "files", VIEW, val_fraction=0)
    assert found.classes == ("a", "b", "c")
    assert found.labels.tolist() == [1, 0, 1, 0, 2, 2]
    assert seen(found) == list(range(6))


def test_a_broken_picture_is_a_fault_and_damage_is_told(tmp_path: Path) -> None:
    broken = io.BytesIO()
    shade(1).save(broken, "png")
    cells = [{"bytes": each, "path": None} for each in (broken.getvalue(), broken.getvalue()[:40], b"")] + [None]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    datasets.Dataset.from_dict({"image": cells, "label": [0, 1, 2, 0]}, features=features).save_to_disk(tmp_path / "x")
    found, _ = saved_pictures(tmp_path / "x", VIEW, val_fraction=0)
    told = [found.one(row, 0, None) for row in range(4)]
    assert [isinstance(each, Fault) for each in told] == [False, True, True, True]
    assert str(told[3]).endswith("/3: it has no picture")
    arrow = next((tmp_path / "x").glob("*.arrow"))
    whole = arrow.read_bytes()
    for bad in (whole[: len(whole) // 2], b"", b"\x00" * 64):
        arrow.write_bytes(bad)
        with pytest.raises(DataError, match=r"is damaged|cannot be read"):
            saved_pictures(tmp_path / "x", VIEW)
    arrow.unlink()
    with pytest.raises(DataError, match="is missing"):
        saved_pictures(tmp_path / "x", VIEW)
    state = tmp_path / "x" / "state.json"
    for text in ("{", "[]", "{}", '{"_data_files": [{"filename": "../../x.arrow"}]}'):
        state.write_text(text)
        with pytest.raises(DataError):
            saved_pictures(tmp_path / "x", VIEW)


def test_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).save_to_disk(tmp_path / "texts")
    with pytest.raises(DataError, match="should have a column of pictures; it has none"):
        saved_pictures(tmp_path / "texts", VIEW)
    made = rows(6).rename_column("label", "kind")
    made.save_to_disk(tmp_path / "kinds")
    assert saved_pictures(tmp_path / "kinds", VIEW, val_fraction=0)[0].columns.label == "kind"
    made.add_column("other", [0] * 6).cast_column("other", datasets.ClassLabel(names=NAMES)).save_to_disk(
        tmp_path / "two"
    )
    with pytest.raises(DataError, match="it has several: kind, other"):
        saved_pictures(tmp_path / "two", VIEW)
    info = tmp_path / "kinds" / "dataset_info.json"
    about = json.loads(info.read_text())
    about["features"]["kind"]["names"] = ["one"]
    info.write_text(json.dumps(about))
    with pytest.raises(DataError, match="labels beyond its 1 classes"):
        saved_pictures(tmp_path / "kinds", VIEW)
    with pytest.raises(InputError, match="val_fraction"):
        saved_pictures(tmp_path / "two", VIEW, val_fraction=1)


def test_pictures_without_classes_are_read_where_none_are_wanted(tmp_path: Path) -> None:
    rows(6).remove_columns("label").save_to_disk(tmp_path / "bare")
    with pytest.raises(DataError, match="a column of classes"):
        saved_pictures(tmp_path / "bare", VIEW, val_fraction=0)
    found, _ = saved_pictures(tmp_path / "bare", VIEW, val_fraction=0, labelled=False)
    assert found.classes == ("",)
    assert seen(found) == list(range(6))
    rows(1).save_to_disk(tmp_path / "one")
    assert saved_pictures(tmp_path / "one", VIEW, val_fraction=0, labelled=False)[0].classes == tuple(NAMES)
