"""Block files: named arrays one after another, each at a multiple of 4,096 bytes, written once and mapped.

A block file has no header. Its sections follow from numbers in the manifest, and from them its size: the file must
have exactly that many bytes before anything of it is mapped.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash

from nestling.errors import CorruptIndexError, DataError

ALIGNMENT = 4096
Arrays = dict[str, np.ndarray]  # the sections of one file, by name


class Section(NamedTuple):
    """One array of a block file."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size, a Python int: nothing overflows."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What the manifest says about a block file.

    Attributes:
        file: its name in the folder `parts`.
        bytes: its size.
        hashes: section → xxh3_64 of its bytes in hex.
    """

    file: str
    bytes: int
    hashes: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON; `manifest` reads it back and trusts none of it."""
        return {"file": self.file, "bytes": self.bytes, "hashes": dict(self.hashes)}


def layout(sections: Sequence[Section]) -> tuple[dict[str, int], int]:
    """Where each section begins, and the size of the file."""
    offsets: dict[str, int] = {}
    total = 0
    for section in sections:
        offsets[section.name] = total = -(-total // ALIGNMENT) * ALIGNMENT
        total += section.bytes
    return offsets, total


def damaged(path: Path, what: str) -> CorruptIndexError:
    """The error for a file of an index: what is wrong with it, then what to do."""
    return CorruptIndexError(f"{path} is damaged: {what}. Restore the index from a copy or build it again.")


def open_blocks(folder: Path, entry: FileEntry, sections: Sequence[Section], *, verify: bool = False) -> Arrays:
    """Map a block file once, read-only, and cut it into its sections.

    Args:
        folder: where the file lies.
        entry: what the manifest says about it.
        sections: what it must hold; sizes are compared before anything is mapped.
        verify: hash every section, too.

    Raises:
        FileNotFoundError: there is no such file: a newer manifest may have replaced it, or it was lost.
        CorruptIndexError: the file is not what the manifest says.
        DataError: the system refuses to open it.
    """
    path = folder / entry.file
    offsets, total = layout(sections)
    if entry.bytes != total or entry.hashes.keys() != offsets.keys():
        raise damaged(path, f"the manifest gives it {entry.bytes} bytes, its contents would take {total}")
    mapped = _mapped(path, total)
    arrays = {s.name: np.ndarray(s.shape, s.dtype, mapped, offsets[s.name]) for s in sections}
    if verify:
        for name, array in arrays.items():
            if digest(array) != entry.hashes[name]:
                raise damaged(path, f"the checksum of its section {name} is wrong")
    return arrays


def digest(array: np.ndarray) -> str:
    """xxh3_64 of an array's bytes."""
    return xxhash.xxh3_64_hexdigest(array.reshape(-1).view(np.uint8).data)


def _mapped(path: Path, total: int) -> mmap.mmap | bytes:
    try:
        # Not blocking on a pipe and not following a link out of the folder: names in a manifest are untrusted.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refused(path, error) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size != total:
            raise damaged(path, f"it has {status.st_size} bytes, not the {total} of the manifest")
        if total == 0:  # nothing cannot be mapped
            return b""
        return mmap.mmap(handle, total, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        os.close(handle)


def _refused(path: Path, error: OSError) -> DataError:
    """A link, a pipe, a socket where a file was is damage; too many open files or no permission is not."""
    if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
        return damaged(path, "it is not a file")
    return DataError(f"{path} cannot be opened: {error.strerror}. Check its permissions and the limits of the system.")
