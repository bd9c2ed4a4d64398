"""What a change makes of the segments: rows that die, small segments that are folded into a new one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from secrets import token_hex

import numpy as np
from jaxtyping import Bool, Int64

from nestling.search.storage import ids as id_columns
from nestling.search.storage.blocks import FileEntry, layout, open_blocks
from nestling.search.storage.derived import Derived
from nestling.search.storage.ids import joined
from nestling.search.storage.manifest import Manifest, SegmentEntry
from nestling.search.storage.rows import OldRows, Rows
from nestling.search.storage.segment import Segment, assembled, dead_sections, largest, row_sections
from nestling.search.storage.transaction import Transaction

SEGMENT_ROWS = 1 << 25  # a larger `add` makes several segments: looking up ids takes 20 bytes of memory a row
TIERS = (1 << 10, 1 << 13, 1 << 16, 1 << 19)  # rows; segments of one tier are folded when they are more than FAN
FAN = 8
_OUTGROWN = 4  # a segment so many times larger than all before it fits its own sketches


@dataclass(frozen=True, eq=False)
class Draft:
    """A segment as a change would leave it.

    Attributes:
        segment: as it is.
        dead: its deleted rows after the change; None if none is.
        changed: whether those are other rows than before.
    """

    segment: Segment
    dead: Bool[np.ndarray, " n"] | None
    changed: bool = False

    @property
    def live(self) -> int:
        """Rows that are left."""
        return self.segment.rows - (0 if self.dead is None else int(np.count_nonzero(self.dead)))

    @property
    def rows(self) -> OldRows:
        """Those, to be written again."""
        return OldRows(self.segment, None if self.dead is None else np.flatnonzero(~self.dead))

    def kept(self, change: Transaction) -> SegmentEntry:
        """Its entry in the new manifest; writes the deleted rows if they changed."""
        if self.dead is None or not self.changed:
            return self.segment.entry
        bits = np.packbits(self.dead, bitorder="little")
        dead = change.batch.write("dead", dead_sections(self.segment.rows), [("dead", bits)])
        return replace(self.segment.entry, dead=dead, dead_count=self.segment.rows - self.live)


def buried(segments: Sequence[Segment], places: Int64[np.ndarray, " b"], rows: Int64[np.ndarray, " b"]) -> list[Draft]:
    """The segments without some rows (`Snapshot.locate`); those without any row left are gone."""
    drafts: list[Draft] = []
    for place, segment in enumerate(segments):
        dying = rows[places == place]
        dead = segment.dead
        if len(dying):
            dead = np.zeros(segment.rows, bool) if dead is None else dead.copy()
            dead[dying] = True
        drafts.append(Draft(segment, dead, len(dying) > 0))
    return [draft for draft in drafts if draft.live]


def folded(sizes: Sequence[int], rows: int) -> int:
    """How many of the last segments a new one takes in, so that no tier holds more than FAN of them.

    Only neighbours are folded: the order of insertion stays. A row is written at most FAN times in its tier, and once
    more for each tier that it climbs.

    Args:
        sizes: live rows of each segment.
        rows: of the new one.
    """
    count = 0
    while True:
        tier = bisect_left(TIERS, rows)
        if tier == len(TIERS):
            return count
        run = count
        while run < len(sizes) and bisect_left(TIERS, sizes[-1 - run]) <= tier:
            run += 1
        if run - count < FAN:
            return count
        rows += sum(sizes[len(sizes) - run : len(sizes) - count])
        count = run


def model(segments: Sequence[Segment], rows: int) -> Segment | None:
    """Whose fitted parameters a new segment of so many rows takes over; None to fit its own."""
    found = largest(segments)
    return found if found is not None and _OUTGROWN * found.rows >= rows else None


def bytes_of(manifest: Manifest, derived: dict[str, Derived], rows: int, text_bytes: int) -> int:
    """The size of a segment's files."""
    own = row_sections(manifest, manifest.ids or "int64", rows, text_bytes)
    return sum(layout(sections)[1] for sections in (own, *(part.sections(rows) for part in derived.values())))


def commit(change: Transaction, plan: Sequence[Draft | list[Rows]]) -> None:
    """Write what is new and put the segments of the new manifest together.

    Args:
        change: under way.
        plan: in the order of insertion, segments that stay and rows that become new ones.
    """
    segments = list(change.start.segments)  # whose fitted parameters there are
    entries: list[SegmentEntry] = []
    for step in plan:
        if isinstance(step, Draft):
            entries.append(step.kept(change))
        else:
            segments.append(written(change, step, model(segments, sum(map(len, step)))))
            entries.append(segments[-1].entry)
    change.manifest = replace(change.manifest, segments=tuple(entries))


def written(change: Transaction, sources: Sequence[Rows], like: Segment | None) -> Segment:
    """Write a segment of these rows with all its derived parts, and open it."""
    manifest = change.manifest
    assert manifest.ids is not None
    ids = sources[0].ids if len(sources) == 1 else joined(manifest.ids, [source.ids for source in sources])
    sections = row_sections(manifest, manifest.ids, len(ids), ids.text_bytes)
    chunks = chain(*(source.chunks() for source in sources), id_columns.chunks(ids))
    file = change.batch.write("rows", sections, chunks)
    arrays = open_blocks(change.batch.folder, file, sections)
    entry = SegmentEntry(token_hex(8), len(ids), file, text_bytes=ids.text_bytes)
    return completed(change, assembled(change.batch.folder, manifest, entry, arrays, None, {}), like)


def completed(change: Transaction, segment: Segment, like: Segment | None) -> Segment:
    """Write the derived parts of the new manifest that a segment lacks, in their order; one may use those before it.

    Args:
        change: whose `derived` they are.
        segment: opened; its `parts` are those to keep.
        like: a segment that has them, whose fitted parameters are used again.
    """
    files: dict[str, FileEntry] = {}
    for name, part in change.derived.items():
        if name in segment.parts:
            files[name] = segment.entry.derived[name]
            continue
        sections = part.sections(segment.rows)
        files[name] = change.batch.write(name, sections, part.chunks(segment, like and like.parts.get(name)))
        segment.parts[name] = open_blocks(change.batch.folder, files[name], sections)
    return replace(segment, entry=replace(segment.entry, derived=files))
