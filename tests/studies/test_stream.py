"""Encoding of any amount: one file that equals the model's vectors, whatever was cut off or broken in between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.ipc
import pyarrow.parquet
import pytest
import torch
from torch.utils.data import DataLoader

from nestling.data import PictureFiles, View, load_labels, load_vectors, picture_files
from nestling.errors import InputError
from nestling.models import Classifier, NestedLinear, ResidualEncoder
from nestling.nesting import Nesting
from nestling.studies.images import stream
from nestling.studies.images.stream import encode_stream
from nestling.studies.parts import Joined
from nestling.studies.watch import Silent
from nestling.training import worker_feed
from tests.data.pictures import tree


@pytest.fixture
def files(tmp_path: Path) -> PictureFiles:
    found = picture_files(tree(tmp_path / "tree"), View(side=28, channels=1), val_fraction=0).train
    Path(found.paths[5]).write_bytes(b"no picture")
    return found


@pytest.fixture
def model() -> Classifier:
    generator = torch.Generator().manual_seed(0)
    encoder = ResidualEncoder(8, stages=(4, 8), generator=generator)
    return Classifier(encoder, NestedLinear(Nesting((2, 8)), 3, generator=generator)).eval()


def _streamed(model: Classifier, files: PictureFiles, out: Path, chunk: int = 7) -> Joined:
    found = encode_stream(model, files, out, classes=files.classes, workers=0, watch=Silent(), chunk=chunk)
    assert found is not None
    return found


def test_readers_are_started_once_for_all_chunks(
    model: Classifier, files: PictureFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = list[int]()

    def counted(*given: Any, **how: Any) -> Any:
        started.append(how["num_workers"])
        return DataLoader(*given, **how)

    monkeypatch.setattr(worker_feed, "DataLoader", counted)
    encode_stream(model, files, tmp_path / "x.npy", classes=files.classes, workers=1, watch=Silent(), chunk=3)
    assert started == [1]
    assert np.allclose(load_vectors(tmp_path / "x.npy"), _wanted(model, files), atol=1e-6)


def _wanted(model: Classifier, files: PictureFiles) -> np.ndarray:
    return model.encode(files.readable(range(len(files)))[1].inputs)


@pytest.mark.parametrize("chunk", [3, 7, 100])
def test_the_file_is_what_the_model_says(model: Classifier, files: PictureFiles, tmp_path: Path, chunk: int) -> None:
    found = _streamed(model, files, tmp_path / "x.npy", chunk)
    assert (found.vectors, len(found.faults)) == (23, 1)
    assert np.allclose(load_vectors(tmp_path / "x.npy"), _wanted(model, files), atol=1e-6)
    good = [path for i, path in enumerate(files.paths) if i != 5]
    assert load_labels(tmp_path / "x-ids.npy").tolist() == good
    assert load_labels(tmp_path / "x-labels.npy").tolist() == [Path(path).parent.name for path in good]
    for name in ("x.parquet", "x.arrow"):
        _streamed(model, files, tmp_path / name, chunk)
        assert np.array_equal(load_vectors(tmp_path / name), load_vectors(tmp_path / "x.npy"))
        assert load_labels(tmp_path / name, key="id").tolist() == good
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    assert table.equals(pyarrow.ipc.open_file(tmp_path / "x.arrow").read_all())
    assert table.column("id").to_pylist() == good
    written = {"x.npy", "x-ids.npy", "x-labels.npy", "x.parquet", "x.arrow"}
    assert {path.name for path in tmp_path.iterdir()} == {"tree", *written}


def test_names_that_are_no_utf_8_are_written(model: Classifier, tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree")
    odd = os.fsencode(folder / "class-0" / "1.png").replace(b"1.png", b"\xff.png")
    (folder / "class-0" / "1.png").rename(os.fsdecode(odd))
    files = picture_files(folder, View(side=28, channels=1), val_fraction=0).train
    for name in ("x.npy", "x.parquet"):
        assert _streamed(model, files, tmp_path / name).vectors == 24
    assert sum(name.endswith(r"\xff.png") for name in load_labels(tmp_path / "x-ids.npy")) == 1
    assert sum(name.endswith(r"\xff.png") for name in load_labels(tmp_path / "x.parquet", key="id")) == 1


def test_what_was_encoded_before_a_kill_is_not_encoded_again(
    model: Classifier, files: PictureFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, read = stream.in_order, list[int]()

    def counted(samples: PictureFiles, batches: list[np.ndarray], **how: int) -> Iterator[Any]:
        for rows, passage in zip(batches, real(samples, batches, **how), strict=True):
            if len(read) == 3:
                raise KeyboardInterrupt
            read.append(int(rows[0]))
            yield passage

    monkeypatch.setattr(stream, "in_order", counted)
    with pytest.raises(KeyboardInterrupt):
        _streamed(model, files, tmp_path / "x.npy", 6)
    assert not (tmp_path / "x.npy").exists()
    read.clear()
    _streamed(model, files, tmp_path / "x.npy", 6)
    assert read == [18]
    assert np.allclose(load_vectors(tmp_path / "x.npy"), _wanted(model, files), atol=1e-6)


def test_chunks_of_another_model_are_not_taken(model: Classifier, files: PictureFiles, tmp_path: Path) -> None:
    parts = tmp_path / ".x.npy.parts"
    parts.mkdir()
    (parts / "about.json").write_text('{"model": "another"}')
    (parts / "00000000.json").write_text("{}")
    _streamed(model, files, tmp_path / "x.npy")
    assert np.allclose(load_vectors(tmp_path / "x.npy"), _wanted(model, files), atol=1e-6)


def test_what_cannot_be_written_is_refused(model: Classifier, files: PictureFiles, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.npy, \.parquet, \.arrow"):
        _streamed(model, files, tmp_path / "x.txt")
    for path in files.paths:
        Path(path).write_bytes(b"")
    with pytest.raises(InputError, match="the samples must be readable"):
        _streamed(model, files, tmp_path / "x.npy")
