"""Pictures with text files beside them, read row by row and held out by what is said."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from nestling.data import View, captioned_files
from nestling.data.samples import Fault, Sample
from nestling.data.tokens import Tokenizer
from nestling.errors import DataError, InputError
from nestling.models.encoders.text import minilm

image = pytest.importorskip("PIL.Image")
VIEW = View(side=8, channels=1)


@pytest.fixture(scope="module")
def reader() -> Tokenizer:
    return Tokenizer.load(minilm())


def picture(path: Path, shade: int, caption: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(np.full((12, 10, 3), shade, np.uint8)).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)


def test_every_picture_has_its_own_caption(reader: Tokenizer, tmp_path: Path) -> None:
    for i in range(12):
        picture(tmp_path / f"{i % 3}" / f"{i:02d}.png", 10 * i, None if i == 5 else f"a  picture\nnumber {i}")
    found = captioned_files(tmp_path, VIEW, tokenizer=reader, longest=9, val_fraction=0)
    assert found.val is None
    assert found.silent == 1
    assert len(found.train) == 11
    again = pickle.loads(pickle.dumps(found.train))  # as it goes to the processes that decode
    for row in range(11):
        number = int(Path(found.train.name(row)).stem)
        for samples in (found.train, again):
            sample = samples.one(row, 0, None)
            assert isinstance(sample, Sample)
            assert abs(float(sample.input.mean()) - 10 * number) < 1
            ids = reader.read([f"a picture number {number}"])[0]
            assert np.asarray(sample.target).tolist() == [*ids, *[reader.padding] * (9 - len(ids))]
    part = found.train.take(np.array([4, 0]))
    assert [part.name(i) for i in range(2)] == [found.train.name(4), found.train.name(0)]
    assert part.fingerprint() != found.train.fingerprint()
    (tmp_path / "0" / "00.png").write_bytes(b"no picture")
    broken = found.train.one(0, 0, None)
    assert isinstance(broken, Fault)
    assert broken.where.endswith("00.png")


def test_equal_captions_are_on_one_side_and_parts_that_are_there_are_kept(reader: Tokenizer, tmp_path: Path) -> None:
    for i in range(60):
        picture(tmp_path / "all" / f"{i}.png", i, f"thing {i % 20}")
    found = captioned_files(tmp_path / "all", VIEW, tokenizer=reader, val_fraction=0.3)
    assert found.val is not None
    assert len(found.train) + len(found.val) == 60
    assert set(found.train.captions).isdisjoint(found.val.captions)
    assert 2 <= len(set(found.val.captions)) <= 12
    for name, count in (("train", 4), ("val", 2)):
        for i in range(count):
            picture(tmp_path / "parts" / name / f"{i}.png", i, "the same")
    parts = captioned_files(tmp_path / "parts", VIEW, tokenizer=reader)
    assert parts.val is not None
    assert (len(parts.train), len(parts.val)) == (4, 2)


@pytest.mark.usefixtures("as_a_user")
def test_what_holds_no_pairs_is_one_sentence(reader: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        captioned_files(tmp_path / "none", VIEW, tokenizer=reader)
    picture(tmp_path / "a.png", 1, None)
    with pytest.raises(DataError, match=r"holds 1 pictures, and none with name\.txt beside it"):
        captioned_files(tmp_path, VIEW, tokenizer=reader)
    (tmp_path / "a.txt").write_text("one")
    with pytest.raises(InputError, match="val_fraction must be one that leaves captions to both parts"):
        captioned_files(tmp_path, VIEW, tokenizer=reader)
    with pytest.raises(InputError, match="val_fraction must be at least 0"):
        captioned_files(tmp_path, VIEW, tokenizer=reader, val_fraction=1)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"a\.txt cannot be read as UTF-8 text"):
        captioned_files(tmp_path, VIEW, tokenizer=reader)
