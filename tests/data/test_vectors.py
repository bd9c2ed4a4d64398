"""Vectors and labels in every format: what comes back, and what damaged files do."""

from __future__ import annotations

import os
import pickle
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from nestling.data import check_finite, load_labels, load_vectors, save_vectors
from nestling.data import vectors as module
from nestling.errors import DataError, InputError, MissingExtraError, ShapeError

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet", ".arrow")
DTYPES = ("float16", "float32", "float64")


def made(n: int = 20, d: int = 6, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(n * d).standard_normal((n, d)).astype(dtype)


def write(path: Path, array: np.ndarray) -> Path:
    """Write with the libraries themselves, so that ours is not its own witness; takes labels too."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, anything=array)
    elif path.suffix == ".safetensors":
        save_file({"anything": array}, path)
    else:
        save_table(pa.table({"anything": list(array)}), path)
    return path


def save_table(table: pa.Table, path: Path) -> None:
    """As Parquet, or as IPC of one piece."""
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, table.schema) as sink:
            sink.write_table(table)


# --- what comes back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25, deadline=None)
@given(
    array=st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
            elements={"allow_nan": False, "allow_infinity": False},
        )
    )
)
def test_load_undoes_save_bit_for_bit(suffix: str, array: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / f"roundtrip{suffix}"
    save_vectors(path, array)
    loaded = load_vectors(path)
    assert loaded.dtype == array.dtype
    assert loaded.shape == array.shape
    assert loaded.tobytes() == array.tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_files_of_other_programs(suffix: str, dtype: str, tmp_path: Path) -> None:
    array = made(dtype=dtype)
    assert np.array_equal(load_vectors(write(tmp_path / f"x{suffix}", array)), array)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_programs_read_ours(suffix: str, tmp_path: Path) -> None:
    array, path = made(), tmp_path / f"x{suffix}"
    save_vectors(path, array)
    if suffix == ".npy":
        found = np.load(path)
    elif suffix == ".npz":
        found = np.load(path)["vectors"]
    elif suffix == ".safetensors":
        found = load_file(path)["vectors"]
    elif suffix == ".parquet":
        found = np.array(pq.read_table(path)["vectors"].to_pylist(), np.float32)
    else:
        found = np.array(pa.ipc.open_file(path).read_all()["vectors"].to_pylist(), np.float32)
    assert np.array_equal(found, array)


@pytest.mark.parametrize("array", [made(8, 6).T, made(8, 6)[::2, ::-1], made(8, 6).astype(">f4")])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_memory_layout(suffix: str, array: np.ndarray, tmp_path: Path) -> None:
    save_vectors(tmp_path / f"x{suffix}", array)
    assert np.array_equal(load_vectors(tmp_path / f"x{suffix}"), array)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_these_are_mapped_not_read(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x{suffix}", made())
    loaded = load_vectors(path)
    assert isinstance(loaded, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        loaded[0, 0] = 1


def test_npy_of_other_layouts(tmp_path: Path) -> None:
    path, array = tmp_path / "x.npy", made()
    np.save(path, np.asfortranarray(array))
    assert np.array_equal(load_vectors(path), array)
    np.save(path, array.astype(">f4"))
    assert np.array_equal(load_vectors(path), array)
    assert load_vectors(path).dtype.isnative
    with path.open("wb") as stream:
        np.lib.format.write_array(stream, array, version=(2, 0))
    assert np.array_equal(load_vectors(path), array)


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    wide = (made().view(np.uint32) & 0xFFFF0000).view(np.float32)
    half = (wide.view(np.uint32) >> 16).astype(np.uint16)
    path = tmp_path / "x.safetensors"
    save_file({"x": half}, path)
    path.write_bytes(path.read_bytes().replace(b'"U16"', b'"BF16"').replace(b"} ", b"}", 1))
    assert np.array_equal(load_vectors(path), wide)


def test_every_kind_of_arrow_list(tmp_path: Path) -> None:
    array, path = made(6, 4), tmp_path / "x.parquet"
    flat = pa.array(array.reshape(-1))
    for column in (
        pa.array(list(array)),
        pa.array(list(array), pa.large_list(pa.float32())),
        pa.FixedSizeListArray.from_arrays(flat, 4),
        pa.chunked_array([pa.array(list(array[:2])), pa.array(list(array[2:]))]),
        pa.array(list(np.vstack([array[:1], array])))[1:],  # a slice keeps its parent's numbers
    ):
        pq.write_table(pa.table({"id": range(6), "x": column, "text": ["t"] * 6}), path, row_group_size=4)
        assert np.array_equal(load_vectors(path), array)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet", ".arrow"])
def test_several_arrays_need_a_key(suffix: str, tmp_path: Path) -> None:
    a, b, path = made(4, 2), made(4, 3), tmp_path / f"x{suffix}"
    if suffix == ".npz":
        np.savez(path, a=a, b=b)
    elif suffix == ".safetensors":
        save_file({"a": a, "b": b}, path)
    else:
        save_table(pa.table({"a": list(a), "b": list(b)}), path)
    with pytest.raises(DataError, match=rf"holds 2 .*: 'a', 'b'\. Choose one with key, or write .*x\{suffix}::a\."):
        load_vectors(path)
    assert np.array_equal(load_vectors(path, key="b"), b)
    assert np.array_equal(load_vectors(f"{path}::b"), b)
    assert np.array_equal(load_vectors(f"{path}::b", key="b"), b)
    with pytest.raises(InputError, match=r"key must be the one in .*::b, or left out; got 'a'"):
        load_vectors(f"{path}::b", key="a")
    named = write(tmp_path / f"x::b{suffix}", a)
    assert np.array_equal(load_vectors(named), a)
    with pytest.raises(InputError, match=r"key must be one of 'a', 'b' in .*; got 'c'"):
        load_vectors(path, key="c")


def test_a_key_for_npy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="key must be left out"):
        load_vectors(write(tmp_path / "x.npy", made()), key="a")


# --- labels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["int64", "int8", "uint16", "str"])
def test_labels(suffix: str, dtype: str, tmp_path: Path) -> None:
    labels = np.array([3, 1, 2]) if dtype != "str" else np.array(["T-shirt", "é", ""])
    if dtype == "str" and suffix == ".safetensors":
        pytest.skip("safetensors holds numbers only")
    path = write(tmp_path / f"x{suffix}", labels.astype(dtype))
    loaded = load_labels(path)
    assert loaded.tolist() == labels.tolist()
    assert loaded.dtype.kind == "U" if dtype == "str" else loaded.dtype == np.int64


def test_label_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"v": list(made(3, 2)), "label": pa.array(["a", "b", "a"]).dictionary_encode()}), path)
    assert load_labels(path).tolist() == ["a", "b", "a"]
    assert load_vectors(path).shape == (3, 2)
    numbers = pa.array([7, 9, 7]).dictionary_encode()
    pq.write_table(pa.table({"label": numbers}), path)
    assert load_labels(path).tolist() == [7, 9, 7]
    pq.write_table(pa.table({"id": [1, 2], "label": ["a", None]}), path)
    with pytest.raises(DataError, match="'id', 'label'"):
        load_labels(path)
    with pytest.raises(DataError, match="empty cell in column 'label', row 1"):
        load_labels(path, key="label")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([1.0]), r"float64 numbers.*\.astype\(int\)"),
        (np.array([True]), "bool numbers"),
        (np.array([[1]]), r"shape \(1, 1\).*one label per row"),
        (np.array([], int), "nothing"),
        (np.array([2**63], np.uint64), "too large for int64"),
        (np.array([b"a"]), "Labels are integers or strings"),
    ],
)
def test_what_are_no_labels(labels: np.ndarray, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        load_labels(write(tmp_path / "x.npy", labels))


# --- sentences -------------------------------------------------------------------------------------------


def nan_at(row: int, value: float = np.nan) -> np.ndarray:
    array = made(50, 3)
    array[row, 1] = value
    return array


WRONG: dict[str, tuple[np.ndarray, str]] = {
    "one axis": (made()[0], r"shape \(6,\).*\(n, d\), one vector per row"),
    "three axes": (made()[None], "one vector per row"),
    "no rows": (made(0, 3), "nothing"),
    "no dims": (made(3, 0), "nothing"),
    "integers": (np.ones((3, 2), np.int32), r"int32 numbers.*Convert them with \.astype\('float32'\)"),
    "booleans": (np.ones((3, 2), bool), "bool numbers"),
    "complex": (np.ones((3, 2), complex), "complex128, not floating"),
    "long": (np.ones((3, 2), np.longdouble), "Convert them to float32"),
    "strings": (np.array([["a"]]), "not floating"),
    "nan": (nan_at(37), "NaN or infinity, first in row 37"),
    "inf": (nan_at(0, -np.inf), "first in row 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_arrays_that_are_no_vectors(case: str, tmp_path: Path) -> None:
    array, words = WRONG[case]
    with pytest.raises(DataError, match=words):
        load_vectors(write(tmp_path / "x.npy", array))
    with pytest.raises(InputError, match=words):
        save_vectors(tmp_path / "y.npy", array)
    assert not (tmp_path / "y.npy").exists()
    if array.ndim != 2 or 0 in array.shape:
        with pytest.raises(ShapeError):
            save_vectors(tmp_path / "y.npy", array)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", ["no rows", "integers", "nan", "inf"])
def test_in_every_format(suffix: str, case: str, tmp_path: Path) -> None:
    array, words = WRONG[case]
    if case == "no rows" and suffix in (".parquet", ".arrow"):
        save_table(pa.table({"x": pa.array([], pa.list_(pa.float32()))}), tmp_path / f"x{suffix}")
    else:
        write(tmp_path / f"x{suffix}", array)
    with pytest.raises(DataError, match=words):
        load_vectors(tmp_path / f"x{suffix}")


@pytest.mark.parametrize("row", [0, 9, 10, 95, 99])
def test_the_bad_row_is_found_in_every_chunk(row: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_CHUNK_BYTES", 10 * 3 * 4)
    array = made(100, 3)
    array[row, 2] = np.inf
    array[99, 0] = np.nan
    with pytest.raises(DataError, match=f"first in row {row}\\."):
        load_vectors(write(tmp_path / "x.npy", array))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_check_can_come_later_and_tells_how_far_it_is(
    suffix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_CHUNK_BYTES", 10 * 3 * 4)
    array = made(25, 3)
    told: list[tuple[int, int]] = []
    check_finite(load_vectors(write(tmp_path / f"good{suffix}", array), finite=False), "it", progress=_listen(told))
    assert told == [(10, 25), (20, 25), (25, 25)]
    array[17, 1] = np.nan
    loaded = load_vectors(write(tmp_path / f"bad{suffix}", array), finite=False)
    with pytest.raises(DataError, match=r"it holds NaN or infinity, first in row 17\. Remove such rows"):
        check_finite(loaded, "it")


def _listen(told: list[tuple[int, int]]) -> Callable[[int, int], None]:
    return lambda done, total: told.append((done, total))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_files_and_folders(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    for load in (load_vectors, load_labels):
        with pytest.raises(DataError, match=r"cannot be opened: .*No such file.*Check the path"):
            load(path)
    path.mkdir()
    with pytest.raises(DataError, match="is not a file"):
        load_vectors(path)
    path.rmdir()
    os.mkfifo(path)  # opened, it would wait for ever
    with pytest.raises(DataError, match="is not a file"):
        load_vectors(path)


def test_unknown_endings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the ending '\.pkl', which is not read\. Use \.npy, "):
        load_vectors(tmp_path / "x.pkl")
    with pytest.raises(InputError, match=r"path must be a file ending in \.npy, "):
        save_vectors(tmp_path / "x.csv", made())


class Trap:
    """Would leave a file behind if anything unpickled it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("unpickled.txt", "w"))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickle_is_never_loaded(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"x{suffix}"
    trap = np.array([[Trap()]], object)
    np.save(path, trap) if suffix == ".npy" else np.savez(path, x=trap)
    for load in (load_vectors, load_labels):
        with pytest.raises(DataError, match="Python objects"):
            load(path)
    (tmp_path / "y.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="may be damaged"):
        load_vectors(tmp_path / "y.npy")
    assert not (tmp_path / "unpickled.txt").exists()


def npy_header(shape: str, descr: str = "<f4") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("(1000, 1000)", "cut short: its header promises 4000000 bytes of numbers, but 64 follow"),
        ("(4611686018427387904, 4611686018427387904)", "cut short"),
        ("(-4, -4)", "damaged header"),
        ("(4, 'a')", "may be damaged"),
        ("(4, 4", "may be damaged"),
    ],
)
def test_an_npy_header_is_not_believed(shape: str, words: str, tmp_path: Path) -> None:
    data = npy_header(shape) + bytes(64)
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(DataError, match=words):
        load_vectors(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", data)
    with pytest.raises(DataError, match="bytes promised" if "cut" in words else "damaged"):
        load_vectors(tmp_path / "x.npz")


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy_header("(2, 2)") + bytes(20))
    with pytest.raises(DataError, match="bytes after the array's end"):
        load_vectors(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", npy_header("(2, 2)") + bytes(16))
    with pytest.raises(DataError, match="compressed in a way"):
        load_vectors(path)
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(DataError, match="holds no arrays"):
        load_vectors(path)


def test_parquet_columns_that_are_no_vectors(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    for column, words in (
        (pa.array([[1.0, 2.0], [1.0]]), "unequal length in column 'x': 2 numbers in row 0, 1 in row 1"),
        (pa.array([[1.0], None]), "empty cell in column 'x', row 1"),
        (pa.array([[1.0], [None]]), "first in row 1"),
        (pa.array([[[1.0]], [[2.0]]]), "not floating|cannot be read"),
        (pa.array([["a"], ["b"]]), "not floating"),
        (pa.array([1.0, 2.0]), "holds no list columns"),
    ):
        pq.write_table(pa.table({"x": column}), path)
        with pytest.raises(DataError, match=words):
            load_vectors(path)


def test_safetensors_of_other_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"x": np.ones((4, 2), np.uint8)}, path)
    path.write_bytes(path.read_bytes().replace(b'"U8"', b'"F8_E5M2"').replace(b"}      ", b"}", 1))
    with pytest.raises(DataError, match=r"F8_E5M2 numbers, which are not read|cannot be read"):
        load_vectors(path)


