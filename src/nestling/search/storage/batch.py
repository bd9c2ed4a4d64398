"""Writing block files: many at a time, on their way to the disk while the next bytes are made."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from nestling.errors import DataError
from nestling.files import sync_folder
from nestling.search.storage.blocks import FileEntry, Section, layout

Chunks = Iterable[tuple[str, np.ndarray]]  # rows to append to the section of that name
WRITE_BACK = 128 << 20  # bytes after which the disk is told to begin
_ALLOCATED = 1 << 20  # smaller files are not worth the call
_NO_ALLOCATION = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # a file system that cannot
_SYNCS_AT_ONCE = 4  # the syncs of small files wait for one journal together


def _nothing(written: int) -> None:
    del written


class Batch:
    """Block files that become durable together (`settle`) or vanish together (`discard`).

    Each file is synced by a thread while the next is written, so `settle` waits only for what is left.

    Args:
        folder: where the files are made.
        wrote: told the bytes of every chunk.
    """

    def __init__(self, folder: Path, wrote: Callable[[int], None] = _nothing) -> None:
        self.folder, self.wrote = folder, wrote
        self.files: list[Path] = []
        self._pool = ThreadPoolExecutor(_SYNCS_AT_ONCE, thread_name_prefix="sync")
        self._syncs: list[tuple[_File, Future[None]]] = []

    def write(self, kind: str, sections: Sequence[Section], chunks: Chunks) -> FileEntry:
        """Write one file; it can be opened at once and is durable after `settle`.

        Args:
            kind: the end of its name, for people who look into the folder.
            sections: the arrays that it holds.
            chunks: rows in order for each section, the sections in any interleaving. They must fill all of them.

        Raises:
            DataError: the disk is full or refuses.
        """
        path = self.folder / f"{secrets.token_hex(8)}.{re.sub('[^a-z0-9]+', '-', kind.lower())}"
        offsets, total = layout(sections)
        with told(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.files.append(path)
        file = _File(path, handle, sections, offsets)
        try:
            with told(path):
                _allocate(handle, total)
            for name, array in chunks:
                with told(path):
                    self.wrote(file.append(name, array))
                self._write_back(file)
            hashes = file.finished()
        except BaseException:
            file.close()
            raise
        self._syncs.append((file, self._pool.submit(file.sync_and_close)))
        return FileEntry(path.name, total, hashes)

    def settle(self) -> None:
        """Wait until every file, and its name, is on the disk.

        Raises:
            DataError: the disk is full or refuses.
        """
        self._pool.shutdown()
        for file, sync in self._syncs:
            with told(file.path):
                sync.result()
        with told(self.folder):
            sync_folder(self.folder)

    def discard(self) -> None:
        """Stop; the files are for the sweep that follows, which knows whether the manifest names them."""
        self._pool.shutdown(cancel_futures=True)
        for file, sync in self._syncs:
            if sync.cancelled():
                file.close()

    def _write_back(self, file: _File) -> None:
        if file.unsynced >= WRITE_BACK and (file.early is None or file.early.done()):
            if file.early is not None:
                with told(file.path):
                    file.early.result()  # an error of the disk is told once, here
            file.unsynced = 0
            file.early = self._pool.submit(file.sync)


class _File:
    """A block file being written: where each section stands, and its hash so far."""

    def __init__(self, path: Path, handle: int, sections: Sequence[Section], offsets: dict[str, int]) -> None:
        self.path, self.handle = path, handle
        self.sections = {s.name: s for s in sections}
        self.offsets = offsets
        self.done = dict.fromkeys(offsets, 0)
        self.hashes: dict[str, Any] = {name: xxhash.xxh3_64() for name in offsets}
        self.unsynced = 0
        self.early: Future[None] | None = None

    def append(self, name: str, array: np.ndarray) -> int:
        section, done = self.sections[name], self.done[name]
        if array.dtype != section.dtype or array.shape[1:] != section.shape[1:]:
            raise AssertionError(f"section {name} holds {section}, not {array.dtype} {array.shape}")
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        if done + len(data) > section.bytes:
            raise AssertionError(f"too many rows for section {name}, {section}")
        _write_all(self.handle, data, self.offsets[name] + done)
        self.hashes[name].update(data)
        self.done[name] = done + len(data)
        self.unsynced += len(data)
        return len(data)

    def finished(self) -> dict[str, str]:
        for name, section in self.sections.items():
            if self.done[name] != section.bytes:
                raise AssertionError(f"section {name} got {self.done[name]} of {section.bytes} bytes")
        return {name: state.hexdigest() for name, state in self.hashes.items()}

    def sync(self) -> None:
        # Not fdatasync: macOS has none, and the times of a file cost nothing beside its data.
        os.fsync(self.handle)

    def sync_and_close(self) -> None:
        try:
            if self.early is not None:
                self.early.result()
            self.sync()
        finally:
            os.close(self.handle)

    def close(self) -> None:
        if self.early is not None:
            wait([self.early])  # a closed number may belong to another file
        os.close(self.handle)


def write_blocks(folder: Path, kind: str, sections: Sequence[Section], chunks: Chunks) -> FileEntry:
    """Write one durable block file; on any error nothing is left. See `Batch.write`."""
    batch = Batch(folder)
    try:
        entry = batch.write(kind, sections, chunks)
        batch.settle()
    except BaseException:
        batch.discard()
        for path in batch.files:
            path.unlink(missing_ok=True)
        raise
    return entry


@contextmanager
def told(path: Path) -> Generator[None, None, None]:
    """An error of the system becomes one sentence about a path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be written: {reason}. Choose another folder or free space.") from error


def _allocate(handle: int, total: int) -> None:
    """Take the space at once: a full disk is told before the work, and the file lies in few pieces."""
    if total >= _ALLOCATED and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, total)
        except OSError as error:
            if error.errno not in _NO_ALLOCATION:
                raise
    os.ftruncate(handle, total)


def _write_all(handle: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written
