"""Where fetched data lives, and whether it is what was published."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

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


def check_sha256(data: bytes, expected: str, *, name: str) -> None:
    """Raise `ChecksumError` naming `name` unless the SHA-256 of `data` is `expected` (64 hex digits)."""
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ChecksumError(
            f"{name} is damaged: its SHA-256 is {found[:12]}…, the published one {expected[:12]}…. "
            "Delete it and fetch it again."
        )
