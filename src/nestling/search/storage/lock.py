"""One writer at a time: a lock that the system releases when its holder dies, however it dies."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from nestling.errors import IndexLockedError
from nestling.search.storage.batch import told

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = "lock"
_PAUSE_S = 0.005


@contextmanager
def writing(folder: Path, wait_s: float | int = 10) -> Generator[None, None, None]:
    """Hold the index's lock for as long as the block runs.

    The file stays when the lock goes: removing it would let two writers lock two files of one name.

    Args:
        folder: of the index.
        wait_s: how long to wait for another writer.

    Raises:
        IndexLockedError: another process is still writing; the message holds its number.
        DataError: the lock cannot be made.
    """
    if fcntl is None:
        raise IndexLockedError("an index cannot be changed on this system, which has no flock. Use Linux or macOS.")
    path = folder / LOCK
    with told(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(handle, path, wait_s)
        with told(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # also lets go what a forked child has inherited
        os.close(handle)


def _take(handle: int, path: Path, wait_s: float | int) -> None:
    assert fcntl is not None
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise IndexLockedError(
                    f"{path.parent} is being written by process {_holder(handle)}. Wait for it to end, then try again."
                ) from None
            time.sleep(_PAUSE_S)
        else:
            return


def _holder(handle: int) -> str:
    number = os.pread(handle, 20, 0).strip()
    return number.decode() if number.isdigit() else "unknown"
