"""Derived data as simple as can be, and vectors that tell what they should be: for tests of the storage alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.search.storage import parts, writer
from nestling.search.storage.blocks import Section
from nestling.search.storage.derived import Derived, Partition
from nestling.search.storage.segment import Segment
from nestling.search.storage.snapshot import Snapshot, open_snapshot

NESTING = Nesting((4, 8, 16))


@dataclass(frozen=True)
class Rounded:
    """``"toy-8"``: the first 8 dims around their mean, one byte each; the mean is what is fitted."""

    m: int
    resident = True
    partitioned = False

    @property
    def name(self) -> str:
        return f"toy-{self.m}"

    def sections(self, rows: int) -> list[Section]:
        mean, codes = (self.m,), (rows, self.m)
        return [Section("mean", np.dtype(np.float32), mean), Section("codes", np.dtype(np.int8), codes)]

    def chunks(self, segment: Segment, like: Mapping[str, np.ndarray] | None) -> Iterator[tuple[str, np.ndarray]]:
        x = segment.values(slice(None), self.m)
        mean = x.mean(axis=0, dtype=np.float32) if like is None else np.array(like["mean"])
        yield "mean", mean
        for start in range(0, len(x), 100):
            yield "codes", np.clip(x[start : start + 100] - mean, -100, 100).astype(np.int8)


@dataclass(frozen=True)
class Cells:
    """``"cells"``: the cell of each row, the first dim's sign against each centroid."""

    partition: Partition
    name = "cells"
    resident = False
    partitioned = True

    def sections(self, rows: int) -> list[Section]:
        return [Section("cell", np.dtype(np.uint32), (rows,))]

    def chunks(self, segment: Segment, like: Mapping[str, np.ndarray] | None) -> Iterator[tuple[str, np.ndarray]]:
        first = segment.values(slice(None), 4)[:, 0]
        border = self.partition.arrays["borders"]
        yield "cell", np.searchsorted(border, first).astype(np.uint32)


def parse(name: str, *, nesting: Nesting, metric: str, partition: Partition | None) -> Derived:
    if name == "cells" and partition is not None:
        return Cells(partition)
    kind, _, m = name.partition("-")
    if kind == "toy" and m.isdigit() and int(m) in nesting.dims:
        return Rounded(int(m))
    raise InputError.of("a derived part", "a toy", repr(name))


def partition_sections(kind: str, *, cells: int, dims: int) -> list[Section]:
    if kind != "borders":
        raise InputError.of("a partition", "of borders", repr(kind))
    return [Section("borders", np.dtype(np.float32), (cells - 1,))]


class Toys:
    """The registry of these."""

    parse = staticmethod(parse)
    partition_sections = staticmethod(partition_sections)


TOYS = Toys()


def borders(*values: float) -> parts.NewPartition:
    return parts.NewPartition("by-borders", "borders", len(values) + 1, 4, {"borders": np.array(values, np.float32)})


def created(folder: Path, *, ids: str | None = None, dtype: str = "float32", nesting: Nesting = NESTING) -> Snapshot:
    writer.create(folder, nesting, "ip", dtype, ids)
    return open_snapshot(folder, TOYS)


def opened(folder: Path, *, verify: bool = False) -> Snapshot:
    return open_snapshot(folder, TOYS, verify=verify)


def vectors(ids: list[int] | np.ndarray, version: int | list[int] | np.ndarray) -> np.ndarray:
    """(n, 16) float32 of which every number follows from the id and the version: half a vector shows."""
    first, second = np.broadcast_arrays(np.asarray(ids, np.float32), np.asarray(version, np.float32))
    columns = [first, second, *((first * (3 + j) + second * (7 + j)) % 97 for j in range(14))]
    return np.stack(columns, axis=1).astype(np.float32).reshape(len(ids), 16)


def contents(snapshot: Snapshot) -> dict[int | str, int]:
    """Id → version, in the order of insertion, after checking every number of every vector and derived part."""
    found: dict[int | str, int] = {}
    for segment in snapshot.segments:
        values = segment.values(slice(None))
        assert np.array_equal(values, vectors(values[:, 0], values[:, 1]))
        squares = np.cumsum(values * values, axis=1)[:, [m - 1 for m in snapshot.nesting]]
        assert np.allclose(np.stack(segment.norms, axis=1), squares, rtol=1e-5)
        _check_parts(snapshot, segment, values)
        live = segment.live_rows
        for name, version in zip(segment.ids.at(live).tolist(), values[live, 1].astype(int).tolist(), strict=True):
            assert name not in found
            found[name] = version
        numbers = [int(str(name)) for name in segment.ids.at(live).tolist()]
        assert numbers == values[live, 0].astype(int).tolist()
    return found


def _check_parts(snapshot: Snapshot, segment: Segment, values: np.ndarray) -> None:
    assert list(segment.parts) == list(snapshot.manifest.derived)
    for name, arrays in segment.parts.items():
        if name == "cells" and snapshot.partition is not None and snapshot.partition.entry.kind == "borders":
            assert np.array_equal(arrays["cell"], np.searchsorted(snapshot.partition.arrays["borders"], values[:, 0]))
        elif name.startswith("toy"):
            m = int(name.partition("-")[2])
            assert np.array_equal(arrays["codes"], np.clip(values[:, :m] - arrays["mean"], -100, 100).astype(np.int8))


def leftovers(folder: Path) -> set[str]:
    """Files in an index's folder that its manifest does not name."""
    named = {entry.file for entry in opened(folder).manifest.files} | {"manifest.json", "lock", "parts"}
    return {path.name for path in (*folder.iterdir(), *(folder / "parts").iterdir())} - named
