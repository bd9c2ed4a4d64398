"""How the pictures of a run are read: kept beside it, so that they are read alike when it is used."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nestling.data import Growing, View, is_saved
from nestling.data.shards import is_shards
from nestling.errors import CheckpointError, InputError
from nestling.files import write_file
from nestling.models import Encoder

NAME = "images.json"
_CUSTOMARY = 0.875  # 224 of 256
IN_MEMORY = 64
"""Pixels of a side up to which a tree is decoded once and kept in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is seen of a picture, and what is held out.

    Attributes:
        size, channels: of what the encoder sees.
        val_fraction, seed: of each class held out where the data have no validation part.
        streamed: read while training instead of before.
        inside, crop, flip: as of `View`, where streamed.
        growing: progressive resolution, where streamed.
    """

    size: int = 64
    channels: int = 3
    val_fraction: float = 0.1
    seed: int = 0
    streamed: bool = False
    inside: float = 1.0
    crop: float | None = None
    flip: bool = False
    growing: Growing | None = None

    def view(self) -> View:
        """How one picture is seen."""
        return View(side=self.size, channels=self.channels, inside=self.inside, crop=self.crop, flip=self.flip)

    def save(self, run: Path) -> None:
        """Keep it in the folder of a run."""
        write_file(run / NAME, json.dumps(asdict(self)) + "\n")

    @classmethod
    def of_run(cls, run: Path, encoder: Encoder) -> Reading:
        """Read what `save` kept; what the encoder alone says where nothing was kept.

        Raises:
            CheckpointError: the file is damaged.
            InputError: nothing says how large the pictures are.
        """
        path = run / NAME
        if not path.exists() and "size" not in encoder.config:
            wish = f"a run of `nestling train`, which says in {NAME} how pictures are read"
            raise InputError.of("run", wish, f"{run}, a model alone")
        known = {name: encoder.config[name] for name in ("size", "channels") if name in encoder.config}
        try:
            kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"val_fraction": 0.0}
            grown = kept.pop("growing", None)
            found = replace(cls(**known), **kept)
            return replace(found, growing=None if grown is None else Growing(**grown))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}). Delete it to encode without a split.") from error


def reading_of(
    source: str,
    *,
    size: int,
    channels: int,
    val_fraction: float,
    seed: int,
    crop: float | None = None,
    flip: bool = False,
    grow: str | None = None,
    workers: int | None = None,
) -> Reading:
    """How a source is read: streamed if it is shards or saved by `datasets`, pictures are large, or anything says so.

    Raises:
        InputError: `grow` is not like ``160:192:29:34``.
    """
    large, packed = size > IN_MEMORY, is_shards(source) or is_saved(source)
    return Reading(
        size=size,
        channels=channels,
        val_fraction=val_fraction,
        seed=seed,
        streamed=large or packed or crop is not None or grow is not None or workers is not None,
        inside=_CUSTOMARY if large else 1.0,
        crop=crop,
        flip=flip,
        growing=None if grow is None else parse_growing(grow),
    )


def parse_growing(text: str) -> Growing:
    """``160:192:29:34``: from 160 pixels in epoch 29 to 192 in epoch 34.

    Raises:
        InputError: other text.
    """
    parts = text.split(":")
    if len(parts) != 4 or not all(part.isdigit() for part in parts):
        raise InputError.of("grow", "FIRST:LAST:START:END, such as 160:192:29:34", repr(text))
    first, last, start, end = map(int, parts)
    return Growing(first=first, last=last, start=start, end=end)
