"""What changes an index: each function takes any state of it, and gives the new one when it is on the disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nestling.errors import DataError, InputError, ShapeError
from nestling.files import sync_folder
from nestling.nesting import Nesting
from nestling.search.exact import Metric
from nestling.search.storage.batch import told
from nestling.search.storage.derived import Registry
from nestling.search.storage.drafts import SEGMENT_ROWS, Draft, buried, bytes_of, commit, folded
from nestling.search.storage.ids import Ids, NextIds, WholeIds, normalised
from nestling.search.storage.lock import LOCK, writing
from nestling.search.storage.manifest import MANIFEST, PARTS, Manifest, save
from nestling.search.storage.rows import NewRows, Rows, checked_vectors
from nestling.search.storage.snapshot import Snapshot
from nestling.search.storage.transaction import Progress, Transaction, changing, newest

_LAST_ID = (1 << 63) - 1


def create(folder: Path, nesting: Nesting, metric: Metric, dtype: str, ids: str | None) -> None:
    """Make an empty index in a folder that does not exist or is empty.

    Raises:
        DataError: there is something, or the folder cannot be written.
    """
    fresh = [path for path in (folder, *folder.parents) if not path.exists()]
    with told(folder):
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
    with writing(folder):
        # What a killed `create` left is no reason to refuse.
        half = (PARTS, LOCK, *(path.name for path in folder.glob(f".{MANIFEST}.*.unfinished")))
        strange = [path.name for path in folder.iterdir() if path.name not in half]
        if strange or any((folder / PARTS).iterdir()):
            what = "an index already" if MANIFEST in strange else "not empty"
            raise DataError(f"{folder} is {what}. Open it, or choose another folder.")
        save(folder, Manifest(nesting.dims, metric, dtype, ids))
        with told(folder):
            for path in fresh:
                sync_folder(path.parent)


def _text_bytes(rows: Sequence[Rows]) -> int:
    return sum(part.ids.text_bytes if isinstance(part, NewRows) else part.segment.entry.text_bytes for part in rows)


class _Meter:
    """Tells how much of a write is done, and how fast it goes."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.done, self.total, self.began = progress, 0, 0, time.monotonic()

    def start(self, change: Transaction, plan: Sequence[Draft | list[Rows]]) -> None:
        """What is to be written is known; a disk that is too small is told now."""
        new = [step for step in plan if not isinstance(step, Draft)]
        total = sum(bytes_of(change.manifest, change.derived, sum(map(len, step)), _text_bytes(step)) for step in new)
        free = shutil.disk_usage(change.start.folder).free
        if total > free:
            raise DataError(
                f"{change.start.folder} needs {total / 1e9:.1f} GB more and its disk has {free / 1e9:.1f} GB left. "
                "Choose another folder or free space."
            )
        self.total = total

    def wrote(self, count: int) -> None:
        """So many bytes more."""
        self.done += count
        if self.progress is not None:
            rate = self.done / max(time.monotonic() - self.began, 1e-9)
            self.progress(self.done, max(self.total, self.done), f"{rate / 1e6:.0f} MB/s")


def add(
    snapshot: Snapshot,
    registry: Registry,
    vectors: Any,
    ids: Any,
    *,
    upsert: bool = False,
    progress: Progress | None = None,
) -> Snapshot:
    """Append vectors; see `Index.add` and `Index.upsert`."""
    meter = _Meter(progress)
    with changing(snapshot, registry, meter.wrote) as change:
        given = checked_vectors(vectors, change.start.nesting)
        named = _named(ids, change.manifest, len(given))
        if len(given):
            drafts = _drafts(change.start, named, upsert)
            change.manifest = replace(change.manifest, ids=named.kind, next_id=_next_id(change.manifest, named))
            plan = _plan(change, drafts, given, named)
            meter.start(change, plan)
            commit(change, plan)
    return newest(change.start, registry)


