"""An opened index: one manifest and the segments that it names, mapped. It stays as it is whatever writers do."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from nestling.errors import InputError, NestlingError
from nestling.nesting import Nesting
from nestling.search.storage.blocks import Arrays, FileEntry, Section, damaged, open_blocks
from nestling.search.storage.derived import Derived, Partition, Registry
from nestling.search.storage.ids import Ids, normalised
from nestling.search.storage.manifest import MANIFEST, PARTS, Manifest, SegmentEntry, Stamp, load, stamp
from nestling.search.storage.segment import Segment, assembled, dead_sections, row_sections
from nestling.search.storage.verify import check

Blocks = dict[str, tuple[FileEntry, Arrays]]
_TRIES = 100  # a reader loses a race against a writer only now and then


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One state of an index.

    Attributes:
        folder: of the index.
        manifest: what it consists of.
        stamp: which manifest.json that was.
        nesting: the stored dims.
        segments: in the order of insertion.
        partition: the cells, or None.
        derived: name → derived part, in the manifest's order.
        blocks: file → its entry and its mapped arrays, for the next snapshot to take over.
        cache: what the engine makes once for a snapshot and wants to find again.
    """

    folder: Path
    manifest: Manifest
    stamp: Stamp
    nesting: Nesting
    segments: tuple[Segment, ...]
    partition: Partition | None
    derived: dict[str, Derived]
    blocks: Blocks
    cache: dict[str, Any] = field(default_factory=dict[str, Any])

    def __len__(self) -> int:
        """Live vectors."""
        return sum(segment.live for segment in self.segments)

    @cached_property
    def starts(self) -> Int64[np.ndarray, " segments_and_1"]:
        """How many live vectors stand before each segment, and at last all of them."""
        return np.cumsum([0, *(segment.live for segment in self.segments)], dtype=np.int64)

    @cached_property
    def named(self) -> dict[str, Segment]:
        """The segments by their names."""
        return {segment.name: segment for segment in self.segments}

    def ids(self) -> np.ndarray:
        """(live,) ids in the order of insertion: int64, or str objects."""
        nothing = np.empty(0, object if self.manifest.ids == "string" else np.int64)
        return np.concatenate([nothing, *(segment.live_ids() for segment in self.segments)])

    def locate(self, ids: Any) -> tuple[Int64[np.ndarray, " b"], Int64[np.ndarray, " b"]]:
        """The segment (its place in `segments`) and the row of each id; −1 and −1 where no live row has it.

        Raises:
            InputError, ShapeError: these are no ids of the index's kind.
        """
        return self.find(normalised(ids, self.manifest.ids))

    def find(self, wanted: Ids) -> tuple[Int64[np.ndarray, " b"], Int64[np.ndarray, " b"]]:
        """The same for ids that are checked already."""
        places, rows = np.full(len(wanted), -1, np.int64), np.full(len(wanted), -1, np.int64)
        for place, segment in enumerate(self.segments):
            found = segment.ids.find(wanted)  # pyright: ignore[reportArgumentType]
            here = found >= 0
            if segment.dead is not None:
                here &= ~segment.dead[np.where(here, found, 0)]
            places[here], rows[here] = place, found[here]
        return places, rows

    def allowed(self, among: Any) -> list[Bool[np.ndarray, " n"]]:
        """Which rows of each segment a search may find, deleted rows never.

        Args:
            among: ids; or a mask (live,) of bool in the order of `ids()`.

        Raises:
            InputError, ShapeError: neither, or an id that is not in the index.
        """
        if getattr(among, "dtype", None) == np.dtype(bool):
            return self._masked(np.asarray(among))
        places, rows = self.locate(among)
        if (places < 0).any():
            wrong = int(np.argmin(places))
            raise InputError.of("among", "ids of the index", normalised(among, self.manifest.ids).name(wrong))
        masks = [np.zeros(segment.rows, bool) for segment in self.segments]
        for place, mask in enumerate(masks):
            mask[rows[places == place]] = True
        return masks

    def _masked(self, mask: np.ndarray) -> list[Bool[np.ndarray, " n"]]:
        if mask.shape != (len(self),):
            raise InputError.of("among", f"one bool for each of {len(self)} vectors", f"shape {mask.shape}")
        masks: list[np.ndarray] = []
        for segment, start, stop in zip(self.segments, self.starts, self.starts[1:], strict=False):
            if segment.dead is None:
                masks.append(mask[start:stop])
            else:
                masks.append(~segment.dead)
                masks[-1][masks[-1]] = mask[start:stop]
        return masks


