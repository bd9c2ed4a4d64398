"""``nestling data icons --captions``: what the icons with captions hold, under which licences, and a sheet of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nestling.data.icons import CaptionedIcons, CaptionedPart, captioned_icons
from nestling.errors import require_extra
from nestling.studies.icon_data import tell_licences, write_png
from nestling.studies.watch import Watch

_SAMPLES = 12
_ROWS, _COLUMNS, _HELD = 22, 5, 2  # of the sheet; its last columns are of held-out families
_SIDE, _WIDE, _HIGH = 64, 340, 72  # pixels of a picture, of the captions beside it, and of a row
_LINES, _LETTERS = 4, 54  # of captions that fit


def captioned(size: int, seed: int, watch: Watch) -> CaptionedIcons:
    """The data set, built if need be; arguments and errors as of `nestling.data.icons.captioned_icons`."""
    with watch.task("icons with captions") as step:
        return captioned_icons(size=size, seed=seed, say=watch.say, progress=step)


def tell_captioned(data: CaptionedIcons, seed: int, watch: Watch) -> None:
    """Tell the parts, the licences and some of the captions.

    Args:
        data: split by family.
        seed: of the split, and of the samples that are shown.
    """
    size = data.train.images.shape[-1]
    parts = {"train": data.train, "validation": data.val, "test": data.test}
    columns = ["", "pictures", "families", "sets", "groups", "main captions", "captions", "a picture"]
    rows = [[name, *_counts(part)] for name, part in parts.items()]
    watch.table(f"Icons with captions, {size} × {size}, split by family (seed {seed})", columns, rows)
    near = 100 * float(data.near(data.test).mean()) if len(data.test) else 0.0
    watch.say(
        f"{len(data.train.captions.texts):,} captions in all; captions of a group say the same. "
        f"{data.copies:,} exact copies were left out; of {near:.1f} % of the test pictures train has nearly the same."
    )
    classed = int((data.test.classes >= 0).sum())
    watch.say(
        f"{len(data.classes):,} classes to ask for, {int(data.scored.sum()):,} of them with at least five of the "
        f"{classed:,} test pictures that have a class"
    )
    names = (name for part in parts.values() for name in part.names)
    tell_licences(data.licences, (name.partition(":")[0] for name in names), watch)
    watch.table("Some of the test pictures", ["", "icon"], _samples(data.test, seed))


def caption_sheet(data: CaptionedIcons, seed: int, path: Path) -> None:
    """A PNG of drawn pictures with their captions: columns of training pictures, then, on grey, two of test families.

    Raises:
        DataError: it cannot be written.
    """
    image, draw = require_extra("PIL.Image"), require_extra("PIL.ImageDraw")
    rng, wide = np.random.default_rng(seed), _SIDE + _WIDE
    sheet = image.new("L", (_COLUMNS * wide, _ROWS * _HIGH), 255)
    pen = draw.Draw(sheet)
    pen.rectangle(((_COLUMNS - _HELD) * wide, 0, sheet.width, sheet.height), fill=232)
    for column in range(_COLUMNS):
        part = data.train if column < _COLUMNS - _HELD else data.test
        for row, picture in enumerate(rng.permutation(len(part))[:_ROWS]):
            left, top = column * wide + 4, row * _HIGH + 4
            drawn = image.fromarray(255 - part.images[int(picture), 0])
            sheet.paste(drawn.resize((_SIDE, _SIDE), image.Resampling.NEAREST), (left, top))
            pen.text((left + _SIDE + 8, top), _told(part, int(picture)), fill=0)
    write_png(sheet, path)


def _told(part: CaptionedPart, picture: int) -> str:
    """As many captions as fit, and the icon's name."""
    said = part.captions[picture]
    shown = said if len(said) < _LINES else (*said[: _LINES - 2], f"and {len(said) - _LINES + 2} more")
    return "\n".join(line[:_LETTERS] for line in (*shown, f"[{part.names[picture]}]"))


def _counts(part: CaptionedPart) -> list[str]:
    texts = part.captions
    sets = {name.partition(":")[0] for name in part.names}
    distinct = (set(values.tolist()) for values in (part.families, part.groups, texts.main, texts.rows))
    families, groups, main, every = (f"{len(values):,}" for values in distinct)
    mean = f"{texts.counts.mean():.2f}" if len(part) else ""
    return [f"{len(part):,}", families, str(len(sets)), groups, main, every, mean]


def _samples(part: CaptionedPart, seed: int) -> list[list[str]]:
    drawn = np.random.default_rng(seed).permutation(len(part))[:_SAMPLES]
    return [[" · ".join(part.captions[int(picture)]), part.names[int(picture)]] for picture in drawn]
