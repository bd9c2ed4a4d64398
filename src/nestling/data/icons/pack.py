"""All icons of the classes that many designers draw, at one size: built from the archive once, kept, checked."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from nestling.data.cache import data_folder
from nestling.data.fetching import Say
from nestling.data.icons.archive import Drawing, IconSet, icon_sets, the_archive
from nestling.data.icons.drawing import Pen
from nestling.data.icons.naming import Named, Names
from nestling.data.icons.recipe import Recipe
from nestling.errors import ChecksumError, DataError
from nestling.files import write_file

FEWEST_SETS = 10  # that draw a class of the pack
_VERSION = 1  # of the pack's form

Progress = Callable[[int, int, str], object]


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
    if not (folder / "manifest.jsonl").exists():
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
        licences[each.prefix] = _licence(each.info)
        read = ((names.read(each.prefix, d.name, each.prefixes, each.suffixes), d) for d in each.drawings)
        found += [(named, each.prefix, drawing) for named, drawing in read if named is not None]
    drawn_by: dict[str, set[str]] = defaultdict(set)
    for named, prefix, _ in found:
        drawn_by[named.shows].add(prefix)
    found = [one for one in found if len(drawn_by[one[0].shows]) >= FEWEST_SETS]
    found.sort(key=lambda one: (one[0].shows, one[1], one[2].name))
    pen, origins = Pen(size), list[Origin]()
    pixels = np.empty((len(found), size, size), np.uint8)
    for place, (named, prefix, drawing) in enumerate(found):
        image = pen.draw(drawing)
        if image is not None:
            pixels[len(origins)] = image
            origins.append(Origin(named.shows, prefix, drawing.name, named.style))
        if progress is not None and (place % 500 == 499 or place + 1 == len(found)):
            progress(place + 1, len(found), "icons drawn")
    used = {origin.set for origin in origins}
    kept = {prefix: licence for prefix, licence in sorted(licences.items()) if prefix in used}
    return Pack(pixels[: len(origins)], tuple(origins), kept, len(found) - len(origins))


def save(pack: Pack, folder: Path) -> None:
    """Write ``pixels.npz``, then ``manifest.jsonl``: a first line about the whole, then one about each image.

    The manifest names the licence of every image; without it the pack does not count as there.

    Raises:
        DataError: the folder cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pixels=pack.pixels)
    head = {
        "images": len(pack.origins),
        "not_drawn": pack.not_drawn,
        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "sets": {prefix: licence._asdict() for prefix, licence in pack.licences.items()},
    }
    lines = [json.dumps(head)]
    lines += [json.dumps({**o._asdict(), "licence": pack.licences[o.set].licence}) for o in pack.origins]
    write_file(folder / "pixels.npz", buffer.getvalue())
    write_file(folder / "manifest.jsonl", "\n".join(lines) + "\n")


def load(folder: Path) -> Pack:
    """Read what `save` wrote.

    Raises:
        ChecksumError: the pixels are not those that were written.
        DataError: a file is missing or is not what it should be.
    """
    again = f"Delete {folder} and build it again."
    try:
        head, *lines = (json.loads(line) for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines())
        data = (folder / "pixels.npz").read_bytes()
        if hashlib.sha256(data).hexdigest() != head["sha256"]:
            raise ChecksumError(f"{folder / 'pixels.npz'} is damaged. {again}")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            pixels = np.asarray(arrays["pixels"], np.uint8)
        origins = tuple(Origin(*(str(line[name]) for name in Origin._fields)) for line in lines)
        licences = {prefix: Licence(**given) for prefix, given in head["sets"].items()}
        not_drawn = int(head["not_drawn"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{folder} holds no pack of icons: {error}. {again}") from error
    if pixels.ndim != 3 or len(pixels) != len(origins):
        raise DataError(f"{folder} holds {len(pixels)} images and the origins of {len(origins)}. {again}")
    return Pack(pixels, origins, licences, not_drawn)


def _licence(info: Mapping[str, Any]) -> Licence:
    licence, author = dict(info.get("license") or {}), dict(info.get("author") or {})
    title, name, url = str(info.get("name", "")), str(author.get("name", "")), str(licence.get("url", ""))
    return Licence(title, name, str(licence.get("spdx", "")), url)