def delete(snapshot: Snapshot, registry: Registry, ids: Any) -> tuple[Snapshot, int]:
    """Mark the rows of some ids as deleted; see `Index.delete`."""
    with changing(snapshot, registry) as change:
        before = len(change.start)
        drafts = buried(change.start.segments, *change.start.locate(ids))
        commit(change, drafts)
    return newest(change.start, registry), before - sum(draft.live for draft in drafts)


def compact(snapshot: Snapshot, registry: Registry, *, progress: Progress | None = None) -> Snapshot:
    """Write all live rows into as few segments as possible; see `Index.compact`."""
    meter = _Meter(progress)
    with changing(snapshot, registry, meter.wrote) as change:
        plan: list[Draft | list[Rows]] = []
        for group in _groups([Draft(segment, segment.dead) for segment in change.start.segments]):
            alone = len(group) == 1 and group[0].dead is None
            plan.append(group[0] if alone else [draft.rows for draft in group])
        meter.start(change, plan)
        commit(change, plan)
    return newest(change.start, registry)


def _groups(drafts: Sequence[Draft]) -> list[list[Draft]]:
    """Neighbours that fit into one segment."""
    groups: list[list[Draft]] = []
    rows = 0
    for draft in drafts:
        if not groups or rows + draft.live > SEGMENT_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append(draft)
        rows += draft.live
    return groups


def _named(ids: Any, manifest: Manifest, count: int) -> Ids | NextIds:
    """The ids of new vectors.

    Raises:
        InputError, ShapeError: they are no ids, not of the index's kind, not as many as vectors, or one occurs twice.
    """
    if ids is None:
        if manifest.ids == "string":
            raise InputError.of("ids", "given, since the ids of the index are texts", "None")
        if manifest.next_id + count > _LAST_ID:
            raise InputError.of("ids", "given, since the numbers after the largest are used up", "None")
        return NextIds(manifest.next_id, count)
    named = normalised(ids, manifest.ids)
    if len(named) != count:
        raise ShapeError.of("ids", f"one for each of {count} vectors", len(named))
    again = named.repeated()
    if again is not None:
        raise InputError.of("ids", "without repetition", f"{named.name(again)} twice", "Leave one of them out.")
    return named


def _drafts(start: Snapshot, named: Ids | NextIds, upsert: bool) -> list[Draft]:
    """The segments without the rows that the new vectors replace.

    Raises:
        InputError: there are such rows, and they are not to be replaced.
    """
    if isinstance(named, NextIds):
        return [Draft(segment, segment.dead) for segment in start.segments]
    places, rows = start.find(named)
    there = np.flatnonzero(places >= 0)
    if len(there) and not upsert:
        raise InputError.of(
            "ids", "new to the index", f"{named.name(int(there[0]))}, which it holds", "Use upsert to replace vectors."
        )
    return buried(start.segments, places, rows)


def _next_id(manifest: Manifest, named: Ids | NextIds) -> int:
    if isinstance(named, NextIds):
        return named.start + named.count
    return max(manifest.next_id, int(named.values.max()) + 1) if isinstance(named, WholeIds) else 0


def _plan(
    change: Transaction, drafts: Sequence[Draft], given: np.ndarray, named: Ids | NextIds
) -> list[Draft | list[Rows]]:
    """Segments that stay, then the new rows, with those of small segments before them or cut into several."""
    fold = folded([draft.live for draft in drafts], len(given))
    manifest = change.manifest
    fresh: list[Rows] = [
        NewRows(given[start:stop], named.part(start, stop), manifest.nesting, manifest.stored, start)
        for start in range(0, len(given), SEGMENT_ROWS)
        if (stop := start + SEGMENT_ROWS)
    ]
    kept, taken = list(drafts[: len(drafts) - fold]), [draft.rows for draft in drafts[len(drafts) - fold :]]
    return [*kept, *([[*taken, *fresh]] if taken else [[rows] for rows in fresh])]
