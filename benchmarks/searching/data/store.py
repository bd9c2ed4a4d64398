"""Arrays of rows in ``benchmarks/`` of the data folder: written in chunks, mapped afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from nestling.data.cache import data_folder
from nestling.files import replacing


def folder() -> Path:
    """``${NESTLING_DATA:-~/.cache/nestling}/benchmarks``."""
    return data_folder() / "benchmarks"


def path(name: str) -> Path:
    """The file of one array."""
    return folder() / f"{name}.npy"


def mapped(name: str) -> np.ndarray:
    """The array, read-only and not yet read."""
    return np.load(path(name), mmap_mode="r")


def write(name: str, shape: tuple[int, ...], chunks: Iterable[np.ndarray], dtype: str = "<f4") -> None:
    """Write an array whole or not at all; `chunks` are its rows in order."""
    written = 0
    with replacing(path(name)) as temporary:
        with temporary.open("wb") as stream:
            header = {"descr": dtype, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            for chunk in chunks:
                assert chunk.shape[1:] == shape[1:], f"{name}: rows of {chunk.shape[1:]}, not {shape[1:]}"
                np.ascontiguousarray(chunk, dtype).tofile(stream)
                written += len(chunk)
        assert written == shape[0], f"{name}: {written} rows, not {shape[0]}"


def keep(name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The mapped array, made first where there is none."""
    if not path(name).exists():
        made = make()
        write(name, made.shape, [made], made.dtype.str)
    return mapped(name)


def normalized(x: np.ndarray) -> np.ndarray:
    """The rows of x (n, d) at length 1, as float32."""
    x = np.asarray(x, np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))
    return x / np.maximum(lengths, 1e-30).astype(np.float32)[:, None]


def chunks_of(x: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    """x in pieces of at most `rows`."""
    return (x[start : start + rows] for start in range(0, len(x), rows))
