"""All icons that have captions, at one size: told in words and drawn from the archive once, kept, checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nestling.data.cache import data_folder
from nestling.data.fetching import Say
from nestling.data.icons.archive import Drawing, IconSet, icon_sets, the_archive
from nestling.data.icons.caption_lists import CaptionLists
from nestling.data.icons.drawing import Progress, draw_all
from nestling.data.icons.naming import Names
from nestling.data.icons.pack import Origin, Pack, head_of, licence_of, lines_of, pack_from, used
from nestling.data.icons.pack_files import Kept, is_kept, keep, kept
from nestling.data.icons.recipe import Recipe
from nestling.data.icons.wording import Wording

_VERSION = 1  # of the pack's form, and of the words
_FAINTEST = 32  # ink of 255 that an image must have somewhere: a white cloud on white is no picture of one


@dataclass(frozen=True, eq=False)
class CaptionPack:
    """Images with captions.

    Attributes:
        pack: the images; ``shows`` is empty where the data sets of classes do not use the set.
        captions: at least one of each image, the main one first.
    """

    pack: Pack
    captions: tuple[tuple[str, ...], ...]


def caption_pack_of(
    recipe: Recipe, lists: CaptionLists, size: int, *, fetch: bool, say: Say, progress: Progress | None
) -> CaptionPack:
    """The pack of one size from the folder of fetched data; built, if it is not there.

    Raises:
        ChecksumError: it is damaged.
        DataError: there is no archive to build it from, or no room.
        MissingExtraError: resvg or Pillow is not installed.
    """
    folder = data_folder() / "icons" / f"captions-{recipe.version}-{size}px-{_VERSION}"
    if not is_kept(folder):
        archive = the_archive(recipe, fetch=fetch, say=say)
        sets = icon_sets(archive, lists.widened(recipe))
        made = build(sets, recipe, lists, size, progress=progress)
        head = {**head_of(made.pack), "lines_sha256": ""}
        lines = ({**line, "captions": said} for line, said in zip(lines_of(made.pack), made.captions, strict=True))
        keep(folder, made.pack.pixels, head, lines)
    return kept(folder, _read)


def build(
    sets: Iterable[IconSet], recipe: Recipe, lists: CaptionLists, size: int, *, progress: Progress | None = None
) -> CaptionPack:
    """Say what every icon is, and draw those that have captions, in the order of sets and names.

    Args:
        sets: read once.
        recipe: of the data sets of classes, which tells the classes.
        size: pixels of a side.
        progress: called as ``progress(done, total, words)`` in icons.
    """
    sets = sorted(sets, key=lambda each: each.prefix)
    names, found = Names(recipe), list[tuple[Origin, Drawing, tuple[str, ...]]]()
    wording = Wording(names, lists, sets)
    for each in sets:
        classed = {icon.name for icon in each.drawings} if recipe.keeps(each.prefix, each.info) else set[str]()
        for icon in sorted((*each.drawings, *each.turned)):
            said = wording.captions(each, icon.name)
            named = names.read(each.prefix, icon.name, each.prefixes, each.suffixes)
            if said and named is not None:
                shows = named.shows if icon.name in classed else ""
                found.append((Origin(shows, each.prefix, icon.name, named.style), icon, said))
    pixels, rows = draw_all([icon for _, icon, _ in found], size, progress)
    seen = pixels.max(axis=(1, 2), initial=0) >= _FAINTEST
    pixels, rows = pixels[seen], rows[seen]
    origins = tuple(found[int(row)][0] for row in rows)
    licences = used({each.prefix: licence_of(each.info) for each in sets}, origins)
    pack = Pack(pixels, origins, licences, len(found) - len(origins))
    return CaptionPack(pack, tuple(found[int(row)][2] for row in rows))


def _read(found: Kept) -> CaptionPack:
    captions = tuple(tuple(str(said) for said in line["captions"]) for line in found.lines)
    if not all(captions):
        raise ValueError("an image has no caption")
    return CaptionPack(pack_from(found), captions)
