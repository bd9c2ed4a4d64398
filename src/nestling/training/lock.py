"""One training at a time in a folder: a lock that the system releases when its holder dies, however it dies.

By flock(2) on a file that stays. Over NFS the server has to support locks (v4 does, v3 with its lock daemon); where the
system or the file system has none, nothing is locked, and that is told.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from nestling.errors import DataError, RunLockedError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = "lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


class FolderLock:
    """The lock of a folder, which is created.

    Args:
        folder: whose.
        told: called with a sentence where there are no locks.

    Raises:
        DataError: the folder or the lock's file cannot be made.
    """

    def __init__(self, folder: Path, told: Callable[[str], object]) -> None:
        self.path, self._told = folder / LOCK, told
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Not inherited by what this process starts: a reader that outlives it would hold the lock.
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DataError(f"{self.path} cannot be made: {error.strerror}. Choose another folder.") from error

    def take(self, *, wait: bool = False) -> bool:
        """Whether it is held now; `wait` until it is."""
        try:
            if fcntl is None:
                raise OSError(errno.ENOSYS, "this system has no flock")
            fcntl.flock(self._handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise DataError(f"{self.path} cannot be locked: {error.strerror}. Choose another folder.") from error
            self._told(f"{self.path.parent} cannot be locked ({error.strerror}): start no second training in it")
        return True

    def holder(self) -> str:
        """Who holds it: the number of a process, and its machine."""
        return os.pread(self._handle, 200, 0).decode(errors="replace").strip() or "unknown"

    def release(self) -> None:
        """Let another take it; the file stays, since removing it would let two lock two files of one name."""
        if self._handle >= 0:
            if fcntl is not None:
                with contextlib.suppress(OSError):
                    fcntl.flock(self._handle, fcntl.LOCK_UN)  # also lets go what a forked child has inherited
            os.close(self._handle)
            self._handle = -1


@contextmanager
def refusing(folder: Path, told: Callable[[str], object]) -> Generator[None]:
    """Hold a folder's lock for as long as the block runs.

    Raises:
        RunLockedError: another process holds it.
        DataError: as of `FolderLock`.
    """
    lock = FolderLock(folder, told)
    try:
        if not lock.take():
            raise locked(folder, lock.holder())
        yield
    finally:
        lock.release()


@contextmanager
def waiting(folder: Path, told: Callable[[str], object]) -> Generator[None]:
    """The same, but wait for the other process, telling who it is.

    Raises:
        DataError: as of `FolderLock`.
    """
    lock = FolderLock(folder, told)
    try:
        if not lock.take():
            told(f"Process {lock.holder()} is making {folder.name}: waiting for it")
            lock.take(wait=True)
        yield
    finally:
        lock.release()


def locked(folder: Path, holder: str) -> RunLockedError:
    """What a second process is told."""
    return RunLockedError(
        f"{folder} is being trained in by process {holder}. Wait for it to end, or name another folder."
    )
