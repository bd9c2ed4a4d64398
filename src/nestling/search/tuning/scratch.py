"""Engines over derived parts that no manifest names: computed, tried and forgotten, whatever happens meanwhile.

Large parts lie in files without a name in the folder of the index, so that they are pages the system may drop, as those
of real parts are, and vanish with the last reference or with the process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from nestling.errors import DataError
from nestling.nesting import Nesting
from nestling.search.derived import CELLS, Copies, Sketch, parse
from nestling.search.engine import Engine
from nestling.search.storage.blocks import Arrays, Section
from nestling.search.storage.derived import Derived
from nestling.search.storage.ids import WholeColumn
from nestling.search.storage.segment import Segment
from nestling.search.storage.snapshot import Snapshot

_IN_MEMORY = 1 << 24
_PAGE = 4096


@dataclass(frozen=True, eq=False)
class Gallery:
    """The rows of a snapshot by the numbers that an `Engine` gives them: all segments, dead rows counted."""

    snapshot: Snapshot

    @cached_property
    def segments(self) -> list[Segment]:
        """Those with rows, as in an engine."""
        return [segment for segment in self.snapshot.segments if segment.rows]

    @cached_property
    def starts(self) -> Int64[np.ndarray, " segments_and_1"]:
        """The first number of each segment, and at last how many there are."""
        return np.cumsum([0, *(segment.rows for segment in self.segments)], dtype=np.int64)

    @cached_property
    def live(self) -> Int64[np.ndarray, " n"]:
        """The rows that can be found, in the order of `Index.ids`."""
        found = [segment.live_rows + start for segment, start in zip(self.segments, self.starts, strict=False)]
        return np.concatenate([np.empty(0, np.int64), *found])

    @property
    def width(self) -> int:
        """d."""
        return self.snapshot.nesting.width

    def values(self, rows: Int64[np.ndarray, " b"], m: int | None = None) -> Float32[np.ndarray, "b m"]:
        """The stored prefixes of some rows."""
        m = self.width if m is None else m
        found = np.empty((len(rows), m), np.float32)
        at = np.searchsorted(self.starts, rows, side="right") - 1
        for place, segment in enumerate(self.segments):
            here = at == place
            found[here] = segment.values(rows[here] - self.starts[place], m)
        return found

    def spread(self, values: np.ndarray, empty: int) -> np.ndarray:
        """Values of the live rows (n,) by row number; `empty` for dead rows."""
        found = np.full(int(self.starts[-1]), empty, values.dtype)
        found[self.live] = values
        return found


def engine_with(snapshot: Snapshot, names: Iterable[str], *, keep: Collection[str] = ()) -> Engine:
    """An engine with the cells of a snapshot and these derived parts, computed where the snapshot has them not.

    Args:
        names: of sketches and at most one copy.
        keep: parts of the snapshot that the engine shall have too.

    Raises:
        DataError: the disk has no room.
    """
    wanted = [name for name in snapshot.derived if name == CELLS or name in keep]
    wanted += [name for name in names if name not in wanted]
    derived = {name: snapshot.derived.get(name) or _parsed(snapshot, name) for name in wanted}
    bare = {segment.name: replace(segment, parts=_kept(segment, derived), cache={}) for segment in snapshot.segments}
    first: Segment | None = None
    for segment in sorted(bare.values(), key=lambda segment: -segment.rows):
        for name, part in derived.items():
            if name not in segment.parts:
                segment.parts[name] = _computed(part, segment, first and first.parts[name])
        first = first or segment
    engine = Engine(replace(snapshot, segments=tuple(bare.values()), derived=derived, cache={}))
    for segment in bare.values():  # the kernels have copied the sketches
        for name in [name for name, part in derived.items() if isinstance(part, Sketch)]:
            del segment.parts[name]
    return engine


def warmed(engine: Engine) -> None:
    """Read a byte of every page that reranks may touch, if half of the memory holds them: a first touch costs more
    than the distance that it serves."""
    arrays = [ring for segment in engine.segments for ring in segment.rings]
    arrays += [array for segment in engine.segments for part in segment.parts.values() for array in part.values()]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 33
    if sum(array.nbytes for array in arrays) <= memory // 2:
        for array in arrays:
            array.reshape(-1).view(np.uint8)[::_PAGE].max(initial=0)


def sample_of(gallery: Gallery, rows: Int64[np.ndarray, " s"], widest: int) -> Snapshot:
    """Some rows, without cells, as an index of its own: their prefixes up to the first stored one ≥ widest."""
    old = gallery.snapshot
    nesting = old.nesting.up_to(next(m for m in old.nesting if m >= widest))
    at = np.searchsorted(gallery.starts, rows, side="right") - 1
    taken = [(segment, rows[at == i] - gallery.starts[i]) for i, segment in enumerate(gallery.segments)]
    width = len(nesting)
    numbers = np.arange(len(rows), dtype=np.int64)
    column = WholeColumn(numbers, numbers.view(np.uint64), numbers.astype(np.uint32))
    entry = replace(gallery.segments[0].entry, rows=len(rows), dead=None, dead_count=0, text_bytes=0, derived={})
    segment = Segment(
        entry=entry,
        folder=old.folder,
        nesting=nesting,
        rings=[np.concatenate([s.rings[ring][some] for s, some in taken]) for ring in range(width)],
        norms=[np.concatenate([s.norms[ring][some] for s, some in taken]) for ring in range(width)],
        ids=column,
        dead_bits=None,
        parts={},
    )
    manifest = replace(
        old.manifest, dims=nesting.dims, ids="int64", segments=(entry,), derived=(), partition=None, plan=None
    )
    return replace(
        old, manifest=manifest, nesting=nesting, segments=(segment,), partition=None, derived={}, blocks={}, cache={}
    )


def sketch_name(m: int, bits: int) -> str:
    """The derived part behind the first stage ``m@bits``."""
    return f"sketch-{m}@{bits}"


def copy_name(stops: Iterable[int], nesting: Nesting) -> str:
    """The derived part behind later stages ``m@8``."""
    return Copies(tuple(sorted(stops)), nesting=nesting).name


def _parsed(snapshot: Snapshot, name: str) -> Derived:
    manifest = snapshot.manifest
    return parse(name, nesting=manifest.nesting, metric=manifest.metric, partition=snapshot.partition)


def _kept(segment: Segment, derived: Mapping[str, Derived]) -> dict[str, Arrays]:
    return {name: arrays for name, arrays in segment.parts.items() if name in derived}


def _computed(part: Derived, segment: Segment, like: Mapping[str, np.ndarray] | None) -> Arrays:
    sections = {section.name: section for section in part.sections(segment.rows)}
    arrays = {name: _room(section, segment.folder) for name, section in sections.items()}
    filled = dict.fromkeys(sections, 0)
    for name, chunk in part.chunks(segment, like):
        flat = np.ascontiguousarray(chunk, sections[name].dtype).reshape(-1)
        arrays[name].reshape(-1)[filled[name] : filled[name] + len(flat)] = flat
        filled[name] += len(flat)
    return arrays


def _room(section: Section, folder: Path) -> np.ndarray:
    if section.bytes < _IN_MEMORY:
        return np.empty(section.shape, section.dtype)
    for place in (folder, None):  # an index that may only be read has its scratch files elsewhere
        try:
            with tempfile.TemporaryFile(dir=place) as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, section.bytes)  # a hole would end in SIGBUS on a full disk
                return np.memmap(file, section.dtype, "r+" if file.seek(0, os.SEEK_END) else "w+", 0, section.shape)
        except OSError as error:
            problem = error
    raise DataError(f"There is no room for {section.bytes:,} bytes of scratch files ({problem}). Free some space.")
