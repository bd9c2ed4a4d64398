"""Any amount of pictures to one file of vectors, in constant memory, by one process or several, resumed when cut off.

The samples are cut into chunks; each is encoded into files of its own, written whole or not at all, and those that are
there are not made again. At the end the first process joins them.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import nn

from nestling.data import Samples
from nestling.errors import InputError, require_extra
from nestling.files import replacing, sweep, write_file
from nestling.models import Classifier
from nestling.models.store import identity
from nestling.studies.images.run import encoding
from nestling.studies.images.source import tell_faults
from nestling.studies.watch import Watch
from nestling.training import in_order
from nestling.training.processes import this_process

CHUNK = 8192
"""Samples of a chunk: what is lost by a kill, and what a process holds in memory."""
SUFFIXES = (".npy", ".parquet", ".arrow")


@dataclass(frozen=True, slots=True)
class Streamed:
    """What was written.

    Attributes:
        files: the vectors; for .npy, names and classes beside them.
        count: vectors; faults: samples that could not be read.
    """

    files: tuple[Path, ...]
    count: int
    faults: int


def encode_stream(
    model: Classifier,
    samples: Samples,
    out: Path,
    *,
    classes: tuple[str, ...],
    workers: int | None,
    watch: Watch,
    chunk: int = CHUNK,
) -> Streamed | None:
    """Write the vectors of all samples that can be read, in their order.

    Args:
        out: ``x.parquet`` or ``x.arrow`` with the columns id, label and vector; or ``x.npy`` with ``x-ids.npy`` and
            ``x-labels.npy``.
        classes: the names of the samples' classes.
        workers: reading processes of each process.
        chunk: samples that are encoded and kept together.

    Returns:
        None in all but the first of several processes.

    Raises:
        InputError: another ending, or what an earlier, other run left is in the way.
        DataError: the samples are strict and one cannot be read, or the files cannot be written.
    """
    source = Vectoriser(model, model.head.nesting.width, identity(model))
    return stream_vectors(source, samples, out, classes=classes, workers=workers, watch=watch, chunk=chunk)


class Vectoriser(NamedTuple):
    """What makes vectors of pictures.

    Attributes:
        network: a whole model, or an encoder alone.
        width: of what it gives; identity: what tells it from others.
    """

    network: nn.Module
    width: int
    identity: str


def stream_vectors(
    source: Vectoriser,
    samples: Samples,
    out: Path,
    *,
    classes: tuple[str, ...],
    workers: int | None,
    watch: Watch,
    chunk: int = CHUNK,
) -> Streamed | None:
    """As `encode_stream`, of any network."""
    if out.suffix not in SUFFIXES:
        raise InputError.of("out", f"a file that ends in {', '.join(SUFFIXES)}", out)
    state = this_process()
    parts = _Parts(out.with_name(f".{out.name}.parts"), chunk)
    about = {"model": source.identity, "samples": samples.fingerprint(), "chunk": chunk}
    if state.is_main_process:
        parts.begin(about)
    state.wait_for_everyone()
    encode = encoding(source.network.to(state.device))
    starts = range(0, len(samples), chunk)
    mine = [i for i in range(len(starts)) if i % state.num_processes == state.process_index and not parts.has(i)]
    total = sum(min(chunk, len(samples) - starts[i]) for i in mine)
    begun = time.monotonic()
    with watch.task("encode") as step:
        for done, i in enumerate(mine):
            rows = np.arange(starts[i], min(starts[i] + chunk, len(samples)))
            vectors, names, labels, faults = list[np.ndarray](), list[str](), list[int](), list[str]()
            for passage in in_order(samples, rows, batch_size=256, workers=workers):
                faults += passage.faults
                names += passage.names
                labels += passage.targets.tolist()
                if len(passage.rows):
                    vectors.append(encode(passage.inputs).numpy())
                seen = done * chunk + len(names) + len(faults)
                step(seen, total, f"{seen / max(time.monotonic() - begun, 1e-9):,.0f} images/s")
            whole = np.concatenate(vectors) if vectors else np.empty((0, source.width), np.float32)
            parts.write(i, whole, {"ids": names, "labels": [classes[label] for label in labels], "faults": faults})
    state.wait_for_everyone()
    if not state.is_main_process:
        return None
    with watch.task("join") as step:
        found = parts.joined(out, len(starts), lambda i: step(i, len(starts)))
    tell_faults(found[1], watch)
    shutil.rmtree(parts.folder)
    return Streamed(found[0], found[2], len(found[1]))


class _Parts:
    """The folder of the chunks."""

    def __init__(self, folder: Path, chunk: int) -> None:
        self.folder, self.chunk = folder, chunk

    def begin(self, about: dict[str, Any]) -> None:
        """Go on with what is there, if it is of the same model and samples."""
        path, text = self.folder / "about.json", json.dumps(about, sort_keys=True)
        if path.exists() and path.read_text() != text:
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        if not path.exists():
            write_file(path, text)

    def has(self, i: int) -> bool:
        """Is chunk i complete? Its JSON is written last."""
        return self._json(i).exists()

    def write(self, i: int, vectors: Float[np.ndarray, "n d"], about: dict[str, list[str]]) -> None:
        """Keep a chunk."""
        with replacing(self._vectors(i)) as temporary, temporary.open("wb") as stream:
            np.save(stream, vectors, allow_pickle=False)
        write_file(self._json(i), json.dumps(about))

    def joined(
        self, out: Path, count: int, told: Callable[[int], object]
    ) -> tuple[tuple[Path, ...], tuple[str, ...], int]:
        """Write the file of all chunks; (files, the first faults, vectors)."""
        seen = self._looked(count)
        if not seen.vectors:
            raise InputError.of("the samples", "readable", f"none that is, such as {seen.faults[0]}")
        if out.suffix != ".npy":
            self._table(out, count, told)
            return (out,), seen.faults, seen.vectors
        with _array(out, "<f4", (seen.vectors, seen.width)) as stream:
            for i in range(count):
                stream.write(np.ascontiguousarray(np.load(self._vectors(i), allow_pickle=False), "<f4").data)
                told(i + 1)
        beside = {key: out.with_name(f"{out.stem}-{key}.npy") for key in ("ids", "labels")}
        for key, path in beside.items():
            kind = f"<U{max(1, seen.longest[key])}"
            with _array(path, kind, (seen.vectors,)) as stream:
                for i in range(count):
                    stream.write(np.array(self._texts(i)[key], kind).tobytes())
        return (out, *beside.values()), seen.faults, seen.vectors

    def _looked(self, count: int) -> _Seen:
        """A first pass: nothing of all chunks is ever held but what is returned."""
        faults, longest, vectors = list[str](), {"ids": 0, "labels": 0}, 0
        for i in range(count):
            texts = self._texts(i)
            vectors += len(texts["ids"])
            faults += texts["faults"]
            longest = {key: max(most, *map(len, texts[key]), 0) for key, most in longest.items()}
        width = np.load(self._vectors(0), mmap_mode="r").shape[1]
        return _Seen(vectors, int(width), longest, tuple(faults))

    def _table(self, out: Path, count: int, told: Callable[[int], object]) -> None:
        arrow = require_extra("pyarrow")
        make = require_extra("pyarrow.ipc").new_file
        if out.suffix == ".parquet":
            make = require_extra("pyarrow.parquet").ParquetWriter
        width = np.load(self._vectors(0), mmap_mode="r").shape[1]
        kind = arrow.schema(
            [("id", arrow.string()), ("label", arrow.string()), ("vector", arrow.list_(arrow.float32(), width))]
        )
        with replacing(out) as temporary, make(temporary, kind) as writer:
            for i in range(count):
                texts, vectors = self._texts(i), np.load(self._vectors(i), allow_pickle=False)
                column = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), width)
                writer.write_table(arrow.table([texts["ids"], texts["labels"], column], schema=kind))
                told(i + 1)

    def _texts(self, i: int) -> dict[str, list[str]]:
        return json.loads(self._json(i).read_text())

    def _vectors(self, i: int) -> Path:
        return self.folder / f"{i:08d}.npy"

    def _json(self, i: int) -> Path:
        return self.folder / f"{i:08d}.json"


class _Seen(NamedTuple):
    vectors: int
    width: int
    longest: dict[str, int]
    faults: tuple[str, ...]


@contextmanager
def _array(path: Path, kind: str, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """A .npy file whose numbers are about to be written."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
        yield stream
