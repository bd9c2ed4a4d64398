"""Files that are either the old ones or the new ones, whatever kills the process in between."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from nestling.errors import DataError

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # a file system that does not sync folders


@contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """A temporary neighbour of `path` to write, which takes `path`'s place when the block succeeds.

    A reader sees the old file or the new one, never a part: the bytes are on the disk before the rename. The folder is
    created. When the block raises, `path` is as before and the neighbour is gone; after a kill, `sweep` removes it.

    Raises:
        DataError: the folder or the file cannot be written.
    """
    # Not `tempfile`: its files are 0600 and would stay so after the rename, useless to others.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)  # safetensors makes files that nobody else can read
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be written: {reason}. Choose another folder or free space.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Generator[Path, None, None]:
    """A temporary neighbour of `path` to fill, which takes its name when the block succeeds: whole or not at all.

    `path` may exist if it is empty. What killed processes left of earlier attempts is removed first; one that is
    being filled by another process would be too.

    Raises:
        DataError: the folder cannot be written, or is not empty.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.name}.{'[0-9a-f]' * 12}.unfinished"):
            shutil.rmtree(left, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        sync_folder(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be written: {reason}. Choose another folder or free space.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(path: Path, data: bytes | str) -> None:
    """Write bytes, or text in UTF-8, to `path` whole or not at all.

    Raises:
        DataError: the folder or the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system lets a folder be opened and synced (Windows does not).

    Raises:
        OSError: the disk failed to.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Delete the unfinished files of killed processes, those too that safetensors begins beside ours."""
    for path in (*folder.glob(".*.unfinished"), *folder.glob(".tmp" + 6 * "[A-Za-z0-9]")):
        path.unlink(missing_ok=True)
