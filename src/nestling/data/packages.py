"""Debian's packages: what each is, in a line and at length (59,000 pairs), with its section and its source.

Looked for in the cache folder, then fetched from the archive that apt-get knows. The archive moves on:
`digest` tells one state of it from another.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nestling.data.cache import data_folder
from nestling.data.debian import archive_lists
from nestling.data.fetching import Say, log
from nestling.errors import ChecksumError, DataError
from nestling.files import write_file

_SHORTEST = 40  # letters of a description that tells something
_FIELD = re.compile(r"^([A-Za-z0-9-]+): (.*)$")
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Packages:
    """Pairs of texts in the order of the packages' names; no text is in two of them.

    Attributes:
        names: (n) of each package.
        short: (n) its description in a line.
        long: (n) the rest of it.
        sections: (n) "science", "python", …: what the archive files it under.
        sources: (n) of which source it is built; packages of one source are told much alike.
    """

    names: Sequence[str]
    short: Sequence[str]
    long: Sequence[str]
    sections: Sequence[str]
    sources: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """Of all texts: which state of the archive this is."""
        return hashlib.sha256("\n".join([*self.names, *self.short, *self.long]).encode()).hexdigest()[:12]


def packages(*, fetch: bool = True, say: Say | None = None) -> Packages:
    """All packages that are described at some length.

    Args:
        fetch: may the archive's lists be fetched (16 MB, once) when the machine has none?
        say: called with a sentence whenever something takes time.

    Raises:
        ChecksumError: what the machine has is damaged.
        DataError: it has nothing, and nothing was fetched.
    """
    path = data_folder() / "packages" / "packages.json.gz"
    if path.exists():
        return _read(path)
    if not fetch:
        raise DataError(
            f"Descriptions of packages are not on this machine. Let them be fetched, or put them at {path}."
        )
    try:
        with archive_lists(say or log) as lists:
            found = _parsed(lists)
    except DataError as error:
        raise DataError(
            f"Descriptions of packages are not on this machine and were not fetched ({error}). "
            "Try it on Debian or Ubuntu."
        ) from error
    if not len(found):
        raise DataError("The archive that apt-get knows describes no packages in English.")
    fields = {name: list(getattr(found, name)) for name in _FIELDS}
    text = json.dumps({"format": _FORMAT, **fields})
    write_file(path, gzip.compress(text.encode(), mtime=0))
    return found


_FIELDS = ("names", "short", "long", "sections", "sources")


def _read(path: Path) -> Packages:
    try:
        read = json.loads(gzip.decompress(path.read_bytes()))
        fields = [read[name] for name in _FIELDS]
        if read["format"] != _FORMAT or len({len(each) for each in fields}) != 1:
            raise ValueError("not as it was written")
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise ChecksumError(f"{path} is damaged ({error}). Delete it, and it is fetched again.") from error
    return Packages(*map(tuple, fields))


def _parsed(lists: Path) -> Packages:
    """Of the lists of all parts of the archive, each package as it is first met."""
    about: dict[str, tuple[str, str]] = {}
    for path in sorted(lists.glob("*_Packages")):
        for fields, _ in _blocks(path):
            name = fields.get("Package", "")
            about.setdefault(name, (fields.get("Section", ""), fields.get("Source", name).partition(" ")[0]))
    texts: dict[str, tuple[str, str]] = {}
    for path in sorted(lists.glob("*_Translation-en"), key=lambda path: (-path.stat().st_size, path.name)):
        for fields, lines in _blocks(path):
            texts.setdefault(fields.get("Package", ""), (fields.get("Description-en", "").strip(), _prose(lines)))
    seen: set[str] = set()
    rows: list[tuple[str, str, str, str, str]] = []
    for name in sorted(texts):
        short, long = texts[name]
        section, source = about.get(name, ("", name))
        if name and short and len(long) >= _SHORTEST and not {short, long} & seen:
            seen |= {short, long}
            rows.append((name, short, long, section.rpartition("/")[2], source))
    return Packages(*(zip(*rows, strict=True) if rows else ((),) * len(_FIELDS)))


def _blocks(path: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """The fields of each entry, and the lines that follow its last field."""
    fields, lines = dict[str, str](), list[str]()
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line == "\n":
                yield fields, lines
                fields, lines = {}, []
            elif line.startswith(" "):
                lines.append(line)
            elif found := _FIELD.match(line):
                fields[found[1]], lines = found[2], []
    if fields:
        yield fields, lines


def _prose(lines: Sequence[str]) -> str:
    """A long description without its layout: " ." is an empty line."""
    return " ".join(" ".join("" if line.strip() == "." else line for line in lines).split())
