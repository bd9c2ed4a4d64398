"""One change of an index: new files, a new manifest, then the old files go."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from nestling.errors import NestlingError
from nestling.files import sweep
from nestling.search.storage.batch import Batch, told
from nestling.search.storage.derived import Derived, Registry
from nestling.search.storage.lock import writing
from nestling.search.storage.manifest import FILE, PARTS, Manifest, load, save, stamp
from nestling.search.storage.snapshot import Snapshot, open_snapshot


@runtime_checkable
class Progress(Protocol):
    """Called as a write goes on: how many of how many bytes are done, and a few words beside it."""

    def __call__(self, done: int, total: int, words: str = "") -> None: ...


@dataclass(eq=False)
class Transaction:
    """A change under way. Its body writes files through `batch` and says at last what `manifest` shall be.

    Attributes:
        start: the newest state when the lock was taken.
        registry: reads the names of derived parts.
        batch: writes files.
        manifest: the new manifest; saved, with the next generation, if it differs from the start's.
        derived: what every segment of the new manifest has beside its rows.
    """

    start: Snapshot
    registry: Registry
    batch: Batch
    manifest: Manifest
    derived: dict[str, Derived]


@contextmanager
def changing(
    snapshot: Snapshot, registry: Registry, wrote: Callable[[int], None] | None = None
) -> Generator[Transaction, None, None]:
    """Take the lock, move to the newest state, let the block change it, and make that durable.

    When the block raises, the index is as before. What a killed writer left behind is removed first.

    Args:
        snapshot: any state of the index; its mapped files are used again.
        registry: reads the names of derived parts.
        wrote: told the bytes of every chunk written.
    """
    folder = snapshot.folder
    with writing(folder):
        start = newest(snapshot, registry)
        with told(folder):
            (folder / PARTS).mkdir(exist_ok=True)  # some copy a folder without its empty ones
        _sweep(folder, start.manifest)
        batch = Batch(folder / PARTS, wrote or _nothing)
        change = Transaction(start, registry, batch, start.manifest, dict(start.derived))
        try:
            yield change
            batch.settle()
            if change.manifest != start.manifest:
                save(folder, replace(change.manifest, generation=start.manifest.generation + 1))
        finally:
            batch.discard()
            # Whether the new manifest took its place is asked of the folder: after a failed sync nobody else knows.
            with suppress(NestlingError):
                _sweep(folder, load(folder)[0])


def newest(snapshot: Snapshot, registry: Registry) -> Snapshot:
    """The newest state of an index: `snapshot` itself when nothing has changed."""
    if stamp(snapshot.folder) == snapshot.stamp:
        return snapshot
    return open_snapshot(snapshot.folder, registry, old=snapshot)


def _nothing(written: int) -> None:
    del written


def _sweep(folder: Path, manifest: Manifest) -> None:
    """Remove part files that the manifest does not name. Only the holder of the lock may."""
    named = {entry.file for entry in manifest.files}
    for path in (folder / PARTS).iterdir():
        if path.name not in named and re.fullmatch(FILE, path.name):
            with suppress(OSError):  # what stays costs space, nothing else
                path.unlink()
    with suppress(OSError):
        sweep(folder)