@dataclass(frozen=True, eq=False)
class _Opener:
    """Opens the files of one manifest, taking over what an older snapshot has mapped."""

    folder: Path
    manifest: Manifest
    registry: Registry
    verify: bool
    old: Snapshot | None
    blocks: Blocks = field(default_factory=dict[str, tuple[FileEntry, Arrays]])

    def arrays(self, entry: FileEntry, sections: Sequence[Section]) -> Arrays:
        known = self.old.blocks.get(entry.file) if self.old and not self.verify else None
        if known is None or known[0] != entry:
            known = (entry, open_blocks(self.folder / PARTS, entry, sections, verify=self.verify))
        self.blocks[entry.file] = known
        return known[1]

    def partition(self) -> Partition | None:
        entry = self.manifest.partition
        if entry is None:
            return None
        with self._believed(f"its partition {entry.kind}"):
            sections = self.registry.partition_sections(entry.kind, cells=entry.cells, dims=entry.dims)
        return Partition(entry, self.arrays(entry.file, sections))

    def derived(self, partition: Partition | None) -> dict[str, Derived]:
        found: dict[str, Derived] = {}
        for name in self.manifest.derived:
            with self._believed(f"its derived part {name}"):
                found[name] = parsed(self.registry, self.manifest, name, partition)
        return found

    def segment(self, entry: SegmentEntry, derived: dict[str, Derived]) -> Segment:
        kind = self.manifest.ids or "int64"
        rows = self.arrays(entry.rows_file, row_sections(self.manifest, kind, entry.rows, entry.text_bytes))
        dead = None if entry.dead is None else self.arrays(entry.dead, dead_sections(entry.rows))
        parts = {name: self.arrays(entry.derived[name], part.sections(entry.rows)) for name, part in derived.items()}
        same = self.old.named.get(entry.name) if self.old and not self.verify else None
        if same is not None and same.entry == entry:
            return same
        return assembled(self.folder / PARTS, self.manifest, entry, rows, dead, parts)

    @contextmanager
    def _believed(self, what: str) -> Generator[None, None, None]:
        try:
            yield
        except NestlingError as error:
            raise damaged(self.folder / MANIFEST, f"{what} is not known here ({error})") from error


def parsed(registry: Registry, manifest: Manifest, name: str, partition: Partition | None) -> Derived:
    """The derived part of a name, for an index."""
    return registry.parse(name, nesting=manifest.nesting, metric=manifest.metric, partition=partition)


def open_snapshot(folder: Path, registry: Registry, *, verify: bool = False, old: Snapshot | None = None) -> Snapshot:
    """Open the newest state of an index: a few system calls for each file, whatever its size.

    Args:
        folder: of the index.
        registry: reads the names of derived parts.
        verify: hash every file and check that its contents agree.
        old: an earlier snapshot, whose mapped files are taken over.

    Raises:
        CorruptIndexError: a file is missing or not what the manifest says.
        IndexVersionError: a newer Nestling wrote the index.
    """
    for _ in range(_TRIES):
        manifest, when = load(folder)
        try:
            snapshot = _opened(_Opener(folder, manifest, registry, verify, old), when)
        except FileNotFoundError as error:
            if stamp(folder) == when:  # no writer has replaced it: the file is lost
                raise damaged(Path(str(error.filename)), "it is missing") from error
        else:
            if verify:
                check(manifest, snapshot.segments, folder / MANIFEST)
            return snapshot
    raise damaged(folder / MANIFEST, "its files vanish faster than they can be opened")


def _opened(opener: _Opener, when: Stamp) -> Snapshot:
    partition = opener.partition()
    derived = opener.derived(partition)
    segments = tuple(opener.segment(entry, derived) for entry in opener.manifest.segments)
    manifest = opener.manifest
    return Snapshot(opener.folder, manifest, when, manifest.nesting, segments, partition, derived, opener.blocks)
