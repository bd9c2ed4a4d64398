from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling.data import image_folder
from nestling.data.decoding import View
from nestling.data.picture_files import Growing, PictureFiles, all_pictures, picture_files
from nestling.errors import DataError, InputError
from tests.data.pictures import tree

VIEW = View(side=16, crop=0.3, flip=True)


def test_the_same_pictures_as_in_memory_split_alike(tmp_path: Path) -> None:
    tree(tmp_path)
    found, memory = picture_files(tmp_path, VIEW, val_fraction=0.25), image_folder(tmp_path, size=16, val_fraction=0.25)
    assert memory.val is not None
    assert found.val is not None
    for ours, theirs in ((found.train, memory.train), (found.val, memory.val)):
        assert (ours.paths, ours.classes) == (theirs.paths, theirs.classes)
        chunk = ours.read(range(len(ours)))
        assert (chunk.targets == theirs.labels).all()
        assert (chunk.inputs == theirs.pixels).all()
        assert not chunk.faults


def test_what_is_seen_follows_from_seed_epoch_and_row_alone(tmp_path: Path) -> None:
    files = picture_files(tree(tmp_path), VIEW, val_fraction=0).train
    one = files.read([3, 5], seed=1, epoch=2).inputs
    again = pickle.loads(pickle.dumps(files)).read([5, 9], seed=1, epoch=2).inputs
    assert (one[1] == again[0]).all()
    assert (one[0] != files.read([3], seed=1, epoch=3).inputs[0]).any()
    assert (one[0] != files.read([3], seed=2, epoch=2).inputs[0]).any()


def test_another_picture_stands_in_for_a_broken_one(tmp_path: Path) -> None:
    files = picture_files(tree(tmp_path), VIEW, val_fraction=0).train
    Path(files.paths[4]).write_bytes(b"no picture")
    chunk = files.read([3, 4, 5], seed=0)
    assert [fault.where for fault in chunk.faults] == [files.paths[4]]
    assert chunk.inputs.shape == (3, 3, 16, 16)
    assert chunk.targets.shape == (3,)
    again = files.read([4], seed=0)
    assert (again.inputs[0] == chunk.inputs[1]).all()
    files.strict = True
    with pytest.raises(DataError, match="cannot be read: it is no image"):
        files.read([4])
    files.strict = False
    for path in files.paths:
        Path(path).write_bytes(b"")
    with pytest.raises(DataError, match="100 samples in a row"):
        files.read([0])


def test_pictures_grow(tmp_path: Path) -> None:
    growing = Growing(first=160, last=192, start=29, end=34)
    assert [growing.at(epoch) for epoch in (0, 29, 31, 32, 34, 40)] == [160, 160, 160, 192, 192, 192]
    assert Growing(first=8, last=24, start=2, end=4, multiple=8).at(3) == 16
    assert Growing(first=8, last=24).at(0) == 24
    small = Growing(first=8, last=24, start=0, end=2, multiple=8)
    files = picture_files(tree(tmp_path), VIEW, growing=small, val_fraction=0).train
    assert [files.read([0], seed=0, epoch=e).inputs.shape[-1] for e in range(4)] == [8, 16, 24, 24]
    assert files.read([0]).inputs.shape[-1] == VIEW.side
    for wrong in ({"first": 0, "last": 8}, {"first": 8, "last": 8, "start": 3, "end": 2}):
        with pytest.raises(InputError):
            Growing(**wrong)


def test_trees_that_cannot_be_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="must hold images"):
        picture_files(tmp_path, VIEW)
    tree(tmp_path / "b")
    (tmp_path / "b" / "empty").mkdir()
    with pytest.raises(DataError, match="'empty' has no image"):
        picture_files(tmp_path / "b", VIEW)
    with pytest.raises(InputError, match="val_fraction"):
        picture_files(tmp_path / "b", VIEW, val_fraction=1)


def test_a_fingerprint_tells_views_and_labels_apart(tmp_path: Path) -> None:
    files = picture_files(tree(tmp_path), VIEW, val_fraction=0).train
    other = PictureFiles(files.paths, np.roll(files.labels, 1), files.classes, VIEW)
    seen = PictureFiles(files.paths, files.labels, files.classes, View(side=17))
    named = PictureFiles([path + "x" for path in files.paths], files.labels, files.classes, VIEW)
    assert len({str(each.fingerprint()) for each in (files, other, seen, named)}) == 4
    moved = PictureFiles([path.replace("/", "/moved/", 2) for path in files.paths], files.labels, files.classes, VIEW)
    assert moved.fingerprint() == files.fingerprint()


def test_folders_that_may_not_be_listed_are_told_and_stop_who_is_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played, since root may list everything."""
    root, real = tree(tmp_path / "tree"), os.scandir
    locked = root / "class-1" / "inside"
    locked.mkdir()

    def refusing(folder: Path) -> Any:
        if folder == locked:
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    assert len(picture_files(root, VIEW).unreadable) == len(all_pictures(root, VIEW).unlisted) == 1
    for read in (picture_files, all_pictures):
        with pytest.raises(DataError, match="inside cannot be listed: Permission denied"):
            read(root, VIEW, strict=True)
