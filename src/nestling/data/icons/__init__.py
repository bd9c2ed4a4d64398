"""Icons: what is drawn is the class, and up to a hundred designers drew it.

390,629 SVG icons in 243 sets (npm's ``@iconify/json``), each set with its own licence; those of free licences and one
colour are named alike (`naming`), drawn (`drawing`) and split by family (`families`). Nothing is redistributed: the
archive is fetched once, and the pack that is made of it stays on this machine, with a manifest of licences.

All icons of free licences, those that few designers draw and those of several colours too, have captions (`wording`,
`captions`): their names in words, other names, style and what they are about.
"""

from __future__ import annotations

from nestling.data.fetching import Say, log
from nestling.data.icons.caption_lists import caption_lists
from nestling.data.icons.caption_pack import caption_pack_of
from nestling.data.icons.captions import CaptionedIcons, CaptionedPart, Captions, split_captions
from nestling.data.icons.drawing import Progress
from nestling.data.icons.families import IconPart, Icons, split_by_family
from nestling.data.icons.pack import FEWEST_SETS, Pack, pack_of
from nestling.data.icons.recipe import recipe
from nestling.errors import InputError

SIZES = (32, 64)
NAMES = {"icons-600": 20, "icons-1500": FEWEST_SETS}
"""Data set → how many sets draw each of its classes at least."""

__all__ = [
    "NAMES",
    "SIZES",
    "CaptionedIcons",
    "CaptionedPart",
    "Captions",
    "IconPart",
    "Icons",
    "Pack",
    "captioned_icons",
    "icon_pack",
    "icons",
]


def icons(
    name: str = "icons-600",
    *,
    size: int = 32,
    seed: int = 0,
    fetch: bool = True,
    say: Say | None = None,
    progress: Progress | None = None,
) -> Icons:
    """Load a data set of icons, grey, ink is 255: about 55,000 images of 580 classes, or 80,000 of 1,470.

    Args:
        name: "icons-600" (classes that at least 20 sets draw) or "icons-1500" (10 sets).
        size: pixels of a side, 32 or 64.
        seed: of the families drawn for validation and test.
        fetch: may the archive be fetched (104 MB, once) when the machine has none?
        say: called with a sentence whenever something takes time.
        progress: called as ``progress(done, total, words)`` while icons are drawn, which happens once.

    Raises:
        InputError: there is no such data set or size.
        ChecksumError: the archive or the pack is damaged.
        DataError: there is no archive, and none was fetched.
        MissingExtraError: resvg or Pillow is not installed.
    """
    if name not in NAMES:
        raise InputError.of("name", " or ".join(NAMES), repr(name))
    pack = icon_pack(size, fetch=fetch, say=say, progress=progress)
    return split_by_family(pack, recipe(), fewest_sets=NAMES[name], seed=seed)


def icon_pack(size: int = 32, *, fetch: bool = True, say: Say | None = None, progress: Progress | None = None) -> Pack:
    """All images of both data sets with their origins and licences; arguments and errors as of `icons`."""
    _check(size)
    return pack_of(recipe(), size, fetch=fetch, say=say or log, progress=progress)


def captioned_icons(
    *,
    size: int = 32,
    seed: int = 0,
    fetch: bool = True,
    say: Say | None = None,
    progress: Progress | None = None,
) -> CaptionedIcons:
    """Load icons with captions, grey, ink is 255: about 280,000 images, 57,000 main captions and 195,000 in all.

    The families of validation and test are those of `icons` with the same seed, and the classes are those of icons-600:
    an encoder that was trained on its training images has seen none of the test images here, and the other way round.

    Args:
        size: pixels of a side, 32 or 64: .3 or 1.2 GB of pixels, twice while they are split.
        seed, fetch, say, progress: as of `icons`.

    Raises:
        InputError: there is no such size, or the seed is negative.
        ChecksumError, DataError, MissingExtraError: as of `icons`.
    """
    _check(size)
    lists = caption_lists()
    pack = caption_pack_of(recipe(), lists, size, fetch=fetch, say=say or log, progress=progress)
    return split_captions(pack, lists.widened(recipe()), fewest_sets=NAMES["icons-600"], seed=seed)


def _check(size: int) -> None:
    if size not in SIZES:
        raise InputError.of("size", " or ".join(map(str, SIZES)), size)
