"""A segment: the rows of one `add` or merge, mapped and never changed; only its deleted rows grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from nestling.nesting import Nesting
from nestling.search.storage import ids as id_columns
from nestling.search.storage.blocks import Arrays, Section, damaged
from nestling.search.storage.ids import Column
from nestling.search.storage.manifest import Manifest, SegmentEntry


@dataclass(frozen=True, eq=False)
class Segment:
    """One opened segment.

    Attributes:
        entry: what the manifest says about it.
        folder: where its files lie.
        nesting: whose rings are stored.
        rings: K arrays (rows, r_k), float16 or float32.
        norms: K arrays (rows,) float32, the squared lengths of the stored prefixes.
        ids: the id of each row, and the row of an id.
        dead_bits: (⌈rows / 8⌉,) uint8, one bit for each deleted row, lowest first; None if none is.
        parts: derived part → its arrays.
        cache: what the engine makes once for a segment and wants to find again.
    """

    entry: SegmentEntry
    folder: Path
    nesting: Nesting
    rings: list[np.ndarray]
    norms: list[np.ndarray]
    ids: Column
    dead_bits: np.ndarray | None
    parts: dict[str, Arrays]
    cache: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        """16 hex digits."""
        return self.entry.name

    @property
    def rows(self) -> int:
        """How many, deleted ones too."""
        return self.entry.rows

    @property
    def live(self) -> int:
        """How many are not deleted."""
        return self.entry.live

    @cached_property
    def dead(self) -> Bool[np.ndarray, " n"] | None:
        """Which rows are deleted; None if none is.

        Raises:
            CorruptIndexError: not as many as the manifest says.
        """
        if self.dead_bits is None:
            return None
        dead = np.unpackbits(self.dead_bits, count=self.rows, bitorder="little").view(bool)
        if self.entry.dead is not None and np.count_nonzero(dead) != self.entry.dead_count:
            raise damaged(self.folder / self.entry.dead.file, "it marks other rows than the manifest counts")
        return dead

    @property
    def live_rows(self) -> Int64[np.ndarray, " live"]:
        """The rows that are not deleted, in order."""
        return np.arange(self.rows) if self.dead is None else np.flatnonzero(~self.dead)

    def live_ids(self) -> np.ndarray:
        """(live,) the ids of the live rows in order: int64, or str objects."""
        return self.ids.at(self.live_rows)

    def values(self, rows: slice | np.ndarray, m: int | None = None) -> Float32[np.ndarray, "b m"]:
        """The stored prefixes of some rows as float32, copied."""
        wanted = self.nesting if m is None else self.nesting.up_to(m)
        return np.concatenate([ring[rows] for ring in self.rings[: len(wanted)]], axis=1, dtype=np.float32)


def row_sections(manifest: Manifest, kind: str, rows: int, text_bytes: int) -> list[Section]:
    """The arrays of a segment's own file."""
    rings = [(ring.stop - ring.start) for ring in manifest.nesting.rings()]
    return [
        *(Section(f"ring{k}", manifest.stored, (rows, width)) for k, width in enumerate(rings)),
        *(Section(f"norm{k}", np.dtype(np.float32), (rows,)) for k in range(len(rings))),
        *id_columns.sections(kind, rows, text_bytes),
    ]


def dead_sections(rows: int) -> list[Section]:
    """The array of a file of deleted rows."""
    return [Section("dead", np.dtype(np.uint8), (-(-rows // 8),))]


def assembled(
    folder: Path, manifest: Manifest, entry: SegmentEntry, rows: Arrays, dead: Arrays | None, parts: dict[str, Arrays]
) -> Segment:
    """A segment from the arrays of its files."""
    nesting = manifest.nesting
    return Segment(
        entry=entry,
        folder=folder,
        nesting=nesting,
        rings=[rows[f"ring{k}"] for k in range(len(nesting))],
        norms=[rows[f"norm{k}"] for k in range(len(nesting))],
        ids=id_columns.column(manifest.ids or "int64", rows, folder / entry.rows_file.file),
        dead_bits=None if dead is None else dead["dead"],
        parts=parts,
    )


def largest(segments: Sequence[Segment]) -> Segment | None:
    """The segment of most rows, the first of equals."""
    return max(segments, key=lambda segment: segment.rows, default=None)
