"""Arrow's IPC files and streams, and folders that `datasets` saved."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pytest

from nestling.data import load_labels, load_vectors, save_vectors
from nestling.errors import DataError, InputError, MissingExtraError
from tests.data.test_vectors import made

DTYPES = ("float16", "float32", "float64")
KINDS: dict[str, Callable[[pa.DataType], pa.DataType]] = {
    "list": pa.list_,
    "large_list": pa.large_list,
    "fixed_size_list": lambda inner: pa.list_(inner, 6),
}


def save(path: Path, table: pa.Table, *, stream: bool = False, rows: int | None = None) -> Path:
    """By pyarrow itself, in pieces of some rows."""
    form = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as sink, form(sink, table.schema) as writer:
        writer.write_table(table, rows)
    return path


def save_folder(folder: Path, tables: list[pa.Table]) -> Path:
    """What `datasets` writes, as far as it matters."""
    folder.mkdir()
    names = [f"data-{i:05d}-of-{len(tables):05d}.arrow" for i in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        save(folder / name, table, stream=True, rows=7)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return folder


@pytest.mark.parametrize("rows", [None, 7])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_list_in_every_form(
    kind: str, dtype: str, stream: bool, rows: int | None, tmp_path: Path
) -> None:
    x = made(20, 6, dtype)
    column = pa.array(list(x), KINDS[kind](pa.from_numpy_dtype(x.dtype)))
    table = pa.table({"id": range(20), "x": column, "text": ["t"] * 20})
    found = load_vectors(save(tmp_path / "x.arrow", table, stream=stream, rows=rows))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, x)
    if rows is None:
        assert not found.flags.writeable  # mapped
    folder = save_folder(tmp_path / "folder", [table.slice(0, 13), table.slice(13)])
    np.testing.assert_array_equal(load_vectors(folder), x)


def test_feather_as_pandas_writes_it(tmp_path: Path) -> None:
    x = made(50, 6)
    feather.write_feather(pa.table({"x": list(x)}), str(tmp_path / "x.feather"), compression="lz4")
    np.testing.assert_array_equal(load_vectors(tmp_path / "x.feather"), x)


def test_only_the_wanted_column_is_looked_at(tmp_path: Path) -> None:
    x = made(20, 6)
    path = save(tmp_path / "x.arrow", pa.table({"text": ["some words"] * 20, "x": list(x)}))
    data = bytearray(path.read_bytes())
    at = data.index(b"some words")
    data[at : at + 4] = b"\xff" * 4  # no UTF-8
    path.write_bytes(data)
    np.testing.assert_array_equal(load_vectors(path), x)
    with pytest.raises(DataError, match="may be damaged"):
        load_labels(path)


def test_what_datasets_saves_is_read_and_what_we_save_it_reads(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    x = made(2500, 6)
    features = datasets.Features({"x": datasets.Value("string"), "v": datasets.List(datasets.Value("float32"))})
    saved = datasets.Dataset.from_dict({"x": [str(i) for i in range(2500)], "v": list(x)}, features=features)
    datasets.disable_progress_bars()
    saved.save_to_disk(str(tmp_path / "one"), num_shards=3)
    saved.select(range(2499, -1, -2)).save_to_disk(str(tmp_path / "turned"))
    datasets.DatasetDict({"train": saved, "test": saved}).save_to_disk(str(tmp_path / "two"))
    np.testing.assert_array_equal(load_vectors(tmp_path / "one"), x)
    np.testing.assert_array_equal(load_vectors(f"{tmp_path / 'one'}::v"), x)
    assert load_labels(tmp_path / "one").tolist() == [str(i) for i in range(2500)]
    np.testing.assert_array_equal(load_vectors(tmp_path / "turned"), x[::-2])
    np.testing.assert_array_equal(load_vectors(tmp_path / "two" / "test"), x)
    with pytest.raises(
        DataError, match=r"holds the splits of a data set\. Give one of them: .*two/train or .*two/test"
    ):
        load_vectors(tmp_path / "two")
    for suffix in ("parquet", "arrow"):
        save_vectors(tmp_path / f"x.{suffix}", x)
        given = {"data_files": str(tmp_path / f"x.{suffix}"), "cache_dir": str(tmp_path / "cache")}
        read = datasets.load_dataset(suffix, split="train", **given)
        np.testing.assert_array_equal(np.array(read["vectors"], np.float32), x)


@pytest.mark.parametrize("place", ["x.arrow", "folder"])
def test_columns_that_are_no_vectors(place: str, tmp_path: Path) -> None:
    for number, (column, words) in enumerate(
        (
            (pa.array([[1.0, 2.0], [1.0]]), "unequal length in column 'x': 2 numbers in row 0, 1 in row 1"),
            (pa.array([[1.0], None]), "empty cell in column 'x', row 1"),
            (pa.array([None, [1.0, 2.0]], pa.list_(pa.float32(), 2)), "empty cell in column 'x', row 0"),
            (pa.array([[1.0], [None]], pa.list_(pa.float16())), "first in row 1"),
            (pa.array([[[1.0]], [[2.0]]]), "not floating|cannot be read"),
            (pa.array([["a"], ["b"]]), "not floating"),
            (pa.array([[1], [2]]), "int64 numbers"),
            (pa.array(["a", "b"]), "holds no list columns"),
            (pa.array([], pa.list_(pa.float32())), "nothing"),
        )
    ):
        table = pa.table({"x": column})
        path = tmp_path / f"{number}-{place}"
        save_folder(path, [table]) if place == "folder" else save(path, table)
        with pytest.raises(DataError, match=words):
            load_vectors(path)
    with pytest.raises(InputError, match=r"key must be one of none in .*; got 'y'"):
        load_vectors(f"{tmp_path / f'7-{place}'}::y")


def test_folders_that_are_not_what_they_say(tmp_path: Path) -> None:
    one, two = pa.table({"x": list(made(4, 2))}), pa.table({"x": list(made(4, 2, "float64"))})
    folder = save_folder(tmp_path / "mixed", [one, two])
    with pytest.raises(DataError, match=r"data-00001.* has another type in column 'x'"):
        load_vectors(folder)
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow is missing"):
        load_vectors(folder)
    other = save_folder(tmp_path / "other", [one, pa.table({"y": [1]})])
    with pytest.raises(DataError, match="has no single column 'x'"):
        load_vectors(other)
    for state, words in (
        ('{"_data_files": [{"filename": "../mixed/data-00000-of-00002.arrow"}]}', "names no files of its own"),
        ('{"_data_files": []}', "names no files of its own"),
        ('{"_data_files": [], "_indices_files": [{"filename": "i"}]}', "keeps its rows in another order"),
        ("{}", "names no files"),
        ("{", "cannot be read"),
    ):
        (folder / "state.json").write_text(state)
        with pytest.raises(DataError, match=words):
            load_vectors(folder)
    (folder / "state.json").unlink()
    with pytest.raises(DataError, match="the ending ''"):
        load_vectors(folder)


def test_without_pyarrow_the_error_has_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "folder", [pa.table({"x": list(made(4, 2))})])
    monkeypatch.setitem(sys.modules, "pyarrow.ipc", None)
    for call in (lambda: load_vectors(folder), lambda: save_vectors(tmp_path / "x.feather", made())):
        with pytest.raises(MissingExtraError, match=r"pip install 'nestling\[parquet\]'"):
            call()


@pytest.mark.parametrize("kind", ["list", "fixed_size_list", "string"])
@pytest.mark.parametrize("stream", [False, True])
def test_damage_is_a_sentence_or_nothing(kind: str, stream: bool, tmp_path: Path) -> None:
    source, path = random.Random(kind), tmp_path / "x.arrow"
    texts = pa.array([f"text {i}" for i in range(40)])
    column = texts if kind == "string" else pa.array(list(made(40, 6)), KINDS[kind](pa.float32()))
    whole = save(path, pa.table({"x": column}), stream=stream, rows=15).read_bytes()
    refused: list[str] = []
    for i in range(200):
        data = bytearray(whole[: source.randrange(len(whole))] if i % 2 else whole)
        if not i % 2:
            data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        path.write_bytes(data)
        try:
            load_labels(path) if kind == "string" else load_vectors(path)
        except (DataError, InputError) as error:
            refused.append(str(error))
    assert len(refused) >= 80
    assert not any("\n" in sentence for sentence in refused)