def test_without_pyarrow_the_error_has_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", made())
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for call in (lambda: load_vectors(path), lambda: save_vectors(path, made())):
        with pytest.raises(MissingExtraError, match=r"pip install 'nestling\[parquet\]'"):
            call()


def test_a_failed_save_keeps_the_old_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    save_vectors(path, made())
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError):
        save_vectors(path, made(3, 3))
    monkeypatch.undo()
    assert np.array_equal(load_vectors(path), made())
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.parquet"]


def test_a_mapped_file_may_be_saved_over_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "x.npy", made())
    save_vectors(path, load_vectors(path))
    assert np.array_equal(load_vectors(path), made())


# --- damage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damage_at_200_places_is_a_sentence_or_nothing(suffix: str, tmp_path: Path) -> None:
    """Half are cut, half have a bit flipped (every second of these in the first or last 400 bytes)."""
    source, path = random.Random(suffix), tmp_path / f"x{suffix}"
    save_vectors(path, made(40, 8))
    whole = path.read_bytes()
    refused: list[str] = []
    for i in range(200):
        at = source.randrange(len(whole))
        if i % 2:
            data = bytearray(whole)
            edge = source.choice([at, at % 400, len(whole) - 1 - at % 400])
            data[edge] ^= 1 << source.randrange(8)
        else:
            data = whole[:at]
        path.write_bytes(data)
        for load in (load_vectors, load_labels):
            try:
                load(path)
            except (DataError, InputError) as error:
                refused.append(str(error))
    assert len(refused) >= 300  # as labels always, as vectors every cut
    assert not any("\n" in sentence for sentence in refused)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_flipped_number_is_found_where_the_format_has_a_checksum(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    save_vectors(path, made(40, 8))
    data = bytearray(path.read_bytes())
    at = bytes(data).index(made(40, 8)[20].tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="may be damaged"):
        load_vectors(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=30)
@given(data=st.binary(max_size=200))
def test_any_bytes(suffix: str, data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(data)
    with pytest.raises(DataError):
        load_vectors(path)
