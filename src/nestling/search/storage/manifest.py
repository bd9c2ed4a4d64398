"""The manifest: the one file of an index that changes, always whole, naming everything else.

It is JSON with a checksum, read strictly: types, ranges, names and lengths are checked before a value is used, and a
folder whose manifest was changed on purpose, its checksum computed anew, opens to what it says or raises.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from nestling.errors import DataError, IndexVersionError, NestingError
from nestling.files import write_file
from nestling.nesting import Nesting
from nestling.search.exact import Metric
from nestling.search.storage import fields
from nestling.search.storage.blocks import FileEntry, damaged

MANIFEST = "manifest.json"
PARTS = "parts"
FORMAT = 1
NEEDS = "0.1.0"  # the first Nestling that reads this format
MAX_ROWS = (1 << 32) - 1  # of a segment: rows are numbered in uint32
MAX_DIMS = 1 << 20
_ANY = (1 << 63) - 1
_NAME = r"[0-9a-f]{16}"
FILE = _NAME + r"\.[a-z0-9][a-z0-9-]{0,99}"
_DERIVED = r"[a-z][a-z0-9@,.-]{0,99}"
_DTYPES, _IDS = r"float16|float32", r"int64|string"


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """The rows of one `add`, or of a merge.

    Attributes:
        name: 16 hex digits.
        rows: how many, dead ones too.
        rows_file: rings, norms, ids and their lookup.
        dead: the bitmap of deleted rows; None as long as none is.
        dead_count: how many those are.
        text_bytes: UTF-8 bytes of all string ids; 0 for int64.
        derived: derived part → its file.
    """

    name: str
    rows: int
    rows_file: FileEntry
    dead: FileEntry | None = None
    dead_count: int = 0
    text_bytes: int = 0
    derived: dict[str, FileEntry] = field(default_factory=dict[str, FileEntry])

    @property
    def live(self) -> int:
        """Rows that are not deleted."""
        return self.rows - self.dead_count

    @property
    def files(self) -> list[FileEntry]:
        """Every file of the segment."""
        return [self.rows_file, *([self.dead] if self.dead else []), *self.derived.values()]

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON."""
        return {
            "name": self.name,
            "rows": self.rows,
            "rows_file": self.rows_file.to_json(),
            "dead": self.dead and self.dead.to_json(),
            "dead_count": self.dead_count,
            "text_bytes": self.text_bytes,
            "derived": {name: entry.to_json() for name, entry in self.derived.items()},
        }


@dataclass(frozen=True, slots=True)
class PartitionEntry:
    """The coarse partition of an index: its cells over a prefix.

    Attributes:
        name, kind: what made it.
        cells: how many.
        dims: the prefix that it looks at.
        file: its arrays.
    """

    name: str
    kind: str
    cells: int
    dims: int
    file: FileEntry

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "cells": self.cells,
            "dims": self.dims,
            "file": self.file.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that an index knows about itself.

    Attributes:
        dims: of the nesting.
        metric: "cosine", "ip" or "l2".
        dtype: of the stored rings, "float16" or "float32".
        ids: "int64" or "string"; None until the first `add` decides.
        next_id: the id that `add` without ids gives out next; never one that was used.
        generation: grows by one with each change.
        segments: in the order of insertion.
        derived: names of what every segment has beside its rows, in the order in which they are made.
        partition: None, or the cells.
        plan: the text of the plan that searches use when none is given.
        tuned: what tuning measured.
        needs: the oldest Nestling that reads it.
    """

    dims: tuple[int, ...]
    metric: Metric
    dtype: str
    ids: str | None = None
    next_id: int = 0
    generation: int = 0
    segments: tuple[SegmentEntry, ...] = ()
    derived: tuple[str, ...] = ()
    partition: PartitionEntry | None = None
    plan: str | None = None
    tuned: dict[str, Any] | None = None
    needs: str = NEEDS

    @property
    def nesting(self) -> Nesting:
        """The stored dims as a nesting."""
        return Nesting(self.dims)

    @property
    def stored(self) -> np.dtype[Any]:
        """The dtype of the rings."""
        return np.dtype(self.dtype)

    @property
    def files(self) -> list[FileEntry]:
        """Every file that the index consists of."""
        own = [self.partition.file] if self.partition else []
        return [*own, *(entry for segment in self.segments for entry in segment.files)]

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON."""
        return {
            "format": FORMAT,
            "needs": self.needs,
            "generation": self.generation,
            "dims": list(self.dims),
            "metric": self.metric,
            "dtype": self.dtype,
            "ids": self.ids,
            "next_id": self.next_id,
            "segments": [segment.to_json() for segment in self.segments],
            "derived": list(self.derived),
            "partition": self.partition and self.partition.to_json(),
            "plan": self.plan,
            "tuned": self.tuned,
        }


class Stamp(NamedTuple):
    """Which manifest.json it is: replaced files differ in it."""

    device: int
    inode: int
    size: int
    time: int


def stamp(folder: Path) -> Stamp:
    """The stamp of the manifest that is there now.

    Raises:
        CorruptIndexError: there is none.
        DataError: the system refuses.
    """
    try:
        return _stamp((folder / MANIFEST).stat())
    except OSError as error:
        raise _refused(folder / MANIFEST, error) from error


def load(folder: Path) -> tuple[Manifest, Stamp]:
    """Read the manifest of an index, believing none of it.

    Raises:
        CorruptIndexError: it is missing or damaged.
        IndexVersionError: a newer Nestling wrote it.
        DataError: the system refuses.
    """
    path = folder / MANIFEST
    data, when = _read(path)
    try:
        return _manifest(fields.parsed(data), path), when
    except (fields.Wrong, NestingError) as error:
        raise damaged(path, str(error).rstrip(".")) from error


