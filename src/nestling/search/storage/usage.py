"""What an index takes: of the disk, of memory, of time; measured of one that is there, predicted of one to come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.search.storage.batch import write_blocks
from nestling.search.storage.blocks import Section, layout
from nestling.search.storage.derived import Derived
from nestling.search.storage.drafts import SEGMENT_ROWS
from nestling.search.storage.manifest import Manifest
from nestling.search.storage.segment import row_sections
from nestling.search.storage.snapshot import Snapshot

WRITE_SPEED = 300e6  # bytes a second of a plain cloud disk
_ENCODE_SPEED = 1e9  # float32 bytes a second that one core turns into rings
_PROBE = 32 << 20
_WORDS = {"ring": "rings", "norm": "norms", "ids": "ids", "id_": "ids", "key": "lookup"}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an index will take.

    Attributes:
        disk_bytes: of all files.
        memory_bytes: of what searches keep in memory: resident derived parts and ids.
        build_bytes: memory of building it.
        seconds: of building it, the vectors at hand.
    """

    disk_bytes: int
    memory_bytes: int
    build_bytes: int
    seconds: float


def predict(
    rows: int,
    nesting: Nesting,
    *,
    dtype: str = "float16",
    ids: str = "int64",
    id_bytes: int = 16,
    derived: Sequence[Derived] = (),
    path: Path | None = None,
) -> Estimate:
    """What an index of so many vectors will take, from sizes alone.

    Args:
        rows: vectors.
        nesting: its dims.
        dtype: "float16" or "float32".
        ids: "int64" or "string".
        id_bytes: UTF-8 bytes of a string id, on average.
        derived: the parts that it will have.
        path: a folder on the disk that will hold it, whose speed is measured (32 MB are written); None takes 300 MB/s.

    Raises:
        InputError: rows is negative.
        DataError: nothing can be written to path.
    """
    if rows < 0:
        raise InputError.of("rows", "not negative", rows)
    text_bytes = rows * id_bytes if ids == "string" else 0
    own = row_sections(Manifest(nesting.dims, "cosine", dtype, ids), ids, rows, text_bytes)
    disk = layout(own)[1] + sum(layout(part.sections(rows))[1] for part in derived)
    memory = sum(s.bytes for s in own if _word(s.name) == "ids")
    memory += sum(layout(part.sections(rows))[1] for part in derived if part.resident)
    speed = WRITE_SPEED if path is None else write_speed(path)
    seconds = max(disk / speed, 4 * rows * nesting.width / _ENCODE_SPEED)
    return Estimate(disk, memory, (256 << 20) + 20 * min(rows, SEGMENT_ROWS), seconds)


def write_speed(folder: Path) -> float:
    """Bytes a second that a disk takes for good, from 32 MB.

    Raises:
        DataError: nothing can be written there.
    """
    data = np.random.default_rng(0).integers(0, 256, _PROBE, np.uint8)  # a disk may compress zeros
    began = time.monotonic()
    entry = write_blocks(folder, "probe", [Section("bytes", data.dtype, data.shape)], [("bytes", data)])
    took = time.monotonic() - began
    (folder / entry.file).unlink(missing_ok=True)
    return _PROBE / took


def described(snapshot: Snapshot) -> dict[str, Any]:
    """`Index.info`."""
    manifest = snapshot.manifest
    disk = _on_disk(snapshot)
    resident = [name for name, part in snapshot.derived.items() if part.resident]
    partition = manifest.partition
    return {
        "path": str(snapshot.folder),
        "vectors": len(snapshot),
        "deleted": sum(segment.entry.dead_count for segment in snapshot.segments),
        "segments": len(snapshot.segments),
        "nesting": list(manifest.dims),
        "metric": manifest.metric,
        "dtype": manifest.dtype,
        "ids": manifest.ids,
        "derived": list(manifest.derived),
        "partition": partition and {"name": partition.name, "cells": partition.cells, "dims": partition.dims},
        "plan": manifest.plan,
        "generation": manifest.generation,
        "bytes_on_disk": {**disk, "total": sum(disk.values())},
        "bytes_in_memory": sum(disk[name] for name in ("ids", "deleted", "partition", *resident) if name in disk),
    }


def _on_disk(snapshot: Snapshot) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    manifest = snapshot.manifest
    for segment in manifest.segments:
        for section in row_sections(manifest, manifest.ids or "int64", segment.rows, segment.text_bytes):
            sizes[_word(section.name)] += section.bytes
        sizes.update({name: entry.bytes for name, entry in segment.derived.items()})
        if segment.dead:
            sizes["deleted"] += segment.dead.bytes
    if manifest.partition:
        sizes["partition"] += manifest.partition.file.bytes
    sizes["manifest"] = snapshot.stamp.size
    return dict(sizes)


def _word(section: str) -> str:
    return _WORDS[section[:3] if section[:3] in _WORDS else section[:4]]
