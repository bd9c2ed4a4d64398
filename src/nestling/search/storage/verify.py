"""What checksums cannot say: whether the parts of an index agree with one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nestling.search.storage.blocks import damaged
from nestling.search.storage.ids import TextColumn, ascending, texts
from nestling.search.storage.manifest import Manifest
from nestling.search.storage.segment import Segment


def check(manifest: Manifest, segments: Sequence[Segment], path: Path) -> None:
    """Raise unless every row is found by its id, once, and no live id occurs twice.

    Args:
        manifest: of the index.
        segments: all of them.
        path: of the manifest, for messages.

    Raises:
        CorruptIndexError: naming the file and the section.
    """
    for segment in segments:
        _ = segment.dead  # counts them
        problem = _texts(segment, segment.ids) if isinstance(segment.ids, TextColumn) else _whole(segment)
        if problem:
            raise damaged(segment.folder / segment.entry.rows_file.file, problem)
    _check_distinct(manifest, segments, path)


def _whole(segment: Segment) -> str | None:
    column = segment.ids
    assert not isinstance(column, TextColumn)
    if (column.values < 0).any():
        return "its section ids holds negative numbers"
    return _lookup(segment, column.values.view(np.uint64), strictly=True)


def _texts(segment: Segment, column: TextColumn) -> str | None:
    offsets = column.offsets
    if offsets[0] != 0 or offsets[-1] != len(column.text) or (offsets[1:] < offsets[:-1]).any():
        return "its section id_offsets does not cut id_text into texts"
    return _lookup(segment, texts(column.at(np.arange(segment.rows)).tolist()).keys, strictly=False)


def _lookup(segment: Segment, keys: np.ndarray, *, strictly: bool) -> str | None:
    """Whether `keys` and `key_rows` are the sorted keys of the rows, each row once."""
    column = segment.ids
    if not (ascending(column.keys) or (not strictly and (column.keys[1:] >= column.keys[:-1]).all())):
        return "its section keys is not sorted"
    seen = np.zeros(segment.rows, bool)
    seen[column.key_rows[column.key_rows < segment.rows]] = True
    if not seen.all() or (keys[column.key_rows] != column.keys).any():
        return "its sections keys and key_rows do not lead to its ids"
    return None


def _check_distinct(manifest: Manifest, segments: Sequence[Segment], path: Path) -> None:
    seen = [segment.live_ids() for segment in segments]
    live = np.concatenate(seen) if seen else np.empty(0, np.int64)
    texts = live.dtype == object
    if (len(set(live.tolist())) if texts else len(np.unique(live))) != len(live):
        raise damaged(path, "an id occurs twice")
    if not texts and len(live) and int(live.max()) >= manifest.next_id:
        raise damaged(path, "next_id was given out already")
