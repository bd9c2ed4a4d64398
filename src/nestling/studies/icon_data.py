"""``nestling data icons``: what the data set holds, under which licences, and a sheet of it to look at."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nestling.data.icons import NAMES, icon_pack, icons
from nestling.data.icons.pack import Licence
from nestling.errors import InputError, require_extra
from nestling.files import write_file
from nestling.studies.watch import Watch

_ROWS, _COLUMNS = 20, 24


def described(size: int, seed: int, watch: Watch) -> None:
    """Build the pack if need be, split it, and tell both data sets and all licences.

    Raises:
        InputError: there is no such size, or the seed is negative.
        DataError: as of `nestling.data.icons.icons`.
    """
    if seed < 0:
        raise InputError.of("seed", "zero or positive", seed)
    with watch.task("icons") as step:
        pack = icon_pack(size, say=watch.say, progress=step)
    lines: list[list[str]] = []
    for name in NAMES:
        data = icons(name, size=size, seed=seed)
        parts = (data.train, data.val, data.test)
        near = 100 * float(data.test.near.mean()) if len(data.test) else 0.0
        families = [str(len(set(part.families.tolist()))) for part in parts]
        numbers = [f"{len(part):,}" for part in parts]
        lines.append(
            [name, f"{len(data.classes):,}", *numbers, "/".join(families), f"{near:.1f} %", f"{data.copies:,}"]
        )
    columns = ["", "classes", "train", "val", "test", "families", "near", "copies"]
    watch.table(f"Icons, {size} × {size}, split by family (seed {seed})", columns, lines)
    watch.say("near: test drawings that train has nearly the same in their class; copies: exact ones, left out")
    tell_licences(pack.licences, (origin.set for origin in pack.origins), watch)


def tell_licences(licences: Mapping[str, Licence], sets: Iterable[str], watch: Watch) -> None:
    """A table of how many sets and images have each licence.

    Args:
        licences: of each set.
        sets: of each image.
    """
    count = Counter(licence.licence for licence in licences.values())
    images = Counter(licences[name].licence for name in sets)
    rows = [[name, str(count[name]), f"{number:,}"] for name, number in images.most_common()]
    watch.table("Licences", ["", "sets", "images"], rows)


def contact_sheet(size: int, seed: int, path: Path) -> None:
    """A PNG of drawn classes of icons-600, one a row: training images, then, on grey, those of test families.

    Raises:
        DataError: it cannot be written.
    """
    pillow = require_extra("PIL.Image")
    data, rng = icons(size=size, seed=seed), np.random.default_rng(seed)
    shown = np.sort(rng.choice(np.flatnonzero(data.scored), min(_ROWS, int(data.scored.sum())), replace=False))
    cell, held = size + 4, _COLUMNS // 4
    sheet = np.full((cell * len(shown), cell * _COLUMNS), 255, np.uint8)
    sheet[:, cell * (_COLUMNS - held) :] = 225
    for row, label in enumerate(shown):
        for part, first, count in ((data.train, 0, _COLUMNS - held), (data.test, _COLUMNS - held, held)):
            rows = rng.permutation(np.flatnonzero(part.images.labels == label))[:count]
            for column, pixels in enumerate(part.images.pixels[rows, 0], start=first):
                top, left = row * cell + 2, column * cell + 2
                place = sheet[top : top + size, left : left + size]
                np.minimum(place, 255 - pixels, out=place)
    write_png(pillow.fromarray(sheet), path)


def write_png(image: Any, path: Path) -> None:
    """Write a picture of Pillow's.

    Raises:
        DataError: it cannot be written.
    """
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    write_file(path, buffer.getvalue())
