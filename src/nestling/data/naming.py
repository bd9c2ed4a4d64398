"""Which array or column of a file is meant: a key, ``file::key``, or the only one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from nestling.errors import DataError, InputError

MARK = "::"


def place_of(path: str | os.PathLike[str], key: str | None) -> tuple[Path, str | None]:
    """The file and the key; ``file::key`` is taken apart unless a file of that whole name is there.

    Raises:
        InputError: two different keys.
    """
    file = Path(path)
    whole, mark, own = str(file).rpartition(MARK)
    if not (mark and whole and own) or os.path.lexists(file):
        return file, key
    if key is not None and key != own:
        raise InputError.of("key", f"the one in {file}, or left out", repr(key))
    return Path(whole), own


def chosen(names: Sequence[str], key: str | None, file: Path, what: str) -> str:
    """The key, or the only name.

    Args:
        names: what the file has; what: what to call them.

    Raises:
        InputError: no such name. DataError: none or several, and no key.
    """
    listed = ", ".join(map(repr, names[:20])) + (" …" if len(names) > 20 else "")
    if key is not None:
        if key not in names:
            raise InputError.of("key", f"one of {listed or 'none'} in {file}", repr(key))
        return key
    if len(names) != 1:
        several = f"Choose one with key, or write {file}{MARK}{names[0]}" if names else ""
        found = f"{len(names)} {what}: {listed}. {several}" if names else f"no {what}. Check the file"
        raise DataError(f"{file} holds {found}.")
    return names[0]
