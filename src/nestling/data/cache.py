"""Where fetched data lives, and how a file gets there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nestling.errors import ChecksumError, DataError


def data_folder() -> Path:
    """The folder of everything fetched: the variable NESTLING_DATA, else ``~/.cache/nestling``; not created.

    Raises:
        DataError: there is neither the variable nor a home folder.
    """
    given = os.environ.get("NESTLING_DATA", "")
    try:
        return Path(given).expanduser() if given else Path.home() / ".cache" / "nestling"
    except RuntimeError as error:  # what pathlib raises for a user without a home
        raise DataError(f"No home folder was found ({error}). Set NESTLING_DATA to a folder.") from error


@contextmanager
def replacing(path: Path) -> Generator[BinaryIO, None, None]:
    """Open a temporary neighbour of `path` for writing; it takes `path`'s place when the block succeeds.

    A reader sees the old file or the new one, never a part: the bytes are on disk before the rename. The
    folder is created. When the block raises, `path` is as before and the neighbour is gone.

    Raises:
        DataError: the folder or the file cannot be written.
    """
    # Not `tempfile`: its files are 0600 and would stay so after the rename, useless in a shared cache.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be written: {reason}. Choose another folder or free space.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all.

    Raises:
        DataError: the folder or the file cannot be written.
    """
    with replacing(path) as stream:
        stream.write(data)


def check_sha256(data: bytes, expected: str, *, name: str) -> None:
    """Raise `ChecksumError` naming `name` unless the SHA-256 of `data` is `expected` (64 hex digits)."""
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ChecksumError(
            f"{name} is damaged: its SHA-256 is {found[:12]}…, the published one {expected[:12]}…. "
            "Delete it and fetch it again."
        )


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened (Windows does not)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
