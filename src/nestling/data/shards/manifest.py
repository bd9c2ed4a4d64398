"""How many samples each shard holds: ``shards.json`` beside them, or a count kept on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from nestling.data.cache import data_folder
from nestling.data.shards.place import Copies, is_remote
from nestling.data.shards.tar import index_of
from nestling.errors import DataError
from nestling.files import write_file

NAME = "shards.json"
FORMAT = 1
_MOST = 1 << 40
_CLASSES = 1_000_000  # that numbers may tell of: one broken number is no reason for so many names

Progress = Callable[[int, int, str], object]


@dataclass(frozen=True)
class Manifest:
    """What is known of shards.

    Attributes:
        counts: samples of each, in the order of their names.
        classes: names of the classes; numbers where nobody named them; none for samples with texts.
        faults: shards of which a part cannot be read, with reasons.
    """

    counts: tuple[int, ...]
    classes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def to_json(self) -> str:
        """`from_json` is its inverse."""
        return json.dumps({"format": FORMAT, **asdict(self)}) + "\n"

    @classmethod
    def from_json(cls, text: str, where: object) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            DataError: it did not.
        """
        try:
            given: dict[str, Any] = json.loads(text)
            if given["format"] > FORMAT:
                raise DataError(f"{where} is of format {given['format']}, newer than {FORMAT}. Upgrade Nestling.")
            counts = tuple(int(count) for count in given["counts"])
            classes, faults = (tuple(map(str, cast("list[str]", given.get(key, ())))) for key in ("classes", "faults"))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{where} is no list of shards ({error}). Delete it, and they are counted anew.") from error
        if not counts or min(counts) < 0 or sum(counts) > _MOST:
            raise DataError(f"{where} counts no samples. Delete it, and they are counted anew.")
        return cls(counts, classes, faults)


def manifest_of(names: Sequence[str], *, progress: Progress | None = None) -> Manifest:
    """Read the list beside the shards, or the one of an earlier count, or count.

    Raises:
        DataError: a damaged list, one of other shards, or shards without samples.
    """
    beside = _beside(names)
    if beside is None and (far := _far(names)) is not None:
        return far
    if beside is not None:
        found = Manifest.from_json(beside.read_text(encoding="utf-8", errors="replace"), beside)
        if len(found.counts) != len(names):
            raise DataError(f"{beside} tells of {len(found.counts)} shards, here are {len(names)}. Delete it.")
        return found
    kept = data_folder() / "shards" / f"{_digest(names)}.json"
    if kept.is_file():
        return Manifest.from_json(kept.read_text(encoding="utf-8"), kept)
    found = _counted(names, progress)
    write_file(kept, found.to_json())
    return found


def _beside(names: Sequence[str]) -> Path | None:
    folders = {Path(name).parent for name in names if not is_remote(name)}
    whole = len(folders) == 1 and not any(map(is_remote, names))
    path = next(iter(folders)) / NAME if whole else None
    if path is None or not path.is_file():
        return None
    return path if sorted(names) == sorted(str(each) for each in path.parent.glob("*.tar")) else None


def _far(names: Sequence[str]) -> Manifest | None:
    """The list beside shards behind URLs, if it tells of just these."""
    folders = {name.rpartition("/")[0] for name in names}
    if len(folders) != 1 or not all("://" in name for name in names):
        return None
    copies = Copies(1)  # its files go with it
    try:
        path = copies.path(f"{folders.pop()}/{NAME}")
        found = Manifest.from_json(path.read_text(encoding="utf-8", errors="replace"), NAME)
    except (DataError, OSError):
        return None
    return found if len(found.counts) == len(names) else None


def _digest(names: Sequence[str]) -> str:
    parts: list[str] = []
    for name in names:
        facts = None if is_remote(name) else Path(name).stat()
        parts.append(name if facts is None else f"{Path(name).resolve()} {facts.st_size} {facts.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _counted(names: Sequence[str], progress: Progress | None) -> Manifest:
    copies, counts, faults, largest = Copies(1), list[int](), list[str](), -1
    for done, name in enumerate(names, start=1):
        path = copies.path(name)
        index = index_of(path)
        counts.append(len(index.samples))
        faults += [f"{name}: {index.broken}"] * bool(index.broken)
        with path.open("rb") as file:
            for sample in index.samples:
                if "cls" in sample:
                    file.seek(sample["cls"].start)
                    text = file.read(min(sample["cls"].size, 20)).strip()
                    largest = max(largest, int(text) if text.isdigit() and int(text) < _CLASSES else -1)
        if progress is not None:
            progress(done, len(names), f"{sum(counts):,} samples")
    if not sum(counts):
        raise DataError(f"{names[0]} and those beside it hold no samples. Give WebDataset shards (name.jpg, name.cls).")
    return Manifest(tuple(counts), tuple(str(label) for label in range(largest + 1)), tuple(faults))
