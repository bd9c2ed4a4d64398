"""Changes of what an index has beside its rows: derived parts, the partition, the plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nestling.errors import InputError
from nestling.search.storage.blocks import open_blocks
from nestling.search.storage.derived import Derived, Partition, Registry
from nestling.search.storage.drafts import completed
from nestling.search.storage.manifest import PartitionEntry
from nestling.search.storage.segment import Segment, largest
from nestling.search.storage.snapshot import Snapshot, parsed
from nestling.search.storage.transaction import Transaction, changing, newest


@dataclass(frozen=True, eq=False)
class NewPartition:
    """A partition to be stored: `arrays` are those of `Registry.partition_sections(kind, cells, dims)`."""

    name: str
    kind: str
    cells: int
    dims: int
    arrays: Mapping[str, np.ndarray]


def add_derived(
    snapshot: Snapshot, registry: Registry, names: Sequence[str], *, instead_of: Collection[str] = ()
) -> Snapshot:
    """Give every segment, and every later one, these derived parts; those it has stay, but for `instead_of`.

    The largest segment fits its parameters, the others take them over.
    """
    with changing(snapshot, registry) as change:
        have = [name for name in change.manifest.derived if name not in instead_of]
        _derive(change, [*have, *(name for name in dict.fromkeys(names) if name not in have)], change.start.partition)
    return newest(change.start, registry)


def drop_derived(snapshot: Snapshot, registry: Registry, names: Collection[str]) -> Snapshot:
    """Remove derived parts.

    Raises:
        InputError: there is no such part.
    """
    with changing(snapshot, registry) as change:
        missing = [name for name in names if name not in change.manifest.derived]
        if missing:
            raise InputError.of("names", f"among {', '.join(change.manifest.derived) or 'none'}", missing[0])
        _derive(change, [name for name in change.manifest.derived if name not in names], change.start.partition)
    return newest(change.start, registry)


def set_partition(
    snapshot: Snapshot, registry: Registry, partition: NewPartition | None, names: Sequence[str] | None = None
) -> Snapshot:
    """Replace the partition, and with it every derived part that depends on one, in one change.

    Args:
        snapshot, registry: as everywhere.
        partition: the new one, or None for none.
        names: all derived parts that the index shall have, in the order in which they are made; None for the same.
    """
    with changing(snapshot, registry) as change:
        opened = partition and _stored(change, partition)
        change.manifest = replace(change.manifest, partition=opened and opened.entry)
        _derive(change, change.manifest.derived if names is None else names, opened)
    return newest(change.start, registry)


def set_plan(snapshot: Snapshot, registry: Registry, plan: str | None, tuned: dict[str, Any] | None) -> Snapshot:
    """Keep the plan that searches use when none is given, and what tuning measured (plain JSON)."""
    with changing(snapshot, registry) as change:
        change.manifest = replace(change.manifest, plan=plan, tuned=tuned)
    return newest(change.start, registry)


def _stored(change: Transaction, new: NewPartition) -> Partition:
    sections = change.registry.partition_sections(new.kind, cells=new.cells, dims=new.dims)
    file = change.batch.write("partition", sections, ((s.name, new.arrays[s.name]) for s in sections))
    entry = PartitionEntry(new.name, new.kind, new.cells, new.dims, file)
    return Partition(entry, open_blocks(change.batch.folder, file, sections))


def _derive(change: Transaction, names: Sequence[str], partition: Partition | None) -> None:
    """Make every segment have exactly these parts."""
    moved = partition is not change.start.partition
    change.derived = {name: parsed(change.registry, change.manifest, name, partition) for name in names}
    stale = {name for name, part in change.derived.items() if moved and part.partitioned}
    bare = {segment.name: _without(segment, change.derived, stale) for segment in change.start.segments}
    first = largest(change.start.segments)
    done: dict[str, Segment] = {}
    if first is not None:
        done[first.name] = model = completed(change, bare[first.name], None)
        done |= {name: completed(change, part, model) for name, part in bare.items() if name != first.name}
    entries = tuple(done[segment.name].entry for segment in change.start.segments)
    change.manifest = replace(change.manifest, derived=tuple(names), segments=entries)


def _without(segment: Segment, wanted: Mapping[str, Derived], stale: Collection[str]) -> Segment:
    """A segment with only those parts that stay; a copy, since parts are added to it."""
    parts = {name: arrays for name, arrays in segment.parts.items() if name in wanted and name not in stale}
    return replace(segment, parts=parts, cache={})
