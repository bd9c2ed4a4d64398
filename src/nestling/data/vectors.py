"""Vectors and labels in files: .npy, .npz, .safetensors, .parquet, .arrow, .feather, and folders that `datasets` saved;
never pickle.

Files are untrusted: sizes that a header promises are compared with the file before anything is allocated or
mapped, and whatever a damaged file makes a reader raise comes out as one `DataError`.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import os
import stat
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from nestling.data.arrow import (
    Wanted,
    read_arrow,
    read_dataset,
    read_parquet,
    write_arrow,
    write_parquet,
)
from nestling.data.naming import chosen, place_of
from nestling.data.saved.layout import is_saved
from nestling.errors import DataError, InputError, NestlingError, ShapeError
from nestling.files import replacing

KEY = "vectors"  # the name under which `save_vectors` writes where a format has names

_CHUNK_BYTES = 1 << 24
_DEFLATE_RATIO = 1100  # deflate cannot shrink more than 1032 times: a zip that claims so lies about its size
_FLOATS = tuple(np.dtype(name) for name in ("float16", "float32", "float64"))
_SAFETENSORS_TYPES = {
    **{"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "?", "U8": "u1", "I8": "i1"},
    **{"U16": "<u2", "U32": "<u4", "U64": "<u8", "I16": "<i2", "I32": "<i4", "I64": "<i8"},
}


def load_vectors(
    path: str | os.PathLike[str], *, key: str | None = None, finite: bool = True
) -> Float[np.ndarray, "n d"]:
    """Read n ≥ 1 vectors of d ≥ 1 finite numbers, float16, float32 or float64.

    .npy and .safetensors are memory-mapped, read-only (bfloat16 is widened to float32 in memory), and so is .arrow
    where the column lies in one piece; others are read into memory. The check for NaN and infinity reads every number
    once, in chunks.

    Args:
        path: .npy, .npz or .safetensors; .parquet, .arrow, .feather or a folder of `datasets.save_to_disk` with a
            column of lists of equal lengths. ``path::key`` names the key too.
        key: which array or column; needed only when the file has several.
        finite: False leaves the check for NaN and infinity to a later `check_finite`, so that of a mapped file no
            number is read yet.

    Raises:
        InputError: the key is not in the file, or the format has no keys.
        DataError: the file is missing, damaged, of another format, or not such an array.
        MissingExtraError: .parquet and the like without pyarrow.
    """
    file, array = _read(path, key, "vectors")
    problem = _shape_problem(array, 2) or _dtype_problem(array)
    if problem:
        raise DataError(f"{file} holds {problem}")
    if finite:
        check_finite(array, str(file))
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def check_finite(array: np.ndarray, name: str, *, progress: Callable[[int, int], Any] | None = None) -> None:
    """Raise if one of the (n, d) numbers is NaN or infinite; reads them once, by chunks of rows.

    Args:
        name: what to call the array in the error.
        progress: told the rows done and n after each chunk.

    Raises:
        DataError: the sentence names the first bad row.
    """
    row = _first_bad_row(array, progress)
    if row is not None:
        raise DataError(f"{name} holds {_not_finite(row)}")


def load_labels(path: str | os.PathLike[str], *, key: str | None = None) -> Shaped[np.ndarray, " n"]:
    """Read n ≥ 1 labels into memory: int64, or strings (NumPy's fixed-width unicode).

    Args:
        path: .npy, .npz, .safetensors (integers only); .parquet, .arrow, .feather or a folder of
            `datasets.save_to_disk` (a column of integers or strings). ``path::key`` names the key too.
        key: which array or column; needed only when the file has several.

    Raises:
        InputError: the key is not in the file, or the format has no keys.
        DataError: the file is missing, damaged, of another format, or holds no labels.
        MissingExtraError: .parquet and the like without pyarrow.
    """
    file, array = _read(path, key, "labels")
    problem = _shape_problem(array, 1)
    if problem is None and array.dtype.kind not in "iuU":
        problem = f"{array.dtype} numbers. Labels are integers or strings: convert them with .astype(int)."
    if problem is None and array.dtype == np.uint64 and array.max() > np.iinfo(np.int64).max:
        problem = f"the label {array.max()}, too large for int64. Number the classes from 0."
    if problem:
        raise DataError(f"{file} holds {problem}")
    return np.array(array) if array.dtype.kind == "U" else np.array(array, np.int64)


def save_vectors(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write (n, d) vectors, whole or not at all; `load_vectors` gives them back bit for bit.

    The array or column is named "vectors" where the format has names.

    Raises:
        InputError: not a finite float16, float32 or float64 array, or an unknown suffix.
        ShapeError: not (n ≥ 1, d ≥ 1).
        DataError: the file cannot be written.
        MissingExtraError: .parquet, .arrow or .feather without pyarrow.
    """
    file = Path(path)
    if file.suffix.lower() not in _FORMATS:
        raise InputError.of("path", f"a file ending in {_suffixes()}", repr(str(file)))
    problem = _shape_problem(array, 2)
    if problem:
        raise ShapeError(f"array holds {problem}")
    row = None if (problem := _dtype_problem(array)) else _first_bad_row(array)
    if problem or row is not None:
        raise InputError(f"array holds {problem or _not_finite(row)}")
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    with replacing(file) as temporary, temporary.open("xb") as stream:
        _FORMATS[file.suffix.lower()].write(stream, native, KEY)


# --- checks ----------------------------------------------------------------------------------------------


def _check_file(file: Path) -> None:
    if file.suffix.lower() not in _FORMATS:
        raise DataError(f"{file} has the ending {file.suffix!r}, which is not read. Use {_suffixes()}.")
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{file} cannot be opened: {error}. Check the path.") from error
    if not stat.S_ISREG(mode):  # a pipe would block for ever
        raise DataError(f"{file} is not a file, nor a folder that `datasets` saved. Give the path of one.")


def _shape_problem(array: np.ndarray, ndim: int) -> str | None:
    form = "(n, d), one vector per row" if ndim == 2 else "(n,), one label per row"
    if array.ndim != ndim:
        return f"an array of shape {array.shape}. It must be {form}."
    if 0 in array.shape:
        return f"nothing: its shape is {array.shape}. It must be {form}, with at least one."
    return None


def _dtype_problem(array: np.ndarray) -> str | None:
    if array.dtype.kind in "iub":
        return f"{array.dtype} numbers, not floating ones. Convert them with .astype('float32')."
    if array.dtype.newbyteorder("=") not in _FLOATS:
        return f"{array.dtype}, not floating numbers. Convert them to float32."
    return None


def _not_finite(row: int | None) -> str:
    return f"NaN or infinity, first in row {row}. Remove such rows."


def _first_bad_row(array: np.ndarray, progress: Callable[[int, int], Any] | None = None) -> int | None:
    """The first row that is not finite; by chunks of rows, so that a mapped file is not copied whole."""
    step = max(1, _CHUNK_BYTES // max(1, array.shape[1] * array.itemsize))
    for start in range(0, len(array), step):
        good = np.isfinite(array[start : start + step]).all(axis=1)
        if not good.all():
            return start + int(np.argmin(good))
        if progress is not None:
            progress(min(start + step, len(array)), len(array))
    return None


# --- formats ---------------------------------------------------------------------------------------------


@contextmanager
def _damage_is_data_error(file: Path) -> Generator[None, None, None]:
    """Bytes that nobody vouches for make readers raise anything (ValueError, struct.error, zlib.error,
    SyntaxError, UnicodeDecodeError, MemoryError, Rust and Arrow errors …): all of it means one thing."""
    try:
        yield
    except NestlingError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise DataError(f"{file} cannot be read, it may be damaged: {reason}. Write it again.") from error


def _read(path: str | os.PathLike[str], key: str | None, wanted: Wanted) -> tuple[Path, np.ndarray]:
    file, key = place_of(path, key)
    if is_saved(file):
        reader = read_dataset
    else:
        _check_file(file)
        reader = _FORMATS[file.suffix.lower()].read
    with _damage_is_data_error(file):
        return file, reader(file, key, wanted)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _npy_header(stream: IO[bytes] | io.BufferedIOBase, file: Path) -> _Header:
    """Read the header and leave the stream at the numbers."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:  # 3.0 is for structured arrays with unicode names: no vectors
        raise DataError(f"{file} has the .npy version {version}, which is not read. Write it again.")
    header = _Header(*readers[version](stream))
    if header.dtype.hasobject:
        raise DataError(f"{file} holds Python objects (pickle), which are never loaded. Convert to float32.")
    if any(size < 0 for size in header.shape):
        raise DataError(f"{file} has a damaged header: shape {header.shape}. Write it again.")
    return header


def _read_npy(file: Path, key: str | None, _: Wanted) -> np.ndarray:
    if key is not None:
        raise InputError.of("key", "left out for .npy, which holds one array", repr(key))
    with file.open("rb") as stream:
        header = _npy_header(stream, file)
        start, size = stream.tell(), os.fstat(stream.fileno()).st_size
    if start + header.bytes > size:
        raise DataError(
            f"{file} is cut short: its header promises {header.bytes} bytes of numbers, "
            f"but {size - start} follow. Copy or write it again."
        )
    return _mapped(file, header.dtype, start, header.shape, "F" if header.fortran else "C")


def _mapped(
    file: Path, dtype: np.dtype[Any], start: int, shape: tuple[int, ...], order: Literal["C", "F"] = "C"
) -> np.ndarray:
    if math.prod(shape) * dtype.itemsize == 0:  # nothing cannot be mapped
        return np.empty(shape, dtype)
    return np.memmap(file, dtype=dtype, mode="r", offset=start, shape=shape, order=order)


def _read_npz(file: Path, key: str | None, _: Wanted) -> np.ndarray:
    """Into memory, although an uncompressed one could be mapped: so zip's checksum is checked."""
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        info = members[chosen(list(members), key, file, "arrays")]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{file} is compressed in a way that NumPy does not write. Write it again.")
        with archive.open(info) as stream:
            header = _npy_header(stream, file)
            possible = min(info.file_size, file.stat().st_size * _DEFLATE_RATIO)
            if header.bytes > possible:
                raise DataError(f"{file} is cut short or damaged: {header.bytes} bytes promised. Write it again.")
        with archive.open(info) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
            if stream.read(1):  # also makes zipfile compare its checksum, which it does at the end
                raise DataError(f"{file} has bytes after the array's end. Write it again.")
    return array


def _read_safetensors(file: Path, key: str | None, _: Wanted) -> np.ndarray:
    safetensors: Any = importlib.import_module("safetensors")  # untyped in places

    # Opening with the library checks the whole header against the file; mapping is ours, since it copies.
    with safetensors.safe_open(str(file), framework="numpy") as tensors:
        names = sorted(map(str, tensors.keys()))
    name = chosen(names, key, file, "arrays")
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        entry = json.loads(stream.read(length))[name]
    if entry["dtype"] not in _SAFETENSORS_TYPES:
        raise DataError(f"{file} holds {entry['dtype']} numbers, which are not read. Convert to float32.")
    dtype = np.dtype(_SAFETENSORS_TYPES[entry["dtype"]])
    array = _mapped(file, dtype, 8 + length + entry["data_offsets"][0], tuple(entry["shape"]))
    if entry["dtype"] != "BF16":
        return array
    # bfloat16 is the upper half of a float32, and NumPy has no such type.
    return (array.astype(np.uint32) << 16).view(np.float32)


def _write_npy(stream: IO[bytes], array: np.ndarray, _: str) -> None:
    np.lib.format.write_array(stream, array, allow_pickle=False)


def _write_npz(stream: IO[bytes], array: np.ndarray, key: str) -> None:
    np.savez(stream, allow_pickle=False, **{key: array})


def _write_safetensors(stream: IO[bytes], array: np.ndarray, key: str) -> None:
    """The header's length (8 bytes), the header (JSON, padded to 8 with spaces), the numbers.

    By hand, since the library wants either a path or all the bytes in memory once more.
    """
    kinds = {np.dtype(code): name for name, code in _SAFETENSORS_TYPES.items()}
    entry = {"dtype": kinds[array.dtype], "shape": array.shape, "data_offsets": (0, array.nbytes)}
    header = json.dumps({key: entry}).encode()
    header += b" " * (-len(header) % 8)
    stream.write(len(header).to_bytes(8, "little") + header)
    stream.write(array.data)


class _Format(NamedTuple):
    read: Callable[[Path, str | None, Wanted], np.ndarray]
    write: Callable[[IO[bytes], np.ndarray, str], None]


_FORMATS = {
    ".npy": _Format(_read_npy, _write_npy),
    ".npz": _Format(_read_npz, _write_npz),
    ".safetensors": _Format(_read_safetensors, _write_safetensors),
    ".parquet": _Format(read_parquet, write_parquet),
    ".arrow": _Format(read_arrow, write_arrow),
    ".feather": _Format(read_arrow, write_arrow),
}


def _suffixes() -> str:
    return ", ".join(_FORMATS)
