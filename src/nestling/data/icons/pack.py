"""All icons of the classes that many designers draw, at one size: built from the archive once, kept, checked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from nestling.data.cache import data_folder
from nestling.data.fetching import Say
from nestling.data.icons.archive import Drawing, IconSet, icon_sets, the_archive
from nestling.data.icons.drawing import Progress, draw_all
from nestling.data.icons.naming import Named, Names
from nestling.data.icons.pack_files import Kept, is_kept, keep, kept
from nestling.data.icons.recipe import Recipe

FEWEST_SETS = 10  # that draw a class of the pack
_VERSION = 1  # of the pack's form


class Licence(NamedTuple):
    """Whose a set is, and on which terms."""

    title: str
    author: str
    licence: str
    url: str


class Origin(NamedTuple):
    """What is known about an image beside its pixels."""

    shows: str
    set: str
    name: str
    style: str


@dataclass(frozen=True, eq=False)
class Pack:
    """Images and where they come from.

    Attributes:
        pixels: (n, s, s), ink is 255.
        origins: of each image.
        licences: of each set.
        not_drawn: icons of the classes that came out blank or not at all.
    """

    pixels: UInt8[np.ndarray, "n s s"]
    origins: tuple[Origin, ...]
    licences: Mapping[str, Licence]
    not_drawn: int

    def sets_of_classes(self) -> dict[str, int]:
        """How many sets draw each class."""
        found: dict[str, set[str]] = defaultdict(set)
        for origin in self.origins:
            found[origin.shows].add(origin.set)
        return {name: len(found[name]) for name in sorted(found)}


def pack_of(recipe: Recipe, size: int, *, fetch: bool, say: Say, progress: Progress | None) -> Pack:
    """The pack of one size from the folder of fetched data; built, if it is not there.

    Raises:
        ChecksumError: it is damaged.
        DataError: there is no archive to build it from, or no room.
        MissingExtraError: resvg or Pillow is not installed.
    """
    folder = data_folder() / "icons" / f"{recipe.version}-{size}px-{_VERSION}"
    if not is_kept(folder):
        archive = the_archive(recipe, fetch=fetch, say=say)
        save(build(icon_sets(archive, recipe), recipe, size, progress=progress), folder)
    return load(folder)


def build(sets: Iterator[IconSet], recipe: Recipe, size: int, *, progress: Progress | None = None) -> Pack:
    """Name all icons, keep the classes of enough sets, and draw those.

    Args:
        sets: read once.
        size: pixels of a side.
        progress: called as ``progress(done, total, words)`` in icons.
    """
    names, found, licences = Names(recipe), list[tuple[Named, str, Drawing]](), dict[str, Licence]()
    for each in sets:
        licences[each.prefix] = licence_of(each.info)
        read = ((names.read(each.prefix, d.name, each.prefixes, each.suffixes), d) for d in each.drawings)
        found += [(named, each.prefix, drawing) for named, drawing in read if named is not None]
    drawn_by: dict[str, set[str]] = defaultdict(set)
    for named, prefix, _ in found:
        drawn_by[named.shows].add(prefix)
    found = [one for one in found if len(drawn_by[one[0].shows]) >= FEWEST_SETS]
    found.sort(key=lambda one: (one[0].shows, one[1], one[2].name))
    pixels, rows = draw_all([drawing for _, _, drawing in found], size, progress)
    drawn = (found[int(row)] for row in rows)
    origins = tuple(Origin(named.shows, prefix, drawing.name, named.style) for named, prefix, drawing in drawn)
    return Pack(pixels, origins, used(licences, origins), len(found) - len(origins))


def used(licences: Mapping[str, Licence], origins: Iterable[Origin]) -> dict[str, Licence]:
    """The licences of the sets that images came from."""
    sets = {origin.set for origin in origins}
    return {prefix: licence for prefix, licence in sorted(licences.items()) if prefix in sets}


def save(pack: Pack, folder: Path) -> None:
    """Write a pack; without its manifest, which names the licence of every image, it does not count as there.

    Raises:
        DataError: the folder cannot be written.
    """
    keep(folder, pack.pixels, head_of(pack), lines_of(pack))


def load(folder: Path) -> Pack:
    """Read what `save` wrote.

    Raises:
        ChecksumError: the pixels are not those that were written.
        DataError: a file is missing or is not what it should be.
    """
    return kept(folder, pack_from)


def head_of(pack: Pack) -> dict[str, Any]:
    """What the manifest says of the whole; `keep` fills in the checksum."""
    sets = {prefix: licence._asdict() for prefix, licence in pack.licences.items()}
    return {"images": len(pack.origins), "not_drawn": pack.not_drawn, "sha256": "", "sets": sets}


def lines_of(pack: Pack) -> Iterator[dict[str, Any]]:
    """What the manifest says of each image."""
    return ({**origin._asdict(), "licence": pack.licences[origin.set].licence} for origin in pack.origins)


def pack_from(found: Kept) -> Pack:
    """The pack that a manifest and its pixels tell; ValueError, KeyError or TypeError where they do not."""
    origins = tuple(Origin(*(str(line[name]) for name in Origin._fields)) for line in found.lines)
    licences = {prefix: Licence(**given) for prefix, given in found.head["sets"].items()}
    return Pack(found.pixels, origins, licences, int(found.head["not_drawn"]))


def licence_of(info: Mapping[str, Any]) -> Licence:
    """Title, author and licence of a set, from what the package says of it."""
    licence, author = dict(info.get("license") or {}), dict(info.get("author") or {})
    title, name, url = str(info.get("name", "")), str(author.get("name", "")), str(licence.get("url", ""))
    return Licence(title, name, str(licence.get("spdx", "")), url)
