"""Where shards lie: in a folder, under a pattern of names, behind URLs; and a copy of one at a time."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import cast

from nestling.errors import DataError, require_extra

_REMOTE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def is_remote(name: str) -> bool:
    """Is it a URL, or a `pipe:` to a program?"""
    return bool(_REMOTE.match(name))


def listed(source: str) -> list[str]:
    """The shards that a source names: a folder of ``.tar`` files, one file, or a pattern like ``s3://b/{000..127}.tar``.

    Raises:
        DataError: there are none.
        MissingExtraError: a pattern, and `braceexpand` is not installed.
    """
    if not is_remote(source) and Path(source).is_dir():
        found = sorted(str(path) for path in Path(source).glob("*.tar"))
    elif "{" in source:
        found = list(cast("list[str]", require_extra("braceexpand").braceexpand(source)))
    else:
        found = [source]
    missing = [name for name in found if not is_remote(name) and not Path(name).is_file()]
    if not found or missing:
        what = f"{missing[0]} does not exist" if missing else f"{source} holds no .tar files"
        raise DataError(f"{what}. Give a folder of shards, one of them, or a pattern such as data/{{000..127}}.tar.")
    return found


def is_shards(source: str) -> bool:
    """A URL, a pattern, a tar file, or a folder of them, with or without ``train`` between."""
    path = Path(source)
    if not path.is_dir():
        return source.endswith(".tar") or "{" in source or "://" in source or source.startswith("pipe:")
    return any(path.glob("*.tar")) or any((path / "train").glob("*.tar"))


class Copies:
    """Files of shards: those on this machine as they are, of others the last few used, in a folder that goes away.

    Args:
        most: copies kept.
    """

    def __init__(self, most: int) -> None:
        self.most, self._fetches = most, 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._kept: OrderedDict[str, Path] = OrderedDict()
        self._lost: dict[str, str] = {}

    def path(self, name: str) -> Path:
        """A file with the bytes of a shard.

        Raises:
            DataError: it cannot be fetched.
            MissingExtraError: it is remote, and `webdataset` is not installed.
        """
        if not is_remote(name):
            return Path(name)
        if name in self._lost:
            raise DataError(self._lost[name])
        if name not in self._kept:
            self._kept[name] = self._fetched(name)
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)[1].unlink(missing_ok=True)
        self._kept.move_to_end(name)
        return self._kept[name]

    def _fetched(self, name: str) -> Path:
        webdataset = require_extra("webdataset")
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="nestling-shards-")
        self._fetches += 1
        path = Path(self._folder.name) / f"{self._fetches}.tar"
        try:
            with webdataset.gopen(name, "rb") as stream, path.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
        except Exception as error:  # whatever the program or the protocol behind the URL leads to
            path.unlink(missing_ok=True)
            line = (str(error).splitlines() or [""])[0][:160] or type(error).__name__
            self._lost[name] = f"{name} cannot be fetched ({line}). Check the address."
            raise DataError(self._lost[name]) from error
        return path