def save(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest: after this returns the new one is on the disk, before it the old one.

    Raises:
        DataError: the disk refuses.
    """
    write_file(folder / MANIFEST, fields.render(manifest.to_json()))


def _read(path: Path) -> tuple[bytes, Stamp]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise damaged(path, "it is not a file")
            with os.fdopen(handle, "rb", closefd=False) as stream:
                return stream.read(), _stamp(status)
        finally:
            os.close(handle)
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return damaged(path, "it is missing")
    return DataError(f"{path} cannot be opened: {error.strerror}. Check its permissions and the limits of the system.")


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


# --- from JSON ---------------------------------------------------------------------------------------------


def _manifest(data: dict[str, Any], path: Path) -> Manifest:
    version = fields.whole(data.get("format"), "format", 1, _ANY)
    if version > FORMAT:
        needs = data.get("needs")
        wanted = f"nestling>={needs}" if isinstance(needs, str) and len(needs) < 40 else "a newer nestling"
        raise IndexVersionError(
            f"{path} has the format {version}, and this version reads up to {FORMAT}. Install {wanted}."
        )
    empty = Manifest((1,), "cosine", "float16").to_json()
    fields.record(data, "the manifest", [*empty, fields.CHECKSUM])
    names = fields.items(data["derived"], "derived")
    manifest = Manifest(
        dims=tuple(fields.whole(m, "a dim", 1, MAX_DIMS) for m in fields.items(data["dims"], "dims")),
        metric=fields.text(data["metric"], "metric", "|".join(get_args(Metric))),  # pyright: ignore[reportArgumentType]
        dtype=fields.text(data["dtype"], "dtype", _DTYPES),
        ids=None if data["ids"] is None else fields.text(data["ids"], "ids", _IDS),
        next_id=fields.whole(data["next_id"], "next_id", 0, _ANY + 1),
        generation=fields.whole(data["generation"], "generation", 0, _ANY),
        segments=tuple(_segment(segment) for segment in fields.items(data["segments"], "segments")),
        derived=tuple(fields.text(name, "a derived part", _DERIVED) for name in names),
        partition=None if data["partition"] is None else _partition(data["partition"]),
        plan=None if data["plan"] is None else fields.text(data["plan"], "plan", "(?s).{0,10000}"),
        tuned=None if data["tuned"] is None else fields.mapping(data["tuned"], "tuned"),
        needs=fields.text(data["needs"], "needs", "[0-9A-Za-z.+-]{1,39}"),
    )
    _check_whole(manifest)
    return manifest


def _check_whole(manifest: Manifest) -> None:
    """What no single field shows."""
    nesting = manifest.nesting  # raises for dims that make none
    fields.distinct(manifest.derived, "the derived parts")
    fields.distinct([segment.name for segment in manifest.segments], "the names of the segments")
    fields.distinct([entry.file for entry in manifest.files], "the names of the files")
    if manifest.segments and manifest.ids is None:
        raise fields.Wrong("there are segments, but ids is null")
    if manifest.partition and manifest.partition.dims > nesting.width:
        raise fields.Wrong(f"the partition looks at {manifest.partition.dims} dims")
    for segment in manifest.segments:
        if list(segment.derived) != sorted(manifest.derived):  # JSON keys are written sorted
            raise fields.Wrong(f"segment {segment.name} has other derived parts than the index")
        if segment.text_bytes and manifest.ids != "string":
            raise fields.Wrong(f"segment {segment.name} has text_bytes without string ids")


def _segment(value: object) -> SegmentEntry:
    keys = ("name", "rows", "rows_file", "dead", "dead_count", "text_bytes", "derived")
    data = fields.record(value, "a segment", keys)
    rows = fields.whole(data["rows"], "rows", 1, MAX_ROWS)
    dead = None if data["dead"] is None else _file(data["dead"])
    derived = fields.mapping(data["derived"], "derived")
    return SegmentEntry(
        name=fields.text(data["name"], "the name of a segment", _NAME),
        rows=rows,
        rows_file=_file(data["rows_file"]),
        dead=dead,
        dead_count=fields.whole(data["dead_count"], "dead_count", 1 if dead else 0, rows - 1 if dead else 0),
        text_bytes=fields.whole(data["text_bytes"], "text_bytes", 0, _ANY),
        derived={fields.text(name, "a derived part", _DERIVED): _file(entry) for name, entry in derived.items()},
    )


def _partition(value: object) -> PartitionEntry:
    data = fields.record(value, "the partition", ("name", "kind", "cells", "dims", "file"))
    return PartitionEntry(
        name=fields.text(data["name"], "the name of the partition", _DERIVED),
        kind=fields.text(data["kind"], "the kind of the partition", _DERIVED),
        cells=fields.whole(data["cells"], "cells", 1, MAX_ROWS),
        dims=fields.whole(data["dims"], "the partition's dims", 1, MAX_DIMS),
        file=_file(data["file"]),
    )


def _file(value: object) -> FileEntry:
    data = fields.record(value, "a file", ("file", "bytes", "hashes"))
    hashes = fields.mapping(data["hashes"], "hashes")
    return FileEntry(
        file=fields.text(data["file"], "the name of a file", FILE),
        bytes=fields.whole(data["bytes"], "bytes", 0, _ANY),
        hashes={str(name): fields.text(digest, "a hash", _NAME) for name, digest in hashes.items()},
    )
