"""Pictures without classes: what is found, in which order, and what is told of the rest."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nestling.data import View, image_folder
from nestling.data.unlabelled import UnlabelledPictures
from nestling.errors import DataError, InputError
from tests.data.pictures import tree

VIEW = View(side=16)


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path, "png")
    return path


def test_a_tree_of_any_form_is_listed_in_order(tmp_path: Path) -> None:
    names = ["b.png", "c.JPG", "a/x.png", "a/deep/y.png", "a2/x.webp"]
    for name in (*names, ".hidden.png", ".git/x.png", "notes.txt"):
        put(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    found = UnlabelledPictures(tmp_path, VIEW)
    assert [str(path.relative_to(tmp_path)) for path in found] == names
    assert found.count() == 5
    assert list(found) == list(found)


def test_a_single_file_needs_no_ending(tmp_path: Path) -> None:
    found = UnlabelledPictures(put(tmp_path / "picture"), VIEW)
    assert found.count() == 1
    (batch,) = found.batches()
    assert batch.paths == (tmp_path / "picture",)
    assert (batch.pixels[0, :, 8, 8] == (255, 0, 0)).all()


def test_the_pixels_are_those_of_image_folder_in_batches_of_any_size(tmp_path: Path) -> None:
    tree(tmp_path, each=5)
    wanted = image_folder(tmp_path, size=16, val_fraction=0).train
    for size in (1, 4, 15, 100):
        batches = list(UnlabelledPictures(tmp_path, VIEW).batches(size=size, workers=2))
        assert [len(batch.paths) for batch in batches] == [size] * (15 // size) + [15 % size] * (15 % size > 0)
        assert tuple(str(path) for batch in batches for path in batch.paths) == wanted.paths
        assert (np.concatenate([batch.pixels for batch in batches]) == wanted.pixels).all()


def test_what_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    tree(tmp_path, each=2)
    for name in ("0-broken.png", "class-1/9.png"):
        (tmp_path / name).write_bytes(b"no picture")
    batches = list(UnlabelledPictures(tmp_path, VIEW).batches(size=2))
    assert [len(batch.paths) for batch in batches] == [1, 2, 1, 2]
    for batch in batches:
        alone = [next(UnlabelledPictures(path, VIEW).batches()).pixels[0] for path in batch.paths]
        assert np.array_equal(batch.pixels, alone)
    bad = [Path(item.path).name for batch in batches for item in batch.unreadable]
    assert bad == ["0-broken.png", "9.png"]
    assert (tmp_path / "class-1" / "9.png") not in {path for batch in batches for path in batch.paths}
    with pytest.raises(DataError, match=r"0-broken.png cannot be read: it is no image of a known format\. Repair"):
        list(UnlabelledPictures(tmp_path, VIEW).batches(strict=True))


def test_links_lead_nowhere_twice_and_never_up(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root / "a" / "x.png")
    put(tmp_path / "above.png")
    for name, target in {"up": tmp_path, "top": Path("/"), "self": root, "again": root / "a"}.items():
        (root / "b" / name).parent.mkdir(exist_ok=True)
        (root / "b" / name).symlink_to(target)
    (root / "round.png").symlink_to(root / "round.png")
    os.mkfifo(root / "pipe.png")
    found = UnlabelledPictures(root, VIEW)
    assert [path.name for path in found] == ["pipe.png", "round.png", "x.png"]
    (batch,) = found.batches()
    assert [item.reason for item in batch.unreadable] == ["it is no regular file (a dangling link, a pipe)"] * 2


def test_a_folder_that_may_not_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played, since root may list everything."""
    listed, locked = os.scandir, tmp_path / "locked"

    def scandir(folder: Path):
        if folder == locked:
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    put(locked / "x.png")
    monkeypatch.setattr(os, "scandir", scandir)
    found = UnlabelledPictures(tmp_path, VIEW)
    with pytest.raises(DataError, match=r"holds no pictures \(.*locked: Permission denied\)\. Give files that end in"):
        found.count()
    assert [item.path for item in found.unlisted] == [str(locked)]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none does not exist\. Give a picture or a folder"):
        UnlabelledPictures(tmp_path / "none", VIEW)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match=r"holds no pictures\. Give files that end in \.png"):
        UnlabelledPictures(tmp_path, VIEW).count()
    for wrong in ({"size": 0}, {"workers": 0}):
        with pytest.raises(InputError, match="size and workers must be at least 1"):
            next(UnlabelledPictures(tmp_path, VIEW).batches(**wrong))


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        for i in range(count):
            (tmp_path / str(count) / str(i // 50)).mkdir(parents=True, exist_ok=True)
            (tmp_path / str(count) / str(i // 50) / f"{i}.png").touch()
        tracemalloc.start()
        assert sum(len(batch.unreadable) for batch in UnlabelledPictures(tmp_path / str(count), VIEW).batches(size=50))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(50)  # what is imported and cached the first time
    assert peak(2000) < 1.5 * peak(200)
