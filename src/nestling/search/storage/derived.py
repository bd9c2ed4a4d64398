"""What storage knows of derived data: arrays computed from the stored rows, one file for each part and segment.

`nestling.search.derived` makes them (sketches, int8 copies, cells); storage writes, maps and removes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.search.storage.blocks import Arrays, Section
from nestling.search.storage.manifest import PartitionEntry
from nestling.search.storage.segment import Segment


@dataclass(frozen=True, eq=False)
class Partition:
    """An opened partition: its entry in the manifest and its arrays."""

    entry: PartitionEntry
    arrays: Arrays

    @property
    def cells(self) -> int:
        """How many cells."""
        return self.entry.cells

    @property
    def dims(self) -> int:
        """The prefix that the partition looks at."""
        return self.entry.dims


@runtime_checkable
class Derived(Protocol):
    """One kind of derived data, e.g. the sketch of 16 dims at 8 bits."""

    @property
    def name(self) -> str:
        """``"sketch-16@8"``: the key in the manifest, read back by `Registry.parse`."""
        ...

    @property
    def resident(self) -> bool:
        """Whether searches read all of it, so that it must stay in memory."""
        ...

    @property
    def partitioned(self) -> bool:
        """Whether it depends on the partition, so that a new one makes it anew."""
        ...

    def sections(self, rows: int) -> list[Section]:
        """The arrays of a segment of so many rows; nothing else may decide their sizes."""
        ...

    def chunks(self, segment: Segment, like: Mapping[str, np.ndarray] | None) -> Iterator[tuple[str, np.ndarray]]:
        """Compute them, in pieces (see `Batch.write`).

        Args:
            segment: the rows; its `parts` hold the derived parts that stand before this one in the manifest.
            like: the same part of another segment, whose fitted parameters are used again; None to fit on this one.
        """
        ...


@runtime_checkable
class Registry(Protocol):
    """Reads the names of derived parts; the module `nestling.search.derived` is one."""

    def parse(self, name: str, *, nesting: Nesting, metric: str, partition: Partition | None) -> Derived:
        """The derived data of that name.

        Raises:
            NestlingError: the name is unknown, does not fit the nesting, or needs a partition and there is none.
        """
        ...

    def partition_sections(self, kind: str, *, cells: int, dims: int) -> list[Section]:
        """The arrays of a partition's file.

        Raises:
            NestlingError: the kind is unknown.
        """
        ...


class NoDerived:
    """Knows no derived part."""

    def parse(self, name: str, *, nesting: Nesting, metric: str, partition: Partition | None) -> Derived:
        """Raise `InputError`."""
        del nesting, metric, partition
        raise InputError.of("a derived part", "known", repr(name))

    def partition_sections(self, kind: str, *, cells: int, dims: int) -> list[Section]:
        """Raise `InputError`."""
        del cells, dims
        raise InputError.of("a partition", "known", repr(kind))
