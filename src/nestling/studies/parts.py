"""Vectors of any amount of samples in one file, made in chunks: each is kept whole or not at all, and made once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Float

from nestling.errors import InputError, require_extra
from nestling.files import replacing, sweep, write_file
from nestling.studies.watch import Watch
from nestling.training.processes import this_process

SUFFIXES = (".npy", ".parquet", ".arrow")


class Parts:
    """The folder of the chunks, beside the file that will be made of them.

    Args:
        out: that file. chunk: samples of a chunk, at most.
        keys: what is kept of each vector, a text; a column of a table, a file beside a .npy.

    Raises:
        InputError: a file with another ending.
    """

    def __init__(self, out: Path, chunk: int, keys: Sequence[str]) -> None:
        if out.suffix not in SUFFIXES:
            raise InputError.of("out", f"a file that ends in {', '.join(SUFFIXES)}", out)
        self.out, self.folder, self.chunk, self.keys = out, out.with_name(f".{out.name}.parts"), chunk, keys

    def begin(self, about: dict[str, Any], count: int) -> list[int]:
        """Go on with what is there, if it is of the same model and samples; to be called by all processes.

        Returns:
            Which of `count` chunks this process is to make.
        """
        state = this_process()
        if state.is_main_process:
            self._prepare(about)
        state.wait_for_everyone()
        return [i for i in range(count) if i % state.num_processes == state.process_index and not self._has(i)]

    def finished(self, count: int, watch: Watch) -> Joined | None:
        """The file, made by the first process when all are here; nothing in others.

        Raises:
            InputError: not one sample could be read.
        """
        state = this_process()
        state.wait_for_everyone()
        if not state.is_main_process:
            return None
        with watch.task("join") as step:
            return self._joined(count, lambda i: step(i, count))

    def _prepare(self, about: dict[str, Any]) -> None:
        path, text = self.folder / "about.json", json.dumps(about, sort_keys=True)
        if path.exists() and path.read_text() != text:
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        if not path.exists():
            write_file(path, text)

    def _has(self, i: int) -> bool:
        """Is chunk i complete? Its JSON is written last."""
        return self._json(i).exists()

    def write(self, i: int, vectors: Float[np.ndarray, "n d"], about: dict[str, list[str]]) -> None:
        """Keep a chunk."""
        with replacing(self._vectors(i)) as temporary, temporary.open("wb") as stream:
            np.save(stream, vectors, allow_pickle=False)
        write_file(self._json(i), json.dumps({key: list(map(written, texts)) for key, texts in about.items()}))

    def _joined(self, count: int, told: Callable[[int], object]) -> Joined:
        """Write the file of all chunks, and remove their folder."""
        seen, out = self._looked(count), self.out
        if not seen.vectors:
            raise InputError.of("the samples", "readable", f"none that is, such as {seen.faults[0]}")
        files = (out,)
        if out.suffix == ".npy":
            files = self._arrays(seen, count, told)
        else:
            self._table(seen.width, count, told)
        shutil.rmtree(self.folder)
        return Joined(files, seen.vectors, seen.faults)

    def _arrays(self, seen: _Seen, count: int, told: Callable[[int], object]) -> tuple[Path, ...]:
        out = self.out
        with _array(out, "<f4", (seen.vectors, seen.width)) as stream:
            for i in range(count):
                stream.write(np.ascontiguousarray(np.load(self._vectors(i), allow_pickle=False), "<f4").data)
                told(i + 1)
        beside = {key: out.with_name(f"{out.stem}-{key}.npy") for key in self.keys}
        for key, path in beside.items():
            kind = f"<U{max(1, seen.longest[key])}"
            with _array(path, kind, (seen.vectors,)) as stream:
                for i in range(count):
                    stream.write(np.array(self._texts(i)[key], kind).tobytes())
        return (out, *beside.values())

    def _looked(self, count: int) -> _Seen:
        """A first pass: nothing of all chunks is ever held but what is returned."""
        faults, longest, vectors = list[str](), dict.fromkeys(self.keys, 0), 0
        for i in range(count):
            texts = self._texts(i)
            vectors += len(texts["ids"])
            faults += texts["faults"]
            longest = {key: max(most, *map(len, texts[key]), 0) for key, most in longest.items()}
        width = np.load(self._vectors(0), mmap_mode="r").shape[1]
        return _Seen(vectors, int(width), longest, tuple(faults))

    def _table(self, width: int, count: int, told: Callable[[int], object]) -> None:
        arrow = require_extra("pyarrow")
        make = require_extra("pyarrow.ipc").new_file
        if self.out.suffix == ".parquet":
            make = require_extra("pyarrow.parquet").ParquetWriter
        columns = [(key.removesuffix("s"), arrow.string()) for key in self.keys]
        kind = arrow.schema([*columns, ("vector", arrow.list_(arrow.float32(), width))])
        with replacing(self.out) as temporary, make(temporary, kind) as writer:
            for i in range(count):
                texts, vectors = self._texts(i), np.load(self._vectors(i), allow_pickle=False)
                column = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), width)
                writer.write_table(arrow.table([*(texts[key] for key in self.keys), column], schema=kind))
                told(i + 1)

    def _texts(self, i: int) -> dict[str, list[str]]:
        return json.loads(self._json(i).read_text())

    def _vectors(self, i: int) -> Path:
        return self.folder / f"{i:08d}.npy"

    def _json(self, i: int) -> Path:
        return self.folder / f"{i:08d}.json"


class Joined(NamedTuple):
    """The files that were written, how many vectors they hold, and the samples that could not be read, with reasons."""

    files: tuple[Path, ...]
    vectors: int
    faults: tuple[str, ...]


class _Seen(NamedTuple):
    vectors: int
    width: int
    longest: dict[str, int]
    faults: tuple[str, ...]


def written(name: str) -> str:
    """A name as UTF-8, which those of files need not be."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextmanager
def _array(path: Path, kind: str, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """A .npy file whose numbers are about to be written."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
        yield stream
