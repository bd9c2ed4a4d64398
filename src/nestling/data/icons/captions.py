"""Icons with captions, split by family: what contrastive training takes, and zero-shot classes to ask it for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from nestling.data.icons.caption_pack import CaptionPack
from nestling.data.icons.families import ENOUGH, near_duplicates, sides, without_copies
from nestling.data.icons.naming import Names
from nestling.data.icons.pack import Licence
from nestling.data.icons.recipe import Recipe
from nestling.data.icons.wording import key_of
from nestling.data.images import LabelledImages


@dataclass(frozen=True, eq=False)
class Captions:
    """The captions of n pictures: rows of a table of texts, so that each text is tokenised once.

    ``captions[i]`` are the captions of picture i as strings, the main one first.

    Attributes:
        texts: t texts, each once, in the order of the alphabet; the same for all parts of a split.
        groups: (t,) texts that say the same have the same number: "home", "house, filled". What is held against one
            another in a contrastive loss must differ in it.
        starts: (n + 1,) picture i has ``rows[starts[i]:starts[i + 1]]``.
        rows: (m,) of `texts`.
    """

    texts: tuple[str, ...]
    groups: Int64[np.ndarray, " t"]
    starts: Int64[np.ndarray, " n1"]
    rows: Int64[np.ndarray, " m"]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, picture: int) -> tuple[str, ...]:
        first, last = self.starts[:-1][picture], self.starts[1:][picture]
        return tuple(self.texts[int(row)] for row in self.rows[first:last])

    @property
    def main(self) -> Int64[np.ndarray, " n"]:
        """The row of each picture's main caption."""
        return self.rows[self.starts[:-1]]

    @property
    def counts(self) -> Int64[np.ndarray, " n"]:
        """How many captions each picture has."""
        return np.diff(self.starts)

    def take(self, pictures: Int64[np.ndarray, " p"]) -> Captions:
        """The captions of these pictures, in this order."""
        counts = self.counts[pictures]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        within = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(starts[:-1], counts)
        return replace(self, starts=starts, rows=self.rows[np.repeat(self.starts[pictures], counts) + within])


@dataclass(frozen=True, eq=False)
class CaptionedPart:
    """One side of the split.

    Attributes:
        images: (n, 1, s, s), ink is 255.
        captions: of each image.
        classes: (n,) positions in `CaptionedIcons.classes`, −1 where an image is of none.
        families: (n,) which of `CaptionedIcons.families` drew each image.
        names: (n) ``set:name``.
    """

    images: UInt8[np.ndarray, "n 1 s s"]
    captions: Captions
    classes: Int64[np.ndarray, " n"]
    families: Int64[np.ndarray, " n"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def groups(self) -> Int64[np.ndarray, " n"]:
        """The group of each image's main caption."""
        return self.captions.groups[self.captions.main]


@dataclass(frozen=True, eq=False)
class CaptionedIcons:
    """Icons with captions.

    Attributes:
        train, val, test: no family is in two of them, and no drawing twice under captions of the same group.
        classes: names of the ideas that many sets draw, those of the data set of classes.
        prompts: what train most often calls each class: the text to ask for it by. The class's name where it has none.
        families: names.
        licences: of each set.
        copies: exact duplicates that were left out.
    """

    train: CaptionedPart
    val: CaptionedPart
    test: CaptionedPart
    classes: tuple[str, ...]
    prompts: tuple[str, ...]
    families: tuple[str, ...]
    licences: Mapping[str, Licence]
    copies: int

    @property
    def scored(self) -> Bool[np.ndarray, " c"]:
        """The classes of at least five test images, whose accuracies a macro average takes."""
        asked = self.test.classes[self.test.classes >= 0]
        return np.bincount(asked, minlength=len(self.classes)) >= ENOUGH

    def near(self, part: CaptionedPart) -> Bool[np.ndarray, " n"]:
        """Which images of a part train has nearly the same under captions of the same group; takes ten seconds."""
        groups = tuple(map(str, range(int(part.captions.groups.max(initial=-1)) + 1)))
        return near_duplicates(*(LabelledImages(each.images, each.groups, groups) for each in (self.train, part)))


def split_captions(found: CaptionPack, recipe: Recipe, *, fewest_sets: int, seed: int) -> CaptionedIcons:
    """Draw the families of test and validation, drop copies, number captions and classes.

    Args:
        found: all images.
        recipe: which sets are a family, and which families only train.
        fewest_sets: that draw a class.
        seed: of the draw.

    Raises:
        InputError: the seed is negative.
    """
    pack, captions = found.pack, numbered(found.captions, Names(recipe))
    drawn_by = pack.sets_of_classes()
    classes = tuple(name for name, sets in drawn_by.items() if name and sets >= fewest_sets)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers.get(origin.shows, -1) for origin in pack.origins], np.int64)
    families, of, side = sides([origin.set for origin in pack.origins], recipe, seed)
    kept, copies = without_copies(pack.pixels, captions.groups[captions.main], side)

    def part(number: int) -> CaptionedPart:
        rows = np.sort(kept[side[kept] == number])
        names = tuple(f"{pack.origins[int(row)].set}:{pack.origins[int(row)].name}" for row in rows)
        return CaptionedPart(pack.pixels[rows][:, None], captions.take(rows), labels[rows], of[rows], names)

    train, val, test = map(part, range(3))
    return CaptionedIcons(train, val, test, classes, _prompts(train, classes), families, pack.licences, copies)


def numbered(captions: Sequence[Sequence[str]], names: Names) -> Captions:
    """The captions of each picture as rows of one table."""
    texts = tuple(sorted({text for each in captions for text in each}))
    places = {text: row for row, text in enumerate(texts)}
    _, groups = np.unique([key_of(text, names) for text in texts], return_inverse=True)
    starts = np.concatenate([[0], np.cumsum([len(each) for each in captions])]).astype(np.int64)
    rows = np.array([places[text] for each in captions for text in each], np.int64)
    return Captions(texts, groups.astype(np.int64), starts, rows)


def _prompts(train: CaptionedPart, classes: Sequence[str]) -> tuple[str, ...]:
    said = [Counter[str]() for _ in classes]
    for label, row in zip(train.classes, train.captions.main, strict=True):
        if label >= 0:
            said[int(label)][train.captions.texts[int(row)]] += 1
    alphabetic = (min(each, key=lambda text: (-each[text], text), default="") for each in said)
    return tuple(text or name.replace("-", " ") for text, name in zip(alphabetic, classes, strict=True))
