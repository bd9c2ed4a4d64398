"""The pictures of the study, their captions as token ids, and what is asked for."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from nestling.data.icons import CaptionedIcons, CaptionedPart
from nestling.data.tokens import Tokenizer
from nestling.studies.align_icons.settings import Settings
from nestling.studies.icon_captions import captioned
from nestling.studies.watch import Watch


@dataclass(frozen=True, eq=False)
class Asked:
    """A part to measure on: pictures and captions of which each finds the other.

    Attributes:
        pixels: (n, 1, s, s).
        groups: (n,) of each picture's main caption. families: (n,). classes: (n,), −1 for none.
        captions: (g, t) ids of a caption of each group that a picture has. caption_groups: (g,).
        prompts: (c, p) ids of what each class is asked for by.
        scored: (c,) classes of at least five pictures.
    """

    pixels: UInt8[np.ndarray, "n ch s s"]
    groups: Int64[np.ndarray, " n"]
    families: Int64[np.ndarray, " n"]
    classes: Int64[np.ndarray, " n"]
    captions: Int64[np.ndarray, "g t"]
    caption_groups: Int64[np.ndarray, " g"]
    prompts: Int64[np.ndarray, "c p"]
    scored: np.ndarray


@dataclass(frozen=True, eq=False)
class Pairs:
    """What is trained on and asked.

    Attributes:
        about: how many of what, in words.
        pixels: (n, 1, s, s) of training; starts: (n + 1,), rows: (m,): their captions, as of `CaptionFeed`.
        ids: (r, t) of all captions; groups: (r,) captions that say the same have the same number.
        asked: what is measured on.
    """

    name: str
    about: str
    pixels: UInt8[np.ndarray, "n ch s s"]
    starts: Int64[np.ndarray, " n1"]
    rows: Int64[np.ndarray, " m"]
    ids: Int64[np.ndarray, "r t"]
    groups: Int64[np.ndarray, " r"]
    asked: Asked

    @property
    def digest(self) -> str:
        """What tells these pairs from others."""
        a = self.asked
        arrays = (self.pixels, self.starts, self.rows, self.ids, self.groups, a.pixels, a.captions, a.prompts)
        sums = [zlib.crc32(np.ascontiguousarray(each).tobytes()) for each in arrays]
        return hashlib.sha256(repr(sums).encode()).hexdigest()[:16]


def study_pairs(settings: Settings, watch: Watch) -> Pairs:
    """The icons with captions, drawn once.

    Raises:
        DataError: they cannot be had. MissingExtraError: a package is not installed.
    """
    tokenizer = settings.choice.reader(settings.choice.build(torch.Generator()))
    return pairs_of(captioned(settings.pixels, 0, watch), tokenizer, settings, watch)


def pairs_of(data: CaptionedIcons, tokenizer: Tokenizer, settings: Settings, watch: Watch) -> Pairs:
    """The pairs of icons that are at hand."""
    train = data.train
    chosen = _some(len(train), settings.most[0])
    captions = train.captions.take(chosen)
    with watch.task("read captions") as step:
        texts = list(train.captions.texts)
        ids = tokenizer.read(texts, settings.length, progress=step)
    asked = _asked(data, data.test if settings.part == "test" else data.val, ids, tokenizer, settings)
    about = (
        f"{len(chosen):,} training pictures with {len(np.unique(captions.rows)):,} captions; of held-out families "
        f"{len(asked.pixels):,} {settings.part} pictures, {len(asked.captions):,} captions that say different things, "
        f"{int((asked.classes >= 0).sum()):,} pictures of {len(asked.prompts)} classes"
    )
    pixels = train.images if len(chosen) == len(train) else train.images[chosen]
    return Pairs(
        "icons with captions", about, pixels, captions.starts, captions.rows, ids, train.captions.groups, asked
    )


def _asked(
    data: CaptionedIcons, part: CaptionedPart, ids: np.ndarray, tokenizer: Tokenizer, settings: Settings
) -> Asked:
    chosen = _some(len(part), settings.most[1])
    main, groups = part.captions.main[chosen], part.groups[chosen]
    # Of captions that say the same the commonest, of equals the first.
    rows, counts = np.unique(main, return_counts=True)
    order = np.lexsort((rows, -counts))
    caption_groups, first = np.unique(part.captions.groups[rows[order]], return_index=True)
    classes = part.classes[chosen]
    asked_for = np.bincount(classes[classes >= 0], minlength=len(data.classes))
    prompts = tokenizer.read(list(data.prompts), settings.length)
    return Asked(
        part.images[chosen],
        groups,
        part.families[chosen],
        classes,
        ids[rows[order][first]],
        caption_groups.astype(np.int64),
        prompts,
        asked_for >= 5,
    )


def _some(count: int, most: int) -> Int64[np.ndarray, " s"]:
    """All, or as many drawn ones, in their order."""
    rows = np.arange(count)
    return rows if count <= most else np.sort(np.random.default_rng(0).permutation(rows)[:most])
